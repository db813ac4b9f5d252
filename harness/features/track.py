"""Blocks that are the seven statistics of one track's samples in the window."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.features.held import Held, dimension_names, hold
from harness.features.stats import statistic_columns, window_stats


@dataclass(frozen=True)
class StatisticsBlock(Block):
    """Statistics of D numbers per reference sample.

    Attributes:
        dims: Names of the D numbers where the format fixes them; empty where they depend on the data.
    """

    dims: tuple[str, ...] = ()

    @abstractmethod
    def held(self, episode: Episode) -> Held:
        """(N, D) numbers on the reference samples."""

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return statistic_columns(self.dims)

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return statistic_columns(self.dims) if self.dims else None

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        values, measured = self.held(episode)
        return window_stats(values, measured, starts, length)


@dataclass(frozen=True)
class TrackBlock(StatisticsBlock):
    """Statistics of a track as it is: contacts, descriptors of video, depth and sound."""

    def held(self, episode: Episode) -> Held:
        """See `StatisticsBlock`."""
        return hold(episode.tracks[self.reads[0]], episode.timeline)

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`; the data say how many there are."""
        names = dimension_names(episode.tracks[self.reads[0]])
        return statistic_columns(self.dims if len(self.dims) == len(names) else names)
