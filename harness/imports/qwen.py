"""The published predictions of one JSON model beside each other: their figures, ours, and what costs nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.bundle import find_bundles
from harness.evaluate import evaluate
from harness.imports.figure import Figure, short
from harness.imports.published import UNKNOWN, PublishedFigures
from harness.imports.request import ImportRequest
from harness.imports.source import read_object, read_rows
from harness.imports.xperience import import_xperience
from harness.leaderboard import build
from harness.score import held_of, read_manifest, without_copies

ROWS, METRICS = "predictions.jsonl", "metrics.json"
TASKS = {
    "accuracy": "qa_action",
    "macro_f1": "qa_action",
    "action_macro_f1": "qa_action",
    "seen_label_accuracy": "qa_action",
    "unseen_label_accuracy": "qa_action",
    "subtask_accuracy": "qa_subtask",
    "transition_accuracy": "qa_transition",
    "next_action_accuracy": "qa_next_action",
    "contact_accuracy": "qa_contact",
    "object_micro_f1": "qa_objects",
    "json_validity_rate": "qa_json",
}
ALIASES = {"action_macro_f1": "macro_f1"}


def versions(folder: Path) -> list[str]:
    """Sub-folders that hold rows and their published figures."""
    return sorted(path.parent.name for path in folder.glob(f"*/{ROWS}") if (path.parent / METRICS).is_file())


def qwen(folder: Path, work: Path) -> tuple[list[Figure], list[str]]:
    """Import every version, score them together, and set the figures side by side.

    Args:
        folder: One sub-folder per version.
        work: An empty folder for the imports.

    Returns:
        The figures, and Markdown lines of the pairwise comparison.
    """
    names = versions(folder)
    done = {name: _import(folder / name, work / name) for name in names}
    held = held_of(work / names[0], read_manifest(work / names[0]))
    bundles = without_copies([b for name in names for b in find_bundles(work / name / "bundles")])
    board = build(evaluate(held, bundles), "smoke")
    rows = {(row["branch"], row["task"]): row for row in board["rows"]}
    floors = {task["id"]: task["floor"] for task in board["tasks"]}
    figures: list[Figure] = []
    for name in names:
        figures += _figures(folder / name, name, done[name], rows, floors)
    return figures, _pairs(board)


def _import(folder: Path, out: Path) -> dict[str, Any]:
    return import_xperience(ImportRequest("xperience-json", (folder / ROWS, folder / METRICS), out, folder.name))


def _figures(
    folder: Path, name: str, done: dict[str, Any], rows: dict[tuple[str, str], dict[str, Any]], floors: dict[str, Any]
) -> list[Figure]:
    stated = read_object(folder / METRICS)
    costless = _costless(folder, stated["labels"])
    found: list[Figure] = []
    for key, task in TASKS.items():
        if key in stated:
            asked, row = ALIASES.get(key, key), rows[name, task]
            part = {"seen_label_accuracy": "seen_value", "unseen_label_accuracy": "unseen_value"}.get(key, "value")
            floor = _floor(costless.get(task, {}).get(asked), floors[task], _metric(task) if part == "value" else None)
            if task == "qa_next_action":
                floor += f"; copy of the current action (privileged) {short(rows['copy', task]['detail']['accuracy'])}"
            ours = f"{_metric(task)} {short(row[part])}"
            found.append(Figure(f"qwen/{name}", key, stated[key], done["published"][task][asked], "", ours, floor))
    counted = {
        "num_samples": done["rows"], "num_eval_episodes": done["episodes"], "held_out_episode_count": done["episodes"],
        "num_unseen_label_samples": done["unseen_rows"],
    }  # fmt: skip
    found += [Figure(f"qwen/{name}", key, stated[key], value) for key, value in counted.items() if key in stated]
    return found


def _floor(by_theirs: float | None, floor: dict[str, Any], metric: str | None) -> str:
    """What the task's floor has by their definition, and by ours."""
    values = [] if by_theirs is None else [short(by_theirs)]
    values += [] if metric is None else [f"{metric} {short(floor['value'])}"]
    return f"{floor['branch']} {', '.join(values)}"


def _metric(task: str) -> str:
    return {"qa_objects": "micro-F1", "qa_json": "strict schema"}.get(task, "macro-F1")


def _costless(folder: Path, options: Sequence[str]) -> dict[str, dict[str, float]]:
    """The published figures of the most common answer of the test rows, given everywhere."""
    bodies = [row.body for row in read_rows(folder / ROWS) if row.body is not None]
    action = _most([body["true_label"] for body in bodies])
    answer = {k: _most([b["true_json"][k] for b in bodies]) for k in ("subtask", "transition", "next_action", "contact")}
    figures = PublishedFigures()
    for body in bodies:
        figures.add_action(body["true_label"], action, bool(body["true_label_seen_in_train"]))
        figures.add_fields({k: v for k, v in body["true_json"].items() if k != "objects"}, answer)
    return figures.by_task(options)


def _most(labels: Sequence[str]) -> str:
    counts = Counter(label for label in labels if label != UNKNOWN)
    return min(counts, key=lambda label: (-counts[label], label))


def _pairs(board: dict[str, Any]) -> list[str]:
    """Every two versions, task by task."""
    lines = [
        "| task | pair | difference | 95 % interval | verdict | p (adjusted) | least detectable |",
        "|---|---|---|---|---|---|---|",
    ]
    for pair in board["comparisons"]:
        lines.append(
            f"| {pair['task']} | {pair['a']} - {pair['b']} | {short(pair['difference'])} | {short(pair['ci_low'])} .. "
            f"{short(pair['ci_high'])} | {pair['verdict']} | {short(pair['p_adjusted'])} | {short(pair['mde'])} |"
        )
    return lines
