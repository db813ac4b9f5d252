"""Rows of the published form, written by hand, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

from commands import Done, call

ANSWER = {
    "action": "pour",
    "subtask": "make tea",
    "objects": ["cup", "kettle"],
    "contact": "yes",
    "transition": "no",
    "next_action": "pour",
    "evidence_window": {"start_frame": 0, "end_frame": 19},
}


def qa_row(episode: str, i: int, answer: Any = None, **changes: Any) -> dict[str, Any]:
    """One row; `answer` is what the model said (default: the truth), `true` changes the truth."""
    truth = {**ANSWER, **changes.pop("true", {})}
    said = truth if answer is None else answer
    parsed = said if isinstance(said, dict) else {}
    row = {
        "id": f"{episode}:qa:{i}",
        "target": "episode_qa",
        "episode_id": episode,
        "center_window": {"start_frame": 20 * i, "end_frame": 20 * i + 19, "num_frames": 20},
        "true_label": truth["action"],
        "raw_prediction": json.dumps(said) if isinstance(said, dict) else said,
        "true_json": truth,
        "pred_json": parsed,
        "predicted_label": parsed.get("action", said),
        "correct": 0,
        "true_label_seen_in_train": 1,
    }
    return row | changes


def write_lines(path: Path, rows: list[Any]) -> Path:
    """JSON lines; a row that is text already stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def imported(rows: Path, out: Path, *words: Any, kind: str = "xperience-json") -> Done:
    """`espalier import`."""
    return call("import", kind, rows, "--out", out, *words)


def scored(out: Path, *paths: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """`espalier score`: branch -> task -> row of the leaderboard."""
    done = call("score", *paths, "--out", out)
    assert done.code == 0, done.err
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in json.loads((out / "leaderboard.json").read_text())["rows"]:
        found.setdefault(row["branch"], {})[row["task"]] = row
    return found
