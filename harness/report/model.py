"""What every renderer shows of a leaderboard: the same cells as text, so that formats cannot disagree."""

from dataclasses import dataclass
from typing import Any

COLUMNS = ("branch", "value", "95 % interval", "skill", "coverage", "seen / unseen", "G", "note")


@dataclass(frozen=True)
class TaskTable:
    """One task.

    Attributes:
        title: Task id and what it is.
        subtitle: Metric, direction, floor, ceiling, sample counts.
        rows: Cells under `COLUMNS`.
    """

    title: str
    subtitle: str
    rows: list[tuple[str, ...]]


def headline(leaderboard: dict[str, Any]) -> list[str]:
    """What must be said before any number."""
    split = leaderboard["split"]
    lines = [
        f"evidence: {leaderboard['evidence']}; split: {split['kind']}, unit {split['unit']}, {split['folds']} fold(s), "
        f"hash {split['hash']}; G = {split['clusters']} test clusters",
    ]
    if leaderboard["evidence"] == "mock":
        lines.append("the recordings are simulated: these numbers say nothing about real data")
    for unit, names in split["shared"].items():
        lines.append(f"shared: {unit} ({len(names)} stand on both sides of the split)")
    if split["lacking"]:
        lines.append(f"lacking: {split['lacking']} episode(s) lack what the run asks for and are not used; see manifest.json")
    if split["quarantined"]:
        lines.append(f"quarantined: {split['quarantined']} episode(s) could not be read; see manifest.json")
    if split["clusters"] <= 5:
        lines.append("G <= 5: no winner can be told from so few clusters; intervals at G <= 2 are not estimable")
    return lines


def tables(leaderboard: dict[str, Any]) -> list[TaskTable]:
    """One table per task that a branch answered, in order."""
    out = []
    for task in leaderboard["tasks"]:
        rows = [row for row in leaderboard["rows"] if row["task"] == task["id"]]
        floor = task["floor"]
        arrow = "higher is better" if task["direction"] == "up" else "lower is better"
        subtitle = (
            f"{task['metric']}{f' [{task["unit"]}]' if task['unit'] else ''}, {arrow}; floor {number(floor['value'])} "
            f"({floor['branch']}), ceiling {number(task['ceiling'])}; {task['n_samples']} test samples"
        )
        if task["vacuous"]:
            subtitle += f"; VACUOUS: {task['vacuous']}"
        out.append(TaskTable(f"{task['id']}: {task['title']}", subtitle, [_cells(row, leaderboard["evidence"]) for row in rows]))
    return out


def _cells(row: dict[str, Any], evidence: str) -> tuple[str, ...]:
    interval = "not estimable" if row["ci_low"] is None else f"{number(row['ci_low'])} .. {number(row['ci_high'])}"
    strata = (
        ""
        if row["seen_value"] is None and row["unseen_value"] is None
        else (f"{number(row['seen_value'])} / {number(row['unseen_value'])}")
    )
    notes = [] if row["route"] == "native" else [row["route"]]
    if row["privileged"]:
        notes.append("privileged, not ranked")
    if row["evidence"] != evidence:
        notes.append(f"evidence: {row['evidence']}")
    detail = row["detail"]
    if detail.get("mae_mean") is not None:
        ends = "" if detail["mae_ci_low"] is None else f" [{number(detail['mae_ci_low'])}, {number(detail['mae_ci_high'])}]"
        notes.append(f"mae {number(detail['mae_mean'])}{ends}")
    notes += detail.get("notes", [])
    notes += [f"{n} {status}" for status, n in row["failures"].items()]
    coverage = "" if row["coverage"] is None else f"{100 * row['coverage']:.0f} %"
    return (
        row["branch"],
        number(row["value"]),
        interval,
        number(row["skill"]),
        coverage,
        strata,
        str(row["n_clusters"]),
        ", ".join(notes),
    )


def number(value: float | None) -> str:
    """Four significant digits, a dash for null."""
    return "-" if value is None else f"{value + 0.0:.4g}"  # + 0.0: no minus before a zero
