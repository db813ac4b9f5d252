"""Trials without Ray: what they may see, and what they come to."""

from dataclasses import replace
from pathlib import Path

import pytest
from pipeline_runs import ingested, prepared, write_sessions

from harness.branch import Artifact
from harness.pipeline.fit import FitJob, artifact_folder, is_fitted
from harness.pipeline.plan import Plan
from harness.pipeline.processes import processes_of
from harness.pipeline.workbench import Workbench
from tune.trial import inner_split, run_trial

TASKS = ("timeline_action", "contact_prediction")
WORDS = ("split.train=0-3", "split.validation=4", "split.test=5", "branch.mlp.epochs=3")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Three sessions of two episodes; the store and the targets know nothing of the test episode."""
    folder = tmp_path_factory.mktemp("trials")
    data = write_sessions(folder / "data", frames=100)
    ready = prepared(data, folder / "run", *WORDS, branches=("majority", "ridge", "mlp"), tasks=TASKS)
    plan, lost = ingested(ready)
    assert not lost
    [fold] = plan.split.folds
    for episode in fold.test:
        plan.targets_file(episode).unlink()
    return plan


def test_no_inner_fold_holds_a_test_episode(plan: Plan) -> None:
    test = set(plan.split.folds[0].test)
    for head in (True, False):
        inner = inner_split(plan.split, head=head)
        assert not test & set(inner.episodes) and inner.hash != plan.split.hash
    folds = inner_split(plan.split, head=True).folds
    assert [fold.test for fold in folds] == [("s0__ep0", "s0__ep1"), ("s1__ep0", "s1__ep1")]
    assert [fold.train for fold in folds] == [("s1__ep0", "s1__ep1"), ("s0__ep0", "s0__ep1")]
    assert inner_split(plan.split, head=False).folds[0].test == plan.split.folds[0].validation


@pytest.mark.parametrize("name", ["ridge", "mlp"])
def test_a_trial_needs_no_test_episode_and_repeats_itself(plan: Plan, name: str) -> None:
    options = plan.config.branch.get(name, {})
    trial = {"branch": name, "options": options, "refit": False}
    first = run_trial(plan, trial)
    assert first is not None and 0.0 <= first <= 2.0
    assert run_trial(plan, trial) == first
    assert not list((plan.out / "trials" / "work").iterdir())  # nothing is left of it
    assert not (plan.out / "bundles" / name).exists()


def test_options_change_the_objective(plan: Plan) -> None:
    base = plan.config.branch["mlp"]
    one, other = (run_trial(plan, {"branch": "mlp", "options": {**base, **o}, "refit": False}) for o in ({}, {"hidden": 4}))
    assert one != other


def test_a_branch_that_reports_no_loss_is_chosen_by_its_score_on_validation(plan: Plan) -> None:
    # A floor is no head: one pair, scored by the evaluator; the floor of the task itself has no skill.
    assert run_trial(plan, {"branch": "majority", "options": {}, "refit": False}) == pytest.approx(1.0)


def test_what_stops_a_fit_early_may_also_rank_its_trials(plan: Plan) -> None:
    trial = {"branch": "faulty.branches:ReadsValidation", "options": {}, "refit": False}
    assert run_trial(plan, trial) == run_trial(plan, {**trial, "branch": "prior"})


def test_a_refit_is_the_fit_of_the_run(plan: Plan) -> None:
    chosen = {**plan.config.branch["mlp"], "hidden": 16}
    assert run_trial(plan, {"branch": "mlp", "options": chosen, "refit": True}) is None
    job = FitJob("mlp", 0, 0)
    final = replace(plan, config=replace(plan.config, branch={"mlp": chosen}))
    assert is_fitted(final, job, Workbench(final))
    seen = Artifact.load(artifact_folder(plan, job)).fitted_on
    assert set(seen["weights"]) == set(plan.split.folds[0].train)
    assert set(seen["early_stopping"]) == set(plan.split.folds[0].validation)
    assert processes_of(Path(plan.out))["mlp"]["processes"] == 1
