"""Which sensors a sample lacks: the strata in which results are shown beside the whole."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.window import Samples, WindowSpec

SENSORS = frozenset(
    {
        Modality.VIDEO,
        Modality.AUDIO,
        Modality.DEPTH,
        Modality.POSE,
        Modality.HAND,
        Modality.BODY,
        Modality.CONTACT,
        Modality.IMU,
        Modality.STATE,
    }
)


def sensors_of(modalities: Iterable[Modality]) -> list[str]:
    """Names of the sensors among these modalities, sorted."""
    return sorted({modality.value for modality in modalities if modality in SENSORS})


def lacking(episode: Episode, samples: Samples, spec: WindowSpec) -> NDArray[np.str_]:
    """(n,) sensors of this episode that are measured nowhere in some view of a sample, as `audio+depth`; empty = none.

    A sensor counts as measured where any of its stored tracks has a valid sample in [t0 - context, t0], or the last one before.

    Args:
        episode: As the track store gives it.
        samples: Of any kind.
        spec: Windows.
    """
    timeline, last = episode.timeline, samples.last
    first = np.maximum(last - spec.observed + 1, 0)
    start, stop = timeline[first], timeline[last]
    names: NDArray[np.object_] = np.full(len(samples), "", object)
    for sensor in sensors_of(track.modality for track in episode.tracks.values() if _shown(track)):
        tracks = [track for track in episode.of(Modality(sensor)) if _shown(track)]
        gone = ~np.any([_measured(track, start, stop) for track in tracks], axis=0)
        missing = gone.any(axis=1)
        names[missing] = [f"{name}+{sensor}" if name else sensor for name in names[missing]]
    return names.astype(np.str_)


def _shown(track: Track) -> bool:
    return track.times is not None and len(track.times) > 0


def _measured(track: Track, start: FloatArray, stop: FloatArray) -> BoolArray:
    """(n, V) True where the track has a valid sample in [start, stop], or held into it."""
    clock = track.times
    assert clock is not None, "only timed tracks are asked"
    valid = np.ones(len(clock), bool) if track.valid is None else track.valid.reshape(len(clock), -1).any(axis=1)
    counts = np.concatenate([[0], np.cumsum(valid)])
    held = np.maximum(np.searchsorted(clock, start, side="right") - 1, 0)
    return np.asarray(counts[np.searchsorted(clock, stop, side="right")] > counts[held])
