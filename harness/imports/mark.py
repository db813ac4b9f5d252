"""`import.json`: what stands in an imported folder that brought no targets of its own, and whose samples it answers."""

from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.imports.source import read_object
from harness.manifest import write_json

MARK = "import.json"
SCHEMA = "espalier.import/2"


def write_mark(folder: Path, said: dict[str, Any]) -> None:
    """Write the file."""
    write_json(folder / MARK, {"schema": SCHEMA, **said})


def read_mark(folder: Path) -> dict[str, Any]:
    """Read the file.

    Raises:
        BadInput: It is not what `espalier import` writes.
    """
    said = read_object(folder / MARK)
    if said.get("schema") != SCHEMA:
        raise BadInput(f"{folder / MARK}: not what `espalier import` writes ({SCHEMA}); import again")
    return said


def is_loose(folder: Path) -> bool:
    """True for rows that wait for their run."""
    return (folder / MARK).is_file() and (folder / "rows").is_dir()


def loose_below(folder: Path) -> list[Path]:
    """The folder, and every one below it, whose rows wait for their run; sorted."""
    return [mark.parent for mark in sorted(folder.rglob(MARK)) if is_loose(mark.parent)]


def run_named(folder: Path) -> Path | None:
    """The run that was named when the rows were imported, where it still stands there."""
    named = read_mark(folder).get("targets") if (folder / MARK).is_file() else None
    return Path(named) if isinstance(named, str) and (Path(named) / "split.json").is_file() else None
