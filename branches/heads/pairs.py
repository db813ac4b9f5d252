"""How well one view of a pair predicts the other: what a linear head cannot see in two views side by side.

For each class of the pair task (aligned / shifted, forward / reversed) a ridge map from the first view to the second is fitted on
the training pairs of that class. Per feature block of the second view, the head gets the cosine between the block and its
prediction. Training pairs are judged by the map without their own group, as test pairs are by a map that never saw them.

The cosine stands in for the log-likelihood of the block given the first view, of which it keeps the product and leaves out the
squares: these move with every constant difference between sessions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from branches.heads.config import InputOptions
from branches.heads.inputs import Layout
from branches.heads.ridge import factorise, ridge_problem
from branches.heads.rotation import fit_rotation
from branches.heads.scaler import SMALLEST_STD, ScaledRows
from harness.episode import BoolArray
from harness.row_file import RowFile

COORDINATES = 8  # principal coordinates of each block of the second view that are predicted
FIRST_VIEW_RANK = 256  # principal coordinates of the first view that predict
LARGEST = 5.0  # in standard deviations of the error: one outlier must not decide for a block
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossPrediction:
    """The fitted maps.

    Attributes:
        widths: Columns of each block of the second view.
        vectors: (d_b, 8) block by block, from columns to standardised principal coordinates; 0 where a block has fewer.
        centre: (U,) mean of the principal coordinates, U = 8 per block.
        maps: (d_a, C * U) from columns of the first view to the coordinates, class after class.
        intercepts: (C * U,).
        precision: (C * U,) one over the standard deviation of a left-out prediction's error, 0 where the map is of no use.
    """

    widths: NDArray[np.int64]
    vectors: NDArray[np.float32]
    centre: NDArray[np.float32]
    maps: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    precision: NDArray[np.float32]

    def __call__(self, first: NDArray[np.float32], second: NDArray[np.float32], second_raw: NDArray[np.float32]) -> Matrix:
        """(m, C * blocks) cosines.

        Args:
            first: (m, d_a) standardised first view.
            second: (m, d_b) standardised second view.
            second_raw: (m, d_b) second view as observed: where a block is NaN its cosine is 0.
        """
        actual = block_coordinates(second, self.vectors, self.widths) - self.centre
        valid = np.isfinite(second_raw[:, np.cumsum([0, *self.widths[:-1]])])
        return self.cosines(actual, first @ self.maps + self.intercepts, valid)

    def cosines(self, actual: NDArray, predicted: NDArray, valid: BoolArray) -> Matrix:
        """The cosines from (m, U) coordinates, their (m, C * U) predictions and (m, blocks) which blocks are measured.

        Coordinates are divided by the error of their prediction. One error's length is added to both vectors, so that a block of
        which little is predicted says little.
        """
        classes = len(self.precision) // max(actual.shape[1], 1)
        actual = np.clip(np.tile(actual, (1, classes)) * self.precision, -LARGEST, LARGEST)
        predicted = np.clip(predicted * self.precision, -LARGEST, LARGEST)
        shape = (len(actual), -1, COORDINATES)
        product, left, right = (
            x.reshape(shape).sum(axis=2) for x in (actual * predicted, actual * actual, predicted * predicted)
        )
        return np.asarray(product / np.sqrt((left + 1) * (right + 1)) * np.tile(valid, (1, classes)), np.float64)

    def arrays(self) -> dict[str, NDArray]:
        """For saving."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def block_coordinates(view: NDArray[np.float32], vectors: NDArray[np.float32], widths: NDArray[np.int64]) -> NDArray[np.float32]:
    """(m, 8 * blocks) principal coordinates of every block."""
    edges = np.cumsum([0, *widths.tolist()])
    cuts = [slice(edges[i], edges[i + 1]) for i in range(len(widths))]
    return np.concatenate([view[:, cut] @ vectors[cut] for cut in cuts], axis=1)


def fit_cross_prediction(
    rows: ScaledRows, layout: Layout, codes: NDArray[np.int32], keep: BoolArray, groups: NDArray[np.int64], options: InputOptions
) -> tuple[CrossPrediction, Matrix] | None:
    """Fit the maps of every class.

    Args:
        rows: Standardised training pairs, both views in one row.
        layout: Their columns.
        codes: (n,) class of each pair.
        keep: (n,) pairs that take part.
        groups: (n,) left out together.
        options: Sizes.

    Returns:
        The maps, and (n, C * blocks) cosines of the training pairs by the maps without their own group; None where a class is in
        one group only, so that nothing can be judged.
    """
    classes = np.unique(codes[keep])
    if any(len(np.unique(groups[keep & (codes == c)])) < 2 for c in classes):
        return None
    rotation = fit_rotation(rows.take(layout.view_columns(0)), keep, FIRST_VIEW_RANK, options.max_gram)
    if not rotation.rank:
        return None
    coordinates = RowFile(rows.file.path.with_suffix(".first-view"))
    rotation.write_coordinates(coordinates, len(codes))
    widths = np.array([width for _, width in layout.views[1]])
    vectors = np.concatenate([_block_vectors(rows, columns, keep, options) for columns in _block_columns(layout, widths)])
    actual, valid = _second_view(rows, layout, vectors, widths)
    centre = actual[keep].mean(axis=0)
    actual -= centre
    maps, intercepts, precisions, predictions = [], [], [], []
    for c in classes:
        weight = (keep & (codes == c)).astype(np.float64)
        factors = factorise(lambda i: coordinates.read(i).astype(np.float64), weight)
        problem = ridge_problem(factors, lambda i: coordinates.read(i).astype(np.float64), lambda i: actual[i])
        grid = factors.grid()
        loss = problem.left_out_errors(groups, grid)
        penalty = grid[loss.argmin(axis=0)]
        weights, intercept = problem.solve(penalty)
        maps.append(rotation.expand(weights))
        intercepts.append(intercept)
        error, spread = np.sqrt(loss.min(axis=0) / weight.sum()), np.sqrt(weight @ actual**2 / weight.sum())
        precisions.append(np.where(error < spread, 1 / np.maximum(error, SMALLEST_STD), 0.0))
        predictions.append(problem.left_out_predictions(groups, penalty))
    columns = [np.concatenate(parts).astype(np.float32) for parts in (intercepts, precisions)]
    fitted = CrossPrediction(widths, vectors, centre.astype(np.float32), np.concatenate(maps, axis=1), *columns)
    return fitted, fitted.cosines(actual, np.concatenate(predictions, axis=1), valid)


def _block_columns(layout: Layout, widths: NDArray[np.int64]) -> list[slice]:
    edges = layout.view_columns(1).start + np.cumsum([0, *widths.tolist()])
    return [slice(int(edges[i]), int(edges[i + 1])) for i in range(len(widths))]


def _block_vectors(rows: ScaledRows, columns: slice, keep: BoolArray, options: InputOptions) -> NDArray[np.float32]:
    """(width, 8) from a block's columns to its leading principal coordinates, each of variance 1."""
    rotation = fit_rotation(rows.take(columns), keep, COORDINATES, options.max_gram)
    out = np.zeros((columns.stop - columns.start, COORDINATES), np.float32)
    out[:, : rotation.rank] = rotation.expand(np.diag(np.sqrt(keep.sum() / rotation.values)))
    return out


def _second_view(
    rows: ScaledRows, layout: Layout, vectors: NDArray[np.float32], widths: NDArray[np.int64]
) -> tuple[Matrix, BoolArray]:
    """(n, U) coordinates of the second view and (n, blocks) which blocks are measured."""
    columns = layout.view_columns(1)
    scaler = rows.scaler.take(columns)
    first = np.cumsum([0, *widths[:-1]])
    actual, valid = [], []
    for _, raw in rows.file.chunks(columns):
        actual.append(block_coordinates(scaler(raw), vectors, widths))
        valid.append(np.isfinite(raw[:, first]))  # a block is masked as a whole
    return np.concatenate(actual).astype(np.float64), np.concatenate(valid)
