"""Ranks with ties, identical items and failures; the closed form of chance."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics import retrieval
from harness.metrics.base import MetricContext
from harness.metrics.retrieval import ReciprocalRank

METRIC = ReciprocalRank(MetricContext())


def state(query, key, item=None, status=None):
    query, key = np.array(query, np.float32), np.array(key, np.float32)
    n = len(query)
    items = np.arange(n, dtype=np.int32) if item is None else np.array(item, np.int32)
    targets = Targets(np.ones(n, bool), item=items)
    return METRIC.state(targets, Predictions(all_ok(n) if status is None else np.array(status), query=query, key=key))


def angle(*degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_by_hand():
    # Query 0 is nearest to its own key; query 1 (at 40) is nearer to key 2 (at 50) than to its own (at 20); query 2 comes third.
    s = state(angle(0, 40, 10), angle(0, 20, 50))
    assert s.tolist() == pytest.approx([3, 1 + 1 / 2 + 1 / 3, 1, 3, 3, 6, 9])
    assert METRIC.value(s) == pytest.approx(11 / 18)
    assert METRIC.details(s) == pytest.approx(
        {"recall@1": 1 / 3, "recall@5": 1, "recall@10": 1, "mean_rank": 2, "gallery_size": 3}
    )


def test_similarity_is_the_cosine_and_negative_cosines_count():
    # The trap of taking scores below 0 for misses: the right key is the nearest although every cosine is negative.
    s = state([[1, 0], [0, 1]], [[-0.1, 5], [5, -0.1]], item=[0, 1])
    assert METRIC.value(s) == pytest.approx(1 / 2)
    s = state([[1, 0], [0, 1]], [[-1, -9], [-9, -1]], item=[0, 1])
    assert METRIC.value(s) == 1.0


def test_a_constant_answer_has_the_middle_rank():
    s = state(np.ones((5, 3)), np.full((5, 3), 7.0))
    assert METRIC.value(s) == pytest.approx(1 / 3)
    assert METRIC.details(s)["mean_rank"] == 3
    assert METRIC.details(s)["recall@1"] == 0


def test_every_row_with_the_same_item_is_a_hit():
    # Query 0 is nearest to key 1, which is the same caption.
    s = state(angle(10, 10, 90), angle(40, 10, 90), item=[7, 7, 8])
    assert METRIC.value(s) == 1.0
    assert METRIC.value(state(angle(10, 10, 90), angle(40, 10, 90))) == pytest.approx((1 / 2 + 1 + 1) / 3)


@pytest.mark.parametrize("bad", [[np.nan, 1], [np.inf, 1], [0, 0]])
def test_vectors_without_a_direction_fail(bad):
    # Query 2 is lost; the others are as without it, and the gallery keeps its size.
    query, key = angle(0, 40, 90), angle(0, 40, 90)
    query[2] = bad
    assert state(query, key).tolist() == pytest.approx([3, 2, 2, 2, 2, 1 + 1 + 3, 9])
    query, key = angle(0, 40, 90), angle(0, 40, 90)
    key[2] = bad
    # A lost key is found before every other query's own.
    assert state(query, key).tolist() == pytest.approx([3, 1, 0, 2, 2, 2 + 2 + 3, 9])


def test_a_failed_row_has_neither_query_nor_key():
    query, key = angle(0, 40, 90), angle(40, 0, 41)
    status = [Status.OK.value, Status.OK.value, Status.TIMEOUT.value]
    # Queries 0 and 1 each see the other's key before their own, and the lost one before both.
    assert state(query, key, status=status).tolist() == pytest.approx([3, 2 / 3, 0, 2, 2, 3 + 3 + 3, 9])


def test_at_its_best_a_failed_query_is_found_first():
    query, key = angle(0, 40, 90), angle(40, 0, 41)
    status = np.array([Status.OK.value, Status.OK.value, Status.TIMEOUT.value])
    targets = Targets(np.ones(3, bool), item=np.arange(3, dtype=np.int32))
    rows = Predictions(status, query=query.astype(np.float32), key=key.astype(np.float32))
    # Queries 0 and 1 among themselves have rank 2 each; the third would have had 1.
    assert METRIC.best_case(targets, rows).tolist() == pytest.approx([3, 1 / 2 + 1 / 2 + 1, 1, 3, 3, 2 + 2 + 1, 9])
    lost = Predictions(np.full(3, Status.TIMEOUT.value), query=rows.query, key=rows.key)
    assert METRIC.value(METRIC.best_case(targets, lost)) == 1.0


@settings(deadline=None)
@given(st.integers(2, 20), st.integers(0, 10**6))
def test_windows_twice_change_nothing(n, seed):
    rng = np.random.default_rng(seed)
    query, key, item = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), rng.integers(0, n, n)
    status = np.where(rng.random(n) < 0.2, Status.TIMEOUT.value, Status.OK.value)
    once = state(query, key, item, status)
    twice = state(np.repeat(query, 2, axis=0), np.repeat(key, 2, axis=0), np.repeat(item, 2), np.repeat(status, 2))
    assert METRIC.value(twice) == pytest.approx(METRIC.value(once))
    assert METRIC.details(twice) == pytest.approx(METRIC.details(once))


@settings(deadline=None)
@given(st.integers(2, 20), st.integers(0, 10**6))
def test_dropping_rows_never_helps(n, seed):
    rng = np.random.default_rng(seed)
    query, key, lost = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), rng.random(n) < 0.3
    status = np.where(lost, Status.TIMEOUT.value, Status.OK.value)
    assert METRIC.value(state(query, key, status=status)) <= METRIC.value(state(query, key)) + 1e-12


def test_no_rows():
    empty = np.zeros((0, 4))
    assert not state(empty, empty).any()
    assert not METRIC.chance(Targets(np.zeros(0, bool), item=np.zeros(0, np.int32))).any()


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    query, key, item = rng.normal(size=(40, 6)), rng.normal(size=(40, 6)), rng.integers(0, 30, 40)
    whole = state(query, key, item)
    monkeypatch.setattr(retrieval, "BLOCK", 3 * 40)
    assert state(query, key, item).tolist() == pytest.approx(whole.tolist(), abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 10**6))
def test_rank_as_defined(n, seed):
    rng = np.random.default_rng(seed)
    # Whole-numbered vectors of few values tie often.
    query, key = rng.integers(1, 3, (n, 3)).astype(float), rng.integers(1, 3, (n, 3)).astype(float)
    item = rng.integers(0, max(1, n // 2), n)
    cosine = np.round((query / np.linalg.norm(query, axis=1)[:, None]) @ (key / np.linalg.norm(key, axis=1)[:, None]).T, 9)
    ranks = []
    for i in range(n):
        same = item == item[i]
        best, rivals = cosine[i, same].max(), cosine[i, ~same]
        places = (rivals > best).sum() + 0.5 * (rivals == best).sum()
        ranks.append(1 + (len(np.unique(item)) - 1) * places / max(len(rivals), 1))
    s = state(query, key, item)
    assert METRIC.value(s) == pytest.approx(np.mean(1 / np.array(ranks)))
    assert METRIC.details(s)["mean_rank"] == pytest.approx(np.mean(ranks))


def test_chance_of_unique_items_is_the_harmonic_number():
    s = METRIC.chance(Targets(np.ones(348, bool), item=np.arange(348, dtype=np.int32)))
    assert METRIC.value(s) == pytest.approx(np.sum(1 / np.arange(1, 349)) / 348)
    assert METRIC.details(s) == pytest.approx(
        {"recall@1": 1 / 348, "recall@5": 5 / 348, "recall@10": 10 / 348, "mean_rank": 174.5, "gallery_size": 348}
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_chance_is_the_mean_over_all_orders(item):
    items = np.array(item, np.int32)
    orders = np.array(list(permutations(range(len(items)))))
    places = np.array([[np.argmax(items[order] == i) for i in items] for order in orders])
    rivals = np.array([(items != i).sum() for i in items])
    ranks = 1 + (len(set(item)) - 1) * places / np.maximum(rivals, 1)
    s = METRIC.chance(Targets(np.ones(len(items), bool), item=items))
    assert METRIC.value(s) == pytest.approx((1 / ranks).mean())
    details = METRIC.details(s)
    assert details["mean_rank"] == pytest.approx(ranks.mean())
    assert details["recall@1"] == pytest.approx((ranks <= 1).mean())
    assert details["recall@5"] == pytest.approx((ranks <= 5).mean())


def test_keys_that_know_nothing_land_on_the_floor_however_unequal_the_items_are():
    # The texts of a real episode: one fills half of it.
    item = np.repeat(np.arange(10), [53, 15, 8, 6, 5, 4, 4, 2, 2, 1]).astype(np.int32)
    rng = np.random.default_rng(0)
    noise = [METRIC.value(state(rng.normal(size=(100, 8)), rng.normal(size=(100, 8)), item)) for _ in range(300)]
    floor = METRIC.value(METRIC.chance(Targets(np.ones(100, bool), item=item)))
    assert np.mean(noise) == pytest.approx(floor, abs=4 * np.std(noise) / np.sqrt(300))
