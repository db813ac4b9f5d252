"""The folder of published answers, episode by episode: targets, answers, the copied action, and their manifests."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from harness.answers import Predictions, Status
from harness.bundle import Bundle, bundle_folder
from harness.errors import BadInput
from harness.imports.first_pass import FirstPass
from harness.imports.folder import ImportedRun, imported_split
from harness.imports.problems import Problems
from harness.imports.published import PublishedFigures
from harness.imports.qa_arrays import answers_of, samples_of, targets_of
from harness.imports.qa_row import FIELDS, Answer, QaRow
from harness.imports.request import ImportRequest
from harness.imports.source import shown
from harness.imports.stated import Stated
from harness.record import EpisodeRecord, file_stem
from harness.reference import PRIVILEGED, copy_current
from harness.splits import Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task
from harness.tasks.qa import QaTask
from harness.window import Samples, WindowSpec

CONFLICT = Answer(Status.SCHEMA_ERROR.value)
_MODULUS = 2**128


@dataclass
class Carried:
    """What the rows of a file carry.

    Attributes:
        fields: Field -> rows that have the truth of it; only fields that any row has.
        rows: All rows.
        labels: True label -> rows.
        lacking: Field -> the first row that has no truth of it.
        texts: True where any row has the text of its answer.
        length: Frames of the first window; the rows do not have to agree.
    """

    fields: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lacking: dict[str, str] = field(default_factory=dict)
    texts: bool = False
    length: int = 0

    def add(self, row: QaRow) -> None:
        """Take a row in."""
        self.rows += 1
        self.labels[row.truth["action"]] += 1
        self.fields.update(list(row.truth))
        for name in set(FIELDS) - set(row.truth):
            self.lacking.setdefault(name, row.id)
        self.texts |= row.raw is not None
        self.length = self.length or (row.window[1] - row.window[0] + 1 if row.window else 0)

    def report(self, problems: Problems, where: str) -> None:
        """Name the fields of which some rows have the truth and others have not: these would not be scored."""
        for name, with_truth in self.fields.items():
            if with_truth < self.rows:
                what = f"id {shown(self.lacking[name])} says nothing of {name}, other rows do"
                problems.add(f"row(s) without a truth for {name}", where, what, self.rows - with_truth, f"qa_{name}")


def truth_of(row: QaRow) -> list[Any]:
    """What a row says is so, whatever it answers."""
    return [row.id, row.episode, row.window, row.truth, row.seen]


def usable(found: list[tuple[int, QaRow]], read: FirstPass) -> list[QaRow]:
    """Rows whose truth is known; those that answer twice and otherwise fail."""
    kept = [(index in read.conflicting, row) for index, row in found if index not in read.contradicted]
    return [replace(row, conflicting=True, answers=dict.fromkeys(row.answers, CONFLICT)) if twice else row for twice, row in kept]


class QaMaker:
    """The second pass: files of one episode after the other, then the manifests.

    Args:
        folder: To fill.
        request: What was asked for.
        read: What the first pass found.
        carried: What the rows carry.
    """

    def __init__(self, folder: Path, request: ImportRequest, read: FirstPass, carried: Carried) -> None:
        self.folder, self.request, self.read = folder, request, read
        names = [name for name in FIELDS if name in carried.fields]
        self.tasks = [self._task(f"qa_{name}") for name in (*names, *(["json"] if carried.texts else []))]
        self.spec = WindowSpec(length=carried.length or WindowSpec.length)
        self.published = PublishedFigures()
        self.episodes: list[str] = []
        self.digest = 0
        self.rows = 0
        self.seen: set[str] = set()
        self.unseen: set[str] = set()
        self.copies = any(task.copies for task in self.tasks)

    @staticmethod
    def _task(task_id: str) -> QaTask:
        task = get_task(task_id)
        assert isinstance(task, QaTask)
        return task

    def add(self, episode: str, found: list[tuple[int, QaRow]]) -> None:
        """Write targets and answers of one episode."""
        rows = usable(found, self.read)
        if not rows:
            return
        rows.sort(key=lambda row: (row.window or (0, 0), row.id))
        for row in rows:
            self._count(row)
        samples = samples_of(episode, rows, self.spec)
        targets = {task.id: targets_of(task, rows) for task in self.tasks}
        record = EpisodeRecord(
            episode, "", max(row.window[1] + 1 if row.window else 0 for row in rows), {}, {}, {}, {},
            [task.id for task in self.tasks],
        )  # fmt: skip
        write_atomically(
            [targets_table(task.id, samples, targets[task.id]) for task in self.tasks],
            self.folder / "targets" / f"{file_stem(episode)}.parquet",
            record.to_metadata(),
        )
        self._part(self.request.name, episode, samples, {task.id: answers_of(task, rows) for task in self.tasks})
        if self.copies:
            copied = {t.id: copy_current(t, targets[t.id], targets[t.copies]) for t in self.tasks if t.copies}
            self._part("copy", episode, samples, copied)
        self.episodes.append(episode)
        self.rows += len(rows)

    def _part(self, name: str, episode: str, samples: Samples, answers: dict[str, Predictions]) -> None:
        tables = [predictions_table(task, samples, rows, 0, 0, 0) for task, rows in answers.items()]
        write_atomically(tables, bundle_folder(self.folder, name) / f"part-{file_stem(episode)}-0000000.parquet")

    def _count(self, row: QaRow) -> None:
        self.digest = (
            self.digest + int.from_bytes(blake2b(json.dumps(truth_of(row)).encode(), digest_size=16).digest())
        ) % _MODULUS
        self.published.add(row)
        if row.seen is not None:
            (self.seen if row.seen else self.unseen).add(row.truth["action"])

    def finish(self, stated: Stated | None, problems: Problems, files: Sequence[Path]) -> dict[str, Any]:
        """Write the manifests.

        Raises:
            BadInput: No row is left, or a label is said to be seen and not seen in train.
        """
        if not self.episodes:
            raise BadInput(f"{files[0]}: no row is left ({problems.summary()})")
        both = sorted(self.seen & self.unseen)
        if both:
            raise BadInput(
                f"{files[0]}: rows say of {shown(both[0])} both that train has it and that it has not; correct the file"
            )
        seen = {"qa_action": sorted(self.seen)} if self.seen or self.unseen else {}
        split = imported_split(self.episodes, f"{self.digest:032x}", self.spec)
        run = ImportedRun([file.name for file in files], [task.id for task in self.tasks], seen, problems.note(), self.rows)
        run.write(self.folder, split, self.spec)
        published = self.published.by_task(None if stated is None else stated.options)
        differs = "" if stated is None else stated.differs(published.get("qa_action", {}).get("accuracy"))
        self._bundles(split, published, problems, differs)
        return {
            "name": self.request.name, "rows": self.rows, "episodes": len(self.episodes), "tasks": run.tasks,
            "note": "; ".join(filter(None, (run.notes, differs))), "published": published, "counted": self.published.rows,
            "unseen_rows": self.published.strata[False][1],
        }  # fmt: skip

    def _bundles(self, split: Split, published: dict[str, dict[str, float]], problems: Problems, differs: str) -> None:
        routes = {task.id: "native" for task in self.tasks}
        details: dict[str, Any] = {"published": published}
        said = {task: [problems.note(task), differs if task == "qa_action" else ""] for task in routes}
        if notes := {task: "; ".join(filter(None, lines)) for task, lines in said.items() if any(lines)}:
            details["notes"] = notes
        Bundle(
            bundle_folder(self.folder, self.request.name), self.request.name, "imported", 0, 0, split.hash, routes, None,
            card={"title": "predictions made elsewhere"}, details=details, imported=True,
        ).save()  # fmt: skip
        if self.copies:
            copied = {task.id: "native" for task in self.tasks if task.copies}
            Bundle(
                bundle_folder(self.folder, "copy"), "copy", "reference", 0, 0, split.hash, copied, None, privileged=True,
                card={"title": PRIVILEGED["copy"]}, imported=True,
            ).save()  # fmt: skip
