"""Windows over an episode, the samples made of them, and what a branch gets to see of a sample.

A sample has one view (a window) or two (pairs for the order and synchronisation tasks). Each view ends at its own t0; times in
a view are relative to that t0 and carry no window index, because absolute time would answer the pair tasks for free.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.resample import Resampling, resample

SampleKind = Literal["window", "order_pair", "sync_pair", "next_pair"]

RATE_SAMPLES = 1024  # of a sound, the first ones, which tell its rate
SYNC_SHIFT = 8  # windows by which the second view of a misaligned pair is moved (published task suite)


@dataclass(frozen=True)
class WindowSpec:
    """How episodes are cut; its hash is part of the split's.

    Attributes:
        length: Reference samples per window; labels and features are of these.
        stride: Reference samples between window starts.
        context: Reference samples a view shows, ending at t0; null = `length`. Before the recording they are masked.
        max_per_episode: At most so many windows, evenly spaced, the same for every branch; null = all.
        resampling: How tracks with a clock of their own come onto the reference samples of a view.
    """

    length: int = 20
    stride: int = 5
    context: int | None = None
    max_per_episode: int | None = None
    resampling: Resampling = "hold"

    @property
    def observed(self) -> int:
        """Reference samples that a view shows."""
        return self.length if self.context is None else self.context

    @property
    def advance(self) -> int:
        """Reference samples from a window to the next one on the grid that does not overlap it."""
        return -(-self.length // self.stride) * self.stride

    def grid(self, n: int) -> NDArray[np.int64]:
        """(W,) first reference sample of every window in an episode of `n` reference samples."""
        starts: NDArray[np.int64] = np.arange(0, n - self.length + 1, self.stride, dtype=np.int64)
        if self.max_per_episode is not None and len(starts) > self.max_per_episode:
            keep = np.linspace(0, len(starts) - 1, self.max_per_episode).round().astype(np.int64)
            starts = starts[keep]
        return starts


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of one kind in one episode.

    Attributes:
        episode: Episode id.
        kind: What a sample is made of.
        ids: (n,) unique in the data set.
        starts: (n, V) first reference sample of each view.
        length: Reference samples per window.
        t0: (n,) seconds on the episode's time base: the latest observation of any view.
    """

    episode: str
    kind: SampleKind
    ids: NDArray[np.str_]
    starts: NDArray[np.int64]
    length: int
    t0: FloatArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def last(self) -> NDArray[np.int64]:
        """(n, V) last observed reference sample of each view: the one at its t0."""
        return self.starts + self.length - 1

    def take(self, index: NDArray) -> "Samples":
        """The samples at `index`."""
        return Samples(self.episode, self.kind, self.ids[index], self.starts[index], self.length, self.t0[index])


def make_samples(kind: SampleKind, episode: str, timeline: FloatArray, spec: WindowSpec) -> Samples:
    """All samples of one kind in one episode.

    `next_pair`: a window and the one after it.
    `order_pair`: two adjacent, non-overlapping windows, in the true and in the swapped order. `sync_pair`: one window twice, or
    with the second view moved by `SYNC_SHIFT` windows.
    """
    # Pairs are made on the whole grid and thinned out afterwards: in a thinned grid no window has a neighbour.
    thinned = spec if kind in ("window", "next_pair") else replace(spec, max_per_episode=None)
    starts = thinned.grid(len(timeline))
    known = set(starts.tolist())
    if kind == "window":
        pairs = starts[:, None]
    elif kind == "next_pair":
        first = starts[starts + spec.advance + spec.length <= len(timeline)]
        pairs = np.stack([first, first + spec.advance], axis=1)
    elif kind == "order_pair":
        first = np.array([s for s in starts.tolist() if _after(s, spec) in known], np.int64)
        second = np.array([_after(s, spec) for s in first.tolist()], np.int64)
        pairs = np.stack([np.stack([first, second], 1), np.stack([second, first], 1)], 1).reshape(-1, 2)
    else:
        shifted = starts[SYNC_SHIFT:]
        kept = starts[: len(shifted)]
        pairs = np.stack([np.stack([kept, kept], 1), np.stack([kept, shifted], 1)], 1).reshape(-1, 2)
    if kind in ("order_pair", "sync_pair"):
        pairs = _thinned(pairs, spec.max_per_episode)
    mark = {"window": "w", "order_pair": "o", "sync_pair": "s", "next_pair": "n"}[kind]
    ids = np.array([f"{episode}#{mark}{'-'.join(map(str, row))}" for row in pairs.tolist()], dtype=np.str_)
    last = pairs + spec.length - 1
    t0 = timeline[last].max(axis=1) if len(pairs) else np.zeros(0)
    return Samples(episode, kind, ids, pairs, spec.length, t0)


def _thinned(pairs: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    """At most so many pairs of samples, evenly spaced; the true and the false one of a pair stay together."""
    couples = len(pairs) // 2
    if most is None or couples <= most:
        return pairs
    kept = np.linspace(0, couples - 1, most).round().astype(np.int64)
    return pairs.reshape(couples, 2, -1)[kept].reshape(2 * most, -1)


def _after(start: int, spec: WindowSpec) -> int:
    """Start of the next window on the stride grid that does not overlap the one at `start`."""
    return start + spec.advance


@dataclass(frozen=True, eq=False)
class TrackWindow:
    """One track as a view shows it.

    Attributes:
        values: (B, T, ...) on the reference samples of the view, or (B, ...) for untimed tracks.
        valid: (B, T) True where measured; (B,) for untimed tracks.
        categories: What the codes of a label track stand for: words that the batch shows, and no other of the recording.
        rate: Samples of recorded sound per second; None for every other track.
    """

    values: NDArray
    valid: BoolArray
    categories: tuple[str, ...] = ()
    rate: float | None = None


@dataclass(frozen=True, eq=False)
class FeatureMatrix:
    """Window features of one view, block after block.

    Attributes:
        values: (B, D) float32; 0 where a block is not valid.
        valid: (B, K) True where the block's inputs were measured in the window.
        blocks: Block name -> its columns, in order.
    """

    values: NDArray[np.float32]
    valid: BoolArray
    blocks: dict[str, slice]


@dataclass(frozen=True, eq=False)
class View:
    """One view of B samples: what was observed up to t0 and nothing after it. All arrays are copies.

    Attributes:
        times: (B, T) seconds relative to each sample's own t0; the last is 0.
        tracks: By track name, only those the task allows and the branch asked for.
        features: Window features, where the branch asked for them.
    """

    times: FloatArray
    tracks: dict[str, TrackWindow] = field(default_factory=dict)
    features: FeatureMatrix | None = None


@dataclass(frozen=True, eq=False)
class ObservedBatch:
    """What a predictor gets: B samples of one task, cut at t0.

    Attributes:
        task: Task id.
        views: One or two.
        seeds: (B,) uint64 per row, from the sample id and the run's seed: all randomness of a prediction comes from here.
        role: `query` or `key` in retrieval tasks (the two are separate calls), else empty.
    """

    task: str
    views: tuple[View, ...]
    seeds: NDArray[np.uint64]
    role: Literal["", "query", "key"] = ""

    def __len__(self) -> int:
        return len(self.seeds)


def row_seeds(ids: Sequence[str] | NDArray[np.str_], seed: int, draw: int = 0, role: str = "") -> NDArray[np.uint64]:
    """(n,) one seed per row, the same on every machine and in every order.

    The role is part of it: a query and its key must not know each other by their seed.
    """
    digest = (blake2b(f"{seed}/{draw}/{role}/{i}".encode(), digest_size=8).digest() for i in ids)
    return np.array([int.from_bytes(d, "little") for d in digest], dtype=np.uint64)


def observe_track(
    track: Track, timeline: FloatArray, last: NDArray[np.int64], spec: WindowSpec, steps: int | None = None
) -> TrackWindow:
    """The window of one track, see `look_at`."""
    return look_at(track, timeline, last, spec, steps)[0]


def look_at(
    track: Track, timeline: FloatArray, last: NDArray[np.int64], spec: WindowSpec, steps: int | None = None
) -> tuple[TrackWindow, FloatArray]:
    """The window of one track that ends at reference sample `last`, as a copy.

    Recorded sound is too fast for a clock of frames: each reference sample shows the piece of it that ends there, (B, T, S), and
    the pieces of a row, one after the other, are the sound up to t0.

    Args:
        track: A track whose samples can be read (not encoded video).
        timeline: (N,) reference times of the episode.
        last: (B,) reference sample at each t0.
        spec: Window length and resampling.
        steps: Reference samples of the window; None = all that a view observes.

    Returns:
        The window, and (B,) the time of the newest sample that each row of it is made of, seconds: -inf where it is made of none
        or of what is known before the recording (calibration), inf where of the whole recording (a map).
    """
    if track.times is None:
        values = np.repeat(track.array()[None], len(last), axis=0)
        newest = np.full(len(last), np.inf if track.modality == Modality.MAP else -np.inf)
        return TrackWindow(values, np.ones(len(last), bool), track.categories), newest
    if track.modality == Modality.AUDIO and not track.sources:
        return _observe_sound(track, timeline, last, steps or spec.observed)
    index = last[:, None] + np.arange(1 - (steps or spec.observed), 1)
    inside = index >= 0
    times = timeline[np.maximum(index, 0)]
    # A command given at t0 is part of the answer: only those strictly before t0 are observed.
    until = np.nextafter(timeline[last], -np.inf) if track.modality == Modality.COMMAND else timeline[last]
    values, valid, until = resample(track, times, until, spec.resampling)
    if track.categories:
        values, categories = _words_shown(values, valid & inside, track.categories)
        return TrackWindow(values, valid & inside, categories), until
    return TrackWindow(values, valid & inside), until


def _words_shown(
    codes: NDArray[np.integer], valid: BoolArray, categories: tuple[str, ...]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Codes over the words that are shown alone: the list of a whole recording would say what is yet to come."""
    shown = np.unique(codes[valid])
    shown = shown[shown >= 0]
    place = np.full(len(categories) + 1, -1, np.int32)  # the last one is that of -1
    place[shown] = np.arange(len(shown))
    return place[codes], tuple(categories[code] for code in shown.tolist())


def _observe_sound(track: Track, timeline: FloatArray, last: NDArray[np.int64], steps: int) -> tuple[TrackWindow, FloatArray]:
    """The last `steps` pieces of S samples at or before t0, S being what an interval of the timeline holds.

    A piece is valid where all of it is measured and it ends where it should: a gap in the recording, or its end, moves it.
    """
    clock = track.times
    assert clock is not None, f"track {track.name} is untimed"
    if len(clock) < 2 or len(timeline) < 2:
        silent = TrackWindow(np.zeros((len(last), steps, 1), np.float32), np.zeros((len(last), steps), bool))
        return silent, np.full(len(last), -np.inf)
    interval = float(np.median(np.diff(timeline)))
    rate = round(1 / float(np.median(np.diff(clock[:RATE_SAMPLES]))))
    size = max(1, round(rate * interval))
    stop = np.searchsorted(clock, timeline[last], side="right")
    index = stop[:, None] - steps * size + np.arange(steps * size)
    inside, index = index >= 0, np.maximum(index, 0)
    first, end = int(index.min()), int(index.max()) + 1
    samples, measured = track.array(first, end)[index - first], track.mask()[first:end][index - first]
    measured = measured & np.isfinite(samples).reshape(*samples.shape[:2], -1).all(axis=2)
    pieces = (len(last), steps, size)
    expected = timeline[last][:, None] - interval * np.arange(steps - 1, -1, -1)
    in_place = np.abs(clock[index].reshape(pieces)[:, :, -1] - expected) < interval
    valid = (inside & measured).reshape(pieces).all(axis=2) & in_place
    samples = np.where(measured.reshape(measured.shape + (1,) * (samples.ndim - 2)), samples, 0)
    newest = np.where(inside, clock[index], -np.inf).max(axis=1)
    return TrackWindow(samples.reshape(*pieces, *samples.shape[2:]), valid, rate=float(rate)), newest


def view_times(episode: Episode, last: NDArray[np.int64], spec: WindowSpec) -> FloatArray:
    """(B, T) seconds relative to t0; before the recording the first sample's time is repeated (and masked in every track)."""
    index = np.maximum(last[:, None] + np.arange(1 - spec.observed, 1), 0)
    times: FloatArray = episode.timeline[index] - episode.timeline[last][:, None]
    return times
