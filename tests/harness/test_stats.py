"""Intervals over clusters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.answers import Predictions, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.macro_f1 import MacroF1
from harness.metrics.mae import MeanAbsoluteError
from harness.metrics.r2 import R2
from harness.metrics.validity import Validity
from harness.stats import cluster_states, estimate, skill


class Mean(MeanAbsoluteError):
    """Of any numbers."""

    limits = (-np.inf, np.inf)


class PooledError(Mean):
    """The same number, taken as if it were no mean over rows."""

    mean_over_rows = False


MEAN, POOLED = Mean(MetricContext()), PooledError(MetricContext())
MACRO = MacroF1(MetricContext(classes=("a", "b"), seen=np.ones(2, bool)))
values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=3, max_size=12)


def mean_states(cluster_values, rows=4.0):
    return np.array([[v * rows, rows] for v in cluster_values], float)


@settings(deadline=None)
@given(values)
def test_t_interval_as_in_scipy(cluster_values):
    result = estimate(MEAN, mean_states(cluster_values))
    g = len(cluster_values)
    mean, error = np.mean(cluster_values), scipy_stats.sem(cluster_values)
    assert result.value == pytest.approx(mean, abs=1e-9)
    assert result.standard_error == pytest.approx(error, abs=1e-9)
    assert result.n_clusters == g
    if error > 1e-9:
        low, high = scipy_stats.t.interval(0.95, g - 1, loc=mean, scale=error)
        assert (result.ci_low, result.ci_high) == pytest.approx((low, high))
        assert result.mde == pytest.approx((scipy_stats.t.ppf(0.975, g - 1) + scipy_stats.t.ppf(0.8, g - 1)) * error)


@settings(deadline=None)
@given(values)
def test_the_jackknife_of_a_mean_is_the_t_interval(cluster_values):
    a, b = (estimate(m, mean_states(cluster_values)) for m in (MEAN, POOLED))
    for name in ("value", "ci_low", "ci_high", "standard_error", "mde"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-7)


@settings(deadline=None)
@given(values, st.integers(0, 10**6), st.sampled_from([MEAN, POOLED]))
def test_order_and_duplicated_windows_change_nothing(cluster_values, seed, metric):
    rng = np.random.default_rng(seed)
    states = mean_states(cluster_values) * rng.integers(1, 9, (len(cluster_values), 1))
    base = estimate(metric, states)
    order = rng.permutation(len(states))
    for other in (estimate(metric, states[order]), estimate(metric, 2 * states)):
        for name in ("value", "ci_low", "ci_high", "standard_error", "mde"):
            assert getattr(other, name) == pytest.approx(getattr(base, name), abs=1e-9)
    assert estimate(metric, states[order]).per_cluster == tuple(base.per_cluster[i] for i in order)


def test_every_window_twice_gives_the_same_interval():
    rng = np.random.default_rng(0)

    def state(truth, guess):
        n = len(truth)
        return MACRO.state(
            Targets(np.ones(n, bool), labels=truth, vocabulary=("a", "b")),
            Predictions(all_ok(n), labels=guess, vocabulary=("a", "b")),
        )

    clusters = [rng.integers(0, 2, (2, 9)).astype(np.int32) for _ in range(5)]
    once = estimate(MACRO, np.array([state(t, g) for t, g in clusters]))
    twice = estimate(MACRO, np.array([state(np.repeat(t, 2), np.repeat(g, 2)) for t, g in clusters]))
    assert once == twice
    assert once.ci_low < once.value < once.ci_high


def test_jackknife_by_hand():
    # tp a, tp b, fp a, fp b, fn a, fn b of three clusters.
    states = np.array([[3, 1, 0, 1, 1, 0], [1, 2, 1, 0, 0, 1], [2, 2, 1, 0, 0, 1]], float)
    value = MACRO.value(states.sum(axis=0))
    left_out = np.array([MACRO.value(np.delete(states, g, axis=0).sum(axis=0)) for g in range(3)])
    error = np.sqrt(2 / 3 * ((left_out - left_out.mean()) ** 2).sum())
    result = estimate(MACRO, states)
    assert result.value == pytest.approx(value)
    assert result.standard_error == pytest.approx(error)
    assert result.ci_high - result.ci_low == pytest.approx(2 * scipy_stats.t.ppf(0.975, 2) * error)
    assert result.per_cluster == pytest.approx(tuple(MACRO.value(states)))


def test_a_class_of_one_cluster_only_leaves_the_jackknife_exactly():
    # Thirds, as an average over three seeds gives them; without the second cluster, class b has no support.
    states = np.array([[1 / 3, 0, 0, 0, 2 / 3, 0], [1, 0.1, 0, 0, 0, 0.2], [2 / 3, 0, 0, 0, 1 / 3, 0]])
    left_out = [MACRO.value(np.delete(states, g, axis=0).sum(axis=0)) for g in range(3)]
    error = np.sqrt(2 / 3 * ((left_out - np.mean(left_out)) ** 2).sum())
    assert estimate(MACRO, states).standard_error == pytest.approx(error)


@pytest.mark.parametrize("metric", [MEAN, POOLED])
def test_too_few_clusters_have_a_value_and_no_interval(metric):
    two = estimate(metric, mean_states([1.0, 3.0]))
    assert two.value == pytest.approx(2.0)
    assert (two.ci_low, two.ci_high, two.standard_error, two.mde) == (None,) * 4
    assert estimate(metric, mean_states([4.0])).value == 4.0
    none = estimate(metric, np.zeros((3, 2)))
    assert none.value is None and none.n_clusters == 0 and none.per_cluster == (None,) * 3


@pytest.mark.parametrize("metric", [MEAN, POOLED])
def test_clusters_without_rows_do_not_count(metric):
    states = mean_states([1.0, 2.0, 6.0])
    with_empty = estimate(metric, np.insert(states, 1, 0.0, axis=0))
    without = estimate(metric, states)
    assert with_empty.n_clusters == 3
    assert (with_empty.value, with_empty.ci_low) == pytest.approx((without.value, without.ci_low))
    assert with_empty.per_cluster == (1.0, None, 2.0, 6.0)


def test_a_value_that_hangs_on_one_cluster_has_no_interval():
    # Only the first cluster's truth leaves the train mean: without it there is no R2.
    r2 = R2(MetricContext(shape=(1,), train_mean=np.zeros(1), train_std=np.ones(1)))
    result = estimate(r2, np.array([[1, 4, 1, 4, 3, 1], [0.5, 0, 0.5, 0, 3, 0], [0.5, 0, 0.5, 0, 3, 0]], float))
    assert result.value == pytest.approx(0.5)
    assert result.n_clusters == 3 and result.ci_low is None and result.standard_error is None
    assert result.per_cluster == (0.75, None, None)


@pytest.mark.parametrize("metric", [MEAN, POOLED])
def test_equal_clusters_have_an_interval_of_no_width(metric):
    result = estimate(metric, mean_states([0.1] * 7, rows=1.0))
    assert (result.ci_low, result.ci_high, result.standard_error, result.mde) == pytest.approx((0.1, 0.1, 0, 0))
    assert result.ci_low <= result.value <= result.ci_high


def test_power_line_of_the_rule_book():
    for g, expected in {3: 3.10, 5: 1.66, 8: 1.15, 16: 0.75, 32: 0.51}.items():
        rng = np.random.default_rng(g)
        spread = rng.normal(size=g)
        result = estimate(MEAN, mean_states((spread - spread.mean()) / spread.std(ddof=1)))
        assert result.mde == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("metric", [MEAN, POOLED])
def test_refitted_folds_widen_the_interval(metric):
    states = mean_states([1.0, 2.0, 4.0, 9.0])
    frozen, refit = estimate(metric, states), estimate(metric, states, test_train_ratio=1 / 3)
    spread = np.std([1, 2, 4, 9], ddof=1)
    assert refit.standard_error == pytest.approx(np.sqrt(1 / 4 + 1 / 3) * spread)
    assert refit.value == frozen.value
    half = scipy_stats.t.ppf(0.975, 3) * refit.standard_error
    assert (refit.ci_low, refit.ci_high) == pytest.approx((refit.value - half, refit.value + half))


def test_states_of_a_cluster_are_summed():
    states = np.arange(8.0).reshape(4, 2)
    assert cluster_states(states, ["s2", "s1", "s2", "s3"]).tolist() == [[2, 3], [4, 6], [6, 7]]
    both = cluster_states(np.stack([states, 10 * states]), ["s2", "s1", "s2", "s3"])
    assert both.shape == (2, 3, 2) and both[1].tolist() == [[20, 30], [40, 60], [60, 70]]
    with pytest.raises(ValueError, match="cluster ids"):
        cluster_states(states, ["a"])


def test_skill():
    assert skill(0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert skill(0.03, 0.04, 0.0) == pytest.approx(0.25)
    assert skill(0.1, 0.2, 1.0) < 0
    assert skill(1.0, 1.0, 1.0) is None
    assert skill(None, 0.2, 1.0) is None and skill(0.1, None, 1.0) is None and skill(0.1, 0.2, None) is None


@pytest.mark.slow
def test_coverage_at_five_clusters():
    """Nominal 95 % intervals, clusters that differ: the cluster mean's and the jackknife of macro-F1 hold near 95 %."""
    rng = np.random.default_rng(5)
    runs, g, rows = 2000, 5, 64
    inside = {"mean": 0, "macro": 0}
    rate = 0.6
    # Macro-F1 of a rater that is right with the same rate on two classes of equal share is that rate.
    for _ in range(runs):
        p = np.clip(rate + 0.1 * rng.normal(size=g), 0.01, 0.99)
        right = rng.binomial(rows // 2, p, (2, g))
        wrong = rows // 2 - right
        mean = estimate(MEAN, np.column_stack([right.sum(axis=0), np.full(g, rows)]).astype(float))
        macro = estimate(MACRO, np.column_stack([right[0], right[1], wrong[1], wrong[0], wrong[0], wrong[1]]).astype(float))
        inside["mean"] += mean.ci_low <= rate <= mean.ci_high
        inside["macro"] += macro.ci_low <= rate <= macro.ci_high
    assert 0.93 < inside["mean"] / runs < 0.97
    assert 0.92 < inside["macro"] / runs < 0.97


def test_an_interval_ends_where_the_metric_does_and_is_not_empty_where_all_is_right():
    # Three rates, 0.9, 0.95 and 1: their t interval would reach 1.07.
    valid = Validity(MetricContext())
    spread = estimate(valid, np.array([[18.0, 20.0], [19.0, 20.0], [20.0, 20.0]]))
    assert spread.ci_high == 1.0 and spread.ci_low == pytest.approx(0.95 - 4.302653 * 0.05 / np.sqrt(3))
    for g, low in ((3, 0.0), (5, 0.4), (14, 1 - 3 / 14)):
        perfect = estimate(valid, np.full((g, 2), 20.0))
        assert (perfect.ci_low, perfect.ci_high, perfect.mde) == (pytest.approx(low), 1.0, None)
    none = estimate(MACRO, np.array([[0.0, 0, 1, 1, 1, 1]] * 6))
    assert (none.value, none.ci_low, none.ci_high) == (0.0, 0.0, 0.5)
    assert estimate(valid, np.full((5, 2), 20.0), by_construction=True).ci_low == 1.0
    errors = estimate(MeanAbsoluteError(MetricContext()), mean_states([0.1, 0.2, 0.9]))
    assert errors.ci_low == 0.0 and errors.ci_high > 1
    flat = estimate(valid, np.array([[10.0, 20.0]] * 4))
    assert (flat.ci_low, flat.ci_high) == (0.5, 0.5)
