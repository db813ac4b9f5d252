"""Small episodes with every track that a feature block reads."""

import numpy as np
from scipy.spatial.transform import Rotation

from harness.episode import Episode, Modality, Track

CAMERAS = ("fisheye_cam0", "fisheye_cam1", "fisheye_cam2", "fisheye_cam3", "stereo_left", "stereo_right")
AUDIO_RATE = 16_000


def poses(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 4, 4) float64 poses along a smooth path."""
    out = np.tile(np.eye(4), (n, 1, 1))
    turn = np.cumsum(rng.normal(size=(n, 3)) * 0.02, axis=0)
    out[:, :3, :3] = Rotation.from_rotvec(turn).as_matrix()
    out[:, :3, 3] = np.array([1.0, 2.0, 1.5]) + np.cumsum(rng.normal(size=(n, 3)) * 0.01, axis=0)
    return out


def xperience_episode(n: int = 60, seed: int = 0, gaps: bool = True) -> Episode:
    """An episode as the track store gives it: small tracks, depth, sound, and the cameras as descriptors.

    Args:
        n: Frames, 20 a second.
        seed: Of everything.
        gaps: True for hands, poses and pixels that were not measured.
    """
    rng = np.random.default_rng(seed)
    times = np.arange(n) / 20.0
    tracks: dict[str, Track] = {}

    def add(name: str, modality: Modality, data: np.ndarray, clock: np.ndarray | None = times, **more: object) -> None:
        tracks[name] = Track(name, modality, data, clock, **more)  # type: ignore[arg-type]

    add("video/fisheye_cam0", Modality.VIDEO, np.zeros((n, 0), np.uint8))
    for camera in CAMERAS:
        add(f"descriptor/video/{camera}", Modality.VIDEO, rng.uniform(size=(n, 98)).astype(np.float32))
    for side, offset in (("left", -1.0), ("right", 1.0)):
        hand = (rng.normal(size=(n, 21, 3)) * 0.05 + [offset, 0, 0.5]).astype(np.float32)
        seen = rng.uniform(size=n) > 0.2 if gaps else np.ones(n, bool)
        hand[~seen] = np.nan
        add(f"hand_{side}", Modality.HAND, hand, valid=seen)
    pose = poses(n, rng)
    posed = np.ones(n, bool)
    if gaps:
        posed[n // 2] = False
        pose[~posed] = np.nan
    add("camera_pose", Modality.POSE, pose, valid=posed)
    add("body", Modality.BODY, rng.normal(size=(n, 52, 3)).astype(np.float32), valid=np.ones(n, bool))
    add("contacts", Modality.CONTACT, rng.integers(0, 2, (n, 21)).astype(np.float32))
    imu_times = np.arange(10 * n) / 200.0 - 0.0125
    add("imu", Modality.IMU, rng.normal(size=(10 * n, 6)), imu_times)
    depth = rng.uniform(0.3, 3.5, (n, 24, 32)).astype(np.float32)
    if gaps:
        depth[rng.uniform(size=depth.shape) < 0.1] = np.nan
    add("depth", Modality.DEPTH, depth)
    add("depth_confidence", Modality.DEPTH, rng.uniform(size=(n, 24, 32)).astype(np.float32))
    samples = (rng.normal(size=n * 800) * 0.1).astype(np.float32)
    add("audio/fisheye_cam0", Modality.AUDIO, samples, np.arange(n * 800) / AUDIO_RATE)
    objects = (rng.uniform(size=(n, 5)) > 0.6).astype(np.uint8)
    add("objects", Modality.LANGUAGE, objects, names=("kettle", "cup", "tea bag", "spoon", "tray"))
    codes = np.repeat(rng.integers(-1, 3, n // 10 + 1), 10)[:n].astype(np.int32)
    sentences = ("the left hand holds the kettle", "water runs into the cup", "nothing is touched")
    add("interaction", Modality.LANGUAGE, codes, valid=codes >= 0, categories=sentences)
    add("calibration", Modality.CALIBRATION, rng.normal(size=117), None)
    add("point_cloud", Modality.MAP, rng.normal(size=(50, 3)).astype(np.float32), None)
    return Episode("s0__ep1", "video/fisheye_cam0", tracks)


def robot_episode(n: int = 40, seed: int = 0, dims: int = 3) -> Episode:
    """An episode of a robot: state, command, instruction."""
    rng = np.random.default_rng(seed)
    times = np.arange(n) / 30.0
    names = tuple(f"joint{i}" for i in range(dims))
    state = Track("state", Modality.STATE, rng.normal(size=(n, dims)).astype(np.float32), times, names=names)
    command = Track("command", Modality.COMMAND, rng.normal(size=(n, dims)).astype(np.float32), times, names=names)
    codes = np.zeros(n, np.int32)
    codes[n // 2 :] = 1
    instruction = Track("instruction", Modality.LANGUAGE, codes, times, categories=("pick up the can", "place the can"))
    return Episode("ep0", "state", {t.name: t for t in (state, command, instruction)})
