"""Root mean square error, with the two correlations that quality scores are judged by."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost

# Answers are stored in float32: a spread of a few units in its last place, relative to the largest value, is rounding.
CONSTANT = 4 * float(np.finfo(np.float32).eps)
Column = NDArray[np.float64]


class RootMeanSquareError(Metric):
    """Root of the mean squared error over the measured numbers, in the target's unit.

    State (2,): sum of squared errors, measured numbers. Correlations are no sums: rows are kept for them, (m, 4) float64, one per
    measured number: truth, answer (the reference in a failed row), squared error (its cost in a failed row), 1 where answered.
    """

    name = "rmse"
    direction = "down"
    limits = (0.0, np.inf)
    mean_over_rows = False

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(2,) sums over one episode's rows."""
        rows = self.kept(targets, predictions)
        return pack(rows[:, 2].sum(), len(rows))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) root mean square error; NaN where nothing is measured."""
        return np.sqrt(ratio(states[..., 0], states[..., 1]))

    def kept(self, targets: Targets, predictions: Predictions) -> NDArray[np.float64]:
        """See the class."""
        rows = vector_rows(targets, predictions, self.context)
        errors = with_failure_cost((rows.guess - rows.truth) ** 2, rows.measured, rows.answered)
        answered = np.broadcast_to(rows.answered[:, None], errors.shape)
        return np.stack([column[rows.measured] for column in (rows.truth, rows.guess, errors, answered)], axis=1)

    def numbers(self, rows: NDArray[np.float64]) -> Details:
        """`rmse`, `plcc` (Pearson) and `srocc` (Spearman, ties have their mean rank) over kept rows together.

        A correlation is None where truth or answer do not vary, over less than two rows, and where no row is answered: there it
        would be the reference's.
        """
        truth, guess, errors, answered = rows.T
        related = {"plcc": correlation, "srocc": rank_correlation}
        return {
            "rmse": number(np.sqrt(ratio(errors.sum(), len(rows)))),
            **{name: number(measure(truth, guess)) if answered.any() else None for name, measure in related.items()},
        }


def correlation(x: Column, y: Column) -> float:
    """Pearson's correlation of two (m,) columns; NaN where one does not vary."""
    if not (varies(x) and varies(y)):
        return float("nan")
    # In units of the spread: squares of very small or very large values would leave the range of floats.
    x, y = ((column - column.mean()) / np.ptp(column) for column in (x, y))
    return float(np.clip((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()), -1.0, 1.0))


def rank_correlation(x: Column, y: Column) -> float:
    """Spearman's correlation of two (m,) columns, ties at their mean rank; NaN where one does not vary."""
    if not (varies(x) and varies(y)):
        return float("nan")
    return correlation(rankdata(x), rankdata(y))


def varies(column: Column) -> bool:
    """True where a spread is there that is no rounding of float32."""
    return len(column) > 1 and bool(np.ptp(column) > CONSTANT * np.abs(column).max())
