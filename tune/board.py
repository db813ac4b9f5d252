"""What a selection shows while its trials run: a live table on a terminal, a line per finished trial elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tune.halving import Job


@dataclass
class _Line:
    done: int = 0
    failed: int = 0
    best: float | None = None
    now: str = "waiting"
    since: float = 0.0


class Board:
    """The state of every arm.

    Args:
        arms: Branch -> trials it will run at most, with the refit.
        console: To print on.
    """

    def __init__(self, arms: dict[str, int], console: Console) -> None:
        self.totals = arms
        self.console = console
        self.lines = {name: _Line() for name in arms}
        self.live = sys.stderr.isatty()

    def tell(self, name: str, job: Job, entry: dict[str, Any] | None) -> None:
        """A job has begun, or has ended with this entry."""
        line = self.lines[name]
        what = "refit of the chosen one" if job.refit else f"configuration {job.number}, {job.share:.0%} of its steps"
        if entry is None:
            line.now, line.since = what, time.monotonic()
            return
        line.done += 1
        line.failed += entry["failed"] is not None
        line.now = "done" if job.refit else "between trials"
        if entry["objective"] is not None:
            line.best = entry["objective"] if line.best is None else min(line.best, entry["objective"])
        if not self.live:
            value = entry["failed"] or ("fitted" if job.refit else f"objective {entry['objective']:.4g}")
            took = "" if entry["seconds"] is None else f" ({entry['seconds']:.0f} s)"
            self.console.print(Text(f"trial {line.done}/{self.totals[name]} of {name}: {what}: {value}{took}"), soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table for as long as the block lasts."""
        if not self.live:
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2, transient=True):
            yield

    def table(self) -> Table:
        """The table of now."""
        table = Table(box=None, pad_edge=False)
        for column in ("branch", "trials", "failed", "best objective", "now", "for"):
            table.add_column(column, justify="left" if column in ("branch", "now") else "right")
        for name, line in self.lines.items():
            running = line.now not in ("waiting", "done", "between trials")
            seconds = f"{time.monotonic() - line.since:.0f} s" if running else ""
            best = "-" if line.best is None else f"{line.best:.4g}"
            table.add_row(Text(name), f"{line.done}/{self.totals[name]}", str(line.failed), best, line.now, seconds)
        return table
