"""Statistics over windows of samples: seven numbers per dimension, over what was measured in the window and nothing else.

A window's numbers are computed from its own samples alone (no running sums over the episode), and in an order that depends on
its length alone, so they do not change by a bit with what comes after the window or with the windows computed beside it.
Gathered windows have time first, (T, n, D): reductions over time then add whole rows.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray

STATISTICS = ("mean", "std", "min", "max", "last-first", "mean_diff", "std_diff")

CHUNK_BYTES = 1 << 20
"""Windows are gathered in pieces of about this size: small enough to stay in a core's cache."""

PARTS = 4
"""Windows of a length that this divides are put together from quarters, which windows a quarter or half apart share."""

Prepare = Callable[[FloatArray, BoolArray | None, NDArray[np.int64]], tuple[FloatArray, BoolArray | None]]
"""Changes gathered windows before their statistics: (T, b, D) values, (T, b, D) mask or None, (b,) which windows they are."""


def stats7(windows: FloatArray, measured: BoolArray | None = None) -> NDArray[np.float32]:
    """Mean, std, min, max, last minus first, and mean and std of the steps, per dimension over time.

    Statistics are over the measured samples only; a step counts where both of its ends were measured. The standard deviation
    divides by the count. A dimension that was never measured gives 0, and so do the steps of a single sample.

    Args:
        windows: (T, n, D); anything where not measured, NaN included. Computed in its own precision.
        measured: (T, n, D) True where measured; None = everywhere.

    Returns:
        (n, 7 D), statistic after statistic in the order of `STATISTICS`.
    """
    length, n, width = windows.shape
    count: FloatArray | float = float(length)
    step_count: FloatArray | float = float(max(length - 1, 1))
    pairs = None
    if measured is None:
        first, last = windows[0], windows[-1]
    else:
        first, last = ends(windows, measured)
        # A missing sample becomes the first measured one: it moves neither the extremes nor a sum of differences from it.
        windows = np.where(measured, windows, first)
        pairs = measured[1:] & measured[:-1]
        count = np.maximum(measured.sum(axis=0), 1).astype(windows.dtype)
        step_count = np.maximum(pairs.sum(axis=0), 1).astype(windows.dtype)
    out = np.empty((n, len(STATISTICS), width), np.float32)
    # About the first sample: a constant has a standard deviation of exactly 0.
    mean, squares = _moments(windows - first, measured, count)
    out[:, 0], out[:, 1] = first + mean, np.sqrt(squares / count)
    out[:, 2], out[:, 3] = windows.min(axis=0), windows.max(axis=0)
    out[:, 4] = last - first
    out[:, 5:] = 0
    if length == 1:
        return out.reshape(n, -1)
    steps = windows[1:] - windows[:-1]
    if pairs is not None:
        steps *= pairs
    mean, squares = _moments(steps, pairs, step_count)
    out[:, 5], out[:, 6] = mean, np.sqrt(squares / step_count)
    return out.reshape(n, -1)


def _moments(values: FloatArray, mask: BoolArray | None, count: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """(n, D) mean and sum of squares about it of (T, n, D) values that are 0 outside the mask; overwrites `values`."""
    mean = total(values) / count
    values -= mean
    if mask is not None:
        values *= mask
    np.square(values, out=values)
    return mean, total(values)


def total(rows: Iterable[FloatArray]) -> FloatArray:
    """Sum of one row after the other: an order that never depends on their shape."""
    rows = iter(rows)
    total = np.array(next(rows))
    for row in rows:
        total += row
    return total


def ends(windows: FloatArray, measured: BoolArray) -> tuple[FloatArray, FloatArray]:
    """(n, D) first and last measured value of (T, n, D) windows; 0 where nothing was measured."""
    seen = measured.any(axis=0)
    head = measured.argmax(axis=0)[None]
    tail = len(windows) - 1 - measured[::-1].argmax(axis=0)[None]
    first, last = (np.take_along_axis(windows, index, axis=0)[0] for index in (head, tail))
    return np.where(seen, first, 0), np.where(seen, last, 0)


def _from_quarters(values: FloatArray, first: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """`stats7` of fully measured windows, each put together from its quarters; the work on a shared quarter is done once."""
    size = length // PARTS
    starts, runs = np.unique(first + size * np.arange(PARTS)[:, None], return_inverse=True)
    parts = [_as_slice(run) for run in runs.reshape(PARTS, -1)]
    quarters = values[starts + np.arange(size)[:, None]]
    head, tail = quarters[0], quarters[-1]
    low, high = quarters.min(axis=0), quarters.max(axis=0)
    mean, squares = _moments(quarters - head, None, float(size))
    mean += head
    step, step_squares = _moments(quarters[1:] - quarters[:-1], None, float(size - 1))

    out = np.empty((len(first), len(STATISTICS), values.shape[1]), np.float32)
    out[:, 2] = reduce(np.minimum, (low[p] for p in parts))
    out[:, 3] = reduce(np.maximum, (high[p] for p in parts))
    # Variance within the quarters plus that of their means, which are taken about the first of them: exactly 0 for a constant.
    base = mean[parts[0]]
    away = [mean[p] - base for p in parts[1:]]
    shift = total(away) / PARTS
    between = np.maximum(total(map(np.square, away)) - PARTS * np.square(shift), 0)
    within = total(squares[p] for p in parts)
    out[:, 0], out[:, 1] = base + shift, np.sqrt((within + size * between) / length)
    # The steps: those inside a quarter about its mean step, and those from one quarter to the next.
    change = tail[parts[-1]] - head[parts[0]]
    mean_step = change / (length - 1)
    inside = total(np.square(step[p] - mean_step) for p in parts)
    across = total(np.square(head[q] - tail[p] - mean_step) for p, q in pairwise(parts))
    within = total(step_squares[p] for p in parts)
    out[:, 4], out[:, 5] = change, mean_step
    out[:, 6] = np.sqrt((within + (size - 1) * inside + across) / (length - 1))
    return out.reshape(len(first), -1)


def _as_slice(run: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """The same rows as a slice where they are evenly spaced: a slice of an array is not copied."""
    step = int(run[1] - run[0]) if len(run) > 1 else 1
    even = step > 0 and np.array_equal(run, run[0] + step * np.arange(len(run)))
    return slice(int(run[0]), int(run[-1]) + 1, step) if even else run


def _chunks(index: NDArray[np.int64], window_bytes: int) -> Iterator[NDArray[np.int64]]:
    """Pieces of `index` whose windows together take about `CHUNK_BYTES`."""
    step = max(1, CHUNK_BYTES // max(window_bytes, 1))
    for at in range(0, len(index), step):
        yield index[at : at + step]


def window_stats(
    values: FloatArray,
    measured: BoolArray | None,
    first: NDArray[np.int64],
    length: int,
    prepare: Prepare | None = None,
) -> tuple[NDArray[np.float32], BoolArray]:
    """`stats7` of windows over one array of samples.

    Args:
        values: (N, D).
        measured: (N, D) True where measured; None = everywhere.
        first: (n,) row of `values` at which each window starts; `first + length <= N`.
        length: Samples per window.
        prepare: Applied to the gathered windows, e.g. to express them relative to the window.

    Returns:
        (n, 7 D) and (n,) True where anything was measured in the window; other rows are 0.
    """
    width = values.shape[1]
    out = np.zeros((len(first), len(STATISTICS) * width), np.float32)
    valid = np.zeros(len(first), bool)
    if length < 1:
        return out, valid
    complete = _complete(measured, first, length)
    whole = np.flatnonzero(complete)
    if prepare is None and length % PARTS == 0 and length > PARTS:
        for part in _chunks(whole, length // PARTS * width * values.itemsize):
            out[part], valid[part] = _from_quarters(values, first[part], length), True
        whole = whole[:0]
    for mask, index in ((None, whole), (measured, np.flatnonzero(~complete))):
        for part in _chunks(index, length * width * values.itemsize):
            rows = first[part] + np.arange(length)[:, None]
            windows, inside = values[rows], None if mask is None else mask[rows]
            if prepare is not None:
                windows, inside = prepare(windows, inside, part)
            valid[part] = True if inside is None else inside.any(axis=(0, 2))
            out[part] = stats7(windows, inside)
    return out, valid


def ragged_stats(
    values: FloatArray, measured: BoolArray | None, first: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.float32], BoolArray]:
    """`window_stats` of windows that differ in length (a sensor with a clock of its own); one pass per distinct length."""
    out = np.zeros((len(first), len(STATISTICS) * values.shape[1]), np.float32)
    valid = np.zeros(len(first), bool)
    for length in np.unique(lengths):
        index = np.flatnonzero(lengths == length)
        out[index], valid[index] = window_stats(values, measured, first[index], int(length))
    return out, valid


def last_measured(values: FloatArray, measured: BoolArray | None, first: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """(n, D) the last measured value of each dimension in each window; 0 where there is none.

    Args:
        values: (N, D).
        measured: (N, D) True where measured; None = everywhere.
        first: (n,) row at which each window starts.
        length: Samples per window.
    """
    if length < 1 or not len(first):
        return np.zeros((len(first), values.shape[1]), np.float32)
    stop = first + length - 1
    if measured is None:
        return values[stop].astype(np.float32)
    rows = np.where(measured, np.arange(len(values))[:, None], -1)
    newest = np.maximum.accumulate(rows, axis=0)[stop]
    inside = newest >= first[:, None]
    return np.where(inside, np.take_along_axis(values, np.maximum(newest, 0), axis=0), 0).astype(np.float32)


def _complete(measured: BoolArray | None, first: NDArray[np.int64], length: int) -> BoolArray:
    """(n,) True where every number of the window was measured."""
    if measured is None:
        return np.ones(len(first), bool)
    whole = np.concatenate([[0], np.cumsum(measured.all(axis=1))])
    return np.asarray(whole[first + length] - whole[first] == length, bool)


def statistic_columns(dims: tuple[str, ...]) -> list[str]:
    """Names of the 7 D columns of `stats7` over dimensions of these names."""
    return [f"{statistic}({dim})" for statistic in STATISTICS for dim in dims]
