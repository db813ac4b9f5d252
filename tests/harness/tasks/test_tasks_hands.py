"""Where the hands will be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from task_episodes import episode_of, targets_of, track

from harness.episode import Modality
from harness.geometry import from_world, to_world
from harness.tasks import get_task
from harness.tasks.hands import WIDTH
from harness.window import View, WindowSpec, make_samples, observe_track, view_times

N = 24


def poses(rng, n=N):
    T = np.tile(np.eye(4), (n, 1, 1))
    T[:, :3, :3] = Rotation.random(n, rng=rng).as_matrix()
    T[:, :3, 3] = rng.normal(size=(n, 3))
    return T


def recording(rng, left_seen=None, right_seen=None, posed=None, T=None, world=None):
    """Hands that are at `world` (N, 42, 3), as a moving camera stores them; NaN where not seen."""
    T = poses(rng) if T is None else T
    world = rng.normal(size=(len(T), 42, 3)) if world is None else world
    local = from_world(world, T)
    tracks = [pose_track(T, posed)]
    for i, (name, seen) in enumerate((("hand_left", left_seen), ("hand_right", right_seen))):
        joints = local[:, 21 * i : 21 * (i + 1)].copy()
        if seen is not None:
            joints[~seen] = np.nan
        tracks.append(track(name, Modality.HAND, joints, seen))
    return episode_of(len(T), *tracks), world, T


def pose_track(T, posed=None):
    stored = T.copy()
    if posed is not None:
        stored[~posed] = np.nan
    return track("camera_pose", Modality.POSE, stored, posed)


def history_of(task, episode, spec, samples):
    last = samples.last[:, 0]
    windows = {n: observe_track(episode.tracks[n], episode.timeline, last, spec) for n in task.tracks_for_history()}
    return task.history(View(view_times(episode, last, spec), windows))


def test_a_still_hand_does_not_move_when_the_head_turns():
    """The camera turns by 90 degrees about its y axis and steps 1 m along x; a point 2 m ahead of the first camera stays put."""
    T = np.tile(np.eye(4), (4, 1, 1))
    T[2:, :3, :3] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    T[2:, 0, 3] = 1.0
    world = np.tile(np.array([0.0, 0.0, 2.0]), (4, 42, 1))
    episode, _, _ = recording(np.random.default_rng(0), T=T, world=world)
    # Seen from the turned camera the point is elsewhere: x to its right is -z of the world.
    assert episode.tracks["hand_left"].data[2, 0] == pytest.approx([-2.0, 0.0, -1.0])
    targets, _ = targets_of(get_task("hand_trajectory_forecast@2"), episode, length=2)
    assert targets.values[0].reshape(2, 42, 3)[:, 7] == pytest.approx(np.array([[0.0, 0.0, 2.0]] * 2), abs=1e-6)
    assert targets.reference[0] == pytest.approx(targets.values[0], abs=1e-6)


def test_targets_are_the_joints_in_the_camera_of_t0():
    episode, world, T = recording(np.random.default_rng(1))
    task = get_task("hand_trajectory_forecast@3")
    targets, samples = targets_of(task, episode)
    assert task.shape(episode) == (3, 42, 3)
    for row, t0 in enumerate(samples.last[:, 0]):
        inside = t0 + 3 < N
        assert targets.valid[row] == inside
        if inside:
            homogeneous = np.concatenate([world[t0 + 1 : t0 + 4], np.ones((3, 42, 1))], axis=2)
            expected = (homogeneous @ np.linalg.inv(T[t0]).T)[..., :3]
            assert targets.values[row].reshape(3, 42, 3) == pytest.approx(expected, abs=1e-5)
            held = episode.tracks["hand_right"].data[t0, 4]  # the camera at t0 is the anchor
            assert targets.reference[row].reshape(3, 42, 3)[2, 25] == pytest.approx(held, abs=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_moving_the_world_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    episode, _, T = recording(rng)
    moved = episode.with_tracks({**episode.tracks, "camera_pose": pose_track(poses(rng, 1) @ T)})
    task = get_task("hand_trajectory_forecast@5")
    spec = WindowSpec(4, 3)
    samples = make_samples("window", "e", episode.timeline, spec)
    a, b = task.targets(episode, samples, spec), task.targets(moved, samples, spec)
    np.testing.assert_allclose(a.values, b.values, atol=1e-4)
    np.testing.assert_allclose(a.reference, b.reference, atol=1e-4)
    np.testing.assert_allclose(history_of(task, episode, spec, samples)[0], history_of(task, moved, spec, samples)[0], atol=1e-4)
    assert (a.mask == b.mask).all() and (a.valid == b.valid).all()


def test_world_and_camera_are_inverse():
    rng = np.random.default_rng(3)
    points, T = rng.normal(size=(5, 7, 3)), poses(rng, 5)
    np.testing.assert_allclose(from_world(to_world(points, T), T), points, atol=1e-12)


def test_what_was_not_measured_is_masked():
    seen = np.ones(N, bool)
    seen[6] = False  # ahead of the window 0..3 only at horizon step 3
    posed = np.ones(N, bool)
    posed[5] = False
    never = np.zeros(N, bool)
    never[15:] = True
    episode, _, _ = recording(np.random.default_rng(4), left_seen=seen, right_seen=never, posed=posed)
    targets, _ = targets_of(get_task("hand_trajectory_forecast@4"), episode, length=4)
    mask = targets.mask.reshape(len(targets), 4, 42, 3)
    assert targets.valid[0]
    assert mask[0, :, :21].all(axis=(1, 2)).tolist() == [True, False, False, True]  # frames 4, 5 (no pose), 6 (unseen), 7
    assert not mask[0, :, 21:].any()
    assert not targets.valid[2]  # no camera pose at its t0, frame 5
    # The right hand is first seen at 15: a window that ends at 14 must guess it, one that ends at 15 forecasts it.
    assert not mask[11, :, 21:].any() and mask[11, :, :21].all()
    assert mask[12].all()
    assert np.isfinite(targets.values).all() and np.isfinite(targets.reference).all()


def test_one_joint_may_be_missing():
    rng = np.random.default_rng(5)
    episode, _, _ = recording(rng)
    valid = np.ones((N, 21), bool)
    valid[5, 8] = False
    left = replace(episode.tracks["hand_left"], valid=valid)
    targets, _ = targets_of(get_task("hand_trajectory_forecast@2"), episode.with_tracks({**episode.tracks, "hand_left": left}))
    mask = targets.mask.reshape(-1, 2, 42, 3)
    assert np.argwhere(~mask[0].all(axis=2)).tolist() == [[1, 8]]


def test_an_episode_with_one_hand_forecasts_that_hand():
    episode, _, _ = recording(np.random.default_rng(6))
    tracks = {k: v for k, v in episode.tracks.items() if k != "hand_left"}
    targets, _ = targets_of(get_task("hand_trajectory_forecast@2"), episode.with_tracks(tracks))
    mask = targets.mask.reshape(-1, 2, 42, 3)[targets.valid]
    assert len(mask) and not mask[:, :, :21].any() and mask[:, :, 21:].all()


@given(seed=st.integers(0, 10_000), context=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_the_reference_is_the_last_measured_step_of_the_view(seed, context):
    rng = np.random.default_rng(seed)
    left, right, posed = (rng.random(N) < 0.6 for _ in range(3))
    episode, world, T = recording(rng, left, right, posed)
    targets, samples = targets_of(get_task("hand_trajectory_forecast@2"), episode, context=context)
    reference = targets.reference.reshape(-1, 2, 42, 3)
    mask = targets.mask.reshape(-1, 2, 42, 3)
    for row, t0 in enumerate(samples.last[:, 0]):
        for hand, seen in enumerate((left, right)):
            joints = slice(21 * hand, 21 * (hand + 1))
            shown = [t for t in range(max(0, t0 - context + 1), t0 + 1) if seen[t] and posed[t] and posed[t0]]
            if not shown:
                assert not mask[row, :, joints].any()
            else:
                expected = from_world(world[shown[-1], joints], T[t0])
                np.testing.assert_allclose(reference[row, :, joints], np.stack([expected] * 2), atol=1e-4)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_history_knows_nothing_after_t0(seed):
    rng = np.random.default_rng(seed)
    episode, _, _ = recording(rng)
    task, spec = get_task("hand_trajectory_forecast"), WindowSpec(5, 5, context=8)
    samples = make_samples("window", "e", episode.timeline, spec).take(np.array([1]))
    t0 = int(samples.last[0, 0])
    changed = {}
    for name in task.tracks_for_history():
        data = episode.tracks[name].data.copy()
        data[t0 + 1 :] = rng.normal(size=data[t0 + 1 :].shape)
        changed[name] = replace(episode.tracks[name], data=data)
    before = history_of(task, episode, spec, samples)
    after = history_of(task, episode.with_tracks({**episode.tracks, **changed}), spec, samples)
    assert (before[0] == after[0]).all() and (before[1] == after[1]).all()
    assert before[0].shape == (1, 8, WIDTH)
    # The last step is t0 itself, in its own camera.
    assert before[0][0, -1, :63] == pytest.approx(episode.tracks["hand_left"].data[t0].ravel())


def test_shapes_are_those_of_the_published_targets(shared_data):
    published = np.load(shared_data / "xperience_published/single_episode/mlp/hand_trajectory_forecast/predictions.npz")
    episode, _, _ = recording(np.random.default_rng(7))
    task = get_task("hand_trajectory_forecast")
    targets, _ = targets_of(task, episode)
    assert targets.values.shape[1] == published["y_true"].shape[1] == np.prod(task.shape(episode))
