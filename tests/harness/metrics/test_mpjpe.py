"""Joint errors per step, in metres."""

import numpy as np
import pytest

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.mpjpe import JointError


def metric(shape=(2, 2, 3)):
    size = int(np.prod(shape))
    return JointError(MetricContext(shape=shape, train_mean=np.zeros(size), train_std=np.ones(size)))


def rows(errors, mask=None, status=None, reference=None):
    """Truth 0; answers so far off along y as `errors` (n, H, joints) say."""
    errors = np.array(errors, np.float32)
    guess = np.zeros((*errors.shape, 3), np.float32)
    guess[..., 1] = errors
    flat = guess.reshape(len(guess), -1)
    targets = Targets(np.ones(len(flat), bool), values=np.zeros_like(flat), mask=mask, reference=reference)
    return targets, Predictions(all_ok(len(flat)) if status is None else np.array(status), values=flat)


@pytest.mark.parametrize("shape", [(2, 2, 3), (2, 6)])
def test_by_hand(shape):
    m = metric(shape)
    state = m.state(*rows([[[0.01, 0.03], [0.1, 0.2]]]))
    assert m.value(state) == pytest.approx(0.34 / 4)
    details = m.details(state)
    assert details["fde"] == pytest.approx(0.15)
    assert details["acc@0.05"] == pytest.approx(0.5)
    assert details["per_horizon"] == pytest.approx({"1": 0.02, "2": 0.15})


def test_the_distance_is_euclidean():
    m = metric((1, 1, 3))
    targets = Targets(np.ones(1, bool), values=np.array([[1, 2, 3]], np.float32))
    assert m.value(m.state(targets, Predictions(all_ok(1), values=np.array([[2, 4, 5]], np.float32)))) == pytest.approx(3)


def test_a_joint_counts_where_all_its_coordinates_are_measured():
    m = metric()
    mask = np.ones((1, 12), bool)
    mask[0, 5] = False
    state = m.state(*rows([[[0.01, 9.0], [0.1, 0.2]]], mask=mask))
    assert m.value(state) == pytest.approx(0.31 / 3)
    assert m.details(state)["per_horizon"] == pytest.approx({"1": 0.01, "2": 0.15})


def test_a_step_that_is_never_measured_is_none():
    m = metric()
    mask = np.ones((1, 12), bool)
    mask[0, 6:] = False
    details = m.details(m.state(*rows([[[0.01, 0.03], [0.1, 0.2]]], mask=mask)))
    assert details["fde"] is None and details["per_horizon"]["2"] is None


def test_a_failed_row_is_never_accurate():
    m = metric()
    reference = np.full((2, 12), 0.001, np.float32)
    targets, predictions = rows(
        [[[0.01, 0.01], [0.01, 0.03]], np.zeros((2, 2))], status=[Status.OK.value, Status.OOM.value], reference=reference
    )
    state = m.state(targets, predictions)
    # Own means per joint (0.01, 0.01, 0.01, 0.03) are dearer than the reference's 0.001 * sqrt(3).
    assert m.value(state) == pytest.approx(0.12 / 8)
    assert m.details(state)["acc@0.05"] == pytest.approx(0.5)


def test_a_shape_without_coordinates_is_an_error():
    with pytest.raises(ValueError, match="x, y, z"):
        metric((2, 4))
