"""Micro-F1 of label sets counts what the rule says and agrees with scikit-learn."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score, precision_score, recall_score

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.micro_f1 import MicroF1

CLASSES = ("cup", "kettle", "lid")


def metric(seen=(True, True, True), usual=(False, False, False)):
    return MicroF1(MetricContext(classes=CLASSES, seen=np.array(seen), usual=np.array(usual)))


def targets(sets, vocabulary=CLASSES):
    sets = np.array(sets, bool).reshape(-1, len(vocabulary))
    return Targets(np.ones(len(sets), bool), label_sets=sets, vocabulary=vocabulary)


def answers(sets, vocabulary=CLASSES, status=None):
    sets = np.array(sets, bool).reshape(-1, len(vocabulary))
    return Predictions(all_ok(len(sets)) if status is None else np.array(status), label_sets=sets, vocabulary=vocabulary)


def test_by_hand():
    m = metric()
    state = m.state(targets([[1, 1, 0], [0, 1, 0], [1, 0, 0]]), answers([[1, 1, 0], [0, 0, 1], [1, 1, 0]]))
    # tp: cup 2, kettle 1; fp: kettle 1, lid 1; fn: kettle 1; no stray words, 3 rows, 1 exact.
    assert state.tolist() == [2, 1, 0, 0, 1, 1, 0, 1, 0, 0, 3, 1]
    assert m.value(state) == pytest.approx(6 / 9)
    assert m.details(state) == pytest.approx({"precision": 3 / 5, "recall": 3 / 4, "exact_match": 1 / 3, "macro_f1": 0.75})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.booleans()), min_size=1, max_size=4))
def test_the_lowest_value_is_that_of_the_worst_answers(rows):
    m = metric()
    truth, guess, failed = (np.array(column) for column in zip(*rows, strict=True))
    bits = lambda codes: (np.asarray(codes)[:, None] >> np.arange(3)) & 1  # noqa: E731
    ok = np.flatnonzero(~failed)
    answered = m.state(targets(bits(truth[ok])), answers(bits(guess[ok])))
    right = m.state(targets(bits(truth)), answers(bits(np.where(failed, truth, guess))))
    tried = []
    for filling in product(range(8), repeat=int(failed.sum())):
        said = guess.copy()
        said[failed] = filling
        tried.append(float(m.value(m.state(targets(bits(truth)), answers(bits(said))))))
    known = [value for value in tried if np.isfinite(value)]
    assert m.lowest(answered, right) == (pytest.approx(min(known)) if known else None)


def test_words_that_no_target_has_are_false_positives():
    m = metric()
    state = m.state(targets([[1, 0, 0]]), answers([[1, 1, 1]], vocabulary=("cup", "unicorn", "dragon")))
    assert m.value(state) == pytest.approx(2 / 4)
    assert m.details(state)["exact_match"] == 0.0


def test_a_failed_row_misses_all_its_labels_and_is_never_exact():
    m = metric()
    truth = targets([[1, 1, 0], [0, 0, 0]])
    state = m.state(truth, answers([[1, 1, 0], [0, 0, 0]], status=[Status.REFUSED.value, Status.PARSE_ERROR.value]))
    assert state.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 2, 0]
    assert m.value(state) == 0.0
    assert m.details(state)["precision"] is None


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_failing_is_never_better_than_the_prior_set(n, seed):
    rng = np.random.default_rng(seed)
    usual = np.array([True, False, True])
    m = metric(usual=usual)
    truth, sets, lost = targets(rng.random((n, 3)) < 0.5), rng.random((n, 3)) < 0.5, rng.random(n) < 0.4
    failing = m.value(m.state(truth, answers(sets, status=np.where(lost, Status.REFUSED.value, Status.OK.value))))
    answering = m.value(m.state(truth, answers(np.where(lost[:, None], usual, sets))))
    assert np.isnan(failing) or failing <= answering + 1e-12


def test_seen_and_unseen_labels():
    m = metric(seen=(True, True, False))
    state = m.state(targets([[1, 0, 1], [1, 0, 1]]), answers([[1, 1, 0, 0], [1, 0, 1, 1]], (*CLASSES, "unicorn")))
    assert m.seen_unseen(state) == pytest.approx((4 / 5, 2 / 4))
    assert metric(seen=(True, True, True)).seen_unseen(state)[1] is None


def test_nothing_true_and_nothing_answered_is_undefined():
    m = metric()
    assert np.isnan(m.value(m.state(targets([[0, 0, 0]]), answers([[0, 0, 0]]))))
    assert not m.state(targets([]), answers([])).any()


def test_a_target_outside_the_classes_is_an_error():
    with pytest.raises(ValueError, match="target label"):
        metric().state(targets([[1]], vocabulary=("unicorn",)), answers([[0, 0, 0]]))


@settings(max_examples=40, deadline=None)
@given(arrays(bool, st.tuples(st.just(2), st.integers(1, 12), st.just(3))))
def test_agrees_with_sklearn(sets):
    truth, guess = sets
    m = metric()
    state = m.state(targets(truth), answers(guess))
    if truth.any() or guess.any():
        assert m.value(state) == pytest.approx(f1_score(truth, guess, average="micro", zero_division=0))
    details = m.details(state)
    if guess.any():
        assert details["precision"] == pytest.approx(precision_score(truth, guess, average="micro", zero_division=0))
    if truth.any():
        supported = np.flatnonzero(truth.any(axis=0))
        assert details["recall"] == pytest.approx(recall_score(truth, guess, average="micro", zero_division=0))
        expected = f1_score(truth[:, supported], guess[:, supported], average="macro", zero_division=0)
        if len(supported) > 1:
            assert details["macro_f1"] == pytest.approx(expected)
    assert details["exact_match"] == pytest.approx(np.mean((truth == guess).all(axis=1)))
