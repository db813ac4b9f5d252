"""Labels of windows and of moments after them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from task_episodes import FPS, episode_of, label_track, set_track, targets_of, track, words

from harness.episode import Modality
from harness.tasks import get_task
from harness.tasks.base import majority_label
from harness.tasks.frames import label_changes, window_labels, window_sets
from harness.timeline import frame_values

A, B, C, NONE = 0, 1, 2, -1


def test_a_window_has_the_label_of_six_tenths_of_its_labelled_frames():
    codes = [A, A, A, B, B, NONE, NONE, NONE, NONE, NONE, A, A, B, B, NONE]
    targets, samples = targets_of(get_task("timeline_action"), episode_of(15, label_track("action", codes)), length=5, stride=5)
    assert samples.starts[:, 0].tolist() == [0, 5, 10]
    assert words(targets) == ["a", None, None]  # 3 of 5; no label at all; 2 of 4
    assert targets.labels.tolist() == [A, -1, -1]


def test_an_interaction_needs_only_35_percent():
    codes = [A, A, B, C, C, NONE, A, B, C, NONE]
    targets, _ = targets_of(
        get_task("interaction_text_prediction"), episode_of(10, label_track("interaction", codes)), length=5, stride=5
    )
    assert words(targets) == ["a", None]  # 2 of 5 (the first of two equals); 1 of 3


def test_a_label_track_with_a_clock_of_its_own_is_held():
    slow = label_track("action", [A, B])
    slow = type(slow)("action", slow.modality, slow.data, np.array([0.1, 0.3]), categories=slow.categories)
    targets, _ = targets_of(get_task("timeline_action"), episode_of(8, slow), length=1)
    assert words(targets) == [None, None, "a", "a", "a", "a", "b", "b"]


def test_next_action_is_the_frame_20_samples_after_t0():
    codes = np.arange(60) // 10 % 3
    targets, samples = targets_of(get_task("next_action"), episode_of(60, label_track("action", codes)), length=20, stride=5)
    last = samples.last[:, 0]
    assert words(targets) == ["abc"[codes[t + 20]] if t + 20 < 60 else None for t in last]
    assert targets.valid.tolist() == [True] * 5 + [False] * 4  # starts 0 .. 20 see 39 .. 59


def test_the_long_horizon_asks_for_a_whole_later_window():
    codes = [A] * 6 + [B, B, B, C, NONE, NONE]
    episode = episode_of(12, label_track("action", codes), label_track("subtask", codes))
    targets, samples = targets_of(get_task("long_horizon_next_action@6"), episode, length=4, stride=1)
    assert words(targets)[:4] == ["b", "b", None, None]  # bbbc, bbc., bc.., then past the end
    assert not targets.valid[samples.starts[:, 0] + 6 + 4 > 12].any()
    assert words(targets_of(get_task("next_subtask_forecast@6"), episode)[0]) == words(targets)


def test_action_and_objects_become_one_class():
    action = label_track("action", [A, A, A, A, B, B, B, B, A, A, NONE, NONE, A, A])
    sets = [[1, 0]] * 2 + [[0, 1]] * 2 + [[0, 0]] * 4 + [[1, 1]] * 6
    known = [True] * 12 + [False] * 2
    episode = episode_of(14, action, set_track(sets, ["pan", "egg"], known))
    targets, _ = targets_of(get_task("action_object_relation"), episode, length=2, stride=2)
    assert words(targets) == ["a | pan", "a | egg", "b | ", "b | ", "a | egg, pan", None, None]
    assert len(set(targets.vocabulary)) == len(targets.vocabulary) == 4
    assert targets_of(get_task("action_object_relation"), episode, length=4, stride=4)[0].vocabulary[0] == "a | egg, pan"


def test_a_number_that_is_none_was_not_measured_whatever_the_mask_says():
    data = np.array([[1.0, np.nan], [np.inf, 2.0], [3.0, 4.0]])
    values, measured = frame_values(track("x", Modality.STATE, data, np.array([True, True, False])), np.arange(3) / FPS)
    assert values.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert measured.tolist() == [[True, False], [False, True], [False, False]]


frames = st.lists(st.integers(-1, 3), min_size=1, max_size=40)


def slow_majority(codes, start, length, share):
    window = [c for c in codes[start : start + length] if c >= 0]
    counts = [window.count(k) for k in range(4)]
    best = counts.index(max(counts))
    return best if window and counts[best] * 100 >= round(share * 100) * len(window) else -1


@given(codes=frames, length=st.integers(1, 12), share=st.sampled_from([0.6, 0.35]))
@settings(max_examples=200, deadline=None)
def test_majority_is_that_of_a_plain_loop(codes, length, share):
    starts = np.arange(len(codes) - length + 1)
    found = majority_label(np.array(codes, np.int32), 4, starts, length, share)
    assert found.tolist() == [slow_majority(codes, s, length, share) for s in starts]
    everywhere = np.arange(-3, len(codes) + 3)
    inside = [s >= 0 and s + length <= len(codes) for s in everywhere]
    expected = [slow_majority(codes, s, length, share) if ok else -1 for s, ok in zip(everywhere, inside, strict=True)]
    assert window_labels(np.array(codes, np.int32), 4, everywhere, length, share).tolist() == expected


@given(data=st.data(), n=st.integers(1, 30), length=st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_window_sets_are_those_of_a_plain_loop(data, n, length):
    bits = st.lists(st.booleans(), min_size=n, max_size=n)
    present = np.array([data.draw(bits) for _ in range(3)]).T
    known = np.array(data.draw(bits))
    starts = np.arange(-2, n + 2)
    sets, valid = window_sets(present, known, starts, length)
    for s, row, ok in zip(starts, sets, valid, strict=True):
        fits = s >= 0 and s + length <= n
        assert ok == (fits and any(known[s : s + length]))
        assert row.tolist() == ([any(present[s : s + length, k]) for k in range(3)] if fits else [False] * 3)


@given(codes=frames)
@settings(max_examples=200, deadline=None)
def test_changes_are_those_of_a_plain_loop(codes):
    expected, before = [], None
    for i, c in enumerate(codes):
        if c < 0:
            continue
        if before is not None and c != before:
            expected.append(i)
        before = c
    assert label_changes(np.array(codes, np.int32)).tolist() == expected
