"""Acceleration and angular velocity, on the sensor's own clock."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.features.held import dimension_names, numbers
from harness.features.stats import ragged_stats, statistic_columns

IMU_DIMS = ("ax", "ay", "az", "gx", "gy", "gz")


@dataclass(frozen=True)
class ImuBlock(Block):
    """Statistics of the samples from the one at the first reference sample's time to the one at the last's, both included.

    The sample at a time is the newest one not after it. A window whose newest sample is older than the reference sample before
    the window is not valid: the sensor had stopped.
    """

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        names = dimension_names(episode.tracks[self.reads[0]])
        return statistic_columns(IMU_DIMS if len(names) == len(IMU_DIMS) else names)

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return statistic_columns(IMU_DIMS)

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        track, timeline = episode.tracks[self.reads[0]], episode.timeline
        clock = track.times
        assert clock is not None, f"track {track.name} is untimed"
        values, measured = numbers(track)
        first = np.maximum(np.searchsorted(clock, timeline[starts], side="right") - 1, 0)
        last = np.searchsorted(clock, timeline[starts + length - 1], side="right") - 1
        running = last >= 0
        running[running] = clock[last[running]] >= timeline[np.maximum(starts[running] - 1, 0)]
        return ragged_stats(values, measured, first, np.where(running, last - first + 1, 0))
