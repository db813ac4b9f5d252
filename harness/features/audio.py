"""The descriptor of a sound track: loudness, pitch and spectrum of what was heard since the previous reference sample."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.features.base import EpisodeDescriptor

BANDS = 16
LOWEST_HZ = 50.0
ROLLOFF = 0.85  # of the power
SILENCE = 1e-12  # total power below which a spectrum has no shape
CHUNK = 256  # reference samples at a time
RATE_SAMPLES = 1024  # the first ones, which tell the sampling rate

AUDIO_NAMES = (
    *("rms", "mean_abs", "peak", "zero_crossings", "log_power", "centroid", "bandwidth", "rolloff"),
    *(f"band{i}" for i in range(BANDS)),
)


@dataclass(frozen=True)
class AudioDescriptor(EpisodeDescriptor):
    """24 numbers for each reference sample i, from the sound in (timeline[i-1], timeline[i]].

    Root mean square, mean absolute value, peak, share of sign changes, log(1 + power / length) of the spectrum under a Hann
    window; centroid, bandwidth and 85 % rolloff as shares of half the sampling rate; log(1 + power) in 16 bands evenly spaced
    in log frequency from 50 Hz up to half the rate, scaled to length 1. The first reference sample has nothing before it and is
    masked, as are those without sound and those with a gap in it.
    """

    version: ClassVar[int] = 1
    name: str
    tracks: tuple[str, ...]

    def describe(self, episode: Episode) -> Track:
        """(N, 24) on the reference timeline."""
        track, timeline = episode.tracks[self.tracks[0]], episode.timeline
        assert track.times is not None, f"track {track.name} is untimed"
        data, valid = np.zeros((len(timeline), len(AUDIO_NAMES)), np.float32), np.zeros(len(timeline), bool)
        described = Track(self.name, Modality.AUDIO, data, timeline, valid, names=AUDIO_NAMES, sources=self.tracks)
        steps = np.diff(track.times[:RATE_SAMPLES])
        if len(steps) == 0:
            return described
        # A rate is a whole number of Hz; steps between times that are rounded give it not quite.
        rate = round(1 / float(np.median(steps)))
        edges = np.searchsorted(track.times, timeline, side="right")
        for start in range(1, len(timeline), CHUNK):
            stop = min(start + CHUNK, len(timeline))
            first, last = edges[start - 1 : stop - 1], edges[start:stop]
            samples, measured = mono(track, int(first[0]), int(last[-1]))
            part = slice(start, stop)
            data[part], valid[part] = _segments(samples, measured, first - first[0], last - first, rate)
        return described


def mono(track: Track, first: int, stop: int) -> tuple[FloatArray, BoolArray]:
    """(M,) samples [first, stop), the mean of the channels, 0 where not measured; and where they are."""
    samples = np.asarray(track.array(first, stop), np.float64).reshape(stop - first, -1).mean(axis=1)
    measured = np.isfinite(samples)
    if track.valid is not None:
        measured &= track.valid[first:stop].reshape(stop - first, -1).all(axis=1)
    return np.where(measured, samples, 0.0), measured


def _segments(
    samples: FloatArray, measured: BoolArray, first: NDArray[np.int64], lengths: NDArray[np.int64], rate: int
) -> tuple[NDArray[np.float32], BoolArray]:
    """(n, 24) numbers of segments that start at `first`, and (n,) where they are measured; one pass per distinct length."""
    out, valid = np.zeros((len(first), len(AUDIO_NAMES)), np.float32), np.zeros(len(first), bool)
    for length in np.unique(lengths[lengths > 0]):
        index = np.flatnonzero(lengths == length)
        rows = first[index, None] + np.arange(length)
        valid[index] = measured[rows].all(axis=1)
        out[index] = np.where(valid[index, None], describe_sound(samples[rows], rate), 0)
    return out, valid


def describe_sound(segments: FloatArray, rate: int) -> NDArray[np.float32]:
    """The 24 numbers of (n, length) segments of sound at `rate` Hz."""
    length = segments.shape[1]
    size = np.abs(segments)
    crossings = (segments[:, 1:] * segments[:, :-1] < 0).sum(axis=1) / max(length - 1, 1)
    power = np.square(np.abs(np.fft.rfft(segments * np.hanning(length), axis=1)))
    frequency = np.fft.rfftfreq(length, 1 / rate)
    total = power.sum(axis=1)
    audible = total > SILENCE
    scale = np.where(audible, total, 1.0)
    centroid = (power * frequency).sum(axis=1) / scale
    bandwidth = np.sqrt((power * np.square(frequency - centroid[:, None])).sum(axis=1) / scale)
    reached = (np.cumsum(power, axis=1) < ROLLOFF * total[:, None]).sum(axis=1)
    shape = np.stack([centroid, bandwidth, frequency[np.minimum(reached, len(frequency) - 1)]], axis=1) / (rate / 2)
    bands = np.log1p(_bands(power, frequency, rate))
    norm = np.sqrt(np.square(bands).sum(axis=1, keepdims=True))
    bands /= np.where(norm > 0, norm, 1.0)
    loudness = [np.sqrt(np.square(segments).mean(axis=1)), size.mean(axis=1), size.max(axis=1), crossings]
    spectrum = np.concatenate([shape, bands], axis=1) * audible[:, None]
    columns = [*loudness, np.log1p(total / length)]
    out: NDArray = np.concatenate([np.stack(columns, axis=1), spectrum], axis=1)
    return out.astype(np.float32)


def _bands(power: FloatArray, frequency: FloatArray, rate: int) -> FloatArray:
    """(n, 16) power in each band; bands begin at their lower edge and a band between two frequencies of the transform is 0."""
    edges = np.searchsorted(frequency, np.geomspace(LOWEST_HZ, rate / 2, BANDS + 1))
    bands = np.zeros((len(power), BANDS))
    for i, (low, high) in enumerate(pairwise(edges.tolist())):
        bands[:, i] = power[:, low:high].sum(axis=1)
    return bands
