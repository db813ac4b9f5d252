"""Logistic regression against scikit-learn, and the choice of its penalty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from branches.heads.logistic import PENALTIES, balanced_weights, choose_penalty, descend_logistic, fit_logistic, fold_of


def data(seed=0, n=120, columns=6, classes=4, noise=1.0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, n)
    z = rng.normal(size=(classes, columns))[codes] + noise * rng.normal(size=(n, columns))
    return z / np.sqrt((z**2).sum(axis=1).mean()), codes


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_balanced_logistic_regression_of_scikit_learn(penalty, classes):
    z, codes = data(classes=classes)
    fit = fit_logistic(z, codes, classes, penalty, tolerance=1e-7)
    reference = LogisticRegression(C=1 / (penalty * len(z)), class_weight="balanced", tol=1e-9, max_iter=5000).fit(z, codes)
    found = softmax(fit.scores(z), axis=1)
    if classes == 2:
        # scikit-learn fits one vector for two classes, which is penalised twice as much as the two of a softmax.
        reference = LogisticRegression(C=2 / (penalty * len(z)), class_weight="balanced", tol=1e-9, max_iter=5000).fit(z, codes)
    np.testing.assert_allclose(found, reference.predict_proba(z), atol=2e-4)


def test_a_warm_start_ends_where_a_cold_one_does():
    z, codes = data()
    warm = fit_logistic(z, codes, 4, 1e-3, fit_logistic(z, codes, 4, 1.0), tolerance=1e-7)
    cold = fit_logistic(z, codes, 4, 1e-3, tolerance=1e-7)
    np.testing.assert_allclose(softmax(warm.scores(z), axis=1), softmax(cold.scores(z), axis=1), atol=1e-4)


def test_a_class_without_rows_has_no_chance():
    z, codes = data(classes=3)
    fit = fit_logistic(z, np.array([0, 2, 4])[codes], 6, 1e-2)
    chances = softmax(fit.scores(z), axis=1)
    assert (chances[:, [1, 3, 5]] == 0).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1)


@given(codes=st.lists(st.integers(0, 6), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_every_class_that_occurs_weighs_the_same(codes):
    codes = np.array(codes)
    totals = np.bincount(codes, weights=balanced_weights(codes, 7), minlength=7)
    present = np.bincount(codes, minlength=7) > 0
    np.testing.assert_allclose(totals[present], len(codes) / present.sum())


def test_noise_asks_for_a_stronger_penalty_than_signal():
    folds = np.arange(120) // 24
    clean, _ = choose_penalty(*data(noise=0.2), 4, folds)
    noisy, curve = choose_penalty(*data(noise=6.0), 4, folds)
    assert clean < noisy and set(curve) <= {f"{p:g}" for p in PENALTIES}


def test_classes_that_other_folds_lack_decide_nothing():
    z, codes = data()
    nothing, curve = choose_penalty(z, np.arange(120) // 60, 2, np.arange(120) // 60)
    assert nothing == PENALTIES[0] and curve == {}
    # A fold whose rows are all of a class of its own is not judged, so its rows may be anything.
    folds, lonely = np.arange(120) // 30, np.where(np.arange(120) < 30, 3, codes % 3)
    assert choose_penalty(z, lonely, 4, folds)[0] in PENALTIES


def test_folds_keep_groups_together_and_are_even():
    groups = np.repeat(np.arange(11), [30, 5, 5, 5, 10, 10, 5, 5, 5, 10, 10])
    keep = np.arange(100) % 7 != 0
    folds = fold_of(groups, keep, 4)
    assert (folds[~keep] == -1).all() and set(folds[keep]) == {0, 1, 2, 3}
    for group in range(11):
        assert len(set(folds[(groups == group) & keep])) == 1
    sizes = np.bincount(folds[keep])
    assert sizes.max() - sizes.min() <= 10


@given(seed=st.integers(0, 1000), steps=st.integers(1, 60), penalty=st.sampled_from([0.0, 2e-3, 0.1]))
@settings(max_examples=30, deadline=None)
def test_gradient_steps_in_rotated_coordinates_are_those_on_the_columns(seed, steps, penalty):
    x, codes = data(seed, n=15, columns=40)
    left, values, _ = np.linalg.svd(x, full_matrices=False)
    weight = balanced_weights(codes, 4) / len(codes)
    plain, bias = np.zeros((40, 4)), np.zeros(4)
    present = np.bincount(codes, minlength=4) > 0
    for _ in range(steps):
        error = np.zeros((15, 4))
        error[:, present] = (softmax((x @ plain + bias)[:, present], axis=1) - np.eye(4)[codes][:, present]) * weight[:, None]
        plain -= 0.12 * (x.T @ error + penalty * plain)
        bias -= 0.12 * error.sum(axis=0)
    fit = descend_logistic(left * values, codes, 4, penalty, steps, 0.12)
    np.testing.assert_allclose(fit.scores(left * values)[:, present], (x @ plain + bias)[:, present], atol=1e-9)
    assert (fit.intercept[~present] == -np.inf).all()


def test_enough_gradient_steps_arrive_at_the_minimum():
    z, codes = data()
    steps = descend_logistic(z, codes, 4, 0.1, 20_000, 0.5)
    minimum = fit_logistic(z, codes, 4, 0.1, tolerance=1e-8)
    np.testing.assert_allclose(softmax(steps.scores(z), axis=1), softmax(minimum.scores(z), axis=1), atol=1e-4)
