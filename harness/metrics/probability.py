"""How good the probabilities of a branch are, where it gives any: log-loss, Brier score and calibration."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.episode import BoolArray
from harness.metrics.base import State, number, pack, ratio

OTHER = "__other__"
"""The class of every label that a branch does not know; its probability is 0 where the branch offers none for it."""
PROBABILITY_FLOOR = 1e-4
"""No probability counts as less, so that one impossible answer costs 9.2 nats and not infinitely many."""
BINS = 15
_SUM_TOLERANCE = 1e-2  # float16 probabilities over a thousand classes do not sum to 1 exactly
_HEAD = 5

# A row without usable probabilities costs what the worst answer does.
_WORST_LOG_LOSS = -float(np.log(PROBABILITY_FLOOR))


def probability_state(truth: Targets, rows: Predictions, classes: tuple[str, ...], seen: BoolArray) -> State:
    """(5 + 3 BINS,) sums over one episode's rows.

    decisions, log-loss, Brier score, truths, truths that are `__other__`; then per confidence bin the decisions, their confidence
    and their hits. A decision is a row (labels) or a (row, word of the evaluation) pair (label sets), the same for every branch.
    A failed row, one without numbers and one whose numbers are no probabilities costs the worst of both scores and enters no bin.

    Args:
        truth: Labels or label sets, all rows valid.
        rows: Row for row; `probabilities` (n, C) over `classes`.
        classes: What the probabilities are over, as the bundle says.
        seen: Of the truth's words, those that train has. Only the others are `__other__`: a word of train that a branch does not
            list has the probability 0.
    """
    p: NDArray[np.float64] = np.zeros((len(rows), len(classes)))
    usable: NDArray[np.bool_] = np.zeros(len(rows), bool)
    if rows.probabilities is not None and rows.probabilities.shape[1] == len(classes) and classes:
        p = rows.probabilities.astype(np.float64)
        usable = rows.ok & are_probabilities(p, one=truth.labels is not None)
    if truth.labels is not None:
        total = p.sum(axis=1)
        return _labels(truth, np.where(usable[:, None], p, 0.0) / np.where(usable, total, 1.0)[:, None], usable, classes, seen)
    return _sets(truth, np.where(usable[:, None], np.minimum(p, 1.0), 0.0), usable, classes, seen)


def are_probabilities(p: NDArray[np.float64], *, one: bool) -> BoolArray:
    """Rows whose numbers are probabilities.

    Args:
        p: (n, C) numbers.
        one: True where one class is right, and so the numbers of a row sum to 1.

    Returns:
        (n,) bool.
    """
    fine: BoolArray = np.asarray((np.isfinite(p) & (p >= 0) & (p <= 1 + _SUM_TOLERANCE)).all(axis=1), bool)
    with np.errstate(all="ignore"):  # rows that are not finite are none already
        return fine & (np.abs(p.sum(axis=1) - 1) <= _SUM_TOLERANCE) if one else fine


def _labels(truth: Targets, p: NDArray[np.float64], usable: BoolArray, classes: tuple[str, ...], seen: BoolArray) -> State:
    assert truth.labels is not None, "a label task has labels"
    position = {word: i for i, word in enumerate(classes)}
    nowhere = p.shape[1]  # a last column of zeros
    p = np.concatenate([p, np.zeros((len(p), 1))], axis=1)
    other = [not known and word not in position for word, known in zip(truth.vocabulary, seen, strict=True)]
    fallback = [position.get(OTHER, nowhere) if is_other else nowhere for is_other in other]
    table = np.array([position.get(word, at) for word, at in zip(truth.vocabulary, fallback, strict=True)], np.int64)
    code = table[truth.labels]
    of_truth = p[np.arange(len(p)), code]
    log_loss = np.where(usable, -np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0)), _WORST_LOG_LOSS)
    brier = np.where(usable, (p**2).sum(axis=1) - 2 * of_truth + 1, 2.0)
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == code
    head = [len(p), log_loss.sum(), brier.sum(), len(p), np.array(other, bool)[truth.labels].sum()]
    return pack(*head, *_bins(confidence[usable], hit[usable]))


def _sets(truth: Targets, p: NDArray[np.float64], usable: BoolArray, classes: tuple[str, ...], seen: BoolArray) -> State:
    assert truth.label_sets is not None, "a label-set task has sets"
    position = {word: i for i, word in enumerate(classes)}
    listed = np.array([position.get(word, -1) for word in truth.vocabulary], np.int64)
    on_words = np.where(listed >= 0, p[:, listed], 0.0) if p.shape[1] else np.zeros(truth.label_sets.shape)
    of_truth = np.where(truth.label_sets, on_words, 1 - on_words)
    log_loss = np.where(usable[:, None], -np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0)), _WORST_LOG_LOSS)
    brier = np.where(usable[:, None], (1 - of_truth) ** 2, 1.0)
    other = truth.label_sets[:, (listed < 0) & ~seen].sum()
    head = [on_words.size, log_loss.sum(), brier.sum(), truth.label_sets.sum(), other]
    return pack(*head, *_bins(on_words[usable].ravel(), truth.label_sets[usable].ravel()))


def _bins(confidence: NDArray[np.float64], hit: BoolArray) -> tuple[NDArray[np.float64], ...]:
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    weights: tuple[NDArray[np.float64], ...] = (np.ones(len(place)), confidence, hit.astype(np.float64))
    return tuple(np.asarray(np.bincount(place, weight, minlength=BINS), np.float64) for weight in weights)


def probability_values(state: State) -> dict[str, float | None]:
    """`log_loss` (nats), `brier`, `ece` (expected calibration error over `BINS` equal bins), and what they stand on.

    Guo et al. 2017 for the calibration error; the Brier score of labels is summed over classes (0 .. 2). `ece_share` is the
    share of decisions that the calibration error is of (failed rows are in no bin), `other_share` that of truths that are
    `__other__`.
    """
    decisions, log_loss, brier, truths, other = state[:_HEAD]
    count, confidence, hits = state[_HEAD:].reshape(3, BINS)
    return {
        "log_loss": number(ratio(log_loss, decisions)),
        "brier": number(ratio(brier, decisions)),
        "ece": number(ratio(np.abs(confidence - hits).sum(), count.sum())),
        "ece_share": number(ratio(count.sum(), decisions)),
        "other_share": number(ratio(other, truths)),
        "probability_floor": PROBABILITY_FLOOR,
    }
