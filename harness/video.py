"""Decoding video and audio, resized in swscale: one pass gives every size that is asked for.

Seconds here are those of the file's own clock (presentation time stamp x time base), and a frame index is never a time. An
interval [start, stop) is half-open with a tolerance of half a frame: a frame belongs to it when it lies in
[start - half, stop - half), half of the mean frame period. So an interval that begins "at 7.3666 s" has the frame at
7.36667 s, and two neighbouring intervals share no frame. A start of 0 or less means the first frame.

A file that gives fewer frames than its container promises is an unreadable file, never a shorter video. Where a container
states no duration (Matroska) a cut tail cannot be seen.

PyAV brings its own FFmpeg and decodes unless torchcodec is asked for; see `harness.decoder`. What a container promises
is always read with PyAV.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from harness.card import first_line
from harness.decoder import PYAV, resolve_decoder
from harness.episode import FloatArray, VideoFile
from harness.errors import UnreadableEpisode
from harness.video_torchcodec import RUN_UP, Promised, frames_of

# How many seconds before `start` to seek until the key frame is not after it: with B-frames a container may index key frames
# by decode time and land too late.
STEPS_BACK = (0.0, 1.0, 10.0, 1e6)

CHUNK_BYTES = 8 * 2**20
_DECODED: Counter[str] = Counter()


@dataclass(frozen=True)
class AudioInfo:
    """One audio stream: samples per second, channels, codec; start and duration in seconds of the file's clock."""

    rate: int
    channels: int
    codec: str
    start: float
    duration: float | None


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about one video stream.

    Attributes:
        frames: Number of frames; 0 where the container does not say.
        duration: Seconds; None where the container does not say.
        height: Of the upright picture, in pixels.
        width: Of the upright picture, in pixels.
        rate: Mean frames per second.
        rotation: Degrees counter-clockwise by which stored pictures are turned to stand upright.
        codec: Name of the decoder.
        video_streams: How many video streams the file has, cover pictures left out.
        audio: The audio streams.
    """

    frames: int
    duration: float | None
    height: int
    width: int
    rate: float
    rotation: int
    codec: str
    video_streams: int
    audio: tuple[AudioInfo, ...]


def probe(path: str, stream: int = 0) -> VideoInfo:
    """Describe the video stream number `stream` of a file.

    Raises:
        UnreadableEpisode: The file is missing, is not a video, lacks that stream, or its first frame cannot be decoded.
    """
    with _opened(path) as container:
        video = _video_stream(container, path, stream)
        first = next(container.decode(video), None)
        if first is None:
            raise UnreadableEpisode(path, f"0 frames come out, {video.frames or 'some'} are promised; fetch it again")
        turned = _quarter_turns(first, path) % 2
        return VideoInfo(
            frames=video.frames,
            duration=_seconds(video.duration, video),
            height=first.width if turned else first.height,
            width=first.height if turned else first.width,
            rate=float(video.average_rate or 0.0),
            rotation=first.rotation,
            codec=video.codec_context.name,
            video_streams=len(_video_streams(container)),
            audio=tuple(_audio_info(audio) for audio in container.streams.audio),
        )


def timestamps(video: VideoFile) -> FloatArray:
    """(T,) float64 seconds of the frames of `video`, in presentation order; nothing is decoded.

    Raises:
        UnreadableEpisode: The file is missing, not a video, or ends before its container says.
    """
    with _opened(video.path) as container:
        stream = _video_stream(container, video.path, video.stream)
        interval = _Interval(stream, video.start, video.stop)
        for _ in _promised(container, interval, video.path):
            pass
        return np.sort(np.asarray(interval.expected, np.float64))


def decode(
    video: VideoFile,
    sizes: Sequence[tuple[int, int]],
    *,
    start: float | None = None,
    stop: float | None = None,
    threads: int = 1,
    chunk: int | None = None,
    decoder: str = PYAV,
) -> Iterator[tuple[FloatArray, tuple[NDArray[np.uint8], ...]]]:
    """Decode an interval once, in presentation order, into RGB frames of several sizes.

    Args:
        video: File, stream and interval.
        sizes: (height, width) of the upright picture, each.
        start: Seconds of the file's clock, instead of `video.start`.
        stop: Seconds of the file's clock, instead of `video.stop`.
        threads: Decoder threads. The frames are the same for any number.
        chunk: Frames per step; None = as many as make up about `CHUNK_BYTES`, so that small frames come in long steps.
        decoder: See `harness.decoder.resolve_decoder`. Times are the same with any, colours are not.

    Yields:
        (n,) float64 seconds of the file's clock, and for each size (n, height, width, 3) uint8; n <= chunk.

    Raises:
        UnreadableEpisode: The file is missing, not a video, corrupt, or gives fewer frames than its container promises.
        BadInput: The decoder is not on this machine.
    """
    by_pyav = resolve_decoder(decoder) == PYAV
    begin, end = video.start if start is None else start, video.stop if stop is None else stop
    with _opened(video.path) as container:
        stream = _video_stream(container, video.path, video.stream)
        interval = _Interval(stream, begin, end)
        if by_pyav:
            stream.thread_count = threads
            stream.thread_type = "AUTO" if threads > 1 else "NONE"
            pictures = _frames(container, interval, video.path)
        else:
            packets = list(_promised(container, interval, video.path, RUN_UP))
            pictures = frames_of(video.path, stream, packets, threads)
        scalers = [VideoReformatter() for _ in sizes]
        chunk = chunk or max(16, min(256, CHUNK_BYTES // max(1, 3 * sum(height * width for height, width in sizes))))
        times = np.empty(chunk)
        frames = _buffers(chunk, sizes)
        filled = 0
        for seconds, decoded in pictures:
            _DECODED["frames"] += 1
            frame = decoded if video.edit is None else _edited(decoded, video.edit(seconds, decoded.height, decoded.width))
            times[filled] = seconds
            for out, scaler, size in zip(frames, scalers, sizes, strict=True):
                out[filled] = _resized(frame, scaler, size, video.path)
            filled += 1
            if filled == chunk:
                yield times, frames
                times, frames, filled = np.empty(chunk), _buffers(chunk, sizes), 0
        if filled:
            yield times[:filled], tuple(array[:filled] for array in frames)


def frames_decoded() -> int:
    """Frames that `decode` has decoded in this process so far."""
    return _DECODED["frames"]


def decode_audio(path: str, rate: int = 16_000, stream: int = 0) -> NDArray[np.float32]:
    """(T,) float32 the audio stream number `stream`, the mean of its channels, `rate` samples per second, in [-1, 1].

    Sample 0 is the first that the file has: at `probe(path).audio[stream].start` seconds of the file's clock.

    Raises:
        UnreadableEpisode: The file is missing, lacks that stream, is corrupt, or ends before its container says.
    """
    with _opened(path) as container:
        streams = container.streams.audio
        if stream >= len(streams):
            raise UnreadableEpisode(path, f"has {len(streams)} audio streams; stream {stream} was asked for")
        # The mean of the channels is taken here: swresample's own mix to mono is louder and can leave [-1, 1].
        resampler = av.AudioResampler(format="fltp", rate=rate)
        interval = _Interval(streams[stream], 0.0, None)
        parts: list[NDArray[np.float32]] = []
        for packet in container.demux(streams[stream]):
            interval.count(packet, path)
            for frame in packet.decode():
                parts.extend(out.to_ndarray().mean(axis=0) for out in resampler.resample(frame))
        parts.extend(out.to_ndarray().mean(axis=0) for out in resampler.resample(None))
        interval.check_end(path)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


class _Interval:
    """[start, stop) of one stream, and what its container promises there."""

    def __init__(self, stream: Any, start: float, stop: float | None) -> None:
        self.stream = stream
        self.tick = float(stream.time_base)
        # Audio has no frame rate; its packets are some 20 ms long.
        rate = float(getattr(stream, "average_rate", None) or getattr(stream, "guessed_rate", None) or 25.0)
        self.half = 0.5 / rate
        self.start = start
        self.low = start - self.half if start > 0 else -np.inf
        self.high = np.inf if stop is None else stop - self.half
        self.expected: list[float] = []
        self.packets = 0
        self.end = -np.inf

    def seek(self, container: Any, run_up: int = 0) -> None:
        """Go to the last key frame that is at least `run_up` frames before the start, or to the first of all."""
        if self.start <= 0:
            return
        latest = self.start + self.half / 2 - run_up * 2 * self.half
        for back in STEPS_BACK:
            target = max(int((latest - back) / self.tick), self.stream.start_time or 0)
            container.seek(target, stream=self.stream)
            first = next((p.pts for p in container.demux(self.stream) if p.pts is not None), None)
            container.seek(target, stream=self.stream)
            if first is not None and first * self.tick <= latest:
                return

    def count(self, packet: Any, path: str) -> bool:
        """Note a packet: each that is to be shown promises one frame. True where its frame belongs to the interval."""
        if packet.is_corrupt:
            raise self.cut_off(path)
        if packet.pts is None:
            if packet.size:
                raise UnreadableEpisode(path, "has packets without a time stamp; write it again as mp4")
            return False  # the empty packet that flushes the decoder
        self.packets += 1
        seconds = packet.pts * self.tick
        self.end = max(self.end, seconds + (packet.duration or 0) * self.tick)
        wanted = self.low <= seconds < self.high and not packet.is_discard
        if wanted:
            self.expected.append(seconds)
        return wanted

    def is_past(self, ticks: int | None) -> bool:
        """True where nothing at or after this time can belong to the interval."""
        return ticks is not None and ticks * self.tick >= self.high

    def check_end(self, path: str) -> None:
        """Refuse a stream that ends before both the interval and the promised duration."""
        stream = self.stream
        if stream.duration is None or self.packets >= stream.frames > 0:
            return
        if self.end < min(self.promised, self.high) - self.half:
            raise self.cut_off(path)

    @property
    def promised(self) -> float:
        """Seconds at which the stream ends by its header."""
        return float((self.stream.start_time or 0) + (self.stream.duration or 0)) * self.tick

    def cut_off(self, path: str) -> UnreadableEpisode:
        """What is there and what the header promises, as an error."""
        frames = f" after {self.packets} of {self.stream.frames} frames" if self.stream.frames and self.start <= 0 else ""
        reason = f"cut off or damaged at {max(self.end, 0.0):.2f} s{frames}, its header promises {self.promised:.2f} s"
        return UnreadableEpisode(path, f"{reason}; fetch it again")


def _promised(container: Any, interval: _Interval, path: str, run_up: int = 0) -> Iterator[Promised]:
    """The packets from the key frame before the interval on, in the file's order, checked against what the container promises."""
    interval.seek(container, run_up)
    for packet in container.demux(interval.stream):
        wanted = interval.count(packet, path)
        if packet.pts is not None:
            yield Promised(packet.pts, packet.duration or 0, wanted)
        if interval.is_past(packet.dts):
            break
    interval.check_end(path)


def _frames(container: Any, interval: _Interval, path: str) -> Iterator[tuple[float, Any]]:
    """The frames of the interval in presentation order, checked against what the container promises."""
    interval.seek(container)
    last, shown, past = -np.inf, 0, False
    for packet in container.demux(interval.stream):
        interval.count(packet, path)
        for frame in packet.decode():
            seconds = np.nan if frame.pts is None else frame.pts * interval.tick
            if seconds < interval.low:
                continue
            past = past or seconds >= interval.high
            if past:
                break
            if frame.is_corrupt or not seconds > last:
                raise UnreadableEpisode(path, f"the frame after {max(last, 0.0):.3f} s is damaged; fetch it again")
            last, shown = seconds, shown + 1
            yield seconds, frame
        if past:
            break
    interval.check_end(path)
    if shown < len(interval.expected):
        reason = f"{shown} frames come out, its container promises {len(interval.expected)}; fetch it again"
        raise UnreadableEpisode(path, reason)


def _edited(frame: Any, picture: NDArray[np.uint8] | None) -> Any:
    if picture is None:
        return frame
    edited = av.VideoFrame.from_ndarray(picture, format="rgb24")
    edited.color_range = ColorRange.JPEG
    return edited


def _resized(frame: Any, scaler: VideoReformatter, size: tuple[int, int], path: str) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 the upright picture in RGB."""
    turns = _quarter_turns(frame, path)
    height, width = size[::-1] if turns % 2 else size
    shrinks = height <= frame.height and width <= frame.width
    picture = scaler.reformat(
        frame,
        width,
        height,
        "rgb24",
        src_colorspace=frame.colorspace,
        dst_colorspace=Colorspace.DEFAULT,
        interpolation=Interpolation.AREA if shrinks else Interpolation.BICUBIC,
        src_color_range=ColorRange.JPEG if frame.color_range == ColorRange.JPEG else ColorRange.MPEG,
    )
    return np.rot90(picture.to_ndarray(), turns)


def _quarter_turns(frame: Any, path: str) -> int:
    turns, rest = divmod(frame.rotation, 90)
    if rest:
        raise UnreadableEpisode(path, f"is to be shown turned by {frame.rotation} degrees; only quarter turns are read")
    return int(turns)


def _buffers(count: int, sizes: Sequence[tuple[int, int]]) -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.empty((count, height, width, 3), np.uint8) for height, width in sizes)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        with av.open(path, metadata_errors="ignore") as container:
            yield container
    except (FFmpegError, OSError) as error:
        raise UnreadableEpisode(path, f"cannot be decoded ({first_line(error)}); fetch it again") from error


def _video_streams(container: Any) -> list[Any]:
    return [stream for stream in container.streams.video if Disposition.attached_pic not in stream.disposition]


def _video_stream(container: Any, path: str, number: int) -> Any:
    streams = _video_streams(container)
    if number >= len(streams):
        raise UnreadableEpisode(path, f"has {len(streams)} video streams; stream {number} was asked for")
    if streams[number].codec_context is None:
        raise UnreadableEpisode(path, "is coded in a format that PyAV cannot decode; convert it to H.264, HEVC or AV1")
    return streams[number]


def _audio_info(stream: Any) -> AudioInfo:
    start = _seconds(stream.start_time, stream) or 0.0
    return AudioInfo(stream.rate, stream.channels, stream.codec_context.name, start, _seconds(stream.duration, stream))


def _seconds(ticks: int | None, stream: Any) -> float | None:
    return None if ticks is None else float(ticks * stream.time_base)
