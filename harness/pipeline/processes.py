"""Which processes held a branch: each of them imported its libraries, which for a large model takes longer than a small fit."""

import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.record import file_stem

_BORN = time.time_ns()  # of this process: an operating system uses its numbers again


def note_process(home: Path, branch: str, stage: str, frames: int = 0) -> None:
    """Leave a mark that this process had the branch fit or predict.

    Args:
        home: The run folder.
        branch: Branch id.
        stage: `fit` or `predict`.
        frames: Decoded for it since the last mark; they add up. What a branch is to see is in the store, so it should be none.
    """
    mark = home / "processes" / file_stem(branch) / f"{socket.gethostname()}-{os.getpid()}-{_BORN}.{stage}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    before = int(mark.read_text() or 0) if mark.is_file() else 0
    mark.write_text(str(before + frames))


def processes_of(home: Path) -> dict[str, dict[str, Any]]:
    """What fits and predictions of each branch took, over every attempt at this run.

    Returns:
        Branch -> `processes` that held it, how many of them did a stage (`fit`, `predict`), and `decoded_frames` in them.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted((home / "processes").glob("*")):
        marks = [path.name.rpartition(".") for path in folder.iterdir()]
        frames = sum(int(path.read_text() or 0) for path in folder.iterdir())
        stages = {stage: len({process for process, _, s in marks if s == stage}) for _, _, stage in marks}
        processes = len({process for process, _, _ in marks})
        found[unquote(folder.name)] = {"processes": processes, **stages, "decoded_frames": frames}
    return found
