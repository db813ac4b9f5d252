"""What a failed row costs in a regression metric, once for all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.mae import MeanAbsoluteError
from harness.metrics.regression import vector_rows, with_failure_cost

CONTEXT = MetricContext(shape=(2,), train_mean=np.array([10.0, 20.0]), train_std=np.array([1.0, 2.0]))
METRIC = MeanAbsoluteError(CONTEXT)


def rows(truth, guess, reference=None, mask=None, status=None):
    truth, guess = np.array(truth, np.float32), np.array(guess, np.float32)
    targets = Targets(
        np.ones(len(truth), bool),
        values=truth,
        mask=None if mask is None else np.array(mask, bool),
        reference=None if reference is None else np.array(reference, np.float32),
    )
    return targets, Predictions(all_ok(len(truth)) if status is None else np.array(status), values=guess)


def value(*args, **kwargs):
    return float(METRIC.value(METRIC.state(*rows(*args, **kwargs))))


OK, LATE = Status.OK.value, Status.TIMEOUT.value


def test_mean_absolute_error_by_hand():
    assert value([[0, 0], [4, 4]], [[1, 3], [4, 2]]) == pytest.approx(6 / 4)


def test_only_measured_numbers_count():
    mask = [[True, False], [True, True]]
    assert value([[0, np.nan], [4, 4]], [[1, 3], [4, 2]], mask=mask) == pytest.approx(3 / 3)


def test_a_failed_row_costs_its_reference_where_that_is_dearer():
    # Answered row: errors 1, 1. Failed row: reference errors 5, 7, dearer than 1, 1.
    assert value([[0, 0], [0, 0]], [[1, 1], [0, 0]], reference=[[9, 9], [5, 7]], status=[OK, LATE]) == pytest.approx(14 / 4)


def test_a_failed_row_costs_the_own_mean_where_that_is_dearer():
    # Answered rows: mean errors 3 and 5 per column. Failed row: reference errors 1, 2.
    truth, guess = [[0, 0], [0, 0], [0, 0]], [[2, 4], [4, 6], [0, 0]]
    assert value(truth, guess, reference=[[0, 0], [0, 0], [1, 2]], status=[OK, OK, LATE]) == pytest.approx(24 / 6)


def test_without_a_reference_the_train_mean_is_it():
    assert value([[0, 0]], [[0, 0]], status=[LATE]) == pytest.approx(15)
    # Where a single number of the reference is unknown, too.
    assert value([[0, 0]], [[0, 0]], reference=[[1, np.nan]], status=[LATE]) == pytest.approx(21 / 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_a_failed_row(bad):
    truth = [[0, 0], [0, 0]]
    as_failed = value(truth, [[1, 1], [0, 0]], reference=[[9, 9], [5, 7]], status=[OK, LATE])
    assert value(truth, [[1, 1], [0, bad]], reference=[[9, 9], [5, 7]]) == as_failed


def test_the_own_mean_is_taken_over_what_the_row_measures():
    # Column means 1 and 9; the failed row measures only the first column, so it costs 1 and not 5.
    mask = [[True, True], [True, False]]
    costs = value([[0, 0], [0, 0]], [[1, 9], [0, 0]], reference=[[0, 0], [0, 0]], mask=mask, status=[OK, LATE])
    assert costs == pytest.approx(11 / 3)
    # No answered row measures the second column: the mean of what they measure stands in.
    mask = [[True, False], [False, True]]
    costs = value([[0, 0], [0, 0]], [[4, 9], [0, 0]], reference=[[0, 0], [0, 0]], mask=mask, status=[OK, LATE])
    assert costs == pytest.approx(8 / 2)


def test_shapes_and_targets_are_checked():
    with pytest.raises(ValueError, match="shape"):
        vector_rows(*rows([[0, 0]], [[0, 0, 0]]), CONTEXT)
    with pytest.raises(ValueError, match="not finite"):
        vector_rows(*rows([[0, np.nan]], [[0, 0]]), CONTEXT)
    with pytest.raises(ValueError, match="neither a reference"):
        vector_rows(*rows([[0, 0]], [[0, 0]], status=[LATE]), MetricContext(shape=(2,)))


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 10**6))
def test_a_failed_row_never_costs_less_than_reference_or_own_mean(n, columns, seed):
    rng = np.random.default_rng(seed)
    errors, measured = rng.exponential(size=(n, columns)), rng.random((n, columns)) < 0.7
    answered = rng.random(n) < 0.5
    costs = with_failure_cost(errors, measured, answered)
    assert (costs[answered] == np.where(measured, errors, 0)[answered]).all()
    assert (costs[~measured] == 0).all()
    reference = np.where(measured, errors, 0).sum(axis=1)
    assert (costs.sum(axis=1) >= reference - 1e-12).all()
    if measured[answered].any() and measured[answered].any(axis=0).all():
        own = (np.where(measured, errors, 0)[answered].sum(axis=0) / measured[answered].sum(axis=0)) * measured
        both = np.maximum(reference, own.sum(axis=1))
        assert costs[~answered].sum(axis=1) == pytest.approx(both[~answered])
