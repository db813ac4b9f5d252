"""A million predicted rows: how long scoring takes with all statistics, and how much memory.

    .venv/bin/python ops/bench/evaluate.py [--samples 5000] [--branches 10] [--episodes 50] [--folder DIR]

Writes simulated targets and bundles of the 20 published tasks in their published shapes (8,546 features: 5,096 numbers to
reconstruct, 1,260 hand coordinates, a query and a key per retrieval row), scores them in a process of its own, and prints the
wall time and the peak memory of that process. Beside it stands what one would do instead: scikit-learn's functions called per
episode and per jackknife fold; for both the rows are in memory, and the tasks are those whose metric the library has.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.align import align, answers_of, on_classes
from harness.answers import Predictions, Targets, all_ok
from harness.bundle import Bundle, find_bundles
from harness.compare import Side, compare
from harness.evaluate import evaluate
from harness.held import Held, classes_of, metric_context, train_statistics
from harness.leaderboard import build
from harness.ledger import record
from harness.metrics.base import Metric, metric_class
from harness.record import EpisodeRecord, file_stem
from harness.score import write_scores
from harness.splits import Fold, Split
from harness.stats import estimate
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task, task_ids
from harness.tasks.base import Task
from harness.window import Samples, WindowSpec

SPEC = WindowSpec()
TASKS = task_ids()[:20]
CLASSES = {"timeline_subtask": 120, "transition_detection": 2, "contact_prediction": 2, "temporal_order": 2}
CLASSES |= {"misalignment_detection": 2, "object_relevance": 34, "object_set_forecast": 34}
MANY_CLASSES = 189  # actions in the published test split
SHAPES = {"hand_trajectory_forecast": (10, 42, 3), "modality_reconstruction": (5096,), "imu_to_hand_pose": (882,)}
WIDTHS = {"caption_grounding": 896, "cross_modal_retrieval": 5096, "camera_view_sync_retrieval": 686}
IN_LIBRARY = [task for task in TASKS if task not in WIDTHS and task != "hand_trajectory_forecast"]
LEAST_TRAIN = 250  # rows of the training episode: every label occurs in it
BOUND_SECONDS, BOUND_GIB, BOUND_RATIO = 60.0, 2.0, 20.0


@dataclass(frozen=True)
class Size:
    """How much is scored."""

    samples: int
    branches: int
    episodes: int

    @property
    def names(self) -> list[str]:
        """Test episodes."""
        return [f"s{i}__ep0" for i in range(self.episodes)]

    @property
    def rows(self) -> int:
        """Predicted rows."""
        return self.samples // self.episodes * self.episodes * self.branches * len(TASKS)


def samples_of(task: Task, episode: str, n: int) -> Samples:
    """n samples of the task's kind."""
    views = {"window": 1}.get(task.samples, 2)
    starts = np.repeat(np.arange(n)[:, None] * SPEC.stride, views, axis=1)
    ids = np.array([f"{episode}#{task.samples[0]}{start}" for start in starts[:, 0]])
    return Samples(episode, task.samples, ids, starts, SPEC.length, (starts[:, -1] + SPEC.length - 1) / 20)


def words_of(task: Task) -> tuple[str, ...]:
    """The labels of a task."""
    return tuple(f"{task.id} {i}" for i in range(CLASSES.get(task.id, MANY_CLASSES)))


def truth(task: Task, n: int, rng: np.random.Generator) -> Targets:
    """Random targets in the task's shape."""
    valid, words = np.ones(n, bool), words_of(task)
    if task.answer == "label":
        # Every label occurs in train (the option lists are made of it): the first rows of every episode go through them.
        codes = np.concatenate([np.arange(len(words)), rng.integers(0, len(words), n)])[:n]
        return Targets(valid, labels=codes.astype(np.int32), vocabulary=words)
    if task.answer == "label_set":
        return Targets(valid, label_sets=rng.random((n, len(words))) < 0.15, vocabulary=words)
    if task.answer == "retrieval":
        return Targets(valid, item=np.arange(n, dtype=np.int32))
    values = rng.standard_normal((n, int(np.prod(SHAPES.get(task.id, (1,))))), np.float32)
    reference = np.zeros_like(values) if task.floor == "persistence" else None
    return Targets(valid, values=values, reference=reference)


def answer(task: Task, targets: Targets, rng: np.random.Generator) -> Predictions:
    """Answers that are right every other time, with probabilities where the answer is a label."""
    n, words = len(targets), words_of(task)
    ok = all_ok(n)
    if targets.labels is not None:
        labels = np.where(rng.random(n) < 0.5, targets.labels, rng.integers(0, len(words), n)).astype(np.int32)
        p = rng.random((n, len(words)), np.float32)
        return Predictions(ok, labels=labels, vocabulary=words, probabilities=p / p.sum(axis=1, keepdims=True))
    if targets.label_sets is not None:
        sets = targets.label_sets ^ (rng.random(targets.label_sets.shape) < 0.1)
        return Predictions(ok, label_sets=sets, vocabulary=words, probabilities=rng.random(sets.shape, np.float32))
    if targets.values is not None:
        return Predictions(ok, values=targets.values + rng.standard_normal(targets.values.shape, np.float32))
    key = rng.standard_normal((n, WIDTHS[task.id]), np.float32)
    return Predictions(ok, query=key + 3 * rng.standard_normal(key.shape, np.float32), key=key)


def write(folder: Path, size: Size) -> None:
    """Targets and bundles of a run."""
    tasks = [get_task(task) for task in TASKS]
    split = _split(size)
    split.save(folder / "split.json")
    bundles = [_bundle(folder, f"branch{i}", split, tasks) for i in range(size.branches)]
    for index, episode in enumerate([*size.names, "train"]):
        rng = np.random.default_rng(index)
        n = size.samples // size.episodes if episode != "train" else max(size.samples // size.episodes, LEAST_TRAIN)
        targets = {task.id: truth(task, n, rng) for task in tasks}
        shapes = {t.id: list(SHAPES.get(t.id, (1,))) for t in tasks if t.answer == "vector"}
        frames = n * SPEC.stride + SPEC.length
        record = EpisodeRecord(episode, "key", frames, {}, {}, {}, shapes, list(TASKS), list(TASKS))
        tables = [targets_table(task.id, samples_of(task, episode, n), targets[task.id]) for task in tasks]
        write_atomically(tables, folder / "targets" / f"{episode}.parquet", record.to_metadata())
        for bundle in bundles if episode != "train" else ():
            parts = [_part(task, episode, targets[task.id], rng) for task in tasks]
            write_atomically(parts, bundle.folder / f"part-{file_stem(episode)}-0000000.parquet")


def _part(task: Task, episode: str, targets: Targets, rng: np.random.Generator) -> pa.Table:
    samples = samples_of(task, episode, len(targets))
    rows = answer(task, targets, rng)
    return predictions_table(task.id, samples, Predictions(**{**vars(rows), "seen_until": samples.t0}), 0, 0, 0)


def _split(size: Size) -> Split:
    everyone = [*size.names, "train"]
    folds = (Fold(0, ("train",), (), tuple(sorted(size.names))),)
    return Split("explicit", "episode", {e: e for e in everyone}, dict.fromkeys(everyone), folds)


def _bundle(folder: Path, name: str, split: Split, tasks: list[Task]) -> Bundle:
    classes = {task.id: list(words_of(task)) for task in tasks if task.answer in ("label", "label_set")}
    routes = dict.fromkeys(TASKS, "native")
    where = folder / "bundles" / name / "fold=0" / "seed=0"
    where.mkdir(parents=True)
    made = Bundle(where, name, "test", 0, 0, split.hash, routes, {"weights": ["train"]}, classes)
    made.save()
    return made


def held_of(folder: Path, tasks: list[str] | None = None) -> Held:
    """What the folder holds."""
    return Held(folder / "targets", Split.load(folder / "split.json"), tuple(map(get_task, tasks or TASKS)), SPEC)


def score(folder: Path, tasks: list[str]) -> None:
    """Score all bundles of a folder and print seconds and peak memory; run in a process of its own."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    with threadpool_limits(1):
        began = time.perf_counter()
        evaluation = evaluate(held_of(folder, tasks), list(find_bundles(folder / "bundles")))
        states = time.perf_counter()
        board = build(evaluation, "mock")
    built = time.perf_counter()
    record(evaluation.held.split.test_hash, evaluation.bundles)
    write_scores(evaluation, folder / "scores.parquet")
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = sum(row["n_samples"] for row in board["rows"])
    found = {"seconds": done - began, "reading_s": states - began, "statistics_s": built - states, "ledger_s": done - built}
    print(json.dumps(found | {"peak_gib": peak, "rows": rows}))


def score_apart(folder: Path, tasks: list[str]) -> dict[str, float]:
    """`score` in its own process."""
    command = [sys.executable, __file__, "--score", str(folder), "--tasks", ",".join(tasks)]
    home = {"ESPALIER_HOME": str(folder / "home")}  # a ledger of its own
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **home})
    found: dict[str, float] = json.loads(done.stdout)
    return found


def against_library(folder: Path, names: list[str]) -> tuple[float, float]:
    """Seconds of ours and of scikit-learn for the same rows in memory: value of every episode, jackknife, all pairs.

    Ours also tests every pair and ranks; the library's side stops at standard errors.
    """
    held = held_of(folder, names)
    bundles = list(find_bundles(folder / "bundles"))
    statistics, classes = train_statistics(held, held.split.folds[0]), classes_of(held)
    ours = library = 0.0
    for task in held.tasks:
        metric = metric_class(task.metric)(metric_context(held, task, statistics[task.id], classes[task.id]))
        sides, folds = [], []
        for bundle in bundles:
            rows = list(_in_memory(held, bundle, task, metric))
            began = time.perf_counter()
            sides.append(Side(bundle.branch, np.stack([metric.state(truth, answers) for truth, answers in rows])))
            between = time.perf_counter()
            folds.append(_library_folds(*zip(*map(_plain, rows), strict=True)))
            ours, library = ours + between - began, library + time.perf_counter() - between
        began = time.perf_counter()
        for side in sides:
            estimate(metric, side.states)
        compare(metric, list(combinations(sides, 2)), margin=0.02)
        between = time.perf_counter()
        for one, other in combinations(folds, 2):
            np.std(np.subtract(one, other), ddof=1)
        ours, library = ours + between - began, library + time.perf_counter() - between
    return ours, library


def _library_folds(truths: tuple[NDArray, ...], answers: tuple[NDArray, ...]) -> list[float]:
    """Value without each episode, after that of every episode."""
    metric = _library(truths[0])
    for truth, answer in zip(truths, answers, strict=True):
        metric(truth, answer)
    every = range(len(truths))
    return [
        metric(np.concatenate([truths[i] for i in every if i != g]), np.concatenate([answers[i] for i in every if i != g]))
        for g in every
    ]


def _library(example: NDArray) -> Callable[[NDArray, NDArray], float]:
    from sklearn.metrics import f1_score, mean_absolute_error, r2_score  # noqa: PLC0415

    if example.dtype == bool:
        return lambda t, a: float(f1_score(t, a, average="micro", zero_division=0))
    if example.ndim == 1:
        return lambda t, a: float(f1_score(t, a, labels=np.unique(t), average="macro", zero_division=0))
    if example.shape[1] == SHAPES["modality_reconstruction"][0]:
        return lambda t, a: float(r2_score(t, a, multioutput="variance_weighted"))
    return lambda t, a: float(mean_absolute_error(t, a))


def _in_memory(held: Held, bundle: Bundle, task: Task, metric: Metric) -> Iterator[tuple[Targets, Predictions]]:
    """Truth and answers of every episode, without probabilities, for which the library's side has no counterpart."""
    parts = bundle.parts_by_episode()
    for episode in held.split.folds[0].test:
        for _, samples, targets in held.rows(episode, [task]):
            found = answers_of(bundle, parts[file_stem(episode)], [task.id])[task.id]
            truth = on_classes(targets, metric.context.classes)
            rows = align(bundle, found, samples.ids, samples.ids, task, truth, metric.context.classes)
            yield truth, replace(rows, probabilities=None)


def _plain(pair: tuple[Targets, Predictions]) -> tuple[NDArray, NDArray]:
    """The arrays that the library takes; both sides' codes are over the same words."""
    truth, rows = pair
    for name in ("labels", "label_sets", "values"):
        if getattr(truth, name) is not None:
            return getattr(truth, name), getattr(rows, name)
    raise TypeError("no array that the library knows")


def report(folder: Path, size: Size) -> Iterator[str]:
    """Measure, line by line."""
    on_disk = sum(path.stat().st_size for path in (folder / "bundles").rglob("*.parquet")) / 2**30
    all_tasks = score_apart(folder, TASKS)
    yield f"{size.rows:,} rows, {size.branches} branches x {len(TASKS)} tasks, G = {size.episodes}, {on_disk:.1f} GiB of bundles"
    yield (
        f"scored with all statistics in {all_tasks['seconds']:.1f} s (bound {BOUND_SECONDS:.0f}): reading and states "
        f"{all_tasks['reading_s']:.1f} s, statistics {all_tasks['statistics_s']:.1f} s, ledger (digest of all) and table of "
        f"scores {all_tasks['ledger_s']:.1f} s; peak {all_tasks['peak_gib']:.2f} GiB (bound {BOUND_GIB:.0f})"
    )
    ours, library = against_library(folder, IN_LIBRARY)
    yield (
        f"{len(IN_LIBRARY)} tasks whose metric scikit-learn has, rows in memory: {ours:.2f} s with intervals and tests of all "
        f"pairs; scikit-learn per episode and fold {library:.1f} s, without tests; {library / ours:.1f} x "
        f"(bound {BOUND_RATIO:.0f})"
    )


def main() -> None:
    """Write, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--branches", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--folder", type=Path, help="Where to write; kept. Default: a temporary folder.")
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", default=",".join(TASKS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.score:
        score(asked.score, asked.tasks.split(","))
        return
    size = Size(asked.samples, asked.branches, asked.episodes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        if not (folder / "split.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, size)
        for line in report(folder, size):
            print(line, flush=True)


if __name__ == "__main__":
    main()
