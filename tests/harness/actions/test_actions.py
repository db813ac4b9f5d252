"""Rotations, poses and the hand-pose action against SciPy and by their own laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from harness.actions.hand_pose import (
    FULL,
    PROJECTED,
    PROJECTED_WIDTH,
    RANKED,
    SIDES,
    TIPS,
    WIDTH,
    answer_of,
    encode,
    lift,
    project,
    project_measured,
    tips_in_anchor,
    wrist_pose,
)
from harness.actions.pose import from_nine, inverse, pose_of, to_nine
from harness.actions.quantiles import SMALLEST_RANGE, fit_quantiles
from harness.actions.rotation import angle_between, from_six, to_six
from harness.demo.hand import hand_pose

SEEDS = st.integers(0, 10**6)


def rotations(seed: int, n: int = 5):
    return Rotation.random(n, rng=seed).as_matrix()


def poses(seed: int, n: int = 5):
    return pose_of(rotations(seed, n), np.random.default_rng(seed).normal(size=(n, 3)))


@given(SEEDS)
def test_six_numbers_are_the_first_two_columns_and_give_the_rotation_back(seed):
    matrix = rotations(seed)
    np.testing.assert_array_equal(to_six(matrix)[:, :3], matrix[:, :, 0])
    np.testing.assert_array_equal(to_six(matrix)[:, 3:], matrix[:, :, 1])
    np.testing.assert_allclose(from_six(to_six(matrix)), matrix, atol=1e-12)


@given(arrays(np.float64, (4, 6), elements=st.floats(-1e3, 1e3)))
def test_any_six_numbers_are_a_rotation(six):
    matrix = from_six(six)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, 1, 2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), 1.0, atol=1e-6)


@given(SEEDS)
def test_the_angle_is_that_of_scipy(seed):
    one, other = rotations(seed), rotations(seed + 1)
    expected = (Rotation.from_matrix(one).inv() * Rotation.from_matrix(other)).magnitude()
    np.testing.assert_allclose(angle_between(one, other), expected, atol=1e-6)
    assert angle_between(one, one).max() == 0.0
    small = (Rotation.from_matrix(one) * Rotation.from_rotvec([1e-7, 0, 0])).as_matrix()
    np.testing.assert_allclose(angle_between(one, small), 1e-7, rtol=1e-3)


@given(SEEDS)
def test_poses_invert_and_come_back(seed):
    pose = poses(seed)
    np.testing.assert_allclose(pose @ inverse(pose), np.broadcast_to(np.eye(4), pose.shape), atol=1e-12)
    np.testing.assert_allclose(from_nine(to_nine(pose)), pose, atol=1e-12)


def hands(seed: int, steps: int = 6):
    rng = np.random.default_rng(seed)
    palm = np.array([[[-0.2, 0.4, 0.1]], [[0.2, 0.4, 0.1]]]) + np.cumsum(rng.normal(0, 0.02, (2, steps, 3)), axis=1)
    tilt, grip = rng.uniform(-1, 1, (2, steps)), rng.uniform(0, 1, (2, steps))
    left, right = (hand_pose(palm[side], tilt[side], grip[side], side, 1.0).joints for side in (0, 1))
    return {"left": left, "right": right}


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_action_says_where_everything_is(seed):
    joints, camera = hands(seed), poses(seed, 6)
    seen = {side: np.ones(6, bool) for side in SIDES}
    action, measured = encode(camera, joints, seen, camera[0])
    assert action.shape == (6, WIDTH) == (6, 57) and measured.all()
    # The camera is at the anchor at t0.
    np.testing.assert_allclose(from_nine(action[0, FULL.camera]), np.eye(4), atol=1e-12)
    for side in SIDES:
        world = tips_in_anchor(action, side) @ camera[0, :3, :3].T + camera[0, :3, 3]
        np.testing.assert_allclose(world, joints[side][:, TIPS], atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_moving_the_world_changes_nothing(seed):
    joints, camera, move = hands(seed), poses(seed, 6), poses(seed + 1, 1)[0]
    seen = {side: np.ones(6, bool) for side in SIDES}
    moved = {side: points @ move[:3, :3].T + move[:3, 3] for side, points in joints.items()}
    one, _ = encode(camera, joints, seen, camera[2])
    other, _ = encode(move @ camera, moved, seen, move @ camera[2])
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_wrist_frame_points_out_of_the_palm_and_to_the_fingers():
    """A flat hand, palm down, fingers forward (y), in a world with z up."""
    flat = {side: hand_pose(np.zeros((1, 3)), np.zeros(1), np.zeros(1), i, 1.0) for i, side in ((0, "left"), (1, "right"))}
    for side, found in flat.items():
        frame = wrist_pose(found.joints, side)[0, :3, :3]
        back = found.turn[0, :, 2]
        assert frame[:, 1] @ back < -0.9 and frame[:, 2] @ found.turn[0, :, 0] > 0.9
        assert np.linalg.det(frame) == pytest.approx(1.0)
        little, index = found.joints[0, 17], found.joints[0, 5]
        to_little = (little - index) / np.linalg.norm(little - index)
        assert (frame[:, 0] @ to_little) * (1 if side == "right" else -1) > 0.9


def test_mirrored_hands_give_mirrored_actions():
    right = hand_pose(np.array([[0.1, 0.3, 0.0]]), np.array([0.3]), np.array([0.4]), 1, 1.0).joints
    mirror = np.array([-1.0, 1.0, 1.0])
    camera, seen = np.eye(4)[None], {side: np.ones(1, bool) for side in SIDES}
    action, _ = encode(camera, {"right": right, "left": right * mirror}, seen, camera[0])
    place = {side: action[0, FULL.wrist[side]][:3] for side in SIDES}
    np.testing.assert_allclose(place["left"], place["right"] * mirror, atol=1e-12)
    tips = {side: action[0, FULL.tips[side]].reshape(5, 3) for side in SIDES}
    np.testing.assert_allclose(tips["left"], tips["right"] * mirror, atol=1e-12)


def test_a_hand_that_was_not_seen_is_masked_and_not_zero_that_counts():
    joints, camera = hands(0), poses(0, 6)
    seen = {"right": np.arange(6) != 2, "left": np.ones(6, bool)}
    joints["left"][4] = np.nan
    joints["left"][5] = 0.0
    action, measured = encode(camera, joints, seen, camera[0])
    assert np.isfinite(action).all()
    right = slice(FULL.wrist["right"].start, FULL.tips["right"].stop)
    left = slice(FULL.wrist["left"].start, FULL.tips["left"].stop)
    assert not measured[2, right].any() and not measured[4:, left].any() and measured[:4, left].all()
    assert measured[:, FULL.camera].all() and not action[~measured].any()


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_projection_keeps_what_it_says_and_lifting_keeps_the_projection(seed):
    rng = np.random.default_rng(seed)
    action = rng.normal(size=(4, WIDTH))
    short = project(action)
    assert short.shape == (4, PROJECTED_WIDTH) == (4, 29)
    for side in SIDES:
        np.testing.assert_array_equal(short[:, PROJECTED.wrist[side]], action[:, FULL.wrist[side]])
        tips = action[:, FULL.tips[side]].reshape(4, 5, 3)
        np.testing.assert_allclose(short[:, PROJECTED.grasp[side]][:, 0], np.linalg.norm(tips[:, 0] - tips[:, 1], axis=1))
    np.testing.assert_allclose(lift(short, action), action, atol=1e-12)
    np.testing.assert_array_equal(answer_of(action)[:, RANKED], short)
    other = np.abs(rng.normal(size=(4, PROJECTED_WIDTH)))
    np.testing.assert_allclose(project(lift(other, action)), other, atol=1e-12)
    np.testing.assert_allclose(project(lift(other, np.zeros(WIDTH))), other, atol=1e-12)


def test_a_distance_is_measured_where_both_tips_are():
    measured = np.ones((1, WIDTH), bool)
    measured[0, FULL.tips["left"].start + 3] = False
    found = project_measured(measured)
    assert not found[0, PROJECTED.grasp["left"]].any() and found.sum() == PROJECTED_WIDTH - 1


@given(SEEDS)
def test_quantiles_come_back_inside_and_are_cut_outside(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(400, 3)) * [1.0, 10.0, 1e-5]
    measured = rng.random((400, 3)) < 0.9
    found = fit_quantiles(values, measured)
    for column in (0, 1):
        known = values[measured[:, column], column]
        np.testing.assert_allclose([found.low[column], found.high[column]], np.quantile(known, [0.01, 0.99]))
    assert found.high[2] - found.low[2] == pytest.approx(SMALLEST_RANGE)
    inside = (values >= found.low) & (values <= found.high)
    np.testing.assert_allclose(found.physical(found.normalise(values))[inside], values[inside], atol=1e-9)
    assert np.abs(found.normalise(values)).max() <= 1
    assert 0 < found.clipped_share(values, measured) <= 0.03
    empty = fit_quantiles(values[:, :1], np.zeros((400, 1), bool))
    np.testing.assert_array_equal([empty.low[0], empty.high[0]], [-1, 1])
