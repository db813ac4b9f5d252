"""The hand-pose action as a target: anchored at t0, masked where nothing was seen, persistence holds what t0 shows."""

import numpy as np
from task_episodes import targets_of
from test_tasks_hands import N, history_of, recording

from harness.actions.hand_pose import ANSWER_WIDTH, FULL, RANKED, encode
from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.hand_action_error import GROUPS, HandActionError
from harness.tasks import get_task
from harness.window import WindowSpec

H = 3


def action_of(world, T, anchor):
    """(N, 57) of joints (N, 42, 3), left hand first."""
    seen = {side: np.ones(len(T), bool) for side in ("left", "right")}
    return encode(T, {"left": world[:, :21], "right": world[:, 21:]}, seen, anchor)[0]


def test_the_target_is_the_action_of_every_later_step_in_the_frame_of_t0():
    rng = np.random.default_rng(0)
    episode, world, T = recording(rng)
    task = get_task(f"hand_action_chunk@{H}")
    targets, samples = targets_of(task, episode, length=4, stride=1)
    assert task.shape(episode) == (H, ANSWER_WIDTH) == (H, 59) and task.reach(WindowSpec()) == H
    values = targets.values.reshape(len(samples), H, ANSWER_WIDTH)
    for row, t0 in enumerate(samples.last[:, 0]):
        if t0 + H >= N:
            assert not targets.valid[row]
            continue
        expected = action_of(world[t0 + 1 : t0 + 1 + H], T[t0 + 1 : t0 + 1 + H], T[t0])
        np.testing.assert_allclose(values[row, :, :57], expected, atol=1e-4)
        tips = values[row, :, FULL.tips["left"]].reshape(H, 5, 3)
        np.testing.assert_allclose(values[row, :, 58], np.linalg.norm(tips[:, 0] - tips[:, 1], axis=1), atol=1e-5)
        held = action_of(world[t0 : t0 + 1], T[t0 : t0 + 1], T[t0])[0]
        np.testing.assert_allclose(targets.reference[row].reshape(H, ANSWER_WIDTH)[:, :57], np.tile(held, (H, 1)), atol=1e-4)
    assert targets.mask[targets.valid].all()


def test_the_history_ends_with_what_persistence_holds():
    rng = np.random.default_rng(1)
    left = rng.random(N) < 0.7
    episode, _, _ = recording(rng, left_seen=left)
    task, spec = get_task("hand_action_chunk@2"), WindowSpec(length=5, stride=1)
    targets, samples = targets_of(task, episode, length=5, stride=1)
    values, measured = history_of(task, episode, spec, samples)
    assert values.shape == (len(samples), 5, ANSWER_WIDTH) and not values[~measured].any()
    latest = 4 - measured[:, ::-1].argmax(axis=1)
    held = np.take_along_axis(values, latest[:, None], axis=1)[:, 0]
    reference = targets.reference.reshape(len(samples), 2, ANSWER_WIDTH)
    np.testing.assert_allclose(reference[targets.valid, 0], held[targets.valid], atol=1e-6)


def test_a_hand_that_is_not_seen_and_a_camera_without_a_pose_are_masked():
    rng = np.random.default_rng(2)
    right, posed = np.ones(N, bool), np.ones(N, bool)
    right[12], posed[15] = False, False
    episode, _, _ = recording(rng, right_seen=right, posed=posed)
    targets, samples = targets_of(get_task(f"hand_action_chunk@{H}"), episode, length=4, stride=1)
    mask = targets.mask.reshape(len(samples), H, ANSWER_WIDTH)
    for row, t0 in enumerate(samples.last[:, 0]):
        if t0 + H >= N or not posed[t0]:
            assert not targets.valid[row]
            continue
        for step in range(H):
            t = t0 + 1 + step
            assert mask[row, step, FULL.camera].all() == posed[t] == mask[row, step, FULL.wrist["left"]].all()
            assert mask[row, step, 57] == mask[row, step, FULL.tips["right"]].all() == (right[t] and posed[t])
    assert not targets.values[~targets.mask].any()


def scored(guess, truth, mask=None, status=None):
    n = len(truth)
    mask = np.ones((n, truth[0].size), bool) if mask is None else mask.reshape(n, -1)
    flat = truth.reshape(n, -1).astype(np.float32)
    context = MetricContext(shape=(1, 59), train_mean=np.zeros(59), train_std=np.full(59, 0.5))
    metric = HandActionError(context)
    targets = Targets(np.ones(n, bool), values=flat, mask=mask, reference=flat + 1)
    rows = Predictions(all_ok(n) if status is None else status, values=guess.reshape(n, -1).astype(np.float32))
    return metric, metric.state(targets, rows)


def test_the_error_by_hand():
    rng = np.random.default_rng(3)
    _, world, T = recording(rng)
    truth = np.concatenate([action_of(world[:1], T[:1], T[0]), [[0.03, 0.04]]], axis=1)[:, None]
    guess = truth.copy()
    guess[0, 0, FULL.wrist["right"].start] += 0.3  # 0.3 m along x: the tips go with it
    guess[0, 0, 57] += 0.1
    metric, state = scored(guess, truth)
    # In deviations of 0.5: one of three wrist numbers 0.6, the right distance 0.2, eight groups.
    np.testing.assert_allclose(metric.value(state), (0.6 / 3 + 0.2) / 8, rtol=1e-5)
    details = metric.details(state)
    np.testing.assert_allclose(details["place_m"]["right_wrist"], 0.3, rtol=1e-5)
    np.testing.assert_allclose(details["place_m"]["right_tips"], 0.3, rtol=1e-5)
    np.testing.assert_allclose([details["place_m"]["left_tips"], details["rotation_deg"]["camera"]], 0, atol=1e-4)
    np.testing.assert_allclose(details["wrist_m"], 0.15, rtol=1e-5)


def test_wrong_fingertips_alone_change_no_rank_and_a_turn_is_told_in_degrees():
    rng = np.random.default_rng(4)
    _, world, T = recording(rng)
    truth = np.concatenate([action_of(world[:1], T[:1], T[0]), [[0.03, 0.04]]], axis=1)[:, None]
    guess = truth.copy()
    guess[0, 0, FULL.tips["left"]] += 0.2
    metric, state = scored(guess, truth)
    assert metric.value(state) == 0.0 and metric.details(state)["place_m"]["left_tips"] > 0.3
    turned = truth.copy()
    turned[0, 0, 3:9] = [0, 1, 0, -1, 0, 0]  # the camera of t0 turned by 90 degrees about z
    metric, state = scored(turned, truth)
    np.testing.assert_allclose(metric.details(state)["rotation_deg"]["camera"], 90, atol=1e-3)


def test_the_groups_are_the_projection_and_failing_costs():
    assert sorted(d for dims in GROUPS.values() for d in dims) == sorted(RANKED) and len(RANKED) == 29
    _, world, T = recording(np.random.default_rng(5))
    truth = np.concatenate([action_of(world[:2], T[:2], T[0]), np.full((2, 2), 0.05)], axis=1)[:, None]
    guess = truth + 0.1
    _, good = scored(guess, truth)
    metric, lost = scored(guess, truth, status=np.array([Status.OOM.value, Status.OK.value]))
    assert metric.value(lost) > metric.value(good)
    assert metric.details(lost)["place_m"]["camera"] > metric.details(good)["place_m"]["camera"]
