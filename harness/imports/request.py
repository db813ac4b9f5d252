"""What `espalier import` was asked for."""

import re
from dataclasses import dataclass
from pathlib import Path

from harness.card import suggest
from harness.errors import BadInput
from harness.imports.source import check_file
from harness.reference import PRIVILEGED
from harness.tasks.base import FLOORS

FORMATS = {
    "xperience-json": "harness.imports.xperience:import_xperience",
    "jsonl": "harness.imports.own_rows:import_rows",
    "parquet": "harness.imports.own_rows:import_rows",
}
_NAME = re.compile(r"[A-Za-z0-9][\w.:@+-]{0,99}")


@dataclass(frozen=True)
class ImportRequest:
    """The words of the command line.

    Attributes:
        format: One of `FORMATS`.
        files: Files of rows, and JSON files that say something about them.
        out: Folder to write.
        name: Branch id under which the rows stand in tables.
        targets: Run whose samples the rows answer.
        allow_partial: Go on where ids are missing, twice there or in conflict; the table says so.
    """

    format: str
    files: tuple[Path, ...]
    out: Path
    name: str
    targets: Path | None = None
    allow_partial: bool = False


def make_request(
    kind: str, files: list[Path], out: Path, targets: Path | None, name: str | None, *, allow_partial: bool
) -> ImportRequest:
    """Check the words before any file is read.

    Raises:
        BadInput: No such format or file, a name that tables have other uses for, or a folder that is in use.
    """
    if kind not in FORMATS:
        raise BadInput(f"import {kind!r}: no such format{suggest(kind, list(FORMATS))}; there are {', '.join(FORMATS)}")
    for file in files:
        check_file(file)
    called = out.resolve().name if name is None else name
    if not _NAME.fullmatch(called):
        raise BadInput(f"--name {called!r}: a branch is named by letters, digits and ._:@+-; give another")
    if called in PRIVILEGED or called in FLOORS:
        raise BadInput(
            f"--name {called!r}: the name of the evaluator's own rows ({', '.join((*PRIVILEGED, *FLOORS))}); give another"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out}: is there already and is not empty; give another folder")
    return ImportRequest(kind, tuple(files), out, called, targets, allow_partial)
