"""Tasks that find the key of a window by its query, among the windows of the gallery."""

import numpy as np

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import CAPTION_TEXT, Task, ViewSpec
from harness.tasks.frames import window_count
from harness.tasks.labels import WITHOUT_CAPTION
from harness.timeline import frame_codes, frame_sets
from harness.window import Samples, WindowSpec

MOTION_AND_SOUND = ViewSpec(include=("hand_*", "body*", "contacts", "camera_pose", "imu", "audio/*"))
DEPTH_AND_VIDEO = ViewSpec(include=("depth*", "video/*"))


class RetrievalTask(Task):
    """A query vector and a key vector per window, scored by the reciprocal rank of the window's own key.

    Every window is an item of its own and every row is valid. Items are codes within one episode.
    """

    answer = "retrieval"
    metric = "harness.metrics.retrieval:ReciprocalRank"
    floor = "chance"
    ceiling = 1.0

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """One item per window."""
        return Targets(np.ones(len(samples), bool), item=np.arange(len(samples), dtype=np.int32))


class CaptionGrounding(RetrievalTask):
    """Task 8: find the sensors of a window by its caption text (objects and interaction).

    Windows whose text is the same on every frame are one item: nothing in the query tells them apart. Valid where any frame has
    text.
    """

    id = "caption_grounding"
    title = "Sensors of the window that a text describes"
    mechanism = "the text names objects in view and what the hands do to them"
    views = (ViewSpec(include=CAPTION_TEXT), WITHOUT_CAPTION)
    requires = CAPTION_TEXT

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """One item per sequence of texts."""
        n, length = len(samples), samples.length
        if not n or not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(n, bool), item=np.arange(n, dtype=np.int32))
        sentence = frame_codes(episode.tracks["interaction"], episode.timeline)
        objects, _ = frame_sets(episode.tracks["objects"], episode.timeline)
        _, text = np.unique(np.column_stack([sentence, objects]), axis=0, return_inverse=True)
        windows = np.lib.stride_tricks.sliding_window_view(text.reshape(-1), length)[samples.starts[:, 0]]
        _, item = np.unique(windows, axis=0, return_inverse=True)
        said = np.asarray((sentence >= 0) | objects.any(axis=1), bool)
        valid = np.asarray(window_count(said, samples.starts[:, 0], length) > 0, bool)
        return Targets(valid, item=item.reshape(-1).astype(np.int32))


class CrossModalRetrieval(RetrievalTask):
    """Task 9: find depth and video of a window by its motion and sound."""

    id = "cross_modal_retrieval"
    title = "Depth and video of the window with a motion and sound"
    mechanism = "what the cameras see moves with the hands and the head, and sounds when things touch"
    views = (MOTION_AND_SOUND, DEPTH_AND_VIDEO)
    requires = ("camera_pose", "video/*")


class CameraViewSyncRetrieval(RetrievalTask):
    """Task 19: find the frames of one camera by those of another, of the same window."""

    id = "camera_view_sync_retrieval"
    title = "Camera 3 of the window that camera 1 shows"
    mechanism = "both cameras turn with one head and see the same light and motion"
    views = (ViewSpec(include=("video/fisheye_cam1",)), ViewSpec(include=("video/fisheye_cam3",)))
    requires = ("video/fisheye_cam1", "video/fisheye_cam3")
