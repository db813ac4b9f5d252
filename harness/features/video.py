"""The descriptor of a camera's frames: colour, brightness layout and edges, 98 numbers per frame."""

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.features.base import FrameDescriptor

SIDE = 32  # pixels: frames are described at this height and width
CELLS = 8  # the grid has 8 x 8 cells
BINS = 8  # of the histogram of each channel
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
CHUNK = 128  # frames at a time: their intermediates stay in the cache
PIXELS = SIDE * SIDE
# What a histogram of the 256 levels is multiplied by: sum, sum of squares, and the 8 bins.
_LEVELS = np.arange(256)[:, None]
_OF_LEVELS = np.concatenate([_LEVELS, _LEVELS**2, np.arange(BINS) == _LEVELS * BINS // 256], axis=1).astype(np.float64)

VIDEO_NAMES = (
    *(f"{statistic}_{channel}" for statistic in ("mean", "std") for channel in "rgb"),
    *(f"histogram_{channel}{i}" for channel in "rgb" for i in range(BINS)),
    *(f"gray_{row}_{column}" for row in range(CELLS) for column in range(CELLS)),
    "mean_abs_gx",
    "mean_abs_gy",
    "std_abs_gx",
    "std_abs_gy",
)


@dataclass(frozen=True)
class VideoDescriptor(FrameDescriptor):
    """Frames at 32 x 32, intensities from 0 to 1.

    Mean and standard deviation per channel, a histogram of 8 bins per channel that sums to 1, the mean gray level of 8 x 8
    cells, and mean and standard deviation of the absolute horizontal and vertical gradient of the gray image.
    """

    version: ClassVar[int] = 1
    size: ClassVar[tuple[int, int]] = (SIDE, SIDE)
    dim: ClassVar[int] = len(VIDEO_NAMES)
    name: str
    tracks: tuple[str, ...]

    def describe(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 32, 32, 3) uint8 RGB -> (n, 98) float32."""
        out = np.empty((len(frames), self.dim), np.float32)
        for start in range(0, len(frames), CHUNK):
            part = slice(start, start + CHUNK)
            planes = np.ascontiguousarray(frames[part].transpose(3, 0, 1, 2))
            out[part, :30] = _colour(planes)
            gray = _gray(planes)
            out[part, 30:94] = _cells(gray)
            out[part, 94:] = _edges(gray)
        return out


def _colour(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 30) mean, standard deviation and 8-bin histogram of (3, n, 32, 32) planes, from exact counts of the 256 levels."""
    channels, n = planes.shape[:2]
    image = np.arange(channels * n, dtype=np.intp)[:, None] * 256
    # Of the type that bincount counts with, written once.
    levels = np.add(planes.reshape(-1, PIXELS), image, dtype=np.intp)
    counts = np.bincount(levels.reshape(-1), minlength=image.size * 256)
    # Whole numbers below 2^53: the product is exact.
    sums = counts.reshape(-1, 256).astype(np.float64) @ _OF_LEVELS
    mean = sums[:, :1] / PIXELS
    std = np.sqrt(PIXELS * sums[:, 1:2] - sums[:, :1] ** 2) / PIXELS
    parts = np.concatenate([mean / 255, std / 255, sums[:, 2:] / PIXELS], axis=1).reshape(channels, n, -1)
    return np.concatenate([*parts[..., :1], *parts[..., 1:2], *parts[..., 2:]], axis=1)


def _gray(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 32, 32) gray levels from 0 to 1."""
    weights = LUMA / 255
    gray: NDArray[np.float32] = planes[0] * weights[0]
    for plane, weight in zip(planes[1:], weights[1:], strict=True):
        gray += plane * weight
    return gray


def _cells(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 64) mean gray level of 8 x 8 cells."""
    edge = SIDE // CELLS
    rows = reduce(np.add, (gray[:, i::edge] for i in range(edge)))
    cells: NDArray[np.float32] = reduce(np.add, (rows[:, :, i::edge] for i in range(edge)))
    return cells.reshape(len(gray), -1) / np.float32(edge**2)


def _edges(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4) mean of |gx| and of |gy|, then their standard deviations; central differences, one-sided at the border."""
    gradients = np.zeros((2, *gray.shape), np.float32)
    gx, gy = gradients
    np.subtract(gray[:, :, 2:], gray[:, :, :-2], out=gx[:, :, 1:-1])
    np.subtract(gray[:, 2:], gray[:, :-2], out=gy[:, 1:-1])
    gradients *= 0.5
    np.subtract(gray[:, :, 1:2], gray[:, :, :1], out=gx[:, :, :1])
    np.subtract(gray[:, :, -1:], gray[:, :, -2:-1], out=gx[:, :, -1:])
    np.subtract(gray[:, 1], gray[:, 0], out=gy[:, 0])
    np.subtract(gray[:, -1], gray[:, -2], out=gy[:, -1])
    size = np.abs(gradients, out=gradients).reshape(2, len(gray), -1)
    mean = size.mean(axis=2)
    size -= mean[..., None]
    std = np.sqrt(np.square(size, out=size).mean(axis=2))
    out: NDArray[np.float32] = np.concatenate([mean, std]).T
    return out
