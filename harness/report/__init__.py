"""Renderings of a leaderboard: one model, one small renderer per format."""

from pathlib import Path
from typing import Any

from harness.report.csv import render_csv
from harness.report.markdown import render_markdown


def write_reports(leaderboard: dict[str, Any], out: Path, accesses: str = "") -> None:
    """Write `leaderboard.md` and `leaderboard.csv` beside `leaderboard.json`.

    Args:
        leaderboard: What to render.
        out: Folder.
        accesses: How often the held-out set was looked at, see `harness.ledger`.
    """
    rendered = {"leaderboard.md": render_markdown(leaderboard, accesses), "leaderboard.csv": render_csv(leaderboard)}
    for name, text in rendered.items():
        partial = out / f".{name}.partial"
        partial.write_text(text)
        partial.replace(out / name)
