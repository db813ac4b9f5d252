"""Bringing a track with a clock of its own onto given times, without looking past the moment of prediction."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray, Track

Resampling = Literal["nearest", "hold", "linear"]


def resample(track: Track, times: FloatArray, until: FloatArray, how: Resampling) -> tuple[NDArray, BoolArray, FloatArray]:
    """Values of a timed track at `times`, from samples at or before `until`.

    `hold` takes the last sample at or before each time; `nearest` the nearest one; `linear` interpolates between the two
    neighbours where both are measured. A neighbour after `until` does not exist: the earlier one is held.

    Args:
        track: Timed; labels and masks are never interpolated (`linear` holds integer data).
        times: (B, T) seconds, not decreasing along T.
        until: (B,) seconds; nothing after it is used.
        how: See above.

    Returns:
        (B, T, ...) values, (B, T) validity (not valid before the first sample of the track), and (B,) the time of the newest
        sample that a row is made of, -inf where of none.
    """
    clock = track.times
    assert clock is not None, f"track {track.name} is untimed"
    if len(clock) == 0:
        raise ValueError(f"track {track.name} has no samples")
    limit = np.searchsorted(clock, until, side="right")[:, None] - 1
    earlier = np.minimum(np.searchsorted(clock, times, side="right") - 1, limit)
    exists = earlier >= 0
    earlier = np.maximum(earlier, 0)
    later = np.minimum(earlier + 1, np.maximum(limit, 0))
    first, stop = int(min(earlier.min(), later.min())), int(max(earlier.max(), later.max())) + 1
    samples, mask = track.array(first, stop), track.mask()[first:stop]
    earlier, later, clock = earlier - first, later - first, clock[first:stop]

    def newest(used: NDArray[np.int64]) -> FloatArray:
        times: FloatArray = np.where(exists, clock[used], -np.inf).max(axis=1, initial=-np.inf)
        return times

    if how == "hold":
        return samples[earlier], mask[earlier] & exists, newest(earlier)
    if how == "nearest":
        nearer = np.where(np.abs(clock[later] - times) < np.abs(times - clock[earlier]), later, earlier)
        return samples[nearer], mask[nearer] & exists, newest(nearer)
    if not np.issubdtype(samples.dtype, np.floating):
        return samples[earlier], mask[earlier] & exists, newest(earlier)
    span = clock[later] - clock[earlier]
    between = (span > 0) & (times > clock[earlier])
    weight = np.where(between, (times - clock[earlier]) / np.where(span > 0, span, 1.0), 0.0)
    weight = np.minimum(weight, 1.0).reshape(weight.shape + (1,) * (samples.ndim - 1)).astype(samples.dtype)
    left, right = samples[earlier], samples[later]
    # An unmeasured neighbour (often NaN) must not spoil an exact hit: it only counts where its weight does.
    mixed = np.where(weight > 0, left * (1 - weight) + right * weight, left)
    return mixed, mask[earlier] & (mask[later] | ~between) & exists, newest(np.where(between, later, earlier))
