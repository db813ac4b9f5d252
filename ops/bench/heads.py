"""How long the heads take on one episode of published size, beside the published loops written plainly; both scores in one run.

1,161 windows x 8,546 features in the published blocks, the 20 published tasks with their columns and targets, a chronological
70 / 30 split. The numbers are a seeded simulation: the real matrix is not public. For every set of tasks that share inputs ours
and the plain loops run in turns, so that a busy machine slows both. `minimal`: our closed forms, once with the published
penalties and once with penalties chosen on train, beside full-batch gradient steps in NumPy. `mlp`: our networks
beside a minibatch
loop in PyTorch, both 80 epochs (tasks 1-12) or 25.

    python ops/bench/heads.py [--tasks a,b] [--heads minimal,mlp] [--quick] [--threads 2]
"""

import argparse
import logging
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import heads_plain as plain
import numpy as np
import torch
from heads_simulation import BLOCKS, BenchTask, simulate
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from branches.heads.adapter import MLP, Ridge
from branches.heads.heads import HeadPredictor
from harness.branch import Artifact, Branch, EpisodeBatch, FitContext, Needs
from harness.tasks.base import Task
from harness.window import FeatureMatrix, ObservedBatch, Samples, View, row_seeds

TRAIN_SHARE = 0.7
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
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="", help="comma-separated; all where empty")
    parser.add_argument("--heads", default="minimal,mlp")
    parser.add_argument("--quick", action="store_true", help="a tenth of the epochs: to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7, help="of the simulation")
    args = parser.parse_args()
    logging.getLogger("ray").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    x, tasks = simulate(args.seed)
    chosen = [t for t in tasks if not args.tasks or t.id in args.tasks.split(",")]
    with threadpool_limits(args.threads):
        for kind in args.heads.split(","):
            report(kind, chosen, x, args)


def report(kind: str, tasks: list[BenchTask], x: dict[str, NDArray], args: argparse.Namespace) -> None:
    """Time one kind of head, input set by input set, and print a table."""
    sets: dict[Any, list[BenchTask]] = {}
    for task in tasks:
        alone = task.id if task.answer == "retrieval" else ""
        sets.setdefault((task.samples, task.views, alone, task.epochs if kind == "mlp" else 0), []).append(task)
    columns = ["published", "chosen"] if kind == "minimal" else ["published"]
    total = {name: Spent() for name in ("plain", *columns)}
    worse: dict[str, list[str]] = {name: [] for name in columns}
    print(f"\n{kind} heads, {args.threads} threads; difference to plain +- its standard error over ten blocks of test rows")
    print(f"{'task':28}{'metric':>10}{'plain':>10}" + "".join(f"{c:>28}" for c in columns))
    for group in sets.values():
        epochs = group[0].quick_epochs if args.quick else group[0].epochs
        branches: list[Branch] = [MLP({"fixed_epochs": epochs})]
        if kind == "minimal":
            branches = [Ridge({"penalty": 10.0, "logistic_penalty": 2e-3, "cross_prediction": False}), Ridge()]
        answers: dict[str, dict[str, Any]] = {}
        for name, branch in zip(columns, branches, strict=True):
            spent, answers[name] = ours(branch, group, x, args.threads)
            total[name] += spent
        for task in group:
            spent, baseline = theirs(kind, task, x, args.quick)
            total["plain"] += spent
            rows = Matrix(x, "test").rows(task)
            truth = task.truth.take(rows[task.truth.valid[rows]])
            line = f"{task.id:28}{task.score:>10}{plain.score(task, baseline, truth):10.4f}"
            for name in columns:
                difference, error = plain.compare(task, answers[name][task.id], baseline, truth)
                line += f"{plain.score(task, answers[name][task.id], truth):12.4f} {difference:+8.3f}+-{error:5.3f}"
                if difference < -2 * error:
                    worse[name].append(task.id)
            print(line, flush=True)
    print(f"{'seconds, all tasks':38}{total['plain'].wall:9.1f}" + "".join(f"{total[c].wall:28.1f}" for c in columns))
    print(f"{'processor seconds':38}{total['plain'].cpu:9.1f}" + "".join(f"{total[c].cpu:28.1f}" for c in columns))
    print(f"{'times faster':38}{'':9}" + "".join(f"{total['plain'].wall / total[c].wall:28.1f}" for c in columns))
    for name in columns:
        print(f"{name}: worse than plain by more than two standard errors: {', '.join(worse[name]) or 'none'}")
    print(f"peak memory of this process so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
