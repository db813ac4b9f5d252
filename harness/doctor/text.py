"""What `espalier doctor` found, as text."""

from collections.abc import Collection, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.doctor.findings import Findings
from harness.doctor.name_patterns import name_patterns


def print_findings(found: Findings, console: Console) -> None:
    """Every part, then what is broken and what may surprise."""
    parts = {"machine": _print_machine, "branch": _print_branch, "cluster": _print_cluster}
    for name, body in found.body.items():
        parts[name](body, console)
    for line in found.remarks:
        console.print(Text(f"note: {line}", style="yellow"), soft_wrap=True)
    for line in found.broken:
        console.print(Text(f"broken: {line}", style="red"), soft_wrap=True)
    if not found.broken and "branch" not in found.body:
        console.print(Text("all well", style="green"))


def _print_machine(body: dict[str, Any], console: Console) -> None:
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory_gib']:.1f} GiB)" for gpu in body["gpus"]) or "none that torch sees"
    _line(console, f"Python {body['python']}, {body['platform']}", style="bold")
    _line(console, f"{body['cpus']} CPUs, {body['memory_gib']} GiB of memory; GPUs: {gpus}")
    rows = [(row["package"], row["installed"] or "-", _difference(row)) for row in body["packages"]]
    _table(console, ("package", "installed", "lock, where it differs"), rows)
    for name, what in body["decoders"].items():
        _line(console, f"decoder {name}: {what}")
    _line(console, f"branches: {', '.join(body['branches'])}")
    _line(console, f"frozen encoders: {', '.join(body['encoders'])}")


def _difference(row: dict[str, Any]) -> str:
    locked = row["locked"] or ""
    return "" if locked == (row["installed"] or "").partition("+")[0] else locked


def _print_branch(body: dict[str, Any], console: Console) -> None:
    card, plan = body["card"], body["plan"]
    preset = f", preset {body['preset']}" if body["preset"] else ""
    _line(console, f"{body['branch']}{preset}: {card['title']}", style="bold")
    _line(
        console,
        f"by its card a fit holds {card['fit_cpus']:g} CPU(s) and {card['fit_gpus']:g} GPU(s), "
        f"a prediction actor {card['cpus']:g} and {card['gpus']:g}",
    )
    if plan is None:
        _line(console, "it has no model that is worth a plan")
        return
    columns = ("part", "parameters", "trained", "number format")
    rows = [
        (p["name"], f"{p['parameters']:,}", f"{p['trained_parameters']:,}", ", ".join(_formats(p["formats"])))
        for p in plan["parts"]
    ]
    _table(console, columns, rows, right=(1, 2))
    for part in plan["parts"]:
        _print_trained(part, console)
    _line(console, "memory of one process, GiB (on its GPU where it has one):")
    kinds = ("weights", "gradients", "optimiser", "best", "total")
    rows = [(stage, *(f"{of[kind]:.3f}" for kind in kinds)) for stage, of in plan["memory_gib"].items()]
    _table(console, ("stage", "weights", "gradients", "AdamW", "best weights kept", "total"), rows, right=range(1, 6))
    _line(console, "Activations come on top and are not planned: they grow with the batch and with what is looked at.")
    for line in plan["assumed"]:
        _line(console, f"assumed: {line}")


def _formats(formats: dict[str, int]) -> list[str]:
    """Numbers are told where a part has several formats."""
    return [kind if len(formats) == 1 else f"{kind} ({count:,})" for kind, count in formats.items()]


def _print_trained(part: dict[str, Any], console: Console) -> None:
    if not part["trained"]:
        return
    every = ", which is all of it" if part["trained_parameters"] == part["parameters"] else ""
    _line(console, f"trained of {part['name']}{every}:")
    rows = [
        (f"  {len(names):,}", f"{sum(part['trained'][name] for name in names):,}", pattern)
        for pattern, names in name_patterns(part["trained"]).items()
    ]
    _table(console, ("  tensors", "numbers", "names"), rows, right=(0, 1))


def _print_cluster(body: dict[str, Any], console: Console) -> None:
    _line(console, f"cluster {body['address']}: {len(body['nodes'])} machine(s)", style="bold")
    rows = [
        (n["host"], f"{n['cpus']:g}", " ".join([f"{n['gpus']:g}", *n["gpu_types"]]), f"{n['memory_gib']:.1f}")
        for n in body["nodes"]
    ]
    _table(console, ("host", "CPUs", "GPUs", "memory for workers, GiB"), rows, right=(1, 2, 3))
    for stage, missing in body.get("lacks", {}).items():
        _line(console, f"{stage}: {f'not here: needs {missing}' if missing else 'there is room'}")


def _table(console: Console, columns: Sequence[str], rows: Sequence[tuple[str, ...]], right: Collection[int] = ()) -> None:
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
