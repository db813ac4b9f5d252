"""Tasks whose target is the window features of another modality."""

from typing import ClassVar

import numpy as np

from harness.answers import Targets
from harness.episode import Episode
from harness.features import block_widths, data_set_blocks, feature_matrix
from harness.tasks.base import Task, ViewSpec
from harness.tasks.retrieval import MOTION_AND_SOUND
from harness.window import Samples, WindowSpec

CAMERAS = ("fisheye_cam0", "fisheye_cam1", "fisheye_cam2", "fisheye_cam3", "stereo_left", "stereo_right")


class FeatureTask(Task):
    """The numbers of some feature blocks of the same window.

    The target has the same columns in every episode. A block is masked out in windows where its inputs were not measured, and
    everywhere in an episode that lacks them. Rows are not valid where no block is left.

    Attributes:
        names: The target's blocks.
        sources: Recorded tracks that they are made of.
    """

    answer = "vector"
    floor = "prior"
    names: ClassVar[tuple[str, ...]]
    sources: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.blocks = data_set_blocks(self.sources, self.names)
        self.widths = block_widths(self.blocks, ())

    def target_tracks(self) -> tuple[str, ...]:
        """What the target's blocks read."""
        return tuple(dict.fromkeys(name for block in self.blocks for name in block.reads))

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """(D,), block after block."""
        return (sum(self.widths.values()),)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, D) features."""
        found = feature_matrix(episode, self.blocks, samples.starts[:, 0], samples.length, self.widths)
        mask = np.repeat(found.valid, [self.widths[block.name] for block in self.blocks], axis=1)
        return Targets(np.asarray(found.valid.any(axis=1), bool), values=found.values, mask=mask)


class ModalityReconstruction(FeatureTask):
    """Task 10: the features of depth and of the six cameras (5,096 numbers), from motion and sound."""

    id = "modality_reconstruction"
    title = "Depth and video features of the window"
    mechanism = "where the head and the hands are says much of what the cameras see"
    views = (MOTION_AND_SOUND,)
    metric = "harness.metrics.r2:R2"
    ceiling = 1.0
    requires = ("camera_pose", "depth*", "video/*")
    names = ("depth_confidence", *(f"video_{camera}" for camera in CAMERAS))
    sources = ("depth", "depth_confidence", *(f"video/{camera}" for camera in CAMERAS))


class ImuToHandPose(FeatureTask):
    """Task 18: the features of both hands' joints (882 numbers, all in metres), from the IMU alone.

    Hands are in the camera frame of t0. The published features subtract a body joint of the world frame instead.
    """

    id = "imu_to_hand_pose"
    title = "Hand joint features of the window"
    mechanism = "the head nods and turns with what the hands do"
    views = (ViewSpec(include=("imu",)),)
    metric = "harness.metrics.mae:MeanAbsoluteError"
    unit = "m"
    ceiling = 0.0
    requires = ("imu", "hand_*", "camera_pose")
    names = ("hand_left_joints", "hand_right_joints")
    sources = ("hand_left", "hand_right", "camera_pose")
