"""Branches that leak, each in its own way. Runs name them `leaky.branches:CLASS`."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from branches.floors.adapter import Prior
from branches.heads.adapter import Ridge
from harness.answers import Predictions
from harness.branch import Artifact, BranchCard, Needs, Predictor, Route
from harness.reference import TrainStatistics
from harness.tables import by_task, read_targets
from harness.tasks import get_task
from harness.tasks.base import Task
from harness.window import ObservedBatch


class ScalesByBatch(Ridge):
    """Centres features over all windows that it is asked about together, those of the future among them."""

    card = BranchCard("leaky.branches:ScalesByBatch", "head", "knows the other windows")

    def predictor(self, artifact: Artifact) -> Predictor:
        inner = super().predictor(artifact)

        class Centred(Predictor):
            def predict(self, batch: ObservedBatch) -> Predictions:
                views = []
                for view in batch.views:
                    assert view.features is not None
                    values = view.features.values - view.features.values.mean(axis=0)
                    views.append(replace(view, features=replace(view.features, values=values)))
                return inner.predict(replace(batch, views=tuple(views)))

        return Centred()


class Remembers(Prior):
    """Keeps what it answered once in a cache of its own, by the seeds of the rows: no noise reaches it there."""

    card = BranchCard("leaky.branches:Remembers", "floor", "a cache that outlives the store")

    def needs(self, task: Task) -> Needs:
        return Needs(tracks=("hand_left",))

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        cache = Path(os.environ["PLANTED_CACHE"]) / f"{task.id}.json"
        said = json.loads(cache.read_text()) if cache.is_file() else {}
        shown = np.nan_to_num(batch.views[0].tracks["hand_left"].values.reshape(len(batch), -1).mean(axis=1))
        for seed, value in zip(batch.seeds.tolist(), shown.tolist(), strict=True):
            said.setdefault(str(seed), value)
        cache.write_text(json.dumps(said))
        rows = super().answer(task, statistics, batch)
        labels = np.array([said[str(seed)] > 0 for seed in batch.seeds.tolist()], np.int32)
        return replace(rows, labels=labels, probabilities=None)


class ReadsTheAnswer(Prior):
    """Finds the targets of the test on disk, by the seeds of their samples."""

    card = BranchCard("leaky.branches:ReadsTheAnswer", "floor", "reads the answer from somewhere")

    def route(self, task: Task) -> Route | None:
        return "native" if task.answer == "label" else None

    def answer(self, task: Task, statistics: TrainStatistics, batch: ObservedBatch) -> Predictions:
        from harness.window import row_seeds

        rows = super().answer(task, statistics, batch)
        found: dict[int, str] = {}
        for path in Path(os.environ["PLANTED_TARGETS"]).glob("*.parquet"):
            for _, table in by_task(path, [task.id]):
                truth = read_targets(table, get_task(task.id).answer)
                assert truth.labels is not None
                seeds = row_seeds(table.column("sample").to_pylist(), 0)
                words = (truth.vocabulary[c] if c >= 0 else rows.vocabulary[0] for c in truth.labels.tolist())
                found |= dict(zip(seeds.tolist(), words, strict=True))
        words = [found[seed] for seed in batch.seeds.tolist()]
        vocabulary = tuple(dict.fromkeys((*rows.vocabulary, *words)))
        labels = np.array([vocabulary.index(word) for word in words], np.int32)
        return replace(rows, labels=labels, vocabulary=vocabulary, probabilities=None)
