"""The descriptor of depth maps and their confidence: distances, their layout and how far they can be trusted, 140 numbers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.features.base import EpisodeDescriptor
from harness.timeline import held_index, measured_entries

CELLS = 8  # the grids have 8 x 8 cells
RANGE = (0.0, 4.0)  # metres: what the depth grid is normalised by where the episode has no `depth_range`
PERCENTILES = np.array([10, 50, 90]) / 100
PERCENTILE_PIXELS = 4096  # of larger maps, percentiles are those of evenly spaced pixels
READ = 64  # maps read at a time
DESCRIBE_PIXELS = 1 << 18  # described at a time: their intermediates stay in the cache

_GRID = tuple(f"{row}_{column}" for row in range(CELLS) for column in range(CELLS))
DEPTH_NAMES = (
    *(f"depth_{s}" for s in ("mean", "std", "min", "max", "p10", "p50", "p90", "measured")),
    *(f"depth_{cell}" for cell in _GRID),
    *(f"confidence_{s}" for s in ("mean", "std", "min", "max")),
    *(f"confidence_{cell}" for cell in _GRID),
)


@dataclass(frozen=True)
class DepthDescriptor(EpisodeDescriptor):
    """Numbers of each depth map and of its confidence.

    Depth, metres: mean, standard deviation, least, greatest, three percentiles, share of measured pixels; then the mean of
    8 x 8 cells, normalised to 0..1 over the episode's `depth_range`. Confidence: mean, standard deviation, least, greatest and
    the mean of 8 x 8 cells. Pixels that were not measured (NaN) count in the share alone; what has no pixel is masked.
    """

    version: ClassVar[int] = 1
    name: str
    tracks: tuple[str, ...]

    def describe(self, episode: Episode) -> Track:
        """(N, 140) on the reference timeline, each map held from its own time on."""
        limits = episode.tracks["depth_range"].array() if "depth_range" in episode.tracks else np.array(RANGE)
        data = np.zeros((len(episode.timeline), len(DEPTH_NAMES)), np.float32)
        valid = np.zeros(data.shape, bool)
        split = 8 + CELLS**2
        data[:, :split], valid[:, :split] = _describe(episode.tracks["depth"], episode.timeline, limits)
        if "depth_confidence" in episode.tracks:
            confidence = episode.tracks["depth_confidence"]
            data[:, split:], valid[:, split:] = _describe(confidence, episode.timeline, None)
        return Track(self.name, Modality.DEPTH, data, episode.timeline, valid, names=DEPTH_NAMES, sources=self.tracks)


def _describe(track: Track, timeline: FloatArray, limits: NDArray | None) -> tuple[NDArray[np.float32], BoolArray]:
    """(N, 8 + 64) numbers at each reference time, 0 where not measured; and where they are. Without limits (N, 4 + 64)."""
    assert track.times is not None, f"track {track.name} is untimed"
    rows: list[NDArray[np.float32]] = [np.zeros((0, CELLS**2 + (4 if limits is None else 8)), np.float32)]
    for start in range(0, len(track.times), READ):
        maps = np.asarray(track.array(start, start + READ), np.float32)
        measured = measured_entries(maps, None if track.valid is None else track.valid[start : start + READ])
        if track.valid is not None or np.isinf(maps).any():
            maps = np.where(measured, maps, np.float32(np.nan))
        step = max(1, DESCRIBE_PIXELS // max(1, maps[0].size))
        rows.extend(_numbers(maps[i : i + step], measured[i : i + step], limits) for i in range(0, len(maps), step))
    numbers, index = np.concatenate(rows), held_index(track, timeline)
    valid = np.isfinite(numbers[index]) & (index >= 0)[:, None]
    return np.where(valid, numbers[index], np.float32(0)), valid


def _numbers(maps: NDArray[np.float32], measured: BoolArray, limits: NDArray | None) -> NDArray[np.float32]:
    """(n, 8 + 64) or (n, 4 + 64) numbers of (n, H, W) maps, NaN where not measured; NaN where there is no measured pixel."""
    n, every = len(maps), bool(measured.all())
    known = maps if every else np.where(measured, maps, np.float32(0))
    count = np.broadcast_to(_cells(measured[:1]), (n, CELLS**2)) if every else _cells(measured)
    total = np.where(count.any(axis=1), count.sum(axis=1), np.float32(np.nan))
    mean = known.reshape(n, -1).sum(axis=1) / total
    work = known - mean[:, None, None]
    if not every:
        work *= measured
    std = np.sqrt(np.square(work, out=work).reshape(n, -1).sum(axis=1) / total)
    # fmin and fmax pass over NaN.
    scalars = [mean, std, np.fmin.reduce(maps.reshape(n, -1), axis=1), np.fmax.reduce(maps.reshape(n, -1), axis=1)]
    if limits is not None:
        scalars += [*_percentiles(maps), count.sum(axis=1) / np.float32(maps[0].size)]
        known = np.subtract(known, np.float32(limits[0]), out=work)
        known /= np.float32(limits[1] - limits[0])
        np.clip(known, 0, 1, out=known)
        if not every:
            known *= measured
    grid = _cells(known) / np.where(count > 0, count, np.float32(np.nan))
    return np.concatenate([np.stack(scalars, axis=1), grid], axis=1)


def _cells(maps: NDArray) -> NDArray[np.float32]:
    """(n, 64) sums over 8 x 8 cells of (n, H, W) maps; cells of nearly equal size where 8 does not divide H or W."""
    n, height, width = maps.shape
    if height % CELLS == 0 and width % CELLS == 0:
        rows = maps.reshape(n, CELLS, -1, width).sum(axis=2, dtype=np.float32)
        cells = rows.reshape(n, CELLS, CELLS, -1).sum(axis=3)
    else:
        down, across = (np.arange(CELLS) * size // CELLS for size in (height, width))
        cells = np.add.reduceat(np.add.reduceat(maps, down, axis=1, dtype=np.float32), across, axis=2)
    return np.asarray(cells.reshape(n, -1), np.float32)


def _percentiles(maps: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The percentiles of (n, H, W) maps, NaN where not measured, each (n,); by linear interpolation between ranks."""
    step = int(np.ceil(np.sqrt(maps[0].size / PERCENTILE_PIXELS)))
    ordered = np.sort(maps[:, ::step, ::step].reshape(len(maps), -1), axis=1)  # NaN last
    count = np.isfinite(ordered).sum(axis=1)
    found = []
    for share in PERCENTILES:
        rank = share * np.maximum(count - 1, 0)
        low = rank.astype(np.int64)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        below, above = (np.take_along_axis(ordered, i[:, None], axis=1)[:, 0] for i in (low, high))
        found.append((below + (above - below) * (rank - low)).astype(np.float32))
    return found
