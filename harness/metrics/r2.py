"""Explained variance about the train mean."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.regression import VectorRows, vector_rows, with_failure_cost

# A spread below this share of the sum of squares is rounding.
ROUNDING = 1e-12
BLOCK = 2**15
"""Numbers that are worked on at a time: what fits into a processor's cache is several times as fast."""


class R2(Metric):
    """1 - squared error / squared distance of the truth from the train mean, every dimension divided by its train deviation.

    Answering the train mean gives 0. State (4 + 2 D,): squared error and squared distance in units of the train deviation;
    squared error and sum of squares in the target's units; per dimension the measured numbers and their sum. The last four know
    nothing of the train mean, so that folds add up.
    """

    name = "r2"
    direction = "up"
    mean_over_rows = False
    margin = 0.02

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(4 + 2 D,) sums over one episode's rows."""
        step = max(1, BLOCK // max(len(self.context.train_mean), 1))
        blocks = [slice(i, i + step) for i in range(0, len(targets), step)] or [slice(0, 0)]
        parts = (vector_rows(targets.take(b), predictions.take(b), self.context) for b in blocks) if predictions.ok.all() else ()
        sums = []
        for rows in parts:
            if not rows.answered.all():
                break
            sums.append(self._sums(rows, _squares(rows.guess - rows.truth)))
        if len(sums) == len(blocks):
            return np.asarray(np.sum(sums, axis=0), np.float64)
        # What a failed row costs depends on all rows of the episode.
        rows = vector_rows(targets, predictions, self.context)
        variance = self.context.train_std**2
        errors = with_failure_cost((rows.guess - rows.truth) ** 2 / variance, rows.measured, rows.answered)
        return self._sums(rows, errors.sum(axis=0) * variance)

    def _sums(self, rows: VectorRows, errors: NDArray[np.float64]) -> State:
        """The state of some rows, of which (D,) `errors` are the summed squared errors."""
        variance = self.context.train_std**2
        from_mean = rows.truth - self.context.train_mean
        distance = _squares(from_mean if rows.whole else np.where(rows.measured, from_mean, 0.0)) / variance
        totals = [(errors / variance).sum(), distance.sum(), errors.sum(), _squares(rows.truth).sum()]
        return pack(*totals, rows.measured.sum(axis=0), rows.truth.sum(axis=0))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) R2; NaN where the truth never leaves the train mean."""
        return 1 - ratio(states[..., 0], states[..., 1])

    def details(self, states: State) -> Details:
        """`published`: R2 about the mean of each test column, unscaled and pooled over dimensions, as the task suite has it."""
        count, total = np.split(states[4:], 2)
        distance = states[3] - np.nansum(ratio(total**2, count))
        return {"published": {"r2": number(1 - ratio(states[2], distance if distance > ROUNDING * states[3] else 0.0))}}


def _squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D,) sums of squares of (n, D) values, without an array of squares."""
    return np.asarray(np.einsum("ij,ij->j", values, values), np.float64)
