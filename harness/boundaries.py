"""Which changes of action a window is about: what a row of `transition_detection` carries beside its label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray

TRANSITION = "transition"
"""The label that claims a boundary at the centre of the window."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """The true boundaries of one episode, row by row, so that any selection of rows knows its own.

    A boundary is a change of action. It is told by its time: equal times in two rows are one boundary.

    Attributes:
        centre: (n,) seconds on the episode's time base: the centre of the window.
        near: (n, K) seconds of the boundaries within the task's tolerance of the centre, ascending, then NaN.
        unreached: (n,) int32 boundaries that are near no valid row of the episode, each counted with the valid row closest to it.
    """

    centre: FloatArray
    near: NDArray[np.float64]
    unreached: NDArray[np.int32]

    def take(self, index: NDArray | slice) -> "Boundaries":
        """The rows at `index`."""
        return Boundaries(self.centre[index], self.near[index], self.unreached[index])

    @property
    def count(self) -> int:
        """True boundaries of these rows: those near any of them, each once, and those that no row of the episode is near."""
        return len(np.unique(self.near[~np.isnan(self.near)])) + int(self.unreached.sum())


def boundaries_of(
    timeline: FloatArray, changes: NDArray[np.int64], centre: NDArray[np.int64], valid: BoolArray, tolerance: int
) -> Boundaries:
    """The boundaries of an episode by row.

    Args:
        timeline: (N,) reference times in seconds.
        changes: (M,) reference samples on which a new action begins, ascending.
        centre: (n,) reference sample at the centre of each window.
        valid: (n,) True where the row is scored.
        tolerance: Reference samples, inclusive.
    """
    low = np.searchsorted(changes, centre - tolerance, side="left")
    high = np.searchsorted(changes, centre + tolerance, side="right")
    index = low[:, None] + np.arange((high - low).max(initial=0))
    inside = index < high[:, None]
    times = np.append(timeline[changes], np.nan)
    near = np.where(inside, times[np.minimum(index, len(changes))], np.nan)
    unreached = np.zeros(len(centre), np.int32)
    rows = np.flatnonzero(valid)
    left = np.setdiff1d(np.arange(len(changes)), index[inside & valid[:, None]])
    if len(rows):
        closest = rows[np.abs(timeline[centre[rows]][:, None] - timeline[changes[left]]).argmin(axis=0)]
        np.add.at(unreached, closest, 1)
    return Boundaries(timeline[centre], near, unreached)
