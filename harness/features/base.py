"""A feature block: one named group of window features. A descriptor: what ingest computes per frame so that windows are cheap.

Descriptors are stored beside the tracks (decoded once); blocks are statistics over windows of descriptors or of small tracks.
Both depend on nothing but samples up to their own time, so a window's features end at its t0.
"""

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, Track


class Descriptor(ABC):
    """A per-frame summary that ingest derives from tracks too heavy to keep or to reread.

    Attributes:
        name: Name of the derived track, e.g. `descriptor/video/fisheye_cam0`.
        tracks: Tracks it is made from: what a task must allow for it to be seen.
        version: Raised when the numbers change; part of the store's key.
    """

    version: ClassVar[int]
    name: str
    tracks: tuple[str, ...]


class FrameDescriptor(Descriptor):
    """A descriptor of decoded frames, computed chunk by chunk while the video is decoded.

    Attributes:
        size: Height and width of the frames it wants, uint8 RGB.
        dim: Numbers per frame.
    """

    size: ClassVar[tuple[int, int]]
    dim: ClassVar[int]

    @abstractmethod
    def describe(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, height, width, 3) uint8 -> (n, dim) float32; frame by frame, so chunks may be cut anywhere."""


class EpisodeDescriptor(Descriptor):
    """A descriptor of other heavy tracks (depth, audio), computed from the episode as read, in chunks of its own."""

    @abstractmethod
    def describe(self, episode: Episode) -> Track:
        """The derived track, on the reference timeline or a clock of its own; a value uses nothing after its own time."""


@dataclass(frozen=True)
class Block(ABC):
    """One group of window features.

    Attributes:
        name: As in the manifest, e.g. `hand_left_joints`.
        reads: Tracks it reads from the stored episode (descriptors included).
        sources: Tracks these were made from: what a task must allow for the block to be seen.
    """

    name: str
    reads: tuple[str, ...]
    sources: tuple[str, ...]

    @abstractmethod
    def columns(self, episode: Episode) -> list[str]:
        """Names of its numbers; their count is the block's width (it may depend on the data: robots differ in dims)."""

    def fixed_columns(self) -> list[str] | None:
        """Names of its numbers where the format fixes them, so that no episode is needed; None where they depend on the data."""
        return None

    @abstractmethod
    def compute(self, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
        """Features of windows of `length` reference samples; no Python loop over windows.

        Args:
            episode: As the track store gives it.
            starts: (n,) first reference sample of each window.
            length: Reference samples per window.

        Returns:
            (n, width) float32, finite, and (n,) bool: True where the inputs were measured in the window. Rows that are not
            valid are 0 and masked, never to be read as a value.
        """

    def possible(self, tracks: Container[str]) -> bool:
        """True where the block can be made of tracks of these names: those it reads."""
        return all(name in tracks for name in self.reads)

    def available(self, episode: Episode) -> bool:
        """True where the episode has the tracks that the block can be made of."""
        return self.possible(episode.tracks)
