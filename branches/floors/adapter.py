"""Majority, prior, persistence, constant velocity and chance as ordinary branches."""

import json
from abc import abstractmethod
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.floors.config import FloorConfig
from harness.answers import Predictions, Status, all_ok
from harness.branch import Artifact, Branch, BranchCard, FitContext, Needs, Predictor, Route, TrainingSet
from harness.observe import modality_of, steps_shown
from harness.reference import TrainStatistics, chance, majority, prior
from harness.tasks.base import Task
from harness.window import ObservedBatch


class _Floor(Branch):
    """Fits nothing but the statistics of the training targets; each floor answers from them and from its view."""

    def __init__(self, options: dict | None = None) -> None:
        super().__init__(options)
        self.config = FloorConfig(**self.options)

    def needs(self, task: Task) -> Needs:
        return Needs()

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        found: dict[str, TrainStatistics] = {}
        for task in context.tasks:
            found[task.id] = TrainStatistics()
            for batch in train.batches(task, Needs(), "key" if task.answer == "retrieval" else ""):
                found[task.id].add(batch.targets)
        body = {task: _plain(statistics) for task, statistics in found.items()}
        (context.out / "statistics.json").write_text(json.dumps(body))
        classes = {task: statistics.classes for task, statistics in found.items() if statistics.counts}
        return Artifact(context.out, {"statistics": train.episodes}, classes, parameters=0)

    def predictor(self, artifact: Artifact) -> Predictor:
        body = json.loads((artifact.folder / "statistics.json").read_text())
        return _FloorPredictor(self, {task: _statistics(fields) for task, fields in body.items()})

    @abstractmethod
    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        """The floor's rows for a batch."""


class _FloorPredictor(Predictor):
    def __init__(self, floor: _Floor, statistics: dict[str, TrainStatistics]) -> None:
        self.floor = floor
        self.statistics = statistics
        self.tasks: dict[str, Task] = {}

    def predict(self, batch: ObservedBatch) -> Predictions:
        from harness.tasks import get_task  # noqa: PLC0415

        task = self.tasks.setdefault(batch.task, get_task(batch.task))
        return self.floor.answer(task, self.statistics[batch.task], batch)


def _plain(statistics: TrainStatistics) -> dict:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(statistics).items()}


def _statistics(body: dict) -> TrainStatistics:
    fields: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in body.items()}
    return TrainStatistics(**fields)


class Majority(_Floor):
    """The most common training label."""

    card = BranchCard("majority", "floor", "most common training label")

    def route(self, task: Task) -> Route | None:
        return "native" if task.answer == "label" else None

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        return majority(statistics, len(batch))


class Prior(_Floor):
    """What train says before any input: label prior, best constant set, mean."""

    card = BranchCard("prior", "floor", "train prior or mean")

    def route(self, task: Task) -> Route | None:
        return None if task.answer == "retrieval" else "native"

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        return prior(task, statistics, len(batch))


class Chance(_Floor):
    """A seeded guess: uniform labels, fair-coin sets, random vectors."""

    card = BranchCard("chance", "floor", "uniform guess")

    def route(self, task: Task) -> Route | None:
        return None if task.answer == "vector" else "native"

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        return chance(task, statistics, batch.seeds)


class _Extrapolation(_Floor):
    """Continues the observed past of the very quantity that is forecast."""

    def route(self, task: Task) -> Route | None:
        return "native" if task.tracks_for_history() else None

    def needs(self, task: Task) -> Needs:
        past = task.tracks_for_history()
        return Needs(tracks=past, vital=tuple(dict.fromkeys(map(modality_of, past))))

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        values, valid = task.history(batch.views[0])
        seen = np.asarray(valid.any(axis=(1, 2)))
        horizon = len(statistics.mean) // values.shape[2]
        future = self.extrapolate(values, valid, horizon).reshape(len(batch), -1).astype(np.float32)
        status = np.where(seen, all_ok(len(batch)), Status.UNSUPPORTED.value)
        return Predictions(status, values=np.where(seen[:, None], future, np.nan))

    @abstractmethod
    def extrapolate(self, values: NDArray, valid: NDArray[np.bool_], horizon: int) -> NDArray:
        """(B, T, D) past -> (B, horizon, D) future; a quantity never observed stays at 0 (it is masked in the target)."""


class Persistence(_Extrapolation):
    """Holds the last observed value."""

    card = BranchCard("persistence", "floor", "last observed value, held")

    def extrapolate(self, values: NDArray, valid: NDArray[np.bool_], horizon: int) -> NDArray:
        last, _, _ = _last_two(values, valid, 1)
        return np.repeat(last[:, None], horizon, axis=1)


class ConstantVelocity(_Extrapolation):
    """Goes on with the velocity of the last observed steps."""

    card = BranchCard("constant_velocity", "floor", "last velocity, continued")

    def route(self, task: Task) -> Route | None:
        """Not where one past step is all that is shown: without a velocity it would be `persistence` under another name."""
        needs = self.needs(task)
        return super().route(task) if any(steps_shown(track, needs) > 1 for track in needs.tracks) else None

    def extrapolate(self, values: NDArray, valid: NDArray[np.bool_], horizon: int) -> NDArray:
        last, velocity, age = _last_two(values, valid, self.config.velocity_steps)
        steps = np.arange(1, horizon + 1)[None, :, None] + age[:, None]
        future: NDArray = last[:, None] + velocity[:, None] * steps
        return future


def _last_two(values: NDArray, valid: NDArray[np.bool_], span: int) -> tuple[NDArray, NDArray, NDArray]:
    """Per sample and quantity: last valid value, velocity per step over up to `span` steps, steps since the last valid one.

    Args:
        values: (B, T, D).
        valid: (B, T, D).
        span: Steps back to the value the velocity is taken from: the earliest valid one within them.

    Returns:
        (B, D) each; 0 where nothing is valid, velocity 0 where only one value is.
    """
    steps = np.arange(values.shape[1])[None, :, None]
    last = np.where(valid, steps, -1).max(axis=1)
    within = valid & (steps >= (last - span)[:, None]) & (steps <= last[:, None])
    first = np.where(within, steps, values.shape[1]).min(axis=1)
    first = np.minimum(first, np.maximum(last, 0))
    clean = np.where(valid, values, 0.0).astype(np.float64)
    end = np.take_along_axis(clean, np.maximum(last, 0)[:, None], axis=1)[:, 0]
    begin = np.take_along_axis(clean, np.maximum(first, 0)[:, None], axis=1)[:, 0]
    elapsed = last - first
    velocity = np.where(elapsed > 0, (end - begin) / np.maximum(elapsed, 1), 0.0)
    age = np.where(last >= 0, values.shape[1] - 1 - last, 0)
    return end, velocity, age
