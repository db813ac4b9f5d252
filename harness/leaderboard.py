"""The leaderboard: values with intervals over clusters, verdicts, ranks, floors, coverage. One dict, many renderings."""

from typing import Any

from harness.compare import ORIENTATION
from harness.evaluate import Evaluation
from harness.folds import outliers_of
from harness.task_board import TaskBoard

SCHEMA = "espalier.leaderboard/2"


def build(evaluation: Evaluation, evidence: str, quarantined: int = 0, margins: dict[str, float] | None = None) -> dict[str, Any]:
    """The table as JSON values; see design: `leaderboard.json`.

    Args:
        evaluation: All states.
        evidence: Grade of the run.
        quarantined: Episodes that could not be read.
        margins: Metric -> difference that counts as none, where the run says so.
    """
    held = evaluation.held
    split = held.split
    table = [TaskBoard(evaluation, task, margins or {}) for task in held.tasks]
    rows = [row for board in table for row in board.rows(evidence)]
    by_task = {task.id: [row for row in rows if row["task"] == task.id] for task in held.tasks}
    return {
        "schema": SCHEMA,
        "evidence": evidence,
        "split": {
            "kind": split.kind,
            "unit": split.unit,
            "hash": split.hash,
            "test_hash": split.test_hash,
            "clusters": len({split.clusters[e] for fold in split.folds for e in held.posing(fold.test)}),
            "lacking": len(held.present(split.episodes)) - len(held.posing(split.episodes)),
            "folds": len(split.folds),
            "shared": {name: units for name, units in split.shared().items() if units and split.unit != "interval"},
            "quarantined": quarantined,
        },
        "branches": _capabilities(evaluation),
        "tasks": [board.summary() | {"outlier_fold": outliers_of(by_task[board.task.id])} for board in table],
        "rows": rows,
        "orientation": ORIENTATION,
        "comparisons": [board.compared(contrast) for board in table for contrast in board.ranking.contrasts],
    }


def _capabilities(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Branch by branch what it is, what its weights have seen, and how it answers each task; null = N/A."""
    first = {bundle.branch: bundle for bundle in reversed(evaluation.bundles)}
    return [
        {
            "branch": name,
            "family": bundle.family,
            "weights": bundle.card.get("weights", ""),
            "pretraining": bundle.card.get("pretraining", {}),
            "imported": bundle.imported,
            "answers": {task.id: bundle.routes.get(task.id) for task in evaluation.held.tasks},
        }
        for name, bundle in sorted(first.items())
    ]
