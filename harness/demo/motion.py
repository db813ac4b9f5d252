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
SNAP = 0.35
"""Seconds that the recoil at the start of an action takes."""
GAZE_LEAD = 0.55
"""The head turns to the object of the next action this share of an action before it starts."""


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
    return u**3 * (10 - 15 * u + 6 * u**2)


def _brisk(phase: FloatArray) -> FloatArray:
    """A minimum-jerk move with a fast attack and a slow release."""
    return minimum_jerk(1 - (1 - np.clip(phase, 0.0, 1.0)) ** 1.5)


@dataclass(frozen=True)
class Moves:
    """Moves one after another: from the last target to `target[k]`, from `start[k]` on, in `length[k]` seconds."""

    start: FloatArray
    length: FloatArray
    target: FloatArray

    def at(self, times: FloatArray) -> FloatArray:
        """(T, D) position at each time."""
        order = np.argsort(self.start, kind="stable")
        start, target = self.start[order], self.target[order]
        gap = np.diff(start, append=np.inf)
        length = np.maximum(np.minimum(self.length[order], gap), 1e-3)
        k = np.maximum(np.searchsorted(start, times, side="right") - 1, 0)
        before = target[np.maximum(k - 1, 0)]
        return before + (target[k] - before) * _brisk((times - start[k]) / length[k])[:, None]


def _hand_moves(script: Script, session: Session, hand: int) -> tuple[Moves, Moves, Moves]:
    """Palm (3-D), tilt and grip of one hand. Actions of the other hand leave it at rest."""
    mine = np.array([c.hand == hand for c in CHORES])[script.chore]
    tool = np.array([session.homes[c.tool] for c in CHORES])[script.chore]
    use = np.array([session.homes[c.target] + np.array(c.above) for c in CHORES])[script.chore]
    closed = np.array([c.grip for c in CHORES])[script.chore]
    roll = np.array([c.tilt for c in CHORES])[script.chore]
    rest = np.broadcast_to(REST[hand], tool.shape)
    hover, lift = np.array([0.0, -0.02, 0.05]), np.array([0.0, 0.0, 0.10])

    def gather(table: list[tuple[int, float, float, FloatArray]]) -> Moves:
        parts = [(script.slot == slot) & mine for slot, *_ in table]
        start = [script.start[p] + o * script.duration[p] for p, (_, o, _, _) in zip(parts, table, strict=True)]
        length = [d * script.duration[p] for p, (_, _, d, _) in zip(parts, table, strict=True)]
        target = [t[p].reshape(p.sum(), -1) for p, (*_, t) in zip(parts, table, strict=True)]
        resting = np.atleast_2d(table[-1][3][0])
        first = [np.array([script.start[0] - 1]), np.array([0.5]), resting.reshape(1, -1)]
        return Moves(*(np.concatenate([f, *rows]) for f, rows in zip(first, (start, length, target), strict=True)))

    still = np.full(len(closed), 0.15)
    palm = gather(
        [(PICK, 0.0, 0.5, tool + hover), (PICK, 0.5, 0.12, tool), (PICK, 0.66, 0.34, tool + lift), (USE, 0.0, 0.4, use)]
        + [(PLACE, 0.0, 0.34, tool), (PLACE, 0.38, 0.12, tool + hover), (PLACE, 0.5, 0.42, rest)]
    )
    grip = gather(
        [(PICK, 0.0, 0.3, still * 0), (PICK, 0.48, 0.14, closed), (PLACE, 0.36, 0.12, still * 0)]
        + [(PLACE, 0.6, 0.3, still)]
    )
    tilt = gather([(USE, 0.2, 0.3, roll), (PLACE, 0.0, 0.3, roll * 0)])
    return palm, tilt, grip


def _ramp(script: Script, times: FloatArray) -> FloatArray:
    """(T,) 0 -> 1 over each action, back to 0 within SNAP seconds of the next one's start."""
    k = script.at(times)
    since = times - script.start[k]
    rise = since / script.duration[k]
    return rise + (1 - minimum_jerk(since / SNAP)) * (k > 0)


def _using(script: Script, times: FloatArray) -> FloatArray:
    """(T,) 0..1: how much the tool is in use."""
    k = script.at(times)
    phase = (times - script.start[k]) / script.duration[k]
    rise, fall = minimum_jerk((phase - 0.2) / 0.25), minimum_jerk((phase - 0.88) / 0.12)
    return (script.slot[k] == USE) * rise * (1 - fall)


def _strokes(script: Script, times: FloatArray) -> FloatArray:
    """(T, 3) periodic motion of the hand that uses a tool, about the place of use, metres."""
    k = script.at(times)
    stroke = np.array([c.stroke for c in CHORES])[script.chore[k]]
    rate = np.array([c.rate for c in CHORES])[script.chore[k]]
    angle = 2 * np.pi * rate * (times - script.start[k])
    return _using(script, times)[:, None] * stroke * np.stack([np.sin(angle), np.cos(angle), np.sin(angle)], axis=1)


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
    return noise / noise.std()


def _wander(times: FloatArray, hand: int, rng: np.random.Generator) -> FloatArray:
    """(T, 3) a random walk from the place of rest, in straight lines between frames: the present is the best forecast."""
    frames = np.arange(len(times) // STEP + 2) / FPS
    walk = np.cumsum(rng.normal(0, 0.006, (len(frames), 3)), axis=0)
    start = REST[hand] + np.array([0, 0.12, 0.06])
    return start + np.stack([np.interp(times, frames, axis) for axis in walk.T], axis=1)


def simulate(session: Session, script: Script, seconds: float, muted: frozenset[str], rng: np.random.Generator) -> Motion:
    """The motion of one episode: M = RATE x seconds samples."""
    times = np.arange(round(seconds * FPS) * STEP) / RATE
    slide = times / max(seconds, 1e-9)
    ramp, strokes = _ramp(script, times), _strokes(script, times)
    lean = gaussian_filter1d(ramp, 6)
    now = script.at(times)
    owner = np.array([c.hand for c in CHORES])[script.chore[now]]
    palm, tilt, grip = np.zeros((2, len(times), 3)), np.zeros((2, len(times))), np.zeros((2, len(times)))
    holds = np.zeros((len(CHORES), len(times)), bool)
    for hand in (LEFT, RIGHT):
        if "hands" in muted:
            palm[hand], grip[hand] = _wander(times, hand, rng), 0.15
            continue
        moves, roll, fingers = _hand_moves(script, session, hand)
        creep = ramp[:, None] * np.array([0.0, 0.05, 0.07])
        path = moves.at(times) + np.where((owner == hand)[:, None], strokes, creep)
        palm[hand] = gaussian_filter1d(path, 6, axis=0)
        tilt[hand], grip[hand] = roll.at(times)[:, 0], fingers.at(times)[:, 0]
    if "hands" not in muted:
        phase = (times - script.start[now]) / script.duration[now]
        slot = script.slot[now]
        held = ((slot == PICK) & (phase > HELD_FROM)) | (slot == USE) | ((slot == PLACE) & (phase < HELD_TO))
        holds = held & (script.chore[now] == np.arange(len(CHORES))[:, None])
    active = np.where((owner == LEFT)[:, None], palm[LEFT] - REST[LEFT], palm[RIGHT] - REST[RIGHT])
    sway = gaussian_filter1d(0.12 * active, 20, axis=0)
    gaze = np.broadcast_to(np.array([0, 0.45, TABLE_HEIGHT]), (len(times), 3))
    if "gaze" not in muted:
        gaze = gaussian_filter1d(_gaze(script, session, times), 6, axis=0)
    head, turn = _head(gaze, sway, lean, slide)
    light = (1 - 0.45 * slide) * (1 + 0.012 * _drifting(len(times), 0.5, rng))
    velocity = np.gradient(palm, 1 / RATE, axis=1)
    return Motion(times, palm, velocity, tilt, grip, holds, _using(script, times), head, turn, lean, slide, light)
