"""Mean absolute error."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Metric, State, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost


class MeanAbsoluteError(Metric):
    """Mean of |answer - truth| over the measured numbers, in the target's unit.

    State (2,): sum of the errors, measured numbers.
    """

    name = "mae"
    direction = "down"
    limits = (0.0, np.inf)
    mean_over_rows = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(2,) sums over one episode's rows."""
        rows = vector_rows(targets, predictions, self.context)
        errors = with_failure_cost(np.abs(rows.guess - rows.truth), rows.measured, rows.answered)
        return pack(errors.sum(), rows.measured.sum())

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) mean absolute error; NaN where nothing is measured."""
        return ratio(states[..., 0], states[..., 1])
