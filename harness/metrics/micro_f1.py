"""Micro-F1 of label sets: every (row, label) decision weighs the same."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets, recode_sets
from harness.episode import BoolArray
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.macro_f1 import macro_f1


class MicroF1(Metric):
    """F1 of all (row, label) decisions together.

    State (3 C + 3,): true positives, false positives and false negatives per label of `context.classes`, then false positives
    of words that no target has, rows, and rows whose set is exactly right. A failed row has no hit and is charged with the wrong
    labels of the train prior's set, so that answering that set is never worse; it is never exactly right.
    """

    name = "micro_f1"
    direction = "up"
    mean_over_rows = False
    margin = 0.02
    limits = (0.0, 1.0)
    bounded = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(3 C + 3,) counts of one episode's rows."""
        assert targets.label_sets is not None and predictions.label_sets is not None, "micro-F1 needs label sets"
        classes = self.context.classes
        truth = recode_sets(targets.label_sets, targets.vocabulary, classes)
        if truth.sum() != targets.label_sets.sum():
            raise ValueError("micro-F1: a target label is not among the classes of the metric context")
        answer = predictions.label_sets & predictions.ok[:, None]
        guess = recode_sets(answer, predictions.vocabulary, classes)
        stray = answer.sum(axis=1) - guess.sum(axis=1)
        exact = (guess == truth).all(axis=1) & (stray == 0) & predictions.ok
        usual = self.context.usual if len(self.context.usual) else np.zeros(len(classes), bool)
        charged = np.where(predictions.ok[:, None], guess, usual)
        counts = [(truth & guess).sum(axis=0), (charged & ~truth).sum(axis=0), (truth & ~guess).sum(axis=0)]
        return pack(*counts, stray.sum(), len(truth), exact.sum())

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) micro-F1; NaN where nothing is true and nothing answered."""
        true_positive, false_positive, false_negative, stray = self._counts(states)
        return _f1(true_positive.sum(axis=-1), false_positive.sum(axis=-1) + stray, false_negative.sum(axis=-1))

    def details(self, states: State) -> Details:
        """`precision`, `recall`, `exact_match` (share of rows) and `macro_f1` over the labels with support."""
        true_positive, false_positive, false_negative, stray = self._counts(states)
        hits = true_positive.sum()
        return {
            "precision": number(ratio(hits, hits + false_positive.sum() + stray)),
            "recall": number(ratio(hits, hits + false_negative.sum())),
            "exact_match": number(ratio(states[-1], states[-2])),
            "macro_f1": number(macro_f1(true_positive, false_positive, false_negative)),
        }

    def seen_unseen(self, states: State) -> tuple[float | None, float | None]:
        """Micro-F1 of the labels that occur in train, and of those that do not; None where no row has such a label.

        Answers that no target has are errors of the second.
        """
        seen = self.context.seen
        return self._among(states, seen, with_stray=False), self._among(states, ~seen, with_stray=True)

    def _among(self, states: State, among: BoolArray, with_stray: bool) -> float | None:
        true_positive, false_positive, false_negative, stray = self._counts(states)
        hits, misses = true_positive[among].sum(), false_negative[among].sum()
        if hits + misses == 0:
            return None
        return number(_f1(hits, false_positive[among].sum() + (stray if with_stray else 0.0), misses))

    def lowest(self, answered: State, right: State) -> float | None:
        """Micro-F1 if every failed row had claimed all labels that are wrong there, and none that is right."""
        true_positive, false_positive, false_negative, stray = self._counts(answered)
        failed = self._counts(right)[0] - true_positive
        rows = right[-2] - answered[-2]
        return number(_f1(true_positive.sum(), (false_positive + rows - failed).sum() + stray, (false_negative + failed).sum()))

    def _counts(self, states: State) -> tuple[NDArray[np.float64], ...]:
        parts = states[..., :-3].reshape(*states.shape[:-1], 3, len(self.context.classes))
        return parts[..., 0, :], parts[..., 1, :], parts[..., 2, :], states[..., -3]


def _f1(true_positive: NDArray, false_positive: NDArray, false_negative: NDArray) -> NDArray[np.float64]:
    return ratio(2 * true_positive, 2 * true_positive + false_positive + false_negative)
