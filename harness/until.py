"""Until when a row saw: the newest sample that its window features are made of, found by trying and not by believing."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.episode import Episode, FloatArray, Modality, Track
from harness.features.base import Block

TRIED = 16
"""Windows that are tried at places drawn by a seed, beside those that `_tried` names."""


class FeatureTimes:
    """Times of window features. One per observer: what was tried of a block and an episode is remembered.

    A block is not taken at its word, see `ends_at_t0`. Where its features of one window know what comes after that window, those
    of all windows of the episode are taken to be made of all that it reads.

    Args:
        length: Reference samples per window.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._causal: dict[tuple[str, str], bool] = {}

    def newest(self, episode: Episode, block: Block, starts: NDArray[np.int64], values: NDArray[np.float32]) -> FloatArray:
        """(W,) seconds of the newest sample that each window's features are made of; -inf where of none.

        Args:
            episode: As the track store gives it.
            block: Of this episode.
            starts: (W,) first reference sample of each window.
            values: (W, D) the features.
        """
        key = (episode.id, block.name)
        if key not in self._causal:
            self._causal[key] = ends_at_t0(episode, block, starts, self._length, values)
        t0 = episode.timeline[starts + self._length - 1]
        newest = np.full(len(starts), -np.inf)
        for track in (episode.tracks[name] for name in block.reads if name in episode.tracks):
            if track.times is None:
                newest = np.maximum(newest, np.inf if track.modality == Modality.MAP else -np.inf)
            elif len(track.times):
                index = np.searchsorted(track.times, t0, side="right") - 1
                index = index if self._causal[key] else np.full(len(t0), len(track.times) - 1)
                newest = np.maximum(newest, np.where(index >= 0, track.times[index], -np.inf))
        return newest


def ends_at_t0(episode: Episode, block: Block, starts: NDArray[np.int64], length: int, values: NDArray[np.float32]) -> bool:
    """True where a block gives the same features of a window, to the bit, from a recording that ends with that window.

    Tried with some windows, see `_tried`: what changes one window in a hundred may escape.

    Args:
        episode: As the track store gives it.
        block: Of this episode.
        starts: (W,) first reference sample of each window.
        length: Reference samples per window.
        values: (W, D) what the block gives of them.
    """
    names = {episode.reference, *block.reads} & set(episode.tracks)
    for row in sorted(set(_tried(episode, block, starts, length))):
        t0 = float(episode.timeline[int(starts[row]) + length - 1])
        cut = episode.with_tracks({name: _until(episode.tracks[name], t0) for name in names})
        alone, _ = block.compute(cut, starts[row : row + 1], length)
        if alone.shape[1:] != values.shape[1:]:
            return False
        if not np.array_equal(alone[0], values[row], equal_nan=True):
            # A matrix product of many rows rounds unlike that of one: as many rows again, all of them this window.
            many, _ = block.compute(cut, np.full(len(starts), starts[row]), length)
            if not np.array_equal(many[row], values[row], equal_nan=True):
                return False
    return True


def _tried(episode: Episode, block: Block, starts: NDArray[np.int64], length: int) -> Iterator[int]:
    """Rows of windows at which a look past t0 would show.

    The first: a scale over the whole recording, or over all windows, shows there. Those at whose t0 a track that the block reads
    is not measured, the first and the middle one: what fills gaps from the next sample shows there. And a few drawn by a seed.
    """
    if not len(starts):
        return
    yield from (0, len(starts) // 4, len(starts) // 2)
    yield from np.random.default_rng(len(starts)).integers(0, len(starts), TRIED).tolist()
    t0 = episode.timeline[starts + length - 1]
    for track in (episode.tracks[name] for name in block.reads if name in episode.tracks):
        if track.times is not None and track.valid is not None and len(track.times):
            newest = np.maximum(np.searchsorted(track.times, t0, side="right") - 1, 0)
            unmeasured = np.flatnonzero(~track.mask()[newest])
            yield from unmeasured[[0, len(unmeasured) // 2]].tolist() if len(unmeasured) else ()


def _until(track: Track, t0: float) -> Track:
    """What a track had measured at t0; its first sample where it had not begun."""
    if track.times is None:
        return track
    stop = max(int(np.searchsorted(track.times, t0, side="right")), 1)
    valid = None if track.valid is None else track.valid[:stop]
    return replace(track, data=track.array(0, stop), times=track.times[:stop], valid=valid)
