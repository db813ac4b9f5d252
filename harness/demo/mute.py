"""Mechanisms that can be silenced, to see the tasks that rely on them fall to the floor, and what is written in their place."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.demo.body import Body
from harness.demo.camera import DEPTH_SIZE, SIZE
from harness.demo.video import Planes
from harness.errors import BadInput

MUTES: dict[str, str] = {
    "audio": "white noise of one loudness",
    "video": "every frame of every camera one grey of its own, drawn at random",
    "depth": "every depth map one plane at a random distance",
    "senses": "video, depth and audio together",
    "hands": "a random walk of both hands: nothing foretells where they go, and they hold nothing",
    "body": "one still body",
    "contacts": "rare contacts at random times",
    "camera": "one still camera pose",
    "imu": "gravity and noise, no motion",
    "gaze": "the head looks at one point",
    "order": "the first moment held for ever, in silence, with one sentence: nothing comes before or after anything",
    "captions": "actions and subtasks follow a slow random script of their own, objects and sentences another",
}


def silenced(mute: str | None) -> frozenset[str]:
    """The signals that a value of `--mute` silences.

    Args:
        mute: A key of `MUTES`, or None for nothing.

    Raises:
        BadInput: The value is not known.
    """
    if mute is None:
        return frozenset()
    if mute not in MUTES:
        raise BadInput(f"--mute {mute}: no such mechanism in the demo data; choose one of {', '.join(MUTES)}")
    return frozenset({"video", "depth", "audio"}) if mute == "senses" else frozenset({mute})


def grey_images(count: int, rng: np.random.Generator) -> Iterator[Planes]:
    """Frames of one grey each."""
    chroma = bytes([128]) * (SIZE // 2) ** 2
    for grey in rng.integers(30, 220, count):
        yield bytes([grey]) * SIZE**2, chroma, chroma


def level_depth(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """Depth maps of one distance each (count, D, D), and confidences of one value each."""
    shape = (count, DEPTH_SIZE, DEPTH_SIZE)
    depth = np.broadcast_to(rng.uniform(0.4, 3.0, (count, 1, 1)), shape).astype(np.float16)
    return depth, np.broadcast_to(rng.integers(60, 250, (count, 1, 1)), shape).astype(np.uint8)


def still_body(body: Body) -> Body:
    """The body of the first frame, for ever; contacts stay."""
    first = np.zeros(len(body.contacts), int)
    return replace(body, keypoints=body.keypoints[first], quaternions=body.quaternions[first])


def random_contacts(body: Body, rng: np.random.Generator) -> Body:
    """Contacts of 3 frames each at random times, on joint 21.

    They are rare: a guesser of both classes of an even split reaches a macro-F1 of 0.5, a constant answer only a third.
    """
    contacts = np.zeros_like(body.contacts)
    starts = rng.random(len(contacts)) < 0.005
    contacts[:, 20] = np.convolve(starts, np.ones(3))[: len(contacts)] > 0
    return replace(body, contacts=contacts)
