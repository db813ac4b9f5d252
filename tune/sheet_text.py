"""The decision sheet as text: the same sections on a terminal and in Markdown."""

import json
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.markdown import escape
from harness.report.section import number
from tune.sheet import NOT_ESTIMABLE


@dataclass(frozen=True)
class Section:
    """One part of the sheet.

    Attributes:
        title: Heading.
        lines: Before the table.
        columns: Of the table; empty = none.
        rows: Cells.
    """

    title: str
    lines: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(sheet: dict[str, Any]) -> list[Section]:
    """Every part, in order."""
    head = Section("Decision sheet", tuple(_headline(sheet)))
    undecided = Section("What cannot be decided", tuple(sheet["undecided"]))
    rest = [_trials(sheet), _costs(sheet), *_lists(sheet)]
    return [head, undecided, *map(_task, sheet["tasks"]), *rest, *([_left_out(sheet)] if sheet["leave_one_episode_out"] else [])]


def _headline(sheet: dict[str, Any]) -> list[str]:
    split = sheet["split"]
    lines = [
        f"evidence: {sheet['evidence']}; {sheet['episodes']} episodes in all, G = {split['clusters']} test cluster(s); "
        f"split {split['hash']}, opened once, after every choice",
        *(f"{role}: {', '.join(split[role])}" for role in ("train", "validation", "test")),
        *(f"shared: {unit} ({len(names)} on both sides of the split)" for unit, names in split["shared"].items()),
        *(f"defective: {episode}: {what}" for episode, what in sheet["defective"].items()),
    ]
    if sheet["evidence"] == "mock":
        lines.append("the recordings are simulated: these numbers say nothing about real data")
    return lines


def _task(task: dict[str, Any]) -> Section:
    arrow = "higher is better" if task["direction"] == "up" else "lower is better"
    line = (
        f"{task['metric']}{f' [{task["unit"]}]' if task['unit'] else ''}, {arrow}; floor {number(task['floor']['value'])} "
        f"({task['floor']['branch']}), ceiling {number(task['ceiling'])}; {task['n_samples']} test samples"
    )
    columns = ("arm", "value", "95 % interval", "skill", "coverage", "route", "verdict", "failed rows")
    return Section(f"{task['id']}: {task['title']}", (line,), columns, tuple(_row(row) for row in task["rows"]))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    failed = ", ".join(f"{n} {status}" for status, n in row["failures"].items())
    return (row["branch"], *_numbers(row), row["route"], row["verdict"], failed)


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    interval = NOT_ESTIMABLE if row["ci_low"] is None else f"{number(row['ci_low'])} .. {number(row['ci_high'])}"
    coverage = "-" if row["coverage"] is None else f"{100 * row['coverage']:.0f} %"
    return number(row["value"]), interval, number(row["skill"]), coverage


def _trials(sheet: dict[str, Any]) -> Section:
    columns = ("arm", "configurations", "trials", "failed", "seconds", "chosen", "objective", "its options")
    rows = tuple(
        (
            name,
            *(str(found[key]) for key in ("configurations", "trials", "failed", "seconds")),
            "-" if found["chosen"] is None else str(found["chosen"]),
            number(found["objective"]),
            json.dumps(found["options"]) if found["options"] else "those of the preset",
        )
        for name, found in sheet["trials"].items()
    )
    lines = [
        "objective, lower is better: a trained branch's validation loss; else 1 - mean skill (heads: train clusters left out)"
    ]
    if sheet["without_choice"]:
        lines.append(f"nothing to choose, run as the preset has them: {', '.join(sheet['without_choice'])}")
    return Section("Trials", tuple(lines), columns, rows)


def _costs(sheet: dict[str, Any]) -> Section:
    costs = {row["branch"]: row["cost"] for task in sheet["tasks"] for row in task["rows"]}
    held, apart = sheet["processes"], sheet["processes_leave_one_out"]
    rows = tuple(
        (
            name,
            *(number(cost[key]) for key in ("train_s", "predict_s", "peak_gib")),
            "-" if cost["params"] is None else f"{cost['params']:,}",
            str(held.get(name, {}).get("processes", "-")) + (f" ({apart[name]['processes']})" if name in apart else ""),
        )
        for name, cost in costs.items()
    )
    frames = sum(n for videos in sheet["decoded_frames"].values() for n in videos.values())
    lines = (
        f"frames decoded for all arms together: {frames} by the one ingest, {sheet['decoded_again']} after it (in fits, trials, "
        "predictions and for leave-one-episode-out)",
        "peak GiB: of a process while it fitted or predicted with the arm; what other work had left in it counts",
        "processes: how many fitted or predicted with the branch, and so imported its libraries; in brackets those of "
        "leave-one-episode-out; encoders of latents are imported by ingest besides",
    )
    return Section("Cost", lines, ("arm", "fit s", "predict s", "peak GiB", "parameters", "processes"), rows)


def _lists(sheet: dict[str, Any]) -> list[Section]:
    lacking = tuple(f"{name} {why}" for name, why in sheet["not_run"].items())
    prepared = tuple(_preparation(body) for body in sheet["preparation"])
    return [
        Section("Preprocessing arm", prepared or ("no arm stands on a frozen encoder",)),
        Section("Not run", lacking or ("nothing",)),
        Section("Failures", tuple(sheet["failures"]) or ("none",)),
    ]


def _preparation(body: dict[str, Any]) -> str:
    """What encoding costs an arm."""

    def per(key: str, unit: str, scale: float = 1.0) -> str:
        return "not measured" if body[key] is None else f"{body[key] / scale:.3g} {unit}"

    return (
        f"{body['branch']} ({', '.join(body['encoders'])}): "
        f"encoding {per('encode_s_per_video_minute', 's per minute of video')}, "
        f"latents {per('latent_bytes_per_video_hour', 'MiB per hour', 2**20)}, "
        f"frames {per('frame_bytes_per_video_hour', 'MiB per hour', 2**20)}; measured on {body['video_minutes']:.2f} minutes"
    )


def _left_out(sheet: dict[str, Any]) -> Section:
    rows = tuple(
        (row["task"], row["branch"], *_numbers(row), f"{row['scored']} of {row['folds']}")
        for row in sheet["leave_one_episode_out"]
    )
    lines = (
        "floors and heads alone, every episode left out in turn, options as passed; not comparable with the tables above",
        "a fold whose episode has no target of the task is counted and not scored",
    )
    return Section(
        "Leave one episode out", lines, ("task", "arm", "value", "95 % interval", "skill", "coverage", "folds scored"), rows
    )


def sheet_markdown(sheet: dict[str, Any]) -> str:
    """The sheet as Markdown; text from data is escaped."""
    lines = []
    for depth, section in enumerate(sections(sheet)):
        lines += [f"{'##' if depth else '#'} {escape(section.title)}", "", *(f"- {escape(line)}" for line in section.lines), ""]
        if section.columns:
            lines += ["| " + " | ".join(section.columns) + " |", "|" + "---|" * len(section.columns)]
            lines += ["| " + " | ".join(map(escape, row)) + " |" for row in section.rows]
            lines.append("")
    return "\n".join(lines)


def print_sheet(sheet: dict[str, Any], console: Console) -> None:
    """The sheet on a terminal; text from data is never read as markup."""
    for section in sections(sheet):
        console.print()
        console.print(Text(section.title, style="bold cyan"))
        for line in section.lines:
            console.print(Text(line), soft_wrap=True)
        if not section.rows:
            continue
        table = Table(box=None, pad_edge=False)
        for name in section.columns:
            table.add_column(name, no_wrap=name == "arm")
        for row in section.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
