"""Ridge and MLP as branches: on window features, or as probes on the embedding of another branch."""

import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from branches.heads.config import InputOptions, MLPOptions, RidgeOptions, parse_options
from branches.heads.gather import Table, TaskRows, gather
from branches.heads.heads import HeadPredictor, HeadWriter
from branches.heads.inputs import Embed, InputMaker
from branches.heads.linear import FittedHead, LinearFitter
from branches.heads.prepare import Prepared, prepare
from harness.branch import Artifact, Branch, BranchCard, FitContext, Needs, Predictor, Route, TrainingSet
from harness.errors import BadInput
from harness.tasks.base import Task
from harness.window import ObservedBatch

INNER = "inner"


class _Head(Branch):
    """What both heads share: which tasks stand on the same rows, how these are read, and how heads are written."""

    config: InputOptions
    layer_norm = False

    def __init__(self, options: dict[str, Any] | None = None, inner: Branch | None = None) -> None:
        super().__init__(options)
        self.inner = inner
        if inner is not None:
            name = f"{self.card.name}@{inner.card.name}"
            title = f"{self.card.title}, on the embedding of {inner.card.title}"
            self.card = replace(inner.card, name=name, family="head", title=title, fitted=True, privileged=False)

    @classmethod
    def on_embedding(cls, branch: Branch, options: dict[str, Any] | None = None) -> Branch:
        """The head as a probe of another branch: `ridge@BRANCH`."""
        return cls(options, branch)

    def route(self, task: Task) -> Route | None:
        """Every task, natively; as a probe where the head stands on an embedding."""
        return "native" if self.inner is None else "probe"

    def needs(self, task: Task) -> Needs:
        """Window features (or what the embedded branch asks for), and the past of a continuous future."""
        if self.inner is None:
            return Needs(tracks=task.tracks_for_history(), features=True)
        asked = self.inner.needs(task)
        return replace(asked, tracks=tuple(dict.fromkeys((*asked.tracks, *task.tracks_for_history()))))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Fit a head for every task; see the README for what each is."""
        inner = self._fit_inner(train, validation, context)
        embed = None if inner is None else self._embed(inner)
        fitted_on: dict[str, set[str]] = {}
        for part, ids in ({} if inner is None else inner.fitted_on).items():
            fitted_on[f"{INNER}/{part}"] = set(ids)
        classes: dict[str, tuple[str, ...]] = {}
        details: dict[str, Any] = {}
        writer = HeadWriter(context.out, self.config.history_steps)
        with _threads(context.threads), tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            job = _Job(train, validation, context, Path(scratch), embed, writer)
            for tasks in self._input_sets(context.tasks):
                self._fit_tasks(job, tasks, fitted_on, classes, details)
            self._finish(job, details)
        writer.close()
        ids = {part: tuple(sorted(found)) for part, found in fitted_on.items()}
        return Artifact(context.out, ids, classes, writer.parameters, details)

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the heads; the embedded branch's predictor with them."""
        from harness.tasks import get_task  # noqa: PLC0415  the registry imports tasks by name

        inner = None if self.inner is None else Artifact.load(artifact.folder / INNER)
        return HeadPredictor(artifact.folder, get_task, None if inner is None else self._embed(inner))

    def _input_sets(self, tasks: tuple[Task, ...]) -> list[tuple[Task, ...]]:
        """Tasks that see the same rows share scaler, rotation and factorisation."""
        sets: dict[Any, list[Task]] = {}
        for task in tasks:
            alone = self.inner is not None or task.answer == "retrieval" or bool(task.tracks_for_history())
            sets.setdefault(task.id if alone else (task.samples, task.views), []).append(task)
        return [tuple(found) for found in sets.values()]
