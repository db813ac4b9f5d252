"""Window features as one writes them first: a Python loop over windows, and in it one over blocks, with plain NumPy.

It gets every advantage short of being another program: per-frame descriptors, hashed words and times are arrays in memory
before the clock starts, and nothing is checked or masked.
"""

import numpy as np
from numpy.typing import NDArray

from harness.episode import Episode
from harness.features.base import Block
from harness.features.held import hold

WHOLE = ("body_contacts", "depth_confidence", "caption_objects_interaction_text", "camera_rotation_matrix")


def plain_arrays(episode: Episode, blocks: list[Block]) -> dict[str, NDArray]:
    """Block -> what its loop reads: (N, D) numbers per frame, in memory."""
    arrays = {}
    for block in blocks:
        if block.name.startswith(("video_", "audio_")):
            arrays[block.name] = hold(episode.tracks[block.reads[0]], episode.timeline).values
        elif block.name in WHOLE:
            arrays[block.name] = block.held(episode).values  # type: ignore[attr-defined]
        else:
            arrays[block.name] = episode.tracks[block.reads[0]].array()
    arrays["camera_pose"] = episode.tracks["camera_pose"].array()
    arrays["imu_times"] = np.asarray(episode.tracks["imu"].times)
    arrays["times"] = episode.timeline
    return {name: np.array(values) for name, values in arrays.items()}


def stats7(x: NDArray) -> NDArray:
    """(T, D) -> (7 D,)."""
    steps = np.diff(x, axis=0)
    return np.concatenate(
        [x.mean(0), x.std(0), x.min(0), x.max(0), x[-1] - x[0], steps.mean(0), steps.std(0)],
    )


def plain_block(name: str, arrays: dict[str, NDArray], start: int, length: int) -> NDArray:
    """One block of one window."""
    stop = start + length
    if name == "calibration":
        return arrays[name].ravel()
    if name == "imu_accel_gyro":
        first = np.searchsorted(arrays["imu_times"], arrays["times"][start], side="right") - 1
        last = np.searchsorted(arrays["imu_times"], arrays["times"][stop - 1], side="right") - 1
        return stats7(arrays[name][first : last + 1])
    x = arrays[name][start:stop]
    if name.startswith("hand_"):
        pose, anchor = arrays["camera_pose"][start:stop], arrays["camera_pose"][stop - 1]
        world = x @ pose[:, :3, :3].transpose(0, 2, 1) + pose[:, None, :3, 3]
        x = (world - anchor[:3, 3]) @ anchor[:3, :3]
    elif name == "body_joints":
        x = x - x[:, :1]
    elif name == "camera_translation":
        x = x[:, :3, 3] - x[0, :3, 3]
    return stats7(x.reshape(length, -1))


def plain_features(
    blocks: list[Block], arrays: dict[str, NDArray], starts: NDArray[np.int64], length: int
) -> NDArray[np.float32]:
    """(n, D) features, window after window."""
    rows = [np.concatenate([plain_block(b.name, arrays, int(start), length) for b in blocks]) for start in starts]
    return np.stack(rows).astype(np.float32)
