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
_HEAD = 4

# A row without usable probabilities costs what the worst answer does.
_WORST_LOG_LOSS = -float(np.log(PROBABILITY_FLOOR))


def probability_state(truth: Targets, rows: Predictions, classes: tuple[str, ...]) -> State | None:
    """(4 + 3 BINS,) sums over one episode's rows; None where the branch offers no probabilities.

    decisions, log-loss, Brier score, decisions whose truth is `__other__`; then per confidence bin the decisions, their
    confidence and their hits. A decision is a row (labels) or a (row, class) pair (label sets). A failed row, and one whose
    numbers are no probabilities, costs the worst of both scores and enters no bin.

    Args:
        truth: Labels or label sets, all rows valid.
        rows: Row for row; `probabilities` (n, C) over `classes`.
        classes: What the probabilities are over, as the bundle says.
    """
    if rows.probabilities is None or rows.probabilities.shape[1] != len(classes) or not classes:
        return None
    p = rows.probabilities.astype(np.float64)
    usable = rows.ok & np.isfinite(p).all(axis=1) & (p >= 0).all(axis=1) & (p <= 1 + _SUM_TOLERANCE).all(axis=1)
    if truth.labels is not None:
        usable &= np.abs(p.sum(axis=1) - 1) <= _SUM_TOLERANCE
        return _labels(truth, p, usable, classes)
    return _sets(truth, p, usable, classes) if truth.label_sets is not None else None


def _labels(truth: Targets, p: NDArray[np.float64], usable: BoolArray, classes: tuple[str, ...]) -> State:
    assert truth.labels is not None, "a label task has labels"
    position = {word: i for i, word in enumerate(classes)}
    if OTHER not in position:
        position[OTHER] = len(classes)
        p = np.concatenate([p, np.zeros((len(p), 1))], axis=1)
    table = np.array([position.get(word, position[OTHER]) for word in truth.vocabulary], np.int64)
    code = table[truth.labels]
    of_truth = p[np.arange(len(p)), code]
    log_loss = np.where(usable, -np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0)), _WORST_LOG_LOSS)
    brier = np.where(usable, (np.where(usable[:, None], p, 0.0) ** 2).sum(axis=1) - 2 * of_truth + 1, 2.0)
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == code
    head = [len(p), log_loss.sum(), brier.sum(), (code == position[OTHER]).sum()]
    return pack(*head, *_bins(confidence[usable], hit[usable]))


def _sets(truth: Targets, p: NDArray[np.float64], usable: BoolArray, classes: tuple[str, ...]) -> State:
    assert truth.label_sets is not None, "a label-set task has sets"
    position = {word: i for i, word in enumerate(truth.vocabulary)}
    known = np.array([position.get(word, -1) for word in classes])
    is_true = np.where(known >= 0, truth.label_sets[:, known], False)
    of_truth = np.where(is_true, p, 1 - p)
    log_loss = np.where(usable[:, None], -np.log(np.clip(of_truth, PROBABILITY_FLOOR, 1.0)), _WORST_LOG_LOSS)
    brier = np.where(usable[:, None], (1 - of_truth) ** 2, 1.0)
    # Labels that the branch does not know have the probability 0: those that are true cost the worst, the others nothing.
    other = truth.label_sets.sum() - is_true.sum()
    head = [p.size + other, log_loss.sum() + other * _WORST_LOG_LOSS, brier.sum() + other, other]
    return pack(*head, *_bins(p[usable].ravel(), is_true[usable].ravel()))


def _bins(confidence: NDArray[np.float64], hit: BoolArray) -> tuple[NDArray[np.float64], ...]:
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    weights: tuple[NDArray[np.float64], ...] = (np.ones(len(place)), confidence, hit.astype(np.float64))
    return tuple(np.asarray(np.bincount(place, weight, minlength=BINS), np.float64) for weight in weights)


def probability_values(state: State) -> dict[str, float | None]:
    """`log_loss` (nats), `brier`, `ece` (expected calibration error over `BINS` equal bins), `other_share`.

    Guo et al. 2017 for the calibration error; the Brier score of labels is summed over classes (0 .. 2).
    """
    decisions, log_loss, brier, other = state[:_HEAD]
    count, confidence, hits = state[_HEAD:].reshape(3, BINS)
    return {
        "log_loss": number(ratio(log_loss, decisions)),
        "brier": number(ratio(brier, decisions)),
        "ece": number(ratio(np.abs(confidence - hits).sum(), count.sum())),
        "other_share": number(ratio(other, decisions)),
        "probability_floor": PROBABILITY_FLOOR,
    }
