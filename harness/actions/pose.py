"""Poses as 4 x 4 matrices T_a_b (b in a), and as nine numbers: place, then rotation as six."""

import numpy as np
from numpy.typing import NDArray

from harness.actions.rotation import SIX, from_six, to_six

NINE = 3 + SIX


def pose_of(rotation: NDArray, place: NDArray) -> NDArray[np.float64]:
    """(..., 4, 4) of rotations (..., 3, 3) and places (..., 3)."""
    pose = np.zeros((*place.shape[:-1], 4, 4))
    pose[..., :3, :3], pose[..., :3, 3], pose[..., 3, 3] = rotation, place, 1.0
    return pose


def inverse(pose: NDArray) -> NDArray[np.float64]:
    """T_b_a of T_a_b, (..., 4, 4); exact for rigid poses."""
    turned = np.swapaxes(pose[..., :3, :3], -1, -2)
    return pose_of(turned, -(turned @ pose[..., :3, 3:])[..., 0])


def to_nine(pose: NDArray) -> NDArray[np.float64]:
    """(..., 4, 4) -> (..., 9)."""
    return np.concatenate([pose[..., :3, 3], to_six(pose[..., :3, :3])], axis=-1)


def from_nine(nine: NDArray) -> NDArray[np.float64]:
    """(..., 9) -> (..., 4, 4)."""
    return pose_of(from_six(nine[..., 3:]), np.asarray(nine[..., :3], np.float64))
