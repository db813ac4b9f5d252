"""Fit provenance: each kind of overlap is planted and refused by name; above the unit it is printed and caps the evidence."""

from dataclasses import replace
from pathlib import Path

import pytest
from canary_world import fitted, planned
from gate_world import FOLD, bundle_of, held_of

from harness.branch import BranchCard, make_branch
from harness.bundle import find_bundles
from harness.demo import write_demo
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.leakage import DUPLICATES, PROVENANCE, check
from harness.pipeline.predict import Actor, Block
from harness.report.model import capabilities, headline
from harness.run import write_bundle
from harness.splits import Fold

PEOPLE = {"a": "p1", "b": "p2", "c": "p3", "train": "p1"}
SITTINGS = {"a": "s1", "b": "s2", "c": "s3", "train": "s4"}


def refusal(held, made) -> str:
    with pytest.raises(BadInput) as error:
        evaluate(held, [made])
    text = str(error.value)
    assert "\n" not in text and "model:x" in text
    return text


@pytest.mark.parametrize(
    "part", ["scaler", "vocabulary", "quantiles", "bank", "adapter", "shots", "pretrained", "inner/pretrained"]
)
def test_any_part_that_saw_a_test_episode_is_refused_by_name(tmp_path: Path, part: str) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", fitted_on={"weights": ["train"], part: ["train", "b"]})
    text = refusal(held, made)
    assert f"the {part} of model:x was fitted on b, which fold 0 tests" in text


def test_the_unit_decides_what_may_be_shared(tmp_path: Path) -> None:
    about = {"sessions": SITTINGS, "participants": PEOPLE}
    for unit, refused in (("episode", False), ("session", False), ("participant", True)):
        held = held_of(tmp_path / unit, unit=unit, **about)
        made = bundle_of(held, tmp_path / f"m-{unit}")
        if refused:
            assert "weights" in (text := refusal(held, made)) and "participant p1" in text and "fitted on train" in text
        else:
            evaluate(held, [made])
    same = held_of(tmp_path / "same", unit="session", sessions={**SITTINGS, "train": "s1"})
    assert "session s1" in refusal(same, bundle_of(same, tmp_path / "m-same"))


def test_what_is_shared_above_the_unit_is_printed_and_caps_that_row_alone(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets", sessions={**SITTINGS, "c": "s1"})
    one = bundle_of(held, tmp_path / "m", fitted_on={"weights": ["train"], "early_stopping": ["c"]})
    other = bundle_of(held, tmp_path / "n", branch="model:y")
    board = build(evaluate(held, [one, other]), "held_out")
    rows = {row["branch"]: row for row in board["rows"]}
    assert rows["model:x"]["shared"] == {"session": ["s1"]} and rows["model:x"]["evidence"] == "dry_run"
    assert rows["model:y"]["shared"] == {} and rows["model:y"]["evidence"] == "held_out"
    # The split shares s1 between validation and test, which its own line says; a session beyond that gets a line of its own.
    assert any(line.startswith("shared: session") for line in headline(board))
    beyond = replace(held, split=replace(held.split, folds=(Fold(0, ("train",), (), ("a", "b")),)))
    again = bundle_of(beyond, tmp_path / "o", fitted_on={"weights": ["train", "c"]})
    assert "shared: session s1 (fitted and tested on by model:x)" in headline(build(evaluate(beyond, [again]), "held_out"))


@pytest.mark.parametrize("fitted_on", [None, {}, {"weights": []}, {"weights": ["train"], "scaler": []}])
def test_unknown_provenance_is_refused(tmp_path: Path, fitted_on) -> None:
    held = held_of(tmp_path / "targets")
    assert "does not say" in refusal(held, bundle_of(held, tmp_path / "m", fitted_on=fitted_on))


def test_what_fits_nothing_need_not_say_on_what(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    evaluate(held, [bundle_of(held, tmp_path / "m", fitted_on={}, card={"fitted": False})])


def test_an_empty_card_does_not_say_that_nothing_was_fitted(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    assert "does not say what it was fitted on" in refusal(held, bundle_of(held, tmp_path / "m", fitted_on={}, card={}))


def test_what_the_fit_stage_noted_counts_whatever_the_bundle_declares(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets", unit="session", sessions={**SITTINGS, "train": "s1"})
    for handed, said in (("a", "was fitted on a, which fold 0 tests"), ("train", "they share session s1")):
        spans = {handed: [0, 15], "c": [0, 15]}
        text = refusal(held, bundle_of(held, tmp_path / handed, fitted_on={"weights": ["c"]}, spans=spans))
        assert said in text and "the fit (spans) of model:x" in text
    # Above the unit it caps the evidence.
    below = held_of(tmp_path / "below", sessions={**SITTINGS, "train": "s1"})
    spans = {"train": [0, 15], "c": [0, 15]}
    made = bundle_of(below, tmp_path / "m", fitted_on={"weights": ["c"]}, spans=spans)
    [row] = build(evaluate(below, [made]), "held_out")["rows"]
    assert row["shared"] == {"session": ["s1"]} and row["evidence"] == "dry_run"


def test_an_id_that_the_data_set_does_not_have_may_be_a_test_episode_under_another_name(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    assert "fitted on B, which this data set" in refusal(held, bundle_of(held, tmp_path / "m", fitted_on={"weights": ["B"]}))
    elsewhere = {"weights": ["train"], "pretrained": ["demo/seed10000"]}
    evaluate(held, [bundle_of(held, tmp_path / "n", fitted_on=elsewhere)])


def test_within_an_episode_the_fit_must_end_before_the_test_begins(tmp_path: Path) -> None:
    # 16 samples, borders at 8 and 8: the test begins one window after sample 8, at 12.
    fold = Fold(0, tuple("ab"), (), tuple("ab"), (0.5, 0.5))
    held = held_of(tmp_path / "targets", fold, "interval")
    kept = {"fitted_on": {"weights": ["a", "b"]}, "spans": {"a": [0, 7], "b": [0, 7]}}
    evaluate(held, [bundle_of(held, tmp_path / "m", **kept)])
    late = bundle_of(held, tmp_path / "n", **{**kept, "spans": {"a": [0, 7], "b": [0, 12]}})
    assert "samples 0 to 12 of b" in (text := refusal(held, late)) and "weights" in text
    silent = bundle_of(held, tmp_path / "o", **{**kept, "spans": {"a": [0, 7]}})
    assert "fitted on b" in (text := refusal(held, silent)) and "does not say on which part" in text


def test_an_imported_bundle_is_scored_and_every_gate_it_does_not_meet_is_named(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", fitted_on=None, imported=True)
    assert check(made, held) == [PROVENANCE, DUPLICATES]
    [row] = build(evaluate(held, [made]), "held_out")["rows"]
    assert row["gates"] == [DUPLICATES, PROVENANCE] and row["evidence"] == "smoke" and row["value"] is not None
    assert row["rank_interval"] is None


def test_pretraining_is_printed_and_not_refused(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", card={"fitted": True, "weights": "some/model", "pretraining": {"ego": "unknown"}})
    board = build(evaluate(held, [made]), "held_out")
    printed = [cells for section in capabilities(board) for cells in section.rows]
    assert ("model:x", "some/model", "ego: unknown") in printed


def test_the_world_of_these_tests_shares_nothing(tmp_path: Path) -> None:
    assert not set(FOLD.train) & set(FOLD.test)
    held = held_of(tmp_path / "targets")
    assert check(bundle_of(held, tmp_path / "m"), held) == []


def test_a_chronological_run_notes_by_itself_what_its_fits_were_handed(tmp_path: Path) -> None:
    write_demo(tmp_path / "recordings", episodes=1, seed=3, seconds=12.0)
    plan = planned(tmp_path / "recordings", tmp_path, ["ridge"], ("timeline_action",), "split.kind=chronological")
    [job] = fitted(plan)
    write_bundle(plan, job)
    [episode] = plan.split.episodes
    Actor(plan).run(Block("ridge", 0, 0, episode, 0, 1000))
    [made] = find_bundles(plan.out / "bundles")
    held = Held(plan.out / "targets", plan.split, (plan.task("timeline_action"),), plan.spec)
    [row] = build(evaluate(held, [made]), "dry_run")["rows"]
    assert row["value"] is not None and row["coverage"] == 1.0
    # 240 samples; train to 144, validation to 168, the test shows nothing before 168 + 20.
    first, last = made.spans[episode]
    assert first == 0 and 100 < last < 168 and plan.split.folds[0].first("test", 240, plan.spec) == 188


def test_what_pretraining_saw_is_said_for_the_data_set_of_the_run(tmp_path: Path) -> None:
    card = BranchCard("b", "f", "t", weights="some/model")
    assert card.declared_pretraining("kitchen") == {"kitchen": "unknown"}
    assert replace(card, pretraining={"kitchen": "yes"}).declared_pretraining("kitchen") == {"kitchen": "yes"}
    assert replace(card, weights="").declared_pretraining("kitchen") == {}
    tiny = make_branch("qwen_omni:prompt").card
    assert tiny.declared_pretraining("demo") == {"demo": "yes"}
    assert tiny.declared_pretraining("kitchen") == {"kitchen": "no", "demo": "yes"}
