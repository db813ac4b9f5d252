"""Policies from fit to answer, on recordings small enough to make by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from branches.policy.act import ACTNetwork
from branches.policy.adapter import ACT, PolicyBranch, SmolVLA
from branches.policy.config import ACTOptions, parse_options
from harness.answers import Status, Targets
from harness.branch import Artifact, BranchCard, EpisodeBatch, FitContext
from harness.errors import BadInput, WorkFailed
from harness.tasks import get_task
from harness.window import ObservedBatch, TrackWindow, View, WindowSpec, make_samples, row_seeds

HORIZON, STEPS, WIDTH, ROWS = 3, 4, 2, 6
TASK = get_task(f"action_chunk@{HORIZON}")
SMALL = {"steps": 2, "batch_size": 4, "image_size": 32, "evaluate_every": 1}
BRANCHES = [(ACT, {**SMALL, "width": 16, "heads": 2, "feedforward": 16}), (SmolVLA, {**SMALL, "image_size": 64, "draws": 2})]


def batch(seed: int, size: int, width: int = WIDTH, lost: tuple[int, ...] = (), blind: tuple[int, ...] = ()) -> EpisodeBatch:
    """Six windows; those of `lost` have no state and those of `blind` no frame at t0."""
    rng = np.random.default_rng(seed)
    valid = np.ones((ROWS, STEPS), bool)
    seen, known = valid[:, :1].copy(), valid.copy()
    seen[list(blind)], known[list(lost)] = False, False
    tracks = {
        "command": TrackWindow(rng.normal(size=(ROWS, STEPS, width)), valid),
        "state": TrackWindow(rng.normal(size=(ROWS, STEPS, width)), known),
        f"main_camera@{size}x{size}": TrackWindow(rng.integers(0, 255, (ROWS, 1, size, size, 3)).astype(np.uint8), seen),
    }
    spec = WindowSpec(STEPS, STEPS)
    samples = make_samples("window", f"e{seed}", np.arange(ROWS * STEPS) / 20, spec)
    observed = ObservedBatch(TASK.id, (View(np.zeros((ROWS, STEPS)), tracks),), row_seeds(samples.ids, 0))
    values = rng.normal(size=(ROWS, HORIZON * width)).astype(np.float32)
    return EpisodeBatch(f"e{seed}", f"e{seed}", samples, observed, Targets(np.ones(ROWS, bool), values=values))


class Recordings:
    """A training set of batches that stand in memory."""

    def __init__(self, *batches: EpisodeBatch) -> None:
        self.held = batches
        self.episodes = tuple(b.episode for b in batches)

    def batches(self, task, needs, role=""):
        yield from self.held


def fitted(branch: PolicyBranch, out: Path, **changes) -> Artifact:
    size = branch.config.image_size
    out.mkdir()
    train, validation = Recordings(batch(1, size, **changes), batch(2, size)), Recordings(batch(3, size))
    return branch.fit(train, validation, FitContext((TASK,), 0, out))


def rows_of(observed: ObservedBatch, index: list[int]) -> ObservedBatch:
    view = observed.views[0]
    tracks = {name: TrackWindow(t.values[index], t.valid[index], t.categories) for name, t in view.tracks.items()}
    return ObservedBatch(observed.task, (View(view.times[index], tracks),), observed.seeds[index])


@pytest.mark.parametrize(("cls", "options"), BRANCHES)
def test_an_answer_depends_on_its_own_row_alone(cls, options, tmp_path):
    branch = cls(options)
    predictor = branch.predictor(fitted(branch, tmp_path / "a"))
    observed = batch(4, branch.config.image_size).observed
    every = predictor.predict(observed)
    assert every.ok.all() and every.values.shape == (ROWS, HORIZON * WIDTH)
    for index in ([4], [5, 0, 2], [3, 2, 1, 0]):
        np.testing.assert_array_equal(predictor.predict(rows_of(observed, index)).values, every.values[index])
    torch.manual_seed(1)  # nor on what happened before in the process
    torch.rand(3)
    np.testing.assert_array_equal(predictor.predict(observed).values, every.values)


@pytest.mark.parametrize(("cls", "options"), BRANCHES)
def test_a_missing_camera_or_state_is_told_apart_and_teaches_nothing(cls, options, tmp_path):
    branch = cls(options)
    artifact = fitted(branch, tmp_path / "a", lost=(0,), blind=(1, 2))
    said = artifact.details[TASK.id]
    assert said["left_out"] == 3 and said["windows"] == 2 * ROWS - 3
    found = branch.predictor(artifact).predict(batch(4, branch.config.image_size, lost=(5,), blind=(0,)).observed)
    bad = Status.UNSUPPORTED.value
    assert found.status.tolist() == [bad, "ok", "ok", "ok", "ok", bad]
    assert np.isnan(found.values[[0, 5]]).all() and np.isfinite(found.values[1:5]).all()


def test_nothing_to_look_at_ends_the_fit_in_one_line(tmp_path):
    branch = ACT(BRANCHES[0][1])
    with pytest.raises(BadInput, match=r"policy:act: no training window of action_chunk@3 has main_camera@32x32 and a state"):
        everything = Recordings(batch(1, 32, blind=tuple(range(ROWS))))
        branch.fit(everything, Recordings(), FitContext((TASK,), 0, tmp_path))


def test_more_numbers_than_fit_end_the_fit_in_one_line(tmp_path):
    branch = SmolVLA(BRANCHES[1][1])
    with pytest.raises(BadInput, match=r"policy:smolvla: the action of these data has 40 numbers and the policy takes 32; leave"):
        branch.fit(Recordings(batch(1, 64, width=40)), Recordings(), FitContext((TASK,), 0, tmp_path))


def test_what_the_small_vlm_has_seen_is_written_down(tmp_path):
    branch = SmolVLA(BRANCHES[1][1])
    artifact = fitted(branch, tmp_path / "a")
    assert artifact.fitted_on["pretrained"] == branch.pretrained_on() != ()
    assert artifact.fitted_on["weights"] == ("e1", "e2") and artifact.fitted_on["early_stopping"] == ("e3",)
    kept = load_file(tmp_path / "a" / TASK.id / "policy.safetensors")
    assert kept and not [name for name in kept if ".vlm." in name]
    about = tmp_path / "a" / TASK.id / "policy.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"base": "0123"}))
    with pytest.raises(BadInput, match="pretrained weights are others"):
        branch.predictor(artifact).predict(batch(4, 64).observed)


class Hungry(ACTNetwork):
    """Asks for more memory than there is where the first pixel is dark."""

    def chunk(self, batch, seeds):
        if (batch.frames[:, 0, :, 0, 0] < 0.5).any():
            torch.empty(1 << 50)
        return super().chunk(batch, seeds)


class HungryBranch(ACT):
    card = BranchCard("hungry", "policy", "for this test")

    def __init__(self, options=None):
        PolicyBranch.__init__(self, options)
        self.config = parse_options(ACTOptions, self.options, "hungry")

    def build(self, cameras, state, action, horizon):
        return Hungry(self.config, cameras, state, action, horizon)


def test_a_row_that_memory_does_not_do_for_is_one_row(tmp_path):
    branch = HungryBranch(BRANCHES[0][1])
    predictor = branch.predictor(fitted(branch, tmp_path / "a"))
    observed = batch(4, 32).observed
    frames = observed.views[0].tracks["main_camera@32x32"].values
    frames[:, 0, 0, 0], frames[3, 0, 0, 0] = 255, 0
    found = predictor.predict(observed)
    assert found.status.tolist() == ["ok", "ok", "ok", Status.OOM.value, "ok", "ok"]
    assert np.isnan(found.values[3]).all() and np.isfinite(found.values[:3]).all()


class Hungrier(Hungry):
    def loss(self, batch, draw):
        torch.empty(1 << 50)


class HungrierBranch(HungryBranch):
    def build(self, cameras, state, action, horizon):
        return Hungrier(self.config, cameras, state, action, horizon)


def test_a_training_step_that_memory_does_not_do_for_says_what_to_lower(tmp_path):
    with pytest.raises(WorkFailed, match=r"out of memory in a training step at batch_size=4, image_size=32; give a smaller one"):
        fitted(HungrierBranch(BRANCHES[0][1]), tmp_path / "a")


def test_states_before_t0_are_shown_as_differences():
    from branches.policy.spaces import CommandSpace

    observed = batch(4, 32).observed
    view = observed.views[0]
    states = view.tracks["state"].values
    found, known = CommandSpace(WIDTH).state(TASK, view, 3, 1)
    assert known.all() and found.shape == (ROWS, 3, WIDTH)
    np.testing.assert_allclose(found[:, 0], states[:, -1], rtol=1e-6)
    np.testing.assert_allclose(found[:, 2], states[:, -3] - states[:, -1], rtol=1e-5, atol=1e-6)
    hidden = replace(view, tracks=view.tracks | {"state": TrackWindow(states, np.arange(STEPS)[None] != 1 + 0 * states[..., 0])})
    late, _ = CommandSpace(WIDTH).state(TASK, hidden, 4, 2)
    assert not late[:, 1].any() and not late[:, 2:].any()  # not measured, and before the window
