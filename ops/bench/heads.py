"""How long the heads take on one episode of published size, beside the published loops written plainly; both scores in one run.

1,161 windows x 8,546 features in the published blocks, the 20 published tasks with their columns and targets, a chronological
70 / 30 split. The numbers are a seeded simulation, for the real matrix is not public. One episode decides little, so scores are
means over several. For tasks 1-12 and then for 13-20 ours and the plain loops run in turns, so that a busy machine slows both.

`minimal`: our heads, once with the published penalties and numbers of gradient steps and once with penalties chosen on train,
beside full-batch gradient steps in NumPy. `mlp`: our networks beside a minibatch loop in PyTorch, 80 epochs (tasks 1-12) or 25.

    python ops/bench/heads.py [--tasks a,b] [--heads minimal,mlp] [--repeats 3] [--quick] [--threads 2]
"""

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import heads_plain as plain
import numpy as np
import torch
from heads_simulation import BLOCKS, BenchTask, simulate
from numpy.typing import NDArray
from scipy.stats import binom
from scipy.stats import t as student_t
from threadpoolctl import threadpool_limits

from branches.heads.adapter import MLP, Ridge
from branches.heads.heads import HeadPredictor
from harness.branch import Artifact, Branch, EpisodeBatch, FitContext, Needs
from harness.tasks.base import Task
from harness.window import FeatureMatrix, ObservedBatch, Samples, View, row_seeds

TRAIN_SHARE = 0.7
LEVEL = 0.05
SAME = 1e-4  # scores this close (relative) differ by the rounding of the plain loops' float32
LONGEST_S = {"minimal": 20.0, "mlp": 150.0}
COLUMNS = {"minimal": ["published", "chosen"], "mlp": ["published"]}
Role = Literal["", "query", "key"]


class Spent:
    """Seconds of the clock and of the processor, of a `with` block or summed."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> "Spent":
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def __iadd__(self, other: "Spent") -> "Spent":
        self.wall += other.wall
        self.cpu += other.cpu
        return self


@dataclass
class Run:
    """What one episode gave.

    Attributes:
        spent: `plain` and each of our columns -> time for all tasks.
        scores: Task -> score of plain and of each column.
        metrics: Task -> metric.
    """

    spent: dict[str, Spent]
    scores: dict[str, list[float]] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)


@dataclass
class Matrix:
    """One part of the one episode as a `TrainingSet`: the first 70 % of a task's samples, or the rest."""

    x: dict[str, NDArray[np.float32]]
    part: Literal["train", "test", "none"]

    @property
    def episodes(self) -> tuple[str, ...]:
        """The one episode."""
        return () if self.part == "none" else ("sample",)

    def rows(self, task: BenchTask) -> NDArray[np.int64]:
        """Samples of this part, in order; the two orders of a pair stay together."""
        cut = 2 * round(TRAIN_SHARE * len(task.starts) / 2)
        return np.arange(cut) if self.part == "train" else np.arange(cut, len(task.starts))

    def columns(self, task: BenchTask, view: int) -> list[str]:
        """Blocks of a view."""
        return [b for b in BLOCKS if task.views[min(view, len(task.views) - 1)].allows((b,))]

    def view(self, task: BenchTask, view: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) features of one view."""
        windows = task.starts[rows, min(view, task.starts.shape[1] - 1)]
        return np.concatenate([self.x[b][windows] for b in self.columns(task, view)], axis=1)

    def batches(self, task: Task, needs: Needs, role: Role = "") -> Iterator[EpisodeBatch]:
        """See `harness.branch.TrainingSet`; the roles of a retrieval task are its two views."""
        assert isinstance(task, BenchTask)
        if self.part == "none":
            return
        rows = self.rows(task)
        shown = [int(role == "key")] if role else list(range(task.starts.shape[1]))
        features = [self._matrix(task, v) if needs.features else None for v in shown]
        ids = np.array([f"{task.id}{i}" for i in rows])
        samples = Samples("sample", task.samples, ids, task.starts[rows], 1, task.starts[rows].max(axis=1) / 4.0)
        views = tuple(View(np.zeros((len(rows), 1)), features=f) for f in features)
        observed = ObservedBatch(task.id, views, row_seeds(ids, 0), role)
        yield EpisodeBatch("sample", "sample", samples, observed, task.truth.take(rows))

    def _matrix(self, task: BenchTask, view: int) -> FeatureMatrix:
        blocks = self.columns(task, view)
        edges = np.cumsum([0, *(BLOCKS[b] for b in blocks)]).tolist()
        where = {b: slice(edges[i], edges[i + 1]) for i, b in enumerate(blocks)}
        values = self.view(task, view, self.rows(task))
        return FeatureMatrix(values, np.ones((len(values), len(blocks)), bool), where)


def ours(branch: Branch, tasks: list[BenchTask], x: dict[str, NDArray], threads: int) -> tuple[Spent, dict[str, Any]]:
    """What it cost to fit and predict some tasks, and the answers."""
    train, test, none = Matrix(x, "train"), Matrix(x, "test"), Matrix(x, "none")
    answers = {}
    with tempfile.TemporaryDirectory() as folder, Spent() as spent:
        out = Path(folder)
        branch.fit(train, none, FitContext(tuple(tasks), 7, out, threads)).save()
        Artifact.load(out)
        predictor = HeadPredictor(out, {task.id: task for task in tasks}.__getitem__)
        for task in tasks:
            roles: tuple[Role, ...] = ("query", "key") if task.answer == "retrieval" else ("",)
            found = [predictor.predict(next(test.batches(task, branch.needs(task), r)).observed) for r in roles]
            answers[task.id] = plain.in_words(task, found, task.truth.valid[test.rows(task)])
    return spent, answers


def theirs(kind: str, task: BenchTask, x: dict[str, NDArray], quick: bool) -> tuple[Spent, Any]:
    """What the plain loop cost on one task, and its answer."""
    parts = {part: Matrix(x, part) for part in ("train", "test")}  # type: ignore[arg-type]
    with Spent() as spent:
        rows = {part: m.rows(task)[task.truth.valid[m.rows(task)]] for part, m in parts.items()}
        count = max(len(task.views), task.starts.shape[1])
        views = {part: [m.view(task, v, rows[part]) for v in range(count)] for part, m in parts.items()}
        truth = {part: task.truth.take(index) for part, index in rows.items()}
        solve = plain.minimal if kind == "minimal" else plain.network
        answer = solve(task, views, truth, task.quick_epochs if quick else task.epochs)
    return spent, answer


def main() -> None:
    """Run the benchmark and print a table per kind of head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="", help="comma-separated; all where empty")
    parser.add_argument("--heads", default="minimal,mlp")
    parser.add_argument("--quick", action="store_true", help="a tenth of the epochs: to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="simulated episodes")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    args = parser.parse_args()
    logging.getLogger("ray").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    kept = True
    with threadpool_limits(args.threads):
        for kind in args.heads.split(","):
            runs = [measure(kind, args.seed + i, args) for i in range(args.repeats)]
            kept &= report(kind, runs, args.threads)
    sys.exit(0 if kept else 1)


def measure(kind: str, seed: int, args: argparse.Namespace) -> Run:
    """Fit and score one kind of head on one episode: ours and the plain loops in turns."""
    x, tasks = simulate(seed)
    groups: dict[int, list[BenchTask]] = {}  # tasks 1-12 and 13-20 have their own numbers of steps and epochs
    for task in tasks:
        if not args.tasks or task.id in args.tasks.split(","):
            groups.setdefault(task.epochs, []).append(task)
    run = Run({name: Spent() for name in ("plain", *COLUMNS[kind])})
    for group in groups.values():
        branches: list[Branch] = [MLP({"fixed_epochs": group[0].quick_epochs if args.quick else group[0].epochs})]
        if kind == "minimal":
            # No rank is cut: the published heads see every column.
            published = {"penalty": 10.0, "logistic_penalty": 2e-3, "logistic_steps": group[0].steps, "cross_prediction": False}
            branches = [Ridge({**published, "max_rank": 8704, "key_dims": 8704}), Ridge()]
        answers: dict[str, dict[str, Any]] = {}
        for name, branch in zip(COLUMNS[kind], branches, strict=True):
            spent, answers[name] = ours(branch, group, x, args.threads)
            run.spent[name] += spent
        for task in group:
            spent, baseline = theirs(kind, task, x, args.quick)
            run.spent["plain"] += spent
            rows = Matrix(x, "test").rows(task)
            truth = task.truth.take(rows[task.truth.valid[rows]])
            every = [baseline, *(answers[name][task.id] for name in COLUMNS[kind])]
            run.scores[task.id] = [plain.score(task, answer, truth) for answer in every]
            run.metrics[task.id] = task.score
            print(f"  {kind}, episode {seed}: {task.id} {np.round(run.scores[task.id], 4).tolist()}", file=sys.stderr, flush=True)
    return run


def report(kind: str, runs: list[Run], threads: int) -> bool:
    """Mean scores, paired differences with their standard errors, and times of one episode; True where every bound is kept."""
    columns = COLUMNS[kind]
    print(f"\n{kind} heads, {threads} threads, {len(runs)} episodes; in brackets: less plain +- standard error over episodes")
    print(f"{'task':28}{'metric':>10}{'plain':>10}" + "".join(f"{c:>30}" for c in columns))
    worse: dict[str, list[str]] = {name: [] for name in columns}
    p_values: dict[str, list[float]] = {name: [] for name in columns}
    for task, metric in runs[0].metrics.items():
        values = np.array([run.scores[task] for run in runs])
        line = f"{task:28}{metric:>10}{values[:, 0].mean():10.4f}"
        for i, name in enumerate(columns):
            difference = values[:, i + 1] - values[:, 0]
            difference[np.abs(difference) < SAME * np.abs(values[:, 0])] = 0.0
            error = difference.std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
            line += f"{values[:, i + 1].mean():12.4f} ({difference.mean():+7.3f} +-{error:6.3f})"
            if difference.mean() < -2 * error:
                worse[name].append(task)
            p_values[name].append(float(student_t.cdf(difference.mean() / error, len(runs) - 1)) if error > 0 else 1.0)
        print(line)
    for what in ("wall", "cpu"):
        seconds = {name: np.mean([getattr(run.spent[name], what) for run in runs]) for name in ("plain", *columns)}
        print(
            f"{what + ' seconds, all tasks':38}{seconds['plain']:10.1f}" + "".join(f"{seconds[c]:12.1f}{'':18}" for c in columns)
        )
        print(f"{'times faster than plain':48}" + "".join(f"{seconds['plain'] / seconds[c]:12.1f}{'':18}" for c in columns))
    seconds = {name: float(np.mean([run.spent[name].wall for run in runs])) for name in ("plain", *columns)}
    for name in columns:
        print(f"{name}: worse than plain by more than two standard errors: {', '.join(worse[name]) or 'none'}")
    print(f"peak memory of this process so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    name = columns[0]
    bounds = {f"{name}: under {LONGEST_S[kind]:g} s": seconds[name] < LONGEST_S[kind]}
    if kind == "mlp":
        bounds[f"{name}: at least 2 x faster than plain"] = seconds["plain"] >= 2 * seconds[name]
    if len(runs) > 1:
        bounds |= {f"{name}: {bound}": found for bound, found in no_worse(p_values[name], len(worse[name]), len(runs)).items()}
    for bound, found in bounds.items():
        print(f"{'kept  ' if found else 'MISSED'} {bound}")
    return all(bounds.values())


def no_worse(p_values: list[float], flagged: int, episodes: int) -> dict[str, bool]:
    """The two ways in which scores can be worse: in one task for sure, or in more tasks than chance has an explanation for.

    Args:
        p_values: One-sided, of every task.
        flagged: Tasks that are worse by more than two standard errors.
        episodes: Behind every standard error.
    """
    chance = float(student_t.cdf(-2, episodes - 1))
    many = float(binom.sf(flagged - 1, len(p_values), chance))
    surest = min(1.0, min(p_values) * len(p_values))
    return {
        f"no task is worse (t test, Holm over {len(p_values)} tasks: p {surest:.2f})": surest > LEVEL,
        f"{flagged} tasks below two standard errors, {chance * len(p_values):.1f} by chance (p {many:.2f})": many > LEVEL,
    }


if __name__ == "__main__":
    main()
