"""Windows as a policy sees them: frames of some cameras at t0, the state, and in training the chunk. Rows stand on disk."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.policy.config import PolicyOptions
from branches.policy.spaces import Space, space_of
from harness.branch import EpisodeBatch, Needs, TrainingSet
from harness.episode import BoolArray
from harness.row_file import RowFile
from harness.tasks.base import Task
from harness.tasks.horizon import HorizonTask
from harness.window import ObservedBatch, View

FRAMES = "frames/"


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


def camera_tracks(view: View) -> list[str]:
    """Frame tracks that a view shows, by name."""
    return sorted(name for name in view.tracks if name.startswith(FRAMES))


@dataclass(eq=False)
class Windows:
    """Training or validation windows of one task, on disk.

    Attributes:
        space: Action space.
        cameras: Frame tracks.
        size: Height and width of a frame.
        horizon: Steps of a chunk.
        frames: (n, cameras * size * size * 3) uint8.
        states: (n, S) float32, physical units.
        relative: True where actions are differences to the one observed last.
        actions: (n, H * width) float32, physical units, 0 where not measured.
        masks: (n, H * width) uint8.
        episodes: Ids they come from.
        left_out: Windows without a camera or a state.
    """

    space: Space
    cameras: tuple[str, ...]
    size: int
    horizon: int
    relative: bool
    frames: RowFile
    states: RowFile
    actions: RowFile
    masks: RowFile
    episodes: list[str] = field(default_factory=list)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.actions)

    def add(self, task: Task, batch: EpisodeBatch) -> None:
        """Take in the windows of one episode that have a target and everything the policy looks at."""
        view, targets = batch.observed.views[0], batch.targets
        assert targets.values is not None
        frames, there = frames_of(view, self.cameras, self.size)
        state, known = self.space.state(task, view)
        keep = targets.valid & there & known
        self.left_out += int((targets.valid & ~keep).sum())
        if not keep.any():
            return
        n = len(targets.valid)
        mask = np.ones(targets.values.shape, bool) if targets.mask is None else targets.mask
        steps = (n, self.horizon, targets.values.shape[1] // self.horizon)
        actions, measured = self.space.actions(targets.values.reshape(steps), mask.reshape(steps))
        if self.relative:
            actions = (actions - self.space.last(task, view)[:, None]).astype(np.float32)
        self.frames.append(frames[keep].reshape(keep.sum(), -1))
        self.states.append(state[keep])
        self.actions.append(np.where(measured, actions, 0.0)[keep].reshape(keep.sum(), -1))
        self.masks.append(measured[keep].reshape(keep.sum(), -1))
        self.episodes.append(batch.episode)

    def read(self, index: NDArray) -> dict[str, NDArray]:
        """`frames` (m, cameras, size, size, 3), `states`, `actions` (m, H, width) and `masks` of some windows."""
        m, chunk = len(index), (self.horizon, self.space.width)
        return {
            "frames": self.frames.read(index).reshape(m, len(self.cameras), self.size, self.size, 3),
            "states": self.states.read(index),
            "actions": self.actions.read(index).reshape(m, *chunk),
            "masks": self.masks.read(index).reshape(m, *chunk).astype(bool),
        }


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
                options.image_size,
                task.horizon,
                options.relative,
                frames=RowFile(out / "frames", np.uint8),
                states=RowFile(out / "states"),
                actions=RowFile(out / "actions"),
                masks=RowFile(out / "masks", np.uint8),
            )
        windows.add(task, batch)
    return windows


def in_parts(batch: ObservedBatch, size: int) -> Iterator[slice]:
    """Parts of a batch, so that memory does not grow with it."""
    for start in range(0, len(batch), size):
        yield slice(start, start + size)
