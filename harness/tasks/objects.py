"""Tasks whose answer is a set of objects."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import Task
from harness.tasks.frames import window_sets
from harness.tasks.horizon import HorizonTask
from harness.tasks.labels import WITHOUT_CAPTION
from harness.timeline import frame_sets
from harness.window import Samples, WindowSpec


class ObjectSetTask(Task):
    """The objects of a window: every name on any of its frames. Valid where at least one frame says what is there."""

    answer = "label_set"
    views = (WITHOUT_CAPTION,)
    metric = "harness.metrics.micro_f1:MicroF1"
    floor = "prior"
    ceiling = 1.0
    requires = ("objects",)

    def first(self, samples: Samples) -> NDArray[np.int64]:
        """(n,) first reference sample of the window whose objects are asked for."""
        return samples.starts[:, 0]

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, K) object sets."""
        if not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(len(samples), bool), label_sets=np.zeros((len(samples), 0), bool))
        track = episode.tracks["objects"]
        sets, valid = window_sets(*frame_sets(track, episode.timeline), self.first(samples), samples.length)
        return Targets(valid, label_sets=sets & valid[:, None], vocabulary=track.names)


class ObjectRelevance(ObjectSetTask):
    """Task 7: the objects of the window."""

    id = "object_relevance"
    title = "Objects of the window"
    mechanism = "objects in use are in view and near the hands"


class ObjectSetForecast(HorizonTask, ObjectSetTask):
    """Task 17: the objects of the window 100 samples later (5 s at 20 fps)."""

    name = "object_set_forecast"
    default_horizon = 100
    title = "Objects of a later window"
    mechanism = "objects stay in use for a while, and the task says which come next"
    copies = "object_relevance"

    def first(self, samples: Samples) -> NDArray[np.int64]:
        """(n,) first reference sample of the later window."""
        return samples.starts[:, 0] + self.horizon
