"""What stands on the table and what hands and arms are made of: balls, each with a paint."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.demo.body import tool_places
from harness.demo.hand import FINGER_JOINTS, HandPose
from harness.demo.motion import Motion
from harness.demo.script import CHORES, Session
from harness.episode import FloatArray

PAINTS = ("bottle", "cup", "spoon", "sponge", "plate", "shaker", "bowl", "water", "skin", "sleeve")
"""Surfaces of the palette of a session that balls have."""


@dataclass(frozen=True, eq=False)
class Balls:
    """Everything that is not the room: P balls over T frames.

    Attributes:
        place: (T, P, 3) centres, world metres.
        radius: (T, P) metres; 0 where there is nothing.
        paint: (P,) index into `PAINTS`.
    """

    place: FloatArray
    radius: FloatArray
    paint: NDArray


def _things() -> list[tuple[str, int, FloatArray, FloatArray]]:
    """Paint, chore whose tool it is (-1: never moves), (P, 3) offsets and (P,) radii of each thing's balls."""

    def stack(heights: list[float], radii: list[float]) -> tuple[FloatArray, FloatArray]:
        return np.array([[0.0, 0.0, h] for h in heights]), np.array(radii)

    def ring(count: int, radius: float, ball: float) -> tuple[FloatArray, FloatArray]:
        turn = np.arange(count) * 2 * np.pi / count
        return np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1) * radius, np.full(count, ball)

    spoon = np.array([[0.025 * (k - 2), 0.0, 0.0] for k in range(6)]), np.array([0.016, *[0.008] * 5])
    sponge = np.array([[x, y, 0.0] for x in (-0.03, 0.0, 0.03) for y in (-0.02, 0.02)]), np.full(6, 0.028)
    return [
        ("bottle", 0, *stack([-0.05, -0.01, 0.03, 0.07, 0.10, 0.13], [0.036, 0.036, 0.036, 0.03, 0.018, 0.016])),
        ("spoon", 1, *spoon),
        ("sponge", 2, *sponge),
        ("shaker", 3, *stack([-0.03, 0.0, 0.03], [0.026, 0.026, 0.022])),
        ("cup", -1, *stack([-0.02, 0.01, 0.03], [0.042, 0.045, 0.045])),
        ("water", -1, *stack([0.055], [0.034])),
        ("plate", -1, *ring(14, 0.085, 0.02)),
        ("bowl", -1, *ring(10, 0.055, 0.028)),
    ]


def build_balls(motion: Motion, hands: tuple[HandPose, HandPose], elbows: FloatArray, session: Session) -> Balls:
    """All balls of the scene.

    Args:
        motion: T samples.
        hands: Left and right, T samples.
        elbows: (T, 2, 3) left and right, world metres.
        session: Layout; things of chores that the session lacks are not on the table.
    """
    places, radii, paints = [], [], []

    def add(paint: str, place: FloatArray, radius: FloatArray) -> None:
        places.append(place)
        radii.append(np.broadcast_to(radius, place.shape[:2]))
        paints.append(np.full(place.shape[1], PAINTS.index(paint)))

    tools = tool_places(motion, session)
    present = {name for number in session.chores for name in (CHORES[number].tool, CHORES[number].target, "water")}
    for name, chore, offset, radius in _things():
        if name not in present:
            continue
        if chore < 0:
            spot = session.homes["cup" if name == "water" else name]
            add(name, np.broadcast_to(spot + offset, (len(motion.times), *offset.shape)), radius)
            continue
        axes = np.where(motion.holds[chore][:, None, None], hands[CHORES[chore].hand].turn, np.eye(3))
        add(name, tools[chore][:, None] + offset @ axes.transpose(0, 2, 1), radius)
    add("water", *_stream(motion, hands, session))
    for side, hand in enumerate(hands):
        add("skin", *_flesh(hand, session.size))
        share = np.linspace(0.12, 1.0, 7)[:, None]
        arm = hand.joints[:, :1] + share * (elbows[:, side] - hand.joints[:, 0])[:, None]
        add("sleeve", arm, np.linspace(0.024, 0.042, 7) * session.size)
    return Balls(np.concatenate(places, axis=1), np.concatenate(radii, axis=1), np.concatenate(paints))


def _flesh(hand: HandPose, size: float) -> tuple[FloatArray, FloatArray]:
    """Balls at the joints, between them and over the palm."""
    knuckles = hand.joints[:, FINGER_JOINTS[:, 0]]
    bones = (hand.joints[:, FINGER_JOINTS[:, 1:]] + hand.joints[:, FINGER_JOINTS[:, :-1]]) / 2
    wrist = hand.joints[:, :1]
    palm = [wrist + share * (knuckles - wrist) for share in (0.35, 0.7)]
    place = np.concatenate([hand.joints, bones.reshape(len(wrist), 15, 3), *palm], axis=1)
    radius = np.concatenate([[0.022], np.full(35, 0.0105), np.full(10, 0.017)]) * size
    return place, np.broadcast_to(radius, place.shape[:2])


def _stream(motion: Motion, hands: tuple[HandPose, HandPose], session: Session) -> tuple[FloatArray, FloatArray]:
    """Water from the neck of the bottle into the cup while it is poured."""
    pour = CHORES[0]
    neck = motion.palm[pour.hand] + hands[pour.hand].turn[:, :, 2] * 0.14
    share = np.linspace(0.0, 1.0, 7)[None, :, None]
    place = neck[:, None] + share * (session.homes["cup"] - neck)[:, None]
    flows = motion.holds[0] * motion.using
    return place, np.repeat((0.011 * (flows > 0.4) * flows)[:, None], 7, axis=1)
