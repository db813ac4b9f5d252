"""Chunks of robot commands: groups in their own unit, one ranked number."""

import numpy as np
import pytest

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.chunk_error import ChunkError

# Two steps, three dimensions: an arm of two joints (rad) and a gripper (mm).
GROUPS = {"arm": [0, 1], "gripper": [2]}


def context(groups=GROUPS, std=(1, 2, 10, 1, 2, 10), mean=(0,) * 6):
    return MetricContext(shape=(2, 3), train_mean=np.array(mean, float), train_std=np.array(std, float), groups=groups)


def rows(guess, mask=None, status=None):
    guess = np.array(guess, np.float32).reshape(-1, 6)
    targets = Targets(np.ones(len(guess), bool), values=np.zeros_like(guess), mask=mask, reference=np.zeros_like(guess))
    return targets, Predictions(all_ok(len(guess)) if status is None else np.array(status), values=guess)


def test_by_hand():
    m = ChunkError(context())
    state = m.state(*rows([[1, 2, 30], [3, 2, 50]]))
    # Arm in deviations: 1, 1, 3, 1 -> 1.5; gripper 3, 5 -> 4.
    assert m.value(state) == pytest.approx((1.5 + 4) / 2)
    details = m.details(state)
    assert details["per_group"] == pytest.approx({"arm": 2, "gripper": 40})
    assert details["per_horizon"] == pytest.approx({"1": 11, "2": 55 / 3})
    assert details["mae"] == pytest.approx(88 / 6)


def test_without_groups_all_dimensions_are_one():
    m = ChunkError(context(groups={}))
    state = m.state(*rows([[1, 2, 30], [3, 2, 50]]))
    assert m.value(state) == pytest.approx((1 + 1 + 3 + 3 + 1 + 5) / 6)
    assert m.details(state)["per_group"] == pytest.approx({"all": 88 / 6})


def test_the_yardstick_is_the_same_at_every_step():
    # Per step the first joint has deviation 1 about means -3 and 3: together sqrt(1 + 9).
    m = ChunkError(context(mean=(-3, 0, 0, 3, 0, 0)))
    assert m.deviation.tolist() == pytest.approx([np.sqrt(10), 2, 10] * 2)
    samples = np.random.default_rng(0).normal(size=(20000, 2, 1)) * [[2.0], [0.5]] + [[1.0], [5.0]]
    pooled = MetricContext(shape=(2, 1), train_mean=samples.mean(axis=0).ravel(), train_std=samples.std(axis=0).ravel())
    assert ChunkError(pooled).deviation[0] == pytest.approx(samples.std())


def test_a_group_that_is_not_measured_does_not_count():
    m = ChunkError(context())
    mask = np.array([[True, True, False] * 2])
    state = m.state(*rows([[1, 2, 30], [3, 2, 50]], mask=mask))
    assert m.value(state) == pytest.approx(1.5)
    assert m.details(state)["per_group"] == {"arm": pytest.approx(2), "gripper": None}
    assert np.isnan(m.value(np.zeros_like(state)))


def test_a_failed_row_costs_the_branch_its_own_mean_in_every_number():
    m = ChunkError(context())
    one = m.state(*rows([[1, 2, 30], [3, 2, 50]]))
    two = m.state(*rows([[1, 2, 30, 3, 2, 50], [0] * 6], status=[Status.OK.value, Status.DECODE_ERROR.value]))
    assert two.tolist() == pytest.approx((2 * one).tolist())
