"""Frames on their way into the track store, and out of it.

One decoding pass per camera feeds everything that wants its frames: each size and rate that is kept, and each descriptor.

Which frame belongs to which time of the track: where the file has as many frames as the track has times, the i-th frame in
presentation order belongs to the i-th time, whatever either clock says. Where the file, read from its first frame on, has one
frame more or less and no gap, it is the last that is left over or missing (cutting tools do that). Otherwise a time gets the
frame whose own time stamp, from the start of the interval, is nearest to it, within half a frame period. A time that has no
frame is black and masked; where more than `MOST_MISSING` of the times have none, the file and the times do not belong together.
"""

import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import video
from harness.branch import FramesWant
from harness.decoder import PYAV
from harness.episode import BoolArray, FloatArray, Modality, Track, VideoFile
from harness.errors import UnreadableEpisode
from harness.features.base import FrameDescriptor
from harness.store.parts import NpyStream, PartWriter

RAW_PIXELS = 64  # frames up to this height and width are stored as they are, larger ones as JPEG
JPEG_QUALITY = 90
JPEG_BYTES_PER_PIXEL = 0.25  # measured 0.23 on 224 px frames of a robot's camera
MOST_MISSING = 0.05


class JpegFrames:
    """Frames kept as one JPEG each; a `Source` that decodes what is read.

    Args:
        blob: All files, one after the other.
        offsets: (T + 1,) where each begins.
        shape: (T, height, width, 3).
    """

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[np.int64], shape: tuple[int, ...]) -> None:
        self._blob = blob
        self._offsets = offsets
        self._shape = shape

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, height, width, 3)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames [start, stop) as (stop - start, height, width, 3)."""
        return self.take(np.arange(*slice(start, stop).indices(self._shape[0])))

    def take(self, index: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Frames at `index` (n,) as (n, height, width, 3)."""
        frames = np.empty((len(index), *self._shape[1:]), np.uint8)
        for frame, i in zip(frames, index, strict=True):
            frame[...] = Image.open(io.BytesIO(self._blob[self._offsets[i] : self._offsets[i + 1]].data))
        return frames


class Sink(Protocol):
    """Something that wants the frames of a camera.

    Attributes:
        size: Height and width it wants.
        stride: It takes every so-manieth row.
    """

    size: tuple[int, int]
    stride: int

    def append(self, frames: NDArray[np.uint8]) -> None:
        """The next (n, height, width, 3) frames of its rows."""

    def restart(self) -> None:
        """Forget the frames so far."""

    def finish(self, part: PartWriter, camera: Track, times: FloatArray, valid: BoolArray | None) -> None:
        """All frames have come: name the track in the part."""


class RawSink:
    """Keeps frames as they are."""

    def __init__(self, part: PartWriter, want: FramesWant, name: str) -> None:
        self.size = (want.height, want.width)
        self.stride = want.stride
        self.name = name
        self._stream = part.stream(name, np.uint8, (*self.size, 3))

    def append(self, frames: NDArray[np.uint8]) -> None:
        """See `Sink`."""
        self._stream.append(frames)

    def restart(self) -> None:
        """See `Sink`."""
        self._stream.clear()

    def finish(self, part: PartWriter, camera: Track, times: FloatArray, valid: BoolArray | None) -> None:
        """See `Sink`."""
        track = Track(self.name, Modality.VIDEO, np.empty(0), times, valid, sources=(camera.name,))
        part.add(track, self._stream.path.name)


class JpegSink:
    """Keeps frames as JPEG."""

    def __init__(self, part: PartWriter, want: FramesWant, name: str) -> None:
        self.size = (want.height, want.width)
        self.stride = want.stride
        self.name = name
        self._blob: NpyStream = part.stream(name, np.uint8, ())
        self._sizes: list[int] = [0]

    def append(self, frames: NDArray[np.uint8]) -> None:
        """See `Sink`."""
        for frame in frames:
            file = io.BytesIO()
            Image.fromarray(frame).save(file, "JPEG", quality=JPEG_QUALITY)
            self._sizes.append(file.tell())
            self._blob.append(np.frombuffer(file.getbuffer(), np.uint8))

    def restart(self) -> None:
        """See `Sink`."""
        self._blob.clear()
        self._sizes = [0]

    def finish(self, part: PartWriter, camera: Track, times: FloatArray, valid: BoolArray | None) -> None:
        """See `Sink`."""
        offsets = part.array(f"{self.name}.offsets", np.cumsum(self._sizes, dtype=np.int64))
        track = Track(self.name, Modality.VIDEO, np.empty(0), times, valid, sources=(camera.name,))
        part.add(track, self._blob.path.name, offsets=offsets, shape=(len(times), *self.size, 3))


class DescriptorSink:
    """Describes frames and keeps only that."""

    stride = 1

    def __init__(self, descriptor: FrameDescriptor) -> None:
        self.size = descriptor.size
        self._descriptor = descriptor
        self._rows: list[NDArray[np.float32]] = [np.zeros((0, descriptor.dim), np.float32)]

    def append(self, frames: NDArray[np.uint8]) -> None:
        """See `Sink`."""
        self._rows.append(self._descriptor.describe(frames))

    def restart(self) -> None:
        """See `Sink`."""
        del self._rows[1:]

    def finish(self, part: PartWriter, camera: Track, times: FloatArray, valid: BoolArray | None) -> None:
        """See `Sink`."""
        rows, about = np.concatenate(self._rows), self._descriptor
        track = Track(about.name, Modality.VIDEO, rows, times, valid, sources=about.tracks)
        part.add(track, part.array(about.name, rows), version=about.version)


def keep_frames(part: PartWriter, want: FramesWant, name: str) -> Sink:
    """The sink of one set of frames: raw up to `RAW_PIXELS`, JPEG above."""
    return (RawSink if max(want.height, want.width) <= RAW_PIXELS else JpegSink)(part, want, name)


def frame_bytes(want: FramesWant, samples: int) -> int:
    """Bytes that these frames of a track of `samples` samples take; for JPEG what such frames usually take."""
    pixels = -(-samples // want.stride) * want.height * want.width
    return pixels * 3 if max(want.height, want.width) <= RAW_PIXELS else int(pixels * JPEG_BYTES_PER_PIXEL)


def decode_into(part: PartWriter, camera: Track, sinks: Sequence[Sink], threads: int, decoder: str = PYAV) -> None:
    """Decode one camera once and give every sink the frames it wants, on the times of the track.

    A file whose frames do not match the times one by one, up to a cut end, is decoded a second time.

    Args:
        part: Gets the tracks, and the count of decoded frames.
        camera: Encoded video.
        sinks: Who wants its frames.
        threads: Decoder threads.
        decoder: See `harness.decoder.resolve_decoder`.

    Raises:
        UnreadableEpisode: The file is missing, truncated, corrupt, or has no frame at too many of the track's times.
        BadInput: The decoder is not on this machine.
    """
    file, times = camera.data, camera.times
    assert isinstance(file, VideoFile) and times is not None, f"track {camera.name} is not encoded video"
    rank = np.arange(len(times), dtype=np.int64)
    stamps, done = _feed(file, rank, sinks, threads, decoder)
    part.decoded[camera.name] = len(stamps)
    index = frame_of_each_time(stamps, times, file)
    if not np.array_equal(index, np.where(rank < len(stamps), rank, -1)):
        # The counts differ and it is not the end that does: only now it is known which frame belongs where.
        for sink in sinks:
            sink.restart()
        _, done = _feed(file, index, sinks, threads, decoder)
        part.decoded[camera.name] += len(stamps)
    for sink in sinks:
        rows = len(range(-done % sink.stride, len(times) - done, sink.stride))
        if rows:
            sink.append(np.zeros((rows, *sink.size, 3), np.uint8))
    valid = None if (index >= 0).all() else index >= 0
    for sink in sinks:
        sink.finish(part, camera, times[:: sink.stride], None if valid is None else valid[:: sink.stride])


def _feed(file: VideoFile, index: NDArray[np.int64], sinks: Sequence[Sink], threads: int, decoder: str) -> tuple[FloatArray, int]:
    """Decode a file and hand on the frames of its rows, in order.

    Args:
        file: Encoded video.
        index: (T,) number of the frame of each row, -1 = black, not decreasing but for these.
        sinks: Who wants the rows.
        threads: Decoder threads.
        decoder: See `decode_into`.

    Returns:
        The time stamps of all frames, and how many rows were handed on; the frames of the others did not come.
    """
    # A row is complete when the newest frame that it or an earlier row needs has been decoded.
    needs = np.maximum.accumulate(index) if len(index) else index
    sizes = sorted({sink.size for sink in sinks})
    stamps: list[FloatArray] = [np.zeros(0)]
    decoded = done = 0
    for seconds, frames in video.decode(file, sizes, threads=threads, decoder=decoder):
        ready = int(np.searchsorted(needs, decoded + len(seconds)))
        if ready > done:
            rows = dict(zip(sizes, (_rows(f, index[done:ready] - decoded) for f in frames), strict=True))
            for sink in sinks:
                sink.append(rows[sink.size][-done % sink.stride :: sink.stride])
        stamps.append(seconds)
        decoded, done = decoded + len(seconds), max(done, ready)
    return np.concatenate(stamps), done


def frame_of_each_time(stamps: FloatArray, times: FloatArray, file: VideoFile) -> NDArray[np.int64]:
    """(T,) number of the frame that belongs to each time, -1 where there is none; the rule is that of this module.

    Args:
        stamps: (F,) the frames' own time stamps, seconds of the file's clock, sorted.
        times: (T,) times of the track.
        file: Where the interval starts in the file; from 0 on, the first frame belongs to the first time.

    Raises:
        UnreadableEpisode: Too many times have no frame.
    """
    if len(stamps) == len(times):
        return np.arange(len(times), dtype=np.int64)
    if len(stamps) == 0 or len(times) == 0:
        raise UnreadableEpisode(file.path, f"has {len(stamps)} frames for {len(times)} times; fetch it again")
    if abs(len(stamps) - len(times)) == 1 and file.start <= 0 and _without_gap(stamps):
        rank = np.arange(len(times), dtype=np.int64)
        return np.where(rank < len(stamps), rank, -1)
    begin = file.start if file.start > 0 else stamps[0]
    clock, sought = stamps - begin, times - times[0]
    after = np.searchsorted(clock, sought).clip(0, len(clock) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(sought - clock[before] <= clock[after] - sought, before, after)
    period = float(np.median(np.diff(times))) if len(times) > 1 else np.inf
    index = np.where(np.abs(clock[nearest] - sought) <= period / 2, nearest, -1)
    missing = int((index < 0).sum())
    if missing > MOST_MISSING * len(times):
        reason = f"has {len(stamps)} frames, and none at {missing} of the track's {len(times)} times; fetch it again"
        raise UnreadableEpisode(file.path, reason)
    return index


def _without_gap(stamps: FloatArray) -> bool:
    steps = np.diff(stamps)
    return len(steps) == 0 or bool(steps.max() < 1.5 * np.median(steps))


def _rows(frames: NDArray[np.uint8], index: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Frames at `index`, black where it is negative; a view where nothing is missing or out of order."""
    if index[0] >= 0 and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
        return frames[index[0] : index[0] + len(index)]
    rows: NDArray[np.uint8] = frames[np.maximum(index, 0)]
    rows[index < 0] = 0
    return rows


def window_frames(track: Track, last: NDArray[np.integer], length: int) -> NDArray[np.uint8]:
    """Windows of frames, copied out of the store.

    Args:
        track: Stored frames (T, height, width, 3).
        last: (B,) last row of each window.
        length: Rows per window; before the first row that row is repeated.

    Returns:
        (B, length, height, width, 3) uint8.
    """
    index = np.maximum(np.asarray(last)[:, None] + np.arange(1 - length, 1), 0)
    if isinstance(track.data, np.ndarray):
        return np.asarray(track.data[index])
    if not isinstance(track.data, JpegFrames):
        raise TypeError(f"track {track.name} holds no stored frames")
    needed, position = np.unique(index, return_inverse=True)
    frames: NDArray[np.uint8] = track.data.take(needed)[position.reshape(index.shape)]
    return frames
