"""Rows of our own schema against the samples of a run: every sample once, none that the run does not test, widths as asked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.answers import STATUS_DTYPE, Predictions, Status
from harness.bundle import Bundle, bundle_folder
from harness.errors import BadInput
from harness.held import Held, classes_of
from harness.imports.problems import Problems
from harness.imports.source import shown
from harness.metrics.probability import are_probabilities
from harness.record import EpisodeRecord, file_stem
from harness.tables import predictions_table, write_atomically
from harness.tasks.base import Task
from harness.window import Samples

Place = tuple[int, int]
"""Fold, seed."""
STRANGE = "row(s) of samples that the run does not test left out"
MISSING = "sample(s) without a row, which count as missing"
FOLDLESS = "row(s) without a fold, of episodes that several folds test, left out"
UNKNOWN = "answer(s) with words that no target has"
ODD_PROBABILITIES = "row(s) whose probabilities are none over the classes, which count as the worst"


@dataclass
class About:
    """What a JSON file beside the rows says of them.

    Attributes:
        classes: Task -> what its probabilities are over.
        fitted_on: Fitted part -> episodes; None where nobody says.
        inputs: Task -> modalities that were shown; None where nobody says.
    """

    classes: dict[str, list[str]] = field(default_factory=dict)
    fitted_on: dict[str, list[str]] | None = None
    inputs: dict[str, list[str]] | None = None


class Binder:
    """Writes bundles of rows that answer a run.

    Args:
        held: The run.
        name: Branch id.
        folder: Run folder, or one like it: its bundles go below it.
        about: What is said of the rows.
        problems: Faults go here; settle them when all rows are in.
    """

    def __init__(self, held: Held, name: str, folder: Path, about: About, problems: Problems) -> None:
        self.held, self.name, self.folder, self.about, self.problems = held, name, folder, about, problems
        self.tasks = {task.id: task for task in held.tasks}
        self.answered: dict[Place, Counter[str]] = {}
        self.where = str(folder)
        self.words = {task: frozenset(words) for task, words in classes_of(held).items()}
        self.odd: dict[str, Counter[str]] = {task: Counter() for task in self.tasks}
        self.rows = 0
        self.episodes: set[str] = set()

    def add(self, episode: str, rows: list[dict[str, Any]]) -> None:
        """Write the rows of one episode; each sample has one row per task, fold and seed.

        A row without a fold is of the one fold that tests its episode.
        """
        there = set(self.held.present([episode]))
        known = {task.id: (samples, valid) for task, samples, valid in self._samples(episode)} if there else {}
        by_place: dict[Place, dict[str, list[dict[str, Any]]]] = {}
        testing = [fold.id for fold in self.held.split.folds if episode in fold.test and there]
        for row in rows:
            fold, task = row["fold"], row["task"]
            if task not in self.tasks:
                self._strange(row, f"the run does not pose {task}")
            elif fold is None and len(testing) > 1:
                what = (
                    f"sample {shown(row['sample'])} of {task}: folds {', '.join(map(str, testing))} test it; say which in `fold`"
                )
                self.problems.add(FOLDLESS, row.get("where") or self.where, what, task=task)
            elif fold is not None and fold >= len(self.held.split.folds):
                self._strange(row, f"the run has no fold {fold}")
            elif not testing or (fold is not None and fold not in testing):
                where = "any fold" if fold is None else f"fold {fold}"
                self._strange(row, f"episode {shown(episode)} is not tested in {where}")
            else:
                by_place.setdefault((testing[0] if fold is None else fold, row["seed"]), {}).setdefault(task, []).append(row)
        for place, by_task in sorted(by_place.items()):
            self._write(episode, place, by_task, known)

    def _samples(self, episode: str) -> Iterable[tuple[Task, Samples, NDArray[np.bool_]]]:
        for task, samples, targets in self.held.rows(episode):
            yield task, samples, targets.valid

    def _strange(self, row: dict[str, Any], why: str) -> None:
        where = row.get("where") or self.where
        what = f"sample {shown(row['sample'])} of {row['task']}: {why}; are they of another data set?"
        self.problems.add(STRANGE, where, what, task=row["task"] if row["task"] in self.tasks else "")

    def _write(self, episode: str, place: Place, by_task: dict[str, list[dict[str, Any]]], known: dict[str, Any]) -> None:
        tables = []
        for task_id, rows in by_task.items():
            task = self.tasks[task_id]
            samples, valid = known.get(task_id, (None, None))
            at = {} if samples is None else {ident: i for i, ident in enumerate(samples.ids.tolist())}
            kept = [row for row in rows if row["sample"] in at]
            for row in rows:
                if row["sample"] not in at:
                    self._strange(row, f"episode {shown(episode)} has no such sample")
            if not kept:
                continue
            if len({row["sample"] for row in kept}) < len(kept):
                raise BadInput(
                    f"{self.where}: samples of {shown(episode)} stand there with a fold and without; say it in all rows"
                )
            index = np.array([at[row["sample"]] for row in kept], np.int64)
            width = int(np.prod(task_shape(self.held, episode, task))) if task.answer == "vector" else None
            answers = self._predictions(task, kept, width)
            tables.append(predictions_table(task_id, samples.take(index), answers, place[0], place[1], 0))
            tested = self._tested(episode, place[0], task, samples) & valid
            self.answered.setdefault(place, Counter())[task_id] += int(tested[index].sum())
            self.rows += len(kept)
            self.episodes.add(episode)
        if tables:
            folder = bundle_folder(self.folder, self.name, *place)
            write_atomically(tables, folder / f"part-{file_stem(episode)}-0000000.parquet")

    def _tested(self, episode: str, fold: int, task: Task, samples: Samples) -> NDArray[np.bool_]:
        n = EpisodeRecord.from_file(self.held.file(episode)).n_reference
        return self.held.split.folds[fold].select("test", samples, n, self.held.spec, task.reach(self.held.spec))

    def _predictions(self, task: Task, rows: list[dict[str, Any]], width: int | None) -> Predictions:
        classes = tuple(self.about.classes.get(task.id, ()))
        probabilities = self._probabilities(task, rows, classes)
        if task.answer == "retrieval":
            width = _usual_width([row["query"] for row in rows])
        made = predictions_of(task, rows, width or 1, classes)
        self._count_unknown(task, made)
        return made if probabilities is None else replace(made, probabilities=probabilities)

    def _count_unknown(self, task: Task, made: Predictions) -> None:
        """Words that no target has are never right; a file of other labels would not be seen otherwise."""
        unknown = np.array([word not in self.words[task.id] for word in made.vocabulary], bool)
        if made.labels is not None:
            self.odd[task.id][UNKNOWN] += int(np.append(unknown, False)[made.labels].sum())
        elif made.label_sets is not None:
            self.odd[task.id][UNKNOWN] += int(made.label_sets[:, unknown].any(axis=1).sum())

    def _probabilities(self, task: Task, rows: list[dict[str, Any]], classes: tuple[str, ...]) -> NDArray[np.float32] | None:
        given = [row["probabilities"] for row in rows]
        tried = np.array([numbers is not None for numbers in given], bool)
        if not any(given):
            self.odd[task.id][ODD_PROBABILITIES] += int(tried.sum())
            return None
        if not classes:
            raise BadInput(
                f"{self.where}: probabilities of {task.id}, and nobody says of what; give a JSON file too that says "
                '{"classes": {"TASK": [labels in their order]}}'
            )
        table, odd = matrix(given, len(classes))
        fine = ~odd & are_probabilities(table.astype(np.float64), one=task.answer == "label")
        self.odd[task.id][ODD_PROBABILITIES] += int((tried & ~fine).sum())
        return table

    def finish(self, details: dict[str, Any]) -> list[Bundle]:
        """Count what is missing, refuse what is wrong, write the manifests.

        Raises:
            BadInput: See `Problems.settle`; or no row is left.
        """
        tasks = sorted(set().union(*self.answered.values()))  # what is answered once is asked in every fold and seed
        for fold in self.held.split.folds if tasks else ():
            expected = self._expected(fold.id, tasks)
            for seed, task in product(sorted({seed for _, seed in self.answered}), tasks):
                lost = expected[task] - self.answered.get((fold.id, seed), Counter())[task]
                if lost > 0:
                    what = f"{lost} of {expected[task]} samples of {task} have no row (fold {fold.id}, seed {seed})"
                    self.problems.add(MISSING, self.where, what, lost, task)
        self.problems.settle()
        if not self.answered:
            raise BadInput(f"{self.where}: no row is left ({self.problems.summary() or 'there was none'})")
        return [self._bundle(place, tasks, details) for place in sorted(self.answered)]

    def _expected(self, fold: int, tasks: list[str]) -> Counter[str]:
        found: Counter[str] = Counter(dict.fromkeys(tasks, 0))
        for episode in self.held.present(self.held.split.folds[fold].test):
            for task, samples, targets in self.held.rows(episode, [self.tasks[t] for t in tasks]):
                found[task.id] += int((self._tested(episode, fold, task, samples) & targets.valid).sum())
        return found

    def _bundle(self, place: Place, tasks: list[str], details: dict[str, Any]) -> Bundle:
        folder = bundle_folder(self.folder, self.name, *place)
        routes = {task: "native" for task in self.tasks if task in tasks}
        notes = {task: note for task in routes if (note := self._note(task))}
        bundle = Bundle(
            folder, self.name, "imported", *place, self.held.split.hash, routes, self.about.fitted_on,
            {task: self.about.classes[task] for task in routes if task in self.about.classes},
            card={"title": "predictions made elsewhere"},
            details=details | ({"notes": notes} if notes else {}),
            imported=True, inputs=self.about.inputs,
        )  # fmt: skip
        bundle.save()
        return bundle

    def _note(self, task: str) -> str:
        odd = [f"{count} {what}" for what, count in self.odd[task].items() if count]
        return ", ".join(filter(None, (self.problems.note(task), *odd)))


def task_shape(held: Held, episode: str, task: Task) -> tuple[int, ...]:
    """Shape of one vector target of the episode, as ingest recorded it."""
    return tuple(EpisodeRecord.from_file(held.file(episode)).shapes.get(task.id, (1,)))


def predictions_of(task: Task, rows: list[dict[str, Any]], width: int, classes: tuple[str, ...] = ()) -> Predictions:
    """Rows of one task as arrays; a vector of another width than asked fails as `schema_error`."""
    status = np.array([row["status"] for row in rows], STATUS_DTYPE)
    arrays: dict[str, Any] = {}
    wrong = np.zeros(len(rows), bool)
    if task.answer == "label":
        words = tuple(dict.fromkeys((*classes, *(row["label"] for row in rows if row["label"] is not None))))
        place = {word: i for i, word in enumerate(words)}
        arrays = {"labels": np.array([place.get(row["label"], -1) for row in rows], np.int32), "vocabulary": words}
    elif task.answer == "label_set":
        words = tuple(dict.fromkeys((*classes, *(word for row in rows for word in row["labels"] or ()))))
        place = {word: i for i, word in enumerate(words)}
        sets = np.zeros((len(rows), len(words)), bool)
        for i, row in enumerate(rows):
            sets[i, [place[word] for word in row["labels"] or ()]] = True
        arrays = {"label_sets": sets, "vocabulary": words}
    else:
        for name in ("values",) if task.answer == "vector" else ("query", "key"):
            arrays[name], odd = matrix([row[name] for row in rows], width)
            wrong |= odd
    status = np.where(wrong & (status == Status.OK.value), Status.SCHEMA_ERROR.value, status)
    raw = tuple(row["raw"] for row in rows)
    seen = [np.nan if row["seen_until"] is None else row["seen_until"] for row in rows]
    return Predictions(
        status, raw=raw if any(raw) else None, seen_until=None if np.isnan(seen).all() else np.array(seen, np.float64), **arrays
    )


def matrix(values: list[list[float] | None], width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(n, width) numbers, NaN in rows that have none or another number of them; and (n,) which those are."""
    table = np.full((len(values), width), np.nan, np.float32)
    fits = np.array([value is not None and len(value) == width for value in values], bool)
    if fits.any():
        with np.errstate(over="ignore"):  # beyond float32 a number is infinite, and the row fails
            table[fits] = np.array([value for value, fit in zip(values, fits.tolist(), strict=True) if fit], np.float64)
    return table, ~fits


def _usual_width(values: list[list[float] | None]) -> int:
    widths = Counter(len(value) for value in values if value)
    return widths.most_common(1)[0][0] if widths else 1
