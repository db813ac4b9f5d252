"""Tasks whose target is the window features of another modality."""

import numpy as np
import pytest
from task_episodes import episode_of, targets_of, track

from harness.episode import Modality
from harness.tasks import get_task
from harness.tasks.reconstruction import CAMERAS

N = 12


def described(cameras=CAMERAS, depth=True, valid=None):
    """An episode as the track store gives it: descriptors of video and depth, without the frames."""
    rng = np.random.default_rng(0)
    tracks = [track(f"descriptor/video/{c}", Modality.VIDEO, rng.random((N, 98), np.float32), valid) for c in cameras]
    if depth:
        tracks.append(track("descriptor/depth", Modality.DEPTH, rng.random((N, 140), np.float32)))
    return episode_of(N, *tracks)


def test_the_target_is_depth_and_six_cameras():
    task, episode = get_task("modality_reconstruction"), described()
    targets, samples = targets_of(task, episode)
    assert task.shape(episode) == (5096,) and targets.values.shape == (len(samples), 5096)
    assert targets.valid.all() and targets.mask.all()
    # The first of the seven statistics is the mean over the window: depth first, then the cameras in order.
    means = [episode.tracks["descriptor/depth"].data[2:6].mean(axis=0)]
    assert targets.values[2, :140] == pytest.approx(means[0], rel=1e-5)
    for i, camera in enumerate(CAMERAS):
        mean = episode.tracks[f"descriptor/video/{camera}"].data[2:6].mean(axis=0)
        assert targets.values[2, 980 + 686 * i : 980 + 686 * i + 98] == pytest.approx(mean, rel=1e-5)


def test_a_camera_that_an_episode_lacks_keeps_its_columns_masked():
    task, episode = get_task("modality_reconstruction"), described(CAMERAS[1:])
    targets, _ = targets_of(task, episode)
    assert targets.values.shape[1] == 5096 and targets.valid.all()
    assert not targets.mask[:, 980 : 980 + 686].any()
    assert targets.mask[:, :980].all() and targets.mask[:, 980 + 686 :].all()


def test_windows_without_a_frame_are_not_valid():
    valid = np.arange(N) >= 6
    targets, samples = targets_of(get_task("modality_reconstruction"), described(depth=False, valid=valid))
    assert targets.valid.tolist() == (samples.last[:, 0] >= 6).tolist()


def test_hand_features_are_of_the_joints_in_the_camera_of_t0():
    rng = np.random.default_rng(1)
    joints = rng.normal(size=(2, N, 21, 3)).astype(np.float32)
    seen = np.ones(N, bool)
    seen[:5] = False
    pose = np.tile(np.eye(4), (N, 1, 1))
    pose[:, :3, 3] = [3.0, 2.0, 1.0]  # a camera that stays where it is: every frame is the anchored one
    left, right = (
        track(f"hand_{s}", Modality.HAND, j, v) for s, j, v in zip(("left", "right"), joints, (None, seen), strict=True)
    )
    episode = episode_of(N, left, right, track("camera_pose", Modality.POSE, pose))
    task = get_task("imu_to_hand_pose")
    targets, _ = targets_of(task, episode)
    assert task.shape(episode) == (882,)
    assert targets.values[6, :63] == pytest.approx(joints[0, 6:10].mean(axis=0).ravel(), abs=1e-5)
    assert targets.values[6, 441:504] == pytest.approx(joints[1, 6:10].mean(axis=0).ravel(), abs=1e-5)
    assert targets.mask[0, :441].all() and not targets.mask[0, 441:].any()  # frames 0 .. 3: the right hand is not seen
    assert targets.valid.all()
