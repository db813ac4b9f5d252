"""A million predicted rows: how long scoring takes with all statistics, and how much memory.

    .venv/bin/python ops/bench/evaluate.py [--samples 5000] [--branches 10] [--episodes 20] [--folder DIR]

Writes simulated targets and bundles of the 20 published tasks in their published shapes (8,546 features: 5,096 numbers to
reconstruct, 1,260 hand coordinates, a query and a key per retrieval row), scores them in a process of its own, and prints the
wall time and the peak memory of that process. Beside it stands what one would do instead: scikit-learn's functions called per
episode and per jackknife fold, on arrays that are in memory already, for a task of every kind; the ratio is for the same rows.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.align import answers_of
from harness.answers import Predictions, Targets, all_ok
from harness.bundle import Bundle, find_bundles
from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.record import EpisodeRecord, file_stem
from harness.splits import Fold, Split
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
INSTEAD = ("timeline_action", "object_relevance", "imu_to_hand_pose", "temporal_order")
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
    tasks, n = [get_task(task) for task in TASKS], size.samples // size.episodes
    split = _split(size)
    split.save(folder / "split.json")
    bundles = [_bundle(folder, f"branch{i}", split, tasks) for i in range(size.branches)]
    for index, episode in enumerate([*size.names, "train"]):
        rng = np.random.default_rng(index)
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
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = sum(row["n_samples"] for row in board["rows"])
    found = {"seconds": done - began, "reading_s": states - began, "statistics_s": done - states, "peak_gib": peak, "rows": rows}
    print(json.dumps(found))


def score_apart(folder: Path, tasks: list[str]) -> dict[str, float]:
    """`score` in its own process."""
    command = [sys.executable, __file__, "--score", str(folder), "--tasks", ",".join(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def instead(folder: Path, size: Size) -> float:
    """Seconds for scikit-learn per episode and per jackknife fold on rows in memory, and paired differences of all pairs."""
    held, seconds = held_of(folder, list(INSTEAD)), 0.0
    bundles = list(find_bundles(folder / "bundles"))
    for task_id in INSTEAD:
        pairs = [_in_memory(held, bundle, task_id) for bundle in bundles]
        began = time.perf_counter()
        tables = []
        for truths, answers in pairs:
            metric = _library(task_id, truths[0])
            per_episode = [metric(t, a) for t, a in zip(truths, answers, strict=True)]
            folds = [np.arange(size.episodes) != g for g in range(size.episodes)]
            left_out = [
                metric(
                    np.concatenate([t for t, k in zip(truths, keep, strict=True) if k]),
                    np.concatenate([a for a, k in zip(answers, keep, strict=True) if k]),
                )
                for keep in folds
            ]
            tables.append((per_episode, left_out))
        for i in range(len(tables)):
            for j in range(i):
                np.std(np.subtract(tables[i][1], tables[j][1]), ddof=1)
        seconds += time.perf_counter() - began
    return seconds


def _library(task_id: str, example: NDArray) -> Callable[[NDArray, NDArray], float]:
    from sklearn.metrics import f1_score, mean_absolute_error  # noqa: PLC0415

    if example.dtype == bool:
        return lambda t, a: float(f1_score(t, a, average="micro", zero_division=0))
    if example.ndim == 1:
        return lambda t, a: float(f1_score(t, a, labels=np.unique(t), average="macro", zero_division=0))
    return lambda t, a: float(mean_absolute_error(t, a))


def _in_memory(held: Held, bundle: Bundle, task_id: str) -> tuple[list[NDArray], list[NDArray]]:
    truths, answers = [], []
    parts = bundle.parts_by_episode()
    for episode in held.split.folds[0].test:
        for task, _, targets in held.rows(episode, [get_task(task_id)]):
            [(_, rows)] = answers_of(bundle, parts[file_stem(episode)], [task.id])[task.id]
            truths.append(_one(targets.labels, targets.label_sets, targets.values, targets.vocabulary))
            answers.append(_one(rows.labels, rows.label_sets, rows.values, rows.vocabulary))
    return truths, answers


def _one(labels: NDArray | None, sets: NDArray | None, values: NDArray | None, words: tuple[str, ...]) -> NDArray:
    if labels is not None:
        return np.array([int(word.rsplit(" ", 1)[1]) for word in words])[labels]
    if sets is not None:
        order = np.argsort([int(word.rsplit(" ", 1)[1]) for word in words])
        return np.asarray(sets[:, order])
    assert values is not None, "a vector task"
    return values


def report(folder: Path, size: Size) -> Iterator[str]:
    """Measure, line by line."""
    on_disk = sum(path.stat().st_size for path in (folder / "bundles").rglob("*.parquet")) / 2**30
    all_tasks = score_apart(folder, TASKS)
    yield f"{size.rows:,} rows, {size.branches} branches x {len(TASKS)} tasks, G = {size.episodes}, {on_disk:.1f} GiB of bundles"
    yield (
        f"scored with all statistics in {all_tasks['seconds']:.1f} s (bound {BOUND_SECONDS:.0f}), of which reading and states "
        f"{all_tasks['reading_s']:.1f} s and statistics {all_tasks['statistics_s']:.1f} s; peak {all_tasks['peak_gib']:.2f} GiB "
        f"(bound {BOUND_GIB:.0f})"
    )
    ours, library = score_apart(folder, list(INSTEAD)), instead(folder, size)
    yield (
        f"{', '.join(INSTEAD)}: {ours['seconds']:.2f} s from disk with tests and intervals; scikit-learn per episode and fold, "
        f"rows in memory, without tests: {library:.1f} s; {library / ours['seconds']:.1f} x (bound {BOUND_RATIO:.0f})"
    )


def main() -> None:
    """Write, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--branches", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=20)
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
