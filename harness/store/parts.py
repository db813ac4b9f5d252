"""Parts: what one write adds to a stored episode.

A part is some `.npy` files and one JSON marker, all with names no other writer uses. The marker is written last, and only what
a marker names exists: there is nothing to rename (object stores cannot) and nothing to lock. A marker that is not whole JSON
was cut off by a kill; it names nothing. Times, masks and other arrays that several tracks share are one file.
"""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from harness.episode import Episode, Modality, Source, Track
from harness.errors import UnreadableEpisode

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Recording:
    """What a part says of the episode itself.

    Attributes:
        tracks: Name -> modality of the tracks as read, stored or not.
    """

    id: str
    reference: str
    session: str | None
    participant: str | None
    lacking: dict[str, str]
    uris: tuple[str, ...]
    tracks: dict[str, Modality]

    @staticmethod
    def of(episode: Episode) -> "Recording":
        """The record of an episode as read."""
        about = {name: getattr(episode, name) for name in ("id", "reference", "session", "participant", "lacking", "uris")}
        return Recording(**about, tracks={name: track.modality for name, track in episode.tracks.items()})


@dataclass(frozen=True)
class StoredTrack:
    """What a part says of one track. `data`, `times`, `valid` and `offsets` are names of files.

    Attributes:
        offsets: Where each JPEG begins in `data`; None = `data` holds the samples themselves.
        shape: Shape of the samples where `data` is compressed.
        version: Of the descriptor that made it; 0 = recorded, or frames.
    """

    name: str
    modality: Modality
    data: str
    times: str | None
    valid: str | None
    offsets: str | None
    shape: tuple[int, ...]
    unit: str
    frame: str
    names: tuple[str, ...]
    categories: tuple[str, ...]
    sources: tuple[str, ...]
    version: int

    def files(self) -> list[str]:
        """Names of its files."""
        return [name for name in (self.data, self.times, self.valid, self.offsets) if name]


@dataclass(frozen=True)
class Part:
    """One committed write.

    Attributes:
        token: Unique; sorts by the time of the write.
        files: Name -> bytes.
        decoded: Camera track -> frames that were decoded for this part.
    """

    token: str
    recording: Recording
    tracks: dict[str, StoredTrack]
    files: dict[str, int]
    decoded: dict[str, int]

    def to_bytes(self) -> bytes:
        """The marker."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(marker: bytes) -> "Part | None":
        """The part that a marker names; None where the marker was cut off."""
        try:
            body = json.loads(marker)
        except ValueError:
            return None
        recording = body["recording"]
        recording["uris"] = tuple(recording["uris"])
        recording["tracks"] = {name: Modality(word) for name, word in recording["tracks"].items()}
        tracks = {name: _stored_track(about) for name, about in body["tracks"].items()}
        return Part(body["token"], Recording(**recording), tracks, body["files"], body["decoded"])


def _stored_track(about: dict[str, Any]) -> StoredTrack:
    lists = {name: tuple(about[name]) for name in ("shape", "names", "categories", "sources")}
    return StoredTrack(**{**about, **lists, "modality": Modality(about["modality"])})


class NpyStream:
    """A `.npy` file that grows row by row. NumPy leaves room in the header for the count, which is written at the end."""

    def __init__(self, path: Path, dtype: DTypeLike, row: tuple[int, ...]) -> None:
        self.path = path
        self._dtype = np.dtype(dtype)
        self._row = row
        self._count = 0
        self._file = cast(BinaryIO, path.open("xb"))
        self._write_header()
        self._begin = self._file.tell()

    def append(self, rows: NDArray) -> None:
        """Add (n, *row) samples."""
        if rows.shape[1:] != self._row:
            raise ValueError(f"{self.path.name}: rows of shape {rows.shape[1:]} do not fit {self._row}")
        self._file.write(np.ascontiguousarray(rows, self._dtype).reshape(-1).view(np.uint8).data)
        self._count += len(rows)

    def clear(self) -> None:
        """Remove all samples."""
        self._count = 0
        self._file.seek(self._begin)
        self._file.truncate()

    def close(self) -> None:
        """Write the header with the final count."""
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._begin:
            raise RuntimeError(f"{self.path.name}: the header of {self._count} rows does not fit the room left for it")
        self._file.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _write_header(self) -> None:
        shape = (self._count, *self._row)
        about = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}  # type: ignore[no-untyped-call]
        npy.write_array_header_1_0(self._file, about)  # type: ignore[no-untyped-call]


class PartWriter:
    """Collects the files of one part in a folder. Nothing of it exists for a reader before the marker of `finish` is written.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = f"{time.time_ns():020d}-{uuid4().hex[:12]}"
        self.tracks: dict[str, StoredTrack] = {}
        self.decoded: dict[str, int] = {}
        self._streams: dict[str, NpyStream] = {}
        self._shared: dict[tuple[str, str], str] = {}
        self._names: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def files(self) -> list[str]:
        """Names of the files so far."""
        return list(self._names)

    def array(self, label: str, values: NDArray) -> str:
        """Store an array; one that is equal to an earlier one of this part is stored once.

        Returns:
            The name of its file.
        """
        values = np.ascontiguousarray(values)
        if values.dtype.hasobject:
            raise TypeError(f"{label}: arrays of Python objects cannot be stored; use codes and categories")
        digest = hashlib.blake2b(values.reshape(-1).view(np.uint8).data, digest_size=16).hexdigest()
        content = (f"{values.dtype.str}{values.shape}", digest)
        if content not in self._shared:
            self._shared[content] = name = self._new(label)
            np.save(self.folder / name, values, allow_pickle=False)
        return self._shared[content]

    def stream(self, label: str, dtype: DTypeLike, row: tuple[int, ...]) -> NpyStream:
        """A file that grows row by row; its name is that of its path."""
        name = self._new(label)
        self._streams[name] = NpyStream(self.folder / name, dtype, row)
        return self._streams[name]

    def samples(self, track: Track) -> str:
        """Store the samples of a track, in pieces where they are still on disk."""
        if isinstance(track.data, np.ndarray):
            return self.array(track.name, track.data)
        assert isinstance(track.data, Source), f"track {track.name} is encoded video: its frames are asked for by size"
        shape, dtype = track.data.shape, track.data.dtype
        step = max(1, CHUNK_BYTES // max(1, int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize))
        stream = self.stream(track.name, dtype, tuple(shape[1:]))
        for start in range(0, shape[0], step):
            stream.append(track.data.read(start, min(start + step, shape[0])))
        return stream.path.name

    def add(self, track: Track, data: str, *, version: int = 0, offsets: str | None = None, shape: tuple[int, ...] = ()) -> None:
        """Name a track of this part; its `data` are in the file of that name already."""
        self.tracks[track.name] = StoredTrack(
            name=track.name,
            modality=track.modality,
            data=data,
            times=None if track.times is None else self.array("times", track.times),
            valid=None if track.valid is None else self.array(f"{track.name}.valid", track.valid),
            offsets=offsets,
            shape=shape,
            unit=track.unit,
            frame=track.frame,
            names=track.names,
            categories=track.categories,
            sources=track.sources,
            version=version,
        )

    def finish(self, recording: Recording) -> Part:
        """Complete the files; the caller writes the marker, last."""
        for stream in self._streams.values():
            stream.close()
        sizes = {name: (self.folder / name).stat().st_size for name in self._names}
        return Part(self.token, recording, self.tracks, sizes, self.decoded)

    def discard(self) -> None:
        """Remove the files."""
        for stream in self._streams.values():
            stream.abandon()
        for name in self._names:
            (self.folder / name).unlink(missing_ok=True)

    def _new(self, label: str) -> str:
        name = f"{self.token}-{len(self._names):03d}-{re.sub(r'[^A-Za-z0-9_@.]+', '-', label)}.npy"
        self._names.append(name)
        return name


def visible(parts: list[Part]) -> dict[str, tuple[StoredTrack, Part]]:
    """Track name -> its newest committed version."""
    newest: dict[str, tuple[StoredTrack, Part]] = {}
    for part in sorted(parts, key=lambda p: p.token):
        newest |= {name: (track, part) for name, track in part.tracks.items()}
    return newest


def load_arrays(folder: Path, files: Mapping[str, int]) -> dict[str, NDArray]:
    """Map files into memory, read-only.

    Args:
        folder: Where they are.
        files: Name -> bytes, as the marker says.

    Raises:
        UnreadableEpisode: A file is not as long as its marker says.
        FileNotFoundError: A file is missing.
    """
    arrays = {}
    for name, size in files.items():
        path = folder / name
        found = path.stat().st_size
        if found != size:
            raise UnreadableEpisode(str(path), f"damaged: {found} of {size} bytes; remove its folder and run again")
        # The base class: memmap's own bookkeeping costs more than the copy of a small window.
        arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    return arrays
