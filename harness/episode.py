"""What a recording is: tracks on one time base, in SI units, with validity masks.

A reader makes an `Episode` from files; the track store turns it into an `Episode` whose tracks are arrays. Windows, features
and tasks work on either, so there is one type from the file to the batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]


class Modality(StrEnum):
    """What kind of thing a track measures."""

    VIDEO = "video"
    AUDIO = "audio"
    DEPTH = "depth"
    POSE = "pose"
    HAND = "hand"
    BODY = "body"
    CONTACT = "contact"
    IMU = "imu"
    LANGUAGE = "language"
    STATE = "state"
    COMMAND = "command"
    CALIBRATION = "calibration"
    MAP = "map"
    TABLE = "table"


@runtime_checkable
class Source(Protocol):
    """Samples that stay on disk until they are asked for (depth maps, compressed frames, audio)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, ...) as it would be in memory."""

    @property
    def dtype(self) -> np.dtype:
        """The dtype that `read` gives."""

    def read(self, start: int, stop: int) -> NDArray:
        """Samples [start, stop) as an array of shape (stop - start, ...)."""


class FrameEdit(Protocol):
    """Puts other pictures in the place of decoded ones, before anything is made of them."""

    def __call__(self, seconds: float, height: int, width: int) -> NDArray[np.uint8] | None:
        """(height, width, 3) RGB instead of the frame at `seconds` of the file's clock; None = the frame as it is."""


@dataclass(frozen=True)
class VideoFile:
    """Encoded frames from `start` up to `stop` seconds of the file's own clock; `harness.video` decodes them.

    `stream` is the n-th video stream of the file (pictures attached as covers do not count). Several episodes may share one file
    (LeRobot v3.0). `edit` is for experiments on a recording, see `harness.leakage.canary`.
    """

    path: str
    stream: int = 0
    start: float = 0.0
    stop: float | None = None
    height: int = 0
    width: int = 0
    edit: FrameEdit | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """One measured quantity.

    Attributes:
        name: Unique in the episode, e.g. `hand_left`, `video/fisheye_cam0`, `command`.
        modality: What it measures.
        data: (T, ...) samples. Labels are int32 codes into `categories`, -1 where there is none. Sets of labels are (T, K)
            uint8 multi-hot over `names`. Untimed tracks have no time axis.
        times: (T,) float64, seconds from the first sample of the episode's reference track, not decreasing; None = untimed.
        valid: (T,) or (T, ...) bool, True where measured; None = everywhere. A missing value is a mask, never a zero.
        unit: SI unit of `data`.
        frame: Coordinate frame: `world`, `camera` (at the sample's own time) or empty.
        names: Names of the last axis.
        categories: What the codes of a label track stand for.
        sources: Tracks it was derived from, which a task must allow for it to be seen; empty = it was recorded itself.
    """

    name: str
    modality: Modality
    data: NDArray | Source | VideoFile
    times: FloatArray | None = None
    valid: BoolArray | None = None
    unit: str = ""
    frame: str = ""
    names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def array(self, start: int = 0, stop: int | None = None) -> NDArray:
        """Samples [start, stop) in memory (a view where the data are an array)."""
        if isinstance(self.data, VideoFile):
            raise TypeError(f"track {self.name} is encoded video: decode it with harness.video or through the track store")
        if isinstance(self.data, Source) and not isinstance(self.data, np.ndarray):
            return self.data.read(start, self.data.shape[0] if stop is None else stop)
        return self.data[start:stop] if self.times is not None else self.data

    def renamed(self, name: str) -> "Track":
        """The same track under another name."""
        return replace(self, name=name)

    def mask(self) -> BoolArray:
        """(T,) True where a sample is measured in all its parts."""
        if self.times is None:
            raise TypeError(f"track {self.name} is untimed")
        if self.valid is None:
            return np.ones(len(self.times), bool)
        return np.asarray(self.valid.all(axis=tuple(range(1, self.valid.ndim))), bool)

    @property
    def rate(self) -> float | None:
        """Median samples per second; None where untimed or shorter than two samples."""
        if self.times is None or len(self.times) < 2:
            return None
        step = float(np.median(np.diff(self.times)))
        return 1.0 / step if step > 0 else None


@dataclass(frozen=True, eq=False)
class Episode:
    """One uninterrupted recording.

    Attributes:
        id: Unique in its data set.
        reference: The track whose samples windows are cut on (the video where there is one).
        tracks: By name.
        session: Recordings of one sitting share it; None where the data do not say.
        participant: Who wears the device; None where the data do not say.
        lacking: What this episode should have by its card and does not: track name -> why. Coverage, not a fault.
        uris: The files it was read from; they key the track store.
    """

    id: str
    reference: str
    tracks: dict[str, Track]
    session: str | None = None
    participant: str | None = None
    lacking: dict[str, str] = field(default_factory=dict)
    uris: tuple[str, ...] = ()

    @property
    def timeline(self) -> FloatArray:
        """(N,) seconds of the reference samples; the first is 0."""
        times = self.tracks[self.reference].times
        assert times is not None, "the reference track is timed"
        return times

    @property
    def cluster(self) -> str:
        """The unit of inference: participant, else session, else the episode itself."""
        return self.participant or self.session or self.id

    @property
    def main_camera(self) -> str | None:
        """The video track that a task about "the video" means: the reference where it is one, else the first by name.

        In a stored episode only cameras of which something was stored are known.
        """
        if self.tracks[self.reference].modality == Modality.VIDEO:
            return self.reference
        tracks = self.tracks.values()
        names = {name for t in tracks if t.modality == Modality.VIDEO for name in (t.sources or (t.name,))}
        return min((name for name in names if name.startswith("video/")), default=None)

    def of(self, modality: Modality) -> Iterator[Track]:
        """The tracks of one modality, in the order of the reader."""
        return (track for track in self.tracks.values() if track.modality == modality)

    def with_tracks(self, tracks: dict[str, Track]) -> "Episode":
        """The same recording with other tracks."""
        return replace(self, tracks=tracks)


@dataclass(frozen=True)
class EpisodeRef:
    """Where an episode is, before it is read: what splits are made of and what Ray blocks carry.

    Attributes:
        id: As in `Episode`.
        uris: Files it will be read from (those that exist); their size and mtime key the store.
        index: `episode_index` of the data set where it has one, else the rank of the sorted ids.
        session: As in `Episode`.
        participant: As in `Episode`.
        locator: What its reader needs to find it (a folder, a row range), as plain strings and numbers.
    """

    id: str
    uris: tuple[str, ...]
    index: int
    session: str | None = None
    participant: str | None = None
    locator: dict[str, str | int | float] = field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """As in `Episode`."""
        return self.participant or self.session or self.id
