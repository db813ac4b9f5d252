"""Small tracks on the reference samples of an episode, flattened to one row of numbers per sample."""

from typing import NamedTuple

import numpy as np

from harness.episode import BoolArray, FloatArray, Track
from harness.timeline import held_index, measured_entries


class Held(NamedTuple):
    """A track's numbers at each reference sample.

    Attributes:
        values: (N, D) float32, or float64 where the track is; anything where not measured.
        measured: (N, D) True where measured; None = everywhere.
    """

    values: FloatArray
    measured: BoolArray | None


def numbers(track: Track) -> Held:
    """All samples of a timed track on its own clock."""
    samples = np.asarray(track.array())
    if samples.dtype not in (np.float32, np.float64):
        samples = samples.astype(np.float32)
    measured = measured_entries(samples, track.valid).reshape(len(samples), -1)
    return Held(samples.reshape(len(samples), -1), None if measured.all() else measured)


def hold(track: Track, timeline: FloatArray) -> Held:
    """The last sample of a timed track at or before each reference time; before its first sample nothing is measured."""
    values, measured = numbers(track)
    if track.times is not None and np.array_equal(track.times, timeline):
        return Held(values, measured)
    index = held_index(track, timeline)
    exists = np.repeat(index[:, None] >= 0, values.shape[1], axis=1)
    mask = exists if measured is None else measured[index] & exists
    return Held(values[index], None if mask.all() else mask)


def dimension_names(track: Track) -> tuple[str, ...]:
    """Names of the D numbers of one sample (or of an untimed track): numbered, the last axis by name where it has names."""
    shape = track.data.shape if isinstance(track.data, np.ndarray) else track.array(0, 0).shape
    axes = list(shape[1:] if track.times is not None else shape)
    if not axes:
        return (track.name,)
    last = track.names if len(track.names) == axes[-1] else tuple(map(str, range(axes[-1])))
    return tuple(".".join((*map(str, outer), name)) for outer in np.ndindex(*axes[:-1]) for name in last)
