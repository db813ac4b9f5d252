"""Closed-form ridge: one factorisation of weighted rows, then every penalty and every target from it.

The penalty is judged by exact leave-group-out residuals: nothing is refitted. Rows come in the coordinates of
`branches.heads.rotation`, so nothing here depends on the number of feature columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from harness.episode import BoolArray

Matrix = NDArray[np.float64]
ReadRows = Callable[[slice | NDArray], Matrix]

ROWS_AT_ONCE = 4096
SMALLEST_EIGENVALUE = 1e-10  # of the largest: below it lies the rounding of float32 features
GRID = np.logspace(-3, 6, 10)  # times the mean eigenvalue


@dataclass(frozen=True, eq=False)
class Factors:
    """Weighted rows about their mean, factorised: gram = sum of w (z - mean)(z - mean)' = basis diag(values) basis'.

    Attributes:
        weight: (n,) of each row; 0 leaves a row out of the fit.
        mean: (r,) weighted.
        gram: (r, r).
    """

    weight: Matrix
    mean: Matrix
    gram: Matrix

    @cached_property
    def _eigen(self) -> tuple[Matrix, Matrix]:
        return cast(tuple[Matrix, Matrix], scipy.linalg.eigh(self.gram, driver="evd", check_finite=False))

    @property
    def basis(self) -> Matrix:
        """(r, r) eigenvectors."""
        return self._eigen[1]

    @cached_property
    def values(self) -> Matrix:
        """(r,) eigenvalues, not negative."""
        return np.maximum(self._eigen[0], 0)

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(self.weight.sum())

    def grid(self) -> Matrix:
        """(10,) penalties around the mean eigenvalue."""
        scale = float(np.trace(self.gram) / len(self.gram)) if len(self.gram) else 0.0
        return np.asarray(GRID * (scale if scale > 0 else 1.0))

    def coordinates(self, z: Matrix) -> Matrix:
        """(m, r) rows in the eigenbasis, about the mean."""
        return np.asarray((z - self.mean) @ self.basis)


def factorise(read: ReadRows, weight: Matrix) -> Factors:
    """Factorise weighted rows in one pass.

    Args:
        read: Gives (m, r) rows by index.
        weight: (n,) at least two of them positive.
    """
    mean, gram = np.zeros(0), np.zeros((0, 0))
    for part in _parts(len(weight)):
        z = read(part)
        if not len(gram):
            mean, gram = np.zeros(z.shape[1]), np.zeros((z.shape[1], z.shape[1]))
        weighted = z * weight[part, None]
        mean += weighted.sum(axis=0)
        gram += weighted.T @ z
    mean /= weight.sum()
    gram -= weight.sum() * np.outer(mean, mean)
    return Factors(weight, mean, gram)


@dataclass(frozen=True, eq=False)
class RidgeProblem:
    """Ridge regression with an unpenalised intercept: sum of w |y - b - z W|^2 + penalty |W|^2, for every penalty at once.

    Attributes:
        factors: Of the rows.
        read: Gives (m, r) rows by index.
        targets: Gives (m, D) targets by index, nothing missing.
        products: (r, D) sum of w (z - mean)(y - mean)'.
        target_mean: (D,) weighted.
    """

    factors: Factors
    read: ReadRows
    targets: ReadRows
    products: Matrix
    target_mean: Matrix

    @cached_property
    def moments(self) -> Matrix:
        """(r, D) `products` in the eigenbasis."""
        return np.asarray(self.factors.basis.T @ self.products)

    def solve_one(self, penalty: float) -> tuple[Matrix, Matrix]:
        """`solve` for one penalty of all targets, without the eigenvectors: a tenth of the time where nothing else needs them."""
        gram = self.factors.gram + penalty * np.eye(len(self.factors.gram))
        weights = scipy.linalg.cho_solve(scipy.linalg.cho_factor(gram, check_finite=False), self.products, check_finite=False)
        return weights, self.target_mean - self.factors.mean @ weights

    def solve(self, penalty: Matrix) -> tuple[Matrix, Matrix]:
        """(r, D) weights and (D,) intercepts for one penalty per target."""
        shrunk = self.moments / (self.factors.values[:, None] + np.broadcast_to(penalty, self.target_mean.shape))
        weights = self.factors.basis @ shrunk
        return weights, self.target_mean - self.factors.mean @ weights

    def solve_least_squares(self) -> tuple[Matrix, Matrix]:
        """`solve` without a penalty: the shortest of the weights with the least error, where several have it."""
        values = self.factors.values
        real = values > SMALLEST_EIGENVALUE * values.max(initial=0.0)
        weights = self.factors.basis[:, real] @ (self.moments[real] / values[real, None])
        return weights, self.target_mean - self.factors.mean @ weights

    def left_out_errors(self, groups: NDArray, penalties: Matrix) -> Matrix:
        """(L, D) weighted sums of squared residuals of rows whose group took no part in the fit.

        Args:
            groups: (n,) codes; at least two groups have weight.
            penalties: (L,).
        """
        errors = np.zeros((len(penalties), len(self.target_mean)))
        for index, rows, residual in self._groups(groups):
            weight = self.factors.weight[index, None]
            for i, penalty in enumerate(penalties):
                errors[i] += (weight * self._left_out(rows, residual, index, float(penalty), self.moments) ** 2).sum(axis=0)
        return errors

    def left_out_predictions(self, groups: NDArray, penalty: Matrix) -> Matrix:
        """(n, D) predictions of every row by the fit without its group, for one penalty per target.

        Rows of weight 0 are predicted too: by the fit without the other rows of their group.
        """
        predictions = np.zeros((len(self.factors.weight), len(self.target_mean)))
        for index, found in self.left_out_groups(groups, penalty):
            predictions[index] = found
        return predictions

    def left_out_groups(self, groups: NDArray, penalty: Matrix) -> Iterator[tuple[NDArray, Matrix]]:
        """`left_out_predictions` group by group: (m,) rows and (m, D) predictions."""
        penalty = np.broadcast_to(penalty, self.target_mean.shape)
        for index, rows, residual in self._groups(groups):
            predictions = residual + self.target_mean
            for value in np.unique(penalty):
                which = np.flatnonzero(penalty == value)
                left = self._left_out(rows, residual[:, which], index, float(value), self.moments[:, which])
                predictions[:, which] -= left
            yield index, predictions

    def _groups(self, groups: NDArray) -> Iterator[tuple[NDArray, Matrix, Matrix]]:
        for group in np.unique(groups):
            index = np.flatnonzero(groups == group)
            yield index, self.factors.coordinates(self.read(index)), self.targets(index) - self.target_mean

    def _left_out(self, rows: Matrix, residual: Matrix, index: NDArray, penalty: float, moments: Matrix) -> Matrix:
        """(m, D) residuals of a group by the fit without it: (I - H W)^-1 r, with the group's block H of the hat matrix.

        A group of more rows than coordinates takes the same inverse in the coordinates (Woodbury).
        """
        weight = self.factors.weight[index]
        inverse = 1.0 / (self.factors.values + penalty)
        fitted = residual - (rows * inverse) @ moments
        if len(rows) <= rows.shape[1]:
            hat = (rows * inverse) @ rows.T + 1.0 / self.factors.total
            return np.asarray(np.linalg.solve(np.eye(len(rows)) - hat * weight, fitted))
        design = np.concatenate([np.ones((len(rows), 1)), rows], axis=1)
        diagonal = np.concatenate([[self.factors.total], self.factors.values + penalty])
        weighted = design.T * weight
        without = np.diag(diagonal) - weighted @ design
        return np.asarray(fitted + design @ np.linalg.solve(without, weighted @ fitted))


def ridge_problem(factors: Factors, read: ReadRows, targets: ReadRows) -> RidgeProblem:
    """Pass over rows and targets once."""
    weight = factors.weight
    products, total = np.zeros((0, 0)), np.zeros(0)
    for part in _parts(len(weight)):
        y = targets(part) * weight[part, None]
        if not len(total):
            products, total = np.zeros((len(factors.mean), y.shape[1])), np.zeros(y.shape[1])
        # About the mean of z the products with the mean of y vanish.
        products += (read(part) - factors.mean).T @ y
        total += y.sum(axis=0)
    return RidgeProblem(factors, read, targets, products, total / factors.total)


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, ROWS_AT_ONCE):
        yield slice(start, min(start + ROWS_AT_ONCE, n))


def inner_groups(cluster: NDArray, episode: NDArray, keep: BoolArray, blocks: int) -> tuple[NDArray[np.int64], str]:
    """(n,) codes of the groups that are left out together, and what they are.

    Clusters where train has two of them, else episodes, else contiguous blocks of the one episode.

    Args:
        cluster: (n,) codes.
        episode: (n,) codes.
        keep: (n,) rows that take part: groups are counted among them.
        blocks: Blocks of a single episode.
    """
    for codes, name in ((cluster, "clusters"), (episode, "episodes")):
        if len(np.unique(codes[keep])) >= 2:
            return np.asarray(codes, np.int64), name
    rank = np.cumsum(keep) - 1
    return np.asarray(np.maximum(rank, 0) * blocks // max(int(keep.sum()), 1), np.int64), f"{blocks} blocks of one episode"


def penalty_range(penalty: Matrix) -> dict[str, float]:
    """The penalties of several targets in three numbers, for a reader."""
    return {
        "penalty": float(np.median(penalty)),
        "smallest_penalty": float(penalty.min()),
        "largest_penalty": float(penalty.max()),
    }
