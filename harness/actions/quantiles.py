"""Quantile normalisation: [q01, q99] of train becomes [-1, 1]. Fitted on training episodes, stated with them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray

SMALLEST_RANGE = 0.02
"""A dimension that hardly moves (the diagonal of a rotation) would blow its noise up; in the unit of the dimension."""


@dataclass(frozen=True, eq=False)
class Quantiles:
    """Of every dimension of an action.

    Attributes:
        low: (D,) 1 % quantile.
        high: (D,) 99 % quantile, at least `SMALLEST_RANGE` above.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def normalise(self, values: NDArray) -> NDArray[np.float64]:
        """(..., D) in physical units -> [-1, 1], clipped."""
        return np.clip(2 * (values - self.low) / (self.high - self.low) - 1, -1, 1)

    def physical(self, normalised: NDArray) -> NDArray[np.float64]:
        """(..., D) in [-1, 1] -> physical units."""
        return (np.asarray(normalised, np.float64) + 1) / 2 * (self.high - self.low) + self.low

    def clipped_share(self, values: NDArray, measured: BoolArray) -> float:
        """Share of the measured numbers that normalising cuts off; on validation much above 2 % says that the data drift."""
        outside = ((values < self.low) | (values > self.high)) & measured
        return float(outside.sum() / max(int(measured.sum()), 1))


def fit_quantiles(values: NDArray, measured: BoolArray) -> Quantiles:
    """Quantiles of the measured rows of (n, D) training values; a dimension that was never measured gets [-1, 1].

    The quantiles are of the values at hand: merged statistics of many files are an envelope and not quantiles.
    """
    low, high = np.full(values.shape[1], -1.0), np.ones(values.shape[1])
    for column in range(values.shape[1]):
        known = values[measured[:, column], column]
        if len(known):
            low[column], high[column] = np.quantile(known, [0.01, 0.99])
    spare = np.maximum(SMALLEST_RANGE - (high - low), 0.0) / 2
    return Quantiles(low - spare, high + spare)
