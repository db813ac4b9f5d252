"""Tasks over two windows: which came first, and do they belong to the same moment?"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.episode import BoolArray, Episode
from harness.tasks.base import Task, ViewSpec
from harness.window import Samples, WindowSpec

MOTION = ("hand_*", "body*", "contacts", "camera_pose", "imu")
SENSES = ("depth*", "video/*", "audio/*")


class PairTask(Task):
    """One of two words about two windows. The truth follows from how the pair was made, so every row is valid.

    Attributes:
        words: The answers no and yes.
    """

    answer = "label"
    metric = "harness.metrics.macro_f1:MacroF1"
    floor = "chance"
    ceiling = 1.0
    words: ClassVar[tuple[str, str]]

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """The word for every pair."""
        truth = self.truth(samples.starts).astype(np.int32)
        return Targets(np.ones(len(samples), bool), labels=truth, vocabulary=self.words)

    @abstractmethod
    def truth(self, starts: NDArray[np.int64]) -> BoolArray:
        """(n,) of the first frames (n, 2) of both windows."""


class TemporalOrder(PairTask):
    """Task 11: whether two adjacent windows are shown in their true order; every pair occurs in both orders."""

    id = "temporal_order"
    title = "Are the two windows in order?"
    mechanism = "motion goes on from the end of one window to the start of the next"
    samples = "order_pair"
    views = (ViewSpec(), ViewSpec())
    requires = ("video/*",)
    words = ("reversed", "forward")

    def truth(self, starts: NDArray[np.int64]) -> BoolArray:
        """(n,) True where the first view is the earlier one."""
        return np.asarray(starts[:, 0] < starts[:, 1], bool)


class MisalignmentDetection(PairTask):
    """Task 12: whether motion (first view) and depth, video, audio (second) are of one moment or `SYNC_SHIFT` windows apart."""

    id = "misalignment_detection"
    title = "Are motion and senses of one moment?"
    mechanism = "what the camera sees and the microphone hears moves with the hands and the head"
    samples = "sync_pair"
    views = (ViewSpec(include=MOTION), ViewSpec(include=SENSES))
    requires = ("camera_pose", "video/*")
    words = ("shifted", "aligned")

    def truth(self, starts: NDArray[np.int64]) -> BoolArray:
        """(n,) True where both views are one window."""
        return np.asarray(starts[:, 0] == starts[:, 1], bool)
