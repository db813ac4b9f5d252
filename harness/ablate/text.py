"""An ablation as Markdown and on a terminal: the same few tables."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.ablate.deltas import UNTOUCHED
from harness.report.markdown import escape, render_section
from harness.report.section import Section, number
from harness.report.terminal import print_section

MEAN_COLUMNS = (
    "variant",
    "mean",
    "95 % interval",
    "margin",
    "verdict",
    "median",
    "tasks",
    "not shown",
    "N/A",
    "failed",
    "G",
    "MDE",
)
CELL_COLUMNS = ("task", "metric", "full", "variant", "delta", "95 % interval", "margin", "verdict", "MDE", "G", "answered")
MOST_ON_A_TERMINAL = 40  # compared cells; above that their tables stand in the file alone


@dataclass(frozen=True)
class Sheet:
    """One table and what is to be said below it.

    Attributes:
        section: The table.
        notes: Lines below it.
    """

    section: Section
    notes: tuple[str, ...] = ()


def headline(ablation: dict[str, Any]) -> list[str]:
    """What must be said before any number."""
    split = ablation["split"]
    lines = [
        f"evidence: {ablation['evidence']}; split: {split['kind']}, unit {split['unit']}, {split['folds']} fold(s), "
        f"hash {split['hash']}; {ablation['power']}",
        f"every delta is the {ablation['orientation']}; the same samples in every arm, paired by cluster, "
        f"seeds {ablation['seeds']} averaged within their episode",
        "verdict: on what was taken away; max-T over the variants of a branch (and task). tied: within the margin; what helps or "
        "hurts within the margin is told from 0 by so many clusters, and too small to matter",
        "means are over tasks, of differences in skill, (value - floor) / (ceiling - floor), which has no unit; "
        "a skill has no lower end, so one task can rule a mean: read the median beside it",
        "not shown: the task does not show it anyway, or no fitted and no tested row has a value of it that varies. "
        "N/A: the branch has no answer with what is left; neither is a 0",
    ]
    lines += [f"failed {line}: without a full arm there is nothing to compare" for line in ablation["failed"]]
    if ablation["evidence"] == "mock":
        lines.append("the recordings are simulated: these numbers say nothing about real data")
    return lines


def means_sheets(ablation: dict[str, Any]) -> list[Sheet]:
    """Per branch one line per variant."""
    sheets = []
    for branch in dict.fromkeys(mean["branch"] for mean in ablation["means"] if mean["n_tasks"]):
        rows = [_mean(mean) for mean in ablation["means"] if mean["branch"] == branch]
        sheets.append(Sheet(Section(f"{branch}: differences in skill, mean over tasks", MEAN_COLUMNS, rows)))
    return sheets


def cell_sheets(ablation: dict[str, Any]) -> list[Sheet]:
    """Per branch and variant one line per task, and why the other tasks have none."""
    sheets = []
    for branch in dict.fromkeys(cell["branch"] for cell in ablation["cells"]):
        for variant in ablation["variants"]:
            cells = [c for c in ablation["cells"] if (c["branch"], c["variant"]) == (branch, variant["name"])]
            rows = [_cell(cell) for cell in cells if cell["status"] == "compared"]
            shown = [cell["task"] for cell in cells if cell["reason"] == UNTOUCHED]
            notes = [f"N/A {cell['task']}: {cell['reason']}" for cell in cells if cell["status"] == "not_answered"]
            notes += [f"failed, and so without a number: {cell['task']}" for cell in cells if cell["status"] == "failed"]
            notes += [f"failed {line}" for line in variant["failed"] if line.split()[1].removesuffix(":") == branch]
            notes += [
                f"not shown in {c['task']}: {c['reason']}" for c in cells if c["status"] == "not_shown" and c["task"] not in shown
            ]
            if shown:
                notes.append(f"not shown in {', '.join(shown)}")
            title = f"{branch}, {variant['name']}: takes away {variant['takes']}"
            sheets.append(Sheet(Section(title, CELL_COLUMNS, rows), tuple(notes)))
    return sheets


def _mean(mean: dict[str, Any]) -> tuple[str, ...]:
    left = mean["left_out"]
    return (
        mean["variant"],
        _signed(mean["skill_delta"]),
        _interval(mean),
        number(mean["margin"]),
        _verdict(mean),
        _signed(mean["median"]),
        str(mean["n_tasks"]),
        str(len(left["not_shown"])),
        str(len(left["not_answered"])),
        str(len(left["failed"])),
        str(mean["n_clusters"]),
        number(mean["mde"]),
    )


def _cell(cell: dict[str, Any]) -> tuple[str, ...]:
    unit = f" [{cell['unit']}]" if cell["unit"] else ""
    verdict = f"vacuous: {cell['vacuous']}" if cell["vacuous"] else _verdict(cell)
    if None not in (cell["coverage"], cell["coverage_full"]) and cell["coverage"] < cell["coverage_full"]:
        # What is not answered is scored as a failure: part of the difference may be that, and not what the sensor tells.
        verdict += f"; answers {_percent(cell['coverage'])} of its rows, the full arm {_percent(cell['coverage_full'])}"
    return (
        cell["task"],
        f"{cell['metric']}{unit} {'up' if cell['direction'] == 'up' else 'down'}",
        number(cell["full"]),
        number(cell["value"]),
        _signed(cell["delta"]),
        _interval(cell),
        number(cell["margin"]),
        verdict,
        number(cell["mde"]),
        str(cell["n_clusters"]),
        "-" if cell["coverage"] is None else _percent(cell["coverage"]),
    )


def _percent(share: float) -> str:
    """Rounded down: what is not quite all is not said to be all."""
    return f"{int(100 * share + 1e-9)} %"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value + 0.0:+.4g}"


def _interval(entry: dict[str, Any]) -> str:
    if entry["ci_low"] is None:
        return "-" if entry["verdict"] is None else "not estimable"
    return f"{_signed(entry['ci_low'])} .. {_signed(entry['ci_high'])}"


def _verdict(entry: dict[str, Any]) -> str:
    if entry["within_margin"] and entry["verdict"] in {"helps", "hurts"}:
        return f"{entry['verdict']}, within the margin"
    return f"{entry['verdict'] or '-'}{f', leans: {entry["leaning"]}' if entry['leaning'] else ''}"


def markdown(ablation: dict[str, Any]) -> str:
    """Everything."""
    lines = ["# Ablation", "", *(f"- {escape(line)}" for line in headline(ablation)), ""]
    for sheet in (*means_sheets(ablation), *cell_sheets(ablation)):
        lines += [f"## {escape(sheet.section.title)}", ""]
        if sheet.section.rows:
            lines += [*render_section(sheet.section), ""]
        lines += [f"- {escape(note)}" for note in sheet.notes]
        lines += [""] if sheet.notes else []
    return "\n".join(lines)


def print_ablation(ablation: dict[str, Any], console: Console) -> None:
    """The means; the cells too where they are few. Text from data is never read as markup."""
    for line in headline(ablation):
        console.print(Text(line, style="bold"), soft_wrap=True)
    few = sum(cell["status"] == "compared" for cell in ablation["cells"]) <= MOST_ON_A_TERMINAL
    for sheet in (*means_sheets(ablation), *(cell_sheets(ablation) if few else ())):
        console.print()
        console.print(Text(sheet.section.title, style="bold cyan"))
        if sheet.section.rows:
            print_section(sheet.section, console)
        for note in sheet.notes:
            console.print(Text(note, style="dim"), soft_wrap=True)
    if not few:
        console.print(Text("\nall tasks and variants: ablation.md and ablation.json", style="dim"))
