"""Floors and privileged rows: statistics of training targets, and what is answered from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import Status, Targets
from harness.reference import TrainStatistics, chance, copy_current, majority, oracle, prior, uniform
from harness.tasks import get_task


def labels(codes: list[int], vocabulary: tuple[str, ...] = ("a", "b", "c")) -> Targets:
    array = np.array(codes, np.int32)
    return Targets(array >= 0, labels=array, vocabulary=vocabulary)


def test_counts_do_not_depend_on_how_episodes_are_cut() -> None:
    whole, parts = TrainStatistics(), TrainStatistics()
    whole.add(labels([0, 1, 1, -1, 2]))
    parts.add(labels([0, 1]))
    parts.add(labels([1, 0, -1], ("b", "c", "a")).take(np.array([0, 2, 1])))
    assert whole.counts == {"a": 1, "b": 2, "c": 1} and whole.rows == 4
    assert parts.counts == {"a": 1, "b": 2, "c": 1} and parts.rows == 4


def test_majority_takes_the_most_common_and_gives_the_prior() -> None:
    statistics = TrainStatistics()
    statistics.add(labels([0, 1, 1, 2, -1]))
    rows = majority(statistics, 3)
    assert [rows.vocabulary[c] for c in rows.labels] == ["b"] * 3
    np.testing.assert_allclose(rows.probabilities[0], [0.25, 0.5, 0.25])


def test_the_prior_set_has_the_best_train_micro_f1() -> None:
    sets = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1]], bool)
    statistics = TrainStatistics()
    statistics.add(Targets(np.ones(4, bool), label_sets=sets, vocabulary=("a", "b", "c", "d")))
    got = statistics.prior_set()

    def f1(candidate: np.ndarray) -> float:
        hits = (sets & candidate).sum()
        return 2 * hits / (candidate.sum() * 4 + sets.sum())

    every = [np.array([(n >> i) & 1 for i in range(4)], bool) for n in range(1, 16)]
    assert f1(got) == max(f1(c) for c in every)
    rows = prior(get_task("object_relevance"), statistics, 2)
    assert (rows.label_sets == got).all()


@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**31))
def test_moments_are_those_of_the_measured_values(n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(3, 2, (n, d)).astype(np.float32), rng.random((n, d)) < 0.7
    mask[0] = True
    statistics = TrainStatistics()
    for rows in np.array_split(np.arange(n), 3):
        statistics.add(Targets(np.ones(len(rows), bool), values=values[rows], mask=mask[rows]))
    for i in range(d):
        seen = values[mask[:, i], i].astype(float)
        assert statistics.mean[i] == pytest.approx(seen.mean(), abs=1e-6)
        expected = seen.std() if seen.std() >= 1e-6 else 1.0
        assert statistics.std[i] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_guess_is_uniform_and_fixed_by_the_row() -> None:
    seeds = np.arange(20_000, dtype=np.uint64)
    numbers = uniform(seeds, 4)
    assert (numbers == uniform(seeds[::-1], 4)[::-1]).all()
    assert abs(numbers.mean() - 0.5) < 0.005 and numbers.min() >= 0 and numbers.max() < 1
    assert abs(np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1]) < 0.03
    statistics = TrainStatistics()
    statistics.add(labels([0] * 90 + [1] * 10))
    rows = chance(get_task("timeline_action"), statistics, seeds)
    assert abs((rows.labels == 0).mean() - 0.5) < 0.02


def test_the_oracle_answers_the_target_and_fails_where_there_is_none() -> None:
    targets = labels([0, -1, 2])
    rows = oracle(get_task("timeline_action"), targets)
    assert rows.status.tolist() == ["ok", Status.UNSUPPORTED.value, "ok"]
    assert (rows.labels == targets.labels).all()


def test_the_oracle_of_retrieval_gives_equal_items_equal_vectors() -> None:
    targets = Targets(np.ones(3, bool), item=np.array([4, 7, 4], np.int32))
    rows = oracle(get_task("caption_grounding"), targets)
    assert (rows.query[0] == rows.key[2]).all() and (rows.query[0] != rows.key[1]).any()


def test_copy_gives_the_present_label_over_a_shared_vocabulary() -> None:
    future, present = labels([1, 1, 0], ("x", "y")), labels([0, -1, 1], ("y", "z"))
    rows = copy_current(get_task("next_action"), future, present)
    words = [rows.vocabulary[c] if c >= 0 else None for c in rows.labels]
    assert words == ["y", None, "z"]
    assert rows.status.tolist() == ["ok", "unsupported", "ok"]
