"""`world_model:jepa`: what it learns, what it answers, and what it must not depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jepa_world import batch_of, episode, fitted, tasks_of

from branches.world_model.adapter import JEPA
from branches.world_model.predictor import Network
from harness.answers import Status
from harness.errors import BadInput, WorkFailed
from harness.metrics.base import MetricContext
from harness.metrics.latent_error import LatentError
from harness.model_plan import measure

QUICK = {"steps": 120, "width": 32, "layers": 1, "evaluate_every": 40, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def branch():
    return JEPA(QUICK)


@pytest.fixture(scope="module")
def world(branch, tmp_path_factory):
    artifact = fitted(branch, [episode(i) for i in range(3)], [episode(7)], tmp_path_factory.mktemp("jepa") / "out")
    return artifact, branch.predictor(artifact), episode(8)


def error(task, one, samples, rows):
    from jepa_world import SPEC

    context = MetricContext(shape=task.shape(one))
    targets = task.targets(one, samples, SPEC)
    keep = np.flatnonzero(targets.valid)
    metric = LatentError(context)
    return metric, metric.state(targets.take(keep), rows.take(keep))


def test_it_forecasts_better_than_copying_the_last_latent(branch, world):
    _, predictor, one = world
    task = tasks_of(branch)[0]
    samples, batch = batch_of(branch, one, task)
    metric, state = error(task, one, samples, predictor.predict(batch))
    details = metric.details(state)
    assert details["moving"] < 0.9 * details["moving_held"]
    assert details["spread_ratio"] > 0.3 and details["motion_ratio"] > 0.2


def test_hands_are_forecast_in_metres_and_better_than_held(branch, world):
    from jepa_world import SPEC

    _, predictor, one = world
    task = tasks_of(branch)[2]
    samples, batch = batch_of(branch, one, task)
    rows, targets = predictor.predict(batch), task.targets(one, samples, SPEC)
    keep = targets.valid & rows.ok
    off, held = (np.abs(v[keep] - targets.values[keep])[targets.mask[keep]].mean() for v in (rows.values, targets.reference))
    assert off < 0.95 * held


def test_the_next_window_is_found_among_those_of_the_episode(branch, world):
    _, predictor, one = world
    task = tasks_of(branch)[1]
    query, key = (predictor.predict(batch_of(branch, one, task, role)[1]) for role in ("query", "key"))
    assert query.ok.all() and key.ok.all()
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query.values, key.values))
    rank = (a @ b.T > np.diag(a @ b.T)[:, None]).sum(axis=1)
    assert rank.mean() < len(rank) / 4


def test_what_it_was_made_from_is_written_down(branch, world):
    artifact, _, _ = world
    assert artifact.fitted_on["weights"] == artifact.fitted_on["scales"] == ("e0", "e1", "e2")
    assert artifact.fitted_on["early_stopping"] == ("e7",)
    assert artifact.fitted_on["pretrained"] == tuple(sorted(branch.encoder.pretrained_on))
    assert artifact.details["latent"]["conditioned_on"] == "hands"
    assert artifact.parameters > 0


def test_no_row_depends_on_the_others_of_its_batch(branch, world):
    _, predictor, one = world
    for task in tasks_of(branch):
        role = "query" if task.answer == "retrieval" else ""
        whole = predictor.predict(batch_of(branch, one, task, role)[1]).values
        few = predictor.predict(batch_of(branch, one, task, role, [9, 2])[1]).values
        np.testing.assert_array_equal(few, whole[[9, 2]])


def test_nothing_after_t0_changes_a_bit(branch, world):
    _, predictor, one = world
    for task in tasks_of(branch):
        role = "query" if task.answer == "retrieval" else ""
        samples, batch = batch_of(branch, one, task, role, [8])
        t0 = one.timeline[samples.starts[0, 0] + samples.length - 1]
        rng = np.random.default_rng(0)
        tracks = {}
        for name, track in one.tracks.items():
            data = np.array(track.array())
            later = track.times > t0
            data[later] = rng.normal(size=data[later].shape) * 100 if data.dtype != np.uint8 else 7
            tracks[name] = replace(track, data=data)
        other = one.with_tracks(tracks)
        np.testing.assert_array_equal(
            predictor.predict(batch).values, predictor.predict(batch_of(branch, other, task, role, [8])[1]).values
        )


def test_the_same_seed_gives_the_same_bits(branch, world, tmp_path):
    _, predictor, one = world
    again = fitted(branch, [episode(i) for i in range(3)], [episode(7)], tmp_path / "again")
    task = tasks_of(branch)[0]
    batch = batch_of(branch, one, task)[1]
    np.testing.assert_array_equal(branch.predictor(again).predict(batch).values, predictor.predict(batch).values)


def test_without_a_clip_or_without_hands_there_is_no_answer(branch, world):
    _, predictor, one = world
    latent, retrieval, hands = tasks_of(branch)
    blind = one.with_tracks({k: t for k, t in one.tracks.items() if not k.startswith("latents/")})
    for task, role in ((latent, ""), (retrieval, "query"), (retrieval, "key"), (hands, "")):
        rows = predictor.predict(batch_of(branch, blind, task, role)[1])
        assert set(rows.status.tolist()) == {Status.UNSUPPORTED.value} and np.isnan(rows.values).all()
    handless = episode(8, hands=False)
    assert predictor.predict(batch_of(branch, handless, latent)[1]).ok.any()  # motion is masked, the picture is there
    assert not predictor.predict(batch_of(branch, handless, hands)[1]).ok.any()


@pytest.mark.parametrize(
    ("traits", "said"), [({"hands": False, "command": True}, "actions"), ({"hands": False}, "none"), ({"command": True}, "hands")]
)
def test_it_is_conditioned_on_hands_else_commands_else_nothing(branch, tmp_path, traits, said):
    quick = JEPA(QUICK | {"steps": 2, "evaluate_every": 2})
    task = tasks_of(quick)[0]
    artifact = fitted(quick, [episode(0, **traits)], [], tmp_path / "out", (task,))
    assert artifact.details["latent"]["conditioned_on"] == said
    words = {"hands": "past hands", "actions": "recorded actions", "none": "no motion"}
    assert artifact.details["notes"] == {task.id: f"conditioned on {words[said]}"}
    assert quick.predictor(artifact).predict(batch_of(quick, episode(1, **traits), task)[1]).ok.any()


def test_a_training_that_helps_nothing_holds_the_newest_step(branch, tmp_path):
    """Validation windows decide: weights that are worse than holding what was observed last are not kept."""
    wild = JEPA(QUICK | {"steps": 3, "learning_rate": 3.0, "evaluate_every": 3})
    task = tasks_of(wild)[0]
    artifact = fitted(wild, [episode(0)], [episode(1)], tmp_path / "out", (task,))
    assert artifact.details["latent"]["best_step"] == 0
    one = episode(2)
    batch = batch_of(wild, one, task)[1]
    rows = wild.predictor(artifact).predict(batch)
    past = task.history(batch.views[0])[0][rows.ok, -1].reshape(-1, *task.shape(one))
    np.testing.assert_array_equal(rows.values[rows.ok].reshape(past.shape), np.repeat(past[:, -1:], past.shape[1], axis=1))


def test_only_retrieval_or_only_hands_can_be_asked_for(tmp_path):
    quick = JEPA(QUICK | {"steps": 2, "evaluate_every": 2})
    for i, task in enumerate(tasks_of(quick)[1:]):
        artifact = fitted(quick, [episode(0)], [episode(1)], tmp_path / str(i), (task,))
        role = "query" if task.answer == "retrieval" else ""
        assert quick.predictor(artifact).predict(batch_of(quick, episode(2), task, role)[1]).ok.any()


def test_the_embedding_is_the_pooled_latent_of_the_past(branch, world):
    _, predictor, one = world
    task = tasks_of(branch)[0]
    _, batch = batch_of(branch, one, task)
    found = predictor.embed(batch)
    assert found.shape == (len(batch), 4 * 64)
    past = batch.views[0].tracks["latents/vjepa2-tiny"]
    there = past.valid[:, -1]
    np.testing.assert_allclose(found[there], past.values[there, -1].mean(axis=(2, 3)).reshape(there.sum(), -1), atol=1e-5)
    assert np.isnan(found[~there]).all()


@pytest.mark.parametrize("number", [0, 2])
def test_a_row_that_memory_does_not_do_for_is_one_row(branch, world, number):
    artifact, whole, one = world
    predictor, task = branch.predictor(artifact), tasks_of(branch)[number]
    batch = batch_of(branch, one, task, rows=[8, 9, 10])[1]
    sizes = iter((0, 1 << 50))

    def eat(module, inputs):
        torch.empty(next(sizes, 0))

    predictor._load("hands" if number else "latent").network.register_forward_pre_hook(eat)
    rows = predictor.predict(batch)
    assert rows.status.tolist() == ["ok", Status.OOM.value, "ok"] and np.isnan(rows.values[1]).all()
    np.testing.assert_array_equal(rows.values[[0, 2]], whole.predict(batch).values[[0, 2]])


def test_a_training_that_memory_does_not_do_for_says_what_to_lower(tmp_path, monkeypatch):
    class Hungry(Network):
        def forward(self, past, motion, measured):
            return torch.empty(1 << 50)

    monkeypatch.setattr("branches.world_model.predictor.Network", Hungry)
    with pytest.raises(WorkFailed, match=r"out of memory .* batch_size=\d+, width=32; give a smaller one, or a larger machine"):
        fitted(JEPA(QUICK), [episode(0)], [episode(1)], tmp_path / "out")


def test_no_window_to_learn_from_is_said(branch, tmp_path):
    task = tasks_of(branch)[0]
    blind = episode(0).with_tracks({k: t for k, t in episode(0).tracks.items() if not k.startswith("latents/")})
    with pytest.raises(BadInput, match="main camera"):
        fitted(branch, [blind], [], tmp_path / "out", (task,))


@pytest.mark.parametrize("options", [{"preset": "huge"}, {"width": 30}, {"steps": 0}, {"wdth": 3}, {"encoder": "nobody"}])
def test_bad_options_are_one_line(options):
    with pytest.raises(BadInput) as error:
        _ = JEPA(options).encoder
    assert "\n" not in str(error.value)


def test_the_real_preset_has_its_full_shape_without_any_weights():
    branch = JEPA({"preset": "real"})
    assert branch.encoders == ("vjepa2-large",) and branch.card.weights == "vjepa2-large"
    plan = branch.plan()
    assert [(part.name, part.parameters, part.trained_parameters) for part in plan.parts] == [
        ("encoder", 325_971_328, 0),
        ("latent", 22_193_920, 22_193_920),  # the predictor of V-JEPA 2 L has about 22 M
        ("hands", 22_284_780, 22_284_780),
    ]
    # One network after the other is trained, on latents that are there: the encoder is in memory only where they are made.
    encoder, latent, hands = plan.parts
    assert plan.memory("ingest").total == encoder.size and plan.memory("fit").weights == hands.size
    assert plan.memory("predict").total == latent.size + hands.size


def test_the_plan_counts_what_was_fitted(branch, world):
    artifact, predictor, _ = world
    encoder, *networks = branch.plan().parts
    fitted_ones = [measure(name, predictor._load(name).network) for name in ("latent", "hands")]
    assert networks == fitted_ones and artifact.parameters == sum(part.trained_parameters for part in networks)
    assert encoder == measure("encoder", branch.encoder._model)
