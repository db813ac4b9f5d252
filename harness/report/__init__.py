"""Renderings of a leaderboard: one model, one small renderer per format."""

from pathlib import Path
from typing import Any

from harness.report.csv import render_csv
from harness.report.markdown import render_markdown


def write_reports(leaderboard: dict[str, Any], out: Path) -> None:
    """Write `leaderboard.md` and `leaderboard.csv` beside `leaderboard.json`."""
    for name, render in {"leaderboard.md": render_markdown, "leaderboard.csv": render_csv}.items():
        partial = out / f".{name}.partial"
        partial.write_text(render(leaderboard))
        partial.replace(out / name)
