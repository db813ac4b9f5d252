"""Windows as the model sees and hears them: a few frames up to t0 and the sound between the first and the last frame."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from harness.branch import FramesWant
from harness.episode import BoolArray
from harness.window import View

SOUND = "audio/"
SAMPLING_RATE = 16_000


@dataclass(frozen=True, eq=False)
class Clips:
    """Frames and sound of m windows.

    Attributes:
        frames: (m, F, size, size, 3) uint8 RGB, oldest first, the last one at t0.
        sound: (m, S) float32 mono at `SAMPLING_RATE`, up to t0; S = 0 where none is heard.
        fps: Frames per second.
    """

    frames: NDArray[np.uint8]
    sound: NDArray[np.float32]
    fps: float

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, index: NDArray) -> "Clips":
        """The windows at `index`."""
        return Clips(self.frames[index], self.sound[index], self.fps)


def shown_frames(steps: int, frames: int) -> NDArray[np.int64]:
    """(frames,) which of `steps` reference samples are looked at: evenly spaced, the last one among them."""
    return (steps - 1 - np.arange(frames - 1, -1, -1) * (steps // frames)).astype(np.int64)


def clips_of(view: View, want: FramesWant, frames: int, *, listens: bool) -> tuple[Clips, BoolArray, BoolArray]:
    """What one view shows.

    Args:
        view: As observed.
        want: The frames that were asked for.
        frames: How many of them.
        listens: False leaves sound out.

    Returns:
        The clips, (B,) where all frames are there, and (B,) where all of the sound is. What is not there is zero.
    """
    batch, steps = view.times.shape
    index = shown_frames(steps, min(frames, steps))
    fps = 1.0 / max(float(np.median(np.diff(view.times, axis=1))) * (steps // len(index)), 1e-6) if steps > 1 else 1.0
    seen: BoolArray = np.zeros(batch, bool)
    pictures: NDArray[np.uint8] = np.zeros((batch, len(index), want.height, want.width, 3), np.uint8)
    track = view.tracks.get(want.pattern)
    if track is not None:
        seen = np.asarray(track.valid[:, index].all(axis=1), bool)
        pictures = np.where(seen[:, None, None, None, None], track.values[:, index], 0).astype(np.uint8)
    sound, heard = _sound(view) if listens else (np.zeros((batch, 0), np.float32), np.zeros(batch, bool))
    return Clips(pictures, sound, fps), seen, heard


def _sound(view: View) -> tuple[NDArray[np.float32], BoolArray]:
    """(B, S) sound since the first frame of the window, of the first sound track by name; and where all of it is measured."""
    batch = len(view.times)
    name = min((name for name, track in view.tracks.items() if name.startswith(SOUND) and track.rate), default=None)
    if name is None:
        return np.zeros((batch, 0), np.float32), np.zeros(batch, bool)
    track = view.tracks[name]
    assert track.rate is not None
    heard = np.asarray(track.valid[:, 1:].all(axis=1), bool)
    pieces = track.values[:, 1:]
    sound = pieces.reshape(batch, pieces.shape[1] * pieces.shape[2], -1).mean(axis=2)
    ratio = Fraction(SAMPLING_RATE, round(track.rate))
    if ratio != 1:
        sound = resample_poly(sound, ratio.numerator, ratio.denominator, axis=1)
    return np.where(heard[:, None], sound, 0).astype(np.float32), heard
