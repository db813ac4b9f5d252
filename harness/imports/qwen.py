"""The published predictions of one JSON model beside each other: their figures, ours, and what costs nothing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.bundle import find_bundles
from harness.evaluate import evaluate
from harness.gather import without_copies
from harness.imports.figure import Figure, short
from harness.imports.published import UNKNOWN, PublishedFigures
from harness.imports.qa_row import FIELDS, read_row
from harness.imports.request import ImportRequest
from harness.imports.source import read_object, read_rows
from harness.imports.xperience import import_xperience
from harness.leaderboard import build
from harness.ledger import accesses, record
from harness.report.margin import margin_line
from harness.score import held_of, read_manifest

ROWS, METRICS = ("predictions.jsonl", "predictions.csv"), "metrics.json"
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
PAIR_HEAD = (
    "| task | pair | difference | 95 % interval | verdict | p (family) | smallest found | more clusters |",
    "|---|---|---|---|---|---|---|---|",
)
ALIASES = {"action_macro_f1": "macro_f1"}


def versions(folder: Path) -> list[str]:
    """Sub-folders that hold rows and their published figures."""
    return sorted(path.parent.name for path in folder.glob(f"*/{METRICS}") if _rows_of(path.parent) is not None)


def _rows_of(folder: Path) -> Path | None:
    return next((folder / name for name in ROWS if (folder / name).is_file()), None)


def qwen(folder: Path, work: Path) -> tuple[list[Figure], list[str], list[str]]:
    """Import every version, score those of the same rows together, and set the figures side by side.

    Args:
        folder: One sub-folder per version.
        work: An empty folder for the imports.

    Returns:
        The figures, Markdown lines of the pairwise comparison, and how often each held-out set was scored, this time included.
    """
    done: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {}  # imports of the same rows
    for name in versions(folder):
        done[name] = _import(folder / name, work / name)
        groups.setdefault(read_manifest(work / name)["split_hash"], []).append(name)
    figures: list[Figure] = []
    pairs: list[str] = []
    margins: list[str] = []
    looks: list[str] = []
    for names in groups.values():
        board = _board(work, names)
        for name in names:
            figures += _figures(folder / name, name, done[name], board)
        pairs += _pairs(board)
        margins += _margins(board, names) if len(names) > 1 else []
        looks.append(f"- {', '.join(names)}: {accesses(board['split']['test_hash'])}")
    return figures, [*PAIR_HEAD, *pairs, "", *margins] if pairs else margins, looks


def _import(folder: Path, out: Path) -> dict[str, Any]:
    rows = _rows_of(folder)
    assert rows is not None
    return import_xperience(ImportRequest("xperience-json", (rows, folder / METRICS), out, folder.name))


def _board(work: Path, names: Sequence[str]) -> dict[str, Any]:
    held = held_of(work / names[0], read_manifest(work / names[0]))
    bundles = without_copies([bundle for name in names for bundle in find_bundles(work / name / "bundles")])
    board = build(evaluate(held, bundles), "smoke")
    record(held.split.test_hash, bundles)
    return board


def _figures(folder: Path, name: str, done: dict[str, Any], board: dict[str, Any]) -> list[Figure]:
    stated = read_object(folder / METRICS)
    rows = {(row["branch"], row["task"]): row for row in board["rows"]}
    floors = {task["id"]: task["floor"] for task in board["tasks"]}
    costless = _costless(folder, stated["labels"])
    found: list[Figure] = []
    for key, task in TASKS.items():
        if not isinstance(stated.get(key), (int, float)):
            continue
        asked, row = ALIASES.get(key, key), rows.get((name, task))
        if row is None:
            found.append(Figure(f"qwen/{name}", key, stated[key], reason="the rows do not carry these fields"))
            continue
        part = {"seen_label_accuracy": "seen_value", "unseen_label_accuracy": "unseen_value"}.get(key, "value")
        floor = _floor(costless.get(task, {}).get(asked), floors[task], _metric(task) if part == "value" else None)
        if ("copy", task) in rows:
            floor += f"; copy of the current action (privileged) {short(rows['copy', task]['detail']['accuracy'])}"
        ours = f"{_metric(task)} {short(row[part])}"
        found.append(
            Figure(f"qwen/{name}", key, stated[key], done["published"].get(task, {}).get(asked), "", ours, floor, exact=True)
        )
    counted = {
        "num_samples": done["rows"], "num_eval_episodes": done["episodes"], "held_out_episode_count": done["episodes"],
        "num_unseen_label_samples": done["unseen_rows"],
    }  # fmt: skip
    return found + [
        Figure(f"qwen/{name}", key, stated[key], value, exact=True) for key, value in counted.items() if key in stated
    ]


def _floor(by_theirs: float | None, floor: dict[str, Any], metric: str | None) -> str:
    """What the task's floor has by their definition, and by ours."""
    values = [] if by_theirs is None else [short(by_theirs)]
    values += [] if metric is None else [f"{metric} {short(floor['value'])}"]
    return f"{floor['branch']} {', '.join(values)}"


def _metric(task: str) -> str:
    return {"qa_objects": "micro-F1", "qa_json": "strict schema"}.get(task, "macro-F1")


def _costless(folder: Path, options: Sequence[str]) -> dict[str, dict[str, float]]:
    """The published figures of the most common answer of the test rows, given everywhere."""
    path = _rows_of(folder)
    assert path is not None
    rows = [read_row(row.body) for row in read_rows(path) if row.body is not None]
    carried = {name: [row.truth[name] for row in rows if name in row.truth] for name in FIELDS if name != "objects"}
    answer = {name: _most(labels) for name, labels in carried.items() if set(labels) - {UNKNOWN}}
    figures = PublishedFigures()
    for row in rows:
        figures.add_action(row.truth["action"], answer["action"], row.seen)
        figures.add_fields({name: value for name, value in row.truth.items() if name in answer}, answer)
    return figures.by_task(options)


def _most(labels: Sequence[str]) -> str:
    counts = Counter(label for label in labels if label != UNKNOWN)
    return min(counts, key=lambda label: (-counts[label], label))


def _pairs(board: dict[str, Any]) -> list[str]:
    """Every two versions, task by task."""
    lines = []
    for pair in board["comparisons"]:
        wanted = pair["clusters_for_difference"]
        more = "-" if wanted is None else str(max(0, wanted - pair["n_clusters"]))
        lines.append(
            f"| {pair['task']} | {pair['a']} - {pair['b']} | {short(pair['difference'])} | {short(pair['ci_low'])} .. "
            f"{short(pair['ci_high'])} | {pair['verdict']} | {short(pair['p_adjusted'])} | {short(pair['mde'])} | {more} |"
        )
    return lines


def _margins(board: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Task by task what counts as tied, or why nobody can be better at it."""
    lines = []
    for task in board["tasks"]:
        values = [row["value"] for row in board["rows"] if row["task"] == task["id"] and not row["privileged"]]
        margin = margin_line(task["margin"], task["floor"]["value"], values)
        said = f"VACUOUS: {task['vacuous']}; no verdict" if task["vacuous"] else margin
        lines += [f"- {task['id']} ({', '.join(names)}): {said}"] if said else []
    return lines
