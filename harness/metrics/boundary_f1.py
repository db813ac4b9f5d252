"""Boundary-F1: of the moments at which a change of action was claimed, and those at which there was one, how many meet."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.boundaries import TRANSITION
from harness.episode import FloatArray
from harness.metrics.base import Details, State, number, pack, ratio
from harness.metrics.macro_f1 import MacroF1

_PARTS = 4


class BoundaryF1(MacroF1):
    """Macro-F1 of the windows, which ranks, and beside it the boundary-F1 of the published suite.

    Every row answered "transition" claims a boundary at the centre of its window; neighbouring rows are not merged, so a branch
    that finds one boundary in four windows has claimed four. In order of time, each claim takes the boundary closest to it
    (ties: the earlier) among those within the task's tolerance (10 reference samples: 0.5 s at 20 fps) that none took before.
    Then precision = matched / claimed, recall = matched / true, F1 = 2 matched / (claimed + true). True are the boundaries near
    any scored row and those near no row at all; a row that failed claims nothing.

    With a stride shorter than the tolerance, right answers claim a boundary more than once: the `oracle` row has recall 1 and a
    precision well below 1 (0.25 at the published length and stride: F1 0.4), and a branch that answers fewer windows right can
    have more, even `chance`. So nothing is ranked by it, and it is no substitute for the macro-F1 beside it.

    Source: the published suite's `boundary_f1`. On its two single-episode prediction files (28 and 42 claims, 4 boundaries) its
    counts are reproduced exactly, and precision, recall, F1 (0.125, 0.13043478260869565) and mean timing error (3.5 and 2 2/3
    frames) to 1e-12. Where it differs: it counts only boundaries between the centres of the first and the last row, has no
    boundary next to an unlabelled frame, and calls 0 / 0 zero.

    State (3 C + 4,): that of macro-F1, then boundaries matched, claimed and true, and the sum of |claim - boundary| in seconds
    over the matched. The last four are 0 where the targets do not hold boundaries. They are sums over episodes, not over rows.
    """

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(3 C + 4,) of one episode's rows."""
        return pack(super().state(targets, predictions), boundary_counts(targets, predictions))

    def details(self, states: State) -> Details:
        """Those of macro-F1; `boundary_f1`, `boundary_precision`, `boundary_recall`, `boundary_error_s`, `true_boundaries`.

        F1 is None where nothing was claimed and nothing is true, precision and recall where theirs is missing; `boundary_error_s`
        is the mean over matched boundaries.
        """
        matched, claimed, true, error = states[-_PARTS:]
        return super().details(states) | {
            "boundary_f1": number(ratio(2 * matched, claimed + true)),
            "boundary_precision": number(ratio(matched, claimed)),
            "boundary_recall": number(ratio(matched, true)),
            "boundary_error_s": number(ratio(error, matched)),
            "true_boundaries": float(true) if claimed + true > 0 else None,
        }

    def _counts(self, states: State) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return super()._counts(states[..., :-_PARTS])


def boundary_counts(targets: Targets, predictions: Predictions) -> NDArray[np.float64]:
    """(4,) boundaries matched, claimed and true, and the seconds between the matched; zeros where targets hold no boundaries."""
    if targets.boundaries is None or predictions.labels is None:
        return np.zeros(_PARTS)
    words = np.array([*predictions.vocabulary, ""])  # code -1 is the last: no word
    claimed = targets.boundaries.take(np.flatnonzero(predictions.ok & (words[predictions.labels] == TRANSITION)))
    rows, times = matches(claimed.centre, claimed.near)
    error = np.abs(claimed.centre[rows] - times).sum()
    return np.array([len(rows), len(claimed.centre), targets.boundaries.count, error], np.float64)


def matches(centre: FloatArray, near: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Greedy one-to-one matching, in order of time.

    Args:
        centre: (n,) seconds of the claims.
        near: (n, K) seconds of the boundaries each may take; NaN = none.

    Returns:
        (m,) claims that take a boundary, and (m,) seconds of the boundaries they take.
    """
    taken: dict[float, int] = {}
    there = ~np.isnan(near)
    for row in np.argsort(centre, kind="stable").tolist():
        free = [boundary for boundary in near[row, there[row]].tolist() if boundary not in taken]
        if free:
            distance = np.abs(np.array(free) - centre[row])
            taken[free[int(distance.argmin())]] = row
    return np.array(list(taken.values()), np.int64), np.array(list(taken), np.float64)
