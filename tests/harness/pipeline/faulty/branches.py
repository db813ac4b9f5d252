"""Branches that go wrong, each in its own way. Runs name them `faulty.branches:CLASS`; what they need is in the environment."""

import os
import signal
import time
from pathlib import Path

from branches.floors.adapter import Prior
from harness.answers import Predictions
from harness.branch import Artifact, BranchCard, FitContext, Predictor, TrainingSet
from harness.reference import TrainStatistics
from harness.tasks.base import Task
from harness.window import ObservedBatch


class FailsToFit(Prior):
    """An exception of many lines in every fit."""

    card = BranchCard("faulty.branches:FailsToFit", "floor", "raises in fit")

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        raise ValueError("no such luck\nand a second line")


class FailsToPredict(Prior):
    """An exception in every prediction."""

    card = BranchCard("faulty.branches:FailsToPredict", "floor", "raises in predict")

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        raise RuntimeError("no answer today")


class DiesInFit(Prior):
    """Takes its process with it, whenever it fits."""

    card = BranchCard("faulty.branches:DiesInFit", "floor", "kills the worker that fits")

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Dies(Prior):
    """Takes its process with it, whenever it predicts."""

    card = BranchCard("faulty.branches:Dies", "floor", "kills the worker that predicts")

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class Slow(Prior):
    """Takes a second for every block, and leaves the id of its process under `$FAULTY_PIDS`."""

    card = BranchCard("faulty.branches:Slow", "floor", "waits")

    def predictor(self, artifact: Artifact) -> Predictor:
        if folder := os.environ.get("FAULTY_PIDS"):
            Path(folder, str(os.getpid())).touch()
        return super().predictor(artifact)

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        time.sleep(1.0)
        return super().fit(train, validation, context)

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        time.sleep(1.0)
        return super().answer(task, statistics, batch)
