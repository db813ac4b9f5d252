"""Decoding with torchcodec, the second decoder; why it is not the first: `docs/adr/0006-pyav-decodes-by-default.md`.

PyAV reads what the container promises and torchcodec is told those packets. So it scans nothing, both mean the same by the i-th
frame, and every frame that comes is checked against its promised time.

torchcodec gives whole RGB frames, which are shrunk after that; PyAV's are shrunk while they are turned to RGB. At the picture's
own size 8-bit video comes out the same to the bit, at any other size the colours differ by some steps. What torchcodec does not
say is that a frame was patched up after damage: such frames are shown, where PyAV refuses the file.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
from av.video.reformatter import ColorRange

from harness.card import first_line
from harness.errors import UnreadableEpisode

# Frames by which decoding begins before an interval: begun in the last few frames of a file with open groups of pictures, the
# H.264 decoder of FFmpeg 5 does not give the last one.
RUN_UP = 16
BATCH_BYTES = 16 * 2**20  # of whole frames in memory at once
FAULTS = (RuntimeError, ValueError, IndexError)  # what torchcodec raises


class Promised(NamedTuple):
    """A packet that is to be shown.

    Attributes:
        pts: When, in ticks of its stream.
        duration: Ticks; 0 where the container does not say.
        wanted: True where it belongs to the interval.
    """

    pts: int
    duration: int
    wanted: bool


def frames_of(path: str, stream: Any, packets: Sequence[Promised], threads: int) -> Iterator[tuple[float, av.VideoFrame]]:
    """Seconds of the file's clock and the upright RGB picture of every wanted packet, in presentation order.

    Args:
        path: The file.
        stream: Its stream, as PyAV gives it.
        packets: From a key frame before the interval on, in the file's order.
        threads: Decoder threads.

    Raises:
        UnreadableEpisode: A frame cannot be decoded, does not come at its time, or is turned by other than quarter turns.
    """
    begins, packets = packets[0] if packets else None, sorted(packets)
    wanted = [i for i, packet in enumerate(packets) if packet.wanted]
    if not wanted:
        return
    tick = float(stream.time_base)
    try:
        decoder = _opened(path, stream, [(packet, packet == begins) for packet in packets], threads)
        step = max(1, BATCH_BYTES // (3 * decoder.metadata.height * decoder.metadata.width))
        for begin in range(0, len(wanted), step):
            index = wanted[begin : begin + step]
            batch = decoder.get_frames_at(index)
            for i, seconds, picture in zip(index, batch.pts_seconds.tolist(), batch.data.numpy(), strict=True):
                promised = packets[i].pts * tick
                if not abs(seconds - promised) < tick / 2:
                    raise UnreadableEpisode(path, f"the frame at {promised:.3f} s does not come; fetch it again")
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.color_range = ColorRange.JPEG
                yield promised, frame
    except FAULTS as error:
        raise UnreadableEpisode(
            path, f"torchcodec cannot decode it ({first_line(error)}); fetch it again, or use PyAV"
        ) from error


def _opened(path: str, stream: Any, packets: Sequence[tuple[Promised, bool]], threads: int) -> Any:
    """A decoder that knows the packets, sorted, and at which one it must begin."""
    from torchcodec.decoders import VideoDecoder  # noqa: PLC0415
    from torchcodec.transforms import CenterCrop  # noqa: PLC0415

    rows = [{"pts": packet.pts, "duration": packet.duration, "key_frame": int(begins)} for packet, begins in packets]
    options = {
        "stream_index": stream.index,
        "dimension_order": "NHWC",
        "num_ffmpeg_threads": threads,
        "device": "cpu",
        "custom_frame_mappings": json.dumps({"frames": rows}),
    }
    decoder = VideoDecoder(path, **options)
    about = decoder.metadata
    if (about.rotation or 0.0) % 90:
        raise UnreadableEpisode(path, f"is to be shown turned by {about.rotation:g} degrees; only quarter turns are read")
    context = stream.codec_context
    if context.color_range == ColorRange.JPEG and not str(context.pix_fmt).startswith("yuvj") and not about.rotation:
        # Its fast conversion does not look at the range of AV1 and VP9, its filter graph does; a crop of nothing leads there.
        decoder = VideoDecoder(path, transforms=[CenterCrop((about.height, about.width))], **options)
    return decoder
