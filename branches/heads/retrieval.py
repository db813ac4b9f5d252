"""Where query and key meet: each is mapped into the other's space, and both spaces count.

In a space the goal stands with its own principal coordinates and the source with its prediction of them. A query is compared with
keys of its own episode, so everything here is fitted on deviations from the episode's mean: what differs between episodes alone
would only move all keys of a gallery together.

Both sides are weighted by sqrt(R2 / (1 - R2)), where R2 is the share of a coordinate's variance that left-out sources explain:
the squared weight is the ratio of what is told of a coordinate to what is not. Unpredictable coordinates are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.heads.gather import Table
from branches.heads.prepare import Prepared
from branches.heads.ridge import Matrix, ReadRows, factorise, penalty_range, ridge_problem
from branches.heads.scaler import SMALLEST_STD
from harness.episode import BoolArray

LARGEST_R2 = 0.99
SMALLEST_R2 = 1e-3
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class MeetingSpace:
    """E principal coordinates of the goal, and the ridge map from the source that weighs them.

    Attributes:
        chosen: (E,) which of the goal's coordinates they are.
        mean: (E,) of these over train.
        std: (E,) of their deviations from the episode's mean.
        weight: (E,) on each coordinate, for both sides.
        weights: (r, E) from the source's coordinates to the goal's standardised ones.
        bias: (E,).
        rank: All coordinates of the goal.
        details: For a reader.
    """

    chosen: NDArray[np.int64]
    mean: Matrix
    std: Matrix
    weight: Matrix
    weights: Matrix
    bias: Matrix
    rank: int
    details: dict[str, Any]

    def source_map(self) -> tuple[Matrix, Matrix]:
        """(r, E) weights and (E,) bias that bring the source here."""
        return self.weights * self.weight, self.bias * self.weight

    def goal_map(self) -> tuple[Matrix, Matrix]:
        """(rank, E) weights and (E,) bias that bring the goal here."""
        scale = self.weight / self.std
        return np.eye(self.rank)[:, self.chosen] * scale, -self.mean * scale

    def deviations(self, coordinates: NDArray, episode: NDArray[np.int64]) -> Matrix:
        """(m, E) weighted coordinates of goals about the mean of their episode: what a network learns to predict.

        Args:
            coordinates: (m, rank) of goals.
            episode: (m,) codes.
        """
        own = coordinates[:, self.chosen].astype(np.float64)
        codes, position = np.unique(episode, return_inverse=True)
        mean = np.zeros((len(codes), own.shape[1]))
        np.add.at(mean, position, own)
        mean /= np.bincount(position)[:, None]
        return np.asarray((own - mean[position]) / self.std * self.weight)


def fit_meeting_space(
    source: Prepared,
    goal: Prepared,
    table: Table,
    keep: BoolArray,
    groups: NDArray[np.int64],
    dims: int,
    penalty: float | None,
) -> MeetingSpace:
    """Fit one space on the pairs in `keep`.

    Args:
        source: Is mapped.
        goal: Gives the space.
        table: For the episode of each row.
        keep: (n,) rows.
        groups: (n,) left out together.
        dims: Most coordinates.
        penalty: Fixed; None chooses one per coordinate.
    """
    dims = min(dims, goal.rotation.rank)
    source_mean = _episode_means(source.read, table.episode, keep)
    goal_mean = _episode_means(lambda index: goal.read(index)[:, :dims], table.episode, keep)
    within = np.zeros(dims)
    for part in _parts(len(keep)):
        deviation = goal.read(part)[:, :dims] - goal_mean[table.episode[part]]
        within += (deviation[keep[part]] ** 2).sum(axis=0)
    std = np.sqrt(within / keep.sum())
    std = np.where(std < SMALLEST_STD, 1.0, std)

    def read(index: slice | NDArray) -> Matrix:
        return source.read(index) - source_mean[table.episode[index]]

    def targets(index: slice | NDArray) -> Matrix:
        return np.asarray((goal.read(index)[:, :dims] - goal_mean[table.episode[index]]) / std)

    problem = ridge_problem(factorise(read, keep.astype(np.float64)), read, targets)
    details: dict[str, Any] = {"coordinates": dims}
    best: Matrix
    chosen: NDArray[np.int64]
    weight: Matrix
    if penalty is not None:
        best, chosen, weight = np.full(dims, penalty), np.arange(dims, dtype=np.int64), std  # nothing is chosen: the plain cosine
        weights, _ = problem.solve_one(penalty)
    else:
        grid = problem.factors.grid()
        errors = problem.left_out_errors(groups, grid)
        best = grid[errors.argmin(axis=0)]
        r2 = np.clip(1 - errors.min(axis=0) / keep.sum(), 0, LARGEST_R2)
        chosen, weight = np.flatnonzero(r2 > SMALLEST_R2), np.sqrt(r2 / (1 - r2))
        details["predictable"] = len(chosen)
        if not len(chosen):  # nothing to choose by
            chosen, weight = np.arange(dims, dtype=np.int64), std
        weights, _ = problem.solve(best)
    share = np.bincount(table.episode[keep], minlength=len(source_mean)) / keep.sum()
    return MeetingSpace(
        chosen=chosen,
        mean=(share @ goal_mean)[chosen],
        std=std[chosen],
        weight=weight[chosen],
        weights=weights[:, chosen],
        bias=-(share @ source_mean) @ weights[:, chosen],
        rank=goal.rotation.rank,
        details=details | penalty_range(best[chosen]),
    )


def _episode_means(read: ReadRows, episode: NDArray[np.int64], keep: BoolArray) -> Matrix:
    """(episodes, r) mean of the rows in `keep`; 0 where an episode has none."""
    total: Matrix | None = None
    for part in _parts(len(keep)):
        rows = read(part)[keep[part]]
        if total is None:
            total = np.zeros((int(episode.max()) + 1, rows.shape[1]))
        np.add.at(total, episode[part][keep[part]], rows)
    assert total is not None
    counts = np.bincount(episode[keep], minlength=len(total))
    return np.asarray(total / np.maximum(counts, 1)[:, None])


def _parts(n: int) -> list[slice]:
    return [slice(start, min(start + ROWS_AT_ONCE, n)) for start in range(0, n, ROWS_AT_ONCE)]
