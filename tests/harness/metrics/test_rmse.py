"""Root mean square error and the two correlations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.rmse import RootMeanSquareError

METRIC = RootMeanSquareError(MetricContext(shape=(1,), train_mean=np.array([50.0]), train_std=np.array([10.0])))


def state(truth, guess, status=None, mask=None):
    truth, guess = np.array(truth, np.float32)[:, None], np.array(guess, np.float32)[:, None]
    targets = Targets(np.ones(len(truth), bool), values=truth, mask=None if mask is None else np.array(mask, bool)[:, None])
    return METRIC.state(targets, Predictions(all_ok(len(truth)) if status is None else np.array(status), values=guess))


def test_by_hand():
    s = state([1, 2, 3], [1, 4, 3])
    assert METRIC.value(s) == pytest.approx(np.sqrt(4 / 3))
    # Ranks 1 2 3 against 1 3 2.
    assert METRIC.details(s)["srocc"] == pytest.approx(0.5)
    assert METRIC.details(s)["rmse"] == pytest.approx(np.sqrt(4 / 3))


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(0, 10**6))
def test_agrees_with_scipy_and_sklearn(n, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, n) * 12.5
    guess = np.round(truth + rng.normal(0, 30, n), -1)
    truth[0], truth[1], guess[0], guess[1] = 0, 100, 10, 20
    s = state(truth, guess)
    details = METRIC.details(s)
    assert METRIC.value(s) == pytest.approx(root_mean_squared_error(truth, guess), rel=1e-6)
    assert details["plcc"] == pytest.approx(pearsonr(truth, guess).statistic, abs=1e-6)
    assert details["srocc"] == pytest.approx(spearmanr(truth, guess).statistic, abs=1e-9)


def test_pearson_is_pooled_and_spearman_is_the_mean_within_episodes():
    a, b = ([1, 2, 3], [10, 20, 30]), ([50, 60, 70], [3, 2, 1])
    details = METRIC.details(state(*a) + state(*b))
    pooled = pearsonr([*a[0], *b[0]], [*a[1], *b[1]]).statistic
    assert details["plcc"] == pytest.approx(pooled, abs=1e-9)
    assert details["srocc"] == pytest.approx((1 - 1) / 2)


@pytest.mark.parametrize(("truth", "guess"), [([7.3, 7.3, 7.3], [1, 2, 3]), ([1, 2, 3], [7.3, 7.3, 7.3]), ([1], [2])])
def test_correlations_without_variance_are_none_and_not_zero(truth, guess):
    details = METRIC.details(state(truth, guess))
    assert details["plcc"] is None and details["srocc"] is None
    # An episode without variance says nothing about the others.
    assert METRIC.details(state(truth, guess) + state([1, 2], [1, 2]))["srocc"] == pytest.approx(1.0)


def test_rounding_is_no_variance():
    for n in range(2, 40):
        details = METRIC.details(state([7.3] * n, np.arange(n)) + state([7.3] * n, np.arange(n) / 3))
        assert details["plcc"] is None and details["srocc"] is None


def test_a_failed_row_is_correlated_with_its_reference():
    truth, guess, ok = [10, 20, 90, 100], [1, 2, 9, 99], [Status.OK.value] * 3 + [Status.REFUSED.value]
    details = METRIC.details(state(truth, guess, status=ok))
    assert details["plcc"] == pytest.approx(pearsonr(truth, [1, 2, 9, 50]).statistic, abs=1e-9)
    assert details["srocc"] == pytest.approx(spearmanr(truth, [1, 2, 9, 50]).statistic)
    # All failed: a constant.
    assert METRIC.details(state(truth, guess, status=[Status.OOM.value] * 4))["plcc"] is None


def test_unmeasured_rows_do_not_count():
    whole = state([1, 2, 3, 5], [1, 4, 3, 4])
    masked = state([1, 99, 2, 3, 5], [1, 0, 4, 3, 4], mask=[1, 0, 1, 1, 1])
    assert masked.tolist() == pytest.approx(whole.tolist())


def test_no_rows():
    empty = state([], [])
    assert not empty.any() and np.isnan(METRIC.value(empty))
