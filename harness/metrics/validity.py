"""Validity: the share of rows that answer at all, whatever they answer."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Metric, State, pack, ratio


class Validity(Metric):
    """Share of rows whose answer is of the schema that was asked for.

    State (2,): rows that answer, rows.
    """

    name = "validity"
    direction = "up"
    mean_over_rows = True
    margin = 0.02
    limits = (0.0, 1.0)
    bounded = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(2,) counts of one episode's rows."""
        return pack(predictions.ok.sum(), len(targets))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) share; NaN where there is no row."""
        return ratio(states[..., 0], states[..., 1])

    def chance(self, targets: Targets) -> State:
        """(2,) of one fixed text that is of the schema: all rows."""
        return pack(len(targets), len(targets))
