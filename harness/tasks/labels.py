"""Tasks whose answer is one label: of the window, of a moment after it, or of a pair of windows."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.episode import Episode
from harness.tasks.base import CAPTION_TEXT, Task, ViewSpec
from harness.tasks.frames import window_labels, window_sets
from harness.tasks.horizon import HorizonTask
from harness.timeline import frame_codes, frame_sets
from harness.window import Samples, WindowSpec

SHARE = 0.6  # of the labelled frames, for a label to be the window's
INTERACTION_SHARE = 0.35  # sentences change more often than actions
WITHOUT_CAPTION = ViewSpec(exclude=CAPTION_TEXT)


class LabelTask(Task):
    """One label per sample, scored by macro-F1."""

    answer = "label"
    metric = "harness.metrics.macro_f1:MacroF1"
    floor = "majority"
    ceiling = 1.0

    @abstractmethod
    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """(n,) codes, -1 where there is no truth, and the words they stand for; the episode has what the task requires."""

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """The label of every sample, valid where there is one."""
        if not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(len(samples), bool), labels=np.full(len(samples), -1, np.int32))
        codes, vocabulary = self.codes(episode, samples)
        return Targets(codes >= 0, labels=codes, vocabulary=vocabulary)


class WindowLabel(LabelTask):
    """The most common label of a window, where it holds a minimum share of the window's labelled frames; ties: the lower code.

    Attributes:
        track: Label track.
        share: The minimum share.
    """

    track: ClassVar[str]
    share: ClassVar[float] = SHARE

    def first(self, samples: Samples) -> NDArray[np.int64]:
        """(n,) first reference sample of the window whose label is asked for."""
        return samples.starts[:, 0]

    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The label of the window."""
        track = episode.tracks[self.track]
        frames = frame_codes(track, episode.timeline)
        labels = window_labels(frames, len(track.categories), self.first(samples), samples.length, self.share)
        return labels, track.categories


class TimelineAction(WindowLabel):
    """Task 1: the action of the window."""

    id = "timeline_action"
    title = "Action of the window"
    mechanism = "each action moves hands, body and camera in its own way, around its own objects"
    track = "action"
    requires = ("action",)


class TimelineSubtask(WindowLabel):
    """Task 2: the subtask of the window."""

    id = "timeline_subtask"
    title = "Subtask of the window"
    mechanism = "a subtask is a run of actions with its own objects at its own place"
    track = "subtask"
    requires = ("subtask",)


class InteractionTextPrediction(WindowLabel):
    """Task 15: the interaction sentence of the window as a class, with no caption text in view."""

    id = "interaction_text_prediction"
    title = "Interaction sentence of the window"
    mechanism = "the sentence names what the hands do and to which object: both are seen"
    track = "interaction"
    share = INTERACTION_SHARE
    views = (WITHOUT_CAPTION,)
    requires = ("interaction",)


class FutureWindowLabel(HorizonTask, WindowLabel):
    """The label of the window `horizon` reference samples later; not valid where that window leaves the recording."""

    views = (WITHOUT_CAPTION,)

    def first(self, samples: Samples) -> NDArray[np.int64]:
        """(n,) first reference sample of the later window."""
        return samples.starts[:, 0] + self.horizon


class LongHorizonNextAction(FutureWindowLabel):
    """Task 13: the action of the window 100 samples later (5 s at 20 fps)."""

    name = "long_horizon_next_action"
    default_horizon = 100
    title = "Action of a later window"
    mechanism = "actions follow each other in the order of the task"
    track = "action"
    requires = ("action",)
    copies = "timeline_action"


class NextSubtaskForecast(FutureWindowLabel):
    """Task 14: the subtask of the window 100 samples later (5 s at 20 fps)."""

    name = "next_subtask_forecast"
    default_horizon = 100
    title = "Subtask of a later window"
    mechanism = "subtasks follow each other in the order of the task"
    track = "subtask"
    requires = ("subtask",)
    copies = "timeline_subtask"


class NextAction(HorizonTask, LabelTask):
    """Task 4: the action on the frame 20 samples after t0 (1 s at 20 fps).

    Not valid where that frame is past the recording's end: the published suite repeats the last frame there.
    """

    name = "next_action"
    default_horizon = 20
    title = "Action after the window"
    mechanism = "an action goes on or is followed by the next of the task; its last phase looks different from its first"
    requires = ("action",)
    copies = "timeline_action"

    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The label of one later frame."""
        track = episode.tracks["action"]
        frames = frame_codes(track, episode.timeline)
        later = samples.last[:, 0] + self.horizon
        exists = later < len(frames)
        labels = np.full(len(samples), -1, np.int32)
        labels[exists] = frames[later[exists]]
        return labels, track.categories


class ActionObjectRelation(LabelTask):
    """Task 16: the window's action and its object set as one class, `action | object, object`, objects in alphabetical order.

    Valid where the window has an action and its objects are known (an empty set is known too).
    """

    id = "action_object_relation"
    title = "Action and objects of the window as one class"
    mechanism = "an action is done to its objects, which are in view"
    views = (WITHOUT_CAPTION,)
    requires = ("action", "objects")

    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The combined class."""
        track, objects = episode.tracks["action"], episode.tracks["objects"]
        starts, length = samples.starts[:, 0], samples.length
        frames = frame_codes(track, episode.timeline)
        actions = window_labels(frames, len(track.categories), starts, length, SHARE)
        sets, known = window_sets(*frame_sets(objects, episode.timeline), starts, length)
        valid = (actions >= 0) & known
        rows = np.column_stack([actions, sets])[valid]
        classes, inverse = np.unique(rows, axis=0, return_inverse=True)
        words = tuple(
            f"{track.categories[row[0]]} | {', '.join(sorted(np.array(objects.names)[row[1:] > 0]))}" for row in classes
        )
        codes = np.full(len(samples), -1, np.int32)
        codes[valid] = inverse.reshape(-1)
        return codes, words
