"""Tasks about when the action changes."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.boundaries import TRANSITION, boundaries_of
from harness.episode import Episode
from harness.tasks.frames import label_changes
from harness.tasks.horizon import HorizonTask
from harness.tasks.labels import WITHOUT_CAPTION, LabelTask
from harness.timeline import frame_codes
from harness.window import Samples, WindowSpec

TOLERANCE = 10  # reference samples between the centre of a window and a change of action


class TransitionDetection(LabelTask):
    """Task 3: whether the action changes within 10 samples of the window's centre, `start + (length - 1) // 2`.

    A change stands on the first frame of the new label (see `label_changes` for gaps). Valid where the centre is labelled.
    Targets carry the times of the changes, for boundary-F1.
    """

    id = "transition_detection"
    metric = "harness.metrics.boundary_f1:BoundaryF1"
    title = "Does the action change around the window's centre?"
    mechanism = "hands slow down, let go and turn to another object between two actions"
    requires = ("action",)

    def reach(self, spec: WindowSpec) -> int:
        """What the tolerance leaves of the second half of the window."""
        return max(0, (spec.length - 1) // 2 + TOLERANCE - (spec.length - 1))

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """The label of every sample, and which changes are near it."""
        labelled = super().targets(episode, samples, spec)
        if not self.poses(tuple(episode.tracks)):
            return labelled
        changes = label_changes(frame_codes(episode.tracks["action"], episode.timeline))
        found = boundaries_of(episode.timeline, changes, _centre(samples), labelled.valid, TOLERANCE)
        return replace(labelled, boundaries=found)

    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """0 steady, 1 transition."""
        frames = frame_codes(episode.tracks["action"], episode.timeline)
        changes = label_changes(frames)
        centre = _centre(samples)
        upto = np.searchsorted(changes, centre + TOLERANCE, side="right")
        near = upto > np.searchsorted(changes, centre - TOLERANCE, side="left")
        return np.where(frames[centre] >= 0, near, -1).astype(np.int32), ("steady", TRANSITION)


def _centre(samples: Samples) -> NDArray[np.int64]:
    centre: NDArray[np.int64] = samples.starts[:, 0] + (samples.length - 1) // 2
    return centre


class TimeToTransition(HorizonTask):
    """Task 20: seconds from t0 to the next change of action, at most 200 samples of the reference track (10 s at 20 fps).

    The published suite counts frames; here the cap is those frames' duration, `horizon / rate`, and the error is in seconds.
    A change stands on the first frame of the new label. Valid where the frame at t0 is labelled and the time is known: a
    recording whose labels end within the cap and without another change does not tell it (published: the cap).
    """

    name = "time_to_transition"
    default_horizon = 200
    title = "Seconds to the next change of action"
    mechanism = "an action has a typical length, and its phase is seen in the motion"
    answer = "vector"
    views = (WITHOUT_CAPTION,)
    metric = "harness.metrics.mae:MeanAbsoluteError"
    unit = "s"
    floor = "prior"
    ceiling = 0.0
    requires = ("action",)

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """One number."""
        return (1,)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, 1) seconds."""
        rate = episode.tracks[episode.reference].rate
        if not len(samples) or rate is None or not self.poses(tuple(episode.tracks)):
            return Targets(np.zeros(len(samples), bool), values=np.zeros((len(samples), 1), np.float32))
        frames = frame_codes(episode.tracks["action"], episode.timeline)
        last, cap = samples.last[:, 0], self.horizon / rate
        last_labelled = np.flatnonzero(frames >= 0).max(initial=-1)
        changes = label_changes(frames)
        following = np.searchsorted(changes, last, side="right")
        changes_again = following < len(changes)
        change = np.append(changes, len(frames) - 1)[following]
        seconds = np.where(changes_again, np.minimum(episode.timeline[change] - episode.timeline[last], cap), cap)
        valid = (frames[last] >= 0) & (changes_again | (last_labelled - last >= self.horizon))
        return Targets(valid, values=np.where(valid, seconds, 0.0)[:, None].astype(np.float32))
