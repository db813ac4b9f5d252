"""The leaderboard as Markdown."""

from typing import Any

from harness.console import plain
from harness.report.model import capabilities, headline, tables
from harness.report.section import Section


def render_markdown(leaderboard: dict[str, Any], accesses: str = "") -> str:
    """One table per task, with its pairs, probabilities and strata; who answers what comes first."""
    lines = ["# Leaderboard", "", *(f"- {escape(line)}" for line in headline(leaderboard, accesses)), ""]
    for section in capabilities(leaderboard):
        lines += [f"## {escape(section.title)}", "", *render_section(section), ""]
    for table in tables(leaderboard):
        lines += [f"## {escape(table.title)}", "", escape(table.subtitle), ""]
        if not table.main.rows:
            lines += ["No branch answers this task.", ""]
            continue
        lines += [*render_section(table.main), ""]
        lines += [line for conclusion in table.conclusions for line in (escape(conclusion), "")]
        for section in (*table.folds, *table.sections):
            lines += [f"**{escape(section.title)}**", "", *render_section(section), ""]
    return "\n".join(lines)


def render_section(section: Section) -> list[str]:
    """The lines of one table."""
    lines = ["| " + " | ".join(escape(name) for name in section.columns) + " |", "|" + "---|" * len(section.columns)]
    return lines + ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in section.rows]


def escape(text: str) -> str:
    """Text that comes from data must not become markup, nor move the cursor of whoever prints it."""
    for character in "\\|<>`*_[]":
        text = text.replace(character, "\\" + character if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character])
    return plain(text)
