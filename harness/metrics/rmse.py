"""Root mean square error, with the two correlations that quality scores are judged by."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.answers import Predictions, Targets
from harness.episode import BoolArray
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.regression import VectorRows, vector_rows, with_failure_cost

# A variance below this share of the mean square is rounding, not spread.
CONSTANT = 1e-12


class RootMeanSquareError(Metric):
    """Root of the mean squared error over the measured numbers, in the target's unit.

    State (9,): sum of squared errors, measured numbers; sums of truth, answer, their squares and their product; sum of the rank
    correlations within this episode, and how many there are: one per column whose truth and answer both vary. A failed row
    enters the correlations with its reference.
    """

    name = "rmse"
    direction = "down"
    mean_over_rows = False

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(9,) sums over one episode's rows."""
        rows = vector_rows(targets, predictions, self.context)
        errors = with_failure_cost((rows.guess - rows.truth) ** 2, rows.measured, rows.answered)
        truth, guess = rows.truth, rows.guess
        moments = [truth.sum(), guess.sum(), (truth**2).sum(), (guess**2).sum(), (truth * guess).sum()]
        rank_correlation = _rank_correlation(rows)
        defined = np.isfinite(rank_correlation)
        return pack(errors.sum(), rows.measured.sum(), *moments, rank_correlation[defined].sum(), defined.sum())

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) root mean square error; NaN where nothing is measured."""
        return np.sqrt(ratio(states[..., 0], states[..., 1]))

    def details(self, states: State) -> Details:
        """`rmse` of this state, `plcc` and `srocc`.

        `plcc` is Pearson's correlation over all rows together, `srocc` the mean of Spearman's within each episode (ties have
        their mean rank). Both are None where truth or answer do not vary. Several columns count together.
        """
        n, truth, guess, truth2, guess2, product = states[1:7]
        columns = np.array([[truth2, truth], [guess2, guess]])
        return {
            "rmse": number(self.value(states)),
            "plcc": number(_correlation(n, columns[:, 0], columns[:, 1], product)),
            "srocc": number(ratio(states[7], states[8])),
        }


def _correlation(n: NDArray, squares: NDArray, sums: NDArray, product: NDArray) -> NDArray[np.float64]:
    """Pearson's r from n, (2, ...) sums of squares and of values, and the sum of products; NaN where one side is constant."""
    variance = squares - ratio(sums**2, n)
    varies = (variance > CONSTANT * squares).all(axis=0)
    covariance = product - ratio(sums[0] * sums[1], n)
    return ratio(covariance, np.where(varies, np.sqrt(np.clip(variance, 0, None).prod(axis=0)), 0.0))


def _rank_correlation(rows: VectorRows) -> NDArray[np.float64]:
    """(D,) Spearman's correlation of each column over one episode's rows; NaN where truth or answer are constant."""
    truth, guess = (_centred_ranks(values, rows.measured) for values in (rows.truth, rows.guess))
    return ratio((truth * guess).sum(axis=0), np.sqrt((truth**2).sum(axis=0) * (guess**2).sum(axis=0)))


def _centred_ranks(values: NDArray[np.float64], measured: BoolArray) -> NDArray[np.float64]:
    """(n, D) ranks of the measured numbers of each column minus their mean, ties averaged; 0 where not measured."""
    if len(values) == 0:
        return values
    ranks = rankdata(np.where(measured, values, np.nan), axis=0, nan_policy="omit")
    return np.where(measured, ranks - (measured.sum(axis=0) + 1) / 2, 0.0)
