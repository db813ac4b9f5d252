"""What needs no model: statistics of the training targets, the floors made of them, and the privileged rows made of targets.

The floors stand here and not in `branches/` because the evaluator puts one under every task whether or not a branch wrote it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Status, Targets, all_ok, recode, recode_sets
from harness.tasks.base import Task


@dataclass
class TrainStatistics:
    """Counts and moments of the training targets of one task, gathered one episode at a time.

    Attributes:
        counts: Label -> rows that carry it.
        rows: Valid rows.
        set_sizes: Sum of set sizes (label sets).
        shift: (D,) first row seen; sums are of differences from it, so that a large constant does not drown a small spread.
        total: (D,) sums of measured values less `shift`; None before the first vector.
        squares: (D,) sums of their squares.
        measured: (D,) measured rows.
    """

    counts: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    set_sizes: int = 0
    shift: NDArray[np.float64] | None = None
    total: NDArray[np.float64] | None = None
    squares: NDArray[np.float64] | None = None
    measured: NDArray[np.float64] | None = None

    def add(self, targets: Targets) -> None:
        """Take in the valid rows of one episode."""
        valid = targets.valid
        self.rows += int(valid.sum())
        if targets.labels is not None:
            self._count(np.bincount(targets.labels[valid], minlength=len(targets.vocabulary)), targets.vocabulary)
        if targets.label_sets is not None:
            self._count(targets.label_sets[valid].sum(axis=0), targets.vocabulary)
            self.set_sizes += int(targets.label_sets[valid].sum())
        if targets.values is not None:
            self._moments(targets.values[valid], None if targets.mask is None else targets.mask[valid])

    def _count(self, counts: NDArray, vocabulary: tuple[str, ...]) -> None:
        for word, n in zip(vocabulary, counts.tolist(), strict=True):
            if n:
                self.counts[word] = self.counts.get(word, 0) + n

    def _moments(self, values: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
        if not len(values):
            return
        known = np.ones(values.shape, bool) if mask is None else mask
        if self.total is None:
            first = values[known.argmax(axis=0), np.arange(values.shape[1])].astype(np.float64)
            self.shift = np.where(known.any(axis=0), first, 0.0)
            self.total, self.squares, self.measured = (np.zeros(values.shape[1]) for _ in range(3))
        assert self.squares is not None and self.measured is not None and self.shift is not None
        exact = np.where(known, values - self.shift, 0.0)
        self.total += exact.sum(axis=0)
        self.squares += (exact**2).sum(axis=0)
        self.measured += known.sum(axis=0)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels that occur, sorted."""
        return tuple(sorted(self.counts))

    @property
    def frequencies(self) -> NDArray[np.float32]:
        """(K,) share of the valid rows that carry each class."""
        return np.array([self.counts[c] / max(self.rows, 1) for c in self.classes], np.float32)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) mean of the measured values; 0 where nothing was measured."""
        if self.total is None or self.measured is None or self.shift is None:
            return np.zeros(0)
        return np.asarray(np.where(self.measured > 0, self.shift + self.total / np.maximum(self.measured, 1), 0.0))

    @property
    def std(self) -> NDArray[np.float64]:
        """(D,) standard deviation; 1 where it is below 1e-6."""
        std = np.sqrt(self.variance)
        return np.where(std < 1e-6, 1.0, std)

    @property
    def variance(self) -> NDArray[np.float64]:
        """(D,) variance of the measured values."""
        if self.total is None or self.squares is None or self.measured is None:
            return np.zeros(0)
        n = np.maximum(self.measured, 1)
        return np.asarray(np.maximum(self.squares / n - (self.total / n) ** 2, 0.0))

    def prior_set(self) -> NDArray[np.bool_]:
        """(K,) the one set that, answered everywhere, has the best micro-F1 on the training rows."""
        frequencies = self.frequencies.astype(np.float64)
        if not len(frequencies):
            return np.zeros(0, bool)
        order = np.argsort(-frequencies, kind="stable")
        hits = np.cumsum(frequencies[order])
        size = np.arange(1, len(order) + 1)
        f1 = 2 * hits / (size + self.set_sizes / max(self.rows, 1))
        best = int(np.argmax(f1)) + 1
        out = np.zeros(len(order), bool)
        out[order[:best]] = True
        return out


def majority(statistics: TrainStatistics, n: int) -> Predictions:
    """The most common training label in every row (the alphabetically first of equals), with the train prior as probabilities."""
    frequencies = statistics.frequencies
    best = int(np.argmax(frequencies))
    return Predictions(
        all_ok(n),
        labels=np.full(n, best, np.int32),
        vocabulary=statistics.classes,
        probabilities=np.repeat(frequencies[None] / max(float(frequencies.sum()), 1e-12), n, axis=0),
    )


def prior(task: Task, statistics: TrainStatistics, n: int) -> Predictions:
    """What train says before any input: the majority label, the best constant set, or the mean."""
    if task.answer == "label":
        return majority(statistics, n)
    if task.answer == "label_set":
        return Predictions(
            all_ok(n),
            label_sets=np.repeat(statistics.prior_set()[None], n, axis=0),
            vocabulary=statistics.classes,
            probabilities=np.repeat(statistics.frequencies[None], n, axis=0),
        )
    return Predictions(all_ok(n), values=np.repeat(statistics.mean[None], n, axis=0).astype(np.float32))


CHANCE_WIDTH = 32  # numbers per random vector in retrieval


def chance(task: Task, statistics: TrainStatistics, seeds: NDArray[np.uint64]) -> Predictions:
    """A guess that depends on nothing but the row's seed: uniform labels, fair-coin sets, random vectors."""
    n, classes = len(seeds), statistics.classes
    if task.answer == "label":
        codes = np.floor(uniform(seeds, 1)[:, 0] * len(classes)).astype(np.int32)
        flat = np.full((n, len(classes)), 1 / max(len(classes), 1), np.float32)
        return Predictions(all_ok(n), labels=codes, vocabulary=classes, probabilities=flat)
    if task.answer == "label_set":
        coins = uniform(seeds, len(classes))
        return Predictions(
            all_ok(n), label_sets=coins < 0.5, vocabulary=classes, probabilities=np.full(coins.shape, 0.5, np.float32)
        )
    return Predictions(all_ok(n), values=(uniform(seeds, CHANCE_WIDTH) - 0.5).astype(np.float32))


def uniform(seeds: NDArray[np.uint64], k: int) -> NDArray[np.float64]:
    """(n, k) numbers in [0, 1), a fixed function of each row's seed (SplitMix64: Steele, Lea and Flood 2014)."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = seeds[:, None] + golden * np.arange(1, k + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / 2.0**53)


def floor_rows(task: Task, statistics: TrainStatistics, targets: Targets, seeds: NDArray[np.uint64]) -> Predictions:
    """The answers of the task's floor, row for row of `targets`.

    Retrieval floors have a closed form instead (`Metric.chance`).
    """
    n = len(targets)
    if task.floor == "persistence":
        assert targets.reference is not None, f"task {task.id} has persistence as floor and no reference"
        return Predictions(all_ok(n), values=targets.reference)
    if task.floor == "chance":
        return chance(task, statistics, seeds)
    return majority(statistics, n) if task.floor.startswith("majority") else prior(task, statistics, n)


PRIVILEGED = {"oracle": "the target itself", "copy": "the label of the present, which no branch is given"}


def oracle(task: Task, targets: Targets) -> Predictions:
    """The target as answer: the ceiling, and a test that every metric reaches it."""
    n = len(targets)
    status = np.where(targets.valid, Status.OK.value, Status.UNSUPPORTED.value)
    if task.answer == "retrieval":
        assert targets.item is not None
        vectors = (uniform(targets.item.astype(np.uint64), 64) - 0.5).astype(np.float32)
        return Predictions(status, query=vectors, key=vectors)
    return Predictions(
        status,
        labels=targets.labels,
        label_sets=targets.label_sets,
        vocabulary=targets.vocabulary,
        values=targets.values if targets.values is None else np.nan_to_num(targets.values, nan=0.0).reshape(n, -1),
    )


def copy_current(task: Task, targets: Targets, current: Targets) -> Predictions:
    """The present's label as the answer about the future; rows without a present label fail as `unsupported`.

    Args:
        task: One with `copies`.
        targets: Its own targets, for the vocabulary.
        current: Targets of the task named by `task.copies`, for the same samples.
    """
    status = np.where(current.valid, Status.OK.value, Status.UNSUPPORTED.value)
    vocabulary = tuple(dict.fromkeys((*targets.vocabulary, *current.vocabulary)))
    return Predictions(
        status,
        labels=None if current.labels is None else recode(current.labels, current.vocabulary, vocabulary),
        label_sets=None if current.label_sets is None else recode_sets(current.label_sets, current.vocabulary, vocabulary),
        vocabulary=vocabulary,
    )
