"""Rows of published answers as the arrays that targets and predictions are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.answers import STATUS_DTYPE, Predictions, Status, Targets
from harness.imports.published import UNKNOWN
from harness.imports.qa_row import Answer, QaRow
from harness.tasks.qa import QaTask
from harness.window import Samples, WindowSpec


def samples_of(episode: str, rows: Sequence[QaRow], spec: WindowSpec) -> Samples:
    """Windows as the rows say; where one does not, its rank. The rows have frames and no clock: t0 is not known."""
    starts = [row.window[0] if row.window else rank for rank, row in enumerate(rows)]
    ids = np.array([row.id for row in rows], np.str_)
    return Samples(episode, "window", ids, np.array(starts, np.int64)[:, None], spec.length, np.full(len(rows), np.nan))


def targets_of(task: QaTask, rows: Sequence[QaRow]) -> Targets:
    """What is true; "unknown" and what a row does not say is not scored, as in the published figures."""
    if task.id == "qa_json":
        return Targets(np.ones(len(rows), bool), labels=np.zeros(len(rows), np.int32), vocabulary=task.words)
    values = [None if (value := row.truth.get(task.field)) == UNKNOWN else value for row in rows]
    valid = np.array([value is not None for value in values], bool)
    if task.answer == "label_set":
        sets, words = _sets([value or () for value in values])
        return Targets(valid, label_sets=sets, vocabulary=words)
    codes, words = _codes(values)
    return Targets(valid, labels=codes, vocabulary=words)


def answers_of(task: QaTask, rows: Sequence[QaRow]) -> Predictions:
    """What is answered. The text is kept for every failed row, and for all rows where the text is what is asked about."""
    name = task.field or "json"
    answers = [row.answers.get(name, Answer(Status.UNSUPPORTED.value)) for row in rows]
    status = np.array([answer.status for answer in answers], STATUS_DTYPE)
    ok = status == Status.OK.value
    raw = tuple(row.raw if name == "json" or not fine else None for row, fine in zip(rows, ok.tolist(), strict=True))
    if task.answer == "label_set":
        sets, words = _sets([answer.value or () for answer in answers])
        return Predictions(status, label_sets=sets, vocabulary=words, raw=raw)
    codes, words = _codes([answer.value for answer in answers])
    return Predictions(status, labels=codes, vocabulary=words, raw=raw)


def _codes(values: Sequence[Any]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    words = tuple(sorted({value for value in values if value is not None}))
    place = {word: code for code, word in enumerate(words)}
    return np.array([-1 if value is None else place[value] for value in values], np.int32), words


def _sets(values: Sequence[Any]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    words = tuple(sorted({word for value in values for word in value}))
    place = {word: code for code, word in enumerate(words)}
    sets = np.zeros((len(values), len(words)), bool)
    sizes = [len(value) for value in values]
    sets[np.repeat(np.arange(len(values)), sizes), [place[word] for value in values for word in value]] = True
    return sets, words
