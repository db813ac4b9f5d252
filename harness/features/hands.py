"""Hand joints in the camera frame of t0, the last sample of the window."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray
from harness.features.camera import poses
from harness.features.held import Held, hold
from harness.features.stats import window_stats
from harness.features.track import StatisticsBlock
from harness.geometry import HAND_JOINTS as JOINTS
from harness.geometry import from_world, to_world

HAND_DIMS = tuple(f"{joint}.{axis}" for joint in range(JOINTS) for axis in "xyz")


@dataclass(frozen=True)
class HandBlock(StatisticsBlock):
    """Statistics of p = T_world_camera(t0)^-1 T_world_camera(t) p_camera(t) for the 21 joints of one hand, metres.

    The world frame cancels: moving it changes nothing. A joint is measured where it and the camera pose of its sample are; a
    window without a pose at t0 is not valid.
    """

    def held(self, episode: Episode) -> Held:
        """(N, 63) joints in the world."""
        values, measured = hold(episode.tracks[self.reads[0]], episode.timeline)
        pose, posed = poses(episode, self.reads[1])
        if measured is not None:
            values = np.where(measured, values, 0)
        if posed is not None:
            pose = np.where(posed, pose, 0)
            every = np.ones(values.shape, bool) if measured is None else measured
            measured = every & posed[:, :1]
        world = to_world(values.reshape(len(values), -1, 3), pose.reshape(-1, 4, 4))
        return Held(world.reshape(len(values), -1), measured)

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        values, measured = self.held(episode)
        pose, posed = poses(episode, self.reads[1])
        last = starts + length - 1
        anchored = np.ones(len(starts), bool) if posed is None else posed[last, 0]
        anchor = np.where(anchored[:, None], pose[last], 0).reshape(-1, 4, 4)

        def anchor_windows(
            windows: FloatArray, mask: BoolArray | None, part: NDArray[np.int64]
        ) -> tuple[FloatArray, BoolArray | None]:
            """(T, b, 63) world -> the camera at each window's t0."""
            joints = windows.reshape(*windows.shape[:2], -1, 3)
            moved = from_world(joints, anchor[part]).reshape(windows.shape)
            return moved, None if mask is None else mask & anchored[part, None]

        return window_stats(values, measured, starts, length, prepare=anchor_windows)
