"""Which processes held a branch: each of them imported its libraries, which for a large model takes longer than a small fit."""

import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.record import file_stem

_BORN = time.time_ns()  # of this process: an operating system uses its numbers again


def note_process(home: Path, branch: str, stage: str) -> None:
    """Leave a mark that this process had the branch fit or predict.

    Args:
        home: The run folder.
        branch: Branch id.
        stage: `fit` or `predict`.
    """
    mark = home / "processes" / file_stem(branch) / f"{socket.gethostname()}-{os.getpid()}-{_BORN}.{stage}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def processes_of(home: Path) -> dict[str, dict[str, Any]]:
    """Branch -> `processes` that held it, over every attempt at this run, and how many of them did a stage (`fit`, `predict`)."""
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted((home / "processes").glob("*")):
        marks = [path.name.rpartition(".") for path in folder.iterdir()]
        stages = {stage: len({process for process, _, s in marks if s == stage}) for _, _, stage in marks}
        found[unquote(folder.name)] = {"processes": len({process for process, _, _ in marks}), **stages}
    return found
