"""Probabilities: by hand, as scikit-learn has them, and what is no probability."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.probability import OTHER, PROBABILITY_FLOOR, probability_state, probability_values

WORST = -np.log(PROBABILITY_FLOOR)


def labels(codes, words) -> Targets:
    return Targets(np.ones(len(codes), bool), labels=np.array(codes, np.int32), vocabulary=tuple(words))


def rows(probabilities, status=None) -> Predictions:
    p = np.array(probabilities, np.float32)
    return Predictions(all_ok(len(p)) if status is None else status, labels=p.argmax(axis=1).astype(np.int32), probabilities=p)


def values(truth, given, classes, unseen=()):
    seen = np.array([word not in unseen for word in truth.vocabulary])
    return probability_values(probability_state(truth, given, classes, seen))


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(2, 40), st.integers(0, 10**6))
def test_labels_as_scikit_learn_has_them(k, n, seed):
    rng = np.random.default_rng(seed)
    p = 0.9 * rng.dirichlet(np.ones(k), n) + 0.1 / k
    p /= p.sum(axis=1, keepdims=True)
    codes = rng.integers(0, k, n)
    words = [f"c{i}" for i in range(k)]
    found = values(labels(codes, words), rows(p), tuple(words))
    assert found["log_loss"] == pytest.approx(log_loss(codes, p, labels=range(k)), abs=1e-5)
    assert found["brier"] == pytest.approx(((p - np.eye(k)[codes]) ** 2).sum(axis=1).mean(), abs=1e-5)
    assert found["other_share"] == 0.0 and 0 <= found["ece"] <= 1


def test_a_label_that_train_does_not_have_is_other_and_costs_the_floor():
    truth = labels([0, 1], ["pour", "stir"])
    found = values(truth, rows([[0.8, 0.2], [0.7, 0.3]]), ("pour", "wash"), unseen=["stir"])
    assert found["log_loss"] == pytest.approx((-np.log(0.8) + WORST) / 2)
    assert found["brier"] == pytest.approx(((0.2**2 + 0.2**2) + (0.7**2 + 0.3**2 + 1)) / 2)
    assert found["other_share"] == 0.5
    assert found["ece"] == pytest.approx((abs(0.8 - 1) + abs(0.7 - 0)) / 2)
    # One that offers a probability for it is scored by that.
    offered = values(truth, rows([[0.8, 0.2], [0.4, 0.6]]), ("pour", OTHER), unseen=["stir"])
    assert offered["log_loss"] == pytest.approx((-np.log(0.8) - np.log(0.6)) / 2)


def test_other_is_no_hiding_place_for_labels_that_train_has():
    truth = labels([0, 1, 0], ["pour", "stir"])
    found = values(truth, rows([[1.0], [1.0], [1.0]]), (OTHER,))
    assert found["log_loss"] == pytest.approx(WORST) and found["brier"] == pytest.approx(2.0)
    assert found["ece"] == pytest.approx(1.0) and found["other_share"] == 0.0


def test_a_sum_above_one_gains_nothing():
    truth = labels([0, 1], ["pour", "stir"])
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    assert values(truth, rows(p * 1.009), ("pour", "stir")) == pytest.approx(values(truth, rows(p), ("pour", "stir")), abs=1e-6)


def test_words_that_nothing_is_called_are_no_decisions():
    truth = Targets(np.ones(2, bool), label_sets=np.array([[True, False], [False, True]]), vocabulary=("cup", "jar"))
    p = np.full((2, 2), 0.5, np.float32)
    padded = np.concatenate([p, np.zeros((2, 50), np.float32)], axis=1)
    junk = ("cup", "jar", *(f"junk {i}" for i in range(50)))
    few = Predictions(all_ok(2), label_sets=p > 0.4, probabilities=p)
    many = Predictions(all_ok(2), label_sets=padded > 0.4, probabilities=padded)
    assert values(truth, many, junk) == pytest.approx(values(truth, few, ("cup", "jar")))


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [0.9, 0.9], [-0.2, 1.2], [np.inf, 0.0]])
def test_failed_rows_and_numbers_that_are_no_probabilities_cost_the_worst(bad):
    truth = labels([0, 0], ["a", "b"])
    found = values(truth, rows([[1.0, 0.0], bad]), ("a", "b"))
    assert found["log_loss"] == pytest.approx(WORST / 2) and found["brier"] == pytest.approx(1.0)
    assert found["ece"] == pytest.approx(0.0) and found["ece_share"] == 0.5  # only what was answered is calibrated or not
    status = np.array([Status.OK.value, Status.TIMEOUT.value])
    assert values(truth, rows([[1.0, 0.0], [1.0, 0.0]], status), ("a", "b")) == pytest.approx(found)


def test_label_sets_are_decisions_and_missing_words_cost_the_floor():
    sets = np.array([[True, False, True], [False, True, False]])
    truth = Targets(np.ones(2, bool), label_sets=sets, vocabulary=("cup", "jar", "lid"))
    p = np.array([[0.9, 0.2], [0.3, 0.6]], np.float32)
    given_rows = Predictions(all_ok(2), label_sets=p > 0.5, vocabulary=("cup", "jar"), probabilities=p)
    found = values(truth, given_rows, ("cup", "jar"), unseen=["lid"])
    flat_truth, flat_p = [1, 0, 0, 1], p.ravel()
    # Six decisions: the lid has the probability 0, once true and once not.
    assert found["log_loss"] == pytest.approx((4 * log_loss(flat_truth, flat_p) + WORST) / 6)
    assert found["brier"] == pytest.approx((4 * brier_score_loss(flat_truth, flat_p) + 1) / 6)
    assert found["other_share"] == pytest.approx(1 / 3)


def test_rows_without_any_or_over_other_classes_cost_the_worst():
    truth = labels([0], ["a"])
    nothing = Predictions(all_ok(1), labels=np.zeros(1, np.int32))
    for given_rows, classes in ((nothing, ("a",)), (rows([[1.0]]), ()), (rows([[1.0]]), ("a", "b"))):
        found = values(truth, given_rows, classes)
        assert (found["log_loss"], found["brier"], found["ece"]) == (pytest.approx(WORST), 2.0, None)


def test_parts_add_up():
    rng = np.random.default_rng(0)
    p, codes = rng.dirichlet(np.ones(3), 20), rng.integers(0, 3, 20)
    words = ("a", "b", "c")
    seen = np.ones(3, bool)
    whole = probability_state(labels(codes, words), rows(p), words, seen)
    halves = [probability_state(labels(codes[s], words), rows(p[s]), words, seen) for s in (slice(0, 7), slice(7, 20))]
    assert whole == pytest.approx(sum(halves))
