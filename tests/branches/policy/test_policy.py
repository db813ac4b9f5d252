"""Policies: what they are shown, how they are trained, what they answer where something is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from branches.policy.act import ACTNetwork
from branches.policy.adapter import ACT
from branches.policy.config import PRESETS, ACTOptions, parse_options
from branches.policy.plan import ACT_HORIZON, ACT_NUMBERS
from branches.policy.scales import Scales, fit_scales
from branches.policy.spaces import CommandSpace, HandSpace
from branches.policy.training import to_batch, train, trained_state
from branches.policy.windows import Windows, frames_of
from branches.torch_training import rate_at, shuffled
from harness.actions.hand_pose import ANSWER_WIDTH, PROJECTED_WIDTH, WIDTH, answer_of
from harness.errors import BadInput
from harness.model_plan import measure
from harness.row_file import RowFile
from harness.tasks import get_task
from harness.window import TrackWindow, View

SIZE, HORIZON, N = 32, 4, 48
OPTIONS = replace(
    ACTOptions(), image_size=SIZE, steps=16, batch_size=16, width=32, heads=2, feedforward=64, evaluate_every=8, warmup=4,
    state_steps=1, relative=False,
)  # fmt: skip


def windows(folder, seed: int, mask=None) -> Windows:
    """A square whose brightness, with the state, tells the commands."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    files = [RowFile(folder / name, dtype) for name, dtype in
             (("frames", np.uint8), ("states", np.float32), ("actions", np.float32), ("masks", np.uint8))]  # fmt: skip
    light, state = rng.uniform(0, 1, N), rng.uniform(-1, 1, (N, 2))
    frames = np.broadcast_to((255 * light[:, None]).astype(np.uint8), (N, SIZE * SIZE * 3))
    actions = np.stack([state[:, :1] * 3 + light[:, None], np.tile(10 * state[:, 1:], (1, 1))], axis=2).repeat(HORIZON, axis=1)
    masks = np.ones(actions.shape, bool) if mask is None else np.broadcast_to(mask, actions.shape)
    for file, rows in zip(files, (frames, state, np.where(masks, actions, 0), masks), strict=True):
        file.append(rows.reshape(N, -1))
    return Windows(CommandSpace(2), ("frames/cam",), HORIZON, OPTIONS, *files, texts=["go"] * N, episodes=["a"])


def trained(folder, options=OPTIONS, seed: int = 0, mask=None):
    rows, checks = windows(folder / "train", 1, mask), windows(folder / "validation", 2)
    scales = fit_scales(rows)
    torch.manual_seed(seed)
    policy = ACTNetwork(options, 1, 2, 2, HORIZON)
    return policy, scales, checks, train(policy, rows, checks, scales, options, seed, 1)


def errors(policy, scales: Scales, rows: Windows) -> np.ndarray:
    """(2,) mean absolute error of both commands, physical units."""
    batch = rows.read(np.arange(N))
    found = policy.chunk(to_batch(batch, scales, torch.device("cpu")), np.zeros(N, np.uint64))
    return np.abs(scales.action.physical(found.numpy()) - batch.actions).mean(axis=(0, 1))


def test_it_learns_what_image_and_state_say(tmp_path):
    policy, scales, checks, said = trained(tmp_path, replace(OPTIONS, steps=96, learning_rate=1e-3))
    spread = np.abs(checks.read(np.arange(N)).actions).mean(axis=(0, 1))
    assert (errors(policy, scales, checks) < 0.5 * spread).all()
    assert said.steps == 96 and said.best_step in range(8, 97) and said.validation_loss is not None


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path):
    states = [trained(tmp_path / str(i), seed=seed)[0].module.state_dict() for i, seed in enumerate((0, 0, 1))]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_what_is_not_measured_teaches_nothing(tmp_path):
    policy, _, _, _ = trained(tmp_path, mask=np.array([True, False]))
    rows, scales = windows(tmp_path / "w", 3, np.array([True, False])), fit_scales(windows(tmp_path / "s", 3))
    batch = to_batch(rows.read(np.arange(N)), scales, torch.device("cpu"))
    policy.module.eval()
    moved = replace(batch, actions=batch.actions + torch.tensor([0.0, 5.0]))
    assert policy.loss(batch, torch.Generator()) == policy.loss(moved, torch.Generator())


def test_the_schedule_and_the_order_of_windows():
    rates = [rate_at(step, OPTIONS.warmup, OPTIONS.steps) for step in range(OPTIONS.steps)]
    assert rates[0] > 0 and max(rates) == 1.0 and rates[-1] < 0.1 and np.argmax(rates) == OPTIONS.warmup
    batches = list(shuffled(10, 4, 5, seed=3))
    assert [len(b) for b in batches] == [4] * 5
    assert sorted(np.concatenate(batches).tolist()) == sorted([*range(10)] * 2)  # two whole passes
    assert all(np.array_equal(a, b) for a, b in zip(batches, shuffled(10, 4, 5, seed=3), strict=True))


def view(**tracks: TrackWindow) -> View:
    return View(np.zeros((3, 1)), {name.replace("__", "/"): track for name, track in tracks.items()})


def test_a_window_without_a_camera_is_told_apart():
    frames = np.arange(3 * SIZE * SIZE * 3, dtype=np.uint8).reshape(3, 1, SIZE, SIZE, 3)
    shown = view(**{"frames__cam@32x32": TrackWindow(frames, np.array([[True], [False], [True]]))})
    found, there = frames_of(shown, ("frames/cam@32x32",), SIZE)
    assert there.tolist() == [True, False, True] and np.array_equal(found[:, 0], frames[:, 0])
    assert not frames_of(shown, ("frames/cam@32x32", "frames/other@32x32"), SIZE)[1].any()


@pytest.mark.parametrize("projected", [False, True])
def test_hand_actions_come_back_as_answers(projected):
    rng = np.random.default_rng(0)
    space = HandSpace(projected)
    assert space.width == (PROJECTED_WIDTH if projected else WIDTH)
    truth = answer_of(rng.normal(size=(3, 2, WIDTH)))
    actions, mask = space.actions(truth, np.ones(truth.shape, bool))
    assert actions.shape == mask.shape == (3, 2, space.width)
    task = get_task("hand_action_chunk@2")
    nothing_seen = View(np.zeros((3, 1)), {})
    answer = space.answer(task, nothing_seen, actions.astype(np.float64))
    assert answer.shape == (3, 2, ANSWER_WIDTH)
    ranked = HandSpace(projected=True).columns
    np.testing.assert_allclose(answer[..., list(ranked)], truth[..., list(ranked)], atol=1e-5)
    state, known = space.state(task, nothing_seen, 2, 1)
    assert state.shape == (3, 2, space.width + 2) and not known.any() and not state.any()


def test_options_have_presets_and_unknown_ones_are_refused():
    assert set(PRESETS[ACTOptions]) == set(ACT.presets) == {"tiny", "real"}
    assert parse_options(ACTOptions, {"preset": "real", "steps": 7}, "policy:act").steps == 7
    with pytest.raises(BadInput, match=r"preset='huge'.*known"):
        parse_options(ACTOptions, {"preset": "huge"}, "policy:act")
    with pytest.raises(BadInput, match=r"unknown option policy:act\.step; did you mean 'steps'"):
        parse_options(ACTOptions, {"step": 1}, "policy:act")


def test_the_real_preset_has_the_published_shape():
    (policy,) = ACT({"preset": "real"}).plan().parts
    # The paper speaks of about 80 million; lerobot's has 51.6 with one ResNet for all cameras.
    assert policy.parameters == policy.trained_parameters == 51_613_582 and policy.formats == {"float32": 51_613_582}


def test_the_plan_counts_what_is_built_and_kept():
    branch = ACT()
    plan = branch.plan()
    network = branch.build(1, ACT_NUMBERS, ACT_NUMBERS, ACT_HORIZON)
    assert plan.parts == (measure("policy", network.module),)
    assert set(plan.parts[0].trained) <= set(trained_state(network.module))
    memory = plan.memory("fit")
    assert memory.best == memory.gradients == plan.parts[0].trained_size
    assert plan.memory("predict").total == memory.weights == plan.parts[0].size
