"""What is asked of a sample and what is answered: the arrays that targets and predictions share.

Both are tables of n rows of one task. Labels are codes into a vocabulary that travels with the rows, so that nothing here or
in a metric loops over strings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.boundaries import Boundaries
from harness.episode import BoolArray, FloatArray

AnswerKind = Literal["label", "label_set", "vector", "retrieval"]


class Status(StrEnum):
    """How a row came out. Everything but `ok` is a failure and is scored as one."""

    OK = "ok"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    PARSE_ERROR = "parse_error"
    SCHEMA_ERROR = "schema_error"
    DECODE_ERROR = "decode_error"
    OOM = "oom"
    UNSUPPORTED = "unsupported"
    MISSING = "missing"
    """No row in the bundle: never written by a branch, only found by the evaluator."""


# Wide enough for every status: NumPy would cut a longer word that is written into a narrower column.
STATUS_DTYPE = "<U16"


@dataclass(frozen=True, eq=False)
class Targets:
    """The truth for n samples of one task.

    Attributes:
        valid: (n,) False where the sample has no truth (no label, horizon past the end): not scored, counted.
        labels: (n,) int32 codes into `vocabulary` (label tasks), -1 where not valid.
        label_sets: (n, K) bool over `vocabulary` (label-set tasks).
        vocabulary: What the codes stand for.
        values: (n, D) float32 (vector tasks).
        mask: (n, D) True where `values` is measured; None = everywhere in valid rows.
        reference: (n, D) float32, persistence for continuous futures; None where train statistics are the reference.
        item: (n,) int32 (retrieval tasks): rows with equal items are the same content, so each is a hit for the other.
        boundaries: The changes of action around each row (`transition_detection`); None elsewhere, and where they are not known.
        lacking: (n,) modalities that the recording has and that are measured nowhere in what the row shows, as `audio+depth`;
            empty where nothing is missing. None = nothing is.
    """

    valid: BoolArray
    labels: NDArray[np.int32] | None = None
    label_sets: BoolArray | None = None
    vocabulary: tuple[str, ...] = ()
    values: NDArray[np.float32] | None = None
    mask: BoolArray | None = None
    reference: NDArray[np.float32] | None = None
    item: NDArray[np.int32] | None = None
    boundaries: Boundaries | None = None
    lacking: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.valid)

    def words(self) -> list[str]:
        """Labels that valid rows really carry (a vocabulary may hold more)."""
        if self.labels is not None:
            codes = np.unique(self.labels[self.valid])
            return [self.vocabulary[c] for c in codes.tolist() if c >= 0]
        if self.label_sets is not None:
            used = np.flatnonzero(self.label_sets[self.valid].any(axis=0))
            return [self.vocabulary[i] for i in used.tolist()]
        return []

    def take(self, index: NDArray | slice) -> "Targets":
        """The rows at `index`."""
        rows: dict[str, Any] = {k: _rows(getattr(self, k), index) for k in _TARGET_ARRAYS}
        boundaries = None if self.boundaries is None else self.boundaries.take(index)
        return replace(self, boundaries=boundaries, **rows)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers to n samples of one task, in physical units.

    Attributes:
        status: (n,) `Status` values as strings.
        labels: (n,) int32 codes into `vocabulary`, -1 where the row failed.
        label_sets: (n, K) bool over `vocabulary`.
        vocabulary: What codes and sets are over: the classes the branch knows from train, then any other word it answered.
        probabilities: (n, C) float32 over the first C words of the vocabulary: classes summing to 1 (labels), or per label
            (sets); None where a branch offers none.
        values: (n, D) float32.
        query: (n, E) float32; retrieval only.
        key: (n, E) float32; retrieval only.
        raw: Per row the text of the answer where there is one; kept for failed rows too.
        seen_until: (n,) seconds on the episode's time base: the latest moment of anything the row was shown; NaN or None where
            nobody knows.
    """

    status: NDArray[np.str_]
    labels: NDArray[np.int32] | None = None
    label_sets: BoolArray | None = None
    vocabulary: tuple[str, ...] = ()
    probabilities: NDArray[np.float32] | None = None
    values: NDArray[np.float32] | None = None
    query: NDArray[np.float32] | None = None
    key: NDArray[np.float32] | None = None
    raw: tuple[str | None, ...] | None = field(default=None)
    seen_until: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.status)

    @property
    def ok(self) -> BoolArray:
        """(n,) True where the row answers."""
        return np.asarray(self.status == Status.OK.value, bool)

    def take(self, index: NDArray | slice) -> "Predictions":
        """The rows at `index`."""
        rows: dict[str, Any] = {k: _rows(getattr(self, k), index) for k in _PREDICTION_ARRAYS}
        taken = replace(self, **rows)
        raw = None if self.raw is None else tuple(self.raw[i] for i in np.arange(len(self))[index])
        return replace(taken, raw=raw)


_TARGET_ARRAYS = ("valid", "labels", "label_sets", "values", "mask", "reference", "item", "lacking")
_PREDICTION_ARRAYS = ("status", "labels", "label_sets", "probabilities", "values", "query", "key", "seen_until")


def _rows(array: NDArray | None, index: NDArray | slice) -> NDArray | None:
    return None if array is None else array[index]


def all_ok(n: int) -> NDArray[np.str_]:
    """(n,) status column of rows that all answer."""
    return np.full(n, Status.OK.value, STATUS_DTYPE)


def failed(n: int, status: Status, kind: AnswerKind, width: int, vocabulary: Sequence[str] = ()) -> Predictions:
    """n rows that all failed for one reason, shaped like answers of their kind.

    Args:
        n: Rows.
        status: Why.
        kind: Which arrays an answer of this task has.
        width: D of a vector task, E of a retrieval task.
        vocabulary: Classes of a label or label-set task.
    """
    vocabulary = tuple(vocabulary)
    nan = np.full((n, width), np.nan, np.float32)
    return Predictions(
        status=np.full(n, status.value, STATUS_DTYPE),
        labels=np.full(n, -1, np.int32) if kind == "label" else None,
        label_sets=np.zeros((n, len(vocabulary)), bool) if kind == "label_set" else None,
        vocabulary=vocabulary,
        values=nan if kind == "vector" else None,
        query=nan if kind == "retrieval" else None,
        key=nan if kind == "retrieval" else None,
    )


def recode(codes: NDArray[np.int32], old: Sequence[str], new: Sequence[str], other: int = -1) -> NDArray[np.int32]:
    """Codes over `old` as codes over `new`; -1 stays -1, words that `new` lacks become `other`."""
    position = {word: i for i, word in enumerate(new)}
    table = np.array([*(position.get(word, other) for word in old), -1], np.int32)
    return table[codes]


def recode_sets(sets: BoolArray, old: Sequence[str], new: Sequence[str]) -> BoolArray:
    """(n, len(new)) multi-hot of the words that both vocabularies have."""
    position = {word: i for i, word in enumerate(new)}
    out = np.zeros((len(sets), len(new)), bool)
    shared = [(i, position[word]) for i, word in enumerate(old) if word in position]
    if shared:
        source, destination = np.array(shared).T
        out[:, destination] = sets[:, source]
    return out


def concatenate(parts: list[Predictions]) -> Predictions:
    """Rows of several batches of one task. Their vocabularies may differ in the words after the classes of train.

    A part in which every row failed may lack an array, or have it in another width: its rows are filled up as failures are.
    """
    parts = _one_vocabulary(parts)
    empty: dict[str, Any] = {
        "labels": -1,
        "label_sets": False,
        "probabilities": np.nan,
        "values": np.nan,
        "query": np.nan,
        "key": np.nan,
        "seen_until": np.nan,
    }

    def join(name: str) -> Any:
        found = [array for part in parts if (array := getattr(part, name)) is not None]
        if not found:
            return None
        shape = max(array.shape[1:] for array in found)
        filler = [np.full((len(part), *shape), empty[name], found[0].dtype) for part in parts]
        arrays = [getattr(part, name) for part in parts]
        fits = [array is not None and array.shape[1:] == shape for array in arrays]
        return np.concatenate([array if fit else fill for array, fit, fill in zip(arrays, fits, filler, strict=True)])

    texts = [(None,) * len(part) if part.raw is None else part.raw for part in parts]
    raw = None if all(part.raw is None for part in parts) else tuple(text for part in texts for text in part)
    status = np.concatenate([part.status for part in parts])
    return replace(parts[0], status=status, raw=raw, **{name: join(name) for name in empty})


def _one_vocabulary(parts: list[Predictions]) -> list[Predictions]:
    """The same rows over the words of all parts, in the order in which they are met: what all begin with stays in front."""
    words = tuple(dict.fromkeys(word for part in parts for word in part.vocabulary))

    def over(part: Predictions) -> Predictions:
        labels = None if part.labels is None else recode(part.labels, part.vocabulary, words)
        sets = None if part.label_sets is None else recode_sets(part.label_sets, part.vocabulary, words)
        return replace(part, labels=labels, label_sets=sets, vocabulary=words)

    return [part if part.vocabulary == words else over(part) for part in parts]
