"""What does not change during an episode: calibration, and the map that was built from the whole of it."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray
from harness.features.base import Block
from harness.features.held import dimension_names

CALIBRATION_NUMBERS = 117  # in a full Xperience-10M episode
POINT_STATISTICS = ("mean", "std", "min", "max", "p10", "p50", "p90")
POINT_CLOUD_DIMS = (*(f"{statistic}({axis})" for statistic in POINT_STATISTICS for axis in "xyz"), "log_count")


@dataclass(frozen=True)
class StaticBlock(Block):
    """The same numbers in every window."""

    @abstractmethod
    def describe(self, episode: Episode) -> tuple[FloatArray, bool]:
        """(D,) finite numbers, and whether anything was measured."""

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        numbers, measured = self.describe(episode)
        return np.tile(numbers.astype(np.float32), (len(starts), 1)), np.full(len(starts), measured)


@dataclass(frozen=True)
class CalibrationBlock(StaticBlock):
    """All numbers of the calibration; 0 where one was not measured."""

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return list(dimension_names(episode.tracks[self.reads[0]]))

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return [str(i) for i in range(CALIBRATION_NUMBERS)]

    def describe(self, episode: Episode) -> tuple[FloatArray, bool]:
        """See `StaticBlock`."""
        numbers = np.asarray(episode.tracks[self.reads[0]].array(), np.float64).ravel()
        return np.where(np.isfinite(numbers), numbers, 0.0), bool(np.isfinite(numbers).any())


@dataclass(frozen=True)
class PointCloudBlock(StaticBlock):
    """Where the points of the map lie (metres, world), and log(1 + number of points).

    Built from the whole recording, so no task may see it; it is here for the published feature list.
    """

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return list(POINT_CLOUD_DIMS)

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return list(POINT_CLOUD_DIMS)

    def describe(self, episode: Episode) -> tuple[FloatArray, bool]:
        """See `StaticBlock`."""
        points = np.asarray(episode.tracks[self.reads[0]].array(), np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return np.zeros(len(POINT_CLOUD_DIMS)), False
        spread = [points.mean(axis=0), points.std(axis=0), points.min(axis=0), points.max(axis=0)]
        return np.concatenate([*spread, *np.percentile(points, [10, 50, 90], axis=0), [np.log1p(len(points))]]), True
