"""The space in which query and key meet: the key's principal coordinates, weighted by how well queries predict them.

A query is compared with keys of its own episode, so everything here is fitted on deviations from the episode's mean: what differs
between episodes alone would only move all keys of a gallery together.

Let R2 be the share of a coordinate's variance that left-out queries explain. Up to the lengths of the two vectors, the
log-likelihood ratio of a key given the query is then the product of the predicted coordinate over sqrt(R2 (1 - R2)) and the key's
own coordinate times sqrt(R2 / (1 - R2)). Coordinates that left-out queries do not predict are left out.
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
class KeySpace:
    """E coordinates of the key, and the ridge map from query to key that weighs them.

    Attributes:
        chosen: (E,) which of the key's coordinates they are.
        mean: (E,) of these over train.
        std: (E,) of their deviations from the episode's mean.
        r2: (E,) share of that variance which left-out queries explain.
        weights: (r, E) from the query's coordinates to the key's standardised ones.
        bias: (E,).
        rank: All coordinates of the key.
        details: For a reader.
    """

    chosen: NDArray[np.int64]
    mean: Matrix
    std: Matrix
    r2: Matrix
    weights: Matrix
    bias: Matrix
    rank: int
    details: dict[str, Any]

    @property
    def query_weight(self) -> Matrix:
        """(E,) on predicted coordinates."""
        return np.asarray(1 / np.sqrt(self.r2 * (1 - self.r2)))

    @property
    def key_weight(self) -> Matrix:
        """(E,) on the key's own coordinates."""
        return np.asarray(np.sqrt(self.r2 / (1 - self.r2)))

    def key_arrays(self) -> dict[str, NDArray]:
        """The key's side as a linear head."""
        scale = self.key_weight / self.std
        return {"projection": np.eye(self.rank)[:, self.chosen] * scale, "bias": -self.mean * scale}

    def query_arrays(self) -> dict[str, NDArray]:
        """The query's side as a linear head."""
        return {"projection": self.weights * self.query_weight, "bias": self.bias * self.query_weight}

    def deviations(self, coordinates: NDArray, episode: NDArray[np.int64]) -> Matrix:
        """(m, E) standardised coordinates of keys about the mean of their episode.

        Args:
            coordinates: (m, rank) of keys.
            episode: (m,) codes.
        """
        own = coordinates[:, self.chosen].astype(np.float64)
        codes, position = np.unique(episode, return_inverse=True)
        mean = np.zeros((len(codes), own.shape[1]))
        np.add.at(mean, position, own)
        mean /= np.bincount(position)[:, None]
        return np.asarray((own - mean[position]) / self.std)


def fit_key_space(
    table: Table, prepared: dict[str, Prepared], keep: BoolArray, groups: NDArray[np.int64], dims: int, penalty: float | None
) -> KeySpace:
    """Fit the space on the pairs in `keep`.

    Args:
        table: For the episode of each row.
        prepared: `query` and `key`.
        keep: (n,) rows.
        groups: (n,) left out together.
        dims: Most coordinates.
        penalty: Fixed; None chooses one per coordinate.
    """
    query, key = prepared["query"], prepared["key"]
    dims = min(dims, key.rotation.rank)
    query_mean = _episode_means(query.read, table.episode, keep)
    key_mean = _episode_means(lambda index: key.read(index)[:, :dims], table.episode, keep)
    within = np.zeros(dims)
    for part in _parts(len(keep)):
        deviation = key.read(part)[:, :dims] - key_mean[table.episode[part]]
        within += (deviation[keep[part]] ** 2).sum(axis=0)
    std = np.sqrt(within / keep.sum())
    std = np.where(std < SMALLEST_STD, 1.0, std)

    def read(index: slice | NDArray) -> Matrix:
        return query.read(index) - query_mean[table.episode[index]]

    def targets(index: slice | NDArray) -> Matrix:
        return np.asarray((key.read(index)[:, :dims] - key_mean[table.episode[index]]) / std)

    problem = ridge_problem(factorise(read, keep.astype(np.float64)), read, targets)
    penalties = problem.factors.grid() if penalty is None else np.array([penalty])
    errors = problem.left_out_errors(groups, penalties)
    best = penalties[errors.argmin(axis=0)]
    r2 = np.minimum(1 - errors.min(axis=0) / keep.sum(), LARGEST_R2)
    chosen = np.flatnonzero(r2 > SMALLEST_R2)
    details = {"predictable": len(chosen), "coordinates": dims, **penalty_range(best)}
    if not len(chosen):  # nothing to tell the coordinates apart by
        chosen, r2 = np.arange(dims), np.full(dims, 0.5)
    weights, _ = problem.solve(best)
    share = np.bincount(table.episode[keep], minlength=len(query_mean)) / keep.sum()
    return KeySpace(
        chosen=chosen,
        mean=(share @ key_mean)[chosen],
        std=std[chosen],
        r2=r2[chosen],
        weights=weights[:, chosen],
        bias=-(share @ query_mean) @ weights[:, chosen],
        rank=key.rotation.rank,
        details=details,
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
