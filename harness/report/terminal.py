"""The leaderboard on a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.console import plain
from harness.report.model import LEFT_COLUMNS, headline, tables
from harness.report.section import Section


def print_leaderboard(leaderboard: dict[str, Any], console: Console, accesses: str = "") -> None:
    """Print one table per task and what can be told of the order; the rest is in `leaderboard.md`."""
    for line in headline(leaderboard, accesses):
        console.print(Text(plain(line), style="bold"))
    for task in tables(leaderboard):
        console.print()
        console.print(Text(plain(task.title), style="bold cyan"))
        console.print(Text(plain(task.subtitle), style="dim"))
        if not task.main.rows:
            console.print("no branch answers this task")
            continue
        print_section(task.main, console)
        for line in task.conclusions:
            console.print(Text(plain(line), style="bold"))
        for section in task.folds:
            console.print(Text(plain(section.title), style="cyan"))
            print_section(section, console)


def print_section(section: Section, console: Console) -> None:
    """Print one table. Text from data is never read as markup."""
    table = Table(box=None, pad_edge=False)
    for name in section.columns:
        table.add_column(Text(plain(name)), justify="left" if name in LEFT_COLUMNS else "right", no_wrap=name == "branch")
    for row in section.rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)
