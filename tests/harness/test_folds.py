"""Numbers by fold, over folds and of all rows together; the odd fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from harness.folds import fold_details, outlier, outliers_of, threshold
from harness.metrics.base import MetricContext
from harness.metrics.rmse import RootMeanSquareError

METRIC = RootMeanSquareError(MetricContext(shape=(1,), train_mean=np.zeros(1), train_std=np.ones(1)))
NAMES = {i: f"source {i}" for i in range(40)}


def rows(truth, guess):
    truth, guess = np.array(truth, float), np.array(guess, float)
    return np.stack([truth, guess, (truth - guess) ** 2, np.ones(len(truth))], axis=1)


def test_by_hand():
    kept = {
        (0, 0, "a"): rows([1, 2, 3], [1, 2, 3]),  # rmse 0, both correlations 1
        (1, 0, "b"): rows([1, 2, 3], [3, 2, 1]),  # squared errors 4 0 4; both correlations -1
        (2, 0, "c"): rows([4, 4], [1, 2]),  # squared errors 9 4; constant truth
    }
    found = fold_details(METRIC, kept, NAMES)
    assert found["per_fold"]["0"] == {"group": "source 0", "n": 3, "rmse": 0.0, "plcc": 1.0, "srocc": 1.0}
    assert found["per_fold"]["1"]["rmse"] == pytest.approx(np.sqrt(8 / 3))
    assert found["per_fold"]["2"] == {"group": "source 2", "n": 2, "rmse": np.sqrt(13 / 2), "plcc": None, "srocc": None}
    errors = [0, np.sqrt(8 / 3), np.sqrt(13 / 2)]
    assert found["rmse_mean"] == pytest.approx(sum(errors) / 3)
    assert found["rmse_sd"] == pytest.approx(np.sqrt(sum((e - sum(errors) / 3) ** 2 for e in errors) / 2))
    # The undefined one takes no part, and the count says so.
    assert (found["plcc_mean"], found["plcc_folds"]) == (pytest.approx(0.0), 2) and found["rmse_folds"] == 3
    assert found["plcc_sd"] == pytest.approx(np.sqrt(2))
    assert found["pooled_rmse"] == pytest.approx(np.sqrt(21 / 8))
    truth, guess = [1, 2, 3, 1, 2, 3, 4, 4], [1, 2, 3, 3, 2, 1, 1, 2]
    assert found["pooled_plcc"] == pytest.approx(pearsonr(truth, guess).statistic)
    assert found["pooled_srocc"] == pytest.approx(spearmanr(truth, guess).statistic)


def test_one_fold_has_pooled_numbers_alone():
    found = fold_details(METRIC, {(0, 0, "a"): rows([1, 2], [1, 2]), (0, 0, "b"): rows([3], [4])}, NAMES)
    assert set(found) == {"pooled_rmse", "pooled_plcc", "pooled_srocc"}
    assert found["pooled_plcc"] == pytest.approx(pearsonr([1, 2, 3], [1, 2, 4]).statistic)
    assert fold_details(METRIC, {}, NAMES) == {}


def test_seeds_are_averaged_and_never_counted_as_rows():
    kept = {
        (0, 0, "a"): rows([0, 2], [0, 0]),
        (0, 1, "a"): rows([0, 2], [0, 2]),
        (1, 0, "b"): rows([0, 1], [0, 1]),
        (1, 1, "b"): rows([0, 1], [0, 1]),
    }
    found = fold_details(METRIC, kept, NAMES)
    assert found["per_fold"]["0"]["n"] == 2 and found["per_fold"]["0"]["rmse"] == pytest.approx(np.sqrt(2) / 2)
    # Constant for one seed: not better without it.
    assert found["per_fold"]["0"]["plcc"] is None and found["per_fold"]["1"]["plcc"] == pytest.approx(1.0)
    assert found["pooled_rmse"] == pytest.approx((1 + 0) / 2)


def test_where_nothing_is_answered_there_is_no_correlation():
    """Failed rows stand with their reference, which may well go along with the truth."""
    kept = {(i, 0, "abc"[i]): rows([1, 2, 3], [1, 2, 3]) for i in range(3)}
    kept[2, 0, "c"][:, 3] = 0
    found = fold_details(METRIC, kept, NAMES)
    assert [found["per_fold"][fold]["plcc"] for fold in "012"] == [1.0, 1.0, None] and found["plcc_folds"] == 2
    assert found["pooled_srocc"] == pytest.approx(1.0)
    for part in kept.values():
        part[:, 3] = 0
    found = fold_details(METRIC, kept, NAMES)
    assert found["pooled_plcc"] is found["pooled_srocc"] is found["srocc_mean"] is None and found["pooled_rmse"] == 0.0


def test_of_two_folds_none_is_judged():
    two = {(i, 0, "ab"[i]): rows([1, 2, 3], [1, 2, 3 + i]) for i in range(2)}
    assert fold_details(METRIC, two, NAMES)["outlier_judged"] is False
    assert fold_details(METRIC, two | {(2, 0, "c"): rows([1, 2], [1, 2])}, NAMES)["outlier_judged"] is True


def test_everything_undefined_is_none_everywhere():
    found = fold_details(METRIC, {(i, 0, "abc"[i]): rows([1, 2], [5, 5]) for i in range(3)}, NAMES)
    assert found["srocc_mean"] is None and found["srocc_sd"] is None and found["srocc_folds"] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_every_row_twice_changes_nothing(folds, seed):
    rng = np.random.default_rng(seed)
    kept = {(f, 0, str(f)): rows(*rng.integers(0, 5, (2, rng.integers(2, 9)))) for f in range(folds)}
    once = fold_details(METRIC, kept, NAMES)
    twice = fold_details(METRIC, {key: np.repeat(part, 2, axis=0) for key, part in kept.items()}, NAMES)
    for name in once:
        if name not in ("per_fold", "outlier_fold"):
            assert twice[name] == pytest.approx(once[name], abs=1e-9), name


def test_a_fold_apart_is_named_by_index_distance_and_limit():
    # Median 1.1, deviations .1 0 .1 .2 0 .1 .1 8.9: their median is .1.
    index, distance, limit = outlier(np.array([1.0, 1.1, 1.2, 0.9, 1.1, 1.0, 1.2, 10.0]))
    assert index == 7 and distance == pytest.approx(89) and limit == threshold(8)
    # A fold that is far too easy is as odd as one that is too hard.
    assert outlier(np.array([1.0, 1.1, 1.2, 0.9, 1.1, 1.0, 1.2, 0.0]))[0] == 7


def test_alike_folds_have_no_odd_one():
    assert outlier(np.array([1.0, 1.1, 1.2, 0.9])) is None
    assert outlier(np.array([0.0, 0.0, 0.0])) is None and outlier(np.full(5, 0.3)) is None
    assert outlier(np.full(5, 0.3) + 1e-9 * np.arange(5) ** 3) is None
    assert outlier(np.array([1.0, 99.0])) is None and outlier(np.zeros(0)) is None


@pytest.mark.parametrize("count", [3, 4, 5, 8, 16])
def test_one_run_in_twenty_with_alike_folds_calls_one_odd(count):
    samples = np.random.default_rng(7).normal(10, 2, (4000, count))
    share = np.mean([outlier(sample) is not None for sample in samples])
    assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 4000) + 0.002)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=3, max_size=12), st.floats(0.01, 100))
def test_the_unit_of_the_target_decides_nothing(values, scale):
    one, other = outlier(np.array(values, float)), outlier(np.array(values, float) * scale)
    assert (one is None) == (other is None)


def leaderboard_row(branch, group, family="head", privileged=False):
    odd = None if group is None else {"group": group}
    return {"branch": branch, "family": family, "privileged": privileged, "detail": {"outlier_fold": odd, "outlier_judged": True}}


def test_same_for_every_model_or_not():
    rows_ = [leaderboard_row("linear", "x"), leaderboard_row("mlp", "x"), leaderboard_row("prior", None, "floor")]
    found = outliers_of(rows_)
    assert found == {"same": True, "group": "x", "by_branch": {"linear": "x", "mlp": "x", "prior": None}, "judged": True}
    assert outliers_of([*rows_, leaderboard_row("ridge", "y")])["same"] is False
    assert outliers_of([*rows_, leaderboard_row("ridge", None)])["group"] is None
    assert outliers_of([leaderboard_row("linear", None), leaderboard_row("oracle", "z", "reference", True)]) == {
        "same": True,
        "group": None,
        "by_branch": {"linear": None},
        "judged": True,
    }
    assert outliers_of([{"branch": "a", "family": "head", "privileged": False, "detail": {}}]) is None
