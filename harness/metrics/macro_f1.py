"""Macro-F1: every class that occurs in the test rows weighs the same."""

from heapq import heapify, heapreplace

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets, recode
from harness.episode import BoolArray
from harness.metrics.base import Details, Metric, State, number, pack, ratio


class MacroF1(Metric):
    """Mean F1 over the classes with support in the test rows.

    State (3 C,): true positives, false positives and false negatives per class of `context.classes`. A failed row is a false
    negative of its true class, and a false positive of the train majority where that is another one: answering the majority is
    never worse than failing. An answer outside `context.classes` is charged alike: a word that nothing is called is no free
    abstention. (Where train has no majority, in questions that take any text, both are a false negative alone.)
    """

    name = "macro_f1"
    direction = "up"
    mean_over_rows = False
    margin = 0.02
    limits = (0.0, 1.0)
    bounded = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(3 C,) counts of one episode's rows."""
        assert targets.labels is not None and predictions.labels is not None, "macro-F1 needs labels"
        classes = self.context.classes
        truth = recode(targets.labels, targets.vocabulary, classes)
        if (truth < 0).any():
            raise ValueError("macro-F1: a target label is missing or not among the classes of the metric context")
        guess = np.where(predictions.ok, recode(predictions.labels, predictions.vocabulary, classes), -1)
        hit = guess == truth
        usual = np.flatnonzero(self.context.usual)
        charged = np.where((guess < 0) & (truth != usual[0]), usual[0], guess) if len(usual) else guess
        false_positive = charged[~hit & (charged >= 0)]
        return pack(*(np.bincount(codes, minlength=len(classes)) for codes in (truth[hit], false_positive, truth[~hit])))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) macro-F1; NaN where no class has support."""
        return macro_f1(*self._counts(states))

    def details(self, states: State) -> Details:
        """`accuracy`, `balanced_accuracy` (mean recall over the supported classes), `classes_with_support`."""
        true_positive, _, false_negative = self._counts(states)
        support = true_positive + false_negative
        recall = ratio(true_positive, support)[support > 0]
        return {
            "accuracy": number(ratio(true_positive.sum(), support.sum())),
            "balanced_accuracy": number(ratio(recall.sum(), len(recall))),
            "classes_with_support": float(len(recall)),
        }

    def seen_unseen(self, states: State) -> tuple[float | None, float | None]:
        """Macro-F1 over the supported classes that occur in train, and over those that do not.

        The false positives of a class come from all rows, so the two are parts of the value and not scores of two subsets.
        """
        counts = self._counts(states)
        seen = self.context.seen
        return number(macro_f1(*counts, among=seen)), number(macro_f1(*counts, among=~seen))

    def lowest(self, answered: State, right: State) -> float | None:
        """Macro-F1 if every failed row had given the wrong answer that costs most.

        Each costs its own class a hit, and may be a false positive of any other class. F1 is convex in the false positives of a
        class, so taking the dearest one each time is best; a class takes no more than the failed rows of the other classes.
        """
        true_positive, false_positive, false_negative = (part.copy() for part in self._counts(answered))
        failed = self._counts(right)[0] - true_positive
        false_negative += failed
        _charge_dearest(true_positive, false_positive, false_negative, failed)
        return number(macro_f1(true_positive, false_positive, false_negative))

    def chance(self, targets: Targets) -> State | None:
        """(3 C,) expected counts of a guess that takes each label of train alike; None where train has none."""
        assert targets.labels is not None, "macro-F1 needs labels"
        seen = self.context.seen
        if not seen.any():
            return None
        rows = np.bincount(recode(targets.labels, targets.vocabulary, self.context.classes), minlength=len(seen))
        guessed = seen / seen.sum()
        return pack(rows * guessed, (rows.sum() - rows) * guessed, rows * (1 - guessed))

    def _counts(self, states: State) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        parts = states.reshape(*states.shape[:-1], 3, len(self.context.classes))
        return parts[..., 0, :], parts[..., 1, :], parts[..., 2, :]


def _charge_dearest(true_positive: NDArray, false_positive: NDArray, false_negative: NDArray, failed: NDArray) -> None:
    """Add one false positive for each of the (C,) failed rows, in place, each where it lowers the sum of F1 most."""

    def price(k: int) -> float:
        size = 2 * true_positive[k] + false_positive[k] + false_negative[k]
        return -2 * true_positive[k] / (size * (size + 1)) if size > 0 and left[k] > 0 else 0.0

    total = int(failed.sum())
    left = total - failed
    dearest = [(price(k), k) for k in range(len(failed))]
    heapify(dearest)
    for _ in range(total if dearest else 0):
        cost, k = dearest[0]
        if cost == 0:
            return
        false_positive[k] += 1
        left[k] -= 1
        heapreplace(dearest, (price(k), k))


def macro_f1(
    true_positive: NDArray, false_positive: NDArray, false_negative: NDArray, among: BoolArray | None = None
) -> NDArray[np.float64]:
    """(...) mean F1 over the supported classes of (..., C) counts; NaN where there is none.

    Args:
        true_positive: Hits.
        false_positive: Answers of the class where another was true.
        false_negative: Rows of the class that got another answer or none.
        among: (C,) True for the classes to take; None = all.
    """
    supported = true_positive + false_negative > 0
    if among is not None:
        supported = supported & among
    f1 = ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)
    return ratio(np.where(supported, f1, 0.0).sum(axis=-1), supported.sum(axis=-1))
