"""The leaderboard as CSV: one line per row, nested fields as JSON."""

import csv
import io
import json
from typing import Any


def render_csv(leaderboard: dict[str, Any]) -> str:
    """All rows with all fields; null is empty, lists and dicts are JSON."""
    rows = leaderboard["rows"]
    buffer = io.StringIO()
    names = list(rows[0]) if rows else ["branch"]
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (dict, list)) else _cell(v) for k, v in row.items()})
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
