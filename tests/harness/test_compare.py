"""Paired contrasts: what scipy says, what can be counted by hand, and what must not change a verdict."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.compare import Side, compare, decide, margin_of, power_line, rank_intervals
from harness.metrics.base import MetricContext
from harness.metrics.macro_f1 import MacroF1
from harness.metrics.mae import MeanAbsoluteError
from harness.metrics.r2 import R2
from harness.stats import (
    EXACT_CLUSTERS,
    clusters_needed,
    contributions,
    detectable,
    estimate,
    holm,
    rate_interval,
    seed_error,
    sign_flip,
    smallest_p,
)

ERROR = MeanAbsoluteError(MetricContext())
MACRO = MacroF1(MetricContext(classes=("a", "b"), seen=np.ones(2, bool)))
columns = st.integers(3, 9).flatmap(
    lambda g: st.lists(st.lists(st.integers(-50, 50), min_size=g, max_size=g), min_size=1, max_size=4)
)


def side(name: str, values, rows: float = 1.0, ratio: float = 0.0) -> Side:
    """Errors of the clusters as states."""
    return Side(name, np.array([[v * rows, rows] for v in values], float), ratio)


def counts(rng: np.random.Generator, g: int) -> np.ndarray:
    return rng.integers(0, 9, (g, 6)).astype(float) + np.array([1, 1, 0, 0, 0, 0])


@settings(deadline=None, max_examples=60)
@given(columns)
def test_p_is_that_of_scipy_and_of_counting_all_signs(rows):
    differences = np.array(rows, float).T
    p, adjusted = sign_flip(differences)
    for j, column in enumerate(differences.T):
        if np.any(column):
            exact = scipy_stats.permutation_test((column,), np.mean, permutation_type="samples", n_resamples=np.inf)
            assert p[j] == pytest.approx(exact.pvalue)
        else:
            assert p[j] == 1.0
    # The family by hand: the largest |t| over all contrasts under every sign vector.
    signs = np.array(list(product((1, -1), repeat=len(differences))))
    t = np.abs(_t(signs[:, :, None] * differences))
    observed = np.abs(_t(differences[None]))[0]
    by_hand = (t.max(axis=1)[:, None] >= observed - 1e-7).mean(axis=0)
    assert np.where(np.any(differences, axis=0), by_hand, 1.0) == pytest.approx(adjusted)
    assert (adjusted >= p - 1e-12).all()


def _t(values: np.ndarray) -> np.ndarray:
    mean, deviation = values.mean(axis=1), values.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / deviation
    return np.where(mean == 0, 0.0, np.clip(np.nan_to_num(t, posinf=1e9, neginf=-1e9), -1e9, 1e9))


@pytest.mark.parametrize("g", range(1, 12))
def test_the_smallest_p_is_reached_where_all_differences_agree(g):
    p, adjusted = sign_flip(np.full((g, 2), 0.3))
    assert p[0] == adjusted[0] == smallest_p(g) == min(1.0, 2 / 2**g)


def test_differences_of_any_size_are_tested():
    d = np.array([1.0, 2, 3, 4, 5, 6, -1])
    plain = sign_flip(d[:, None])[0]
    for scale in (1e-200, 1e200):
        assert sign_flip(scale * d[:, None])[0] == pytest.approx(plain)


def test_above_sixteen_clusters_the_flips_are_seeded():
    rng = np.random.default_rng(1)
    differences = rng.normal(0.15, 0.3, (EXACT_CLUSTERS + 4, 3))
    one, other, third = (sign_flip(differences, seed) for seed in (0, 0, 1))
    assert np.array_equal(one[0], other[0]) and not np.array_equal(one[0], third[0])
    exact = [
        scipy_stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=200_000, rng=5).pvalue
        for d in differences.T
    ]
    assert one[0] == pytest.approx(exact, abs=0.006)
    assert sign_flip(np.ones((40, 1)))[0][0] == smallest_p(40) == 1 / 100_001


def test_holm_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.6, 0.5])).tolist() == [1.0, 1.0]


def test_a_paired_difference_by_hand():
    a, b = [1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0], [2.0, 3.5, 4.5, 3.0, 2.0, 3.5, 4.0]
    [found] = compare(ERROR, [(side("a", a), side("b", b))], margin=0.5)
    d = np.array(b) - np.array(a)  # errors: the lower is better, so b - a
    low, high = scipy_stats.t.interval(0.95, 6, loc=d.mean(), scale=scipy_stats.sem(d))
    assert found.difference == pytest.approx(d.mean())
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert found.p == 2 / 2**7 and found.verdict == "better" and found.leaning is None
    assert found.mde == pytest.approx((scipy_stats.t.ppf(0.975, 6) + scipy_stats.t.ppf(0.8, 6)) * scipy_stats.sem(d))
    assert found.test == "sign-flip" and found.correction == "max-T"


@settings(deadline=None, max_examples=40)
@given(st.integers(3, 10), st.integers(0, 10**6), st.booleans())
def test_the_other_way_round_is_the_opposite_and_windows_twice_change_nothing(g, seed, refit):
    rng = np.random.default_rng(seed)
    ratio = 1 / (g - 1) if refit else 0.0
    opposite = {"better": "worse", "worse": "better", "tied": "tied", "inconclusive": "inconclusive", None: None}
    for metric, a, b in ((MACRO, counts(rng, g), counts(rng, g)), (ERROR, rng.random((g, 2)), rng.random((g, 2)))):
        [one] = compare(metric, [(Side("a", a, ratio), Side("b", b, ratio))], 0.1)
        [back] = compare(metric, [(Side("b", b, ratio), Side("a", a, ratio))], 0.1)
        [twice] = compare(metric, [(Side("a", 2 * a, ratio), Side("b", 2 * b, ratio))], 0.1)
        order = rng.permutation(g)
        [shuffled] = compare(metric, [(Side("a", a[order], ratio), Side("b", b[order], ratio))], 0.1)
        assert (back.difference, back.ci_low) == pytest.approx((-one.difference, -one.ci_high))
        assert (back.verdict, back.leaning) == (opposite[one.verdict], opposite[one.leaning])
        for other in (twice, shuffled):
            assert (other.difference, other.ci_low, other.p) == pytest.approx((one.difference, one.ci_low, one.p))
            assert other.verdict == one.verdict


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 5), st.integers(0, 10**6))
def test_few_clusters_crown_nobody(g, seed):
    rng = np.random.default_rng(seed)
    a, b = side("a", rng.random(g) * 0.01), side("b", 5 + rng.random(g))
    if g == 0:
        a, b = Side("a", np.zeros((1, 2))), Side("b", np.zeros((1, 2)))
    [found] = compare(ERROR, [(a, b)], 0.5)
    assert found.verdict == "inconclusive"
    assert (found.ci_low is None) == (g <= 2) and (found.mde is None) == (g <= 2)
    assert found.leaning == ("better" if g else None)
    assert "no interval" in power_line(g) if g <= 2 else "no winner" in power_line(g)


def test_equal_branches_are_tied_and_a_wide_interval_is_not():
    same = side("a", [0.1, 0.2, 0.3, 0.2, 0.2, 0.1])
    [found] = compare(ERROR, [(same, Side("b", same.states))], 0.02)
    assert (found.verdict, found.difference, found.ci_low, found.p) == ("tied", 0.0, 0.0, 1.0)
    assert compare(ERROR, [(same, Side("b", same.states))], None)[0].verdict == "inconclusive"
    # Two one-sided tests at 5 %: the 90 % interval must lie within the margin.
    d = np.array([0.010, -0.010, 0.012, -0.011, 0.009, -0.008])
    b = side("b", 0.5 + d)
    half = scipy_stats.t.ppf(0.95, 5) * scipy_stats.sem(d)
    reach = abs(d.mean()) + half
    assert compare(ERROR, [(side("a", [0.5] * 6), b)], reach * 1.01)[0].verdict == "tied"
    assert compare(ERROR, [(side("a", [0.5] * 6), b)], reach * 0.99)[0].verdict == "inconclusive"


def test_below_six_clusters_everything_is_inconclusive():
    same = side("a", [0.1, 0.2, 0.3, 0.2, 0.2])
    [found] = compare(ERROR, [(same, Side("b", same.states))], 0.02)
    assert (found.verdict, found.difference, found.ci_low, found.ci_high) == ("inconclusive", 0.0, 0.0, 0.0)


def test_equal_but_for_rounding_is_equal():
    a, b = Side("a", np.array([[0.1 + 0.2, 2.0]] * 8)), Side("b", np.array([[0.3, 2.0]] * 8))
    [found] = compare(ERROR, [(a, b)], 0.02)
    assert (found.difference, found.p, found.verdict) == (0.0, 1.0, "tied")
    # Labels by other names: the same counts, summed in another order.
    rng = np.random.default_rng(0)
    states = rng.integers(1, 9, (100, 6, 3, 7)).astype(float)
    classes = MacroF1(MetricContext(classes=tuple("abcdefg"), seen=np.ones(7, bool)))
    for one in states:
        other = one[..., rng.permutation(7)]
        [found] = compare(classes, [(Side("a", one.reshape(6, 21)), Side("b", other.reshape(6, 21)))], 0.02)
        assert (found.difference, found.verdict) == (0.0, "tied")


def test_a_verdict_needs_both_the_interval_and_the_test():
    assert decide(1.0, 0.2, 8, 0.01, None) == "better"
    assert decide(-1.0, 0.2, 8, 0.01, None) == "worse"
    assert decide(1.0, 0.6, 8, 0.01, None) == "inconclusive"
    assert decide(1.0, 0.2, 8, 0.06, None) == "inconclusive"


def test_clusters_that_one_side_lacks_do_not_count_and_the_family_falls_back_to_holm():
    full = side("a", [1.0, 2, 3, 4, 5, 6, 7])
    other = side("b", [2.0, 3, 5, 5, 6, 8, 8])
    short = Side("c", np.vstack([side("c", [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]).states, np.zeros(2)]))
    first, second = compare(ERROR, [(full, other), (full, short)])
    assert (first.n_clusters, second.n_clusters) == (7, 6)
    assert first.correction == second.correction == "holm"
    assert (first.p_adjusted, second.p_adjusted) == (pytest.approx(4 / 2**7), pytest.approx(2 / 2**6))
    assert compare(ERROR, [(full, Side("d", np.zeros((7, 2))))])[0].difference is None


def test_a_metric_that_is_no_mean_is_tested_on_pseudo_values():
    rng = np.random.default_rng(4)
    a, b = counts(rng, 8), counts(rng, 8)
    [found] = compare(MACRO, [(Side("a", a), Side("b", b))])
    keep = [np.delete(np.arange(8), g) for g in range(8)]
    left_out = np.array([MACRO.value(a[k].sum(axis=0)) - MACRO.value(b[k].sum(axis=0)) for k in keep])
    difference = MACRO.value(a.sum(axis=0)) - MACRO.value(b.sum(axis=0))
    error = np.sqrt(7 / 8 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.difference == pytest.approx(difference) and found.standard_error == pytest.approx(error)
    pseudo = 8 * difference - 7 * left_out
    exact = scipy_stats.permutation_test((pseudo,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(exact.pvalue) and "pseudo-values" in found.test
    value, parts = contributions(MACRO, a)
    single = estimate(MACRO, a)
    assert (value, parts.std(ddof=1) / np.sqrt(8)) == pytest.approx((single.value, single.standard_error))


def test_a_value_that_hangs_on_one_cluster_cannot_be_compared():
    r2 = R2(MetricContext(shape=(1,), train_mean=np.zeros(1), train_std=np.ones(1)))
    hanging = np.array([[1, 4, 1, 4, 3, 1], [0.5, 0, 0.5, 0, 3, 0], [0.5, 0, 0.5, 0, 3, 0]], float)
    [found] = compare(r2, [(Side("a", hanging), Side("b", hanging * [2, 1, 2, 1, 1, 1]))])
    assert found.difference == pytest.approx(0.5) and found.ci_low is None and found.verdict == "inconclusive"


def test_refitted_folds_widen_the_interval_of_a_difference():
    a, b = [1.0, 2, 4, 9], [2.0, 2, 5, 7]
    [frozen] = compare(ERROR, [(side("a", a), side("b", b))])
    [refit] = compare(ERROR, [(side("a", a, ratio=1 / 3), side("b", b))])
    [other_side] = compare(ERROR, [(side("a", a), side("b", b, ratio=1 / 3))])
    assert other_side.standard_error == refit.standard_error
    assert refit.standard_error / frozen.standard_error == pytest.approx(np.sqrt((1 / 4 + 1 / 3) / (1 / 4)))


def test_ranks_are_intervals():
    a, b, c = side("a", [1.0] * 8), side("b", [1.0, 1.1] * 4), side("c", np.linspace(3, 4, 8))
    contrasts = compare(ERROR, [(a, b), (a, c), (b, c)])
    assert [x.verdict for x in contrasts] == ["inconclusive", "better", "better"]
    assert rank_intervals(["a", "b", "c"], contrasts) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    # One that may not be ranked takes no place.
    assert rank_intervals(["a", "c"], contrasts) == {"a": (1, 1), "c": (2, 2)}


def test_how_many_clusters_a_difference_needs():
    needed = clusters_needed(0.1, 0.05)
    assert detectable(0.1 / np.sqrt(needed), needed) <= 0.05 < detectable(0.1 / np.sqrt(needed - 1), needed - 1)
    assert clusters_needed(1e-9, 1.0) == 6  # with fewer no test reaches 5 %
    assert clusters_needed(0.1, 0.0) is None and clusters_needed(1.0, 1e-6) is None


def test_what_counts_as_equal():
    assert margin_of(MACRO, 0.1, 1.0) == 0.02
    assert margin_of(ERROR, 0.3, 0.0) == pytest.approx(0.006)
    assert margin_of(ERROR, 0.3, 0.0, {"mae": 0.05}) == 0.05
    assert margin_of(ERROR, None, 0.0) is None and margin_of(ERROR, 0.0, 0.0) is None


def test_rates_at_their_ends_and_between():
    eight = np.full(8, 32.0)
    assert rate_interval(eight, eight) == pytest.approx((1 - 3 / 8, 1.0))
    assert rate_interval(0 * eight, eight) == pytest.approx((0.0, 3 / 8))
    assert rate_interval(eight[:2], eight[:2]) is None
    hits = np.array([32.0, 30, 28, 32, 25, 31, 32, 29])
    low, high = scipy_stats.t.interval(0.95, 7, loc=(hits / 32).mean(), scale=scipy_stats.sem(hits / 32))
    assert rate_interval(hits, eight) == pytest.approx((low, min(high, 1.0)))
    assert rate_interval(2 * hits, 2 * eight) == pytest.approx(rate_interval(hits, eight))


def test_scores_of_seeds_are_averaged_and_their_states_are_not():
    # Each seed answers one class everywhere: the mean state would have hits in every class.
    a, b = np.array([4.0, 0, 4, 0, 0, 4]), np.array([0.0, 4, 0, 4, 4, 0])
    two = np.stack([np.stack([a] * 7), np.stack([b] * 7)])
    assert estimate(MACRO, two).value == pytest.approx(1 / 3)
    floor = Side("floor", np.stack([a] * 7))
    [found] = compare(MACRO, [(Side("seeds", two), floor)], 0.02)
    assert found.difference == pytest.approx(0.0) and found.verdict == "tied"
    rng = np.random.default_rng(0)
    seeds = np.stack([counts(rng, 8) for _ in range(3)])
    one = estimate(MACRO, seeds)
    assert one.value == pytest.approx(np.mean([estimate(MACRO, s).value for s in seeds]))
    parts = np.mean([contributions(MACRO, s)[1] for s in seeds], axis=0)
    assert one.standard_error == pytest.approx(parts.std(ddof=1) / np.sqrt(8))


def test_seeds_and_clusters_crossed_by_hand():
    table = np.array([[1.0, 2, 3], [2, 3, 4], [4, 5, 6]])  # no interaction: rows + columns
    g, s = table.mean(axis=1).var(ddof=1) / 3, table.mean(axis=0).var(ddof=1) / 3
    assert seed_error(table) == pytest.approx(np.sqrt(g + s))
    assert seed_error(table[:, :2]) is None and seed_error(table[:2]) is None
