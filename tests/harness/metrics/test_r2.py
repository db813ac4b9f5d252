"""R2 about the train mean, and the published one about the test mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.r2 import R2


def metric(mean, std):
    return R2(MetricContext(shape=(len(mean),), train_mean=np.array(mean, float), train_std=np.array(std, float)))


def rows(truth, guess, status=None, mask=None):
    truth, guess = np.array(truth, np.float32), np.array(guess, np.float32)
    targets = Targets(np.ones(len(truth), bool), values=truth, mask=mask)
    return targets, Predictions(all_ok(len(truth)) if status is None else np.array(status), values=guess)


def test_by_hand():
    m = metric([0, 0], [1, 10])
    # Errors 1 and 10 in units of 1 and 10: 1 + 1. Distances 2, 2 and 20, 0: 4 + 4 + 4 + 0.
    state = m.state(*rows([[2, 20], [2, 0]], [[1, 20], [2, 10]]))
    assert m.value(state) == pytest.approx(1 - 2 / 12)
    # About the test means 2 and 10, unscaled: 101 / 200.
    assert m.details(state)["published"]["r2"] == pytest.approx(1 - 101 / 200)


def test_the_train_mean_scores_zero_and_so_does_failing_everywhere():
    m = metric([3, 4], [1, 2])
    truth = [[1, 2], [5, 9]]
    assert m.value(m.state(*rows(truth, [[3, 4], [3, 4]]))) == pytest.approx(0)
    assert m.value(m.state(*rows(truth, truth, status=[Status.MISSING.value] * 2))) == pytest.approx(0)


def test_undefined_where_the_truth_never_leaves_the_mean():
    m = metric([3, 4], [1, 2])
    assert np.isnan(m.value(m.state(*rows([[3, 4]], [[3, 5]]))))
    assert m.details(m.state(*rows([[3, 4]], [[3, 5]])))["published"]["r2"] is None


def test_masked_numbers_do_not_count():
    m = metric([0, 0], [1, 1])
    mask = np.array([[True, False], [True, True]])
    assert m.value(m.state(*rows([[2, 99], [1, 1]], [[1, 0], [1, 1]], mask=mask))) == pytest.approx(1 - 1 / 6)


def test_folds_with_other_train_means_add_up():
    a, b = ([[1, 2], [5, 9]], [[1, 3], [4, 9]]), ([[3, 3], [8, 0]], [[2, 3], [8, 1]])
    one, two, both = metric([3, 4], [1, 2]), metric([7, -1], [5, 3]), metric([0, 0], [1, 1])
    folds = one.state(*rows(*a)) + two.state(*rows(*b))
    together = both.state(*rows(a[0] + b[0], a[1] + b[1]))
    assert both.details(folds)["published"]["r2"] == pytest.approx(both.details(together)["published"]["r2"])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 10**6))
def test_agrees_with_sklearn_where_the_definitions_meet(n, dims, seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(5, 2, (n, dims)).astype(np.float32)
    guess = (truth + rng.normal(size=(n, dims))).astype(np.float32)
    weighted = r2_score(truth.astype(float), guess.astype(float), multioutput="variance_weighted")
    m = metric(truth.mean(axis=0, dtype=float), np.ones(dims))
    state = m.state(*rows(truth, guess))
    assert m.value(state) == pytest.approx(weighted, rel=1e-9, abs=1e-9)
    # The published one needs no train mean.
    other = metric(rng.normal(size=dims), rng.uniform(0.5, 2, dims))
    assert other.details(other.state(*rows(truth, guess)))["published"]["r2"] == pytest.approx(weighted, rel=1e-9, abs=1e-9)
