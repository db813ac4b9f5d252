"""Seven statistics per dimension: against a plain loop, with missing samples, and window by window alone."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.features.stats import STATISTICS, last_measured, ragged_stats, stats7, window_stats


def plain_stats7(window: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """(T, D) -> (7 D,) one dimension at a time, as the definition reads."""
    out = np.zeros((len(STATISTICS), window.shape[1]))
    for d in range(window.shape[1]):
        at = np.flatnonzero(measured[:, d])
        if not len(at):
            continue
        x = window[at, d].astype(np.float64)
        steps = np.array([b - a for a, b, i, j in zip(x, x[1:], at, at[1:], strict=False) if j == i + 1])
        out[:5, d] = x.mean(), x.std(), x.min(), x.max(), x[-1] - x[0]
        if len(steps):
            out[5:, d] = steps.mean(), steps.std()
    return out.reshape(-1)


@st.composite
def masked_tracks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    length = draw(st.sampled_from([1, 2, 3, 5, 8, 12, 20]))
    n, width = draw(st.integers(length, length + 15)), draw(st.integers(1, 4))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    bits = 32 if dtype == np.float32 else 64
    values = draw(hnp.arrays(dtype, (n, width), elements=st.floats(-100, 100, width=bits, allow_subnormal=False)))
    # Mostly whole, so that both the shared and the masked path are taken.
    measured = draw(hnp.arrays(bool, (n, width), elements=st.sampled_from([True] * 9 + [False])))
    starts = draw(st.lists(st.integers(0, n - length), min_size=1, max_size=6))
    return values, measured, np.array(starts), length


@settings(max_examples=150, deadline=None)
@given(masked_tracks())
def test_windows_equal_a_plain_loop(case):
    values, measured, starts, length = case
    values = np.where(measured, values, np.nan).astype(values.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, valid = window_stats(values, measured, starts, length)
    for row, seen, start in zip(found, valid, starts, strict=True):
        window = slice(start, start + length)
        assert seen == measured[window].any()
        np.testing.assert_allclose(row, plain_stats7(values[window], measured[window]), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 4, 7, 8, 20, 40])
def test_fully_measured_windows_equal_a_plain_loop(length):
    values = np.random.default_rng(length).normal(size=(90, 3)).astype(np.float32)
    starts = np.arange(0, 90 - length + 1, 5)
    found, valid = window_stats(values, None, starts, length)
    expected = np.stack([plain_stats7(values[s : s + length], np.ones((length, 3), bool)) for s in starts])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert valid.all()


def test_a_window_by_hand():
    window = np.array([[1.0], [3.0], [2.0], [6.0]])[:, None]
    # Steps 2, -1, 4: mean 5/3, variance (4 + 1 + 16) / 3 - 25/9 = 38/9. Values: mean 3, variance (4 + 0 + 1 + 9) / 4.
    expected = [3, np.sqrt(3.5), 1, 6, 5, 5 / 3, np.sqrt(38) / 3]
    np.testing.assert_allclose(stats7(window)[0], expected, rtol=1e-6)


def test_missing_samples_by_hand():
    window = np.array([[np.nan, 7.0], [2.0, np.nan], [4.0, np.nan], [np.nan, np.nan], [9.0, np.nan]])[:, None]
    measured = np.isfinite(window)
    # First dimension: 2, 4, 9 measured, and one step with both ends: 4 - 2.
    first = [5, np.sqrt(26 / 3), 2, 9, 7, 2, 0]
    second = [7, 0, 7, 7, 0, 0, 0]
    np.testing.assert_allclose(stats7(window, measured)[0].reshape(7, 2).T, [first, second], rtol=1e-6)


def test_a_dimension_never_measured_is_zero_and_an_empty_window_is_not_valid():
    values = np.full((12, 2), np.nan, np.float32)
    values[:6, 0] = 3.0
    found, valid = window_stats(values, np.isfinite(values), np.array([0, 6]), 6)
    assert valid.tolist() == [True, False]
    assert found[0].reshape(7, 2)[:, 0].tolist() == [3, 0, 3, 3, 0, 0, 0]
    assert not found[0].reshape(7, 2)[:, 1].any()
    assert not found[1].any()


@pytest.mark.parametrize("length", [5, 20])
def test_a_constant_has_no_spread_at_all(length):
    values = np.full((40, 1), 500.1, np.float32)
    found, _ = window_stats(values, None, np.arange(0, 21, 5), length)
    assert (found == np.float32([500.1, 0, 500.1, 500.1, 0, 0, 0])).all()


@pytest.mark.parametrize(("length", "width"), [(20, 98), (20, 1), (20, 3), (7, 5), (16, 2), (191, 6)])
def test_a_window_has_the_same_bits_alone_and_among_others(length, width):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1200, width)).astype(np.float32)
    measured = rng.uniform(size=values.shape) > 0.001
    starts = np.arange(0, 1200 - length + 1, 5)
    together, _ = window_stats(values, measured, starts, length)
    for i in (0, 3, len(starts) // 2, len(starts) - 1):
        alone, _ = window_stats(values, measured, starts[i : i + 1], length)
        assert alone.tobytes() == together[i].tobytes()
    mixed = rng.permutation(len(starts))[:37]
    assert window_stats(values, measured, starts[mixed], length)[0].tobytes() == together[mixed].tobytes()


def test_windows_of_many_lengths_equal_each_on_its_own():
    values = np.random.default_rng(1).normal(size=(100, 2))
    first, lengths = np.array([0, 10, 20, 50, 90]), np.array([3, 17, 3, 0, 10])
    found, valid = ragged_stats(values, None, first, lengths)
    assert valid.tolist() == [True, True, True, False, True]
    for i in np.flatnonzero(valid):
        window = values[first[i] : first[i] + lengths[i]]
        np.testing.assert_allclose(found[i], plain_stats7(window, np.ones(window.shape, bool)), atol=1e-5)
    assert not found[3].any()


def test_the_last_measured_value_is_looked_for_within_the_window_only():
    values = np.array([[1.0, 5.0], [2.0, np.nan], [np.nan, np.nan], [np.nan, 8.0]])
    found = last_measured(values, np.isfinite(values), np.array([0, 1, 2]), 2)
    assert found.tolist() == [[2, 5], [2, 0], [0, 8]]
    assert last_measured(values, None, np.array([0]), 1).tolist() == [[1, 5]]
