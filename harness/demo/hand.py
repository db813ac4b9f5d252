"""A hand of 21 joints: fingers that close around what is held, from the palm's place and the closure."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from harness.demo.script import LEFT
from harness.episode import FloatArray

SHOULDERS = np.array([[-0.19, -0.06, -0.74], [0.19, -0.06, -0.74]])
"""Left and right shoulder of the person at rest, world metres."""

# Right hand at rest, palm down: x to the fingertips, y to the thumb, z to the back of the hand. Thumb first, little finger last.
_BASE = np.array([[0.03, 0.035, -0.012], [0.092, 0.026, 0], [0.095, 0.004, 0], [0.089, -0.017, 0], [0.080, -0.036, 0]])
_LENGTH = np.array(
    [[0.035, 0.03, 0.025], [0.04, 0.025, 0.022], [0.044, 0.028, 0.024], [0.04, 0.026, 0.022], [0.032, 0.02, 0.018]]
)
_SPREAD = np.array([0.7, 0.08, 0.0, -0.08, -0.18])
_FLEX = np.array([[0.3, 0.5, 0.5], [1.1, 1.3, 0.8], [1.15, 1.3, 0.8], [1.15, 1.3, 0.8], [1.2, 1.3, 0.8]])
_GRASP = np.array([0.10, 0.0, -0.035])

FINGER_JOINTS = np.arange(1, 21).reshape(5, 4)
"""(5, 4) joint numbers of thumb, index, middle, ring and little finger, from the knuckle to the tip."""
MANO_FINGERS = (1, 2, 4, 3, 0)
"""Order of the fingers in MANO's 15 rotations: index, middle, little, ring, thumb; rows of `FINGER_JOINTS`."""


@dataclass(frozen=True, eq=False)
class HandPose:
    """One hand over T times.

    Attributes:
        joints: (T, 21, 3) world metres: wrist, then `FINGER_JOINTS`.
        turn: (T, 3, 3) rotation hand -> world; columns to the fingertips, to the left, to the back of a flat hand.
        bends: (T, 15, 3) rotation vectors of the finger joints, in MANO's order.
    """

    joints: FloatArray
    turn: FloatArray
    bends: FloatArray


def hand_pose(palm: FloatArray, tilt: FloatArray, grip: FloatArray, side: int, size: float) -> HandPose:
    """Joints of one hand whose grasp point is at `palm`.

    Args:
        palm: (T, 3) world metres.
        tilt: (T,) roll about the direction of the fingers, radians.
        grip: (T,) closure, 0 flat to 1 fist.
        side: LEFT or RIGHT.
        size: Scale of the hand.
    """
    mirror = np.array([1.0, 1.0 if side != LEFT else -1.0, 1.0])
    flat = palm[:, :2] - SHOULDERS[side][:2]
    forward = np.concatenate([flat, -0.25 * np.linalg.norm(flat, axis=1, keepdims=True)], axis=1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    left = np.cross([0.0, 0.0, 1.0], forward)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    level = Rotation.from_matrix(np.stack([forward, left, np.cross(forward, left)], axis=2))
    turn = (level * Rotation.from_euler("x", tilt[:, None])).as_matrix()
    wrist = palm - turn @ (_GRASP * mirror * size)
    bend = grip[:, None, None] * _FLEX
    angle = np.cumsum(bend, axis=2)
    spread = (_SPREAD * (1 - 0.5 * grip[:, None]))[:, :, None]
    along = np.stack([np.cos(angle) * np.cos(spread), np.cos(angle) * np.sin(spread), -np.sin(angle)], axis=3)
    chain = np.cumsum(along * _LENGTH[..., None], axis=2)
    fingers = np.concatenate([np.zeros_like(chain[:, :, :1]), chain], axis=2) + _BASE[:, None]
    local = fingers.reshape(len(palm), 20, 3) * mirror * size
    joints = np.concatenate([wrist[:, None], wrist[:, None] + local @ turn.transpose(0, 2, 1)], axis=1)
    bends = np.zeros((len(palm), 5, 3, 3))
    bends[..., 1] = bend
    return HandPose(joints, turn, bends[:, MANO_FINGERS].reshape(len(palm), 15, 3))
