"""What a recording looks like, in few numbers: written by ingest, compared at scoring to find one recording under two names.

Per track, numbers for every quarter of a second: the means of its channels over its samples, in 64 bits: an offset of 1e5 would
leave nothing of a motion in 32. Of tracks with many channels, and of pictures, four fixed random projections instead. They are
fixed by a track's name and width, so the same content has the same numbers in every run.
"""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.card import first_line
from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.errors import BadInput
from harness.features.held import numbers
from harness.tables import TARGET_SCHEMA, by_task

FINGERPRINT, PRINTS = "(fingerprint)", "(prints)"  # as tasks in a targets file
BIN_S = 0.25
NUMBERS = 4  # per bin, of a track that is projected
MOST = 32  # channels of a track that is not: they have units of their own, and a projection would follow the largest numbers
DESCRIPTOR, FRAMES = "descriptor/", "frames/"
CELLS = 8  # frames without a descriptor are looked at as 8 x 8 mean gray levels
# Words say nothing of who else said them, tables have a check of their own, and what stands still is no content.
_LEFT_OUT = (Modality.LANGUAGE, Modality.TABLE, Modality.CALIBRATION, Modality.MAP)

Fingerprint = dict[str, FloatArray]
"""Track -> (bins, C), NaN where nothing was measured in the bin."""


def fingerprint(episode: Episode) -> Fingerprint:
    """The fingerprint of a stored episode: of its small tracks, its descriptors, and frames of cameras without a descriptor."""
    bins = int(np.floor(episode.timeline[-1] / BIN_S)) if len(episode.timeline) else 0
    found = {}
    for track in episode.tracks.values():
        if bins and track.times is not None and len(track.times) and is_content(track, episode):
            found[track.name] = _binned(track, bins)
    return {name: values for name, values in found.items() if np.isfinite(values).any()}


def fingerprint_table(found: Fingerprint, task: str = FINGERPRINT) -> pa.Table:
    """A fingerprint (or prints) as rows of a targets file, under a task of its own that nobody asks."""
    names = sorted(found)
    columns = {
        "task": pa.array([task] * len(names), pa.string()),
        "sample": pa.array(names, pa.string()),
        "item": pa.array([found[name].shape[1] for name in names], pa.int32()),
        "near": pa.array([found[name].reshape(-1).astype(np.float64) for name in names], pa.list_(pa.float64())),
    }
    rows = [columns.get(field.name, pa.nulls(len(names), field.type)).cast(field.type) for field in TARGET_SCHEMA]
    return pa.Table.from_arrays(rows, schema=TARGET_SCHEMA)


def read_fingerprint(path: Path, task: str = FINGERPRINT) -> Fingerprint:
    """Of a targets file (or its prints); empty where it has none.

    Raises:
        BadInput: It is damaged.
    """
    try:
        rows = [row for _, table in by_task(path, [task]) for row in table.select(["sample", "item", "near"]).to_pylist()]
        return {row["sample"]: np.array(row["near"], np.float64).reshape(-1, row["item"]) for row in rows}
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path}: damaged ({first_line(error)}); remove it and run again") from error


def is_content(track: Track, episode: Episode) -> bool:
    """Whether a track says what was recorded: not words, tables or what is derived, but descriptors of pictures and sound."""
    if track.categories or track.modality in _LEFT_OUT:
        return False
    if track.name.startswith(FRAMES):
        described = {source for t in episode.tracks.values() if t.name.startswith(DESCRIPTOR) for source in t.sources}
        sizes = sorted(t.name for t in episode.tracks.values() if t.name.startswith(FRAMES) and t.sources == track.sources)
        return not set(track.sources) & described and track.name == sizes[0]
    if track.name.startswith(DESCRIPTOR):
        return True
    return (
        isinstance(track.data, np.ndarray)
        and not track.sources
        and track.modality not in (Modality.VIDEO, Modality.AUDIO, Modality.DEPTH)
    )


def _binned(track: Track, bins: int) -> FloatArray:
    """(bins, C) of one track."""
    clock = track.times
    assert clock is not None, f"track {track.name} is timed"
    edges = np.searchsorted(clock, BIN_S * np.arange(bins + 1))
    if track.name.startswith(FRAMES):
        return _of_frames(track, edges)
    values, measured = numbers(track)
    good = np.isfinite(values) if measured is None else measured & np.isfinite(values)
    if track.name.startswith(DESCRIPTOR) or values.shape[1] > MOST:
        whole: BoolArray = np.repeat(np.all(good, axis=1, keepdims=True), NUMBERS, axis=1)
        series = np.where(good, values, 0).astype(np.float64) @ _projection(track.name, values.shape[1])
    else:
        whole, series = good, values.astype(np.float64)
    first = np.take_along_axis(series, whole.argmax(axis=0)[None], axis=0)  # summed from there on: what is constant stays so
    series = series - first
    zero = np.zeros((1, series.shape[1]))
    sums = np.concatenate([zero, np.cumsum(np.where(whole, series, 0), axis=0)])
    counts = np.concatenate([zero, np.cumsum(whole, axis=0)])
    n = counts[edges[1:]] - counts[edges[:-1]]
    out: FloatArray = np.where(n > 0, (sums[edges[1:]] - sums[edges[:-1]]) / np.maximum(n, 1) + first, np.nan)
    return out


def _of_frames(track: Track, edges: NDArray[np.int64]) -> FloatArray:
    """One frame a bin, as the mean gray level of 8 x 8 cells."""
    projection = _projection(FRAMES, CELLS**2)
    out = np.full((len(edges) - 1, NUMBERS), np.nan)
    mask = track.mask()
    for i, (first, stop) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        middle = (first + stop) // 2
        if first < stop and mask[middle]:
            gray = track.array(middle, middle + 1)[0].mean(axis=2) / 255
            height, width = (size // CELLS * CELLS for size in gray.shape)
            cells = gray[:height, :width].reshape(CELLS, height // CELLS, CELLS, width // CELLS).mean(axis=(1, 3))
            out[i] = cells.reshape(-1) @ projection
    return out


def _projection(name: str, width: int) -> FloatArray:
    """(width, NUMBERS) of +1 and -1, scaled so that the numbers are of the size of the samples."""
    seed = int.from_bytes(blake2b(f"{name}/{width}".encode(), digest_size=8).digest())
    return np.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], (width, NUMBERS)) / np.sqrt(width))
