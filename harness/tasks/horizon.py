"""Tasks about a moment after t0, and what holding the past still would answer."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode
from harness.tasks.base import Task
from harness.window import Samples, View, WindowSpec, observe_track, view_times

ROWS_AT_ONCE = 256  # observed windows overlap, so all of an episode at once would be many times the episode


class HorizonTask(Task):
    """A task that looks `horizon` reference samples past t0.

    Args:
        horizon: Reference samples, at least 1, for the id `NAME@H`; None = the task's default, for the plain name.

    Attributes:
        name: Id without the horizon.
        default_horizon: Reference samples.
        horizon: Reference samples.
    """

    name: ClassVar[str]
    default_horizon: ClassVar[int]

    def __init__(self, horizon: int | None = None) -> None:
        self.horizon = self.default_horizon if horizon is None else horizon
        if self.horizon < 1:
            raise ValueError(f"task {self.name}: a horizon of {self.horizon} samples is not after t0")
        self.id = self.name if horizon is None else f"{self.name}@{self.horizon}"

    def reach(self, spec: WindowSpec) -> int:
        """The horizon."""
        return self.horizon


def hold_last(values: NDArray, measured: BoolArray) -> tuple[NDArray, BoolArray]:
    """The last measured step of each number.

    Args:
        values: (B, T, D), oldest first.
        measured: (B, T, D).

    Returns:
        (B, D) values, 0 where no step is measured, and (B, D) True where one is.
    """
    if not values.shape[1]:
        return np.zeros(values[:, 0:1].shape[::2], values.dtype), np.zeros(values.shape[::2], bool)
    latest = values.shape[1] - 1 - measured[:, ::-1].argmax(axis=1)
    known = measured.any(axis=1)
    held = np.take_along_axis(values, latest[:, None], axis=1)[:, 0]
    return np.where(known, held, 0), np.asarray(known, bool)


def persistence(task: Task, episode: Episode, samples: Samples, spec: WindowSpec, width: int) -> tuple[NDArray, BoolArray]:
    """What a branch answers that repeats the last thing it saw of the forecast quantity.

    It is taken from the same views, through the same `task.history`, as a branch would.

    Args:
        task: A task with a `history`.
        episode: Has a track that the history reads.
        samples: n samples of one view.
        spec: How much of the past a view shows.
        width: Numbers per step.

    Returns:
        (n, width) the held step, 0 where nothing was seen, and (n, width) True where something was.
    """
    held, known = np.zeros((len(samples), width)), np.zeros((len(samples), width), bool)
    tracks = [episode.tracks[name] for name in task.tracks_for_history() if name in episode.tracks]
    for start in range(0, len(samples), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        last = samples.last[rows, 0]
        windows = {track.name: observe_track(track, episode.timeline, last, spec) for track in tracks}
        held[rows], known[rows] = hold_last(*task.history(View(view_times(episode, last, spec), windows)))
    return held, known
