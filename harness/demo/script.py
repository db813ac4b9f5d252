"""Who does what when: the chores, the sessions with their own tempo and layout, and the script of one episode."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.episode import FloatArray

PICK, USE, PLACE = 0, 1, 2
LEFT, RIGHT = 0, 1
TABLE_HEIGHT = -1.0
"""World z of the table top in metres; the floor is at -1.75 and z points up."""

ACTION_SECONDS = 1.67
"""Mean length of an action. Three actions make a subtask, so that 100 frames (5 s) ahead is the next subtask's same action."""

HELD_FROM, HELD_TO = 0.62, 0.38
"""A tool is held from this share of its PICK action to that share of its PLACE action."""


@dataclass(frozen=True)
class Chore:
    """One subtask: pick a tool up, use it, put it back.

    Attributes:
        subtask: Label of the subtask.
        actions: Labels of its three actions.
        sentences: What the caption says before the hand holds the tool, while it does, and after.
        tool: Object that is held.
        target: Object or place it is used on.
        hand: LEFT or RIGHT.
        grip: Closure of the fingers around the tool, 0..1.
        above: Palm above the target while in use, metres (right, forward, up).
        tilt: Roll of the hand while in use, radians.
        stroke: Amplitude of the periodic motion while in use, metres (right, forward, up).
        rate: Strokes per second.
        pitch: Ring of the tool when it is touched, Hz.
    """

    subtask: str
    actions: tuple[str, str, str]
    sentences: tuple[str, str, str]
    tool: str
    target: str
    hand: int
    grip: float
    above: tuple[float, float, float]
    tilt: float
    stroke: tuple[float, float, float]
    rate: float
    pitch: float

    def objects(self, slot: int) -> list[str]:
        """Names of the objects that matter in action `slot` of this chore."""
        return [[self.tool], [self.tool, self.target], [self.tool, "tray"]][slot]


def _sentences(hand: str, tool: str, doing: str) -> tuple[str, str, str]:
    return (
        f"The {hand} hand reaches for the {tool}.",
        f"The {hand} hand {doing}.",
        f"The {hand} hand lets go of the {tool}.",
    )


CHORES: tuple[Chore, ...] = (
    Chore(
        subtask="pour a drink",
        actions=("pick up the bottle", "pour water", "put down the bottle"),
        sentences=_sentences("right", "bottle", "holds the bottle over the cup and pours"),
        tool="bottle",
        target="cup",
        hand=RIGHT,
        grip=0.55,
        above=(0.09, 0.0, 0.20),
        tilt=-1.7,
        stroke=(0.0, 0.03, 0.04),
        rate=1.2,
        pitch=1200.0,
    ),
    Chore(
        subtask="stir the drink",
        actions=("pick up the spoon", "stir the drink", "put down the spoon"),
        sentences=_sentences("right", "spoon", "stirs the cup with the spoon"),
        tool="spoon",
        target="cup",
        hand=RIGHT,
        grip=0.95,
        above=(0.03, -0.03, 0.15),
        tilt=0.3,
        stroke=(0.07, 0.07, 0.0),
        rate=1.2,
        pitch=3400.0,
    ),
    Chore(
        subtask="wipe the plate",
        actions=("pick up the sponge", "wipe the plate", "put down the sponge"),
        sentences=_sentences("left", "sponge", "rubs the plate with the sponge"),
        tool="sponge",
        target="plate",
        hand=LEFT,
        grip=0.35,
        above=(0.0, 0.0, 0.05),
        tilt=0.0,
        stroke=(0.13, 0.03, 0.0),
        rate=1.2,
        pitch=300.0,
    ),
    Chore(
        subtask="season the soup",
        actions=("pick up the shaker", "shake salt into the bowl", "put down the shaker"),
        sentences=_sentences("left", "shaker", "shakes the shaker above the bowl"),
        tool="shaker",
        target="bowl",
        hand=LEFT,
        grip=0.75,
        above=(0.0, 0.0, 0.22),
        tilt=2.2,
        stroke=(0.02, 0.0, 0.08),
        rate=1.2,
        pitch=2200.0,
    ),
)
"""Every session pours and stirs; sessions 0, 2, ... also wipe, sessions 1, 3, ... also season."""

HOMES: dict[str, tuple[float, float, float]] = {
    "bottle": (0.30, 0.54, 0.07),
    "cup": (0.06, 0.50, 0.04),
    "spoon": (0.20, 0.38, 0.02),
    "sponge": (-0.30, 0.42, 0.03),
    "plate": (-0.12, 0.54, 0.02),
    "shaker": (-0.32, 0.56, 0.05),
    "bowl": (-0.12, 0.40, 0.03),
}
"""Where things stand in a typical layout: metres right of the person, in front, above the table."""


@dataclass(frozen=True, eq=False)
class Session:
    """What the episodes of one sitting share.

    Attributes:
        uuid: Name of the session's folder; sorts as the sessions were made.
        index: 0, 1, ... in the data set.
        chores: Indices into `CHORES`, in the order of the cycle.
        tempo: Mean seconds per action.
        homes: Object -> (3,) world metres.
        palette: Name of a surface -> (3,) RGB in 0..1.
        light: (3,) gain of the lamp per colour.
        hum: Pitch of the room's hum, Hz.
        size: Size of the person, 1 = mean.
    """

    uuid: str
    index: int
    chores: tuple[int, ...]
    tempo: float
    homes: dict[str, FloatArray]
    palette: dict[str, FloatArray]
    light: FloatArray
    hum: float
    size: float


COLOURS: dict[str, tuple[float, float, float]] = {
    "bottle": (0.15, 0.55, 0.25),
    "cup": (0.85, 0.85, 0.9),
    "spoon": (0.7, 0.72, 0.75),
    "sponge": (0.95, 0.8, 0.2),
    "plate": (0.9, 0.88, 0.82),
    "shaker": (0.75, 0.2, 0.2),
    "bowl": (0.3, 0.4, 0.8),
    "water": (0.35, 0.6, 0.95),
    "skin": (0.82, 0.6, 0.48),
    "sleeve": (0.35, 0.3, 0.45),
    "table": (0.55, 0.4, 0.28),
    "wall": (0.7, 0.7, 0.65),
    "floor": (0.3, 0.28, 0.3),
    "tray": (0.25, 0.2, 0.2),
}
"""Typical RGB of what the cameras see; every session has its own shades."""


def draw_session(seed: int, index: int) -> Session:
    """The layout, colours, tempo and lighting of session `index` of the data set with this seed."""
    rng = np.random.default_rng([seed, index])
    digits = hashlib.blake2b(f"espalier demo {seed} {index}".encode(), digest_size=15).hexdigest()
    # The index in front makes the sorted order of ids the order of generation.
    name = f"{index:04x}{digits}"
    uuid = "-".join((name[:8], name[8:12], "4" + name[13:16], "a" + name[17:20], name[20:32]))
    shift = rng.uniform(-0.03, 0.03, 2)
    homes: dict[str, FloatArray] = {}
    for thing, (x, y, z) in HOMES.items():
        jitter = shift + rng.uniform(-0.025, 0.025, 2)
        homes[thing] = np.array([x + jitter[0], y + jitter[1], TABLE_HEIGHT + z])
    strong = {"table", "wall", "floor", "sleeve"}
    palette: dict[str, FloatArray] = {
        thing: np.clip(np.array(colour) + rng.uniform(-1, 1, 3) * (0.11 if thing in strong else 0.06), 0.05, 0.95)
        for thing, colour in COLOURS.items()
    }
    return Session(
        uuid=uuid,
        index=index,
        chores=(0, 1, 2 + index % 2),
        tempo=ACTION_SECONDS * rng.uniform(0.94, 1.06),
        homes=homes,
        palette=palette,
        light=rng.uniform(0.82, 1.08) * (1 + rng.uniform(-0.08, 0.08, 3)),
        hum=110.0 * 1.7 ** (index % 4) * rng.uniform(0.95, 1.05),
        size=float(rng.uniform(0.94, 1.06)),
    )


@dataclass(frozen=True, eq=False)
class Script:
    """The actions of one episode, from before its start to after its end.

    Attributes:
        chore: (K,) indices into `CHORES`.
        slot: (K,) PICK, USE or PLACE.
        start: (K,) seconds from the first frame, rising; action k ends where k + 1 starts.
        duration: (K,) seconds.
    """

    chore: NDArray[np.int64]
    slot: NDArray[np.int64]
    start: FloatArray
    duration: FloatArray

    def at(self, times: FloatArray) -> NDArray[np.int64]:
        """(T,) index of the action that runs at each time."""
        return np.searchsorted(self.start, times, side="right") - 1


def write_script(session: Session, seconds: float, rng: np.random.Generator) -> Script:
    """Chores in the order of the session's cycle, now and then one left out."""
    count = int(np.ceil(seconds / (3 * session.tempo))) + 5
    advance = np.where(rng.random(count) < 0.01, 2, 1)
    order = (rng.integers(len(session.chores)) + np.cumsum(advance)) % len(session.chores)
    chore = np.repeat(np.array(session.chores)[order], 3)
    slot = np.tile([PICK, USE, PLACE], count)
    duration = session.tempo * np.array([1.2, 0.8, 1.0])[slot] * rng.uniform(0.95, 1.05, len(slot))
    start = np.concatenate([[0.0], np.cumsum(duration)[:-1]]) - session.tempo * rng.uniform(3, 6)
    return Script(chore, slot, start, duration)
