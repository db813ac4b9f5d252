"""Branches that go wrong, each in its own way. Runs name them `faulty.branches:CLASS`; what they need is in the environment."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from branches.floors.adapter import Prior
from harness.answers import Predictions
from harness.branch import Artifact, Branch, BranchCard, FitContext, Predictor, TrainingSet
from harness.episode import VideoFile
from harness.reference import TrainStatistics
from harness.tasks.base import Task
from harness.video import decode
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


class Trained(Prior):
    """Pretends to train for `steps`: its validation loss falls with them and is least at `rate` 0.5; it notes every fit."""

    card = BranchCard("faulty.branches:Trained", "policy", "says what loss it likes")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        Branch.__init__(self, options)
        self.config = SimpleNamespace(**{"steps": 64, "rate": 0.9, "fails": "", "seconds": 0.0, **self.options})

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        time.sleep(self.config.seconds)
        if self.config.rate < 0.2 and self.config.fails == "throws":
            raise ValueError("no such luck\nand a second line")
        if self.config.rate < 0.2 and self.config.fails == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        loss = abs(self.config.rate - 0.5) + 1 / self.config.steps
        return replace(super().fit(train, validation, context), details={"task": {"validation_loss": loss}})


class Decodes(Prior):
    """Decodes `$FAULTY_VIDEO` for itself when it fits and when it is loaded, though all that it may see is in the store."""

    card = BranchCard("faulty.branches:Decodes", "floor", "decodes video")

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        for _ in decode(VideoFile(os.environ["FAULTY_VIDEO"]), [(16, 16)]):
            pass
        return super().fit(train, validation, context)

    def predictor(self, artifact: Artifact) -> Predictor:
        for _ in decode(VideoFile(os.environ["FAULTY_VIDEO"]), [(16, 16)]):
            pass
        return super().predictor(artifact)


class NeedsGPU(Prior):
    """Asks for more GPUs than any machine of a test has."""

    card = BranchCard("faulty.branches:NeedsGPU", "policy", "wants 64 GPUs", gpus=64.0, fit_gpus=64.0)

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        Branch.__init__(self, options)


class ReadsValidation(Prior):
    """Nothing wrong: looks at the validation episodes while it is fitted, as early stopping does, and reports no loss."""

    card = BranchCard("faulty.branches:ReadsValidation", "model", "reads validation")

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        for task in context.tasks:
            if self.route(task) is not None:
                assert all(batch.episode not in train.episodes for batch in validation.batches(task, self.needs(task)))
        return super().fit(train, validation, context)
