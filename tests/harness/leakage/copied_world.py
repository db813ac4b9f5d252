"""Targets files of recordings that were never ingested: what the near-duplicate gate reads, and nothing else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.episode import Episode, Modality, Track
from harness.leakage.clips import modality
from harness.leakage.exact import prints
from harness.leakage.fingerprint import BIN_S, PRINTS, Fingerprint, fingerprint, fingerprint_table
from harness.record import EpisodeRecord, file_stem
from harness.splits import Fold, Split
from harness.tables import write_atomically


def targets_of(folder: Path, found: Mapping[str, Fingerprint | Episode]) -> None:
    """Targets without rows, of recordings, or of fingerprints: then the recording has one sample a bin."""
    for name, series in found.items():
        episode = series if isinstance(series, Episode) else sampled(series)
        looks = fingerprint(series) if isinstance(series, Episode) else series
        bins = max(len(values) for values in looks.values())
        record = EpisodeRecord(name, "key", bins * 5, {}, {}, {}, {}, [])
        tables = [fingerprint_table(looks), fingerprint_table(prints(episode), PRINTS)]
        write_atomically(tables, folder / f"{file_stem(name)}.parquet", record.to_metadata())


def sampled(series: Fingerprint) -> Episode:
    """The recording of which a fingerprint is: a sample a bin."""
    tracks = {
        name: Track(name, modality(name), values, BIN_S * (np.arange(len(values)) + 0.5)) for name, values in series.items()
    }
    return Episode("sampled", next(iter(tracks)), tracks)


def recorded(tracks: Mapping[str, tuple[Modality, float, np.ndarray]]) -> Episode:
    """A recording of tracks: modality, samples a second, samples."""
    made = {name: Track(name, kind, data, np.arange(len(data)) / rate) for name, (kind, rate, data) in tracks.items()}
    return Episode("recorded", next(iter(made)), made)


def split_of(train: list[str], test: list[str], borders: tuple[float, float] | None = None) -> Split:
    """One fold; what stands on both sides is cut at the borders."""
    everyone = list(dict.fromkeys([*train, *test]))
    fold = Fold(0, tuple(train), (), tuple(test), borders)
    unit = "episode" if borders is None else "interval"
    return Split("explicit", unit, {e: e for e in everyone}, dict.fromkeys(everyone), (fold,))


def walk(rng: np.random.Generator, bins: int) -> Fingerprint:
    """Two tracks that wander smoothly."""
    steps = rng.normal(size=(2, bins + 7, 4))
    smooth = np.apply_along_axis(np.convolve, 1, steps, np.ones(8) / 8, "valid")
    return dict(zip(("state", "descriptor/video/a"), np.cumsum(smooth, axis=1).astype(np.float32), strict=True))


def wandering(rng: np.random.Generator, samples: int, channels: int) -> np.ndarray:
    """(samples, channels) smooth motion."""
    steps = np.apply_along_axis(np.convolve, 0, rng.normal(size=(samples + 29, channels)), np.ones(30) / 30, "valid")
    return 0.05 * np.cumsum(steps, axis=0)
