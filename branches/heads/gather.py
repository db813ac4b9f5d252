"""Reads a training set into tables: one set of input rows for all tasks that see the same, and the targets of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from branches.heads.inputs import InputMaker, Layout, RawRows
from branches.heads.scaler import column_moments
from harness.answers import Targets, recode, recode_sets
from harness.branch import EpisodeBatch, Needs, TrainingSet
from harness.episode import BoolArray
from harness.row_file import RowFile
from harness.tasks.base import Task
from harness.tasks.horizon import hold_last

Role = Literal["", "query", "key"]


@dataclass(eq=False)
class TaskRows:
    """The targets of one task, in the order of the input rows.

    Attributes:
        valid: (n,) True where the row has a target.
        vocabulary: Sorted classes that occur in valid rows.
        labels: (n,) codes, -1 where not valid.
        label_sets: (n, K) bool.
        values: Vector targets on disk: row `position[i]` for input row i. NaN where not measured; for continuous futures the
            difference to persistence.
        future: True where `values` are differences to persistence.
        position: (n,) rows of `values`, -1 where there is none.
        episodes: Ids that have rows of this task.
    """

    valid: BoolArray
    vocabulary: tuple[str, ...] = ()
    labels: NDArray[np.int32] | None = None
    label_sets: BoolArray | None = None
    values: RowFile | None = None
    future: bool = False
    position: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    episodes: tuple[str, ...] = ()

    def read_values(self, index: slice | NDArray) -> NDArray[np.float32]:
        """(m, D) targets of input rows; NaN where not measured."""
        assert self.values is not None
        position = self.position[index]
        out = np.full((len(position), self.values.width), np.nan, np.float32)
        out[position >= 0] = self.values.read(position[position >= 0])
        return out

    def moments(self, keep: BoolArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(D,) mean and (D,) standard deviation of the measured targets of the input rows in `keep` (n,)."""
        assert self.values is not None
        in_file = np.zeros(len(self.values), bool)
        in_file[self.position[keep]] = True
        return column_moments(self.values, in_file)[:2]


@dataclass(eq=False)
class Table:
    """Input rows of one input set and the tasks that stand on them.

    Attributes:
        rows: Role -> raw rows on disk; retrieval has `query` and `key`, all else the empty role.
        layouts: Role -> what their columns are.
        usable: (n,) True where every role can be answered from.
        episode: (n,) codes into `episodes`.
        cluster: (n,) codes.
        episodes: Ids.
        tasks: Task id -> its targets.
    """

    rows: dict[str, RowFile]
    layouts: dict[str, Layout]
    usable: BoolArray
    episode: NDArray[np.int64]
    cluster: NDArray[np.int64]
    episodes: tuple[str, ...]
    tasks: dict[str, TaskRows]


class _Targets:
    """Targets of one task as they come, episode by episode."""

    def __init__(self, path: Path) -> None:
        self.batches: dict[str, Targets] = {}
        self.starts: dict[str, NDArray[np.int64]] = {}
        self.values = RowFile(path)

    def add(self, batch: EpisodeBatch, task: Task) -> None:
        targets = batch.targets
        self.starts[batch.episode] = batch.samples.starts
        if targets.values is not None:
            self.values.append(_residual(targets, batch, task))
        valid = targets.valid if targets.mask is None else targets.valid & targets.mask.any(axis=1)
        # Labels and sets are small; the wide arrays went to disk.
        self.batches[batch.episode] = Targets(valid, targets.labels, targets.label_sets, targets.vocabulary)

    def aligned(self, inputs: dict[str, NDArray[np.int64]], future: bool) -> TaskRows:
        """In the order of the input rows, with one vocabulary.

        Args:
            inputs: Episode -> (m, views) starts of its input rows; a task may have fewer, where it looks further past a border.
            future: As in `TaskRows`.
        """
        counts = {e: len(t.valid) for e, t in self.batches.items()}
        first = dict(zip(counts, np.cumsum([0, *counts.values()]), strict=False))
        position = [
            _position(starts, self.starts[e], first[e], e) if e in counts else np.full(len(starts), -1)
            for e, starts in inputs.items()
        ]
        order = np.concatenate([*position, np.zeros(0, np.int64)]).astype(np.int64)
        parts = list(self.batches.values())
        vocabulary = tuple(sorted({word for part in parts for word in _words(part)}))
        valid = _take(order, [p.valid for p in parts], False)
        out = TaskRows(valid, vocabulary, future=future, position=order, episodes=tuple(self.batches))
        if parts and parts[0].labels is not None:
            codes = [np.where(p.valid, recode(p.labels, p.vocabulary, vocabulary), -1) for p in parts if p.labels is not None]
            out.labels = _take(order, codes, -1).astype(np.int32)
            out.valid = out.valid & (out.labels >= 0)
        if parts and parts[0].label_sets is not None:
            sets = [recode_sets(p.label_sets, p.vocabulary, vocabulary) for p in parts if p.label_sets is not None]
            out.label_sets = _take(order, sets, False)
        if self.values.width > 0:
            out.values = self.values
        return out


def gather(
    training: TrainingSet,
    tasks: tuple[Task, ...],
    makers: dict[str, InputMaker],
    needs: Callable[[Task], Needs],
    scratch: Path,
) -> Table | None:
    """Read the tasks of one input set: the targets of each, then the inputs of as few as cover every episode.

    Args:
        training: Train or validation.
        tasks: They see the same rows (one task where it is a retrieval task, a continuous future or a probe).
        makers: Task id -> makes its raw rows.
        needs: Task -> what to ask for.
        scratch: Empty folder for rows.

    Returns:
        The table; None where no episode has a sample of any of the tasks.
    """
    found: dict[str, _Targets] = {}
    for number, task in enumerate(tasks):
        found[task.id] = _Targets(scratch / f"targets-{number}.rows")
        role: Role = "key" if task.answer == "retrieval" else ""
        for batch in training.batches(task, Needs(tracks=task.tracks_for_history()), role):
            found[task.id].add(batch, task)
    roles: tuple[Role, ...] = ("query", "key") if tasks[0].answer == "retrieval" else ("",)
    inputs = {role: _Inputs(scratch / f"inputs-{role}.rows") for role in roles}
    source = _sources({task.id: found[task.id].starts for task in tasks})
    for role, rows in inputs.items():
        for task in tasks:
            if episodes := source.get(task.id):
                for batch in training.batches(task, needs(task), role):
                    if batch.episode in episodes:
                        rows.add(batch, makers[task.id])
    first = inputs[roles[0]]
    if not first.starts:
        return None
    if any(not _same(rows.starts, first.starts) for rows in inputs.values()):
        raise ValueError(f"task {tasks[0].id}: query and key have different samples")
    sizes = [len(starts) for starts in first.starts.values()]
    return Table(
        rows={role: rows.file for role, rows in inputs.items()},
        layouts={role: rows.layout for role, rows in inputs.items() if rows.layout is not None},
        usable=np.asarray(np.stack([np.concatenate(rows.usable) for rows in inputs.values()]).all(axis=0)),
        episode=np.repeat(np.arange(len(sizes)), sizes),
        cluster=np.repeat(np.unique(first.clusters, return_inverse=True)[1], sizes),
        episodes=tuple(first.starts),
        tasks={t.id: found[t.id].aligned(first.starts, bool(t.tracks_for_history())) for t in tasks},
    )


def _sources(starts: dict[str, dict[str, NDArray[np.int64]]]) -> dict[str, set[str]]:
    """Task -> episodes whose input rows are read as that task's: the first of those with the most samples there."""
    source: dict[str, str] = {}
    for task, episodes in sorted(starts.items(), key=lambda item: -len(item[1])):
        for episode, found in episodes.items():
            if episode not in source or len(found) > len(starts[source[episode]][episode]):
                source[episode] = task
    return {task: {episode for episode, by in source.items() if by == task} for task in starts}


class _Inputs:
    """Raw rows of one role as they come, each episode once."""

    def __init__(self, path: Path) -> None:
        self.file = RowFile(path)
        self.starts: dict[str, NDArray[np.int64]] = {}
        self.clusters: list[str] = []
        self.usable: list[BoolArray] = []
        self.layout: Layout | None = None

    def add(self, batch: EpisodeBatch, maker: InputMaker) -> None:
        raw: RawRows = maker(batch.observed)
        if self.layout is not None and raw.layout != self.layout:
            raise ValueError(f"episode {batch.episode}: other feature blocks than the episodes before it")
        self.layout = raw.layout
        self.starts[batch.episode] = batch.samples.starts
        self.clusters.append(batch.cluster)
        self.usable.append(raw.usable)
        self.file.append(raw.values)


def _same(some: dict[str, NDArray[np.int64]], other: dict[str, NDArray[np.int64]]) -> bool:
    return list(some) == list(other) and all(np.array_equal(starts, other[episode]) for episode, starts in some.items())


def _position(rows: NDArray[np.int64], own: NDArray[np.int64], first: int, episode: str) -> NDArray[np.int64]:
    """(m,) where the task's target of each input row stands, counted from `first`, -1 where it has none."""
    _, code = np.unique(np.concatenate([rows, own]), axis=0, return_inverse=True)
    code, place = code.reshape(-1), np.full(code.size, -1)
    place[code[: len(rows)]] = np.arange(len(rows))
    at = place[code[len(rows) :]]
    if (at < 0).any():
        raise ValueError(f"episode {episode}: tasks that see the same inputs have different samples")
    out = np.full(len(rows), -1)
    out[at] = np.arange(len(own)) + first
    return out


def _residual(targets: Targets, batch: EpisodeBatch, task: Task) -> NDArray[np.float32]:
    """(n, D) targets, NaN where not measured; for a continuous future what is left of it after persistence."""
    assert targets.values is not None
    values = targets.values.astype(np.float64)
    if task.tracks_for_history():
        held, _ = hold_last(*task.history(batch.observed.views[0]))
        values = values - np.tile(held, (1, values.shape[1] // max(held.shape[1], 1)))
    measured = targets.valid[:, None] & (np.ones(values.shape, bool) if targets.mask is None else targets.mask)
    return np.where(measured, values, np.nan).astype(np.float32)


def _words(targets: Targets) -> list[str]:
    """The classes of valid rows."""
    if targets.labels is not None:
        codes = np.unique(targets.labels[targets.valid])
        return [targets.vocabulary[c] for c in codes[codes >= 0].tolist()]
    if targets.label_sets is not None:
        return [targets.vocabulary[k] for k in np.flatnonzero(targets.label_sets[targets.valid].any(axis=0)).tolist()]
    return []


def _take(order: NDArray[np.int64], parts: list, missing: int | bool) -> NDArray:
    """Rows of the concatenated parts at `order`, `missing` where it is -1."""
    rows = np.concatenate(parts)
    out = np.full((len(order), *rows.shape[1:]), missing, rows.dtype)
    out[order >= 0] = rows[order[order >= 0]]
    return out
