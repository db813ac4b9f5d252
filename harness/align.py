"""The rows of a bundle, brought onto the samples and words of the targets: row for row, with what is missing said."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.answers import Predictions, Status, Targets, concatenate, failed, recode, recode_sets
from harness.bundle import Bundle
from harness.card import first_line
from harness.errors import BadInput
from harness.tables import by_task, read_predictions, sample_ids
from harness.tasks.base import Task

Slices = dict[str, list[tuple[NDArray[np.str_], Predictions]]]


def answers_of(bundle: Bundle, parts: list[Path], tasks: Collection[str]) -> Slices:
    """Task -> sample ids and rows of each of an episode's parts, for these tasks.

    Raises:
        BadInput: A part cannot be read.
    """
    found: Slices = {}
    for path in parts:
        try:
            for task_id, table in by_task(path, tasks):
                rows = read_predictions(table, bundle.classes.get(task_id, ()))
                found.setdefault(task_id, []).append((sample_ids(table), rows))
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise BadInput(f"{path}: no bundle part ({first_line(error)}); remove it and run again") from error
    return found


def align(
    bundle: Bundle,
    slices: list[tuple[NDArray[np.str_], Predictions]] | None,
    ids: NDArray[np.str_],
    known: NDArray[np.str_],
    task: Task,
    truth: Targets,
    classes: tuple[str, ...],
) -> Predictions:
    """Row for row of `ids`; samples without a row are `missing`, which is a failure like any other.

    Args:
        bundle: Whose rows.
        slices: Sample ids and rows of its parts.
        ids: (n,) samples that are scored.
        known: Every sample of the episode, those without truth too.
        task: Whose answers.
        truth: (n,) of `ids`.
        classes: The words of the evaluation, which come first in the answers' vocabulary.

    Raises:
        BadInput: Two rows answer one sample, or a row answers a sample that the targets do not have.
    """
    if not slices:
        return failed(len(ids), Status.MISSING, task.answer, _width(truth), classes)
    given = np.concatenate([s[0] for s in slices])
    order = np.argsort(given, kind="stable")
    twice = given[order][1:] == given[order][:-1]
    if twice.any():
        raise BadInput(f"{bundle.folder}: two rows answer {given[order][1:][twice][0]} of {task.id}; name the parts of one run")
    strange = ~np.isin(given, known)
    if strange.any():
        raise BadInput(
            f"{bundle.folder}: {int(strange.sum())} rows of {task.id} answer samples that the targets do not have "
            f"({given[strange][0]}); they are of other data or of other windows"
        )
    position = order[np.minimum(np.searchsorted(given, ids, sorter=order), len(given) - 1)]
    there = given[position] == ids
    spoken = dict.fromkeys(word for _, rows in slices for word in rows.vocabulary)
    words = (*classes, *(word for word in spoken if word not in set(classes)))
    rows = concatenate([_of_width(on_words(rows, words), task, truth) for _, rows in slices])
    rows = _checked(rows.take(position), task, truth)
    if there.all():
        return rows
    status = np.where(there, rows.status, Status.MISSING.value)
    labels = None if rows.labels is None else np.where(there, rows.labels, -1).astype(np.int32)
    sets = None if rows.label_sets is None else rows.label_sets & there[:, None]
    return replace(rows, status=status, labels=labels, label_sets=sets)


def _of_width(rows: Predictions, task: Task, truth: Targets) -> Predictions:
    """A part whose vectors are of another width fails alone: joined with others it would drag them along."""
    if task.answer != "vector" or rows.values is None or rows.values.shape[1] == _width(truth):
        return rows
    lost = np.full((len(rows), _width(truth)), np.nan, np.float32)
    return replace(rows, values=lost, status=np.where(rows.ok, Status.SCHEMA_ERROR.value, rows.status))


def _checked(rows: Predictions, task: Task, truth: Targets) -> Predictions:
    """Rows of another kind or width fail as `schema_error`, numbers that are none as `decode_error`: both count as failures."""
    kinds = {"label": rows.labels, "label_set": rows.label_sets, "vector": rows.values, "retrieval": rows.query}
    answer = kinds[task.answer]
    wrong_width = task.answer == "vector" and answer is not None and answer.shape[1] != _width(truth)
    if answer is None or wrong_width or (task.answer == "retrieval" and rows.key is None):
        lost = failed(len(rows), Status.SCHEMA_ERROR, task.answer, _width(truth), rows.vocabulary)
        return replace(lost, status=np.where(rows.ok, lost.status, rows.status), seen_until=rows.seen_until)
    numbers = [array for array in (rows.values, rows.query, rows.key) if array is not None]
    if rows.labels is not None and task.answer == "label":  # an answer without a word is none
        rows = replace(rows, status=np.where(rows.ok & (rows.labels < 0), Status.SCHEMA_ERROR.value, rows.status))
    finite = np.all([np.isfinite(array).all(axis=1) for array in numbers], axis=0) if numbers else np.ones(len(rows), bool)
    return replace(rows, status=np.where(rows.ok & ~finite, Status.DECODE_ERROR.value, rows.status))


def on_words(rows: Predictions, words: tuple[str, ...]) -> Predictions:
    """Labels and sets as codes over `words`: the evaluation's classes, then words that are never right.

    Probabilities stay over the classes of the bundle's manifest.
    """
    labels = None if rows.labels is None else recode(rows.labels, rows.vocabulary, words)
    sets = None if rows.label_sets is None else recode_sets(rows.label_sets, rows.vocabulary, words)
    return replace(rows, labels=labels, label_sets=sets, vocabulary=words)


def on_classes(targets: Targets, classes: tuple[str, ...]) -> Targets:
    """Labels and sets as codes over the words of the evaluation."""
    labels = None if targets.labels is None else recode(targets.labels, targets.vocabulary, classes)
    sets = None if targets.label_sets is None else recode_sets(targets.label_sets, targets.vocabulary, classes)
    vocabulary = classes if targets.labels is not None or targets.label_sets is not None else ()
    return replace(targets, labels=labels, label_sets=sets, vocabulary=vocabulary)


def _width(truth: Targets) -> int:
    return 1 if truth.values is None else truth.values.shape[1]
