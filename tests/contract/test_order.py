"""A predictor that knows only the order of its rows, or only their seeds, knows nothing."""

from typing import Any

import numpy as np
import pytest

from harness.answers import Predictions, all_ok
from harness.branch import Predictor
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, Block
from harness.reference import uniform
from harness.window import ObservedBatch


class ByOrder(Predictor):
    """Alternates between two labels."""

    def predict(self, batch: ObservedBatch) -> Predictions:
        labels = (np.arange(len(batch)) % 2).astype(np.int32)
        return Predictions(all_ok(len(batch)), labels=labels, vocabulary=("a", "b"), values=np.eye(len(batch), dtype=np.float32))


class BySeed(Predictor):
    """A vector made of the row's seed."""

    def predict(self, batch: ObservedBatch) -> Predictions:
        return Predictions(all_ok(len(batch)), values=(uniform(batch.seeds, 32) - 0.5).astype(np.float32))


def answer(plan: Plan, actor: Actor, task_id: str, predictor: Predictor) -> tuple[Any, Predictions]:
    task, episode = plan.task(task_id), plan.split.folds[0].test[0]
    samples = actor.bench.samples(task, episode, plan.split.folds[0], "test")
    block = Block("ridge", 0, 0, episode, 0, len(samples))
    return samples, actor._batch(task, samples, block, plan.make_branch("majority"), predictor)


@pytest.mark.parametrize("task", ["temporal_order", "misalignment_detection"])
def test_the_order_of_rows_does_not_tell_true_pairs_from_false_ones(plan: Plan, actor: Actor, task: str) -> None:
    samples, rows = answer(plan, actor, task, ByOrder())
    truth = np.arange(len(samples)) % 2  # samples alternate
    assert abs((rows.labels == truth).mean() - 0.5) < 0.2


@pytest.mark.parametrize("predictor", [ByOrder(), BySeed()])
def test_neither_order_nor_seed_tells_which_key_belongs_to_a_query(plan: Plan, actor: Actor, predictor: Predictor) -> None:
    _, rows = answer(plan, actor, "cross_modal_retrieval", predictor)
    assert rows.query is not None and rows.key is not None
    best = (rows.query @ rows.key.T).argmax(axis=1)
    assert (best == np.arange(len(rows))).mean() < 0.2
