"""Numeric tracks of an Xperience-10M episode that fit into memory: mocap, camera pose, IMU, calibration, map.

Values that were not measured are NaN and not valid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from harness.card import XperienceOptions
from harness.episode import BoolArray, FloatArray, Modality, Track
from harness.readers.xperience_tree import NUMERIC, Annotation

SIDES = ("left", "right")
QUATERNION = ("qw", "qx", "qy", "qz")


def measured(values: NDArray, zero_is_missing: bool = True) -> BoolArray:
    """(N,) True for rows whose numbers are all finite and, where zeros mean `not seen`, not all zero."""
    flat = values.reshape(len(values), -1)
    valid = np.isfinite(flat).all(axis=1)
    if zero_is_missing:
        valid &= (flat != 0).any(axis=1)
    return np.asarray(valid, bool)


def masked(values: NDArray, valid: BoolArray, dtype: type = np.float32) -> NDArray:
    """A floating-point copy that is NaN in rows that are not valid."""
    out: NDArray = values.astype(dtype)
    out[~valid] = np.nan
    return out


@dataclass(frozen=True)
class FrameDataset:
    """An optional dataset with one row per frame.

    Attributes:
        track: Name of the track.
        dataset: Name in its group.
        shape: Of one row; () = as it is, flat.
        modality: Of the track.
        unit: Of the track.
        frame: Of the track.
        names: Names of the last axis.
    """

    track: str
    dataset: str
    shape: tuple[int, ...]
    modality: Modality
    unit: str = ""
    frame: str = ""
    names: tuple[str, ...] = ()


def hand_datasets(side: str) -> tuple[FrameDataset, ...]:
    """MANO parameters of one hand, in the camera frame."""
    mano, hand = f"hand_mocap/{side}_mano_hand", Modality.HAND
    return (
        FrameDataset(f"hand_{side}_rotation", f"{mano}_global_orient", (3, 3), hand, "", "camera"),
        FrameDataset(f"hand_{side}_translation", f"hand_mocap/{side}_translation", (3,), hand, "m", "camera"),
        FrameDataset(f"hand_{side}_pose", f"{mano}_pose", (), hand),
        FrameDataset(f"hand_{side}_betas", f"{mano}_betas", (), hand),
    )


BODY_ROOTS = ("keypoint0", "Ts_world_root")
_POSE_NAMES = (*QUATERNION, "tx", "ty", "tz")
BODY_DATASETS = (
    FrameDataset("contacts", "full_body_mocap/contacts", (21,), Modality.CONTACT),
    FrameDataset("body_root", "full_body_mocap/Ts_world_root", (7,), Modality.BODY, "m", "world", _POSE_NAMES),
    FrameDataset("body_cpf", "full_body_mocap/Ts_world_cpf", (7,), Modality.BODY, "m", "world", _POSE_NAMES),
    FrameDataset("body_rotations", "full_body_mocap/body_quats", (21, 4), Modality.BODY, names=QUATERNION),
    FrameDataset("body_left_hand_rotations", "full_body_mocap/left_hand_quats", (15, 4), Modality.BODY, names=QUATERNION),
    FrameDataset("body_right_hand_rotations", "full_body_mocap/right_hand_quats", (15, 4), Modality.BODY, names=QUATERNION),
    FrameDataset("body_betas", "full_body_mocap/betas", (), Modality.BODY),
)


def mocap_tracks(file: Annotation, body_root: str) -> tuple[list[Track], dict[str, str]]:
    """Hands (camera frame) and body (world frame), float32 metres; NaN and not valid where not seen.

    `hand_left`, `hand_right` (N, 21, 3), `body` (N, 52, 3) and the parameters of the fits, valid where their joints are.

    Args:
        file: The open file.
        body_root: What joint 0 of the body is, see `harness.card.XperienceOptions`.

    Returns:
        The tracks, and name -> why for the optional ones that are absent.

    Raises:
        UnreadableEpisode: Joints are missing or of another shape.
    """
    tracks: list[Track] = []
    lacking: dict[str, str] = {}
    parts = [(f"hand_{s}", f"hand_mocap/{s}_joints_3d", (21, 3), Modality.HAND, "camera", hand_datasets(s)) for s in SIDES]
    parts.append(("body", "full_body_mocap/keypoints", (52, 3), Modality.BODY, "world", BODY_DATASETS))
    for name, dataset, shape, modality, frame, extras in parts:
        # A hand may stay out of view for a whole recording; a body or a camera pose without a number is a fault.
        joints = file.rows(dataset, shape, may_be_unseen=modality == Modality.HAND)
        if name == "body" and body_root == "Ts_world_root":
            joints = joints.copy()
            joints[:, 0] = file.rows("full_body_mocap/Ts_world_root", (7,))[:, 4:]
        seen = measured(joints)
        tracks.append(Track(name, modality, masked(joints, seen), file.times, seen, "m", frame))
        for extra in extras:
            rows, reason = file.optional_rows(extra.dataset, extra.shape)
            if rows is None or not measured(rows, zero_is_missing=False).any():
                lacking[extra.track] = reason if rows is None else f"{extra.dataset} holds no finite number"
                continue
            valid = seen & measured(rows, zero_is_missing=False)
            data = masked(rows, valid)
            tracks.append(Track(extra.track, extra.modality, data, file.times, valid, extra.unit, extra.frame, extra.names))
    return tracks, lacking


def camera_pose(file: Annotation, world_to_body: bool) -> Track:
    """`camera_pose`: (N, 4, 4) float64 T_world_camera of the rectified left stereo camera, metres.

    Args:
        file: The open file.
        world_to_body: Whether SLAM's quaternion and translation map world to body (else body to world).

    Raises:
        UnreadableEpisode: SLAM or `calibration/cam01/T_c0_b` is missing or no pose.
    """
    quaternions, translations = file.rows("slam/quat_wxyz", (4,)), file.rows("slam/trans_xyz", (3,))
    T_camera_body = file.required("calibration/cam01/T_c0_b").astype(np.float64)
    if T_camera_body.shape != (4, 4) or not _is_rigid(T_camera_body):
        raise file.fault("calibration/cam01/T_c0_b is not a (4, 4) rigid transform")
    # A pose at the world's origin has a zero translation; a quaternion of zeros is no rotation at all.
    valid = measured(quaternions) & measured(translations, zero_is_missing=False)
    slam = np.tile(np.eye(4), (file.count, 1, 1))
    slam[valid, :3, :3] = Rotation.from_quat(quaternions[valid], scalar_first=True).as_matrix()
    slam[valid, :3, 3] = translations[valid]
    T_world_body = np.linalg.inv(slam) if world_to_body else slam
    T_world_camera = T_world_body @ np.linalg.inv(T_camera_body)
    return Track("camera_pose", Modality.POSE, masked(T_world_camera, valid, np.float64), file.times, valid, "m", "world")


def _is_rigid(T: NDArray[np.float64]) -> bool:
    rotation = T[:3, :3]
    return bool(
        np.isfinite(T).all()
        and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
        and np.linalg.det(rotation) > 0
        and np.allclose(T[3], [0, 0, 0, 1])
    )


def imu_track(file: Annotation, options: XperienceOptions) -> Track:
    """`imu`: (M, 6) float64 acceleration (m/s^2) and angular velocity (rad/s) on its own clock.

    Row `keyframe_indices[i]` is at the time of frame i. Between keyframes the rows keep the proportions of their device
    timestamps; before the first and after the last they keep the intervals.

    Raises:
        UnreadableEpisode: A dataset is missing or of another length, or the keyframes point outside or backward.
    """
    accelerometer, gyroscope = file.required("imu/accel_xyz"), file.required("imu/gyro_xyz")
    clock, keyframes = file.integers("imu/device_timestamp_ns"), file.integers("imu/keyframe_indices")
    if clock is None or keyframes is None:
        raise file.fault("dataset imu/device_timestamp_ns or imu/keyframe_indices is missing")
    count = len(clock)
    for name, values in (("imu/accel_xyz", accelerometer), ("imu/gyro_xyz", gyroscope)):
        if values.shape != (count, 3):
            raise file.fault(f"{name} has the shape {values.shape}, imu/device_timestamp_ns has {count} rows")
    if len(keyframes) != file.count:
        raise file.fault(f"imu/keyframe_indices has {len(keyframes)} rows, the recording has {file.count} frames")
    if keyframes.min() < 0 or keyframes.max() >= count:
        raise file.fault(f"imu/keyframe_indices runs from {keyframes.min()} to {keyframes.max()}, imu has {count} rows")
    if (np.diff(keyframes) < 0).any() or (np.diff(clock) < 0).any():
        raise file.fault("imu/keyframe_indices or imu/device_timestamp_ns runs backward")
    values = np.concatenate([accelerometer * options.accelerometer_to_si, gyroscope * options.gyroscope_to_si], axis=1)
    valid = measured(values, zero_is_missing=False)
    names = ("ax", "ay", "az", "gx", "gy", "gz")
    times = imu_times((clock - clock[0]) * 1e-9, keyframes, file.times)
    return Track("imu", Modality.IMU, masked(values, valid, np.float64), times, valid, "m/s^2, rad/s", "imu", names)


def imu_times(clock: FloatArray, keyframes: NDArray[np.int64], times: FloatArray) -> FloatArray:
    """(M,) seconds on the frames' clock of IMU rows at `clock` seconds of their own."""
    _, first = np.unique(clock[keyframes], return_index=True)
    anchors, targets = clock[keyframes][first], times[first]
    placed = np.interp(clock, anchors, targets)
    placed += np.minimum(clock - anchors[0], 0) + np.maximum(clock - anchors[-1], 0)
    return placed


def calibration_tracks(file: Annotation) -> tuple[list[Track], dict[str, str]]:
    """Untimed: `calibration`, every number of every camera by sorted camera and key; `intrinsics` of the left stereo camera.

    Returns:
        (C,) and (4,) float64 tracks, and name -> why for what is absent.

    Raises:
        UnreadableEpisode: There is no number at all.
    """
    found: dict[str, NDArray] = {}
    for camera in file.children("calibration"):
        for key in file.children(f"calibration/{camera}"):
            dataset = file.dataset(name := f"calibration/{camera}/{key}")
            if dataset is not None and dataset.dtype.kind in NUMERIC:
                found[f"{camera}/{key}"] = np.asarray(file.numbers(name), np.float64).ravel()
    if not found:
        raise file.fault("calibration holds no numbers")
    damaged = next((name for name, values in found.items() if not np.isfinite(values).all()), None)
    if damaged:
        raise file.fault(f"calibration/{damaged} is not finite")
    names = tuple(f"{name}[{i}]" for name, values in found.items() for i in range(values.size))
    tracks = [Track("calibration", Modality.CALIBRATION, np.concatenate(list(found.values())), names=names)]
    K = found.get("cam01/K")
    if K is None or K.size != 4:
        return tracks, {"intrinsics": "calibration/cam01/K is not fx, fy, cx, cy"}
    tracks.append(Track("intrinsics", Modality.CALIBRATION, K, unit="px", frame="camera", names=("fx", "fy", "cx", "cy")))
    return tracks, {}


def point_cloud(file: Annotation) -> tuple[list[Track], dict[str, str]]:
    """`point_cloud`: (P, 3) float32 metres in the world, untimed: it was built from the whole recording.

    Returns:
        The track, or why it is absent.
    """
    points = file.numbers("slam/point_cloud")
    if points is None or points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        return [], {"point_cloud": "slam/point_cloud is absent, empty or not (P, 3)"}
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return [], {"point_cloud": "slam/point_cloud holds no finite point"}
    return [Track("point_cloud", Modality.MAP, points.astype(np.float32), unit="m", frame="world")], {}
