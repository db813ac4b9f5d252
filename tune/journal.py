"""What trials have come to, one JSON line each: what `--resume` stands on. Ray Tune's own files are never read."""

import json
import os
from pathlib import Path
from threading import Lock
from typing import Any

from harness.errors import BadInput


class Journal:
    """Finished trials of a selection; a line is there as soon as its trial has ended.

    Args:
        path: The file; made with the first line.

    Raises:
        BadInput: A line other than the last is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self.trials: list[dict[str, Any]] = []
        lines = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        if lines[-1]:  # a kill in the middle of a write
            path.write_bytes(b"\n".join([*lines[:-1], b""]))
        for number, line in enumerate(lines[:-1], 1):
            try:
                self.trials.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise BadInput(f"{path}, line {number}: damaged ({error}); give another --out") from error

    def add(self, trial: dict[str, Any]) -> None:
        """Keep a finished trial."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.trials.append(trial)
            with self.path.open("ab") as file:
                file.write(json.dumps(trial, sort_keys=True).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def find(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The trial with these fields, if it has ended."""
        with self._lock:
            return next((trial for trial in self.trials if all(trial.get(k) == v for k, v in key.items())), None)
