"""Rotations as six numbers: the first two columns of the matrix, one after the other (Zhou et al. 2019).

Columns, not rows: reading one for the other looks like a rotation and is its inverse.
"""

import numpy as np
from numpy.typing import NDArray

SIX = 6
_SMALLEST = 1e-8  # shorter than this a column has no direction


def to_six(rotation: NDArray) -> NDArray[np.float64]:
    """(..., 3, 3) matrices -> (..., 6): first column, then second."""
    columns = np.swapaxes(rotation[..., :, :2], -1, -2)
    return np.asarray(columns.reshape(*rotation.shape[:-2], SIX), np.float64)


def from_six(six: NDArray) -> NDArray[np.float64]:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt, so any six finite numbers with two directions give a rotation.

    Where a column has no direction of its own (it is zero, or both are parallel), a fixed one takes its place: what a model
    draws is always scored as some rotation.
    """
    first = _unit(np.asarray(six[..., :3], np.float64), np.array([1.0, 0.0, 0.0]))
    rest = six[..., 3:] - first * (first * six[..., 3:]).sum(axis=-1, keepdims=True)
    # The axis that `first` leans on least is never parallel to it.
    spare = np.eye(3)[np.abs(first).argmin(axis=-1)]
    spare = spare - first * (first * spare).sum(axis=-1, keepdims=True)
    second = _unit(rest, spare / np.linalg.norm(spare, axis=-1, keepdims=True))
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def angle_between(one: NDArray, other: NDArray) -> NDArray[np.float64]:
    """(...) radians in [0, pi] of the turn from one rotation (..., 3, 3) to another.

    From the chord, 2 asin(|A - B| / (2 sqrt 2)): the arc cosine of the trace loses half the digits near zero.
    """
    chord = np.linalg.norm(np.asarray(one, np.float64) - other, axis=(-2, -1))
    return np.asarray(2 * np.arcsin(np.clip(chord / np.sqrt(8), 0, 1)))


def _unit(vector: NDArray[np.float64], spare: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.where(length > _SMALLEST, vector / np.maximum(length, _SMALLEST), spare)
