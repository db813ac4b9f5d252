"""Evaluation: a pure function of bundles, split and targets. Every row is read once, one episode in memory at a time."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.answers import Predictions, Status, Targets, concatenate, failed, recode, recode_sets
from harness.bundle import Bundle
from harness.card import first_line
from harness.errors import BadInput
from harness.leakage import check
from harness.metrics.base import Metric, MetricContext, State, metric_class
from harness.record import EpisodeRecord, file_stem
from harness.reference import TrainStatistics, floor_rows
from harness.splits import Fold, Role, Split
from harness.tables import by_task, read_predictions, read_samples, read_targets, sample_ids
from harness.tasks.base import Task
from harness.window import Samples, WindowSpec, row_seeds

_Slices = dict[str, list[tuple[NDArray[np.str_], Predictions]]]
OF_TEST = "majority_of_test"
FLOOR = ""  # the branch name under which the evaluator keeps its own floor


@dataclass(frozen=True)
class Held:
    """What a run holds to score against.

    Attributes:
        targets: Folder with one Parquet file per episode.
        split: Folds and clusters.
        tasks: In the order of the table.
        spec: Windows.
        seen: Task -> labels that train has, where no training targets are at hand (imported rows).
    """

    targets: Path
    split: Split
    tasks: tuple[Task, ...]
    spec: WindowSpec
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)

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
        except (pa.ArrowException, OSError, KeyError) as error:
            raise BadInput(f"{path}: damaged ({first_line(error)}); remove it and run again") from error


@dataclass
class Cell:
    """What one branch did on one task: additive states and counts, by episode.

    Attributes:
        states: (fold, seed, episode) -> (S,).
        statuses: Status -> rows; only scored rows count.
        n_samples: Scored rows of one seed, over all folds.
        route: How it answered.
    """

    states: dict[tuple[int, int, str], State] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    n_samples: dict[int, int] = field(default_factory=dict)
    route: str = "native"


@dataclass
class Evaluation:
    """All states of a run.

    Attributes:
        held: What was scored against.
        metrics: (task, fold) -> metric with its context.
        cells: (branch, task) -> states; the branch `FLOOR` is the evaluator's own floor.
        test: Task -> statistics of the test targets, to see vacuous tasks.
        bundles: What was scored.
        unmet: Branch -> gates that its imported bundles do not meet.
    """

    held: Held
    metrics: dict[tuple[str, int], Metric]
    cells: dict[tuple[str, str], Cell]
    test: dict[str, TrainStatistics]
    bundles: tuple[Bundle, ...]
    unmet: dict[str, list[str]] = field(default_factory=dict)


def evaluate(held: Held, bundles: Sequence[Bundle]) -> Evaluation:
    """Score bundles.

    Raises:
        BadInput: A bundle answers another split or stands there twice, was fitted on what it is tested on, or has a part that
            cannot be read.
    """
    unmet: dict[str, list[str]] = {}
    places: dict[tuple[str, int, int], Path] = {}
    for bundle in bundles:
        first = places.setdefault((bundle.branch, bundle.fold, bundle.seed), bundle.folder)
        if first != bundle.folder:
            raise BadInput(
                f"{bundle.branch}, fold {bundle.fold}, seed {bundle.seed} stands in {first} and {bundle.folder}: name one"
            )
        if bundle.split != held.split.hash:
            raise BadInput(
                f"bundle {bundle.folder} answers split {bundle.split}, these targets are of split {held.split.hash}; "
                "pass the run folder it belongs to with --targets"
            )
        unmet.setdefault(bundle.branch, []).extend(check(bundle, held))
    classes = _classes(held)
    result = Evaluation(held, {}, {}, {task.id: TrainStatistics() for task in held.tasks}, tuple(bundles), unmet)
    for fold in held.split.folds:
        statistics = _train_statistics(held, fold)
        for task in held.tasks:
            context = _context(held, task, statistics[task.id], classes[task.id])
            result.metrics[task.id, fold.id] = metric_class(task.metric)(context)
        here = [bundle for bundle in bundles if bundle.fold == fold.id] + _absent(bundles, fold.id)
        parts = [(bundle, bundle.parts_by_episode()) for bundle in here]
        for episode in held.present(fold.test):
            answers = [(bundle, _answers(bundle, found.get(file_stem(episode), []))) for bundle, found in parts]
            _score_episode(result, fold, episode, answers, statistics)
    return result


def _absent(bundles: Sequence[Bundle], fold: int) -> list[Bundle]:
    """Stand-ins for branches and seeds that answer other folds and not this one: all their rows here are missing."""
    there = {(b.branch, b.seed) for b in bundles if b.fold == fold}
    others = {(b.branch, b.seed): b for b in bundles if (b.branch, b.seed) not in there}
    return [replace(b, fold=fold, folder=b.folder / "absent") for b in others.values()]


def _classes(held: Held) -> dict[str, tuple[str, ...]]:
    """Task -> every label in any target of the split, sorted: the axis of the class counts."""
    found: dict[str, set[str]] = {task.id: set() for task in held.tasks}
    spoken = [task for task in held.tasks if task.answer in ("label", "label_set")]
    for episode in held.present(held.split.episodes):
        for task, _, targets in held.rows(episode, spoken):
            found[task.id].update(_spoken(targets))
    return {task: tuple(sorted(words)) for task, words in found.items()}


def _spoken(targets: Targets) -> list[str]:
    """Words that valid rows really carry (a vocabulary may hold more)."""
    if targets.labels is not None:
        codes = np.unique(targets.labels[targets.valid])
        return [targets.vocabulary[c] for c in codes.tolist() if c >= 0]
    if targets.label_sets is not None:
        used = np.flatnonzero(targets.label_sets[targets.valid].any(axis=0))
        return [targets.vocabulary[i] for i in used.tolist()]
    return []


def _train_statistics(held: Held, fold: Fold) -> dict[str, TrainStatistics]:
    """Of the training rows; of the test rows for tasks whose floor says that it is made of them."""
    found = {task.id: TrainStatistics() for task in held.tasks}
    roles: tuple[Role, ...] = ("train", "test")
    for role in roles:
        tasks = [task for task in held.tasks if (task.floor == OF_TEST) == (role == "test")]
        for episode in held.present(fold.episodes(role)) if tasks else ():
            n = EpisodeRecord.from_file(held.file(episode)).n_reference
            for task, samples, targets in held.rows(episode, tasks):
                keep = fold.select(role, samples, n, held.spec, task.reach(held.spec))
                found[task.id].add(targets.take(np.flatnonzero(keep)))
    return found


def _context(held: Held, task: Task, statistics: TrainStatistics, classes: tuple[str, ...]) -> MetricContext:
    trained = () if task.floor == OF_TEST else statistics.classes
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
    """What the train prior answers everywhere."""
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


def _score_episode(
    result: Evaluation,
    fold: Fold,
    episode: str,
    answers: list[tuple[Bundle, _Slices]],
    statistics: dict[str, TrainStatistics],
) -> None:
    held = result.held
    n = EpisodeRecord.from_file(held.file(episode)).n_reference
    for task, samples, targets in held.rows(episode):
        keep = np.flatnonzero(fold.select("test", samples, n, held.spec, task.reach(held.spec)) & targets.valid)
        if not len(keep):
            continue
        metric = result.metrics[task.id, fold.id]
        truth = _on_classes(targets.take(keep), metric.context.classes)
        ids = samples.ids[keep]
        result.test[task.id].add(truth)
        floor = _floor_state(metric, task, statistics[task.id], truth, ids)
        _add(result, FLOOR, task.id, (fold.id, 0, episode), floor, None, len(keep))
        for bundle, found in answers:
            if task.id not in bundle.routes:
                continue
            rows = _align(bundle, found.get(task.id), ids, task, truth, metric.context.classes)
            key = (fold.id, bundle.seed, episode)
            cell = _add(result, bundle.branch, task.id, key, metric.state(truth, rows), rows, len(keep))
            cell.route = bundle.routes[task.id]


def _answers(bundle: Bundle, parts: list[Path]) -> _Slices:
    """Task -> sample ids and rows of each of an episode's parts."""
    found: _Slices = {}
    for path in parts:
        try:
            for task_id, table in by_task(path):
                rows = read_predictions(table, bundle.classes.get(task_id, ()))
                found.setdefault(task_id, []).append((sample_ids(table), rows))
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise BadInput(f"{path}: no bundle part ({first_line(error)}); remove it and run again") from error
    return found


def _align(
    bundle: Bundle,
    slices: list[tuple[NDArray[np.str_], Predictions]] | None,
    ids: NDArray[np.str_],
    task: Task,
    truth: Targets,
    classes: tuple[str, ...],
) -> Predictions:
    """Row for row of `ids`; samples without a row are `missing`, which is a failure like any other."""
    if not slices:
        return failed(len(ids), Status.MISSING, task.answer, _width(truth), classes)
    given = np.concatenate([s[0] for s in slices])
    order = np.argsort(given, kind="stable")
    twice = given[order][1:] == given[order][:-1]
    if twice.any():
        raise BadInput(f"{bundle.folder}: two rows answer {given[order][1:][twice][0]} of {task.id}; name the parts of one run")
    position = order[np.minimum(np.searchsorted(given, ids, sorter=order), len(given) - 1)]
    there = given[position] == ids
    spoken = dict.fromkeys(word for _, rows in slices for word in rows.vocabulary)
    words = (*classes, *(word for word in spoken if word not in set(classes)))
    rows = concatenate([_words_on(rows, words) for _, rows in slices])
    rows = _checked(rows.take(position), task, truth)
    if there.all():
        return rows
    status = np.where(there, rows.status, Status.MISSING.value)
    labels = None if rows.labels is None else np.where(there, rows.labels, -1).astype(np.int32)
    sets = None if rows.label_sets is None else rows.label_sets & there[:, None]
    return replace(rows, status=status, labels=labels, label_sets=sets)


def _checked(rows: Predictions, task: Task, truth: Targets) -> Predictions:
    """Rows of another kind or width fail as `schema_error`, numbers that are none as `decode_error`: both count as failures."""
    kinds = {"label": rows.labels, "label_set": rows.label_sets, "vector": rows.values, "retrieval": rows.query}
    answer = kinds[task.answer]
    wrong_width = task.answer == "vector" and answer is not None and answer.shape[1] != _width(truth)
    if answer is None or wrong_width or (task.answer == "retrieval" and rows.key is None):
        lost = failed(len(rows), Status.SCHEMA_ERROR, task.answer, _width(truth), rows.vocabulary)
        return replace(lost, status=np.where(rows.ok, lost.status, rows.status))
    numbers = [array for array in (rows.values, rows.query, rows.key) if array is not None]
    finite = np.all([np.isfinite(array).all(axis=1) for array in numbers], axis=0) if numbers else np.ones(len(rows), bool)
    return replace(rows, status=np.where(rows.ok & ~finite, Status.DECODE_ERROR.value, rows.status))


def _words_on(rows: Predictions, words: tuple[str, ...]) -> Predictions:
    """Labels and sets as codes over `words`: the evaluation's classes, then words that are never right."""
    labels = None if rows.labels is None else recode(rows.labels, rows.vocabulary, words)
    sets = None if rows.label_sets is None else recode_sets(rows.label_sets, rows.vocabulary, words)
    return replace(rows, labels=labels, label_sets=sets, vocabulary=words, probabilities=None)


def _on_classes(targets: Targets, classes: tuple[str, ...]) -> Targets:
    labels = None if targets.labels is None else recode(targets.labels, targets.vocabulary, classes)
    sets = None if targets.label_sets is None else recode_sets(targets.label_sets, targets.vocabulary, classes)
    vocabulary = classes if targets.labels is not None or targets.label_sets is not None else ()
    return replace(targets, labels=labels, label_sets=sets, vocabulary=vocabulary)


def _width(truth: Targets) -> int:
    return 1 if truth.values is None else truth.values.shape[1]


def _floor_state(metric: Metric, task: Task, statistics: TrainStatistics, truth: Targets, ids: NDArray[np.str_]) -> State | None:
    closed = metric.chance(truth)
    if closed is not None:
        return closed
    if statistics.rows == 0 and task.floor != "persistence":
        return None
    rows = floor_rows(task, statistics, truth, row_seeds(ids, 0))
    return metric.state(truth, _words_on(rows, metric.context.classes))


def _add(
    result: Evaluation, branch: str, task: str, key: tuple[int, int, str], state: State | None, rows: Predictions | None, n: int
) -> Cell:
    """Put the state of one (fold, seed, episode) into its cell."""
    cell = result.cells.setdefault((branch, task), Cell())
    if state is not None:
        cell.states[key] = state
    cell.n_samples[key[1]] = cell.n_samples.get(key[1], 0) + n
    if rows is not None:
        for status, count in zip(*np.unique(rows.status, return_counts=True), strict=True):
            cell.statuses[str(status)] = cell.statuses.get(str(status), 0) + int(count)
    return cell
