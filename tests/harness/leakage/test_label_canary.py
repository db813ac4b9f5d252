"""The label canary: heads fall when their training labels are shuffled, and what reads the answer does not."""

from pathlib import Path

import pytest
from canary_world import planned

from harness.bundle import find_bundles
from harness.demo import write_demo
from harness.leakage.labels import Fall, _scores, label_canary
from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.run import write_bundle

TASKS = ("timeline_action", "transition_detection", "object_relevance", "temporal_order")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "recordings"
    write_demo(out, episodes=4, seed=5, seconds=16.0)
    return out


def run_of(root: Path, out: Path, *branches: str) -> Plan:
    return planned(root, out, branches, TASKS, "split.train=0,2", "split.validation=3", "split.test=1", "branch.mlp.epochs=20")


@pytest.mark.parametrize("name", ["majority", "ridge", "mlp"])
def test_what_is_fitted_on_shuffled_labels_falls(root: Path, tmp_path: Path, name: str) -> None:
    falls = label_canary(run_of(root, tmp_path, name), FitJob(name, 0, 0), tmp_path / "canary")
    answered = [task for task in TASKS if name != "majority" or task != "object_relevance"]
    assert [fall.task for fall in falls] == answered
    assert [str(fall) for fall in falls if not fall.fell] == []


def test_what_reads_the_answer_from_somewhere_does_not_fall(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "leaky.branches:ReadsTheAnswer"
    plan = run_of(root, tmp_path, name)
    monkeypatch.setenv("PLANTED_TARGETS", str(plan.out / "targets"))
    falls = {fall.task: fall for fall in label_canary(plan, FitJob(name, 0, 0), tmp_path / "canary")}
    for task in ("timeline_action", "temporal_order"):
        assert not falls[task].fell and falls[task].values[0] > 0.99
        assert f"{name} on {task}, fitted on shuffled labels, reached 1.000" in str(falls[task])
        assert "reads the answer from somewhere" in str(falls[task])


def test_the_same_head_on_the_true_labels_is_above_the_bar(root: Path, tmp_path: Path) -> None:
    """Or the canary could not sing."""
    plan, job = run_of(root, tmp_path, "ridge"), FitJob("ridge", 0, 0)
    fit_branch(plan, job)
    write_bundle(plan, job)
    actor = Actor(plan)
    for block in blocks_of(plan, actor.bench, "ridge", 0, 0):
        actor.run(block)
    [bundle] = find_bundles(plan.out / "bundles")
    _, value, bar = _scores(plan, bundle, 0)["timeline_action"]
    assert value > bar + 0.1


def test_once_above_the_bar_is_luck_and_always_is_not() -> None:
    assert Fall("b", "t", "up", (0.9, 0.4), (0.5, 0.5)).fell
    assert not Fall("b", "t", "up", (0.9, 0.6), (0.5, 0.5)).fell
    assert not Fall("b", "t", "down", (0.1, 0.2), (0.5, 0.5)).fell
