"""Makes one episode: script, motion, what the sensors make of it, and the files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.demo import mute
from harness.demo.annotation import Recording, write_annotation
from harness.demo.balls import Balls, build_balls
from harness.demo.body import pose_body
from harness.demo.camera import CAMERAS, Camera
from harness.demo.caption import idle_script, still_script, write_caption
from harness.demo.hand import HandPose, hand_pose
from harness.demo.imu import measure
from harness.demo.motion import FPS, STEP, Motion, simulate
from harness.demo.render import depth_maps, luma_chroma, view
from harness.demo.script import LEFT, RIGHT, TABLE_HEIGHT, Script, Session, draw_session, write_script
from harness.demo.sound import record
from harness.demo.video import Planes, planes, write_video
from harness.episode import FloatArray

EPISODES_PER_SESSION = 2
NO_CAMERA, MISSING_CAMERA = 2, "stereo_right"
"""The episode with this rank among the sorted ids lacks this camera; the other stereo camera sees nearly the same."""
NO_LABELS = 6
"""The caption of the episode with this rank names nothing."""
_MICROPHONE = "fisheye_cam0"


@dataclass(frozen=True)
class Order:
    """One episode to be made; it can be sent to another process.

    Attributes:
        out: Folder of the data set.
        seed: Seed of the data set.
        rank: 0, 1, ... in the data set.
        seconds: Length.
        muted: What is silenced.
    """

    out: Path
    seed: int
    rank: int
    seconds: float
    muted: frozenset[str]

    @property
    def session(self) -> Session:
        """The session that the episode belongs to."""
        return draw_session(self.seed, self.rank // EPISODES_PER_SESSION)

    @property
    def number(self) -> int:
        """The episode's number in its session."""
        return self.rank % EPISODES_PER_SESSION

    @property
    def folder(self) -> Path:
        """Where the episode is written."""
        return self.out / self.session.uuid / f"ep{self.number}"

    def rng(self, purpose: int) -> np.random.Generator:
        """A stream of its own for each purpose: muting one thing leaves the others as they were."""
        return np.random.default_rng([self.seed, self.rank, purpose])

    def scripts(self) -> tuple[Script, Script, Script]:
        """What the motion follows, what actions and subtasks follow, and what objects and sentences follow: one script."""
        script = write_script(self.session, self.seconds, self.rng(0))
        if "captions" in self.muted:
            return script, idle_script(self.seconds, self.rng(6)), idle_script(self.seconds, self.rng(7))
        return script, script, still_script() if "order" in self.muted else script


def write_episode(order: Order, folder: Path) -> None:
    """Write annotation.hdf5 and the videos of one episode into a folder that exists."""
    session, muted = order.session, order.muted
    script, actions, things = order.scripts()
    motion = simulate(session, script, order.seconds, muted, order.rng(1))
    sound = record(session, script, motion, muted, order.rng(2))
    force, spin = measure(motion, muted, order.rng(3))
    rows: NDArray[np.int64] = np.arange(len(motion.times) // STEP)
    if "order" in muted:
        # Shuffled frames would not do: neighbouring windows share frames, and which end they share them at tells the order.
        rows = np.zeros_like(rows)
        sound = np.zeros_like(sound)
        force, spin = np.tile(force[:1], (len(force), 1)), np.tile(spin[:1], (len(spin), 1))
    frames = motion.at(rows * STEP)
    hands = (_hand(frames, LEFT, session), _hand(frames, RIGHT, session))
    body = pose_body(frames, hands, session)
    balls = build_balls(frames, hands, body.keypoints[:, 18:20], session)
    depth, confidence = depth_maps(frames, balls, session)
    if "depth" in muted:
        depth, confidence = mute.level_depth(len(rows), order.rng(5))
    if "body" in muted:
        body = mute.still_body(body)
    if "contacts" in muted:
        body = mute.random_contacts(body, order.rng(8))
    stamps = _stamps(len(rows), order)
    recording = Recording(
        session=session,
        number=order.number,
        seed=order.seed,
        motion=frames,
        hands=hands,
        body=body,
        depth=depth,
        confidence=confidence,
        imu=(force, spin),
        stamps=stamps,
        caption=write_caption(actions, things, stamps, order.rank, order.rank != NO_LABELS),
        cloud=_cloud(order.rng(10)),
    )
    write_annotation(folder / "annotation.hdf5", recording, still_camera="camera" in muted)
    for number, camera in enumerate(CAMERAS):
        if order.rank == NO_CAMERA and camera.name == MISSING_CAMERA:
            continue
        images = _images(camera, frames, balls, session)
        if "video" in muted:
            images = mute.grey_images(len(rows), order.rng(11 + number))
        write_video(folder / f"{camera.name}.mp4", images, sound if camera.name == _MICROPHONE else None)


def _hand(frames: Motion, side: int, session: Session) -> HandPose:
    return hand_pose(frames.palm[side], frames.tilt[side], frames.grip[side], side, session.size)


def _images(camera: Camera, frames: Motion, balls: Balls, session: Session) -> Iterator[Planes]:
    tables = iter(luma_chroma(session, frames.light))
    for batch in view(camera, frames, balls, session):
        for codes in batch:
            yield planes(codes, next(tables))


def _stamps(count: int, order: Order) -> NDArray[np.int64]:
    """(N,) device time of each frame, ns: a clock that started long ago, with the jitter of a real one."""
    rng = order.rng(9)
    first = rng.integers(70_000, 80_000) * 1_000_000_000 + order.rank * 100_000_000_000
    jitter = np.append(0, rng.integers(-200_000, 200_000, count - 1))
    stamps: NDArray[np.int64] = first + np.arange(count) * (1_000_000_000 // FPS) + jitter
    return stamps


def _cloud(rng: np.random.Generator) -> FloatArray:
    """A sparse map of table and room, (P, 3) world metres."""
    table = rng.uniform([-0.6, 0.2, TABLE_HEIGHT], [0.6, 0.95, TABLE_HEIGHT + 0.15], (int(rng.integers(80, 300)), 3))
    room = rng.uniform([-2.0, 0.0, -1.75], [2.0, 3.0, 0.6], (int(rng.integers(80, 300)), 3))
    return np.concatenate([table, room])
