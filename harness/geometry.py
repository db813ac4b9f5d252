"""Points between the camera and the world."""

import numpy as np
from numpy.typing import NDArray

HAND_JOINTS = 21  # per hand: wrist, then four joints of each finger


def to_world(points: NDArray, pose: NDArray) -> NDArray[np.float64]:
    """Points (..., J, 3) of a camera frame in the world, by its pose T_world_camera (..., 4, 4)."""
    world: NDArray[np.float64] = points @ np.swapaxes(pose[..., :3, :3], -1, -2) + pose[..., None, :3, 3]
    return world


def from_world(points: NDArray, pose: NDArray) -> NDArray[np.float64]:
    """World points (..., J, 3) in the frame of the camera with the pose T_world_camera (..., 4, 4)."""
    local: NDArray[np.float64] = (points - pose[..., None, :3, 3]) @ pose[..., :3, :3]
    return local
