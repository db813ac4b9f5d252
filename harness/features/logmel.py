"""Sound as a log-mel spectrogram: the published replacement of the handcrafted numbers, 588 of a window.

The spectrogram has a clock of its own, a row every 10 ms, so that a window's percentiles are over its rows and not over means.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.features.audio import RATE_SAMPLES, mono
from harness.features.base import Block, EpisodeDescriptor
from harness.features.stats import total

MELS = 64
LOWEST_HZ, HIGHEST_HZ = 40.0, 8000.0
SPAN_S, HOP_S = 0.032, 0.010  # 512 and 160 samples at 16 kHz
CHUNK = 2048  # rows at a time
WAVE = ("mean_square", "mean_abs", "max_abs", "crossings")
LOGMEL_NAMES = (*(f"mel{i}" for i in range(MELS)), *WAVE)

MEL_STATISTICS = ("mean", "std", "min", "max", "p10", "p50", "p90", "mean_diff", "std_diff")
WAVE_NUMBERS = (
    *("rms", "mean_abs", "std_abs", "max_abs", "crossings", "log_power"),
    *("mean_abs_third0", "mean_abs_third1", "mean_abs_third2", "last-first_third", "seconds", "rows"),
)
LOGMEL_COLUMNS = (*(f"{s}(mel{i})" for s in MEL_STATISTICS for i in range(MELS)), *WAVE_NUMBERS)
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class LogMelDescriptor(EpisodeDescriptor):
    """68 numbers every 10 ms: 64 log-mel energies of the last 32 ms, and four numbers of the waveform of the last 10 ms.

    Power spectrum under a Hann window, 64 triangular filters from 40 Hz to 8 kHz (or half the rate) on the HTK mel scale,
    2595 log10(1 + f / 700), log(1 + energy). Of the waveform: mean square, mean and greatest absolute value, share of sign
    changes. A row stands at the time of the last sample that it is made of and is masked where one of them is not measured.
    """

    version: ClassVar[int] = 1
    name: str
    tracks: tuple[str, ...]

    def describe(self, episode: Episode) -> Track:
        """(M, 68) on its own clock."""
        track = episode.tracks[self.tracks[0]]
        clock = track.times
        assert clock is not None, f"track {track.name} is untimed"
        steps = np.diff(clock[:RATE_SAMPLES])
        rate = round(1 / float(np.median(steps))) if len(steps) else 0
        span, hop = round(SPAN_S * rate), round(HOP_S * rate)
        count = max(0, (len(clock) - span) // hop + 1) if hop else 0
        data, valid = np.zeros((count, len(LOGMEL_NAMES)), np.float32), np.zeros(count, bool)
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            first = start * hop
            samples, measured = mono(track, first, (stop - 1) * hop + span)
            rows = hop * np.arange(stop - start)[:, None] + np.arange(span)
            valid[start:stop] = measured[rows].all(axis=1)
            data[start:stop] = np.where(valid[start:stop, None], describe_rows(samples[rows], rate, hop), 0)
        times = clock[span - 1 :: hop][:count] if count else np.zeros(0)
        return Track(self.name, Modality.AUDIO, data, times, valid, names=LOGMEL_NAMES, sources=self.tracks)


def describe_rows(segments: FloatArray, rate: int, hop: int) -> NDArray[np.float32]:
    """The 68 numbers of (n, span) segments of sound at `rate` Hz; the waveform's are of the last `hop` samples."""
    span = segments.shape[1]
    power = np.square(np.abs(np.fft.rfft(segments * np.hanning(span), axis=1)))
    mel = np.log1p(power @ mel_filters(rate, span).T)
    wave, size = segments[:, -hop:], np.abs(segments[:, -hop:])
    steps = segments[:, -hop - 1 :]  # a sign may change between two rows
    crossings = (steps[:, 1:] * steps[:, :-1] < 0).mean(axis=1)
    numbers = np.stack([np.square(wave).mean(axis=1), size.mean(axis=1), size.max(axis=1), crossings], axis=1)
    out: NDArray = np.concatenate([mel, numbers], axis=1)
    return out.astype(np.float32)


def mel_filters(rate: int, span: int) -> FloatArray:
    """(64, span // 2 + 1) triangles of height 1 whose corners are evenly spaced on the HTK mel scale."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, min(HIGHEST_HZ, rate / 2)))
    corners = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    frequency = np.fft.rfftfreq(span, 1 / rate)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequency - left) / (middle - left), (right - frequency) / (right - middle)
    return np.asarray(np.maximum(np.minimum(rising, falling), 0.0))


@dataclass(frozen=True)
class LogMelBlock(Block):
    """588 numbers of a window's sound: nine statistics of each of the 64 mels over its rows, and twelve of its waveform.

    Rows count that end after the reference sample before the window and not after its last one. The twelve (published for one
    second at 16 kHz): rms, mean, standard deviation and maximum of the absolute value, share of sign changes, log(1 + sum of the
    rows' mean squares), mean absolute value of each third, the last third's minus the first's, seconds, rows. A window is valid
    where it has three rows and all are measured.
    """

    def columns(self, episode: Episode) -> list[str]:
        """See `Block`."""
        return list(LOGMEL_COLUMNS)

    def fixed_columns(self) -> list[str] | None:
        """See `Block`."""
        return list(LOGMEL_COLUMNS)

    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """See `Block`; one pass per number of rows that a window has."""
        track, timeline = episode.tracks[self.reads[0]], episode.timeline
        clock = track.times
        assert clock is not None, f"track {track.name} is untimed"
        before = np.where(starts > 0, timeline[np.maximum(starts - 1, 0)], -np.inf)
        first = np.searchsorted(clock, before, side="right")
        rows = np.searchsorted(clock, timeline[starts + length - 1], side="right") - first
        values, measured = np.asarray(track.array()), np.concatenate([[0], np.cumsum(track.mask())])
        out = np.zeros((len(starts), len(LOGMEL_COLUMNS)), np.float32)
        valid = (rows >= 3) & (measured[first + rows] - measured[first] == rows)
        for count in np.unique(rows[valid]):
            index = np.flatnonzero(valid & (rows == count))
            step = max(1, CHUNK_BYTES // (int(count) * values.shape[1] * 8))
            for at in range(0, len(index), step):
                part = index[at : at + step]
                windows = values[first[part] + np.arange(count)[:, None]].astype(np.float64)
                out[part] = np.concatenate([_mels(windows[..., :MELS]), _waveform(windows[..., MELS:])], axis=1)
        return out, np.asarray(valid, bool)


def _mels(rows: FloatArray) -> FloatArray:
    """(n, 576) statistics of (T, n, 64) log-mel rows."""
    ordered = np.sort(rows, axis=0)
    percentiles = [_percentile(ordered, share) for share in (0.1, 0.5, 0.9)]
    parts = [*_moments(rows), ordered[0], ordered[-1], *percentiles, *_moments(np.diff(rows, axis=0))]
    return np.concatenate(parts, axis=1)


def _moments(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, D) mean and standard deviation of (T, n, D) over time; about the first row: a constant deviates by exactly 0."""
    away = rows - rows[0]
    mean = total(away) / len(rows)
    return rows[0] + mean, np.sqrt(total(np.square(away - mean)) / len(rows))


def _percentile(ordered: FloatArray, share: float) -> FloatArray:
    """Linear between the two nearest of (T, n, D) rows sorted over time."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return np.asarray(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def _waveform(rows: FloatArray) -> FloatArray:
    """(n, 12) numbers of the waveform from (T, n, 4) rows of equal numbers of samples."""
    square, mean_abs, max_abs, crossings = (rows[..., i] for i in range(len(WAVE)))
    count = len(rows)
    power, size = total(square) / count, total(mean_abs) / count
    thirds = [total(part) / len(part) for part in np.array_split(mean_abs, 3)]
    constant = np.ones_like(power)
    numbers = [
        *(np.sqrt(power), size, np.sqrt(np.maximum(power - np.square(size), 0)), max_abs.max(axis=0)),
        *(total(crossings) / count, np.log1p(total(square)), *thirds, thirds[2] - thirds[0]),
        *(constant * count * HOP_S, constant * count),
    ]
    return np.stack(numbers, axis=1)
