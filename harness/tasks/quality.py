"""Regression over the rows of a table."""

import numpy as np

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import Task, ViewSpec
from harness.timeline import frame_values
from harness.window import Samples, WindowSpec


class QualityScore(Task):
    """The target column of a plain table, from the feature columns of the same row. Rows are windows of length 1."""

    id = "quality_score"
    title = "Target column of a table row"
    mechanism = "whatever the table's features say of the target"
    answer = "vector"
    views = (ViewSpec(include=("features",)),)
    metric = "harness.metrics.rmse:RootMeanSquareError"
    floor = "prior"
    ceiling = 0.0
    requires = ("target", "features")

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """One number."""
        return (1,)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, 1) the target of the row at t0; not valid where the cell is empty."""
        if not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(len(samples), bool), values=np.zeros((len(samples), 1), np.float32))
        values, measured = frame_values(episode.tracks["target"], episode.timeline)
        last = samples.last[:, 0]
        return Targets(measured.reshape(-1)[last], values=values.reshape(-1, 1)[last].astype(np.float32))
