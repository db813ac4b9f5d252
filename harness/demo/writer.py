"""Writes the demo data set: session folders with annotation.hdf5 and six videos per episode."""

import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.demo.annotation import Recording, write_annotation
from harness.demo.body import Body, pose_body
from harness.demo.camera import CAMERAS, DEPTH_SIZE, SIZE, Camera
from harness.demo.caption import slow_script, write_caption
from harness.demo.hand import HandPose, hand_pose
from harness.demo.imu import measure
from harness.demo.motion import FPS, STEP, Motion, simulate
from harness.demo.mute import silenced
from harness.demo.render import Balls, build_balls, depth_maps, luma_chroma, view
from harness.demo.script import LEFT, RIGHT, TABLE_HEIGHT, Session, draw_session, write_script
from harness.demo.sound import SAMPLE_RATE, record
from harness.demo.video import Planes, planes, write_video
from harness.episode import FloatArray
from harness.errors import BadInput

EPISODES_PER_SESSION = 2
NO_CAMERA, MISSING_CAMERA = 2, "fisheye_cam2"
"""This episode (rank of the sorted ids) lacks this camera."""
NO_LABELS = 6
"""The captions of this episode name nothing."""
_MICROPHONE = "fisheye_cam0"
_SHORTEST = 2.0


@dataclass(frozen=True)
class Order:
    """One episode to be made: picklable, for the pool.

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
    def folder(self) -> Path:
        """Where the episode is written."""
        return self.out / self.session.uuid / f"ep{self.rank % EPISODES_PER_SESSION}"

    def rng(self, purpose: int) -> np.random.Generator:
        """A stream of its own for each purpose, so that muting one thing leaves the others as they were."""
        return np.random.default_rng([self.seed, self.rank, purpose])


def write_demo(
    out: Path,
    episodes: int = 8,
    seed: int = 0,
    seconds: float = 30.0,
    mute: str | None = None,
    processes: int = 2,
) -> list[Path]:
    """Write a demo data set in the Xperience-10M layout: `<out>/<session>/ep<N>/`, two episodes per session.

    The same arguments give the same bytes. Seeds from 10000 up are reserved for pretraining.

    Args:
        out: Folder; made where it does not exist. Episodes of an earlier call with the same seed are replaced.
        episodes: How many; 8 make the frozen split of the card `demo`.
        seed: Draws sessions, scripts, motion and noise.
        seconds: Length of each episode.
        mute: A key of `MUTES` to silence, or None.
        processes: Episodes made at a time; 1 makes them in this process.

    Returns:
        The episode folders in the order of their ids.

    Raises:
        BadInput: An unknown `mute`, a number out of range, or a folder that holds other things.
    """
    muted = silenced(mute)
    if episodes < 1 or seed < 0 or processes < 1:
        raise BadInput(f"demo data: episodes {episodes}, seed {seed}, processes {processes}; use at least 1, 0 and 1")
    if seconds < _SHORTEST:
        raise BadInput(f"demo data: {seconds} seconds are too short for a window; use at least {_SHORTEST}")
    orders = [Order(Path(out), seed, rank, seconds, muted) for rank in range(episodes)]
    _check_empty(Path(out), {order.session.uuid for order in orders})
    if processes == 1 or episodes == 1:
        return [_make(order) for order in orders]
    # Spawned, not forked: the caller may run threads (Ray, video decoders).
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_make, orders))


def _check_empty(out: Path, sessions: set[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    strangers = sorted(entry.name for entry in out.iterdir() if entry.name not in sessions)
    if strangers:
        raise BadInput(f"demo data: {out} already holds {strangers[0]}; give an empty folder")


def _make(order: Order) -> Path:
    """Write one episode beside its place, then move it there: a folder under its final name is complete."""
    partial = order.folder.with_name(f".{order.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    _write_episode(order, partial)
    shutil.rmtree(order.folder, ignore_errors=True)
    partial.rename(order.folder)
    return order.folder


def _write_episode(order: Order, folder: Path) -> None:
    session, muted = order.session, order.muted
    script = write_script(session, order.seconds, order.rng(0))
    motion = simulate(session, script, order.seconds, muted, order.rng(1))
    sound = record(session, script, motion, muted, order.rng(2))
    force, spin = measure(motion, muted, order.rng(3))
    rows = np.arange(len(motion.times) // STEP)
    if "order" in muted:
        rows = order.rng(4).permutation(len(rows))
        sound = _shuffle(sound, rows, SAMPLE_RATE // FPS)
        force, spin = _shuffle(force, rows, STEP), _shuffle(spin, rows, STEP)
    frames = motion.at(rows * STEP)
    hands = (_hand(frames, LEFT, session), _hand(frames, RIGHT, session))
    body = pose_body(frames, hands, session)
    elbows = np.stack([body.keypoints[:, 18], body.keypoints[:, 19]])
    balls = build_balls(frames, hands, elbows, session)
    depth, confidence = depth_maps(frames, balls, session)
    if "depth" in muted:
        depth, confidence = _blind_depth(len(rows), order.rng(5))
    if "captions" in muted:
        script, things = slow_script(order.seconds, order.rng(6)), slow_script(order.seconds, order.rng(7))
    else:
        things = script
    stamps = _stamps(len(rows), order)
    recording = Recording(
        session=session,
        number=order.rank % EPISODES_PER_SESSION,
        seed=order.seed,
        motion=frames,
        hands=hands,
        body=_muted_body(body, order),
        depth=depth,
        confidence=confidence,
        imu=(force, spin),
        stamps=stamps,
        caption=write_caption(script, things, stamps, order.rank, order.rank != NO_LABELS),
        cloud=_cloud(order),
    )
    write_annotation(folder / "annotation.hdf5", recording, muted)
    for number, camera in enumerate(CAMERAS):
        if order.rank == NO_CAMERA and camera.name == MISSING_CAMERA:
            continue
        images = _images(camera, frames, balls, session)
        if "video" in muted:
            images = _blind_images(len(rows), order.rng(10 + number))
        write_video(folder / f"{camera.name}.mp4", images, sound if camera.name == _MICROPHONE else None)


def _hand(frames: Motion, side: int, session: Session) -> HandPose:
    return hand_pose(frames.palm[side], frames.tilt[side], frames.grip[side], side, session.size)


def _shuffle(samples: FloatArray, rows: np.ndarray, length: int) -> FloatArray:
    """Blocks of `length` samples in the order `rows`."""
    return samples.reshape(len(rows), length, *samples.shape[1:])[rows].reshape(samples.shape)


def _images(camera: Camera, frames: Motion, balls: Balls, session: Session) -> Iterator[Planes]:
    tables = iter(luma_chroma(session, frames.light))
    for batch in view(camera, frames, balls, session):
        for codes in batch:
            yield planes(codes, next(tables))


def _blind_images(count: int, rng: np.random.Generator) -> Iterator[Planes]:
    for grey in rng.integers(30, 220, count):
        chroma = bytes([128]) * (SIZE // 2) ** 2
        yield bytes([grey]) * SIZE**2, chroma, chroma


def _blind_depth(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shape = (count, DEPTH_SIZE, DEPTH_SIZE)
    depth = np.broadcast_to(rng.uniform(0.4, 3.0, (count, 1, 1)), shape).astype(np.float16)
    return depth, np.broadcast_to(rng.integers(60, 250, (count, 1, 1)), shape).astype(np.uint8)


def _muted_body(body: Body, order: Order) -> Body:
    if "body" in order.muted:
        still = np.zeros(len(body.contacts), int)
        body = replace(body, keypoints=body.keypoints[still], quaternions=body.quaternions[still])
    if "contacts" in order.muted:
        touch = order.rng(8).random(len(body.contacts)) < 0.005
        contacts = np.zeros_like(body.contacts)
        contacts[:, 20] = np.convolve(touch, np.ones(3))[: len(touch)] > 0
        body = replace(body, contacts=contacts)
    return body


def _stamps(count: int, order: Order) -> np.ndarray:
    """(N,) int64 ns: a clock that started long ago, with the jitter of a real one."""
    rng = order.rng(9)
    first = int(rng.integers(7e13, 8e13)) + order.rank * 100_000_000_000
    return first + np.arange(count) * (1_000_000_000 // FPS) + np.append(0, rng.integers(-200_000, 200_000, count - 1))


def _cloud(order: Order) -> FloatArray:
    """A sparse map of table and room, (P, 3) world metres."""
    rng = order.rng(20)
    table = rng.uniform([-0.6, 0.2, TABLE_HEIGHT], [0.6, 0.95, TABLE_HEIGHT + 0.15], (int(rng.integers(80, 300)), 3))
    room = rng.uniform([-2.0, 0.0, -1.75], [2.0, 3.0, 0.6], (int(rng.integers(80, 300)), 3))
    return np.concatenate([table, room])
