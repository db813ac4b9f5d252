"""Windows and samples: what is cut, what is shown, and that a view ends at its t0."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.episode import Modality, Track
from harness.window import SYNC_SHIFT, WindowSpec, make_samples, observe_track, row_seeds


def test_the_published_grid() -> None:
    starts = WindowSpec().grid(5821)
    assert len(starts) == 1161
    assert starts[:3].tolist() == [0, 5, 10] and starts[-1] <= 5821 - 20


@given(st.integers(0, 400), st.integers(1, 40), st.integers(1, 15), st.integers(1, 30))
def test_every_window_fits_and_the_limit_is_even(n: int, length: int, stride: int, most: int) -> None:
    full = WindowSpec(length, stride).grid(n)
    assert all(s >= 0 and s + length <= n for s in full)
    some = WindowSpec(length, stride, max_per_episode=most).grid(n)
    assert len(some) == min(most, len(full)) and set(some) <= set(full) and len(set(some)) == len(some)


def test_order_pairs_are_adjacent_and_come_in_both_orders() -> None:
    samples = make_samples("order_pair", "e", np.arange(100) / 20, WindowSpec())
    first, second = samples.starts.T
    assert set(np.abs(first - second)) == {20}
    assert (first < second).sum() == (first > second).sum()
    assert (samples.t0 == (samples.starts.max(axis=1) + 19) / 20).all()
    assert len(set(samples.ids)) == len(samples)


def test_sync_pairs_are_half_shifted() -> None:
    samples = make_samples("sync_pair", "e", np.arange(200) / 20, WindowSpec())
    shift = samples.starts[:, 1] - samples.starts[:, 0]
    assert sorted(set(shift.tolist())) == [0, 5 * SYNC_SHIFT]
    assert (shift == 0).sum() == (shift > 0).sum()


def test_an_episode_shorter_than_a_window_has_no_samples() -> None:
    for kind in ("window", "order_pair", "sync_pair"):
        assert len(make_samples(kind, "e", np.arange(5) / 20, WindowSpec())) == 0


def test_a_view_ends_at_t0_and_hides_the_command_given_there() -> None:
    times = np.arange(10) / 10
    state = Track("state", Modality.STATE, np.arange(10.0)[:, None], times)
    command = Track("command", Modality.COMMAND, np.arange(10.0)[:, None], times)
    spec = WindowSpec(length=4, context=6)
    shown = observe_track(state, times, np.array([3, 8]), spec)
    assert shown.values[..., 0].tolist() == [[0, 0, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8]]
    assert shown.valid.tolist() == [[False, False, True, True, True, True], [True] * 6]
    hidden = observe_track(command, times, np.array([8]), spec)
    assert hidden.values[0, :, 0].max() == 7  # the command of t0 = 8 is part of the answer
    first = observe_track(command, times, np.array([0]), spec)
    assert not first.valid.any()


def test_views_are_copies() -> None:
    times = np.arange(10) / 10
    data = np.arange(10.0)[:, None]
    shown = observe_track(Track("state", Modality.STATE, data, times), times, np.array([5]), WindowSpec(length=3))
    assert not np.shares_memory(shown.values, data)
    assert shown.values.base is None or not np.shares_memory(shown.values.base, data)


def test_row_seeds_depend_on_the_row_alone() -> None:
    ids = np.array(["a#w0", "a#w5", "b#w0"])
    seeds = row_seeds(ids, 0)
    assert len(set(seeds.tolist())) == 3
    assert (row_seeds(ids[::-1], 0)[::-1] == seeds).all()
    assert (row_seeds(ids, 1) != seeds).all() and (row_seeds(ids, 0, 1) != seeds).all()


def sound(seconds: float, rate: int, lost: slice | None = None) -> Track:
    """A ramp: the number of each sample."""
    data = np.arange(int(seconds * rate), dtype=np.float32)
    if lost is not None:
        data[lost] = np.nan
    return Track("audio/mic", Modality.AUDIO, data, np.arange(len(data)) / rate)


def test_sound_is_shown_whole_up_to_t0_in_pieces_of_one_reference_interval() -> None:
    times, track = np.arange(40) / 20.0, sound(2.0, 1600)
    shown = observe_track(track, times, np.array([19, 30]), WindowSpec(length=20), 19)
    assert shown.values.shape == (2, 19, 80) and shown.rate == 1600 and shown.valid.all()
    last = [int(times[i] * 1600) for i in (19, 30)]
    for row, end in enumerate(last):  # the sample at t0 is the last one, and not one is left out
        np.testing.assert_array_equal(shown.values[row].reshape(-1), np.arange(end - 19 * 80 + 1, end + 1))


def test_no_sound_before_the_recording_in_a_gap_or_after_its_end() -> None:
    times, spec = np.arange(40) / 20.0, WindowSpec(length=20)
    early = observe_track(sound(2.0, 1600), times, np.array([4]), spec)
    assert early.valid[0].tolist() == [False] * 16 + [True] * 4 and not early.values[0, :15].any()
    silent = observe_track(sound(2.0, 1600, slice(801, 810)), times, np.array([19]), spec, 19)
    assert np.flatnonzero(~silent.valid[0]).tolist() == [10] and np.isfinite(silent.values).all()
    ended = observe_track(sound(1.0, 1600), times, np.array([39]), spec)
    assert not ended.valid.any()


def test_a_view_knows_only_the_words_that_it_shows() -> None:
    codes = np.array([0, 0, 2, 2, -1, 1, 1, 3], np.int32)
    times = np.arange(8) / 20
    said = Track("interaction", Modality.LANGUAGE, codes, times, codes >= 0, categories=("a", "b", "c", "d"))
    shown = observe_track(said, times, np.array([2, 4]), WindowSpec(length=3))
    assert shown.categories == ("a", "c")
    words = [[shown.categories[code] if code >= 0 else "" for code in row] for row in shown.values.tolist()]
    assert words == [["a", "a", "c"], ["c", "c", ""]] and shown.valid[1].tolist() == [True, True, False]
