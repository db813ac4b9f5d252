"""Whether the wearer touches something."""

import numpy as np
from numpy.typing import NDArray

from harness.episode import Episode
from harness.tasks.base import CAPTION_TEXT, ViewSpec
from harness.tasks.frames import window_count
from harness.tasks.labels import LabelTask
from harness.timeline import frame_mask, frame_values
from harness.window import Samples


class ContactPrediction(LabelTask):
    """Task 6: whether any contact of any body joint is above 0 in the window (the published rule; contacts may be probabilities).

    Valid where the contacts of every frame of the window are measured: with some of them missing, only `contact` could be told.
    """

    id = "contact_prediction"
    title = "Is anything touched in the window?"
    mechanism = "a hand that touches moves with the object and closes around it"
    views = (ViewSpec(exclude=("contacts", *CAPTION_TEXT)),)
    requires = ("contacts",)

    def codes(self, episode: Episode, samples: Samples) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """0 no contact, 1 contact."""
        track, starts, length = episode.tracks["contacts"], samples.starts[:, 0], samples.length
        values, _ = frame_values(track, episode.timeline)
        touching = np.asarray((values > 0).reshape(len(values), -1).any(axis=1), bool)
        touched = window_count(touching, starts, length) > 0
        complete = window_count(frame_mask(track, episode.timeline), starts, length) == length
        return np.where(complete, touched, -1).astype(np.int32), ("no_contact", "contact")
