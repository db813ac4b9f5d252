"""Windows as a policy sees them: frames of some cameras at t0, state and text, and in training the chunk. Rows stand on disk."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.policy.config import PolicyOptions
from branches.policy.spaces import Space, space_of
from harness.branch import MAIN, EpisodeBatch, Needs, TrainingSet
from harness.episode import BoolArray
from harness.row_file import RowFile
from harness.tasks.base import Task
from harness.tasks.horizon import HorizonTask
from harness.window import View

FRAMES = ("frames/", f"{MAIN}@")
INSTRUCTION = "instruction"
NO_INSTRUCTION = "Carry on with the task at hand."
"""What a policy that reads is told where no instruction is recorded."""


def frames_of(view: View, cameras: Sequence[str], size: int) -> tuple[NDArray[np.uint8], BoolArray]:
    """(B, cameras, size, size, 3) RGB at t0, and (B,) True where every camera has a frame."""
    batch = len(view.times)
    frames = np.zeros((batch, len(cameras), size, size, 3), np.uint8)
    there = np.ones(batch, bool)
    for i, camera in enumerate(cameras):
        track = view.tracks.get(camera)
        if track is None:
            return frames, np.zeros(batch, bool)
        frames[:, i] = track.values[:, -1]
        there &= track.valid[:, -1]
    return frames, there


def texts_of(view: View) -> list[str]:
    """(B,) the recorded instruction at t0, else a sentence that says nothing: never a caption or an action label."""
    track = view.tracks.get(INSTRUCTION)
    if track is None:
        return [NO_INSTRUCTION] * len(view.times)
    codes = np.where(track.valid[:, -1], track.values[:, -1].reshape(len(view.times)), -1)
    return [track.categories[code] if code >= 0 else NO_INSTRUCTION for code in codes.tolist()]


def camera_tracks(view: View) -> list[str]:
    """Frame tracks that a view shows, by name."""
    return sorted(name for name in view.tracks if name.startswith(FRAMES))


@dataclass(frozen=True, eq=False)
class Rows:
    """m windows in physical units.

    Attributes:
        frames: (m, cameras, size, size, 3) uint8.
        states: (m, state_steps * S) float32.
        texts: (m,).
        actions: (m, H, width) float32; None where they are to be predicted.
        masks: (m, H, width) bool, True where measured.
    """

    frames: NDArray[np.uint8]
    states: NDArray[np.float32]
    texts: tuple[str, ...]
    actions: NDArray[np.float32] | None = None
    masks: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.states)

    def take(self, part: NDArray) -> "Rows":
        """The windows at `part`, without actions."""
        return Rows(self.frames[part], self.states[part], tuple(self.texts[i] for i in part))


@dataclass(eq=False)
class Windows:
    """Training or validation windows of one task, on disk.

    Attributes:
        space: Action space.
        cameras: Frame tracks.
        horizon: Steps of a chunk.
        options: How states are shown, and whether actions are differences to the one observed last.
        frames: (n, cameras * size * size * 3) uint8.
        states: (n, state_steps * S) float32, physical units.
        actions: (n, H * width) float32, physical units, 0 where not measured.
        masks: (n, H * width) uint8.
        texts: (n,) instructions.
        episodes: Ids they come from.
        left_out: Windows without a camera or a state.
    """

    space: Space
    cameras: tuple[str, ...]
    horizon: int
    options: PolicyOptions
    frames: RowFile
    states: RowFile
    actions: RowFile
    masks: RowFile
    texts: list[str] = field(default_factory=list)
    episodes: list[str] = field(default_factory=list)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.actions)

    def add(self, task: Task, batch: EpisodeBatch) -> None:
        """Take in the windows of one episode that have a target and everything the policy looks at."""
        view, targets = batch.observed.views[0], batch.targets
        assert targets.values is not None
        options = self.options
        frames, there = frames_of(view, self.cameras, options.image_size)
        state, known = self.space.state(task, view, options.state_steps, options.state_stride)
        keep = targets.valid & there & known
        self.left_out += int((targets.valid & ~keep).sum())
        if not keep.any():
            return
        n = len(targets.valid)
        mask = np.ones(targets.values.shape, bool) if targets.mask is None else targets.mask
        steps = (n, self.horizon, targets.values.shape[1] // self.horizon)
        actions, measured = self.space.actions(targets.values.reshape(steps), mask.reshape(steps))
        if options.relative:
            actions = (actions - self.space.last(task, view)[:, None]).astype(np.float32)
        self.frames.append(frames[keep].reshape(keep.sum(), -1))
        self.states.append(state[keep].reshape(keep.sum(), -1))
        self.actions.append(np.where(measured, actions, 0.0)[keep].reshape(keep.sum(), -1))
        self.masks.append(measured[keep].reshape(keep.sum(), -1))
        self.texts += [text for text, kept in zip(texts_of(view), keep, strict=True) if kept]
        self.episodes.append(batch.episode)

    def read(self, index: NDArray) -> "Rows":
        """Some windows."""
        m, chunk, size = len(index), (self.horizon, self.space.width), self.options.image_size
        return Rows(
            self.frames.read(index).reshape(m, len(self.cameras), size, size, 3),
            self.states.read(index),
            tuple(self.texts[i] for i in index),
            self.actions.read(index).reshape(m, *chunk),
            self.masks.read(index).reshape(m, *chunk).astype(bool),
        )


def choose_cameras(training: TrainingSet, task: Task, needs: Needs, most: int) -> tuple[str, ...]:
    """Up to `most` of the cameras that most training episodes have, by name; the episodes that lack one are left out."""
    counts: Counter[str] = Counter()
    for batch in training.batches(task, Needs(frames=needs.frames)):
        counts.update(camera_tracks(batch.observed.views[0]))
    return tuple(sorted(name for name, n in counts.items() if n == max(counts.values()))[:most])


def gather(
    training: TrainingSet, task: Task, needs: Needs, cameras: tuple[str, ...], options: PolicyOptions, projected: bool, out: Path
) -> Windows | None:
    """The windows of a training set, written to a folder; None where it has no sample of the task."""
    assert isinstance(task, HorizonTask)
    out.mkdir(parents=True)
    windows: Windows | None = None
    for batch in training.batches(task, needs):
        assert batch.targets.values is not None
        if windows is None:
            space = space_of(task, batch.targets.values.shape[1] // task.horizon, projected=projected)
            windows = Windows(
                space,
                cameras,
                task.horizon,
                options,
                frames=RowFile(out / "frames", np.uint8),
                states=RowFile(out / "states"),
                actions=RowFile(out / "actions"),
                masks=RowFile(out / "masks", np.uint8),
            )
        windows.add(task, batch)
    return windows
