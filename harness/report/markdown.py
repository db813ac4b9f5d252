"""The leaderboard as Markdown."""

from typing import Any

from harness.report.model import COLUMNS, headline, tables


def render_markdown(leaderboard: dict[str, Any]) -> str:
    """One table per task."""
    lines = ["# Leaderboard", "", *(f"- {line}" for line in headline(leaderboard)), ""]
    for table in tables(leaderboard):
        lines += [f"## {escape(table.title)}", "", escape(table.subtitle), ""]
        if not table.rows:
            lines += ["No branch answers this task.", ""]
            continue
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in table.rows]
        lines.append("")
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text that comes from data must not become markup."""
    for character in "\\|<>`*_[]":
        text = text.replace(character, "\\" + character if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character])
    return text.replace("\n", " ")
