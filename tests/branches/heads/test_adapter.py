"""Ridge and MLP as a user of the frame sees them: fit on sessions, answer batches of another."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heads_world import MemorySet, World, tasks

from branches.heads.adapter import MLP, Ridge
from harness.answers import Status, recode_sets
from harness.branch import Artifact, Branch, BranchCard, FitContext, Needs, Predictor
from harness.errors import BadInput
from harness.window import FeatureMatrix, ObservedBatch, View

BOTH = pytest.mark.parametrize("head", [Ridge, MLP])
QUICK = {"mlp": {"epochs": 20, "hidden": 48, "learning_rate": 3e-3}, "ridge": {}}
TRAIN, VALIDATION, TEST = ("s0e0", "s0e1", "s1e0", "s1e1", "s2e0", "s2e1"), ("s3e0",), "s3e1"


@pytest.fixture(scope="module")
def world():
    return World(noise=0.4, shift=0.3)


def fit(world, out: Path, head, names=(), *, train=TRAIN, validation=VALIDATION, seed=0, options=None, branch=None):
    branch = branch or head({**QUICK[head.card.name], **(options or {})})
    held = world.set(*validation) if validation else MemorySet(world, ())
    out.mkdir()
    artifact = branch.fit(world.set(*train), held, FitContext(tasks(*names), seed, out))
    artifact.save()
    return branch, Artifact.load(out)


def answers(world, branch, artifact, task, episode=TEST, change=lambda batch: batch):
    predictor = branch.predictor(artifact)
    roles = ("query", "key") if task.answer == "retrieval" else ("",)
    batches = [world.batch(episode, task, branch.needs(task), role) for role in roles]
    return [predictor.predict(change(batch.observed)) for batch in batches], batches[0].targets


@pytest.fixture(scope="module", params=[Ridge, MLP], ids=["ridge", "mlp"])
def fitted(request, world, tmp_path_factory):
    return fit(world, tmp_path_factory.mktemp("heads") / request.param.card.name, request.param)


def error(values, targets):
    mask = targets.mask if targets.mask is not None else np.ones(values.shape, bool)
    return np.abs(values - targets.values)[mask & targets.valid[:, None]].mean()


def test_labels_are_learnt_whatever_order_an_episode_has_its_words_in(world, fitted):
    for task in tasks("timeline_action", "next_action"):
        (found,), truth = answers(world, *fitted, task)
        assert found.vocabulary == ("cut", "pour", "stir", "wait") == fitted[1].classes[task.id]
        words = np.array(found.vocabulary)[found.labels] == np.array(truth.vocabulary)[truth.labels]
        assert words.mean() > 0.6
        np.testing.assert_array_equal(found.labels, found.probabilities.argmax(axis=1))
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)


def test_sets_are_learnt_and_never_empty(world, fitted):
    (task,) = tasks("object_relevance")
    (found,), truth = answers(world, *fitted, task)
    sets = recode_sets(found.label_sets, found.vocabulary, truth.vocabulary)
    assert 2 * (sets & truth.label_sets).sum() / (sets.sum() + truth.label_sets.sum()) > 0.65
    assert found.label_sets.any(axis=1).all() and ((found.probabilities >= 0) & (found.probabilities <= 1)).all()


def test_vectors_come_in_physical_units_and_beat_the_mean(world, fitted):
    for task in tasks("imu_to_hand_pose", "time_to_transition"):
        (found,), truth = answers(world, *fitted, task)
        mean = np.concatenate([world.batch(e, task, Needs()).targets.values for e in TRAIN]).mean(axis=0)
        assert error(found.values, truth) < 0.85 * error(np.broadcast_to(mean, truth.values.shape), truth)


def test_a_continuous_future_beats_persistence(world, fitted):
    (task,) = tasks("action_chunk")
    (found,), truth = answers(world, *fitted, task)
    assert error(found.values, truth) < 0.75 * error(truth.reference, truth)


def test_query_and_key_of_a_window_find_each_other(world, fitted):
    for task in tasks("cross_modal_retrieval", "camera_view_sync_retrieval", "caption_grounding"):
        (query, key), _ = answers(world, *fitted, task)
        assert query.values.shape == key.values.shape and query.query is None
        q, k = (m.values / np.linalg.norm(m.values, axis=1, keepdims=True) for m in (query, key))
        rank = ((q @ k.T) > (q * k).sum(axis=1, keepdims=True)).sum(axis=1) + 1
        assert (1 / rank).mean() > 3 * (1 / np.arange(1, len(rank) + 1)).mean(), task.id


def test_ridge_tells_order_and_alignment(world, tmp_path):
    branch, artifact = fit(world, tmp_path / "r", Ridge, ("temporal_order", "misalignment_detection"))
    for task in tasks("temporal_order", "misalignment_detection"):
        (found,), truth = answers(world, branch, artifact, task)
        right = np.array(found.vocabulary)[found.labels] == np.array(truth.vocabulary)[truth.labels]
        assert right.mean() > 0.8, task.id
        assert artifact.details[task.id]["cross_prediction"]


def test_without_cross_prediction_alignment_is_a_guess(world, tmp_path):
    (task,) = tasks("misalignment_detection")
    branch, artifact = fit(world, tmp_path / "r", Ridge, (task.id,), options={"cross_prediction": False})
    (found,), truth = answers(world, branch, artifact, task)
    assert 0.35 < (np.array(found.vocabulary)[found.labels] == np.array(truth.vocabulary)[truth.labels]).mean() < 0.65


@BOTH
def test_the_same_seed_gives_the_same_bits_from_disk(world, tmp_path, head):
    names = ("timeline_action", "object_relevance", "action_chunk", "cross_modal_retrieval", "misalignment_detection")
    one, two = (fit(world, tmp_path / name, head, names, options={"epochs": 3} if head is MLP else {}) for name in "ab")
    assert one[1].details == two[1].details and one[1].parameters == two[1].parameters
    for task in tasks(*names):
        for a, b in zip(answers(world, *one, task)[0], answers(world, *two, task)[0], strict=True):
            for field in ("labels", "label_sets", "probabilities", "values"):
                if getattr(a, field) is not None:
                    np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def test_an_answer_does_not_depend_on_the_rows_beside_it(world, fitted):
    """One row alone is answered as among others."""
    for task in tasks("timeline_action", "time_to_transition", "cross_modal_retrieval"):
        whole, _ = answers(world, *fitted, task)
        alone, _ = answers(world, *fitted, task, change=lambda batch: rows_of(batch, np.array([7])))
        for a, b in zip(whole, alone, strict=True):
            one, other = (a.probabilities, b.probabilities) if a.values is None else (a.values, b.values)
            np.testing.assert_allclose(one[7:8], other, rtol=1e-4, atol=1e-5)


def rows_of(batch: ObservedBatch, index) -> ObservedBatch:
    views = tuple(
        View(v.times[index], {}, FeatureMatrix(v.features.values[index], v.features.valid[index], v.features.blocks))
        for v in batch.views
    )
    return replace(batch, views=views, seeds=batch.seeds[index])


def test_what_was_fitted_on_whom(world, fitted):
    branch, artifact = fitted
    assert artifact.fitted_on["scaler"] == artifact.fitted_on["weights"] == artifact.fitted_on["vocabulary"] == TRAIN
    assert (artifact.fitted_on.get("early_stopping") == VALIDATION) == isinstance(branch, MLP)
    assert {p.suffix for p in artifact.folder.rglob("*") if p.is_file()} == {".npz", ".json"}
    assert not list(artifact.folder.glob("scratch-*")) and artifact.parameters > 0
    for path in artifact.folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(np.isfinite(arrays[name]).all() for name in arrays.files)


def test_no_validation_episode_is_said(world, tmp_path):
    _, artifact = fit(world, tmp_path / "m", MLP, ("timeline_action",), validation=(), options={"epochs": 2})
    assert artifact.details["timeline_action"]["early_stopping"] == "off: no validation rows, so all epochs ran"
    assert artifact.details["timeline_action"]["epochs"] == 2 and "early_stopping" not in artifact.fitted_on
    _, artifact = fit(world, tmp_path / "f", MLP, ("timeline_action",), options={"fixed_epochs": 3})
    assert artifact.details["timeline_action"]["early_stopping"] == "off: fixed_epochs is set"
    assert artifact.details["timeline_action"]["epochs"] == 3 and "early_stopping" not in artifact.fitted_on


def test_an_episode_without_labels_trains_the_scaler_but_no_label_head(tmp_path):
    world = World(unlabelled=("s0e0",))
    _, artifact = fit(world, tmp_path / "r", Ridge, ("timeline_action",))
    plain = World()
    _, fewer = fit(plain, tmp_path / "f", Ridge, ("timeline_action",), train=TRAIN[1:])
    assert artifact.fitted_on["scaler"] == TRAIN and fewer.fitted_on["scaler"] == TRAIN[1:]


@BOTH
def test_a_block_that_an_episode_lacks_is_a_mask(tmp_path, head):
    world = World(hidden_blocks=(("s0e0", "cam1"), (TEST, "hands")))
    (task,) = tasks("timeline_action")
    branch, artifact = fit(world, tmp_path / "h", head, (task.id,))
    (found,), truth = answers(world, branch, artifact, task)
    assert found.ok.all()
    assert (np.array(found.vocabulary)[found.labels] == np.array(truth.vocabulary)[truth.labels]).mean() > 0.5


@BOTH
def test_a_row_with_nothing_measured_is_unsupported(world, tmp_path, head):
    names = ("timeline_action", "object_relevance", "time_to_transition", "cross_modal_retrieval")
    branch, artifact = fit(world, tmp_path / "h", head, names, options={"epochs": 2} if head is MLP else {})

    def blind(batch):
        views = tuple(View(v.times, v.tracks, replace(v.features, valid=hide(v.features.valid))) for v in batch.views)
        return replace(batch, views=views)

    def hide(valid):
        return valid & (np.arange(len(valid)) != 3)[:, None]

    for task in tasks(*names):
        for found in answers(world, branch, artifact, task, change=blind)[0]:
            assert found.status[3] == Status.UNSUPPORTED and found.ok.sum() == len(found) - 1
            assert "nothing is measured" in found.raw[3] and found.raw[2] is None
            assert found.labels is None or found.labels[3] == -1
            assert found.values is None or (np.isnan(found.values[3]).all() and np.isfinite(found.values[found.ok]).all())
            assert found.label_sets is None or not found.label_sets[3].any()


@BOTH
def test_a_data_set_without_features_is_unsupported_and_says_why(tmp_path, head):
    world = World(blocks=())
    names = ("timeline_action", "object_relevance", "time_to_transition", "cross_modal_retrieval", "action_chunk")
    branch, artifact = fit(world, tmp_path / "h", head, names, options={"epochs": 2} if head is MLP else {})
    for task in tasks(*names[:4]):
        assert "no feature block" in artifact.details[task.id]["unsupported"]
        for found in answers(world, branch, artifact, task)[0]:
            assert set(found.status.tolist()) == {Status.UNSUPPORTED.value} and "no feature block" in found.raw[0]
    # The past of the command is an input of its own.
    (chunk,) = tasks("action_chunk")
    assert answers(world, branch, artifact, chunk)[0][0].ok.all()


@BOTH
def test_outliers_do_not_run_away(world, tmp_path, head):
    (task,) = tasks("time_to_transition")
    branch, artifact = fit(world, tmp_path / "h", head, (task.id,))

    def absurd(batch):
        (view,) = batch.views
        return replace(batch, views=(View(view.times, {}, replace(view.features, values=view.features.values * 1e6)),))

    (found,), truth = answers(world, branch, artifact, task, change=absurd)
    assert np.abs(found.values - truth.values).max() < 100


def test_tasks_with_too_few_rows_say_so(tmp_path):
    world = World(unlabelled=World().episodes)
    branch, artifact = fit(world, tmp_path / "r", Ridge, ("timeline_action", "time_to_transition"))
    assert "fewer than two training rows" in artifact.details["timeline_action"]["unsupported"]
    assert "timeline_action" not in artifact.classes
    assert not answers(world, branch, artifact, tasks("timeline_action")[0])[0][0].ok.any()


def test_one_class_in_train_is_what_is_answered(tmp_path):
    world = World()
    (task,) = tasks("timeline_action")

    class OneClass(MemorySet):
        def batches(self, task, needs, role=""):
            for batch in super().batches(task, needs, role):
                word = batch.targets.vocabulary.index("stir")
                yield replace(
                    batch, targets=batch.targets.take(np.flatnonzero(batch.targets.labels == word)), **shown(batch, word)
                )

    def shown(batch, word):
        index = np.flatnonzero(batch.targets.labels == word)
        observed = (
            rows_of(batch.observed, index)
            if batch.observed.views[0].features
            else replace(batch.observed, seeds=batch.observed.seeds[index])
        )
        return {"samples": batch.samples.take(index), "observed": observed}

    for head in (Ridge, MLP):
        out = tmp_path / head.card.name
        out.mkdir()
        branch = head({"epochs": 2} if head is MLP else {})
        artifact = branch.fit(OneClass(world, TRAIN), OneClass(world, VALIDATION), FitContext((task,), 0, out))
        artifact.save()
        (found,), _ = answers(world, branch, artifact, task)
        assert found.vocabulary == ("stir",) and (found.labels == 0).all() and (found.probabilities == 1).all()


class Encoder(Branch):
    """Embeds the imu block, or nothing at all."""

    card = BranchCard("encoder", "test", "an encoder", backbone="none", weights="tiny-pretrained", gpus=0.5)

    def __init__(self, silent=False):
        super().__init__()
        self.silent = silent

    def route(self, task):
        return "native" if task.id == "timeline_action" else None

    def needs(self, task):
        return Needs(features=True)

    def fit(self, train, validation, context):
        (context.out / "encoder.json").write_text(json.dumps([t.id for t in context.tasks]))
        return Artifact(context.out, {"adapter": train.episodes})

    def predictor(self, artifact):
        assert (artifact.folder / "encoder.json").is_file()
        silent = self.silent

        class Embedder(Predictor):
            def predict(self, batch):
                raise NotImplementedError

            def embed(self, batch):
                features = batch.views[0].features
                return None if silent else features.values[:, features.blocks["imu"]] * 2

        return Embedder()


@BOTH
def test_a_probe_stands_on_the_embedding_of_another_branch(world, tmp_path, head):
    names = ("timeline_action", "time_to_transition", "action_chunk")
    probe = head.on_embedding(Encoder(), {"epochs": 30} if head is MLP else {})
    assert probe.card.name == f"{head.card.name}@encoder" and probe.card.weights == "tiny-pretrained"
    assert probe.card.gpus == 0.5 and probe.card.family == "head"
    assert {probe.route(task) for task in tasks(*names)} == {"probe"}
    assert probe.needs(tasks("action_chunk")[0]).tracks == ("command",)
    branch, artifact = fit(world, tmp_path / "p", head, names, branch=probe)
    assert artifact.fitted_on["inner/adapter"] == TRAIN == artifact.fitted_on["weights"]
    assert json.loads((artifact.folder / "inner" / "encoder.json").read_text()) == ["timeline_action"]
    for task in tasks(*names):
        (found,), truth = answers(world, branch, artifact, task)
        assert found.ok.all()
        if task.id == "action_chunk":
            assert error(found.values, truth) < error(truth.reference, truth)
    layouts = json.loads((artifact.folder / "heads.json").read_text())["inputs"].values()
    assert {json.dumps(entry["layout"]["views"]) for entry in layouts} == {'[[["embedding", 12]]]'}


@BOTH
def test_a_branch_without_an_embedding_cannot_be_probed(world, tmp_path, head):
    with pytest.raises(BadInput, match="encoder offers no embedding for task timeline_action"):
        fit(world, tmp_path / "p", head, ("timeline_action",), branch=head.on_embedding(Encoder(silent=True)))


@BOTH
def test_unknown_options_are_refused_with_a_suggestion(head):
    with pytest.raises(BadInput, match=f"unknown option {head.card.name}.max_rnk; did you mean 'max_rank'"):
        head({"max_rnk": 3})
    with pytest.raises(BadInput, match=f"{head.card.name}.clip"):
        head({"clip": "far"})


def test_a_fixed_penalty_is_used(world, tmp_path):
    names = ("time_to_transition", "object_relevance", "camera_view_sync_retrieval")
    _, artifact = fit(world, tmp_path / "r", Ridge, names, options={"penalty": 10.0, "logistic_penalty": 0.002})
    assert artifact.details["time_to_transition"]["penalty"] == 10.0
    assert artifact.details["object_relevance"]["penalty"] == 10.0
    assert artifact.details["camera_view_sync_retrieval"]["query"]["penalty"] == 10.0


def test_fixed_gradient_steps_need_a_fixed_penalty(world, tmp_path):
    options = {"logistic_steps": 50, "logistic_penalty": 0.002}
    _, artifact = fit(world, tmp_path / "r", Ridge, ("timeline_action",), options=options)
    assert artifact.details["timeline_action"]["gradient_steps"] == 50
    with pytest.raises(BadInput, match=r"branch.ridge.logistic_steps needs branch.ridge.logistic_penalty"):
        Ridge({"logistic_steps": 50})


def test_input_sets_fitted_at_once_are_those_fitted_one_by_one(world, tmp_path):
    names = ("timeline_action", "object_relevance", "time_to_transition", "camera_view_sync_retrieval", "temporal_order")
    every = tasks(*names)
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        Ridge().fit(world.set(*TRAIN), MemorySet(world, ()), FitContext(every, 0, tmp_path / str(threads), threads)).save()
    for file in sorted((tmp_path / "1").iterdir()):
        if file.suffix == ".npz":
            with np.load(file) as one, np.load(tmp_path / "2" / file.name) as two:
                for name in one.files:
                    np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-12)
        else:
            assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()


@BOTH
def test_features_that_never_change_are_answered_with_the_prior(tmp_path, head):
    world = World(blocks=("imu",))
    for episode in world.episodes:
        world.features[episode]["imu"][:] = 5.0
    names = ("timeline_action", "object_relevance", "time_to_transition")
    branch, artifact = fit(world, tmp_path / "h", head, names, options={"epochs": 2} if head is MLP else {})
    for task in tasks(*names):
        (found,), _ = answers(world, branch, artifact, task)
        row = found.probabilities if found.values is None else found.values
        assert found.ok.all() and np.isfinite(row).all() and np.ptp(row, axis=0).max() < 1e-5


class Masked(MemorySet):
    """Targets of vector tasks with holes: whole rows of every third sample, and the second number of every second one."""

    absurd = 1e9

    def batches(self, task, needs, role=""):
        for batch in super().batches(task, needs, role):
            mask = np.ones(batch.targets.values.shape, bool)
            mask[::2, 1], mask[::3] = False, False
            values = np.where(mask, batch.targets.values, np.float32(self.absurd))
            yield replace(batch, targets=replace(batch.targets, values=values, mask=mask))


@BOTH
def test_masked_targets_teach_nothing(world, tmp_path, head):
    (task,) = tasks("time_to_transition")
    values = {}
    for name, absurd in (("a", 1e9), ("b", -7.0)):
        (tmp_path / name).mkdir()
        branch = head({"epochs": 15} if head is MLP else {})
        train, held = Masked(world, TRAIN), Masked(world, VALIDATION)
        train.absurd = held.absurd = absurd
        artifact = branch.fit(train, held, FitContext((task,), 0, tmp_path / name))
        artifact.save()
        (found,), truth = answers(world, branch, artifact, task)
        values[name] = found.values
    np.testing.assert_array_equal(values["a"], values["b"])
    assert error(values["a"], truth) < error(np.broadcast_to(truth.values.mean(axis=0), truth.values.shape), truth)


@BOTH
def test_what_never_repeats_itself_is_left_at_persistence(tmp_path, head):
    """The commands of every session take random steps: no number is trusted to move, so nothing is lost against persistence."""
    world = World(noise=3.0)
    rng = np.random.default_rng(0)
    for episode in world.episodes:
        jumps = rng.normal(size=world.motion[episode].shape) * (rng.random(world.motion[episode].shape) < 0.01)
        world.motion[episode] = np.cumsum(jumps, axis=0)
    (task,) = tasks("action_chunk")
    branch, artifact = fit(world, tmp_path / "h", head, (task.id,))
    (found,), truth = answers(world, branch, artifact, task)
    assert artifact.details[task.id]["trust"] < 0.5
    assert error(found.values, truth) < 1.15 * error(truth.reference, truth)
