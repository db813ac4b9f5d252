"""Robot state and command, of as many dimensions as the robot has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.features.held import dimension_names, hold
from harness.features.stats import last_measured, statistic_columns, window_stats


@dataclass(frozen=True)
class SignalBlock(Block):
    """The last value of a signal in the window, then its statistics.

    Attributes:
        until_t0: False for what is given at t0 itself and so belongs to the answer (commands): the window's last sample is left
            out, and a window of one sample is not valid.
    """

    until_t0: bool = True

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        names = dimension_names(episode.tracks[self.reads[0]])
        return [*(f"last({name})" for name in names), *statistic_columns(names)]

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        values, measured = hold(episode.tracks[self.reads[0]], episode.timeline)
        length = length if self.until_t0 else length - 1
        statistics, valid = window_stats(values, measured, starts, length)
        last = last_measured(values, measured, starts, length)
        return np.concatenate([last, statistics], axis=1), valid
