"""The closed form against refitting, and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Reference

from branches.heads.ridge import factorise, inner_groups, ridge_problem


def problem(z, y, weight=None):
    weight = np.ones(len(z)) if weight is None else weight
    return ridge_problem(factorise(lambda i: z[i], weight), lambda i: z[i], lambda i: y[i])


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(8, 40),
    columns=st.integers(1, 12),
    targets=st.integers(1, 3),
    groups=st.integers(2, 5),
    penalty=st.floats(1e-2, 1e4),
    some_without_weight=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_leaving_a_group_out_is_refitting_without_it(seed, rows, columns, targets, groups, penalty, some_without_weight):
    """Both forms: groups smaller than the number of coordinates, and larger."""
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(rows, columns)) + 3, rng.normal(size=(rows, targets)) - 1
    group = np.arange(rows) % groups
    rng.shuffle(group)
    weight = np.where(rng.random(rows) < 0.3, 0.0, rng.uniform(0.5, 2, rows)) if some_without_weight else np.ones(rows)
    weight[:groups], group[:groups] = 1, np.arange(groups)  # every group keeps something to be judged by
    expected = np.zeros_like(y)
    for g in range(groups):
        fit = (group != g) & (weight > 0)
        reference = Reference(alpha=penalty).fit(z[fit], y[fit], sample_weight=weight[fit])
        expected[group == g] = reference.predict(z[group == g]).reshape(-1, targets)
    found = problem(z, y, weight)
    np.testing.assert_allclose(found.left_out_predictions(group, np.full(targets, penalty)), expected, rtol=1e-6, atol=1e-7)
    errors = (weight[:, None] * (y - expected) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.left_out_errors(group, np.array([penalty]))[0], errors, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 9), (12, 40)])
def test_one_factorisation_gives_every_penalty_of_scikit_learn(shape):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=shape) * np.linspace(0.1, 3, shape[1]), rng.normal(size=(shape[0], 4)) + 2
    found = problem(z, y)
    new = rng.normal(size=(5, shape[1]))
    for penalty in found.factors.grid():
        weights, intercept = found.solve(np.full(4, penalty))
        reference = Reference(alpha=penalty).fit(z, y)
        np.testing.assert_allclose(new @ weights + intercept, reference.predict(new), rtol=1e-5, atol=1e-6)
        alone = problem(z, y)
        for one, other in zip(alone.solve_one(penalty), (weights, intercept), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert "_eigen" not in vars(alone.factors)  # a fixed penalty pays for no eigenvectors


def test_every_target_has_its_own_penalty():
    rng = np.random.default_rng(2)
    z, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 2))
    weights, _ = problem(z, y).solve(np.array([0.5, 500.0]))
    for i, penalty in enumerate((0.5, 500.0)):
        np.testing.assert_allclose(weights[:, i], Reference(alpha=penalty).fit(z, y[:, i]).coef_, rtol=1e-8)


def test_rows_without_weight_change_nothing():
    rng = np.random.default_rng(3)
    z, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
    weight = np.r_[np.ones(20), np.zeros(10)]
    one, other = problem(z, y, weight).solve(np.full(2, 2.0)), problem(z[:20], y[:20]).solve(np.full(2, 2.0))
    np.testing.assert_allclose(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1])


def test_an_unpredictable_target_takes_a_strong_penalty_and_a_clean_one_a_weak_one():
    rng = np.random.default_rng(4)
    z = rng.normal(size=(120, 20))
    y = np.stack([z @ rng.normal(size=20), rng.normal(size=120)], axis=1)
    found = problem(z, y)
    grid = found.factors.grid()
    best = grid[found.left_out_errors(np.arange(120) // 20, grid).argmin(axis=0)]
    assert best[1] >= 100 * best[0]


def test_inner_groups_are_clusters_then_episodes_then_blocks():
    episode = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    everything = np.ones(9, bool)
    codes, unit = inner_groups(np.array([0, 0, 0, 0, 0, 0, 1, 1, 1]), episode, everything, 3)
    assert unit == "clusters" and len(np.unique(codes)) == 2
    codes, unit = inner_groups(np.zeros(9, int), episode, everything, 3)
    assert unit == "episodes" and len(np.unique(codes)) == 3
    codes, unit = inner_groups(np.zeros(9, int), np.zeros(9, int), everything, 3)
    assert unit == "3 blocks of one episode" and codes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # Rows that take no part do not count: the second cluster has none that does.
    codes, unit = inner_groups(np.array([0] * 6 + [1] * 3), np.array([0] * 6 + [1] * 3), everything & (episode < 2), 2)
    assert unit == "2 blocks of one episode" and codes[:6].tolist() == [0, 0, 0, 1, 1, 1]
