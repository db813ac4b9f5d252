"""How long the heads take on one published-size episode, beside the published loops written plainly; both scores in one run.

1,161 windows x 8,546 features with the published blocks, the 20 published tasks with their columns and targets, a chronological
70 / 30 split, made from a seeded simulation (the real matrix is not public). For every set of tasks that share inputs our heads
run first, then the plain loops, in turns, so that a busy machine slows both. `minimal` compares the closed forms with 400 full-batch
gradient steps, under the published penalties; `mlp` compares our networks with a minibatch loop, 80 epochs (tasks 1-12) or 25.

    python ops/bench/heads.py [--tasks a,b] [--heads minimal,mlp] [--quick] [--threads 2]
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from branches.heads.adapter import MLP, Ridge
from branches.heads.heads import HeadPredictor
from harness.answers import Predictions, Targets
from harness.branch import Artifact, Branch, EpisodeBatch, FitContext, Needs
from harness.episode import Episode
from harness.tasks.base import Task, ViewSpec
from harness.window import FeatureMatrix, ObservedBatch, Samples, View, WindowSpec, row_seeds

N, TRAIN_SHARE, SHIFT, FUTURE = 1161, 0.7, 8, 20
CAMERAS = ["video_fisheye_cam0", "video_fisheye_cam1", "video_fisheye_cam2", "video_fisheye_cam3", "video_left", "video_right"]
BLOCKS = {"hand_left": 441, "hand_right": 441, "body": 1092, "contacts": 147, "translation": 21, "rotation": 63, "imu": 42}
BLOCKS |= {"depth": 980} | dict.fromkeys(CAMERAS, 686) | {"audio": 168, "text": 896, "slam_points": 22, "calibration": 117}
MOTION = ("hand_left", "hand_right", "body", "contacts", "translation", "rotation", "imu")
SENSES = ("depth", *CAMERAS, "audio")
Answer = Literal["label", "label_set", "vector", "retrieval"]


class BenchTask(Task):
    """A published task: its columns, and targets of every window (or pair)."""

    def __init__(self, name: str, answer: Answer, views: list[tuple[str, ...]], truth: Targets, starts: NDArray, epochs: int) -> None:
        self.id, self.answer, self.epochs, self.truth, self.starts = name, answer, epochs, truth, starts
        self.views = tuple(ViewSpec(include=blocks) for blocks in views)
        self.samples = {1: "window", 2: "order_pair" if len(set(views)) == 1 else "sync_pair"}[starts.shape[1]]

    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """Of the simulation."""
        return self.truth


@dataclass
class Matrix:
    """One role of the one episode, as a `TrainingSet`: the first 70 % of a task's valid rows, or the rest."""

    x: dict[str, NDArray[np.float32]]
    part: Literal["train", "test", "none"]

    @property
    def episodes(self) -> tuple[str, ...]:
        """The one episode."""
        return () if self.part == "none" else ("sample",)

    def rows(self, task: BenchTask) -> NDArray[np.int64]:
        """Samples of this part; pairs stay whole."""
        valid = np.flatnonzero(task.truth.valid)
        cut = round(TRAIN_SHARE * len(valid) / task.starts.shape[1]) * task.starts.shape[1]
        return valid[:cut] if self.part == "train" else valid[cut:]

    def columns(self, task: BenchTask, view: int) -> list[str]:
        """Blocks of a view."""
        return [b for b in BLOCKS if task.views[min(view, len(task.views) - 1)].allows((b,))]

    def view(self, task: BenchTask, view: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m, d) features of one view."""
        windows = task.starts[rows, min(view, task.starts.shape[1] - 1)]
        return np.concatenate([self.x[b][windows] for b in self.columns(task, view)], axis=1)

    def batches(self, task: Task, needs: Needs, role: Literal["", "query", "key"] = "") -> Iterator[EpisodeBatch]:
        """See `harness.branch.TrainingSet`. A retrieval task's roles are its two views."""
        assert isinstance(task, BenchTask)
        if self.part == "none":
            return
        rows = self.rows(task)
        shown = [int(role == "key")] if role else range(task.starts.shape[1])
        views = tuple(View(np.zeros((len(rows), 1)), features=self._matrix(task, v, rows) if needs.features else None) for v in shown)
        ids = np.array([f"{task.id}{i}" for i in rows])
        samples = Samples("sample", task.samples, ids, task.starts[rows] * 5, 20, task.starts[rows].max(axis=1) / 4.0)
        yield EpisodeBatch("sample", "sample", samples, ObservedBatch(task.id, views, row_seeds(ids, 0), role), task.truth.take(rows))

    def _matrix(self, task: BenchTask, view: int, rows: NDArray[np.int64]) -> FeatureMatrix:
        blocks = self.columns(task, view)
        edges = np.cumsum([0, *(BLOCKS[b] for b in blocks)]).tolist()
        where = {b: slice(edges[i], edges[i + 1]) for i, b in enumerate(blocks)}
        return FeatureMatrix(self.view(task, view, rows), np.ones((len(rows), len(blocks)), bool), where)
