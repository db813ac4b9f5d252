"""Macro-F1 counts what the rule says and agrees with scikit-learn."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.macro_f1 import MacroF1

CLASSES = ("close", "open", "pour", "wait")


def metric(seen=(True, True, True, True), usual="wait"):
    return MacroF1(MetricContext(classes=CLASSES, seen=np.array(seen), usual=np.array(CLASSES) == usual))


def targets(codes, vocabulary=CLASSES):
    return Targets(np.ones(len(codes), bool), labels=np.array(codes, np.int32), vocabulary=vocabulary)


def answers(codes, vocabulary=CLASSES, status=None):
    return Predictions(
        all_ok(len(codes)) if status is None else np.array(status), labels=np.array(codes, np.int32), vocabulary=vocabulary
    )


def test_by_hand():
    # close: tp 2, fp 1, fn 0 -> 0.8. open: tp 1, fp 0, fn 2 -> 0.5. pour: predicted once, never true: no support, not averaged.
    m = metric()
    state = m.state(targets([0, 0, 1, 1, 1]), answers([0, 0, 1, 0, 2]))
    assert state.tolist() == [2, 1, 0, 0, 1, 0, 1, 0, 0, 2, 0, 0]
    assert m.value(state) == pytest.approx(0.65)
    assert m.details(state) == pytest.approx({"accuracy": 0.6, "balanced_accuracy": 2 / 3, "classes_with_support": 2})


def test_a_failed_row_is_a_miss_and_charged_to_the_train_majority():
    m = metric(usual="open")
    failed = answers([0, 0, -1, 1], status=[Status.TIMEOUT.value, Status.OK.value, Status.TIMEOUT.value, Status.OK.value])
    # Row 0: misses close, and counts as answering open. Row 2 is open: missed, and no class is charged.
    assert m.state(targets([0, 0, 1, 1]), failed).tolist() == [1, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0]


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=7))
def test_the_lowest_value_is_that_of_the_worst_answers(rows):
    m = metric(usual="")
    truth, guess, failed = (np.array(column) for column in zip(*rows, strict=True))
    ok = np.flatnonzero(~failed)
    answered = m.state(targets(truth[ok]), answers(guess[ok]))
    right = m.state(targets(truth), answers(np.where(failed, truth, guess)))
    tried = []
    for filling in product(range(3), repeat=int(failed.sum())):
        said = guess.copy()
        said[failed] = filling
        tried.append(float(m.value(m.state(targets(truth), answers(said)))))
    assert m.lowest(answered, right) == pytest.approx(min(tried))


def test_a_guess_has_a_closed_form_that_windows_twice_do_not_change():
    m = metric(seen=(True, True, False, False))
    # Half of either label: close tp 1, fp 1.5, fn 1; open tp 1.5, fp 1, fn 1.5.
    state = m.chance(targets([0, 0, 1, 1, 1]))
    assert state.tolist() == [1, 1.5, 0, 0, 1.5, 1, 0, 0, 1, 1.5, 0, 0]
    assert m.value(state) == pytest.approx((2 / 4.5 + 3 / 5.5) / 2)
    assert m.value(m.chance(targets([0, 0, 1, 1, 1] * 2))) == m.value(state)
    assert metric(seen=(False,) * 4).chance(targets([0])) is None


def test_a_foreign_word_is_no_free_abstention():
    # Row 0 and 1 are close; the train majority is open. A word that nothing is called costs what a failure costs.
    truth, foreign = targets([0, 0, 1]), answers([2, 3, 0], vocabulary=("open", "x", "dance", "sing"))
    failed = answers([-1, -1, 1], status=[Status.TIMEOUT.value, Status.REFUSED.value, Status.OK.value])
    charged = [0, 1, 0, 0, 0, 2, 0, 0, 2, 0, 0, 0]
    assert metric(usual="open").state(truth, foreign).tolist() == charged
    assert metric(usual="open").state(truth, failed).tolist() == charged
    # Where train has no majority both are a miss alone.
    alone = [0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]
    assert metric(usual="").state(truth, foreign).tolist() == metric(usual="").state(truth, failed).tolist() == alone


def test_vocabularies_in_any_order():
    m = metric()
    state = m.state(targets([0, 1], vocabulary=("wait", "close")), answers([1, 0], vocabulary=("close", "wait")))
    assert m.value(state) == 1.0


def test_seen_and_unseen():
    # close (seen) 0.8; open (unseen) 0.5.
    m = metric(seen=(True, False, True, True))
    state = m.state(targets([0, 0, 1, 1, 1]), answers([0, 0, 1, 0, 2]))
    assert m.seen_unseen(state) == pytest.approx((0.8, 0.5))
    assert metric().seen_unseen(state)[1] is None


def test_no_rows_is_undefined():
    m = metric()
    state = m.state(targets([]), answers([]))
    assert not state.any() and np.isnan(m.value(state)) and m.seen_unseen(state) == (None, None)


def test_a_target_outside_the_classes_is_an_error():
    with pytest.raises(ValueError, match="target label"):
        metric().state(targets([0], vocabulary=("dance",)), answers([0]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40))
def test_agrees_with_sklearn(pairs):
    truth, guess = np.array(pairs).T
    m = metric(usual="")  # scikit-learn charges nobody for an answer outside the classes
    state = m.state(targets(truth), answers(guess))
    supported = np.unique(truth)
    expected = f1_score(truth, guess, labels=supported, average="macro", zero_division=0)
    assert m.value(state) == pytest.approx(expected, abs=1e-12)
    details = m.details(state)
    assert details["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    recalls = [np.mean(guess[truth == c] == c) for c in supported]
    assert details["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_balanced_accuracy_as_in_sklearn():
    truth, guess = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    m = metric()
    expected = balanced_accuracy_score(truth, guess)
    assert m.details(m.state(targets(truth), answers(guess)))["balanced_accuracy"] == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(0, 10**6))
def test_failing_is_never_better_than_the_majority(n, seed):
    rng = np.random.default_rng(seed)
    m = metric(usual="open")
    truth, codes, lost = targets(rng.integers(0, 4, n)), rng.integers(0, 4, n), rng.random(n) < 0.4
    status = np.where(lost, Status.REFUSED.value, Status.OK.value)
    answered = m.value(m.state(truth, answers(np.where(lost, 1, codes))))
    assert m.value(m.state(truth, answers(codes, status=status))) <= answered + 1e-12
