"""Training windows of a JEPA predictor, on disk: the latent and the motion of the past, the latent and the hands to come."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from branches.world_model.motion import Motion, fit_width, motion_of, past_motion
from harness.branch import Needs, TrainingSet
from harness.episode import BoolArray
from harness.row_file import RowFile
from harness.tasks.base import Task
from harness.tasks.future import FutureRetrieval
from harness.tasks.hands import HandTrajectoryForecast
from harness.window import View

_ROLES: tuple[Literal["query", "key"], ...] = ("query", "key")


def past_latent(view: View, track: str, width: int) -> tuple[NDArray[np.float32], BoolArray]:
    """(B, width) latent of the clip that ends at t0, 0 where there is none, and (B,) True where there is."""
    window = view.tracks.get(track)
    if window is None:
        return np.zeros((len(view.times), width), np.float32), np.zeros(len(view.times), bool)
    there = np.asarray(window.valid[:, -1], bool)
    latent = window.values[:, -1].reshape(len(there), -1)
    return np.where(there[:, None], latent, 0).astype(np.float32), there


def newest(latents: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """(B, L) latents whose newest time step stands at all of their `times` steps: what a picture that stands still would give."""
    steps = latents.reshape(len(latents), times, -1)
    return np.repeat(steps[:, -1:], times, axis=1).reshape(latents.shape)


@dataclass(frozen=True)
class Goal:
    """What one predictor learns to say: the difference to the newest time step of the past latent, or to the joints seen last.

    Zeros are an answer that holds what was observed last.

    Attributes:
        task: `FutureLatent`, `FutureRetrieval` (both: the next latent) or `HandTrajectoryForecast` (the joints to come).
        track: Of the encoder's latents in a view.
        shape: Of a latent, time first.
    """

    task: Task
    track: str
    shape: tuple[int, ...]

    @property
    def latent_width(self) -> int:
        """Numbers of a latent."""
        return int(np.prod(self.shape))

    @property
    def is_latent(self) -> bool:
        """True where the answer is a latent."""
        return not isinstance(self.task, HandTrajectoryForecast)

    def episodes(self, training: TrainingSet, needs: Needs) -> Iterator[tuple[str, View, NDArray[np.float32], BoolArray]]:
        """Per episode: id, view of its windows, (n, A) differences to learn and which of them are known."""
        if isinstance(self.task, FutureRetrieval):
            pairs = (training.batches(self.task, needs, role) for role in _ROLES)
            for query, key in zip(*pairs, strict=True):
                view = query.observed.views[0]
                past, _ = past_latent(view, self.track, self.latent_width)
                following, known = past_latent(key.observed.views[0], self.track, self.latent_width)
                yield (
                    query.episode,
                    view,
                    following - newest(past, self.shape[0]),
                    np.repeat(known[:, None], self.latent_width, axis=1),
                )
            return
        for batch in training.batches(self.task, needs):
            targets = batch.targets
            assert targets.values is not None and targets.reference is not None
            mask = np.ones(targets.values.shape, bool) if targets.mask is None else targets.mask
            held = newest(targets.reference, self.shape[0]) if self.is_latent else targets.reference
            yield batch.episode, batch.observed.views[0], targets.values - held, mask & targets.valid[:, None]


@dataclass(eq=False)
class Rows:
    """Windows of some episodes; files of one row per window.

    Attributes:
        folder: Where they stand.
        motion: What the motion is.
        motion_width: Numbers of it per moment.
        episodes: Whose windows they are.
        left_out: Windows without a past latent.
    """

    folder: Path
    motion: Motion
    motion_width: int
    files: dict[str, RowFile] = field(default_factory=dict)
    episodes: list[str] = field(default_factory=list)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.files["past"]) if self.files else 0

    def append(self, columns: dict[str, NDArray]) -> None:
        """Add (m, ...) rows of every column, flattened."""
        for name, rows in columns.items():
            if name not in self.files:
                self.files[name] = RowFile(self.folder / name, np.uint8 if rows.dtype == bool else np.float32)
            self.files[name].append(rows.reshape(len(rows), -1))

    def read(self, index: NDArray) -> dict[str, NDArray]:
        """Some rows, by column, flat; masks as bool."""
        found = {name: file.read(index) for name, file in self.files.items()}
        return {name: rows.astype(bool) if rows.dtype == np.uint8 else rows for name, rows in found.items()}


def gather(training: TrainingSet, goal: Goal, needs: Needs, steps: int, folder: Path, like: Rows | None = None) -> Rows | None:
    """The windows of a training set that have a past latent and something to learn; None where there is none.

    Args:
        training: Whose windows.
        goal: What to learn.
        needs: What to see of a window.
        steps: Moments of the past motion.
        folder: Gets the files.
        like: Rows whose motion these must have; None = that of most episodes.
    """
    motion, width = (like.motion, like.motion_width) if like else _motion(training, goal, needs, steps)
    folder.mkdir(parents=True, exist_ok=True)
    rows = Rows(folder, motion, width)
    for episode, view, answers, known in goal.episodes(training, needs):
        past, there = past_latent(view, goal.track, goal.latent_width)
        values, measured = fit_width(*past_motion(view, motion, steps), width)
        keep = there & known.any(axis=1)
        rows.left_out += int((known.any(axis=1) & ~there).sum())
        if keep.any():
            columns = {"past": past, "motion": values, "measured": measured, "answers": answers, "known": known}
            rows.append({name: column[keep] for name, column in columns.items()})
            rows.episodes.append(episode)
    return rows if len(rows) else None


def _motion(training: TrainingSet, goal: Goal, needs: Needs, steps: int) -> tuple[Motion, int]:
    """What most episodes can be conditioned on, and its width."""
    found: list[tuple[Motion, int]] = []
    for _, view, _, _ in goal.episodes(training, needs):
        kind = motion_of(view)
        found.append((kind, past_motion(view, kind, steps)[0].shape[2]))
    return Counter(found).most_common(1)[0][0] if found else ("none", 0)
