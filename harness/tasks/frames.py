"""Tracks on the reference samples of an episode, and what windows say about them. Nothing here loops over windows."""

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray, Track
from harness.tasks.base import majority_label


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


def inside(starts: NDArray[np.int64], length: int, n: int) -> BoolArray:
    """(m,) True where a window of `length` samples lies within `n` samples."""
    return np.asarray((starts >= 0) & (starts + length <= n), bool)


def window_count(flags: BoolArray, starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """How many of a window's samples are flagged: flags (N, ...) -> (m, ...); the windows lie within the N samples."""
    total = np.zeros((len(flags) + 1, *flags.shape[1:]), np.int64)
    np.cumsum(flags, axis=0, out=total[1:])
    count: NDArray[np.int64] = total[starts + length] - total[starts]
    return count


def window_labels(
    codes: NDArray[np.int32], n_categories: int, starts: NDArray[np.int64], length: int, share: float
) -> NDArray[np.int32]:
    """(m,) `majority_label` of windows that may lie past the recording's end: -1 there."""
    fits = inside(starts, length, len(codes))
    labels = np.full(len(starts), -1, np.int32)
    labels[fits] = majority_label(codes, n_categories, starts[fits], length, share)
    return labels


def window_sets(present: BoolArray, known: BoolArray, starts: NDArray[np.int64], length: int) -> tuple[BoolArray, BoolArray]:
    """(m, K) union of the label sets in each window; (m,) True where it lies in the recording and any set in it is known."""
    fits = inside(starts, length, len(known))
    sets = np.zeros((len(starts), present.shape[1]), bool)
    sets[fits] = window_count(present, starts[fits], length) > 0
    valid = np.zeros(len(starts), bool)
    valid[fits] = window_count(known, starts[fits], length) > 0
    return sets, valid


def label_changes(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Frames at which the label changes, ascending: labelled frames whose label is not that of the labelled frame before them.

    Across a gap without labels the change stands on the first labelled frame after it; the same label on both sides is none.
    """
    labelled = np.flatnonzero(codes >= 0)
    label = codes[labelled]
    changes: NDArray[np.int64] = labelled[1:][label[1:] != label[:-1]]
    return changes
