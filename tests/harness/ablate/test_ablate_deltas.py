"""A planted sensor: hiding it costs, hiding another does not; every number again by hand; what is no number says why."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from pipeline_runs import leaderboard
from planted import SPLIT, ablated, cell, write_planted
from scipy.stats import t as student_t

from harness.ablate.arms import Arm
from harness.ablate.deltas import build
from harness.ablate.runs import folder_of
from harness.ablate.text import markdown
from harness.ablate.variants import Variant, only, without
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.manifest import write_json
from harness.score import held_of, read_manifest
from harness.tables import by_task

BRANCHES = ("ridge", "persistence", "majority")
TASKS = ("contact_prediction", "hand_trajectory_forecast", "imu_to_hand_pose")
HAND, IMU, ONLY_HAND, ONLY_IMU = VARIANTS = [without("hand"), without("imu"), only("hand"), only("imu")]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted") / "run"


@pytest.fixture(scope="module")
def ablation(out: Path) -> dict[str, Any]:
    root = write_planted(out.parent / "data")
    return ablated(root, out, VARIANTS, BRANCHES, TASKS, *SPLIT)


def test_hiding_what_tells_costs_and_hiding_noise_does_not(ablation: dict[str, Any]) -> None:
    hand, imu = (cell(ablation, "ridge", "contact_prediction", v.name) for v in (HAND, IMU))
    assert hand["full"] > 0.9
    assert hand["delta"] > 0.25 and hand["verdict"] == "helps"
    assert abs(imu["delta"]) < 0.05 and imu["verdict"] != "helps"
    alone, noise = (cell(ablation, "ridge", "contact_prediction", v.name) for v in (ONLY_HAND, ONLY_IMU))
    assert alone["value"] > 0.9
    assert noise["value"] < 0.7 and noise["verdict"] == "helps"


def by_hand(out: Path, task: str, variant: Variant) -> tuple[float, list[float]]:
    """Difference over all clusters, and each cluster's part of it, from the states on disk; each session has one episode."""
    metric = evaluate(held_of(out, read_manifest(out)), []).metrics[task, 0]
    full, other = (Arm("", folder).states("ridge", task) for folder in (out, folder_of(out, variant)))
    keys = sorted(full)
    assert keys == sorted(other) and len(keys) == 6
    sign = 1 if metric.direction == "up" else -1
    first, second = (np.stack([states[key] for key in keys]) for states in (full, other))
    if metric.mean_over_rows:
        parts = [sign * (float(metric.value(a)) - float(metric.value(b))) for a, b in zip(first, second, strict=True)]
        return float(np.mean(parts)), parts
    whole = sign * (float(metric.value(first.sum(0))) - float(metric.value(second.sum(0))))
    left = [
        sign * float(metric.value(np.delete(first, i, 0).sum(0)) - metric.value(np.delete(second, i, 0).sum(0))) for i in range(6)
    ]
    return whole, [6 * whole - 5 * value for value in left]


@pytest.mark.parametrize("task", ["contact_prediction", "hand_trajectory_forecast"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_delta_interval_and_p_by_hand(ablation: dict[str, Any], out: Path, task: str, variant: Variant) -> None:
    found = cell(ablation, "ridge", task, variant.name)
    whole, parts = by_hand(out, task, variant)
    error = np.std(parts, ddof=1) / np.sqrt(6)
    half = student_t.ppf(0.975, 5) * error
    assert found["status"] == "compared" and found["n_clusters"] == 6
    assert found["delta"] == pytest.approx(whole, abs=1e-12)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((whole - half, whole + half), abs=1e-12)
    assert found["mde"] == pytest.approx((student_t.ppf(0.975, 5) + student_t.ppf(0.8, 5)) * error)
    sums = [abs(np.dot(signs, parts)) for signs in product((1, -1), repeat=6)]
    assert found["p"] == pytest.approx(np.mean(np.array(sums) >= abs(sum(parts)) - 1e-9))
    assert found["p_adjusted"] >= found["p"] - 1e-12
    assert found["within_margin"] == (max(abs(whole - half), abs(whole + half)) < found["margin"])
    rows = [
        next(r for r in leaderboard(f)["rows"] if (r["branch"], r["task"]) == ("ridge", task))
        for f in (out, folder_of(out, variant))
    ]
    assert (found["full"], found["value"]) == (rows[0]["value"], rows[1]["value"])
    assert found["skill_delta"] == pytest.approx(rows[0]["skill"] - rows[1]["skill"])


def test_na_is_no_zero_and_says_why(ablation: dict[str, Any]) -> None:
    blind = {
        ("ridge", "imu_to_hand_pose", IMU): "all that it is shown is hidden (imu)",
        ("ridge", "imu_to_hand_pose", ONLY_HAND): "all that it is shown is hidden (imu)",
        ("persistence", "hand_trajectory_forecast", HAND): "it has no answer without hand",
        ("persistence", "hand_trajectory_forecast", ONLY_HAND): "it has no answer without pose",
    }
    for (branch, task, variant), why in blind.items():
        found = cell(ablation, branch, task, variant.name)
        assert (found["status"], found["reason"]) == ("not_answered", why)
        assert found["value"] is found["delta"] is found["verdict"] is found["skill_delta"] is None
    for branch, task, variant in (("ridge", "imu_to_hand_pose", HAND), ("majority", "contact_prediction", HAND)):
        found = cell(ablation, branch, task, variant.name)
        assert (found["status"], found["delta"]) == ("not_shown", None)


def rows_of(folder: Path, branch: str, task: str) -> Iterator[dict[str, list[Any]]]:
    for part in sorted((folder / "bundles" / branch / "fold=0" / "seed=0").glob("part-*.parquet")):
        for _, table in by_task(part, [task]):
            yield table.to_pydict()


def test_hiding_what_a_task_does_not_show_changes_not_one_bit(ablation: dict[str, Any], out: Path) -> None:
    for branch, task, variant in (("ridge", "imu_to_hand_pose", HAND), ("persistence", "hand_trajectory_forecast", IMU)):
        assert cell(ablation, branch, task, variant.name)["status"] == "not_shown"
        full, other = (list(rows_of(folder, branch, task)) for folder in (out, folder_of(out, variant)))
        assert len(full) == 6 and full == other


def test_means_are_of_skill_and_name_their_tasks(ablation: dict[str, Any]) -> None:
    [mean] = [m for m in ablation["means"] if (m["branch"], m["variant"]) == ("ridge", HAND.name)]
    cells = [cell(ablation, "ridge", task, HAND.name) for task in ("contact_prediction", "hand_trajectory_forecast")]
    assert mean["tasks"] == [c["task"] for c in cells]
    assert mean["skill_delta"] == pytest.approx(np.mean([c["skill_delta"] for c in cells]))
    assert mean["left_out"]["not_shown"] == ["imu_to_hand_pose"]
    assert mean["ci_low"] < mean["skill_delta"] < mean["ci_high"]


def test_every_arm_answers_the_same_rows(ablation: dict[str, Any], out: Path) -> None:
    boards = [leaderboard(folder) for folder in (out, *(folder_of(out, v) for v in VARIANTS))]
    samples = [{t["id"]: t["n_samples"] for t in board["tasks"]} for board in boards]
    floors = [{t["id"]: t["floor"]["value"] for t in board["tasks"]} for board in boards]
    assert all(found == samples[0] for found in samples)
    assert all(found == floors[0] for found in floors)


def test_the_tables_say_it(ablation: dict[str, Any]) -> None:
    text = markdown(ablation)
    assert "G = 6" in text and "above 0 what was taken away helped" in text
    assert "- N/A imu\\_to\\_hand\\_pose: all that it is shown is hidden (imu)" in text
    assert "not shown in imu\\_to\\_hand\\_pose" in text
    assert "helps" in text and "within the margin |" not in text
    [row] = [line for line in text.splitlines() if line.startswith("| contact") and "helps" in line][:1]
    small = {**ablation, "cells": [c | {"within_margin": True} for c in ablation["cells"]]}
    [again] = [line for line in markdown(small).splitlines() if line.startswith("| contact") and "helps" in line][:1]
    assert again == row.replace("helps |", "helps, within the margin |") != row


def test_what_answers_less_says_so_beside_its_verdict(ablation: dict[str, Any]) -> None:
    assert cell(ablation, "ridge", "contact_prediction", HAND.name)["coverage_full"] == 1
    assert "the full arm" not in markdown(ablation).partition("## ridge, without")[2]
    some = {**ablation, "cells": [c | {"coverage": 0.519} if c["variant"] == HAND.name else c for c in ablation["cells"]]}
    [row] = [line for line in markdown(some).splitlines() if "; answers" in line and line.startswith("| contact")]
    assert "helps; answers 51 % of its rows, the full arm 100 % |" in row


def test_a_fit_that_ended_with_an_error_is_failed_and_not_na(ablation: dict[str, Any], out: Path, tmp_path: Path) -> None:
    crashed = tmp_path / IMU.name
    copytree(folder_of(out, IMU), crashed)  # as a crash leaves it: a line in the manifest, no rows
    line = "fit ridge fold 0 seed 0: MemoryError: no room"
    write_json(crashed / "manifest.json", read_manifest(crashed) | {"failed": [line]})
    board = leaderboard(crashed)
    write_json(crashed / "leaderboard.json", board | {"rows": [r for r in board["rows"] if r["branch"] != "ridge"]})
    found = build(out, {IMU: crashed}, {})
    one = cell(found, "ridge", "contact_prediction", IMU.name)
    assert (one["status"], one["reason"], one["delta"]) == ("failed", "MemoryError: no room", None)
    [mean] = [m for m in found["means"] if m["branch"] == "ridge"]
    # Where nothing is left to see it has no answer, whether its fit ran or not.
    assert mean["left_out"]["not_answered"] == ["imu_to_hand_pose"]
    assert mean["left_out"]["failed"] == ["contact_prediction", "hand_trajectory_forecast"]
    text = markdown(found).replace("\\", "")
    assert "- failed, and so without a number: contact_prediction" in text and f"- failed {line}" in text
    assert "N/A contact_prediction" not in text


def test_one_cluster_is_one_in_the_means_too(tmp_path: Path) -> None:
    root = write_planted(tmp_path / "data", episodes=6, frames=80)
    words = ("split.train=0-3", "split.validation=4", "split.test=5")
    found = ablated(root, tmp_path / "run", [HAND], ("ridge",), TASKS[:2], *words)
    [mean] = found["means"]
    cells = [cell(found, "ridge", task, HAND.name) for task in TASKS[:2]]
    assert [mean["n_clusters"], *(c["n_clusters"] for c in cells)] == [1, 1, 1]
    assert (mean["verdict"], mean["ci_low"], mean["p"]) == ("inconclusive", None, None)
    assert mean["leaning"] == ("helps" if mean["skill_delta"] > 0 else "hurts")


def test_runs_on_other_recordings_are_not_compared(ablation: dict[str, Any], out: Path, tmp_path: Path) -> None:
    root = write_planted(tmp_path / "data", episodes=6, frames=60)
    other = tmp_path / "other"
    ablated(root, other, [], BRANCHES, TASKS, "split.train=0-2", "split.validation=3", "split.test=4-5")
    with pytest.raises(BadInput, match="another data_hash"):
        build(out, {without("audio"): other}, {})


def test_a_vacuous_task_has_numbers_and_no_verdict(ablation: dict[str, Any], out: Path, tmp_path: Path) -> None:
    copy = copytree(out, tmp_path / "run")
    board = leaderboard(copy)
    [task] = [task for task in board["tasks"] if task["id"] == "contact_prediction"]
    task["vacuous"] = "one class"
    write_json(copy / "leaderboard.json", board)
    found = cell(build(copy, {HAND: folder_of(copy, HAND)}, {}), "ridge", "contact_prediction", HAND.name)
    assert found["delta"] == cell(ablation, "ridge", "contact_prediction", HAND.name)["delta"] and found["n_clusters"] == 6
    assert found["verdict"] is found["p"] is found["p_adjusted"] is found["ci_low"] is found["skill_delta"] is None
