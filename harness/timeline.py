"""Tracks held onto the reference samples of an episode: the last sample at or before each reference time."""

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray, Track


def held_index(track: Track, timeline: FloatArray) -> NDArray[np.int64]:
    """(N,) the last sample of a timed track at or before each reference time, -1 before its first."""
    assert track.times is not None, f"track {track.name} is untimed"
    index: NDArray[np.int64] = np.searchsorted(track.times, timeline, side="right") - 1
    return index


def measured_entries(values: NDArray, valid: BoolArray | None) -> BoolArray:
    """True where an entry of `values` is measured: marked valid (per sample or per entry) and a number.

    Args:
        values: (T, ...) samples.
        valid: As in `Track`: a mask over the leading axes of `values`, None = everywhere.
    """
    measured: BoolArray = np.isfinite(values)
    if valid is not None:
        measured &= valid.reshape(valid.shape + (1,) * (values.ndim - valid.ndim))
    return measured


def frame_values(track: Track, timeline: FloatArray) -> tuple[NDArray, BoolArray]:
    """Values of a small timed track held onto the reference samples: (N, ...), 0 where not measured, and the same-shaped mask."""
    samples = track.array()
    measured = measured_entries(samples, track.valid)
    index = held_index(track, timeline)
    mask = measured[index] & (index >= 0).reshape(-1, *(1,) * (samples.ndim - 1))
    return np.where(mask, samples[index], np.zeros((), samples.dtype)), mask


def frame_mask(track: Track, timeline: FloatArray) -> BoolArray:
    """(N,) True where a sample of a timed track, measured in all its parts, is held; its data are not read."""
    index = held_index(track, timeline)
    return np.asarray(track.mask()[index] & (index >= 0), bool)


def frame_codes(track: Track, timeline: FloatArray) -> NDArray[np.int32]:
    """(N,) codes of a label track on the reference samples, -1 where there is no label."""
    codes, measured = frame_values(track, timeline)
    return np.where(measured, codes, -1).astype(np.int32)


def frame_sets(track: Track, timeline: FloatArray) -> tuple[BoolArray, BoolArray]:
    """A track of label sets on the reference samples: (N, K) bool, and (N,) True where the set is known."""
    present, measured = frame_values(track, timeline)
    return np.asarray(present > 0, bool), np.asarray(measured.all(axis=1), bool)
