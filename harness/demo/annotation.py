"""annotation.hdf5 of one episode: the whole tree of the Xperience-10M format, 65 data sets."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from harness.demo.body import Body, wxyz
from harness.demo.camera import BASELINE, CAMERAS, STEREO_LEFT, to_cameras
from harness.demo.hand import HandPose
from harness.demo.motion import FPS, STEP, Motion
from harness.demo.script import Session
from harness.episode import FloatArray

Tree = dict[str, ArrayLike | str]


@dataclass(frozen=True, eq=False)
class Recording:
    """All that annotation.hdf5 holds of one episode of N frames.

    Attributes:
        session: Its session.
        number: Number of the episode in the session.
        seed: Seed of the data set.
        motion: N samples, one per frame.
        hands: Left and right, N samples.
        body: N samples.
        depth: (N, D, D) float16 metres.
        confidence: (N, D, D) uint8.
        imu: Specific force and angular velocity, (M, 3) each.
        stamps: (N,) int64 device time of each frame, ns.
        caption: JSON.
        cloud: (P, 3) world metres.
    """

    session: Session
    number: int
    seed: int
    motion: Motion
    hands: tuple[HandPose, HandPose]
    body: Body
    depth: NDArray
    confidence: NDArray
    imu: tuple[FloatArray, FloatArray]
    stamps: NDArray[np.int64]
    caption: str
    cloud: FloatArray


def write_annotation(path: Path, recording: Recording, still_camera: bool) -> None:
    """Write one annotation.hdf5: no time stamps in it, so equal recordings give equal bytes.

    Args:
        path: Where.
        recording: What.
        still_camera: The SLAM track holds the first frame's pose for ever.
    """
    tree: Tree = {"caption": recording.caption}
    for part in (_calibration(), _depth(recording), _body(recording), _hands(recording), _imu(recording)):
        tree |= part
    tree |= _slam(recording, still_camera) | _book_keeping(recording)
    with h5py.File(path, "w") as file:
        for name in sorted(tree):
            value = tree[name]
            if isinstance(value, str):
                file.create_dataset(name, data=value, dtype=h5py.string_dtype(), track_times=False)
                continue
            array = np.asarray(value)
            packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.nbytes > 4096 else {}
            file.create_dataset(name, data=array, track_times=False, **packed)


def _calibration() -> Tree:
    tree: Tree = {
        "calibration/cam01/K": STEREO_LEFT.K,
        "calibration/cam01/T_c0_b": STEREO_LEFT.T_c_b,
        "calibration/cam01/baseline": BASELINE,
    }
    for number, camera in enumerate(CAMERAS[:4]):
        assert camera.distortion is not None, "the first four cameras are fisheyes"
        tree |= {
            f"calibration/cam{number}/K": camera.K,
            f"calibration/cam{number}/D": camera.distortion,
            f"calibration/cam{number}/T_c_b": camera.T_c_b,
            f"calibration/cam{number}/camera_model": "pinhole",
            f"calibration/cam{number}/distortion_model": "equidistant",
        }
    return tree


def _depth(recording: Recording) -> Tree:
    return {
        "depth/depth": recording.depth,
        "depth/confidence": recording.confidence,
        "depth/scale": 1.0,
        "depth/depth_min": 0.0,
        "depth/depth_max": 4.0,
    }


def _slam(recording: Recording, still: bool) -> Tree:
    """The pose is stored world -> body."""
    rotation = Rotation.from_matrix(recording.motion.turn).inv()
    rows = np.zeros(len(recording.stamps), int) if still else np.arange(len(recording.stamps))
    return {
        "slam/quat_wxyz": wxyz(rotation)[rows],
        "slam/trans_xyz": -rotation.apply(recording.motion.head)[rows],
        "slam/frame_names": np.array([f"{stamp}.jpg" for stamp in recording.stamps], "S"),
        "slam/point_cloud": recording.cloud,
    }


def _body(recording: Recording) -> Tree:
    body, motion = recording.body, recording.motion
    count = len(motion.times)
    level = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
    eyes = wxyz(Rotation.from_matrix(motion.turn))
    bends = [wxyz(Rotation.from_rotvec(hand.bends.reshape(-1, 3))).reshape(count, 15, 4) for hand in recording.hands]
    return {
        "full_body_mocap/keypoints": body.keypoints.astype(np.float32),
        "full_body_mocap/contacts": body.contacts.astype(np.float32),
        "full_body_mocap/body_quats": body.quaternions.astype(np.float32),
        "full_body_mocap/left_hand_quats": bends[0].astype(np.float32),
        "full_body_mocap/right_hand_quats": bends[1].astype(np.float32),
        "full_body_mocap/Ts_world_root": np.concatenate([level, body.keypoints[:, 0]], axis=1).astype(np.float32),
        "full_body_mocap/Ts_world_cpf": np.concatenate([eyes, motion.head], axis=1).astype(np.float32),
        "full_body_mocap/betas": np.full((count, 16), 10 * (recording.session.size - 1), np.float32),
        "full_body_mocap/frame_nums": np.arange(count),
    }


def _hands(recording: Recording) -> Tree:
    """Hands are in the frame of the left stereo camera at their own time."""
    R, t = to_cameras(STEREO_LEFT.T_c_b, recording.motion.head, recording.motion.turn)
    count = len(R)
    tree: Tree = {}
    for side, hand in zip(("left", "right"), recording.hands, strict=True):
        joints = hand.joints @ R.transpose(0, 2, 1) + t[:, None]
        tree |= {
            f"hand_mocap/{side}_joints_3d": joints.astype(np.float32),
            f"hand_mocap/{side}_translation": joints[:, 0].astype(np.float32),
            f"hand_mocap/{side}_mano_hand_pose": hand.bends.reshape(count, 45).astype(np.float32),
            f"hand_mocap/{side}_mano_hand_global_orient": (R @ hand.turn).reshape(count, 9).astype(np.float32),
            f"hand_mocap/{side}_mano_hand_betas": np.full((count, 10), 10 * (recording.session.size - 1), np.float32),
        }
    return tree


def _imu(recording: Recording) -> Tree:
    force, spin = recording.imu
    first = int(recording.stamps[0])
    return {
        "imu/device_timestamp_ns": first + np.arange(len(force), dtype=np.int64) * (1_000_000_000 // (FPS * STEP)),
        "imu/accel_xyz": force,
        "imu/gyro_xyz": spin,
        "imu/keyframe_indices": np.arange(len(recording.stamps), dtype=np.int64) * STEP,
    }


def _book_keeping(recording: Recording) -> Tree:
    count = len(recording.stamps)
    return {
        "metadata/session_uuid": recording.session.uuid,
        "metadata/episode": recording.number,
        "metadata/num_frames": count,
        "metadata/fps": float(FPS),
        "metadata/generator": "espalier demo data, simulated",
        "metadata/seed": recording.seed,
        "video/device_timestamp": recording.stamps,
        "video/frame_number": np.arange(count, dtype=np.int64),
        "video/length_sec": count / FPS,
    }
