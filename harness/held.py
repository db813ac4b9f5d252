"""What a run holds to score against: targets, folds, and what they say of a task before any prediction is read."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from harness.answers import Targets
from harness.card import first_line
from harness.errors import BadInput
from harness.metrics.base import MetricContext
from harness.record import EpisodeRecord, file_stem
from harness.reference import TrainStatistics
from harness.splits import ROLES, Fold, Role, Split
from harness.tables import by_task, read_samples, read_targets
from harness.tasks.base import Task
from harness.window import Samples, WindowSpec

if TYPE_CHECKING:
    from harness.leakage.duplicates import Copy

OF_TEST = ("majority_of_test", "prior_of_test")


@dataclass(frozen=True)
class Held:
    """What a run holds to score against.

    Attributes:
        targets: Folder with one Parquet file per episode.
        split: Folds and clusters.
        tasks: In the order of the table.
        spec: Windows.
        seen: Task -> labels that train has, where no training targets are at hand (imported rows).
        common: Modalities that the run was restricted to; branches that saw nothing else form the `common` track. Empty = no
            such restriction.
    """

    targets: Path
    split: Split
    tasks: tuple[Task, ...]
    spec: WindowSpec
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    common: tuple[str, ...] = ()

    @cached_property
    def sensors(self) -> tuple[str, ...]:
        """What any episode of the split measures, sorted."""
        records = (EpisodeRecord.from_file(self.file(e)) for e in self.present(self.split.episodes))
        return tuple(sorted({sensor for record in records for sensor in record.sensors}))

    @cached_property
    def words(self) -> dict[tuple[int, Role], dict[str, frozenset[str]]]:
        """See `words_by_role`; read once."""
        return words_by_role(self)

    @cached_property
    def copies(self) -> "tuple[Copy, ...]":
        """Test passages that stand in training episodes under another name; looked for once."""
        from harness.leakage.duplicates import find_copies  # noqa: PLC0415  the gates know what is held

        return find_copies(self.targets, self.split, self.spec)

    def file(self, episode: str) -> Path:
        """Targets and record of one episode."""
        return self.targets / f"{file_stem(episode)}.parquet"

    def present(self, episodes: Iterable[str]) -> list[str]:
        """Episodes that ingest could read."""
        return [e for e in episodes if self.file(e).is_file()]

    def posing(self, episodes: Iterable[str]) -> list[str]:
        """Those of them that pose any task: with `modalities=[...]`, those that have what was asked for."""
        return [e for e in self.present(episodes) if EpisodeRecord.from_file(self.file(e)).tasks]

    def rows(self, episode: str, tasks: Iterable[Task] | None = None) -> Iterator[tuple[Task, Samples, Targets]]:
        """Samples and targets of every task (or of these) of one episode."""
        known = {task.id: task for task in (self.tasks if tasks is None else tasks)}
        path = self.file(episode)
        try:
            for task_id, table in by_task(path, known):
                task = known[task_id]
                yield task, read_samples(table, task.samples, self.spec.length), read_targets(table, task.answer)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise BadInput(f"{path}: damaged ({first_line(error)}); remove it and run again") from error


def classes_of(held: Held) -> dict[str, tuple[str, ...]]:
    """Task -> every label in any target of the split, sorted: the axis of the class counts."""
    found: dict[str, set[str]] = {task.id: set() for task in held.tasks}
    spoken = [task for task in held.tasks if task.answer in ("label", "label_set")]
    for episode in held.present(held.split.episodes):
        for task, _, targets in held.rows(episode, spoken):
            found[task.id].update(targets.words())
    return {task: tuple(sorted(words)) for task, words in found.items()}


def words_by_role(held: Held) -> dict[tuple[int, Role], dict[str, frozenset[str]]]:
    """(fold, role) -> task -> labels that its windows carry."""
    spoken = [task for task in held.tasks if task.answer in ("label", "label_set")]
    members = {(fold.id, role): set(fold.episodes(role)) for fold in held.split.folds for role in ROLES}
    found: dict[tuple[int, Role], dict[str, set[str]]] = {key: {} for key in members}
    for episode in held.present(held.split.episodes):
        n = EpisodeRecord.from_file(held.file(episode)).n_reference
        for task, samples, targets in held.rows(episode, spoken):
            every = targets.words()
            for fold, role in (key for key, episodes in members.items() if episode in episodes):
                cut = held.split.folds[fold]
                if cut.borders is None:
                    words = every
                else:
                    keep = cut.select(role, samples, n, held.spec, task.reach(held.spec))
                    words = targets.take(np.flatnonzero(keep)).words()
                found[fold, role].setdefault(task.id, set()).update(words)
    return {key: {task: frozenset(words) for task, words in by_task.items()} for key, by_task in found.items()}


def train_statistics(held: Held, fold: Fold) -> dict[str, TrainStatistics]:
    """Of the training rows; of the test rows for tasks whose floor says that it is made of them."""
    found = {task.id: TrainStatistics() for task in held.tasks}
    roles: tuple[Role, ...] = ("train", "test")
    for role in roles:
        tasks = [task for task in held.tasks if (task.floor in OF_TEST) == (role == "test")]
        for episode in held.present(fold.episodes(role)) if tasks else ():
            n = EpisodeRecord.from_file(held.file(episode)).n_reference
            for task, samples, targets in held.rows(episode, tasks):
                keep = fold.select(role, samples, n, held.spec, task.reach(held.spec))
                found[task.id].add(targets.take(np.flatnonzero(keep)))
    return found


def metric_context(held: Held, task: Task, statistics: TrainStatistics, classes: tuple[str, ...]) -> MetricContext:
    """What the metric of a task knows in one fold, from the statistics of its training rows."""
    trained = () if task.floor in OF_TEST else statistics.classes
    seen, usual = {*trained, *held.seen.get(task.id, ())}, _usual(task, statistics)
    shape = _shape(held, task)
    # A fold without training targets of the task has no mean to be about: zero, and a scale of one.
    untrained = statistics.rows == 0 and task.answer == "vector"
    return MetricContext(
        classes=classes,
        seen=np.array([c in seen for c in classes], bool),
        shape=shape,
        train_mean=np.zeros(math.prod(shape)) if untrained else statistics.mean,
        train_std=np.ones(math.prod(shape)) if untrained else statistics.std,
        groups=task.groups(),
        usual=np.array([c in usual for c in classes], bool),
    )


def _usual(task: Task, statistics: TrainStatistics) -> set[str]:
    """What the train prior answers everywhere; nothing where a wrong answer may be any text."""
    if task.open_vocabulary:
        return set()
    if task.answer == "label_set":
        return {word for word, chosen in zip(statistics.classes, statistics.prior_set().tolist(), strict=True) if chosen}
    return {statistics.classes[int(np.argmax(statistics.frequencies))]} if task.answer == "label" and statistics.counts else set()


def _shape(held: Held, task: Task) -> tuple[int, ...]:
    if task.answer != "vector":
        return ()
    for episode in held.present(held.split.episodes):
        shapes = EpisodeRecord.from_file(held.file(episode)).shapes
        if task.id in shapes:
            return tuple(shapes[task.id])
    return ()
