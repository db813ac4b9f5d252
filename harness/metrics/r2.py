"""Explained variance about the train mean."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost

# A spread below this share of the sum of squares is rounding.
ROUNDING = 1e-12


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
        rows = vector_rows(targets, predictions, self.context)
        std = self.context.train_std
        errors = with_failure_cost(((rows.guess - rows.truth) / std) ** 2, rows.measured, rows.answered).sum(axis=0)
        distance = np.where(rows.measured, (rows.truth - self.context.train_mean) / std, 0.0) ** 2
        totals = [errors.sum(), distance.sum(), (errors * std**2).sum(), (rows.truth**2).sum()]
        return pack(*totals, rows.measured.sum(axis=0), rows.truth.sum(axis=0))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) R2; NaN where the truth never leaves the train mean."""
        return 1 - ratio(states[..., 0], states[..., 1])

    def details(self, states: State) -> Details:
        """`published`: R2 about the mean of each test column, unscaled and pooled over dimensions, as the task suite has it."""
        count, total = np.split(states[4:], 2)
        distance = states[3] - np.nansum(ratio(total**2, count))
        return {"published": number(1 - ratio(states[2], distance if distance > ROUNDING * states[3] else 0.0))}
