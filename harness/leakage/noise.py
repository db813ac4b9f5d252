"""A recording that is noise after a moment and ends early, as its reader would give it: what the future canary sings of.

Noise is put where a track begins: encoded video when a frame is decoded, sound and depth when they are read, everything else in
the array. So it goes under every transform: sizes, descriptors, features, latents, targets.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from harness import video
from harness.dataset import Dataset
from harness.episode import BoolArray, Episode, EpisodeRef, FloatArray, Modality, Source, Track, VideoFile
from harness.store.frames import frame_of_each_time

REST = 3  # one part in so many of what comes after t0 is left: how long a recording is and when it ends is the future too
BLOCK = 1024  # samples of a source whose noise is drawn at once
GAPS, GAP_SHARE = 3, 20  # the mask is noise too: so many gaps, each one part in so many of what comes after
HEAD = 256  # samples that tell the scale of a source


@dataclass(frozen=True)
class NoisedDataset(Dataset):
    """A data set whose episodes are noise after `t0` seconds; its episodes keep their names.

    Attributes:
        t0: Seconds on the episode's time base; what is at t0 stays, but for commands, which are given there.
        seed: Of the noise.
    """

    t0: float = 0.0
    seed: int = 0

    def read(self, ref: EpisodeRef) -> Episode:
        """One episode, noised."""
        return noised(super().read(ref), self.t0, self.seed)


def noised(episode: Episode, t0: float, seed: int = 0) -> Episode:
    """The episode with every track after t0, and what was made of the whole recording, replaced by noise; and cut short."""
    end = t0 + max(float(episode.timeline[-1]) - t0, 0.0) / REST
    return episode.with_tracks({name: _noised(_until(track, end), t0, seed) for name, track in episode.tracks.items()})


@dataclass(frozen=True)
class NoisySource:
    """Samples from row `cut` on are noise.

    Attributes:
        base: The samples.
        rows: How many of them.
        cut: First row of noise.
        scale: Mean and standard deviation of the noise.
        seed: Of the noise.
    """

    base: Source
    rows: int
    cut: int
    scale: tuple[float, float]
    seed: int

    @property
    def shape(self) -> tuple[int, ...]:
        """As the base, but for the rows."""
        return (self.rows, *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """As the base."""
        return self.base.dtype

    def read(self, start: int, stop: int) -> NDArray:
        """Samples [start, stop); the same noise however they are cut."""
        stop = min(stop, self.shape[0])
        data = np.array(self.base.read(start, stop))
        for block in range(max(start, self.cut) // BLOCK, -(-stop // BLOCK)):
            noise = np.random.default_rng([self.seed, block]).normal(*self.scale, size=(BLOCK, *self.shape[1:]))
            low, high = max(block * BLOCK, start, self.cut), min((block + 1) * BLOCK, stop)
            if low < high:
                data[low - start : high - start] = noise[low - block * BLOCK : high - block * BLOCK].astype(self.dtype)
        return data


@dataclass(frozen=True)
class NoisyFrames:
    """A `FrameEdit`: frames after `cut` seconds of the file's clock are noise."""

    cut: float
    seed: int

    def __call__(self, seconds: float, height: int, width: int) -> NDArray[np.uint8] | None:
        """See `FrameEdit`."""
        if seconds <= self.cut:
            return None
        rng = np.random.default_rng([self.seed, round(seconds * 1e6)])
        return rng.integers(0, 256, (height, width, 3), np.uint8)


def _until(track: Track, end: float) -> Track:
    """A track up to `end`; what had not begun by then keeps its first sample. A source is read no further than its times."""
    if track.times is None:
        return track
    stop = max(int(np.searchsorted(track.times, end, side="right")), 1)
    data = track.data
    if isinstance(data, VideoFile):
        data = _video_until(data, track.times, stop)
    elif isinstance(data, np.ndarray):
        data = data[:stop]
    valid = None if track.valid is None else track.valid[:stop]
    return replace(track, data=data, times=track.times[:stop], valid=valid)


def _video_until(file: VideoFile, times: FloatArray, stop: int) -> VideoFile:
    """A file up to the frames of its first `stop` times; as it is where these would get other frames then (uneven clocks)."""
    stamps = video.timestamps(file)
    index = frame_of_each_time(stamps, times, file)[:stop]
    after = int(index.max(initial=-1)) + 1
    if not 0 < after < len(stamps):
        return file
    short = replace(file, stop=float(stamps[after]))
    left = video.timestamps(short)
    same = len(left) == after and np.array_equal(frame_of_each_time(left, times[:stop], short), index)
    return short if same else file


def _noised(track: Track, t0: float, seed: int) -> Track:
    rng = np.random.default_rng([seed, int.from_bytes(blake2b(track.name.encode(), digest_size=4).digest())])
    if track.times is None:
        return replace(track, data=_like(track, np.array(track.array()), rng)) if track.modality == Modality.MAP else track
    side: Literal["left", "right"] = "left" if track.modality == Modality.COMMAND else "right"
    cut = int(np.searchsorted(track.times, t0, side=side))
    if isinstance(track.data, VideoFile):
        return replace(track, data=_noised_video(track.data, track, cut, seed), valid=_mask(track, cut, rng))
    if not isinstance(track.data, np.ndarray):
        head = np.asarray(track.data.read(0, min(HEAD, len(track.times))), np.float64)
        scale = (float(np.nanmean(head)), 3 * float(np.nanstd(head)) + 1e-3) if np.isfinite(head).any() else (0.0, 1.0)
        return replace(track, data=NoisySource(track.data, len(track.times), cut, scale, seed), valid=_mask(track, cut, rng))
    if track.categories:  # one more, or the noise of a label that never changes would be the label
        track = replace(track, categories=(*track.categories, "noise"))
    data = np.array(track.data)
    data[cut:] = _like(track, data[cut:], rng)
    names, categories = _unheard(track, cut)
    return replace(track, data=data, valid=_mask(track, cut, rng), names=names, categories=categories)


def _noised_video(file: VideoFile, track: Track, cut: int, seed: int) -> VideoFile:
    """Frames are noise where the times they belong to are; see `harness.store.frames` for which those are."""
    assert track.times is not None, f"track {track.name} is timed"
    stamps = video.timestamps(file)
    kept = frame_of_each_time(stamps, track.times, file)[:cut]
    last = int(kept.max(initial=-1))
    if last < 0:
        return replace(file, edit=NoisyFrames(-np.inf, seed))
    after = float(stamps[last + 1]) if last + 1 < len(stamps) else np.inf
    return replace(file, edit=NoisyFrames((float(stamps[last]) + after) / 2, seed))


def _like(track: Track, data: NDArray, rng: np.random.Generator) -> NDArray:
    """Noise of the kind of some samples: poses stay rigid, labels stay labels."""
    if not data.size:
        return data
    if data.shape[-2:] == (4, 4):
        out = np.broadcast_to(np.eye(4), data.shape).copy()
        count = int(np.prod(data.shape[:-2]))
        out[..., :3, :3] = Rotation.random(count, rng=rng).as_matrix().reshape(*data.shape[:-2], 3, 3)
        out[..., :3, 3] = rng.normal(size=(*data.shape[:-2], 3)) * 10
        return out.astype(data.dtype)
    if np.issubdtype(data.dtype, np.floating):
        spread = float(np.nanstd(data)) if np.isfinite(data).any() else 1.0
        return rng.normal(0, 3 * spread + 1.0, data.shape).astype(data.dtype)
    return rng.integers(0, len(track.categories) or 2, data.shape).astype(data.dtype)


def _mask(track: Track, cut: int, rng: np.random.Generator) -> BoolArray:
    """Which samples are measured: the mask after the cut is noise."""
    assert track.times is not None, f"track {track.name} is timed"
    valid = np.array(track.valid) if track.valid is not None else np.ones(len(track.times), bool)
    valid[cut:] = True
    for start in rng.integers(cut, len(valid) + 1, GAPS).tolist():
        valid[start : start + max(1, (len(valid) - cut) // GAP_SHARE)] = False
    return valid


def _unheard(track: Track, cut: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and categories of a track, with others for words that nothing before the cut says: a list tells the future."""
    data = track.data
    assert isinstance(data, np.ndarray), f"track {track.name} is an array"
    categories, names = track.categories, track.names
    if categories:
        said = set(np.unique(data[:cut]).tolist())
        categories = tuple(word if i in said else f"noise {i}" for i, word in enumerate(categories))
    if names and track.modality == Modality.LANGUAGE and data.ndim > 1:
        said = set(np.unique(np.nonzero(data[:cut])[-1]).tolist())
        names = tuple(word if i in said else f"noise {i}" for i, word in enumerate(names))
    return names, categories
