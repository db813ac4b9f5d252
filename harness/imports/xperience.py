"""`espalier import xperience-json`: rows of the published JSON evaluator, targets and answers in one file.

Two passes. The first reads every row, refuses what is none, finds ids that stand there twice, and puts the rows away by episode;
the second makes targets and answers of one episode at a time. Memory holds the rows of a few episodes and 24 bytes of each row.
"""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from harness.answers import STATUS_DTYPE, Predictions, Status, Targets
from harness.bundle import Bundle
from harness.errors import BadInput
from harness.imports.folder import ImportedRun, appearing, bundle_folder, imported_split
from harness.imports.problems import Problems
from harness.imports.published import UNKNOWN, PublishedFigures
from harness.imports.qa_row import Answer, QaRow, read_row
from harness.imports.request import ImportRequest
from harness.imports.source import read_object, read_rows
from harness.imports.spill import Spill
from harness.record import EpisodeRecord, file_stem
from harness.reference import PRIVILEGED, copy_current
from harness.splits import Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task
from harness.tasks.qa import QaTask
from harness.window import Samples, WindowSpec

COLUMNS = (
    "id", "episode_id", "center_window", "true_label", "raw_prediction", "true_json", "pred_json", "predicted_label",
    "true_label_seen_in_train",
)  # fmt: skip
CONFLICT = Answer(Status.SCHEMA_ERROR.value)
_MODULUS = 2**128


@dataclass
class _Read:
    """What the first pass found.

    Attributes:
        answers: Digest of each row's answer.
        truths: Digest of each row's truth.
        index: Digest of an id -> its row.
        conflicting: Rows whose id answers again and otherwise.
        contradicted: Rows whose id has another truth elsewhere: which is right is not known.
        fields: Fields that any row has the truth of.
        texts: True where any row carries the text of its answer.
        length: Frames of the first window; the rows do not have to agree.
    """

    answers: array = field(default_factory=lambda: array("Q"))
    truths: array = field(default_factory=lambda: array("Q"))
    index: dict[int, int] = field(default_factory=dict)
    conflicting: set[int] = field(default_factory=set)
    contradicted: set[int] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    texts: bool = False
    length: int = 0


def import_xperience(request: ImportRequest) -> dict[str, Any]:
    """Write the folder.

    Returns:
        What was done, for the command line: rows, episodes, notes, published figures.

    Raises:
        BadInput: No rows, rows that cannot be used, ids twice.
    """
    problems = Problems(request.allow_partial)
    options, expected, files = _about(request.files)
    with appearing(request.out) as folder:
        (folder / "spill").mkdir()
        spill = Spill(folder / "spill")
        try:
            read = _first_pass(files, spill, problems)
            _check_count(read, expected, problems)
            problems.settle()
            made = _Maker(folder, request, read)
            for episode, rows in spill.episodes():
                made.add(episode, [(index, read_row(body)) for index, body in rows])
        finally:
            spill.close()
        (folder / "spill").rmdir()
        return made.finish(options, problems, files)


def _about(files: Sequence[Path]) -> tuple[list[str] | None, tuple[Path, int] | None, list[Path]]:
    """Option list, the number of rows that there should be (and who says so), and the files of rows."""
    options: list[str] | None = None
    expected: tuple[Path, int] | None = None
    for file in (f for f in files if f.suffix == ".json"):
        body = read_object(file)
        labels = body.get("labels")
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise BadInput(
                f"{file}: has no list of texts under `labels`; beside rows, give the metrics.json with the option list"
            )
        options = labels if options is None else [*options, *labels]
        if isinstance(body.get("num_samples"), int):
            expected = (file, body["num_samples"])
    rows = [file for file in files if file.suffix != ".json"]
    if not rows:
        raise BadInput(f"{files[0]}: no rows; give a .jsonl or .csv file too")
    return options, expected, rows


def _first_pass(files: Sequence[Path], spill: Spill, problems: Problems) -> _Read:
    read = _Read()
    for row in (row for file in files for row in read_rows(file)):
        if row.body is None:
            problems.add("damaged row(s) left out", row.where, row.fault)
            continue
        body = {name: row.body[name] for name in COLUMNS if name in row.body}
        try:
            found = read_row(body)
        except ValueError as error:
            problems.add("row(s) without a usable id or truth left out", row.where, str(error))
            continue
        _take(read, found, body, row.where, spill, problems)
    if not read.index and not problems.counts:
        raise BadInput(f"{files[0]}: has no rows")
    return read


def _take(read: _Read, found: QaRow, body: dict[str, Any], where: str, spill: Spill, problems: Problems) -> None:
    ident = _digest(found.id)
    truth, answer = _digest(_truth_of(found)), _digest([found.predicted, found.parsed, found.raw])
    first = read.index.get(ident)
    if first is None:
        index = read.index[ident] = len(read.truths)
        read.truths.append(truth)
        read.answers.append(answer)
        read.fields |= set(found.truth)
        read.texts |= found.raw is not None
        read.length = read.length or (found.window[1] - found.window[0] + 1 if found.window else 0)
        spill.add(found.episode, index, body)
    elif read.truths[first] != truth:
        read.contradicted.add(first)
        problems.add("row(s) whose truth contradicts another row of their id, left out with it", where, f"id {found.id} again")
    elif read.answers[first] != answer:
        read.conflicting.add(first)
        problems.add("conflicting row(s), whose ids count as failed", where, f"id {found.id} again, with another answer")
    else:
        problems.add("duplicate row(s) left out", where, f"id {found.id} again")


def _check_count(read: _Read, expected: tuple[Path, int] | None, problems: Problems) -> None:
    if expected is not None and expected[1] > len(read.index):
        file, count = expected
        problems.add(
            "row(s) missing", str(file), f"counts {count} rows, {len(read.index)} came with an id of their own",
            count - len(read.index),
        )  # fmt: skip


def _digest(value: Any) -> int:
    text = json.dumps(value, sort_keys=True)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _truth_of(row: QaRow) -> list[Any]:
    return [row.id, row.episode, row.window, row.truth, row.seen]


class _Maker:
    """The second pass: files of one episode after the other, then the manifests.

    Args:
        folder: To fill.
        request: What was asked for.
        read: What the first pass found.
    """

    def __init__(self, folder: Path, request: ImportRequest, read: _Read) -> None:
        self.folder, self.request, self.read = folder, request, read
        names = [name for name in ("action", "subtask", "transition", "next_action", "contact", "objects") if name in read.fields]
        self.tasks = [self._task(f"qa_{name}") for name in (*names, *(["json"] if read.texts else []))]
        self.spec = WindowSpec(length=read.length or WindowSpec.length)
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
        kept = [(index, row) for index, row in found if index not in self.read.contradicted]
        if not kept:
            return
        kept.sort(key=lambda item: (item[1].window or (0, 0), item[1].id))
        rows = [row for _, row in kept]
        for index, row in kept:
            self._count(row)
            if index in self.read.conflicting:
                row.answers.update(dict.fromkeys(row.answers, CONFLICT))
        samples = _samples(episode, rows, self.spec)
        targets = {task.id: _targets(task, rows) for task in self.tasks}
        record = EpisodeRecord(
            episode, "", max(row.window[1] + 1 if row.window else 0 for row in rows), {}, {}, {}, {},
            [task.id for task in self.tasks],
        )  # fmt: skip
        write_atomically(
            [targets_table(task.id, samples, targets[task.id]) for task in self.tasks],
            self.folder / "targets" / f"{file_stem(episode)}.parquet",
            record.to_metadata(),
        )
        self._part(self.request.name, episode, samples, {task.id: _answers(task, rows) for task in self.tasks})
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
            self.digest + int.from_bytes(blake2b(json.dumps(_truth_of(row)).encode(), digest_size=16).digest())
        ) % _MODULUS
        self.published.add_action(row.truth["action"], row.predicted, row.seen)
        if len(self.tasks) > 1:
            self.published.add_fields(row.truth, row.parsed)
        if row.raw is not None:
            self.published.add_text(row.raw)
        if row.seen is not None:
            (self.seen if row.seen else self.unseen).add(row.truth["action"])

    def finish(self, options: list[str] | None, problems: Problems, files: Sequence[Path]) -> dict[str, Any]:
        """Write the manifests.

        Raises:
            BadInput: No row is left, or a label is said to be seen and not seen in train.
        """
        if not self.episodes:
            raise BadInput(f"{files[0]}: no row is left ({problems.summary()})")
        both = sorted(self.seen & self.unseen)
        if both:
            raise BadInput(f"{files[0]}: rows say of {both[0]!r} both that train has it and that it has not; correct the file")
        seen = {"qa_action": sorted(self.seen)} if self.seen or self.unseen else {}
        split = imported_split(self.episodes, f"{self.digest:032x}", self.spec)
        run = ImportedRun([file.name for file in files], [task.id for task in self.tasks], seen, problems.note(), self.rows)
        run.write(self.folder, split, self.spec)
        published = self.published.by_task(options)
        self._bundles(split, published, problems.note())
        return {
            "name": self.request.name, "rows": self.rows, "episodes": len(self.episodes), "tasks": run.tasks,
            "note": run.notes, "published": published, "unseen_rows": self.published.strata[False][1],
        }  # fmt: skip

    def _bundles(self, split: Split, published: dict[str, dict[str, float]], note: str) -> None:
        routes = {task.id: "native" for task in self.tasks}
        details: dict[str, Any] = {"published": published}
        if note:
            details["notes"] = dict.fromkeys(routes, note)
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


def _samples(episode: str, rows: Sequence[QaRow], spec: WindowSpec) -> Samples:
    """Windows as the rows say; where one does not, its rank. The rows have frames and no clock: t0 is not known."""
    starts = [row.window[0] if row.window else rank for rank, row in enumerate(rows)]
    ids = np.array([row.id for row in rows], np.str_)
    return Samples(episode, "window", ids, np.array(starts, np.int64)[:, None], spec.length, np.full(len(rows), np.nan))


def _targets(task: QaTask, rows: Sequence[QaRow]) -> Targets:
    """What is true; "unknown" and what a row does not say is not scored, as in the published figures."""
    if task.id == "qa_json":
        return Targets(np.ones(len(rows), bool), labels=np.zeros(len(rows), np.int32), vocabulary=task.words)
    values = [None if (value := row.truth.get(task.field)) == UNKNOWN else value for row in rows]
    valid = np.array([value is not None for value in values], bool)
    if task.answer == "label_set":
        sets, words = _sets([value or () for value in values])
        return Targets(valid, label_sets=sets, vocabulary=words)
    codes, words = _codes(values)
    return Targets(valid, labels=codes, vocabulary=words)


def _answers(task: QaTask, rows: Sequence[QaRow]) -> Predictions:
    """What is answered. The text is kept for every failed row, and for all rows where the text is what is asked about."""
    name = task.field or "json"
    answers = [row.answers.get(name, Answer(Status.UNSUPPORTED.value)) for row in rows]
    status = np.array([answer.status for answer in answers], STATUS_DTYPE)
    ok = status == Status.OK.value
    raw = tuple(row.raw if name == "json" or not fine else None for row, fine in zip(rows, ok.tolist(), strict=True))
    if task.answer == "label_set":
        sets, words = _sets([answer.value or () for answer in answers])
        return Predictions(status, label_sets=sets, vocabulary=words, raw=raw)
    codes, words = _codes([answer.value for answer in answers])
    return Predictions(status, labels=codes, vocabulary=words, raw=raw)


def _codes(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    words = tuple(sorted({value for value in values if value is not None}))
    place = {word: code for code, word in enumerate(words)}
    return np.array([-1 if value is None else place[value] for value in values], np.int32), words


def _sets(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    words = tuple(sorted({word for value in values for word in value}))
    place = {word: code for code, word in enumerate(words)}
    sets = np.zeros((len(values), len(words)), bool)
    sizes = [len(value) for value in values]
    sets[np.repeat(np.arange(len(values)), sizes), [place[word] for value in values for word in value]] = True
    return sets, words
