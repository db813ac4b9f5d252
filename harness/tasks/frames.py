"""What windows say about tracks on the reference samples. Nothing here loops over windows."""

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray
from harness.tasks.base import majority_label


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
