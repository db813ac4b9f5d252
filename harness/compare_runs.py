"""`espalier compare`: the branches of one run against those of another, on the same held-out samples."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from threadpoolctl import threadpool_limits

from harness.bundle import Bundle
from harness.compare import ORIENTATION, power_line
from harness.console import plain
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.gather import gathered
from harness.ledger import record
from harness.report.margin import margin_line
from harness.report.model import PAIR_COLUMNS, pair_cells
from harness.report.section import Section, number
from harness.report.terminal import print_section
from harness.score import held_of, read_manifest, run_evidence, run_of
from harness.stats import clusters_needed
from harness.task_board import TaskBoard

SCHEMA = "espalier.comparison/1"


def compare_runs(
    a: Path,
    b: Path,
    targets: Path | None = None,
    difference: float | None = None,
    margins: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Paired contrasts of every task that both answer, one family per task.

    Where both have a branch of one name, it is compared with itself; where they share none, every branch of one with every branch
    of the other. Privileged rows are left out.

    Args:
        a: What `espalier score` takes: a run folder, or a folder with bundles or imports below it.
        b: The other.
        targets: The run whose targets and split both answer; None = the first of the two that is a run folder.
        difference: How many more clusters a difference of this size would need is said too; in each metric's own unit.
        margins: Metric -> difference that counts as none; they come before those of the run.

    Raises:
        BadInput: No targets, no bundle, or the two answer different splits.
    """
    run = run_of([a, b], targets)
    manifest = read_manifest(run)
    held = held_of(run, manifest)
    marks = _marks(a, b)
    equal = {**(manifest["config"].get("margins") or {}), **(margins or {})}
    with gathered([a], run) as of_a, gathered([b], run) as of_b, threadpool_limits(1):
        sides = [[bundle for bundle in found if not bundle.privileged] for found in (of_a, of_b)]
        bundles = [bundle for found, mark in zip(sides, marks, strict=True) for bundle in _named(found, mark)]
        evaluation = evaluate(held, bundles)
        boards = [TaskBoard(evaluation, task, equal) for task in held.tasks]
        pairs = _pairs(sides[0], sides[1], marks)
        answered = [(board, [pair for pair in pairs if all(name in board.sides for name in pair)]) for board in boards]
        tasks = [_task(board, there, difference) for board, there in answered if there]
        record(held.split.test_hash, [bundle for one in sides for bundle in one])
    return {
        "schema": SCHEMA,
        "a": str(a),
        "b": str(b),
        "split": held.split.hash,
        "evidence": [_evidence(path, found) for path, found in zip((a, b), sides, strict=True)],
        "imported": {b.branch: sorted(set(evaluation.unmet.get(b.branch, ()))) for b in bundles if b.imported},
        "orientation": ORIENTATION,
        "tasks": tasks,
    }


def _evidence(path: Path, bundles: Sequence[Bundle]) -> str:
    """The grade of the run that a folder holds; of bundles alone nobody says, unless all were made elsewhere."""
    if not (path / "split.json").is_file():
        if bundles and all(bundle.imported for bundle in bundles):
            return "smoke at most (imported)"
        return "not known (bundles without their run)"
    manifest = read_manifest(path)
    return "smoke at most (imported)" if "imported" in manifest else run_evidence(manifest, held_of(path, manifest).split)


def _marks(a: Path, b: Path) -> tuple[str, str]:
    """Short names of the two runs; the last parts of their paths where these differ."""
    one, other = a.absolute().name, b.absolute().name
    return (one, other) if one != other else ("A", "B")


def _named(bundles: Sequence[Bundle], mark: str) -> list[Bundle]:
    return [replace(bundle, branch=f"{mark}/{bundle.branch}") for bundle in bundles]


def _pairs(a: Sequence[Bundle], b: Sequence[Bundle], marks: tuple[str, str]) -> list[tuple[str, str]]:
    mine, theirs = ([*dict.fromkeys(bundle.branch for bundle in bundles)] for bundles in (a, b))
    both = [(name, name) for name in mine if name in theirs]
    return [(f"{marks[0]}/{one}", f"{marks[1]}/{other}") for one, other in both or product(mine, theirs)]


def _task(board: TaskBoard, pairs: list[tuple[str, str]], difference: float | None) -> dict[str, Any]:
    """The contrasts of one task, both sides of which answer; a vacuous one has none, as nothing can be better at it."""
    found = []
    for contrast in board.compare([] if board.vacuous else pairs):
        needed = None
        if difference is not None and contrast.standard_error is not None:
            needed = clusters_needed(contrast.standard_error * contrast.n_clusters**0.5, difference)
        values = {"value_a": board.estimates[contrast.a].value, "value_b": board.estimates[contrast.b].value}
        found.append({**board.compared(contrast), **values, "clusters_for_asked_difference": needed})
    return {
        "id": board.task.id,
        "metric": board.metric.name,
        "unit": board.task.unit,
        "direction": board.metric.direction,
        "floor": {"branch": board.task.floor, "value": board.floor},
        "margin": board.margin,
        "vacuous": board.vacuous,
        "comparisons": found,
    }


def print_comparison(body: dict[str, Any], console: Console, difference: float | None = None) -> None:
    """One table per task; a positive difference is better for a, whichever way the metric points."""
    asked = () if difference is None else (f"more for {difference:g}",)
    columns = (*PAIR_COLUMNS[:2], "value a", "value b", *PAIR_COLUMNS[2:], *asked)
    for path, grade in zip((body["a"], body["b"]), body["evidence"], strict=True):
        console.print(Text(f"evidence of {path}: {grade}", style="bold"))
    for branch, gates in body["imported"].items():
        console.print(Text(f"{branch}: imported, not ranked; gates not met: {', '.join(gates) or 'none'}", style="bold"))
    for task in body["tasks"]:
        pairs = task["comparisons"]
        unit = f" [{task['unit']}]" if task["unit"] else ""
        console.print(Text(f"{task['id']}: {task['metric']}{unit}", style="bold cyan"))
        if task["vacuous"]:
            console.print(Text(plain(f"VACUOUS: {task['vacuous']}; no verdict")))
        else:
            values = [pair[name] for pair in pairs for name in ("value_a", "value_b")]
            margin = margin_line(task["margin"], task["floor"]["value"], values)
            said = filter(None, (power_line(max(pair["n_clusters"] for pair in pairs)), margin))
            console.print(Text("; ".join(said), style="dim"))
            print_section(Section("", columns, [_cells(pair, difference) for pair in pairs]), console)
        console.print()


def _cells(pair: dict[str, Any], difference: float | None) -> tuple[str, ...]:
    cells = pair_cells(pair)
    out = (*cells[:2], number(pair["value_a"]), number(pair["value_b"]), *cells[2:])
    if difference is None:
        return out
    needed = pair["clusters_for_asked_difference"]
    return (*out, "-" if needed is None else str(max(needed - pair["n_clusters"], 0)))


def check_difference(difference: float | None) -> None:
    """Refuse what cannot be a difference.

    Raises:
        BadInput: Not above 0.
    """
    if difference is not None and not difference > 0:
        raise BadInput(f"--difference {difference}: give more than 0, in the metric's unit")
