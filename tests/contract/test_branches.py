"""What every registered branch must keep: one suite for floors, heads and models alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fits import fitted

from harness.answers import Predictions, Status
from harness.branch import Artifact, Branch, Needs, Predictor, branch_names, make_branch
from harness.episode import Episode
from harness.leakage.canary import FutureCanary
from harness.pipeline.fit import FitJob, artifact_folder
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor
from harness.request import TABLE_HEADS
from harness.tasks.base import Task
from harness.window import Samples
from tune.trial import HEAD, _losses

# What answers nothing but tables is put through the same suite in `table/`.
NAMES = [name for name in branch_names() if name not in TABLE_HEADS]


@pytest.fixture
def ready(plan: Plan, actor: Actor, name: str) -> tuple[Branch, Artifact, Predictor]:
    """The branch, fitted once per session."""
    folder = artifact_folder(plan, FitJob(name, 0, 0))
    if not (folder / "artifact.json").is_file():
        fitted(plan, actor, name)
    branch = plan.make_branch(name)
    artifact = Artifact.load(folder)
    return branch, artifact, branch.predictor(artifact)


def answered(plan: Plan, actor: Actor, branch: Branch) -> list[Task]:
    posed = actor.bench.record(plan.split.folds[0].test[0]).tasks
    return [task for task in map(plan.task, posed) if branch.route(task) is not None]


def some(plan: Plan, actor: Actor, task: Task, episode: str | None = None) -> tuple[Episode, Samples]:
    fold = plan.split.folds[0]
    test = episode or fold.test[0]
    samples = actor.bench.samples(task, test, fold, "test")
    return actor.bench.episode(test), samples.take(np.arange(0, len(samples), 3))


def predict(
    plan: Plan, actor: Actor, ready: tuple[Branch, Artifact, Predictor], task: Task, episode: Episode, samples: Samples
) -> list[Predictions]:
    branch, _, predictor = ready
    roles = ("query", "key") if task.answer == "retrieval" else ("",)
    observe = actor.bench.observer.batch
    return [predictor.predict(observe(episode, task, samples, branch.needs(task), role=role)) for role in roles]


def same(one: list[Predictions], other: list[Predictions]) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.status == b.status).all()
        for field in ("labels", "label_sets", "probabilities", "values"):
            x, y = getattr(a, field), getattr(b, field)
            assert (x is None) == (y is None), field
            if x is not None:
                np.testing.assert_array_equal(x, y, err_msg=field)


def test_the_card_says_who_it_is(name: str, plan: Plan) -> None:
    card = plan.make_branch(name).card
    assert card.name == name and card.title and card.family


def test_it_answers_something_here(name: str, plan: Plan, actor: Actor) -> None:
    """Or nothing below could fail."""
    assert answered(plan, actor, plan.make_branch(name))


def test_every_sample_gets_a_row_of_the_right_kind(
    name: str, plan: Plan, actor: Actor, ready: tuple[Branch, Artifact, Predictor]
) -> None:
    branch, artifact, _ = ready
    for task in answered(plan, actor, branch):
        episode, samples = some(plan, actor, task)
        for rows in predict(plan, actor, ready, task, episode, samples):
            assert len(rows) == len(samples), task.id
            assert set(rows.status.tolist()) <= {s.value for s in Status}, task.id
            assert rows.ok.any(), task.id
            if task.answer == "label":
                assert rows.labels is not None and (rows.labels[rows.ok] >= 0).all(), task.id
                assert rows.labels.max() < len(rows.vocabulary)
            elif task.answer == "label_set":
                assert rows.label_sets is not None and rows.label_sets.shape == (len(samples), len(rows.vocabulary))
            else:
                assert rows.values is not None and np.isfinite(rows.values[rows.ok]).all(), task.id
            if task.answer == "vector":
                record = actor.bench.record(plan.split.folds[0].test[0])
                assert rows.values is not None and rows.values.shape[1] == np.prod(record.shapes[task.id]), task.id
            if rows.probabilities is not None:
                assert rows.probabilities.shape[1] <= len(rows.vocabulary)
                assert tuple(artifact.classes[task.id]) == rows.vocabulary[: rows.probabilities.shape[1]]
                assert ((rows.probabilities >= 0) & (rows.probabilities <= 1 + 1e-5)).all()
                if task.answer == "label":
                    np.testing.assert_allclose(rows.probabilities[rows.ok].sum(axis=1), 1, atol=1e-3)


def test_nothing_after_t0_changes_a_bit(
    name: str, plan: Plan, canaries: list[FutureCanary], ready: tuple[Branch, Artifact, Predictor]
) -> None:
    """The future canary: every track of the recording after t0 is noise, under all transforms, and goes the way of any run."""
    branch, _, _ = ready
    shown = any(branch.needs(task) != Needs() for task in map(plan.task, plan.tasks) if branch.route(task) is not None)
    for canary in canaries:
        answer = canary.check(FitJob(name, 0, 0), near=6 if branch.card.family == "qwen_omni" else None)
        assert [str(change) for change in answer.changes] == []
        # A tiny model that is only asked may answer every window alike.
        assert answer.compared and (answer.heard == shown or (shown and branch.card.family == "qwen_omni"))


def test_the_same_seed_gives_the_same_bits(
    name: str, plan: Plan, actor: Actor, ready: tuple[Branch, Artifact, Predictor], tmp_path: Path
) -> None:
    branch, artifact, _ = ready
    again = fitted(plan, actor, name, tmp_path / "again")
    other = Artifact.load(artifact_folder(again, FitJob(name, 0, 0)))
    assert other.fitted_on == artifact.fitted_on and other.classes == artifact.classes
    twin = (branch, other, branch.predictor(other))
    for task in answered(plan, actor, branch):
        episode, samples = some(plan, actor, task)
        same(predict(plan, actor, ready, task, episode, samples), predict(plan, actor, twin, task, episode, samples))


def test_what_it_was_fitted_on_is_written_down_and_is_not_test(
    name: str, plan: Plan, ready: tuple[Branch, Artifact, Predictor]
) -> None:
    branch, artifact, _ = ready
    fold = plan.split.folds[0]
    if branch.card.fitted:
        assert artifact.fitted_on
    for part, episodes in artifact.fitted_on.items():
        if part == "pretrained":  # other recordings: where weights come from, no episode of the run
            assert not set(episodes) & set(plan.split.episodes)
            continue
        assert set(episodes) <= {*fold.train, *fold.validation}, part
    assert not [p for p in artifact.folder.rglob("*") if p.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")]


def test_what_stops_early_reports_the_loss_that_ranks_its_trials(
    name: str, plan: Plan, ready: tuple[Branch, Artifact, Predictor]
) -> None:
    """Or `select` would silently rank a trained branch by something else. Heads are ranked by their scores."""
    branch, artifact, _ = ready
    losses = list(_losses(artifact.details))
    if branch.card.family != HEAD:
        assert bool(losses) == ("early_stopping" in artifact.fitted_on)
    assert np.isfinite(losses).all()


def test_no_input_at_all_is_a_failed_row_never_an_invented_one(
    name: str, plan: Plan, actor: Actor, ready: tuple[Branch, Artifact, Predictor]
) -> None:
    """An episode that has lost every track a branch asks for."""
    branch, _, _ = ready
    for task in answered(plan, actor, branch):
        needs = branch.needs(task)
        if not needs.features and not needs.tracks:
            continue
        episode, samples = some(plan, actor, task)
        only_clock = {name: track for name, track in episode.tracks.items() if name == episode.reference}
        blind = replace(episode.with_tracks(only_clock), id=f"{episode.id}-blind-{task.id}")
        for rows in predict(plan, actor, ready, task, blind, samples):
            assert not rows.ok.any(), task.id
            assert set(rows.status.tolist()) == {Status.UNSUPPORTED.value}, task.id


def test_every_preset_has_a_plan_without_any_weights_or_none_has(name: str) -> None:
    plans = {preset: make_branch(name, None, preset).plan() for preset in make_branch(name).presets or (None,)}
    assert len({plan is None for plan in plans.values()}) == 1
    for plan in filter(None, plans.values()):
        names = [part.name for part in plan.parts]
        held = {stage: {name for together in sets for name in together} for stage, sets in plan.held.items()}
        assert len(set(names)) == len(names) and set().union(*held.values()) == set(names)
        assert held["predict"] and held["fit"] >= {part.name for part in plan.parts if part.trained}
        assert all(sum(part.formats.values()) == part.parameters and set(part.formats) for part in plan.parts)
