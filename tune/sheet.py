"""The decision sheet as JSON values: what every arm reached, what it cost, and what cannot be decided."""

import json
from pathlib import Path
from typing import Any

from harness.ranking import LEAST_COVERAGE
from harness.reference import PRIVILEGED
from harness.run import Outcome
from harness.splits import Role
from harness.stats import MIN_CLUSTERS
from tune.tuners import Arm

SCHEMA = "espalier.sheet/1"
NOT_ESTIMABLE = "not estimable"
NO_WINNER = "no winner"
LEFT_OUT = "leave_one_episode_out"  # folder of the second run


def build_sheet(
    out: Path,
    roles: dict[Role, list[str]],
    defective: dict[str, str],
    arms: list[Arm],
    not_run: dict[str, str],
    outcome: Outcome,
    loo: Outcome | None,
) -> dict[str, Any]:
    """The sheet of a finished selection.

    Args:
        out: The run folder.
        roles: The frozen split.
        defective: Episode -> what it lacks.
        arms: Branches that had something to choose from.
        not_run: Branch -> what it would need.
        outcome: Of the run.
        loo: Of the floors and heads by leave-one-episode-out; None without any.
    """
    board = outcome.leaderboard
    manifest = json.loads((out / "manifest.json").read_text())
    apart = json.loads((out / LEFT_OUT / "manifest.json").read_text()) if loo else {"processes": {}, "decoded_frames": {}}
    branches = list(manifest["branches"])
    return {
        "schema": SCHEMA,
        "evidence": board["evidence"],
        "episodes": sum(map(len, roles.values())),
        "split": {**board["split"], **roles},
        "defective": defective,
        "tasks": [_task(board, task) for task in board["tasks"]],
        "undecided": _undecided(board, branches, manifest["seeds"]),
        "trials": {arm.name: _trials(arm) for arm in arms},
        "without_choice": [name for name in branches if name not in {arm.name for arm in arms}],
        "not_run": not_run,
        "failures": _failures(arms, outcome, loo),
        "leave_one_episode_out": _left_out(loo) if loo else [],
        "processes": manifest["processes"],
        "processes_leave_one_out": apart["processes"],
        "decoded_frames": manifest["decoded_frames"],
        "decoded_again": _decoded_again(manifest, apart),
    }


def _task(board: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    rows = [row for row in board["rows"] if row["task"] == task["id"]]
    kept = (
        "branch",
        "family",
        "route",
        "privileged",
        "value",
        "ci_low",
        "ci_high",
        "skill",
        "coverage",
        "n_clusters",
        "failures",
        "cost",
    )
    return {**task, "rows": [{**{name: row[name] for name in kept}, "verdict": _verdict(row)} for row in rows]}


def _verdict(row: dict[str, Any]) -> str:
    """Against the floor; more than five test clusters do not fit into eight episodes."""
    if row["privileged"]:
        return "bounds, not ranked"
    return NOT_ESTIMABLE if row["n_clusters"] < MIN_CLUSTERS else row["verdict_vs_floor"] or NO_WINNER


def _undecided(board: dict[str, Any], branches: list[str], seeds: list[int]) -> list[str]:
    """What the numbers cannot tell, and why."""
    clusters = board["split"]["clusters"]
    lines = []
    if clusters <= 2:
        lines.append(f"intervals and verdicts are {NOT_ESTIMABLE}: G = {clusters} test cluster(s), a spread needs three")
    smallest = f"the smallest p that a sign-flip test can reach is 2 / 2^{clusters} = {2 / 2**clusters:.3g}"
    lines.append(f"{NO_WINNER} among the arms: with G = {clusters} {smallest}; the order is by point values alone")
    for unit, names in board["split"]["shared"].items():
        lines.append(f"whether an arm does as well on another {unit}: {len(names)} stand(s) on both sides of the split")
    if len(seeds) == 1:
        lines.append("how much a value depends on the seed: one was run, seed variance is not estimated")
    for task in board["tasks"]:
        rows = [row for row in board["rows"] if row["task"] == task["id"] and not row["privileged"]]
        if task["vacuous"]:
            lines.append(f"{task['id']}: VACUOUS, {task['vacuous']}")
        short = [r["branch"] for r in rows if r["coverage"] is not None and r["coverage"] < LEAST_COVERAGE]
        if short:
            lines.append(f"{task['id']}: {', '.join(short)} answered under {LEAST_COVERAGE:.0%} and cannot be ranked")
        tied = _tied(rows)
        if tied:
            lines.append(f"{task['id']}: {', '.join(tied)} have the same value")
    posed = {task["id"] for task in board["tasks"]}
    for name in branches:
        answered = {row["task"] for row in board["rows"] if row["branch"] == name}
        if not answered:
            lines.append(f"{name}: no row in any task")
        elif len(answered) < len(posed):
            lines.append(f"{name}: N/A in {len(posed - answered)} of {len(posed)} tasks, which it does not answer")
    return lines


def _tied(rows: list[dict[str, Any]]) -> list[str]:
    """Branches that share the best value."""
    best = [row["branch"] for row in rows if row["value"] is not None and row["value"] == rows[0]["value"]]
    return best if len(best) > 1 else []


def _trials(arm: Arm) -> dict[str, Any]:
    mine = [trial for trial in arm.journal.trials if trial["branch"] == arm.name]
    compared = [trial for trial in mine if not trial["refit"]]
    won = [t["objective"] for t in compared if t["number"] == arm.chosen and t["objective"] is not None]
    return {
        "configurations": len(arm.options),
        "trials": len(compared),
        "failed": sum(trial["failed"] is not None for trial in compared),
        "seconds": round(sum(trial["seconds"] or 0.0 for trial in mine), 1),
        "chosen": arm.chosen,
        "options": arm.options[arm.chosen or 0],
        "objective": won[-1] if won else None,
    }


def _failures(arms: list[Arm], outcome: Outcome, loo: Outcome | None) -> list[str]:
    lines = []
    for trial in arms[0].journal.trials if arms else ():
        if trial["failed"]:
            what = "refit" if trial["refit"] else f"configuration {trial['number']}"
            lines.append(f"trial of {trial['branch']}, {what} {json.dumps(trial['options'])}: {trial['failed']}")
    for where, done in (("", outcome), ("leave one episode out: ", loo)):
        if done:
            lines += [f"{where}{line}" for line in done.failed]
            lines += [f"{where}quarantined {q.episode}: {q.path}: {q.reason}" for q in done.quarantined]
    return lines


def _left_out(loo: Outcome) -> list[dict[str, Any]]:
    """Rows of the second table, with how many folds had targets."""
    board = loo.leaderboard
    kept = ("task", "branch", "value", "ci_low", "ci_high", "skill", "coverage", "n_clusters")
    rows = [row for row in board["rows"] if row["branch"] not in PRIVILEGED]
    order = {task["id"]: i for i, task in enumerate(board["tasks"])}
    return [
        {**{name: row[name] for name in kept}, "folds": board["split"]["folds"], "scored": len(row["detail"].get("per_fold", {}))}
        for row in sorted(rows, key=lambda row: order[row["task"]])
    ]


def _decoded_again(manifest: dict[str, Any], apart: dict[str, Any]) -> int:
    """Frames that anything after the one ingest decoded: fits, trials and predictions, and the ingest of the second run."""
    worked: list[int] = [held["decoded_frames"] for one in (manifest, apart) for held in one["processes"].values()]
    ingested: list[int] = [frames for videos in apart["decoded_frames"].values() for frames in videos.values()]
    return sum(worked) + sum(ingested)
