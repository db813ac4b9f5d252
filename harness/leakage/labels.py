"""The label canary: a branch that was fitted on shuffled labels knows nothing, and must fall to the floor.

What still tells the test labels then reads them from somewhere. It goes the way of any run: the targets of the training episodes
are shuffled on disk, the branch is fitted and predicts, and the evaluator scores it against the true targets of the test.

Windows follow each other slowly, so answers that know nothing may still be right more often than by chance. Hence the bar is not
the floor alone, but also the best that the very same answers reach at other moments of the same episodes, and a margin for luck.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.bundle import Bundle, find_bundles
from harness.errors import BadInput
from harness.evaluate import FLOOR, evaluate
from harness.held import Held
from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.record import EpisodeRecord
from harness.run import write_bundle
from harness.tables import by_task, write_atomically

KEPT = ("task", "sample", "episode", "t0", "starts", "lacking")  # of a target's row; everything else is its truth
MOMENTS = 12  # other moments at which the same answers are scored
LUCK = 3.0  # standard deviations over these moments that luck may add
LABELS = ("label", "label_set")


@dataclass(frozen=True)
class Fall:
    """How a branch did on one task after its training labels were shuffled, once for every shuffle.

    Attributes:
        branch: Branch id.
        task: Task id.
        direction: `up` or `down` of the metric.
        values: What it reached.
        bars: What it must not beat: the floor, the best of its answers at other moments, or luck above their mean.
    """

    branch: str
    task: str
    direction: str
    values: tuple[float, ...]
    bars: tuple[float, ...]

    @property
    def fell(self) -> bool:
        """False where it beat the bar after every shuffle: once in a while luck does."""
        sign = 1 if self.direction == "up" else -1
        return any(sign * value <= sign * bar for value, bar in zip(self.values, self.bars, strict=True))

    def __str__(self) -> str:
        reached, bars = (", ".join(f"{number:.3f}" for number in numbers) for numbers in (self.values, self.bars))
        verb = "fell" if self.fell else "did not fall: it reads the answer from somewhere"
        return f"{self.branch} on {self.task}, fitted on shuffled labels, reached {reached} (bar {bars}) and {verb}"


def label_canary(plan: Plan, job: FitJob, folder: Path, shuffles: int = 2) -> list[Fall]:
    """Fit a branch on shuffled labels, as often as asked for, and see whether it falls.

    Args:
        plan: A run whose episodes are ingested.
        job: Branch, fold and seed.
        folder: Empty; a run folder is made here for every shuffle.
        shuffles: How often. A branch is caught where it never falls.

    Returns:
        One entry per label task that the branch answers and the test poses.

    Raises:
        BadInput: The fold trains and tests on the same episodes.
    """
    fold = plan.split.folds[job.fold]
    if fold.borders is not None:
        raise BadInput(f"split {plan.split.kind}: the label canary needs episodes that only train")
    found: dict[str, list[tuple[float, float]]] = {}
    directions: dict[str, str] = {}
    for shuffle in range(shuffles):
        mine = replace(plan, out=folder / str(shuffle), part_of=None)
        rng = np.random.default_rng([job.seed, shuffle])
        _link_tests(plan, mine, fold.test)
        for role in (fold.train, fold.validation):
            _shuffled(plan, mine, [e for e in role if plan.targets_file(e).is_file()], rng)
        fit_branch(mine, job)
        actor = Actor(mine)
        write_bundle(mine, job)
        for block in blocks_of(mine, actor.bench, job.branch, job.fold, job.seed):
            actor.run(block)
        [bundle] = find_bundles(mine.out / "bundles")
        for task, (direction, value, bar) in _scores(mine, bundle, job.fold).items():
            found.setdefault(task, []).append((value, bar))
            directions[task] = direction
    return [
        Fall(job.branch, task, directions[task], tuple(v for v, _ in pairs), tuple(b for _, b in pairs))
        for task, pairs in found.items()
    ]


def _scores(plan: Plan, bundle: Bundle, fold: int) -> dict[str, tuple[str, float, float]]:
    """Task -> direction, value, bar."""
    tasks = tuple(task for task in map(plan.task, plan.tasks) if task.answer in LABELS and task.id in bundle.routes)
    split = replace(plan.split, kind="inner", folds=tuple(f for f in plan.split.folds if f.id == fold))
    bundle = replace(bundle, split=split.hash)
    values: dict[str, list[float]] = {}
    floors: dict[str, float] = {}
    directions: dict[str, str] = {}
    for moment in range(MOMENTS + 1):
        targets = plan.out / "targets"
        if moment:
            targets = plan.out / "moments" / str(moment) / "targets"
            _moved(plan, targets, split.folds[0].test, split.folds[0].train, moment)
        result = evaluate(Held(targets, split, tasks, plan.spec), [bundle])
        for task in tasks:
            cell, metric = result.cells.get((bundle.branch, task.id)), result.metrics[task.id, fold]
            if cell is None or not cell.states:
                continue
            values.setdefault(task.id, []).append(float(metric.value(np.sum(list(cell.states.values()), axis=0))))
            directions[task.id] = metric.direction
            if not moment:
                floor = result.cells[FLOOR, task.id].states
                floors[task.id] = float(metric.value(np.sum(list(floor.values()), axis=0))) if floor else np.nan
    found = {}
    for task_id, reached in values.items():
        sign = 1 if directions[task_id] == "up" else -1
        others = sign * np.array(reached[1:])
        luck = np.nanmean(others) + LUCK * np.nanstd(others)
        found[task_id] = directions[task_id], reached[0], float(sign * np.nanmax([*others, luck, sign * floors[task_id]]))
    return found


def _link_tests(plan: Plan, mine: Plan, episodes: Sequence[str]) -> None:
    for episode in episodes:
        source, place = plan.targets_file(episode), mine.targets_file(episode)
        if source.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.symlink(source.resolve(), place)


def _shuffled(plan: Plan, mine: Plan, episodes: Sequence[str], rng: np.random.Generator) -> None:
    """The targets of some episodes with the truth of all their rows of a task in another order."""
    rows: dict[str, list[tuple[str, pa.Table]]] = {}
    for episode in episodes:
        for task, table in by_task(plan.targets_file(episode), plan.tasks):
            rows.setdefault(task, []).append((episode, table))
    changed: dict[str, list[pa.Table]] = {episode: [] for episode in episodes}
    for parts in rows.values():
        together = pa.concat_tables([table for _, table in parts]).unify_dictionaries().combine_chunks()
        order, at = rng.permutation(together.num_rows), 0
        for episode, table in parts:
            changed[episode].append(_with_truth(table, together.take(order[at : at + table.num_rows])))
            at += table.num_rows
    for episode, tables in changed.items():
        record = EpisodeRecord.from_file(plan.targets_file(episode))
        write_atomically(tables or [pa.Table.from_batches([])], mine.targets_file(episode), record.to_metadata())


def _moved(plan: Plan, targets: Path, test: Sequence[str], train: Sequence[str], moment: int) -> None:
    """Targets whose test rows tell the truth of another moment: later ones, round the episode; pairs in another order."""
    held = Held(targets, plan.split, (), plan.spec)
    targets.mkdir(parents=True)
    for episode in train:
        if plan.targets_file(episode).is_file():
            os.symlink(plan.targets_file(episode).resolve(), held.file(episode))
    for episode in test:
        path = plan.targets_file(episode)
        if path.is_file():
            tables = [_with_truth(t, t.take(_moment(plan, task, t.num_rows, moment))) for task, t in by_task(path, plan.tasks)]
            write_atomically(tables, held.file(episode), EpisodeRecord.from_file(path).to_metadata())


def _moment(plan: Plan, task: str, rows: int, moment: int) -> NDArray[np.int64]:
    """(rows,) whose truth each row is given."""
    if plan.task(task).samples != "window":
        return np.random.default_rng(moment).permutation(rows)
    return (np.arange(rows) + round(rows * moment / (MOMENTS + 1))) % max(rows, 1)


def _with_truth(table: pa.Table, other: pa.Table) -> pa.Table:
    """The rows of a table with the truth of the rows of another."""
    columns = [table.column(name) if name in KEPT else other.column(name) for name in table.column_names]
    return pa.Table.from_arrays([column.combine_chunks() for column in columns], schema=table.schema)
