"""Evaluation: a pure function of bundles, split and targets. Every row is read once, one episode in memory at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.align import Slices, align, answers_of, on_classes, on_words
from harness.answers import Predictions, Targets
from harness.bundle import Bundle
from harness.episode import BoolArray
from harness.errors import BadInput
from harness.held import Held, classes_of, metric_context, train_statistics
from harness.leakage import check, check_rows
from harness.metrics.base import Metric, State, metric_class
from harness.metrics.probability import probability_state
from harness.record import EpisodeRecord, file_stem
from harness.reference import PRIVILEGED, TrainStatistics, floor_rows
from harness.seeds import Key
from harness.splits import Fold
from harness.tasks.base import Task
from harness.window import row_seeds

FLOOR = "(floor)"
"""The branch name under which the evaluator keeps its own floor; no bundle may have it."""


@dataclass
class Cell:
    """What one branch did on one task: additive states and counts, by fold, seed and episode.

    Attributes:
        states: (S,) of all rows, failures scored as declared.
        complete: (S,) of the rows that answered; the same object where none failed, absent where all did.
        best: (S,) as if every failed row had been right.
        strata: Sensors missing (`audio+depth`; empty = none) -> (S,) of those rows.
        probabilities: `probability_state` of the rows, where the branch offers probabilities.
        unsaid: The state of rows without any, where it does not: the worst, in case it offers them elsewhere.
        kept: (m, K) rows, of metrics that keep any.
        answered: Rows that answered, and rows.
        statuses: Status -> rows; only scored rows count.
        n_samples: Scored rows of one seed, over all folds.
        route: How it answered.
    """

    states: dict[Key, State] = field(default_factory=dict)
    complete: dict[Key, State] = field(default_factory=dict)
    best: dict[Key, State] = field(default_factory=dict)
    strata: dict[str, dict[Key, State]] = field(default_factory=dict)
    probabilities: dict[Key, State] = field(default_factory=dict)
    unsaid: dict[Key, State] = field(default_factory=dict)
    kept: dict[Key, NDArray[np.float64]] = field(default_factory=dict)
    answered: dict[Key, tuple[int, int]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    n_samples: dict[int, int] = field(default_factory=dict)
    route: str = "native"

    def add(self, key: Key, metric: Metric, truth: Targets, rows: Predictions, missing: NDArray[np.str_]) -> None:
        """Take in the rows of one episode.

        Args:
            key: Whose they are.
            metric: Of the task in this fold.
            truth: Of the rows, all valid.
            rows: Row for row.
            missing: (n,) sensors that each row lacks.
        """
        state = self.states[key] = metric.state(truth, rows)
        if (kept := metric.kept(truth, rows)) is not None:
            self.kept[key] = kept
        ok = rows.ok
        self.answered[key] = (int(ok.sum()), len(ok))
        self.complete[key] = self.best[key] = state
        if not ok.all():
            self.best[key] = metric.best_case(truth, rows)
            there = np.flatnonzero(ok)
            del self.complete[key]
            if len(there):
                self.complete[key] = metric.state(truth.take(there), rows.take(there))
        for stratum in np.unique(missing).tolist():
            at = np.flatnonzero(missing == stratum)
            part = state if len(at) == len(missing) else metric.state(truth.take(at), rows.take(at))
            self.strata.setdefault(stratum, {})[key] = part
        for status, count in zip(*np.unique(rows.status, return_counts=True), strict=True):
            self.statuses[str(status)] = self.statuses.get(str(status), 0) + int(count)

    def add_probabilities(self, key: Key, truth: Targets, rows: Predictions, classes: tuple[str, ...], seen: BoolArray) -> None:
        """Take in what the rows say of the classes, or that they say nothing."""
        if truth.labels is not None or truth.label_sets is not None:
            offered = rows.probabilities is not None
            (self.probabilities if offered else self.unsaid)[key] = probability_state(truth, rows, classes, seen)


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
    for branch in dict.fromkeys(bundle.branch for bundle in bundles):
        _check_alike(held, [bundle for bundle in bundles if bundle.branch == branch])
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
    classes = classes_of(held)
    result = Evaluation(held, {}, {}, {task.id: TrainStatistics() for task in held.tasks}, tuple(bundles), unmet)
    _refuse_strangers(held, bundles)
    for fold in held.split.folds:
        statistics = train_statistics(held, fold)
        for task in held.tasks:
            context = metric_context(held, task, statistics[task.id], classes[task.id])
            result.metrics[task.id, fold.id] = metric_class(task.metric)(context)
        posed = [task.id for task in held.tasks]
        here = [bundle for bundle in bundles if bundle.fold == fold.id] + _absent(bundles, fold.id)
        parts = [(bundle, bundle.parts_by_episode()) for bundle in here]
        for episode in held.present(fold.test):
            answers = [(bundle, answers_of(bundle, found.get(file_stem(episode), []), posed)) for bundle, found in parts]
            _score_episode(result, fold, episode, answers, statistics)
    return result


def _check_alike(held: Held, bundles: Sequence[Bundle]) -> None:
    """Refuse a branch whose bundles are not one branch: what one of them says of itself would speak for the others.

    Raises:
        BadInput: Names the branch and what differs.
    """
    first = bundles[0]
    if not first.branch.strip() or first.branch == FLOOR:
        raise BadInput(f"bundle {first.folder}: {first.branch!r} is no name for a branch; give it another")
    if first.privileged and first.branch.rpartition("/")[2] not in PRIVILEGED:
        raise BadInput(
            f"bundle {first.folder}: {first.branch} says that it is privileged, which only {', '.join(PRIVILEGED)} are"
        )
    for bundle in bundles:
        if not 0 <= bundle.fold < len(held.split.folds):
            raise BadInput(f"bundle {bundle.folder}: there is no fold {bundle.fold}; the split has {len(held.split.folds)}")
        for name in ("family", "privileged", "imported", "routes"):
            if getattr(bundle, name) != getattr(first, name):
                raise BadInput(f"{first.branch} has another {name} in {bundle.folder} than in {first.folder}; name one of them")
        for name in ("weights", "fitted", "pretraining"):
            if bundle.card.get(name) != first.card.get(name):
                raise BadInput(f"the card of {first.branch} has other {name} in {bundle.folder} than in {first.folder}")


def _refuse_strangers(held: Held, bundles: Sequence[Bundle]) -> None:
    """Parts of episodes that the fold does not test would be dropped without a word."""
    for bundle in bundles:
        tested = {file_stem(episode): episode for episode in held.split.folds[bundle.fold].test}
        for stem, parts in bundle.parts_by_episode().items():
            if stem not in tested:
                raise BadInput(
                    f"{parts[0]}: answers an episode that fold {bundle.fold} of these targets does not test; remove it"
                )


def _absent(bundles: Sequence[Bundle], fold: int) -> list[Bundle]:
    """Stand-ins for branches and seeds that answer other folds and not this one: all their rows here are missing."""
    there = {(b.branch, b.seed) for b in bundles if b.fold == fold}
    others = {(b.branch, b.seed): b for b in bundles if (b.branch, b.seed) not in there}
    return [replace(b, fold=fold, folder=b.folder / "absent") for b in others.values()]


def _score_episode(
    result: Evaluation,
    fold: Fold,
    episode: str,
    answers: list[tuple[Bundle, Slices]],
    statistics: dict[str, TrainStatistics],
) -> None:
    held = result.held
    record = EpisodeRecord.from_file(held.file(episode))
    absent = sorted(set(held.sensors) - set(record.sensors)) if record.sensors else []
    for task, samples, targets in held.rows(episode):
        for bundle, found in answers:
            if task.id in bundle.routes:
                result.unmet[bundle.branch] += check_rows(bundle, task.id, found.get(task.id, ()), samples)
        keep = np.flatnonzero(fold.select("test", samples, record.n_reference, held.spec, task.reach(held.spec)) & targets.valid)
        if not len(keep):
            continue
        metric = result.metrics[task.id, fold.id]
        truth = on_classes(targets.take(keep), metric.context.classes)
        ids = samples.ids[keep]
        missing = _missing(truth, absent)
        result.test[task.id].add(truth)
        _add_floor(result, task, fold, episode, statistics[task.id], truth, ids)
        for bundle, found in answers:
            if task.id not in bundle.routes:
                continue
            rows = align(bundle, found.get(task.id), ids, samples.ids, task, truth, metric.context.classes)
            key = (fold.id, bundle.seed, episode)
            cell = result.cells.setdefault((bundle.branch, task.id), Cell())
            cell.add(key, metric, truth, rows, missing)
            cell.n_samples[bundle.seed] = cell.n_samples.get(bundle.seed, 0) + len(keep)
            cell.route = bundle.routes[task.id]
            cell.add_probabilities(key, truth, rows, tuple(bundle.classes.get(task.id, ())), metric.context.seen)


def _missing(truth: Targets, absent: Sequence[str]) -> NDArray[np.str_]:
    """(n,) the sensors that each row lacks: those of its recording that are not measured, and those it has not at all."""
    found = np.full(len(truth), "") if truth.lacking is None else truth.lacking
    if not absent:
        return found
    names = {text: "+".join(sorted({*filter(None, text.split("+")), *absent})) for text in np.unique(found).tolist()}
    return np.array([names[text] for text in found.tolist()])


def _add_floor(
    result: Evaluation,
    task: Task,
    fold: Fold,
    episode: str,
    statistics: TrainStatistics,
    truth: Targets,
    ids: NDArray[np.str_],
) -> None:
    """The evaluator's own floor, whether or not a branch wrote it; none where train says nothing of the task."""
    metric, key = result.metrics[task.id, fold.id], (fold.id, 0, episode)
    cell = result.cells.setdefault((FLOOR, task.id), Cell())
    cell.n_samples[0] = cell.n_samples.get(0, 0) + len(ids)
    closed = metric.chance(truth) if task.floor in ("chance", "fixed_answer") else None
    if closed is not None:
        cell.states[key] = closed
    elif statistics.rows or task.floor == "persistence":
        rows = floor_rows(task, statistics, truth, row_seeds(ids, 0))
        cell.states[key] = metric.state(truth, on_words(rows, metric.context.classes))
        cell.add_probabilities(key, truth, rows, rows.vocabulary, metric.context.seen)
