"""Body joints about the body's own root."""

from dataclasses import dataclass

import numpy as np

from harness.episode import Episode
from harness.features.held import Held, hold
from harness.features.track import StatisticsBlock

JOINTS = 52  # SMPL-H
BODY_DIMS = tuple(f"{joint}.{axis}" for joint in range(JOINTS) for axis in "xyz")


@dataclass(frozen=True)
class BodyBlock(StatisticsBlock):
    """Statistics of the joints minus joint 0 of the same sample, metres, along the world's axes."""

    def held(self, episode: Episode) -> Held:
        """See `StatisticsBlock`."""
        values, measured = hold(episode.tracks[self.reads[0]], episode.timeline)
        about = (values.reshape(len(values), -1, 3) - values[:, None, :3]).reshape(values.shape)
        if measured is not None:
            measured = measured & np.tile(measured[:, :3], values.shape[1] // 3)
        return Held(about, measured)
