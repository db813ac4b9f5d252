"""The columns of a plain table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.features.held import dimension_names, hold
from harness.features.stats import last_measured


@dataclass(frozen=True)
class TableBlock(Block):
    """The feature columns of the row at t0, as they are; 0 where a cell is empty. Valid where any is filled."""

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return list(dimension_names(episode.tracks[self.reads[0]]))

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`."""
        values, measured = hold(episode.tracks[self.reads[0]], episode.timeline)
        last = starts + length - 1
        filled = np.ones(len(starts), bool) if measured is None else np.asarray(measured[last].any(axis=1), bool)
        return last_measured(values, measured, last, 1), filled
