"""The one motion behind an episode: two hands, the head and the tools, at 200 Hz.

Hands follow minimum-jerk reaches; the head turns to the coming object before the hand leaves for it; the torso leans in and the
idle hand creeps forward as an action goes on, and both snap back when the next one starts; the person slowly slides down in
the chair. World frame: x right, y forward, z up, metres. Device (body) frame on the head: x forward, y left, z up.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from harness.demo.script import CHORES, HELD_FROM, HELD_TO, LEFT, PICK, PLACE, RIGHT, TABLE_HEIGHT, USE, Script, Session
from harness.episode import BoolArray, FloatArray

RATE = 200
"""Samples of the motion, and of the IMU, per second."""
FPS = 20
STEP = RATE // FPS

HEAD = np.array([0.0, 0.0, TABLE_HEIGHT + 0.52])
REST = np.array([[-0.20, 0.20, TABLE_HEIGHT + 0.07], [0.20, 0.20, TABLE_HEIGHT + 0.07]])
"""Palms at rest, left then right."""
AT_EASE = 0.15
"""Closure of a hand at rest."""
HAND = np.array([chore.hand for chore in CHORES])
SNAP = 0.35
"""Seconds that the recoil at the start of an action takes."""
GAZE_LEAD = 0.55
"""The head turns to the object of the next action when this share of the present one is still to come."""


@dataclass(frozen=True, eq=False)
class Motion:
    """The state of the scene at M times, 1 / RATE seconds apart.

    Attributes:
        times: (M,) seconds from the first frame.
        palm: (2, M, 3) grasp points of the left and the right hand, world metres.
        velocity: (2, M, 3) of the palms, m/s.
        tilt: (2, M) roll of the hands, radians.
        grip: (2, M) closure of the fingers, 0..1.
        holds: (4, M) True while the tool of each chore is held.
        using: (M,) 0..1, how much the tool is in use.
        head: (M, 3) origin of the device frame in the world, metres.
        turn: (M, 3, 3) rotation device -> world.
        lean: (M,) 0..1, how far the torso leans in within the action; it snaps back at the start of the next.
        slide: (M,) 0..1, how far the person has slid down in the chair; it never comes back.
        light: (M,) daylight, 1 = full: it fades, and clouds pass.
    """

    times: FloatArray
    palm: FloatArray
    velocity: FloatArray
    tilt: FloatArray
    grip: FloatArray
    holds: BoolArray
    using: FloatArray
    head: FloatArray
    turn: FloatArray
    lean: FloatArray
    slide: FloatArray
    light: FloatArray

    def at(self, rows: np.ndarray) -> "Motion":
        """The samples `rows`, in that order."""
        return Motion(
            times=self.times[rows],
            palm=self.palm[:, rows],
            velocity=self.velocity[:, rows],
            tilt=self.tilt[:, rows],
            grip=self.grip[:, rows],
            holds=self.holds[:, rows],
            using=self.using[rows],
            head=self.head[rows],
            turn=self.turn[rows],
            lean=self.lean[rows],
            slide=self.slide[rows],
            light=self.light[rows],
        )


def minimum_jerk(phase: FloatArray) -> FloatArray:
    """Share of the way covered at `phase` (clipped to 0..1) of a minimum-jerk move."""
    u = np.clip(phase, 0.0, 1.0)
    covered: FloatArray = u**3 * (10 - 15 * u + 6 * u**2)
    return covered


def _brisk(phase: FloatArray) -> FloatArray:
    """A minimum-jerk move with a fast attack and a slow release."""
    return minimum_jerk(1 - (1 - np.clip(phase, 0.0, 1.0)) ** 1.5)


_PALM = (
    (PICK, 0.00, 0.50, "above"),
    (PICK, 0.50, 0.12, "tool"),
    (PICK, 0.66, 0.34, "lifted"),
    (USE, 0.00, 0.40, "use"),
    (PLACE, 0.00, 0.34, "tool"),
    (PLACE, 0.38, 0.12, "above"),
    (PLACE, 0.50, 0.42, "rest"),
)
_GRIP = ((PICK, 0.0, 0.3, "open"), (PICK, 0.48, 0.14, "closed"), (PLACE, 0.36, 0.12, "open"), (PLACE, 0.6, 0.3, "rest"))
_TILT = ((USE, 0.2, 0.3, "use"), (PLACE, 0.0, 0.3, "rest"))
"""What a hand does in each action: (slot, start and length as shares of the action, where to)."""


@dataclass(frozen=True, eq=False)
class Moves:
    """Moves one after another: from the last target to `target[k]` (D numbers), from `start[k]` on, in `length[k]` seconds."""

    start: FloatArray
    length: FloatArray
    target: FloatArray

    def at(self, times: FloatArray) -> FloatArray:
        """(T, D) position at each time. A move is over before the next one starts."""
        order = np.argsort(self.start, kind="stable")
        start, target = self.start[order], self.target[order]
        length = np.maximum(np.minimum(self.length[order], np.diff(start, append=np.inf)), 1e-3)
        k = np.maximum(np.searchsorted(start, times, side="right") - 1, 0)
        before = target[np.maximum(k - 1, 0)]
        place: FloatArray = before + (target[k] - before) * _brisk((times - start[k]) / length[k])[:, None]
        return place


def _plan(
    plan: tuple[tuple[int, float, float, str], ...], places: dict[str, FloatArray], script: Script, mine: BoolArray
) -> Moves:
    """The moves of one hand over a script.

    Args:
        plan: As `_PALM`.
        places: Name of a place -> (K, D) where it is for each action.
        script: K actions.
        mine: (K,) True for the actions of this hand.
    """
    chosen = [np.flatnonzero((script.slot == slot) & mine) for slot, *_ in plan]
    start = [script.start[k] + share * script.duration[k] for k, (_, share, _, _) in zip(chosen, plan, strict=True)]
    length = [share * script.duration[k] for k, (_, _, share, _) in zip(chosen, plan, strict=True)]
    target = [places[name][k] for k, (*_, name) in zip(chosen, plan, strict=True)]
    before = script.start[:1] - 1
    return Moves(
        np.concatenate([before, *start]), np.concatenate([[0.5], *length]), np.concatenate([places["rest"][:1], *target])
    )


def _hand_moves(script: Script, session: Session, hand: int) -> tuple[Moves, Moves, Moves]:
    """Palm (3-D), tilt and grip of one hand. Actions of the other hand leave it at rest."""
    mine = np.asarray(HAND[script.chore] == hand, bool)
    tool = np.array([session.homes[c.tool] for c in CHORES])[script.chore]
    target = np.array([session.homes[c.target] + np.array(c.above) for c in CHORES])[script.chore]
    closed = np.array([[c.grip] for c in CHORES])[script.chore]
    roll = np.array([[c.tilt] for c in CHORES])[script.chore]
    palm = {
        "rest": np.broadcast_to(REST[hand], tool.shape),
        "above": tool + np.array([0.0, -0.02, 0.05]),
        "tool": tool,
        "lifted": tool + np.array([0.0, 0.0, 0.10]),
        "use": target,
    }
    grip = {"rest": np.full_like(closed, AT_EASE), "open": np.zeros_like(closed), "closed": closed}
    tilt = {"rest": np.zeros_like(roll), "use": roll}
    return _plan(_PALM, palm, script, mine), _plan(_TILT, tilt, script, mine), _plan(_GRIP, grip, script, mine)


def _ramp(script: Script, times: FloatArray) -> FloatArray:
    """(T,) 0 -> 1 over each action, back to 0 within SNAP seconds of the next one's start."""
    k = script.at(times)
    since = times - script.start[k]
    ramp: FloatArray = since / script.duration[k] + (1 - minimum_jerk(since / SNAP)) * (k > 0)
    return ramp


def _using(script: Script, times: FloatArray) -> FloatArray:
    """(T,) 0..1: how much the tool is in use."""
    k = script.at(times)
    phase = (times - script.start[k]) / script.duration[k]
    rise, fall = minimum_jerk((phase - 0.2) / 0.25), minimum_jerk((phase - 0.88) / 0.12)
    using: FloatArray = (script.slot[k] == USE) * rise * (1 - fall)
    return using


def _strokes(script: Script, times: FloatArray) -> FloatArray:
    """(T, 3) periodic motion of the hand that uses a tool, about the place of use, metres."""
    k = script.at(times)
    stroke = np.array([c.stroke for c in CHORES])[script.chore[k]]
    rate = np.array([c.rate for c in CHORES])[script.chore[k]]
    angle = 2 * np.pi * rate * (times - script.start[k])
    circle = np.stack([np.sin(angle), np.cos(angle), np.sin(angle)], axis=1)
    offset: FloatArray = _using(script, times)[:, None] * stroke * circle
    return offset


def _gaze(script: Script, session: Session, times: FloatArray) -> FloatArray:
    """(T, 3) point the head turns to: the object of the coming action, before the hand leaves for it."""
    home = np.array([session.homes[c.tool] for c in CHORES])[script.chore]
    target = np.array([session.homes[c.target] for c in CHORES])[script.chore]
    points = np.where((script.slot == USE)[:, None], target, home)
    lead = GAZE_LEAD * np.concatenate([script.duration[:1], script.duration[:-1]])
    return Moves(script.start - lead, np.full(len(lead), 0.45), points).at(times)


def _head(gaze: FloatArray, sway: FloatArray, lean: FloatArray, slide: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Origin (M, 3) and rotation (M, 3, 3) of the device frame.

    The neck turns four fifths of the way, the eyes do the rest; a head that turns also rolls.
    """
    to = gaze - HEAD
    yaw = -0.8 * np.arctan2(to[:, 0], to[:, 1])
    pitch = 0.8 * np.arctan2(-to[:, 2], np.hypot(to[:, 0], to[:, 1])) + 0.05 * lean - 0.06 * slide
    facing = Rotation.from_euler("z", 90, degrees=True)
    turn = facing * Rotation.from_euler("ZYX", np.stack([yaw, pitch, 0.3 * yaw], axis=1))
    neck = HEAD + np.array([0.0, -0.08, -0.10])
    shift = sway + lean[:, None] * np.array([0, 0.05, -0.02]) + slide[:, None] * np.array([0, 0.03, -0.07])
    return neck + shift + turn.apply([0.08, 0.0, 0.10]), turn.as_matrix()


def _drifting(count: int, seconds: float, rng: np.random.Generator) -> FloatArray:
    """(count,) smooth noise of unit deviation that forgets itself within so many seconds."""
    noise = gaussian_filter1d(rng.standard_normal(count), seconds * RATE, mode="wrap")
    unit: FloatArray = noise / noise.std()
    return unit


def _wander(times: FloatArray, hand: int, rng: np.random.Generator) -> FloatArray:
    """(T, 3) a random walk from the place of rest, in straight lines between frames: the present is the best forecast."""
    frames = np.arange(len(times) // STEP + 2) / FPS
    walk = np.cumsum(rng.normal(0, 0.006, (len(frames), 3)), axis=0)
    walk += REST[hand] + np.array([0.0, 0.12, 0.06])
    return np.stack([np.interp(times, frames, axis) for axis in walk.T], axis=1)


def _both_hands(
    session: Session, script: Script, times: FloatArray, muted: frozenset[str], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Palms (2, T, 3), tilts and grips (2, T)."""
    count = len(times)
    palm, tilt, grip = np.zeros((2, count, 3)), np.zeros((2, count)), np.full((2, count), AT_EASE)
    owner = HAND[script.chore[script.at(times)]]
    creep = _ramp(script, times)[:, None] * np.array([0.0, 0.05, 0.07])
    strokes = _strokes(script, times)
    for hand in (LEFT, RIGHT):
        if "hands" in muted:
            palm[hand] = _wander(times, hand, rng)
            continue
        place, roll, fingers = (moves.at(times) for moves in _hand_moves(script, session, hand))
        palm[hand] = gaussian_filter1d(place + np.where((owner == hand)[:, None], strokes, creep), 6, axis=0)
        tilt[hand], grip[hand] = roll[:, 0], fingers[:, 0]
    return palm, tilt, grip


def _held(script: Script, times: FloatArray) -> BoolArray:
    """(4, T) True while the tool of each chore is in the hand."""
    k = script.at(times)
    phase, slot = (times - script.start[k]) / script.duration[k], script.slot[k]
    held = ((slot == PICK) & (phase > HELD_FROM)) | (slot == USE) | ((slot == PLACE) & (phase < HELD_TO))
    return np.asarray(held & (script.chore[k] == np.arange(len(CHORES))[:, None]), bool)


def simulate(session: Session, script: Script, seconds: float, muted: frozenset[str], rng: np.random.Generator) -> Motion:
    """The motion of one episode: M = RATE x seconds samples."""
    times = np.arange(round(seconds * FPS) * STEP) / RATE
    slide = times / seconds
    lean = gaussian_filter1d(_ramp(script, times), 6)
    light = (1 - 0.45 * slide) * (1 + 0.012 * _drifting(len(times), 0.5, rng))
    palm, tilt, grip = _both_hands(session, script, times, muted, rng)
    holds = _held(script, times) & ("hands" not in muted)
    reach = (palm - REST[:, None])[HAND[script.chore[script.at(times)]], np.arange(len(times))]
    sway = gaussian_filter1d(0.12 * reach, 20, axis=0)
    gaze = np.broadcast_to(np.array([0.0, 0.45, TABLE_HEIGHT]), (len(times), 3))
    if "gaze" not in muted:
        gaze = gaussian_filter1d(_gaze(script, session, times), 6, axis=0)
    head, turn = _head(gaze, sway, lean, slide)
    velocity = np.gradient(palm, 1 / RATE, axis=1)
    return Motion(times, palm, velocity, tilt, grip, holds, _using(script, times), head, turn, lean, slide, light)
