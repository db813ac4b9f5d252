"""What comes next as the main camera sees it: the frames of the next window, their latent, and which window it is.

The latent of a clip stands in the track store (`harness.latents`): it is made of that clip's frames alone.
"""

from hashlib import blake2b
from math import log10

import numpy as np
from numpy.typing import NDArray

from harness.answers import Targets
from harness.branch import MAIN, FramesWant
from harness.encoder import Encoder, get_encoder
from harness.episode import BoolArray, Episode, Track
from harness.errors import BadInput
from harness.latents import frames_of, take, track_name
from harness.tasks.base import Task, ViewSpec
from harness.tasks.horizon import HorizonTask
from harness.tasks.retrieval import RetrievalTask
from harness.timeline import held_index
from harness.window import Samples, View, WindowSpec

SIDE = 32  # pixels: future frames are asked for at this height and width
FRAMES = 5  # of a future, evenly spaced, the last one at the horizon


class FutureVideo(HorizonTask):
    """Five frames of the main camera over the next `horizon` samples, (t0, t0 + H], as (5, 32, 32, 3) RGB levels, 0 to 255.

    No frame that was observed is asked for. Not valid where a frame is missing, where the view shows none, and where the horizon
    leaves the recording. `reference` repeats the last frame of the view.
    """

    name = "future_video"
    default_horizon = 20
    title = "The frames of the next window"
    mechanism = "a hand in motion goes on, and the rest of the picture stands still"
    answer = "vector"
    metric = "harness.metrics.psnr:PSNR"
    unit = "dB"
    floor = "persistence"
    ceiling = 10 * log10(12 * 255**2)  # a perfect frame, see `harness.metrics.psnr`
    requires = ("video/*",)
    want = FramesWant(MAIN, SIDE, SIDE)

    def __init__(self, horizon: int | None = None) -> None:
        super().__init__(horizon)
        if self.horizon < FRAMES:
            raise BadInput(
                f"task {self.id}: {FRAMES} frames do not fit {self.horizon} samples; give a horizon of at least {FRAMES}"
            )

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(5,) reference samples after t0 of the frames asked for."""
        return np.arange(1, FRAMES + 1, dtype=np.int64) * self.horizon // FRAMES

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """(5, 32, 32, 3)."""
        return (FRAMES, SIDE, SIDE, 3)

    def target_frames(self) -> tuple[FramesWant, ...]:
        """Frames of the main camera."""
        return (self.want,)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, 5 * 32 * 32 * 3) levels."""
        n, frames = len(samples), episode.tracks.get(self.want.pattern)
        if not n or frames is None:
            empty = np.zeros((n, FRAMES * SIDE * SIDE * 3), np.float32)
            return Targets(np.zeros(n, bool), values=empty, reference=empty)
        last = samples.last[:, 0]
        ahead = last[:, None] + self.offsets
        inside = ahead[:, -1] < len(episode.timeline)
        held = held_index(frames, episode.timeline)
        rows = held[np.minimum(np.concatenate([last[:, None], ahead], axis=1), len(episode.timeline) - 1)]
        there = frames.mask()[np.maximum(rows, 0)] & (rows >= 0)
        levels = take(frames, np.maximum(rows, 0)).astype(np.float32)
        values, held_frame = levels[:, 1:].reshape(n, -1), levels[:, :1]
        reference = np.repeat(held_frame, FRAMES, axis=1).reshape(n, -1)
        return Targets(np.asarray(inside & there.all(axis=1), bool), values=values, reference=reference)

    def tracks_for_history(self) -> tuple[str, ...]:
        """Frames of the main camera."""
        return (self.want.pattern,)

    def history(self, view: View) -> tuple[NDArray, BoolArray]:
        """(B, T, 32 * 32 * 3) levels of the observed frames."""
        return _history(view, self.want.pattern, view.times.shape[1], SIDE * SIDE * 3)


class FutureLatent(Task):
    """The latent of the last clip of the next window, in a frozen encoder.

    The clip ends with the next window and, being no longer than a window, begins after t0. `reference` is the latent of the clip
    that ends at t0. Not valid where either clip lacks a frame, and where the next window leaves the recording.

    Args:
        encoder: Whose latent. Different encoders are different tasks and never share a column.
    """

    title = "The latent of the next window"
    mechanism = "a hand in motion goes on, and the rest of the picture stands still"
    answer = "vector"
    metric = "harness.metrics.latent_error:LatentError"
    floor = "persistence"
    ceiling = 0.0
    requires = ("video/*",)

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.id = f"future_latent[{encoder.name}]"

    def reach(self, spec: WindowSpec) -> int:
        """To the end of the next window."""
        return spec.advance

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """Of the encoder's latent."""
        return self.encoder.shape

    def target_encoders(self) -> tuple[Encoder, ...]:
        """Its encoder."""
        return (self.encoder,)

    def target_frames(self) -> tuple[FramesWant, ...]:
        """What its encoder looks at."""
        return (frames_of(self.encoder),)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """(n, D) latents, D the product of the encoder's shape."""
        n, width = len(samples), int(np.prod(self.encoder.shape))
        track = episode.tracks.get(track_name(self.encoder.name))
        if not n or track is None:
            empty = np.zeros((n, width), np.float32)
            return Targets(np.zeros(n, bool), values=empty, reference=empty)
        assert track.times is not None
        last, timeline = samples.last[:, 0], episode.timeline
        inside = last + spec.advance < len(timeline)
        ends = np.stack([last, np.minimum(last + spec.advance, len(timeline) - 1)], axis=1)
        position = np.minimum(np.searchsorted(track.times, timeline[ends]), len(track.times) - 1)
        # Both are in the track to the sample: a latent that is held would be of another clip.
        exact = track.times[position] == timeline[ends]
        valid = inside & (exact & track.mask()[position]).all(axis=1)
        latents = np.where(valid[:, None, None], track.array().reshape(-1, width)[position], 0.0).astype(np.float32)
        return Targets(np.asarray(valid, bool), values=latents[:, 1], reference=latents[:, 0])

    def tracks_for_history(self) -> tuple[str, ...]:
        """The latent of the clip that ends at t0."""
        return (track_name(self.encoder.name),)

    def history(self, view: View) -> tuple[NDArray, BoolArray]:
        """(B, 1, D) latent of the clip that ends at t0."""
        return _history(view, track_name(self.encoder.name), 1, int(np.prod(self.encoder.shape)))


class FutureRetrieval(RetrievalTask):
    """Find the next window of an episode by what is observed before it.

    The query sees a window, the key the one after it, each up to its own end; the two do not overlap. Windows whose next frames
    are the same, pixel by pixel, are one item.
    """

    id = "future_retrieval"
    title = "The next window, among the windows of the episode"
    mechanism = "the next window goes on where this one ends"
    samples = "next_pair"
    views = (ViewSpec(), ViewSpec(include=("video/*",)))
    requires = ("video/*",)
    want = FramesWant(MAIN, SIDE, SIDE)

    def reach(self, spec: WindowSpec) -> int:
        """Nothing: the sample's last view is the next window itself."""
        return 0

    def target_frames(self) -> tuple[FramesWant, ...]:
        """Frames of the main camera, to see which windows are the same."""
        return (self.want,)

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """One item per sequence of next frames."""
        n, frames = len(samples), episode.tracks.get(self.want.pattern)
        if not n or frames is None:
            return Targets(np.zeros(n, bool), item=np.arange(n, dtype=np.int32))
        index = samples.starts[:, 1:] + np.arange(samples.length)
        rows = held_index(frames, episode.timeline)[index]
        there = (frames.mask()[np.maximum(rows, 0)] & (rows >= 0)).all(axis=1)
        _, item = np.unique(_pictures(frames, np.maximum(rows, 0)), axis=0, return_inverse=True)
        return Targets(np.asarray(there, bool), item=item.reshape(-1).astype(np.int32))


def _pictures(frames: Track, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One number per row (...), the same for frames that are the same pixel by pixel."""
    needed, position = np.unique(rows, return_inverse=True)
    parts = np.array_split(needed, -(-len(needed) // 256))
    digests = [blake2b(frame.tobytes(), digest_size=8).digest() for part in parts for frame in take(frames, part)]
    return np.frombuffer(b"".join(digests), np.uint64)[position.reshape(rows.shape)]


def _history(view: View, name: str, steps: int, width: int) -> tuple[NDArray, BoolArray]:
    """(B, T, width) samples of a track that a view shows, 0 where not measured; `steps` masked ones where it does not."""
    track = view.tracks.get(name)
    if track is None:
        nothing = np.zeros((len(view.times), steps, width), np.float32)
        return nothing, nothing > 0
    values = track.values.reshape(*track.valid.shape, width)
    measured = np.broadcast_to(track.valid[..., None], values.shape)
    return np.where(measured, values, 0).astype(np.float32), measured


def latent_task(name: str, folder: str | None = None) -> FutureLatent:
    """`future_latent[NAME]`; `folder` as in `get_encoder`.

    Raises:
        BadInput: No such encoder, or its model folder is not what it expects.
    """
    return FutureLatent(get_encoder(name, folder))
