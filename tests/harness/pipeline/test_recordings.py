"""The main job on real robot recordings: the same episodes score the same in every layout they come in."""

from pathlib import Path
from typing import Any

import pytest
from pipeline_runs import differences, prepared, row, run_here

BRANCHES = ("persistence", "constant_velocity", "prior", "ridge", "mlp", "oracle")


def board(data: Path, out: Path, train: str, validation: str, test: str) -> dict[str, Any]:
    words = (f"split.train={train}", f"split.validation={validation}", f"split.test={test}", "branch.mlp.epochs=4")
    return run_here(prepared(data, out / "run", *words, branches=BRANCHES, tasks=("action_chunk",)))


def test_two_layouts_of_the_same_episodes_score_the_same(shared_data: Path, tmp_path: Path) -> None:
    v21 = board(shared_data / "g1_inspire_v21", tmp_path / "v21", "29,30", "31", "59")
    v30 = board(shared_data / "g1_inspire_v30", tmp_path / "v30", "0-1", "2", "3")
    assert len(v30["rows"]) == len(BRANCHES)
    for name in BRANCHES:
        old, new = row(v21, name, "action_chunk"), row(v30, name, "action_chunk")
        for detail in (old["detail"], new["detail"]):  # the episode has another number
            for key in ("per_episode", "mae_per_episode"):
                detail[key] = list(detail[key].values())
        assert not differences(old, new)


def test_the_table_says_what_a_user_of_the_robot_computes(shared_data: Path, tmp_path: Path) -> None:
    found = board(shared_data / "gr1_picknplace_v20", tmp_path, "0-2", "3", "4")
    [task] = found["tasks"]
    assert set(task["group_units"]) == set(row(found, "ridge", "action_chunk")["detail"]["per_group"]) > {"left_arm"}
    assert found["evidence"] == "mock" and found["split"]["clusters"] == 1
    for name in BRANCHES:
        detail = row(found, name, "action_chunk")["detail"]
        assert list(detail["per_horizon"]) == [str(step) for step in range(1, 17)]
        # One test episode: its mean is the mean, and no interval can be told from it.
        assert detail["mae_mean"] == pytest.approx(detail["mae"]) and detail["mae_ci_low"] is None
        assert sum(detail["per_horizon"].values()) / 16 == pytest.approx(detail["mae"])
    assert row(found, "oracle", "action_chunk")["value"] == 0.0
    assert row(found, "ridge", "action_chunk")["value"] < row(found, "prior", "action_chunk")["value"]


def test_a_policy_answers_where_there_is_a_camera_and_fails_where_there_is_none(shared_data: Path, tmp_path: Path) -> None:
    words = (
        "split.train=59",
        "split.validation=63",
        "split.test=0,31",
        "branch.policy:act.steps=2",
        "windows.max_per_episode=12",
    )
    branches = ("persistence", "policy:act")
    ready = prepared(shared_data / "g1_inspire_v21", tmp_path / "run", *words, branches=branches, tasks=("action_chunk",))
    found = run_here(ready)
    act, floor = row(found, "policy:act", "action_chunk"), row(found, "persistence", "action_chunk")
    assert act["failures"] == {"unsupported": act["n_samples"] // 2} and act["coverage"] == 0.5  # episode 0 has no video
    per_episode = act["detail"]["per_episode"]
    # What it cannot answer costs it as much as persistence, and is not invented.
    assert per_episode["episode_000000"] == pytest.approx(floor["detail"]["per_episode"]["episode_000000"])
    assert act["value"] > 0 and floor["coverage"] == 1.0
