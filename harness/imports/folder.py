"""The folder of imported rows whose targets came with them: a run folder like any other, made of no recording."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.card import Card
from harness.errors import BadInput
from harness.held import Held
from harness.manifest import environment, now, write_json
from harness.pipeline.plan import as_json
from harness.splits import Fold, Split
from harness.window import WindowSpec

KIND = "imported"


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A folder to fill that becomes `out` when all went well, and is gone when not.

    Raises:
        BadInput: It cannot be made.
    """
    partial = out.with_name(f".{out.name}.{uuid4().hex}.partial")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise BadInput(f"--out {out}: cannot be made ({error.strerror}); give another one") from error
    try:
        yield partial
        if out.is_dir():
            out.rmdir()  # empty, as was checked
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def held_at(run: Path) -> Held:
    """The targets of a run folder.

    Raises:
        BadInput: It is none.
    """
    from harness.score import held_of, read_manifest  # noqa: PLC0415  which takes what this package writes

    return held_of(run, read_manifest(run))


def session_of(episode: str) -> str | None:
    """Session of a published episode id, `<session>__ep<N>`; None where it is no such id."""
    session, mark, number = episode.rpartition("__ep")
    return session if mark and session and number.isdigit() else None


def imported_split(episodes: list[str], targets: str, spec: WindowSpec) -> Split:
    """All episodes test, none trains: what trained is not known.

    Args:
        episodes: Ids.
        targets: Digest of all rows' truth, which so is part of the split's hash: bundles of other rows do not fit.
        spec: Windows.
    """
    sessions = {episode: session_of(episode) for episode in episodes}
    clusters = {episode: session or episode for episode, session in sessions.items()}
    fold = Fold(0, (), (), tuple(sorted(episodes)))
    return Split(KIND, "episode", clusters, sessions, (fold,), {**asdict(spec), "targets": targets})


@dataclass
class ImportedRun:
    """What the manifest of such a folder says.

    Attributes:
        source: The files that were read.
        tasks: Task ids.
        seen: Task -> labels that train has, as the rows say.
        notes: What was left out.
        rows: Rows that came.
    """

    source: list[str]
    tasks: list[str]
    seen: dict[str, list[str]] = field(default_factory=dict)
    notes: str = ""
    rows: int = 0

    def write(self, folder: Path, split: Split, spec: WindowSpec) -> None:
        """Write `manifest.json` and `split.json`."""
        split.save(folder / "split.json")
        card = Card(name=KIND, format=KIND, title="predictions made elsewhere")
        body: dict[str, Any] = {
            "schema": "espalier.run/1",
            "state": "done",
            "written": now(),
            "imported": asdict(self),
            "dataset": {"name": KIND, "root": ".", "card": as_json(card)},
            "simulated": False,
            "limited": False,
            "config": {},
            "tasks": self.tasks,
            "windows": asdict(spec),
            "split_hash": split.hash,
            "quarantined": [],
            "seen": self.seen,
            "environment": environment(),
        }
        write_json(folder / "manifest.json", body)
