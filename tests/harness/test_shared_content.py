"""Groups that hold the same content under two names: found where they do, and not where a coincidence is none."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.shared_content import Shared, on_both_sides, shared_by_features, shared_by_name
from harness.splits import Fold, Split


def groups(count: int, rows: int) -> np.ndarray:
    return np.repeat([f"s{i}" for i in range(count)], rows)


def normal(rows: int, columns: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def found(names, features):
    pairs = shared_by_features(names, features)
    return None if pairs is None else [(*pair.groups, pair.rows) for pair in pairs]


# --- by a column


def test_equal_content_is_counted_by_hand():
    #        a: x x y    b: x z     c: y y y z
    names = ["a", "a", "a", "b", "b", "c", "c", "c", "c", "c"]
    content = ["x", "x", "y", "x", "z", "y", "y", "y", "z", None]
    pairs = shared_by_name(names, content, "clip")
    # a-b share x (2 rows and 1), a-c share y (1 and 3), b-c share z (1 and 1).
    assert [(*p.groups, p.rows) for p in pairs] == [("a", "b", 1), ("a", "c", 1), ("b", "c", 1)]
    assert {p.how for p in pairs} == {"equal values of column 'clip'"}
    assert shared_by_name(["a", "b"], [None, None], "clip") == [] and shared_by_name(["a", "a"], ["x", "x"], "clip") == []


def test_pairs_with_most_rows_come_first():
    names = ["a"] * 3 + ["b"] * 2 + ["c"] * 3
    pairs = shared_by_name(names, ["x", "y", "z", "x", "w", "x", "y", "z"], "clip")
    assert [(*p.groups, p.rows) for p in pairs] == [("a", "c", 3), ("a", "b", 1), ("b", "c", 1)]


# --- by features


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-5])
@pytest.mark.parametrize("shared", [3, 10, 100])
def test_rows_under_two_names_are_found(noise, shared):
    x = normal(500)
    x[100 : 100 + shared] = x[:shared] + noise * normal(shared, seed=1)
    assert found(groups(5, 100), x) == [("s0", "s1", shared)]


def test_rounding_of_a_csv_does_not_hide_them():
    x = normal(2000).round(6)
    x[1000:1040] = x[:40].round(4)
    assert found(groups(4, 500), x) == [("s0", "s2", 40)]


def test_all_groups_may_hold_the_same():
    assert found(groups(3, 50), np.tile(normal(50), (3, 1))) == [("s0", "s1", 50), ("s0", "s2", 50), ("s1", "s2", 50)]


def test_raters_of_one_clip_are_rows_of_one_content():
    x = np.repeat(normal(50), 10, axis=0)
    x[100:130] = x[:30]
    names = groups(5, 100)
    assert found(names, x) == [("s0", "s1", 30)]
    # Two contents may be defaults, however often they stand there, and whatever else numbers the rows.
    x[110:130] = normal(20, seed=1)
    x[110:120] = x[:10]
    assert found(names, x) == [] == found(names, np.column_stack([x, np.arange(500)]))


def test_an_empty_cell_is_equal_to_an_empty_cell_alone():
    x = normal(500)
    x[:, 2][np.random.default_rng(2).random(500) < 0.2] = np.nan
    x[100:110] = x[:10]
    assert found(groups(5, 100), x) == [("s0", "s1", 10)]
    x[100:110, 2:5], x[:10, 2:5] = 0.1, np.nan  # more columns than may differ
    assert found(groups(5, 100), x) == []


@pytest.mark.parametrize(
    "hiding",
    [
        lambda x: [np.arange(len(x))],  # a running index
        lambda x: [np.arange(len(x)) // 60],  # a code of the group
        lambda x: [normal(len(x), 1, seed=2)],
        lambda x: [np.where(np.arange(len(x)) // 60 == 4, np.nan, normal(len(x), 1, seed=2)[:, 0])],  # empty in the copies
        lambda x: [np.arange(len(x)), np.arange(len(x)) // 60, normal(len(x), 1, seed=2)],
    ],
)
def test_columns_that_number_rows_or_are_noise_hide_no_copy(hiding):
    x = normal(360)
    x[240:260] = x[:20]
    assert found(groups(6, 60), np.column_stack([*hiding(x), x])) == [("s0", "s4", 20)]
    x[240:260, 3] = np.nan
    assert found(groups(6, 60), x) == [("s0", "s4", 20)]


def test_what_is_one_value_throughout_is_no_content():
    """Defaults and silence stand in every group."""
    x = normal(360)
    x[::3], x[1::3] = 0, 1
    x[2::9] = -1
    assert found(groups(6, 60), x) == []
    assert found(groups(6, 60), np.column_stack([x, np.arange(360)])) == []
    x[[245, 248, 254]] = x[[5, 8, 14]]
    assert found(groups(6, 60), x) == [("s0", "s4", 3)]


def test_what_two_sources_have_of_one_subject_is_no_copy():
    """Age, height and weight are equal in two sessions of one subject; what was measured is not."""
    subject = np.repeat(normal(20, 3), 2, axis=0)
    x = np.column_stack([np.repeat(subject, 25, axis=0), normal(1000, 6, seed=1)])
    assert found(groups(40, 25), x) == []


def with_holes(features: np.ndarray) -> np.ndarray:
    """A tenth of the cells is empty."""
    return np.where(np.random.default_rng(9).random(features.shape) < 0.1, np.nan, features)


RNG = np.random.default_rng(5)
LADDER = np.array([[b, h, f] for b in np.geomspace(200, 8000, 20).round(-1) for h in (360, 480, 720) for f in (24, 30)], float)
U = RNG.random((3000, 1))


@pytest.mark.parametrize(
    ("features", "judged"),
    [
        (normal(500), True),
        (normal(500).round(2), True),
        (np.exp(2 * normal(3000)), True),
        (RNG.standard_cauchy(size=(3000, 6)), True),
        (np.where(RNG.random((500, 1)) < 0.5, 0, normal(500)), True),  # silence: all zero in half of the rows
        (np.column_stack([U, U**2, np.sin(3 * U), np.exp(U), np.cos(U), U**3]), True),  # six columns that are one
        (np.repeat(normal(50), 60, axis=0) + 1e-5 * normal(3000, seed=1), True),  # frames of one clip, within one group
        (RNG.integers(1, 6, (500, 6)).astype(float), False),  # opinions from 1 to 5
        (RNG.integers(1, 6, (500, 20)).astype(float), False),
        (with_holes(RNG.integers(1, 6, (500, 6)).astype(float)), False),
        (with_holes(normal(500)), True),
        (np.where(normal(500) > 2, np.inf, normal(500)), True),
        (RNG.integers(0, 2, (500, 8)).astype(float), False),
        (np.tile(LADDER, (5, 1)), False),  # the settings of an encoder, the same for every source
        (np.ones((500, 6)), False),
        (np.full((500, 6), np.nan), False),
        (np.column_stack([RNG.integers(1, 3, (500, 5)), normal(500, 1)]), False),
        (normal(500, 1), False),
    ],
)
def test_no_false_alarm(features, judged):
    assert found(groups(5, len(features) // 5), features) == ([] if judged else None)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 30), st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_neither_order_nor_unit_nor_repetition_matters(seed, shared, scale, offset):
    x, names = normal(300, seed=seed), groups(3, 100)
    x[200 : 200 + shared] = x[:shared]
    expected = [("s0", "s2", shared)]
    assert found(names, x) == expected
    order = np.random.default_rng(seed).permutation(300)
    assert found(names[order], (scale * x + offset)[order]) == expected
    # Every row twice: twice the rows, the same groups.
    assert found(np.tile(names, 2), np.tile(x, (2, 1))) == [("s0", "s2", 2 * shared)]


@pytest.mark.parametrize("columns", [6, 64])
def test_a_hundred_thousand_rows_are_searched_in_seconds(columns):
    x = normal(100_000, columns)
    x[50_000:50_100] = x[:100] + 1e-5 * normal(100, columns, seed=1)
    began = time.monotonic()
    assert found(groups(20, 5000), x) == [("s0", "s10", 100)]
    assert time.monotonic() - began < 30  # measured: 2 to 3 s


# --- on both sides


def test_only_what_stands_on_both_sides_of_a_fold_matters():
    fold = Fold(0, ("a", "b"), ("v",), ("z",))
    split = Split("explicit", "episode", {e: e for e in "abvz"}, dict.fromkeys("abvz"), (fold,))
    pairs = [Shared(pair, 3, "") for pair in (("a", "b"), ("a", "z"), ("v", "z"), ("a", "v"))]
    assert [p.groups for p in on_both_sides(pairs, split)] == [("a", "z"), ("v", "z")]
    assert Shared.from_json(pairs[0].as_json()) == pairs[0]
