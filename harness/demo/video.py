"""Encodes one camera: H.264, and AAC beside it where the camera has the microphone. Equal input gives equal bytes."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from harness.demo.camera import SIZE
from harness.demo.motion import FPS
from harness.demo.sound import SAMPLE_RATE
from harness.episode import FloatArray

Planes = tuple[bytes, bytes, bytes]
"""Luma (SIZE x SIZE) and two chroma planes (SIZE / 2 square) of one frame, row by row."""


def _vignette() -> NDArray[np.uint16]:
    """(SIZE * SIZE,) how much light gets through to each pixel, 256 = all."""
    offset = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    return np.rint(256 * (1 - 0.8 * np.add.outer(offset**2, offset**2))).astype(np.uint16).ravel()


_VIGNETTE = _vignette()


def planes(codes: NDArray[np.uint8], table: NDArray[np.uint8]) -> Planes:
    """One frame in YUV 4:2:0.

    Args:
        codes: (SIZE, SIZE) uint8 surface codes.
        table: (3, 256) uint8 luma and chroma of each code.
    """
    coarse = np.ascontiguousarray(codes[::2, ::2]).tobytes()
    luma, blue, red = (row.tobytes() for row in table)
    full = np.frombuffer(codes.tobytes().translate(luma), np.uint8)
    dimmed = ((full * _VIGNETTE) >> 8).astype(np.uint8)
    return dimmed.tobytes(), coarse.translate(blue), coarse.translate(red)


def write_video(path: Path, frames: Iterable[Planes], sound: FloatArray | None) -> None:
    """Write an mp4.

    Args:
        path: Where.
        frames: FPS per second.
        sound: (samples,) mono at SAMPLE_RATE, or None for a silent file.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # A constant quantiser: a scene that stands still decodes to frames that are equal.
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "threads": "1", "qp": "30"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = 2 * FPS
        video.codec_context.time_base = Fraction(1, FPS)
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            audio.bit_rate = 64_000
        for stream in container.streams:
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        per_frame = SAMPLE_RATE // FPS
        for number, parts in enumerate(frames):
            image = av.VideoFrame(SIZE, SIZE, "yuv420p")
            for plane, part in zip(image.planes, parts, strict=True):
                plane.update(part)
            image.pts = number
            container.mux(video.encode(image))
            if audio is not None and sound is not None:
                chunk = sound[number * per_frame : (number + 1) * per_frame].astype(np.float32)
                piece = av.AudioFrame.from_ndarray(chunk[None], format="fltp", layout="mono")
                piece.sample_rate, piece.pts = SAMPLE_RATE, number * per_frame
                piece.time_base = Fraction(1, SAMPLE_RATE)
                container.mux(audio.encode(piece))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
