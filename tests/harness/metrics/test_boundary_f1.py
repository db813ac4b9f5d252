"""Boundary-F1 counts what the rule says: one claim per window, one boundary per claim."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from harness.answers import Predictions, Status, Targets, all_ok
from harness.boundaries import Boundaries, boundaries_of
from harness.metrics.base import MetricContext
from harness.metrics.boundary_f1 import BoundaryF1, boundary_counts, matches
from harness.metrics.macro_f1 import MacroF1

WORDS = ("steady", "transition")
FPS = 20.0
CONTEXT = MetricContext(classes=WORDS, seen=np.ones(2, bool), usual=np.array([True, False]))
METRIC = BoundaryF1(CONTEXT)


def targets(centre, changes, n=100, tolerance=10, valid=None):
    """Rows of an episode of n frames whose windows have these centres."""
    centre, changes = np.array(centre, np.int64), np.array(changes, np.int64)
    valid = np.ones(len(centre), bool) if valid is None else np.array(valid)
    found = boundaries_of(np.arange(n) / FPS, changes, centre, valid, tolerance)
    near = ~np.isnan(found.near).all(axis=1) if found.near.shape[1] else np.zeros(len(centre), bool)
    return Targets(valid, labels=np.where(valid, near, -1).astype(np.int32), vocabulary=WORDS, boundaries=found)


def answers(codes, status=None):
    status = all_ok(len(codes)) if status is None else np.array(status)
    return Predictions(status, labels=np.array(codes, np.int32), vocabulary=WORDS)


def counts(*args, **options):
    matched, claimed, true, _ = boundary_counts(targets(*args), answers(**options))
    return matched, claimed, true


def test_by_hand():
    # Boundaries at frames 30 and 60. The claim at 25 takes 30, 35 comes too late, 50 takes 60 (10 away), 75 is too far.
    truth = targets(range(5, 100, 5), [30, 60])
    state = METRIC.state(truth, answers([c in (25, 35, 50, 75) for c in range(5, 100, 5)]))
    assert state[-4:] == pytest.approx([2, 4, 2, 15 / FPS])
    found = METRIC.details(state)
    expected = {"boundary_f1": 4 / 6, "boundary_precision": 0.5, "boundary_recall": 1.0, "boundary_error_s": 7.5 / FPS}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["true_boundaries"] == 2.0


def test_the_closest_boundary_that_is_left_is_taken():
    # The claim at 40 takes 42 and not 34; that at 44 is left with 34 (exactly 10 away); that at 45 with nothing.
    row, time = matches(*_parts(targets([40, 44, 45], [34, 42])))
    assert row.tolist() == [0, 1] and (time * FPS).round().tolist() == [42, 34]
    # Equally far: the earlier one.
    assert (matches(*_parts(targets([40], [35, 45])))[1] * FPS).round().tolist() == [35]


def _parts(truth):
    return truth.boundaries.centre, truth.boundaries.near


def test_the_macro_f1_is_that_of_the_windows():
    truth = targets(range(5, 100, 5), [30, 60])
    given_rows = answers([c in (25, 35, 50, 75) for c in range(5, 100, 5)])
    plain = MacroF1(CONTEXT)
    ours, theirs = METRIC.state(truth, given_rows), plain.state(truth, given_rows)
    assert (METRIC.name, METRIC.direction) == (plain.name, plain.direction)
    assert ours[:-4].tolist() == theirs.tolist() and METRIC.value(ours) == plain.value(theirs)
    assert METRIC.seen_unseen(ours) == plain.seen_unseen(theirs)
    assert METRIC.details(ours) | plain.details(theirs) == METRIC.details(ours)


def test_the_right_answer_to_every_window_claims_a_boundary_four_times():
    # Stride 5 and centres at 4, 9, ...: each boundary has four centres within 10 frames.
    truth = targets(range(4, 100, 5), [30, 60])
    found = METRIC.details(METRIC.state(truth, answers(truth.labels)))
    assert (found["boundary_recall"], found["boundary_precision"]) == (1.0, 0.25)
    assert found["boundary_f1"] == pytest.approx(0.4)
    # Half of the right answers taken back: worse for the windows, better for the boundaries.
    fewer = truth.labels * (np.arange(len(truth)) % 2)
    state = METRIC.state(truth, answers(fewer))
    assert METRIC.value(state) < 1.0 and METRIC.details(state)["boundary_f1"] == pytest.approx(4 / 6)


def test_one_window_per_boundary_can_reach_one():
    truth = targets(range(10, 100, 21), [30, 60])
    found = METRIC.details(METRIC.state(truth, answers(truth.labels)))
    assert (found["boundary_f1"], found["boundary_precision"], found["boundary_recall"]) == (1.0, 1.0, 1.0)


def test_no_claim_is_zero_and_where_nothing_is_asked_it_is_null():
    silent = METRIC.details(METRIC.state(targets([30, 60], [30]), answers([0, 0])))
    assert (silent["boundary_f1"], silent["boundary_recall"], silent["boundary_precision"]) == (0.0, 0.0, None)
    loud = METRIC.details(METRIC.state(targets([30, 60], []), answers([1, 0])))
    assert (loud["boundary_f1"], loud["boundary_precision"], loud["boundary_recall"]) == (0.0, 0.0, None)
    nothing = METRIC.details(METRIC.state(targets([30, 60], []), answers([0, 0])))
    assert nothing["boundary_f1"] is None and nothing["boundary_error_s"] is None


def test_targets_without_boundaries_give_null_and_never_zero():
    truth = replace(targets([30, 60], [30]), boundaries=None)
    state = METRIC.state(truth, answers([1, 0]))
    found = METRIC.details(state)
    names = ("boundary_f1", "boundary_precision", "boundary_recall", "boundary_error_s", "true_boundaries")
    assert METRIC.value(state) == 1.0 and [found[name] for name in names] == [None] * 5


def test_a_failed_row_and_a_foreign_word_claim_nothing():
    truth = targets([28, 60, 62], [30, 60])
    assert counts([28, 60], [30, 60], codes=[1, 1], status=[Status.TIMEOUT.value, Status.OK.value]) == (1, 1, 2)
    foreign = Predictions(all_ok(3), labels=np.array([2, -1, 0], np.int32), vocabulary=("transition", "steady", "cut"))
    assert boundary_counts(truth, foreign)[:3].tolist() == [1, 1, 2]


def test_a_boundary_that_no_row_is_near_is_true_and_counted_once():
    truth = targets([10, 70], [11, 35, 50], valid=[True, True])
    assert truth.boundaries.unreached.tolist() == [1, 1] and truth.boundaries.count == 3
    # Near a row without a label alone: as if that row were not there.
    gap = targets([10, 35, 70], [35, 36], valid=[True, False, True])
    assert gap.boundaries.unreached.tolist() == [2, 0, 0]
    assert gap.take(np.flatnonzero(gap.valid)).boundaries.count == 2


def test_a_part_of_the_rows_has_its_own_boundaries():
    truth = targets(range(5, 100, 5), [30, 60])
    assert truth.take(np.flatnonzero(truth.boundaries.centre < 45 / FPS)).boundaries.count == 1
    assert truth.take(np.arange(0)).boundaries.count == 0


def test_the_same_claim_twice_matches_once():
    twice = Boundaries(np.array([1.5, 1.5]), np.array([[1.5], [1.5]]), np.zeros(2, np.int32))
    assert len(matches(twice.centre, twice.near)[0]) == 1 and twice.count == 1


frames = st.lists(st.integers(0, 99), max_size=12, unique=True).map(sorted)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=25), frames, st.integers(0, 12), st.randoms())
def test_the_matching_is_one_to_one_within_tolerance_and_in_any_order(centre, changes, tolerance, random):
    found = targets(centre, changes, tolerance=tolerance).boundaries
    row, time = matches(found.centre, found.near)
    assert len(set(row.tolist())) == len(row) and len(set(time.tolist())) == len(time)
    assert (np.abs(found.centre[row] - time) <= tolerance / FPS + 1e-9).all()
    assert {round(t * FPS) for t in time.tolist()} <= set(changes)
    edges = np.abs(np.subtract.outer(np.array(centre), np.array(changes, int))) <= tolerance
    most = int((maximum_bipartite_matching(csr_array(edges), perm_type="column") >= 0).sum()) if changes else 0
    assert most <= 2 * len(row) and len(row) <= most  # what no greedy matching can miss
    order = np.array(random.sample(range(len(centre)), len(centre)))
    assert sorted(matches(found.centre[order], found.near[order])[1]) == sorted(time)


@settings(max_examples=60, deadline=None)
@given(frames, st.integers(1, 20), st.data())
def test_every_boundary_is_counted_in_any_thinning(changes, stride, data):
    centre = np.arange(9, 90, stride)
    keep = data.draw(st.lists(st.booleans(), min_size=len(centre), max_size=len(centre)).filter(any))
    truth = targets(centre, changes, valid=keep)
    rows = truth.take(np.flatnonzero(keep))
    assert rows.boundaries.count == len(changes)
    matched, claimed, true, _ = boundary_counts(rows, answers(rows.labels))
    assert true == len(changes) and matched <= min(claimed, true)
    # Right answers reach every boundary that any row is near, unless two of them have fewer rows than they need.
    if all(b - a > 20 for a, b in pairwise(changes)):
        assert matched == true - rows.boundaries.unreached.sum()


@settings(max_examples=40, deadline=None)
@given(st.lists(frames, min_size=1, max_size=5), st.integers(0, 5), st.integers(0, 10**6))
def test_shards_of_episodes_add_up_to_a_single_pass(episodes, cut, seed):
    rng = np.random.default_rng(seed)
    states, totals = [], np.zeros(3)
    for changes in episodes:
        truth, codes = targets(range(9, 90, 5), changes), rng.integers(0, 2, 17)
        states.append(METRIC.state(truth, answers(codes)))
        totals += boundary_counts(truth, answers(codes))[:3]
    table = np.array(states)
    merged = table[:cut].sum(axis=0) + table[cut:].sum(axis=0)
    assert merged[-4:-1].tolist() == totals.tolist()
    assert METRIC.details(merged) == pytest.approx(METRIC.details(table.sum(axis=0)))
