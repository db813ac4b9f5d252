"""Training rows in the coordinates of their singular vectors: after it nothing depends on the number of columns.

Ridge and logistic regression give the same answer in these coordinates as in the columns, because their solutions lie in the
span of the training rows.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from branches.heads.ridge import SMALLEST_EIGENVALUE
from branches.heads.scaler import ScaledRows
from harness.episode import BoolArray
from harness.row_file import RowFile

COLUMNS_AT_ONCE = 4096
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Rotation:
    """Right singular vectors of the training rows, widest first, held in the smaller of two ways.

    Attributes:
        rows: Standardised rows.
        vectors: (d, r) float32; None where they are `rows[index]' left`.
        index: (m,) the training rows.
        left: (m, r) left singular vectors over singular values.
        values: (r,) squared singular values.
    """

    rows: ScaledRows
    values: NDArray[np.float64]
    vectors: NDArray[np.float32] | None = None
    index: NDArray[np.int64] | None = None
    left: NDArray[np.float64] | None = None

    @property
    def rank(self) -> int:
        """Coordinates."""
        return len(self.values)

    def expand(self, weights: NDArray) -> NDArray[np.float32]:
        """(d, k) weights of columns from (r, k) weights of coordinates."""
        if self.vectors is not None:
            return np.asarray(self.vectors @ weights.astype(np.float32))
        assert self.index is not None and self.left is not None
        dual = (self.left @ weights).astype(np.float32)
        out = np.zeros((self.rows.width, weights.shape[1]), np.float32)
        for start in range(0, len(self.index), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            out += self.rows.read(self.index[part]).T @ dual[part]
        return out

    def rotate(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(m, r) coordinates of other standardised rows (m, d)."""
        if self.vectors is not None:
            return np.asarray(x @ self.vectors)
        assert self.index is not None and self.left is not None
        out = np.zeros((len(x), self.rank))
        for start in range(0, len(self.index), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            out += (x @ self.rows.read(self.index[part]).T) @ self.left[part]
        return out.astype(np.float32)

    def write_coordinates(self, file: RowFile, n: int) -> None:
        """Append the (n, r) coordinates of all rows; those that took no part in the rotation are 0 in the dual form."""
        if self.vectors is not None:
            for _, chunk in self.rows.chunks():
                file.append(chunk @ self.vectors)
            return
        assert self.index is not None and self.left is not None
        coordinates = np.zeros((n, self.rank), np.float32)
        coordinates[self.index] = self.left * self.values
        file.append(coordinates)


def fit_rotation(rows: ScaledRows, keep: BoolArray, max_rank: int, max_gram: int) -> Rotation:
    """Singular vectors of the training rows.

    From the Gram matrix of the rows while there are no more rows than columns, else from the streamed one of the columns
    (float64; memory d x d, whatever the number of rows). Where both would exceed `max_gram`, that many evenly spaced rows stand
    for all.

    Args:
        rows: Standardised rows.
        keep: (n,) rows to use.
        max_rank: Most coordinates.
        max_gram: Largest Gram matrix.
    """
    index = np.flatnonzero(keep)
    if rows.width < len(index) and rows.width <= max_gram:
        return _from_columns(rows, keep, max_rank)
    dual = _from_rows(rows, index, max_rank, max_gram)
    if len(index) <= max_gram:
        return dual
    return Rotation(rows, dual.values, vectors=dual.expand(np.eye(dual.rank)))


def _from_columns(rows: ScaledRows, keep: BoolArray, max_rank: int) -> Rotation:
    gram = np.zeros((rows.width, rows.width))
    for part, chunk in rows.chunks():
        x = chunk[keep[part]].astype(np.float64)
        gram += x.T @ x
    values, vectors = _leading(gram, max_rank)
    return Rotation(rows, values, vectors=vectors.astype(np.float32))


def _from_rows(rows: ScaledRows, index: NDArray[np.int64], max_rank: int, max_gram: int) -> Rotation:
    if len(index) > max_gram:
        index = index[np.linspace(0, len(index) - 1, max_gram).round().astype(np.int64)]
    x = rows.read(index)
    gram = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], COLUMNS_AT_ONCE):
        block = x[:, start : start + COLUMNS_AT_ONCE].astype(np.float64)
        gram += block @ block.T
    values, vectors = _leading(gram, max_rank)
    return Rotation(rows, values, index=index, left=vectors / np.sqrt(values))


def _leading(gram: NDArray[np.float64], max_rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues (k,) and eigenvectors (n, k), descending; those that are rounding are left out."""
    n = len(gram)
    few = [n - max_rank, n - 1] if 2 * max_rank < n else None
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=few, driver="evr" if few else "evd", check_finite=False)
    values, vectors = values[::-1][:max_rank], vectors[:, ::-1][:, :max_rank]
    real = values > SMALLEST_EIGENVALUE * values[0] if n and values[0] > 0 else np.zeros(len(values), bool)
    return values[real], vectors[:, real]
