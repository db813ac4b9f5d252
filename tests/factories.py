"""Small recordings in the layouts that the readers know, made from nothing, with the faults that real ones have."""

import json
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

CAMERAS = ("fisheye_cam0", "fisheye_cam1", "fisheye_cam2", "fisheye_cam3", "stereo_left", "stereo_right")
FIRST_TIMESTAMP = 75_294_505_147_569  # ns, as on a real device: far above any frame number
FPS = 20
IMU_PER_FRAME = 10
TONE = 440.0  # Hz, of the sound


def write_video(
    path: Path,
    frames: int,
    size: int = 64,
    audio: bool = False,
    fps: int = FPS,
    audio_rate: int = 48_000,
    index_first: bool = False,
) -> None:
    """H.264 of `frames` grey frames (frame i has the grey level 4 i mod 256).

    With `audio` a 440 Hz tone in AAC; with `index_first` the file's index stands before its frames, as for streaming.
    """
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=audio_rate, layout="mono") if audio else None
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 4 * i % 256, np.uint8), "rgb24")
            frame.pts = i
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound is None:
            return
        time = np.arange(audio_rate * frames // fps) / audio_rate
        wave = (0.3 * np.sin(2 * np.pi * TONE * time)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
            part.sample_rate, part.pts, part.time_base = audio_rate, start, Fraction(1, audio_rate)
            container.mux(sound.encode(part))
        container.mux(sound.encode())


def xperience_caption(frames: int) -> dict[str, Any]:
    """A caption of two segments (the second from two thirds on) that uses every form of frame reference but timestamps."""
    half, third = frames // 2, frames // 3
    return {
        "config": {"segment_sec": 20, "sample_fps": 0.5, "total_tokens": 1, "Main Task": "make tea"},
        "global_summary": "Tea is made.",
        "segments": [
            {
                "segment_id": 0,
                "start_frame": 1,
                "end_frame": half,
                "Sub Task": "boil water",
                "Current Action": [
                    {"label": "reach kettle", "description": "", "start_frame": 3, "end_frame": third},
                    {
                        "label": "lift kettle",
                        "start_frame_name": f"frame_{third + 3:06d}",
                        "end_frame_name": f"frame_{half:06d}.jpg",
                    },
                ],
                "objects": {"frame_000001": ["kettle", "cup"], f"frame_{third:06d}": ["kettle"]},
                "interaction": {"frame_000002": "The left hand holds the kettle.", str(third): "N/A"},
            },
            {
                "segment_id": 1,
                "start_frame": 2 * third + 1,
                "end_frame": frames,
                "Sub Task": "pour",
                "Current Action": [{"label": "pour water", "start_frame": 2 * third + 1, "end_frame": frames}],
                "objects": {str(2 * third + 1): ["cup"]},
                "interaction": {str(2 * third + 1): "Water runs into the cup."},
            },
        ],
    }


def xperience_arrays(frames: int, seed: int) -> dict[str, Any]:
    """HDF5 path -> value of a full annotation, but the caption. `T_world_camera` is the truth, not a dataset."""
    rng = np.random.default_rng(seed)
    stamps = FIRST_TIMESTAMP + np.arange(frames) * 50_000_000 + rng.integers(-100_000, 100_000, frames)
    stamps[0] = FIRST_TIMESTAMP
    rows = IMU_PER_FRAME * frames + 15
    T_c0_b = _pose(Rotation.from_euler("xyz", [0.1, -0.2, 0.3]), np.array([0.05, 0.0, 0.02]))
    turn = Rotation.from_euler("xyz", 0.3 * np.sin(np.arange(frames)[:, None] * [0.05, 0.03, 0.02]))
    T_world_camera = _pose(turn, np.stack([np.arange(frames) * 0.01, np.zeros(frames), np.full(frames, 1.6)], 1))
    T_world_to_body = np.linalg.inv(T_c0_b) @ np.linalg.inv(T_world_camera)
    depth = rng.uniform(0.3, 3.5, (frames, 32, 32)).astype(np.float32)
    depth[:, 0, 0] = 0
    out: dict[str, Any] = {
        "T_world_camera": T_world_camera,
        "slam/quat_wxyz": Rotation.from_matrix(T_world_to_body[:, :3, :3]).as_quat(scalar_first=True),
        "slam/trans_xyz": T_world_to_body[:, :3, 3],
        "slam/frame_names": np.array([f"{s}.jpg" for s in stamps], "S"),
        "slam/point_cloud": rng.normal(size=(50, 3)).astype(np.float32),
        "depth/depth": depth,
        "depth/confidence": rng.integers(0, 256, (frames, 32, 32)).astype(np.uint8),
        "depth/scale": 0.5,
        "depth/depth_min": 0.2,
        "depth/depth_max": 4.0,
        "full_body_mocap/keypoints": rng.normal(size=(frames, 52, 3)).astype(np.float32),
        "full_body_mocap/contacts": rng.integers(0, 2, (frames, 21)).astype(np.float32),
        "full_body_mocap/Ts_world_root": rng.normal(size=(frames, 7)).astype(np.float32),
        "full_body_mocap/Ts_world_cpf": rng.normal(size=(frames, 7)).astype(np.float32),
        "full_body_mocap/body_quats": rng.normal(size=(frames, 21, 4)).astype(np.float32),
        "full_body_mocap/left_hand_quats": rng.normal(size=(frames, 15, 4)).astype(np.float32),
        "full_body_mocap/right_hand_quats": rng.normal(size=(frames, 15, 4)).astype(np.float32),
        "full_body_mocap/betas": rng.normal(size=(frames, 16)).astype(np.float32),
        "full_body_mocap/frame_nums": np.arange(frames),
        "imu/device_timestamp_ns": FIRST_TIMESTAMP - 20_000_000 + np.arange(rows) * 5_000_000,
        "imu/accel_xyz": rng.normal([0, 0, 9.81], 1, (rows, 3)),
        "imu/gyro_xyz": rng.normal(size=(rows, 3)),
        "imu/keyframe_indices": 4 + IMU_PER_FRAME * np.arange(frames),
        "video/device_timestamp": np.array([str(s) for s in stamps], "S"),
        "video/frame_number": np.arange(frames),
        "video/length_sec": frames / FPS,
        "calibration/cam01/K": np.array([200.0, 200.0, 256.0, 256.0]),
        "calibration/cam01/T_c0_b": T_c0_b,
        "calibration/cam01/baseline": 0.06,
        "metadata/device_id": "bench",
        "metadata/body_height": 1.75,
    }
    for side in ("left", "right"):
        out[f"hand_mocap/{side}_joints_3d"] = rng.normal(0.3, 0.1, (frames, 21, 3)).astype(np.float32)
        out[f"hand_mocap/{side}_translation"] = rng.normal(size=(frames, 3)).astype(np.float32)
        out[f"hand_mocap/{side}_mano_hand_pose"] = rng.normal(size=(frames, 45)).astype(np.float32)
        turned = Rotation.random(frames, rng=rng).as_matrix().reshape(frames, 9)
        out[f"hand_mocap/{side}_mano_hand_global_orient"] = turned.astype(np.float32)
        out[f"hand_mocap/{side}_mano_hand_betas"] = rng.normal(size=(frames, 10)).astype(np.float32)
    for camera in range(4):
        out[f"calibration/cam{camera}/K"] = np.array([300.0 + camera, 300.0, 320.0, 240.0])
        out[f"calibration/cam{camera}/D"] = np.array([0.1, 0.01, 0.0, 0.0]) + camera
        out[f"calibration/cam{camera}/T_c_b"] = _pose(Rotation.identity(), np.array([0.01 * camera, 0, 0]))
        out[f"calibration/cam{camera}/camera_model"] = "fisheye"
    return out


def write_xperience_episode(
    folder: Path,
    frames: int = 60,
    *,
    seed: int = 0,
    cameras: Iterable[str] = CAMERAS,
    audio: bool = True,
    caption: dict[str, Any] | str | None = ...,  # type: ignore[assignment]
    drop: Iterable[str] = (),
    edit: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Write one episode, `folder/annotation.hdf5` and its videos.

    Args:
        folder: Made where it is absent; `<root>/<session>/ep<N>` in a data set.
        frames: Video frames, 20 a second; at least 12 for the default caption to make sense.
        seed: Of all numbers; the same seed gives the same arrays.
        cameras: Which videos to write, 64 x 64 pixels.
        audio: Whether fisheye_cam0 has sound.
        caption: A JSON object, a text as it stands in the file, None for no caption; by default `xperience_caption`.
        drop: Groups and datasets to leave out, e.g. `imu`, `depth/confidence`.
        edit: Changes the arrays by HDF5 path before they are written: faults.

    Returns:
        HDF5 path -> what was written, and the truth `T_world_camera`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = xperience_arrays(frames, seed)
    if caption is ...:
        caption = xperience_caption(frames)
    if caption is not None:
        arrays["caption"] = caption if isinstance(caption, str) else json.dumps(caption)
    if edit is not None:
        edit(arrays)
    left_out = tuple(drop)
    with h5py.File(folder / "annotation.hdf5", "w") as file:
        for name, value in arrays.items():
            if name != "T_world_camera" and not any(name == part or name.startswith(f"{part}/") for part in left_out):
                file[name] = value
    for camera in cameras:
        write_video(folder / f"{camera}.mp4", frames, audio=audio and camera == CAMERAS[0])
    return arrays


def _pose(rotation: Rotation, translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 4, 4) rigid transform."""
    matrix = rotation.as_matrix()
    out = np.zeros((*matrix.shape[:-2], 4, 4))
    out[..., :3, :3], out[..., :3, 3], out[..., 3, 3] = matrix, translation, 1
    return out
