"""The hand-pose action: where camera, wrists and fingertips are, as 57 numbers, and its projection on 29.

Absolute and anchored: everything is given in the frame of the camera at t0, metres. So errors do not add up along a chunk, and
turning the head later moves no hand. The order is that of Cosmos' `hand_pose` domain: camera, right hand, left hand.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.actions.pose import NINE, from_nine, inverse, pose_of, to_nine
from harness.episode import BoolArray

WRIST, INDEX_KNUCKLE, MIDDLE_KNUCKLE, LITTLE_KNUCKLE = 0, 5, 9, 17
TIPS = (4, 8, 12, 16, 20)
THUMB, INDEX = 0, 1  # rows of the tips
TIP_NUMBERS = 3 * len(TIPS)
HAND = NINE + TIP_NUMBERS
WIDTH = NINE + 2 * HAND
PROJECTED_WIDTH = NINE + 2 * (NINE + 1)
SIDES = ("right", "left")
ANSWER_WIDTH = WIDTH + len(SIDES)
"""Of what a task asks for: the 57 numbers, then the distance of thumb tip and index tip of each side."""
RANKED = (*range(2 * NINE), WIDTH, *range(NINE + HAND, 2 * NINE + HAND), WIDTH + 1)
"""Columns of an answer that are the projection's, in its order: camera, right wrist and distance, left wrist and distance."""


@dataclass(frozen=True)
class Layout:
    """Columns of one part of the action.

    Attributes:
        camera: Nine numbers.
        wrist: Side -> nine numbers.
        tips: Side -> 15 numbers: thumb to little finger in the wrist's frame. Only of the 57.
        grasp: Side -> distance of thumb tip and index tip. Only of the 29.
    """

    camera: slice
    wrist: dict[str, slice]
    tips: dict[str, slice]
    grasp: dict[str, slice]


def _layout(hand: int, tips: bool) -> Layout:
    starts = {side: NINE + i * hand for i, side in enumerate(SIDES)}
    rest = {side: slice(start + NINE, start + hand) for side, start in starts.items()}
    wrists = {side: slice(start, start + NINE) for side, start in starts.items()}
    return Layout(slice(0, NINE), wrists, rest if tips else {}, {} if tips else rest)


FULL = _layout(HAND, tips=True)
PROJECTED = _layout(NINE + 1, tips=False)


def wrist_pose(joints: NDArray, side: str) -> NDArray[np.float64]:
    """(..., 4, 4) pose of the wrist from 21 joints (..., 21, 3), in the frame of the joints.

    Z points to the knuckle of the middle finger, Y out of the palm, X = Y x Z: to the little finger of the right hand and to
    the thumb of the left one, because no right-handed frame does the same for both.
    """
    wrist = joints[..., WRIST, :]
    along = joints[..., MIDDLE_KNUCKLE, :] - wrist
    z = along / np.linalg.norm(along, axis=-1, keepdims=True)
    across = joints[..., LITTLE_KNUCKLE, :] - joints[..., INDEX_KNUCKLE, :]
    y = np.cross(z, across) * (1.0 if side == "right" else -1.0)
    y = y / np.linalg.norm(y, axis=-1, keepdims=True)
    return pose_of(np.stack([np.cross(y, z), y, z], axis=-1), wrist)


def encode(
    camera: NDArray, joints: dict[str, NDArray], seen: dict[str, BoolArray], anchor: NDArray
) -> tuple[NDArray[np.float64], BoolArray]:
    """The action at every step.

    Args:
        camera: (..., T, 4, 4) T_world_camera.
        joints: Side -> (..., T, 21, 3) world metres.
        seen: Side -> (..., T) True where the hand was measured.
        anchor: (..., 4, 4) T_world_camera at t0.

    Returns:
        (..., T, 57), 0 where not measured, and (..., T, 57) True where measured.
    """
    to_anchor = inverse(anchor)[..., None, :, :]
    values = np.zeros((*camera.shape[:-2], WIDTH))
    measured = np.zeros(values.shape, bool)
    values[..., FULL.camera] = to_nine(to_anchor @ camera)
    measured[..., FULL.camera] = True
    for side in SIDES:
        known = seen[side] & _has_a_frame(joints[side])
        points = np.where(known[..., None, None], joints[side], _FLAT)
        wrist = wrist_pose(points, side)
        local = inverse(wrist)
        tips = points[..., TIPS, :] @ np.swapaxes(local[..., :3, :3], -1, -2) + local[..., None, :3, 3]
        numbers = np.concatenate([to_nine(to_anchor @ wrist), tips.reshape(*tips.shape[:-2], TIP_NUMBERS)], axis=-1)
        columns = slice(FULL.wrist[side].start, FULL.tips[side].stop)
        values[..., columns] = np.where(known[..., None], numbers, 0.0)
        measured[..., columns] = known[..., None]
    return values, measured


def answer_of(action: NDArray) -> NDArray[np.float64]:
    """(..., 57) -> (..., 59) with the distances of the projection."""
    short = project(action)
    return np.concatenate([action, *(short[..., PROJECTED.grasp[side]] for side in SIDES)], axis=-1)


def answer_measured(measured: BoolArray) -> BoolArray:
    """(..., 57) -> (..., 59)."""
    short = project_measured(measured)
    return np.concatenate([measured, *(short[..., PROJECTED.grasp[side]] for side in SIDES)], axis=-1)


def tips_in_anchor(action: NDArray, side: str) -> NDArray[np.float64]:
    """(..., 5, 3) fingertips of (..., 57) actions in the frame of the anchor, metres."""
    wrist = from_nine(action[..., FULL.wrist[side]])
    tips = action[..., FULL.tips[side]].reshape(*action.shape[:-1], len(TIPS), 3)
    return np.asarray(tips @ np.swapaxes(wrist[..., :3, :3], -1, -2) + wrist[..., None, :3, 3])


def project(action: NDArray) -> NDArray[np.float64]:
    """(..., 57) -> (..., 29): the fingertips become the distance of thumb tip and index tip, metres."""
    out = np.zeros((*action.shape[:-1], PROJECTED_WIDTH))
    out[..., PROJECTED.camera] = action[..., FULL.camera]
    for side in SIDES:
        out[..., PROJECTED.wrist[side]] = action[..., FULL.wrist[side]]
        tips = action[..., FULL.tips[side]].reshape(*action.shape[:-1], len(TIPS), 3)
        out[..., PROJECTED.grasp[side]] = np.linalg.norm(tips[..., THUMB, :] - tips[..., INDEX, :], axis=-1, keepdims=True)
    return out


def project_measured(measured: BoolArray) -> BoolArray:
    """(..., 57) -> (..., 29): a distance is measured where both tips are."""
    out = np.zeros((*measured.shape[:-1], PROJECTED_WIDTH), bool)
    out[..., PROJECTED.camera] = measured[..., FULL.camera]
    for side in SIDES:
        out[..., PROJECTED.wrist[side]] = measured[..., FULL.wrist[side]]
        tips = measured[..., FULL.tips[side]]
        out[..., PROJECTED.grasp[side]] = tips[..., : 3 * (INDEX + 1)].all(axis=-1, keepdims=True)
    return out


def lift(projected: NDArray, tips: NDArray) -> NDArray[np.float64]:
    """(..., 29) -> (..., 57) with the fingertips of another action, thumb and index moved along their line to the distance.

    `project(lift(p, tips))` is p. What a model of 29 numbers answers for the 57: a stated map, not a forecast of its own.

    Args:
        projected: Its answer.
        tips: (..., 57) an action whose fingertips are taken, e.g. that of t0.
    """
    out = np.zeros((*projected.shape[:-1], WIDTH))
    out[..., FULL.camera] = projected[..., PROJECTED.camera]
    for side in SIDES:
        out[..., FULL.wrist[side]] = projected[..., PROJECTED.wrist[side]]
        fingers = np.broadcast_to(tips[..., FULL.tips[side]], (*projected.shape[:-1], TIP_NUMBERS)).copy()
        fingers = fingers.reshape(*projected.shape[:-1], len(TIPS), 3)
        line = fingers[..., INDEX, :] - fingers[..., THUMB, :]
        length = np.linalg.norm(line, axis=-1, keepdims=True)
        line = np.where(length > 0, line / np.where(length > 0, length, 1.0), np.array([0.0, 0.0, 1.0]))
        move = (np.maximum(projected[..., PROJECTED.grasp[side]], 0.0) - length) / 2 * line
        fingers[..., THUMB, :] -= move
        fingers[..., INDEX, :] += move
        out[..., FULL.tips[side]] = fingers.reshape(*projected.shape[:-1], TIP_NUMBERS)
    return out


def _flat_hand() -> NDArray[np.float64]:
    """Any hand that has a frame: it stands where none was measured, and is masked."""
    joints = np.zeros((21, 3))
    joints[MIDDLE_KNUCKLE], joints[INDEX_KNUCKLE], joints[LITTLE_KNUCKLE] = (0, 0, 1), (-1, 0, 1), (1, 0, 1)
    return joints


_FLAT = _flat_hand()


def _has_a_frame(joints: NDArray) -> BoolArray:
    """(...) True where wrist and knuckles span a plane."""
    finite = np.isfinite(joints).all(axis=(-2, -1))
    points = np.where(finite[..., None, None], joints, 0.0)
    along = points[..., MIDDLE_KNUCKLE, :] - points[..., WRIST, :]
    across = points[..., LITTLE_KNUCKLE, :] - points[..., INDEX_KNUCKLE, :]
    return np.asarray(finite & (np.linalg.norm(np.cross(along, across), axis=-1) > 1e-9), bool)
