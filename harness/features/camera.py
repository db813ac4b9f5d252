"""Where the camera moves and how it is turned."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray
from harness.features.held import Held, hold
from harness.features.stats import ends, window_stats
from harness.features.track import StatisticsBlock

TRANSLATION_DIMS = ("x", "y", "z")
ROTATION_DIMS = tuple(f"r{row}{column}" for row in range(3) for column in range(3))


def poses(episode: Episode, track: str) -> Held:
    """(N, 16) T_world_camera, row by row; a pose is measured as a whole or not at all."""
    values, measured = hold(episode.tracks[track], episode.timeline)
    if measured is None:
        return Held(values, None)
    return Held(values, np.repeat(measured.all(axis=1, keepdims=True), values.shape[1], axis=1))


@dataclass(frozen=True)
class CameraTranslationBlock(StatisticsBlock):
    """Statistics of the camera's position minus that at the first measured sample of the window, metres, the world's axes."""

    def held(self, episode: Episode) -> Held:
        """See `StatisticsBlock`."""
        values, measured = poses(episode, self.reads[0])
        columns = [3, 7, 11]
        return Held(values[:, columns], None if measured is None else measured[:, columns])

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        values, measured = self.held(episode)
        return window_stats(values, measured, starts, length, prepare=_from_first)


@dataclass(frozen=True)
class CameraRotationBlock(StatisticsBlock):
    """Statistics of the nine numbers of R_world_camera."""

    def held(self, episode: Episode) -> Held:
        """See `StatisticsBlock`."""
        values, measured = poses(episode, self.reads[0])
        columns = [0, 1, 2, 4, 5, 6, 8, 9, 10]
        return Held(values[:, columns], None if measured is None else measured[:, columns])


def _from_first(windows: FloatArray, measured: BoolArray | None, part: NDArray[np.int64]) -> tuple[FloatArray, BoolArray | None]:
    first = windows[0] if measured is None else ends(windows, measured)[0]
    return windows - first, measured
