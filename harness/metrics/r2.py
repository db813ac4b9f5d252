"""Explained variance about the train mean."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost

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
    limits = (-np.inf, 1.0)

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(4 + 2 D,) sums over one episode's rows."""
        quick = self._all_answered(targets, predictions)
        if quick is not None:
            return quick
        # What a failed row costs depends on all rows of the episode.
        rows = vector_rows(targets, predictions, self.context)
        variance = self.context.train_std**2
        errors = with_failure_cost((rows.guess - rows.truth) ** 2 / variance, rows.measured, rows.answered)
        from_mean = np.where(rows.measured, rows.truth - self.context.train_mean, 0.0)
        count = rows.measured.sum(axis=0)
        return self._pack(errors.sum(axis=0) * variance, _squares(from_mean), _squares(rows.truth), rows.truth.sum(axis=0), count)

    def _all_answered(self, targets: Targets, predictions: Predictions) -> State | None:
        """The state where everything is measured, answered and finite, block by block; None elsewhere."""
        truth, guess = targets.values, predictions.values
        whole = targets.mask is None and predictions.ok.all() and len(targets) > 0
        if not whole or truth is None or guess is None or truth.shape != guess.shape:
            return None
        step = max(1, BLOCK // truth.shape[1])
        sums = np.zeros((4, truth.shape[1]))
        for start in range(0, len(truth), step):
            exact = truth[start : start + step].astype(np.float64)
            sums[0] += _squares(guess[start : start + step] - exact)
            sums[1] += _squares(exact - self.context.train_mean)
            sums[2] += _squares(exact)
            sums[3] += exact.sum(axis=0)
        # A number that is none makes its sum none.
        if not np.isfinite(sums).all():
            return None
        return self._pack(sums[0], sums[1], sums[2], sums[3], np.full(truth.shape[1], len(truth)))

    def _pack(self, errors: NDArray, distance: NDArray, squares: NDArray, total: NDArray, count: NDArray) -> State:
        """The state of (D,) sums: squared errors, squared distances from the train mean, squares, values, measured numbers."""
        variance = self.context.train_std**2
        return pack((errors / variance).sum(), (distance / variance).sum(), errors.sum(), squares.sum(), count, total)

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
