"""Windows as the Cosmos branch sees them: latents of the observed clip, the last frame, and in training latents of the future."""

from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.world_model.cosmos_config import CosmosOptions
from branches.world_model.cosmos_vae import CosmosVAE
from harness.branch import MAIN, EpisodeBatch, FramesWant, Needs, TrainingSet
from harness.episode import BoolArray
from harness.errors import BadInput
from harness.latents import track_name
from harness.row_file import RowFile
from harness.tasks.base import Task
from harness.tasks.future import FRAMES, SIDE, FutureVideo
from harness.window import View


def last_frame(vae: CosmosVAE) -> FramesWant:
    """The frame at t0 at the size of the VAE."""
    return FramesWant(MAIN, vae.height, vae.width, steps=1)


def needs_of(vae: CosmosVAE) -> Needs:
    """The latent of the clip that ends at t0, from the track store, and the last frame."""
    return Needs(tracks=(track_name(vae.name),), frames=(last_frame(vae),))


@dataclass(frozen=True, eq=False)
class Observed:
    """What B windows show.

    Attributes:
        past: (B, T, h, w, C) latents of the clip that ends at t0.
        last: (B, H, W, 3) uint8 RGB at t0.
        there: (B,) True where both were measured.
    """

    past: NDArray[np.float32]
    last: NDArray[np.uint8]
    there: BoolArray


def observed(view: View, vae: CosmosVAE) -> Observed:
    """What a view shows; zeros and False where it shows nothing."""
    n = len(view.times)
    past, last = np.zeros((n, *vae.shape), np.float32), np.zeros((n, vae.height, vae.width, 3), np.uint8)
    latents, frames = view.tracks.get(track_name(vae.name)), view.tracks.get(last_frame(vae).pattern)
    if latents is None or frames is None:
        return Observed(past, last, np.zeros(n, bool))
    past[...], last[...] = latents.values[:, -1].reshape(past.shape), frames.values[:, -1]
    return Observed(past, last, np.asarray(latents.valid[:, -1] & frames.valid[:, -1], bool))


def still(last: NDArray[np.uint8], vae: CosmosVAE) -> NDArray[np.float32]:
    """(B, T, h, w, C) latents of a clip that holds the last frame (B, H, W, 3) still."""
    return vae.encode(np.repeat(last[:, None], vae.frames, axis=1))


@dataclass(eq=False)
class FutureWindows:
    """Training or validation windows of one task, on disk.

    Attributes:
        shape: Of a latent, (T, h, w, C).
        past: (n, T h w C) latents of the observed clips.
        future: (n, T h w C) what is drawn, over `spread`: future latents, or their differences to the last frame held still.
        episodes: Ids they come from.
        left_out: Windows that have a truth but no camera, no future clip or no latent.
    """

    shape: tuple[int, ...]
    past: RowFile
    future: RowFile
    episodes: list[str] = field(default_factory=list)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.past)

    def digest(self) -> str:
        """Hash of the rows."""
        found = blake2b(digest_size=16)
        for file in (self.past, self.future):
            for _, rows in file.chunks():
                found.update(rows.data)
        return found.hexdigest()

    def read(self, index: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Some windows: past and future, (m, T, h, w, C) each."""
        past, future = (file.read(index).reshape(len(index), *self.shape) for file in (self.past, self.future))
        return past, future


def gather(training: TrainingSet, task: Task, vae: CosmosVAE, options: CosmosOptions, out: Path) -> FutureWindows:
    """The windows of a training set, written to a folder."""
    out.mkdir(parents=True)
    windows = FutureWindows(vae.shape, RowFile(out / "past"), RowFile(out / "future"))
    for batch in training.batches(task, needs_of(vae)):
        seen = observed(batch.observed.views[0], vae)
        keep = np.flatnonzero(batch.targets.valid & seen.there)
        future, known = future_latents(task, batch, seen, keep, vae)
        keep, future = keep[known], future[known]
        windows.left_out += int(batch.targets.valid.sum()) - len(keep)
        if not len(keep):
            continue
        if options.difference:
            future = future - still(seen.last[keep], vae)
        future = future / np.float32(options.spread)
        windows.past.append(seen.past[keep].reshape(len(keep), -1))
        windows.future.append(future.reshape(len(keep), -1))
        windows.episodes.append(batch.episode)
    return windows


def future_latents(
    task: Task, batch: EpisodeBatch, seen: Observed, rows: NDArray[np.int64], vae: CosmosVAE
) -> tuple[NDArray[np.float32], BoolArray]:
    """The latents of the true future clips of some windows, each encoded alone.

    Args:
        task: Says which clip.
        batch: A training episode.
        seen: What its windows show.
        rows: (m,) the windows.
        vae: Encodes.

    Returns:
        (m, T, h, w, C), and (m,) False where the clip is not at hand.

    Raises:
        BadInput: The VAE takes no clip of so many frames, or frames of another size at other times.
    """
    values = batch.targets.values
    assert values is not None
    if not isinstance(task, FutureVideo):
        return values[rows].reshape(len(rows), *vae.shape).astype(np.float32), np.ones(len(rows), bool)
    if vae.frames != FRAMES:
        raise BadInput(f"encoder {vae.name}: clips of {vae.frames} frames; {task.id} asks for {FRAMES}")
    if vae.height == SIDE:
        clips = values[rows].reshape(len(rows), FRAMES, SIDE, SIDE, 3).round().astype(np.uint8)
        return vae.encode(clips), np.ones(len(rows), bool)
    # The targets are too small for this VAE; but what a later window of a training episode shows is the future of this one.
    if (task.offsets != task.horizon - vae.stride * np.arange(FRAMES - 1, -1, -1)).any():
        raise BadInput(f"{task.id}: {vae.name} looks at frames {vae.stride} samples apart; ask for {FutureVideo.name}")
    ends = batch.samples.last[:, 0]
    position = {int(end): i for i, end in enumerate(ends) if seen.there[i]}
    later = np.array([position.get(int(end) + task.horizon, -1) for end in ends[rows]], np.int64).reshape(len(rows))
    return seen.past[later], np.asarray(later >= 0, bool)
