"""Root mean square error and the two correlations."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import root_mean_squared_error

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.rmse import RootMeanSquareError, correlation, rank_correlation

METRIC = RootMeanSquareError(MetricContext(shape=(1,), train_mean=np.array([50.0]), train_std=np.array([10.0])))


def scored(truth, guess, status=None, mask=None):
    """State and kept rows."""
    truth, guess = np.array(truth, np.float32)[:, None], np.array(guess, np.float32)[:, None]
    targets = Targets(np.ones(len(truth), bool), values=truth, mask=None if mask is None else np.array(mask, bool)[:, None])
    rows = Predictions(all_ok(len(truth)) if status is None else np.array(status), values=guess)
    return METRIC.state(targets, rows), METRIC.kept(targets, rows)


def numbers(*args, **more):
    return METRIC.numbers(scored(*args, **more)[1])


def test_by_hand():
    state, kept = scored([1, 2, 3], [1, 4, 3])
    assert state.tolist() == [4, 3] and kept.tolist() == [[1, 1, 0, 1], [2, 4, 4, 1], [3, 3, 0, 1]]
    assert METRIC.value(state) == pytest.approx(np.sqrt(4 / 3))
    found = METRIC.numbers(kept)
    assert found["rmse"] == pytest.approx(np.sqrt(4 / 3))
    # Deviations -1 0 1 against -5/3 4/3 1/3: 2 / sqrt(2 * 42/9).
    assert found["plcc"] == pytest.approx(2 / np.sqrt(2 * 42 / 9))
    # Ranks 1 2 3 against 1 3 2.
    assert found["srocc"] == pytest.approx(0.5)


def test_where_no_row_is_answered_there_is_no_correlation():
    targets = Targets(np.ones(3, bool), values=np.arange(3, dtype=np.float32)[:, None], reference=np.arange(3, 6)[:, None])
    for status, defined in ((["timeout"] * 3, False), (["ok", "timeout", "timeout"], True)):
        kept = METRIC.kept(targets, Predictions(np.array(status), values=np.full((3, 1), 1, np.float32)))
        found = METRIC.numbers(kept)
        assert (found["plcc"] is not None) == (found["srocc"] is not None) == defined and found["rmse"] > 0


def test_ties_have_their_mean_rank():
    # Ranks 1 2.5 2.5 4 against 1 2 3 4: 4.5 / sqrt(4.5 * 5).
    assert numbers([1, 2, 2, 9], [10, 20, 30, 40])["srocc"] == pytest.approx(4.5 / np.sqrt(4.5 * 5))


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(0, 10**6))
def test_agrees_with_scipy_and_sklearn(n, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 8, n) * 12.5
    guess = np.round(truth + rng.normal(0, 30, n), -1)
    truth[0], truth[1], guess[0], guess[1] = 0, 100, 10, 20
    state, kept = scored(truth, guess)
    found = METRIC.numbers(kept)
    assert METRIC.value(state) == found["rmse"] == pytest.approx(root_mean_squared_error(truth, guess), rel=1e-6)
    assert found["plcc"] == pytest.approx(pearsonr(truth, guess).statistic, abs=1e-9)
    assert found["srocc"] == pytest.approx(spearmanr(truth, guess).statistic, abs=1e-9)


columns = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=30)


@settings(max_examples=60, deadline=None)
@given(columns, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_what_leaves_the_correlations_alone(pairs, scale, offset):
    truth, guess = np.array(pairs, float).T
    assume(np.ptp(truth) > 0 and np.ptp(guess) > 0)
    plcc, srocc = correlation(truth, guess), rank_correlation(truth, guess)
    assert -1 <= plcc <= 1 and -1 <= srocc <= 1
    # Pearson: affine maps of either side, and their sign.
    assert correlation(truth, scale * guess + offset) == pytest.approx(plcc, abs=1e-6)
    assert correlation(-scale * truth + offset, guess) == pytest.approx(-plcc, abs=1e-6)
    # Spearman: any map that keeps the order.
    assert rank_correlation(truth, np.exp(guess / 10)) == pytest.approx(srocc, abs=1e-12)
    assert rank_correlation(truth**3, guess) == pytest.approx(srocc, abs=1e-12)
    # Both: the order of rows, who is called truth, and every row twice.
    for found, same in ((correlation, plcc), (rank_correlation, srocc)):
        assert found(guess, truth) == pytest.approx(same, abs=1e-12)
        assert found(truth[::-1], guess[::-1]) == pytest.approx(same, abs=1e-12)
        assert found(np.tile(truth, 2), np.tile(guess, 2)) == pytest.approx(same, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_squares_that_leave_the_range_of_floats_do_not_matter(scale):
    truth, guess = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    assert correlation(truth * scale, guess) == pytest.approx(correlation(truth, guess))


@pytest.mark.parametrize(("truth", "guess"), [([7.3, 7.3, 7.3], [1, 2, 3]), ([1, 2, 3], [7.3, 7.3, 7.3]), ([1], [2]), ([], [])])
def test_correlations_without_variance_are_none_and_not_zero(truth, guess):
    found = numbers(truth, guess)
    assert found["plcc"] is None and found["srocc"] is None


def test_rounding_is_no_variance():
    step = np.spacing(np.float32(7.3))
    for n in range(2, 40):
        assert numbers(7.3 + step * (np.arange(n) % 2), np.arange(n))["srocc"] is None
    assert numbers(7.3 + 1e-3 * np.arange(5), np.arange(5))["srocc"] == pytest.approx(1.0)


def test_a_failed_row_is_correlated_with_its_reference():
    truth, guess, ok = [10, 20, 90, 100], [1, 2, 9, 99], [Status.OK.value] * 3 + [Status.REFUSED.value]
    found = numbers(truth, guess, status=ok)
    assert found["plcc"] == pytest.approx(pearsonr(truth, [1, 2, 9, 50]).statistic, abs=1e-9)
    assert found["srocc"] == pytest.approx(spearmanr(truth, [1, 2, 9, 50]).statistic)
    # It costs the dearer of its reference's error (2500) and the mean of the others (81 + 324 + 6561) / 3.
    assert found["rmse"] == pytest.approx(np.sqrt((81 + 324 + 6561 + 2500) / 4))
    # All failed: a constant.
    assert numbers(truth, guess, status=[Status.OOM.value] * 4)["plcc"] is None


def test_unmeasured_rows_do_not_count():
    whole = scored([1, 2, 3, 5], [1, 4, 3, 4])
    masked = scored([1, 99, 2, 3, 5], [1, 0, 4, 3, 4], mask=[1, 0, 1, 1, 1])
    assert all(np.array_equal(a, b) for a, b in zip(whole, masked, strict=True))


def test_no_rows():
    state, kept = scored([], [])
    assert not state.any() and kept.shape == (0, 4) and np.isnan(METRIC.value(state))
    assert METRIC.numbers(kept) == {"rmse": None, "plcc": None, "srocc": None}
