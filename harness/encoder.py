"""Frozen encoders: what turns a clip of frames into the latent that a task asks for.

An encoder is found by its name in the entry point group `espalier.encoders`, like a branch in its own, so that the harness knows
none. It is fixed before a run begins: nothing that is fitted in a run can define a target.
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from harness.card import suggest
from harness.errors import BadInput

ENCODERS = "espalier.encoders"


class Encoder(ABC):
    """A frozen encoder. Its frames and shape are known without any weights, which are loaded when it first encodes.

    A clip is `frames` frames of the main camera, `stride` reference samples apart, the last one at the sample it is named by.

    Attributes:
        name: As in `future_latent[NAME]` and in the entry point group.
        height: Of a frame, pixels.
        width: Of a frame, pixels.
        frames: Of a clip.
        stride: Reference samples between two frames of a clip.
        shape: Of a latent; the first axis is time, the last one the channel.
        pretrained_on: Ids of the episodes the weights have seen, where known.
    """

    name: str
    height: int
    width: int
    frames: int
    stride: int
    shape: tuple[int, ...]
    pretrained_on: tuple[str, ...] = ()

    @property
    def span(self) -> int:
        """Reference samples from the first to the last frame of a clip, both counted."""
        return self.stride * (self.frames - 1) + 1

    def check_fits(self, length: int) -> None:
        """A clip must fit into a window: it would reach behind t0 otherwise, and behind what a view shows.

        Raises:
            BadInput: It does not fit `length` reference samples.
        """
        if self.span > length:
            raise BadInput(
                f"encoder {self.name} looks at clips of {self.span} samples and a window has {length}; "
                f"give windows.length={self.span}"
            )

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the weights and of everything that changes what `encode` gives; keys the latents in the store.

        Raises:
            BadInput: It has no weights: its model folder was not given, or is not what it expects.
        """

    @abstractmethod
    def encode(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, frames, height, width, 3) uint8 RGB -> (n, *shape) latents, in a scale in which channels compare.

        Deterministic; a latent depends on its own clip alone, to the last bit: neither on the other clips of the call nor on
        their number.
        """

    def without_weights(self) -> Any:
        """Its frozen model on torch's meta device, which takes no memory; None where it cannot tell its shape."""
        return None


def encoder_names() -> list[str]:
    """Every registered encoder, without importing any."""
    return sorted(point.name for point in entry_points(group=ENCODERS))


@lru_cache(maxsize=8)
def get_encoder(name: str, folder: str | None = None) -> Encoder:
    """An encoder by its name.

    Args:
        name: As registered.
        folder: Model folder, where it comes without weights (`encoders.NAME=FOLDER`); None = its own.

    Raises:
        BadInput: No such encoder.
    """
    points = {point.name: point for point in entry_points(group=ENCODERS)}
    if name not in points:
        raise BadInput(f"encoder {name!r} is not known{suggest(name, sorted(points))}")
    try:
        make = points[name].load()
    except (ImportError, AttributeError) as error:
        raise BadInput(f"encoder {name!r} ({points[name].value}) cannot be imported: {error}; install what it needs") from error
    return cast(Encoder, make(folder))
