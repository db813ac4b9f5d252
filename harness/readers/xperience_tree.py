"""Access to the HDF5 file of an Xperience-10M episode: its clock, and datasets checked for kind, length and shape.

Every frame-synchronous dataset has one row per video frame and shares the clock of `video/device_timestamp`. A group or a
dataset that the format always has and that is missing, empty of numbers or of the wrong length makes the episode unreadable;
what is optional and absent is lacking.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from harness.card import first_line
from harness.episode import FloatArray
from harness.errors import UnreadableEpisode

GROUPS = ("calibration", "depth", "full_body_mocap", "hand_mocap", "imu", "slam", "video")
NUMERIC = "iufb"  # dtype kinds


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turns what h5py raises on a damaged file into an unreadable episode."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # TypeError: a type that NumPy does not have
        raise UnreadableEpisode(str(path), f"damaged or no HDF5 ({first_line(error)}); fetch it again") from error


def open_hdf5(path: Path) -> h5py.File:
    """Opens for reading. No file lock: shared file systems refuse it, and nobody writes while we read."""
    return h5py.File(path, "r", locking=False)


class Annotation:
    """One open `annotation.hdf5`.

    Attributes:
        path: The file.
        count: Number of video frames N.
        times: (N,) float64 seconds since the first frame.
        timestamps: (N,) int64 device nanoseconds; None where the file has none and the frames are spaced evenly.

    Raises:
        UnreadableEpisode: Not an HDF5 file, a group of the format is missing, or the frames have no usable clock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with hdf5_errors(path):
            self._file = open_hdf5(path)
            missing = [group for group in GROUPS if not isinstance(self._file.get(group), h5py.Group)]
        if missing:
            self._file.close()
            raise self.fault(f"group {', '.join(missing)} is missing; the recording is not complete")
        self.timestamps, self.times = self._clock()
        self.count = len(self.times)

    def __enter__(self) -> "Annotation":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def fault(self, reason: str) -> UnreadableEpisode:
        """An error that names this file."""
        return UnreadableEpisode(str(self.path), reason)

    def _clock(self) -> tuple[NDArray[np.int64] | None, FloatArray]:
        stamps = self.integers("video/device_timestamp")
        if stamps is None:
            length, count = self.scalar("video/length_sec"), len(self.required("slam/quat_wxyz"))
            if length is None or not length > 0 or count == 0:
                raise self.fault("neither video/device_timestamp nor video/length_sec gives the frames a time")
            return None, np.arange(count) * (length / count)
        if len(stamps) == 0:
            raise self.fault("video/device_timestamp is empty: the recording has no frame")
        backward = np.flatnonzero(np.diff(stamps) <= 0)
        if len(backward):
            raise self.fault(f"video/device_timestamp does not increase at frame {backward[0] + 1}")
        return stamps, (stamps - stamps[0]) * 1e-9

    def dataset(self, name: str) -> h5py.Dataset | None:
        """A dataset, None where there is none of that name."""
        with hdf5_errors(self.path):
            found = self._file.get(name)
            known = isinstance(found, h5py.Dataset) and found.shape is not None and found.dtype is not None
        return found if known else None

    def children(self, name: str) -> list[str]:
        """Sorted names in a group; empty where it is no group."""
        with hdf5_errors(self.path):
            found = self._file.get(name)
            return sorted(found) if isinstance(found, h5py.Group) else []

    def numbers(self, name: str) -> NDArray | None:
        """A numeric dataset in memory, None where it is absent.

        Raises:
            UnreadableEpisode: It does not hold numbers.
        """
        found = self.dataset(name)
        if found is None:
            return None
        if found.dtype.kind not in NUMERIC:
            raise self.fault(f"{name} holds {found.dtype}, not numbers")
        with hdf5_errors(self.path):
            return np.asarray(found[()])

    def required(self, name: str, *, may_be_unseen: bool = False) -> NDArray:
        """As `numbers`, but it must be there and, unless it `may_be_unseen`, not be NaN throughout."""
        values = self.numbers(name)
        if values is None:
            raise self.fault(f"dataset {name} is missing")
        if not may_be_unseen and values.size and not np.isfinite(values).any():
            raise self.fault(f"{name} holds no finite number")
        return values

    def scalar(self, name: str) -> float | None:
        """The first number of a dataset, None where it is absent or empty."""
        values = self.numbers(name)
        return float(values.flat[0]) if values is not None and values.size else None

    def texts(self, name: str) -> list[str] | None:
        """A text dataset as a flat list, None where it is absent. Rows of bytes (N, L) uint8 are texts too.

        Raises:
            UnreadableEpisode: It holds something else, or is not UTF-8.
        """
        found = self.dataset(name)
        if found is None:
            return None
        if found.dtype.kind not in "Su" and h5py.check_string_dtype(found.dtype) is None:
            raise self.fault(f"{name} holds {found.dtype}, not text")
        with hdf5_errors(self.path):
            values = np.asarray(found[()])
        if values.dtype.kind == "u":
            values = np.atleast_2d(values.astype(np.uint8))
            values = np.ascontiguousarray(values).view(f"S{max(values.shape[-1], 1)}")
        try:
            return [v.decode("utf-8").strip("\0") if isinstance(v, bytes) else str(v) for v in values.ravel().tolist()]
        except UnicodeDecodeError as error:
            raise self.fault(f"{name} is not UTF-8 text ({first_line(error)})") from error

    def word(self, name: str) -> str:
        """The first entry of a text or a number, as stripped text; empty where it is absent."""
        found = self.dataset(name)
        if found is None or found.size == 0:
            return ""
        entries = np.ravel(found[()]).tolist() if found.dtype.kind in "ifb" else self.texts(name)
        return str(entries[0]).strip() if entries else ""

    def integers(self, name: str) -> NDArray[np.int64] | None:
        """(n,) a dataset of integers or of their decimal texts, None where it is absent.

        Raises:
            UnreadableEpisode: Some entry is no integer.
        """
        found = self.dataset(name)
        if found is None:
            return None
        try:
            if found.dtype.kind in "iu":
                return np.asarray(self.numbers(name), np.int64).ravel()
            return np.array(self.texts(name), np.str_).astype(np.int64)
        except ValueError as error:
            raise self.fault(f"{name}: {first_line(error)}") from error

    def rows(self, name: str, shape: tuple[int, ...] = (), *, may_be_unseen: bool = False) -> NDArray:
        """(N, *shape) a required dataset with one row per frame; shape () takes what is there, flat.

        Raises:
            UnreadableEpisode: Missing, without a finite number, or of another shape.
        """
        rows, reason = _fit(self.required(name, may_be_unseen=may_be_unseen), self.count, shape)
        if rows is None:
            raise self.fault(f"{name} {reason}")
        return rows

    def optional_rows(self, name: str, shape: tuple[int, ...] = ()) -> tuple[NDArray | None, str]:
        """As `rows`, or None and why it is lacking.

        Raises:
            UnreadableEpisode: There are rows, but not one per frame.
        """
        values = self.numbers(name)
        if values is None:
            return None, f"no dataset {name}"
        rows, reason = _fit(values, self.count, shape)
        if rows is None and "rows" in reason:
            raise self.fault(f"{name} {reason}")
        return rows, f"{name} {reason}"


def _fit(values: NDArray, count: int, shape: tuple[int, ...]) -> tuple[NDArray | None, str]:
    """Values as (count, *shape), or None and what does not fit."""
    if values.ndim > 1 and values.shape[0] == 1 and values.shape[1] == count and count > 1:
        values = values[0]  # some files carry a batch axis of one
    if values.ndim == 0 or len(values) != count:
        return None, f"has {len(values) if values.ndim else 1} rows, the recording has {count} frames"
    width = int(np.prod(values.shape[1:]))
    if shape and width != np.prod(shape):
        return None, f"has the shape {values.shape}, not {(count, *shape)}"
    return values.reshape(count, *(shape or (width,))), ""
