"""What a JEPA predictor is conditioned on: the past motion of the hands, else the commands given before t0, else nothing."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray
from harness.tasks.action_chunk import ActionChunk
from harness.tasks.hands import HandTrajectoryForecast
from harness.window import View

Motion = Literal["hands", "actions", "none"]
_TASKS: dict[str, HandTrajectoryForecast | ActionChunk] = {"hands": HandTrajectoryForecast(), "actions": ActionChunk()}
TRACKS = tuple(name for task in _TASKS.values() for name in task.tracks_for_history())


def motion_of(view: View) -> Motion:
    """What a view could be conditioned on: hands in the camera of t0 where it shows any, else commands, else nothing."""
    if "camera_pose" in view.tracks and any(name in view.tracks for name in ("hand_left", "hand_right")):
        return "hands"
    return "actions" if "command" in view.tracks else "none"


def past_motion(view: View, kind: Motion, steps: int) -> tuple[NDArray[np.float32], BoolArray]:
    """The past motion at evenly spaced moments, the last at t0 (commands: the last one before t0).

    Args:
        view: What was observed.
        kind: What to read.
        steps: Moments.

    Returns:
        (B, steps, M) metres (hands: 126 numbers in the camera of t0) or the units of the command, 0 where not measured, and the
        mask. M is 0 where there is nothing to read.
    """
    if kind == "none" or not any(name in view.tracks for name in _TASKS[kind].tracks_for_history()):
        nothing = np.zeros((len(view.times), steps, 0), np.float32)
        return nothing, nothing > 0
    values, measured = _TASKS[kind].history(view)
    at = np.linspace(0, values.shape[1] - 1, steps).round().astype(np.int64)
    return values[:, at].astype(np.float32), np.asarray(measured[:, at], bool)


def fit_width(values: NDArray[np.float32], measured: BoolArray, width: int) -> tuple[NDArray[np.float32], BoolArray]:
    """Motion of `width` numbers: an episode that lacks the tracks has them masked.

    Raises:
        ValueError: Of another width that is not zero.
    """
    if values.shape[2] == width:
        return values, measured
    if values.shape[2]:
        raise ValueError(f"motion of {values.shape[2]} numbers where train has {width}")
    empty = np.zeros((*values.shape[:2], width), np.float32)
    return empty, empty > 0
