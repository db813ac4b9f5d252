"""The leaderboard on a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.model import COLUMNS, headline, tables


def print_leaderboard(leaderboard: dict[str, Any], console: Console) -> None:
    """Print one table per task. Text from data is never read as markup."""
    for line in headline(leaderboard):
        console.print(Text(line, style="bold"))
    for task in tables(leaderboard):
        console.print()
        console.print(Text(task.title, style="bold cyan"))
        console.print(Text(task.subtitle, style="dim"))
        if not task.rows:
            console.print("no branch answers this task")
            continue
        table = Table(box=None, pad_edge=False)
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in ("branch", "note") else "right", no_wrap=name == "branch")
        for row in task.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
