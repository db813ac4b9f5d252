"""Error, motion and collapse of forecast latents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.latent_error import LatentError

D = 4


def metric() -> LatentError:
    return LatentError(MetricContext(shape=(2, 2), train_mean=np.zeros(D), train_std=np.ones(D)))


def state(truth, guess, held, status=None):
    truth, guess, held = (np.asarray(a, np.float32) for a in (truth, guess, held))
    n = len(truth)
    targets = Targets(np.ones(n, bool), values=truth, reference=held)
    return metric().state(targets, Predictions(all_ok(n) if status is None else status, values=guess))


def test_by_hand():
    truth, held, guess = [[1, 0, 0, 0], [0, 2, 0, 2]], [[0, 0, 0, 0], [0, 0, 0, 0]], [[1, 0, 0, 1], [0, 2, 0, 0]]
    found = state(truth, guess, held)
    assert float(metric().value(found)) == pytest.approx((0.25 + 0.5) / 2)
    details = metric().details(found)
    assert details["one_minus_cosine"] == pytest.approx(1 - 1 / np.sqrt(2))
    assert details["motion_ratio"] == pytest.approx(4 / 5)
    assert details["moving"] == 0.5 and details["moving_held"] == 1.0  # the second row
    # Deviations over two rows are half their differences: truth 0.5 1 0 1, answer 0.5 1 0 0.5.
    assert details["spread_ratio"] == pytest.approx(2.0 / 2.5)
    assert details["newest_held"] == pytest.approx((0.25 + 1.0) / 2)


def test_the_newest_step_is_held_at_every_time():
    """A latent of two times and two channels: (1, 2) then (3, 4) is held as (3, 4), (3, 4)."""
    found = state([[3, 4, 3, 4]], [[0, 0, 0, 0]], [[1, 2, 3, 4]])
    assert metric().details(found)["newest_held"] == 0
    assert metric().details(found)["moving_held"] == 1


def test_a_collapsed_forecast_has_no_spread_and_a_frozen_one_no_motion():
    rng = np.random.default_rng(0)
    truth, held = rng.normal(size=(2, 6, D))
    collapsed = metric().details(state(truth, np.repeat(truth.mean(axis=0)[None], 6, axis=0), held))
    assert collapsed["spread_ratio"] == pytest.approx(0, abs=1e-6)
    frozen = metric().details(state(truth, held, held))
    assert frozen["motion_ratio"] == 0
    assert frozen["moving"] == pytest.approx(frozen["moving_held"])


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_perfect_is_zero_states_add_up_and_failing_never_pays(seed, n):
    rng = np.random.default_rng(seed)
    truth, held, guess = rng.normal(size=(3, n, D))
    found = metric()
    assert float(found.value(state(truth, truth, held))) == 0
    one, other = state(truth, guess, held), state(truth, held, held)
    mean = (float(found.value(one)) + float(found.value(other))) / 2
    assert float(found.value(one + other)) == pytest.approx(mean)
    status = all_ok(n)
    status[0] = Status.OOM.value
    refused = guess.copy()
    refused[0] = held[0]
    assert float(found.value(state(truth, guess, held, status))) >= float(found.value(state(truth, refused, held))) - 1e-9
