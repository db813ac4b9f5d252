"""`espalier list`: what there is, without running anything."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.branch import branch_names, make_branch
from harness.card import bundled_cards, load_card, suggest
from harness.errors import BadInput
from harness.imports.request import FORMATS
from harness.readers import READERS
from harness.reference import PRIVILEGED
from harness.tasks import IMPORTED_TASKS, get_task, latent_task_ids, task_ids


def listing(what: str) -> list[dict[str, Any]]:
    """Rows of one kind of thing.

    Raises:
        BadInput: No such kind.
    """
    kinds = {
        "branches": _branches,
        "tasks": _tasks,
        "cards": _cards,
        "metrics": _metrics,
        "features": _features,
        "formats": _formats,
    }
    if what not in kinds:
        raise BadInput(f"list {what!r}: no such thing{suggest(what, list(kinds))}")
    return kinds[what]()


def _branches() -> list[dict[str, Any]]:
    rows = []
    for name in branch_names():
        branch = make_branch(name)
        answers = [t for t in (*task_ids(), *latent_task_ids()) if branch.route(get_task(t)) is not None]
        rows.append({"branch": name, "family": branch.card.family, "what": branch.card.title, "tasks": len(answers)})
    privileged = [{"branch": n, "family": "reference (privileged)", "what": w, "tasks": None} for n, w in PRIVILEGED.items()]
    return rows + privileged


def _tasks() -> list[dict[str, Any]]:
    rows = []
    for task_id in (*task_ids(), *latent_task_ids(), *IMPORTED_TASKS):
        task = get_task(task_id)
        metric = task.metric.partition(":")[2]
        rows.append(
            {
                "task": task_id,
                "asks": task.title,
                "answer": task.answer,
                "metric": metric,
                "unit": task.unit,
                "floor": task.floor,
                "ceiling": task.ceiling,
                "needs": ", ".join(task.requires),
            }
        )
    return rows


def _cards() -> list[dict[str, Any]]:
    cards = [load_card(path) for path in bundled_cards().values()]
    return [{"card": c.name, "format": c.format, "what": c.title, "licence": c.licence, "simulated": c.simulated} for c in cards]


def _metrics() -> list[dict[str, Any]]:
    from harness.metrics import metric_class  # noqa: PLC0415

    users: dict[str, list[str]] = {}
    for task_id in (*task_ids(), *latent_task_ids(), *IMPORTED_TASKS):
        users.setdefault(get_task(task_id).metric, []).append(task_id)
    return [
        {"metric": metric_class(path).name, "direction": metric_class(path).direction, "tasks": ", ".join(tasks)}
        for path, tasks in users.items()
    ]


def _features() -> list[dict[str, Any]]:
    from harness.features import published_manifest  # noqa: PLC0415

    return published_manifest()


def _formats() -> list[dict[str, Any]]:
    found = [{"format": name, "of": "recordings", "reader": path} for name, path in READERS.items()]
    return found + [{"format": name, "of": "predictions", "reader": path} for name, path in FORMATS.items()]


def print_listing(what: str, rows: list[dict[str, Any]], console: Console) -> None:
    """The table form."""
    table = Table(title=what, box=None, pad_edge=False, title_justify="left")
    for name in rows[0] if rows else []:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text("" if v is None else str(v)) for v in row.values()))
    console.print(table)
