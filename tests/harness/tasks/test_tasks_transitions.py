"""When the action changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_episodes import FPS, episode_of, label_track, targets_of, words

from harness.tasks import get_task

A, B, C, NONE = 0, 1, 2, -1


def test_a_transition_is_within_10_samples_of_the_centre():
    codes = [A] * 30 + [B] * 40
    targets, samples = targets_of(get_task("transition_detection"), episode_of(70, label_track("action", codes)), length=20)
    centre = samples.starts[:, 0] + 9
    assert words(targets) == ["transition" if abs(c - 30) <= 10 else "steady" for c in centre]


def test_a_gap_moves_the_change_to_the_first_frame_of_the_new_label_and_hides_windows_centred_in_it():
    codes = [A] * 30 + [NONE] * 20 + [B] * 30 + [NONE] * 5 + [B] * 15
    targets, samples = targets_of(get_task("transition_detection"), episode_of(100, label_track("action", codes)), length=1)
    by_frame = dict(zip(samples.starts[:, 0].tolist(), words(targets), strict=True))
    assert by_frame[29] == "steady"  # the change is at 50
    assert {by_frame[f] for f in range(30, 50)} == {None}
    assert by_frame[60] == "transition" and by_frame[61] == "steady"
    assert by_frame[85] == "steady"  # the same label on both sides


def test_targets_carry_the_times_of_the_changes_near_each_window():
    codes = [A] * 30 + [NONE] * 20 + [B] * 30 + [C] * 20
    targets, samples = targets_of(get_task("transition_detection"), episode_of(100, label_track("action", codes)), length=20)
    found, centre = targets.boundaries, samples.starts[:, 0] + 9
    assert (found.centre * FPS).tolist() == pytest.approx(centre.tolist())
    for frame, label, near in zip(centre.tolist(), words(targets), (found.near * FPS).round().tolist(), strict=True):
        within = [b for b in (50, 80) if abs(frame - b) <= 10]
        assert [b for b in near if b == b] == within
        assert label == (None if 30 <= frame < 50 else "transition" if within else "steady")
    assert found.count == 2 and not found.unreached.any()


def test_a_change_that_no_window_is_near_is_there_too():
    codes = [A] * 30 + [B] * 30 + [C] * 40
    task, episode = get_task("transition_detection"), episode_of(100, label_track("action", codes))
    targets, _ = targets_of(task, episode, length=20, max_per_episode=2)  # centres 9 and 89
    assert words(targets) == ["steady", "steady"] and targets.boundaries.unreached.tolist() == [1, 1]
    assert targets_of(task, episode_of(100), length=20)[0].boundaries is None  # no action, no truth


def test_seconds_to_the_next_change_capped_and_censored():
    codes = [A] * 8 + [B] * 22
    targets, samples = targets_of(get_task("time_to_transition@5"), episode_of(30, label_track("action", codes)), length=1)
    assert (samples.last[:, 0] == np.arange(30)).all()
    seconds = targets.values[:, 0] * FPS
    assert seconds[:8] == pytest.approx([5, 5, 5, 5, 4, 3, 2, 1])
    assert targets.valid.tolist() == [True] * 25 + [False] * 5  # the last five see fewer than five labelled frames
    assert seconds[8:25] == pytest.approx(5)


def test_unlabelled_frames_at_the_end_tell_nothing():
    codes = [A] * 10 + [NONE] * 20
    targets, _ = targets_of(get_task("time_to_transition@5"), episode_of(30, label_track("action", codes)), length=1)
    assert targets.valid.tolist() == [True] * 5 + [False] * 25


def test_the_cap_is_ten_seconds_at_20_frames_a_second():
    targets, _ = targets_of(get_task("time_to_transition"), episode_of(300, label_track("action", [A] * 300)), length=20)
    assert targets.values[0] == pytest.approx(10.0)


@given(codes=st.lists(st.integers(-1, 2), min_size=2, max_size=40), horizon=st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_time_to_transition_is_that_of_a_plain_loop(codes, horizon):
    n = len(codes)
    targets, _ = targets_of(get_task(f"time_to_transition@{horizon}"), episode_of(n, label_track("action", codes)), length=1)
    for t in range(n):
        before, change, last_labelled = codes[t], None, t
        for later in range(t + 1, n):
            if codes[later] >= 0:
                last_labelled = later
                if change is None and codes[later] != before:
                    change = later
        known = codes[t] >= 0 and (change is not None or last_labelled - t >= horizon)
        assert targets.valid[t] == known
        if known:
            steps = horizon if change is None else min(change - t, horizon)
            assert targets.values[t, 0] == pytest.approx(steps / FPS, abs=1e-5)
