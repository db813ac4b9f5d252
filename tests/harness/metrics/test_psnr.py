"""PSNR, SSIM and motion of future frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.psnr import BEST, PSNR, psnr
from harness.metrics.ssim import ssim

SHAPE = (2, 12, 12, 3)
D = int(np.prod(SHAPE))


def metric() -> PSNR:
    return PSNR(MetricContext(shape=SHAPE, train_mean=np.zeros(D), train_std=np.ones(D)))


def rows(truth, guess, reference, status=None):
    n = len(truth)
    targets = Targets(np.ones(n, bool), values=truth.reshape(n, -1), reference=reference.reshape(n, -1))
    return targets, Predictions(all_ok(n) if status is None else status, values=guess.reshape(n, -1))


def test_by_hand():
    """A frame off by 10 levels everywhere has 20 log10(255 / 10) = 28.13 dB; a perfect one the bound; the mean is of decibels."""
    truth = np.full((1, *SHAPE), 100, np.float32)
    guess = truth.copy()
    guess[0, 1] += 10
    found = metric()
    state = found.state(*rows(truth, guess, truth - 20))
    assert pytest.approx(58.9226, abs=1e-4) == BEST
    assert float(found.value(state)) == pytest.approx((58.9226 + 28.1308) / 2, abs=1e-3)
    details = found.details(state)
    assert details["per_horizon"] == pytest.approx({"1": 58.9226, "2": 28.1308}, abs=1e-3)
    assert details["motion_ratio"] == pytest.approx(25 / 20)
    assert details["moving"] == pytest.approx((58.9226 + 28.1308) / 2, abs=1e-3)
    assert details["moving_held"] == pytest.approx(20 * np.log10(255 / 20), abs=1e-6)
    # Flat images: SSIM is its luminance term alone.
    c1 = 2.55**2
    assert details["ssim"] == pytest.approx((1 + (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)) / 2)


def test_ssim_of_one_window_by_the_formula():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 255, (2, 11, 11, 1))
    w = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    w = np.outer(w, w) / w.sum() ** 2
    mx, my = (w * x[..., 0]).sum(), (w * y[..., 0]).sum()
    vx, vy = (w * (x[..., 0] - mx) ** 2).sum(), (w * (y[..., 0] - my) ** 2).sum()
    cov = (w * (x[..., 0] - mx) * (y[..., 0] - my)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert float(ssim(x, y, 255)) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_an_image_is_the_mean_over_its_windows_and_channels():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 255, (2, 13, 14, 3))
    y = np.clip(x + rng.normal(0, 30, x.shape), 0, 255)
    windows = [
        ssim(x[:, i : i + 11, j : j + 11, c : c + 1], y[:, i : i + 11, j : j + 11, c : c + 1], 255)
        for i in range(3)
        for j in range(4)
        for c in range(3)
    ]
    np.testing.assert_allclose(ssim(x, y, 255), np.mean(windows, axis=0))
    assert ssim(x, x, 255) == pytest.approx([1, 1])


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(np.zeros((10, 20, 3)), np.zeros((10, 20, 3)), 255)


def test_a_frozen_answer_does_not_move_and_equals_the_floor():
    rng = np.random.default_rng(2)
    held = np.repeat(rng.integers(0, 256, (4, 1, 12, 12, 3)), 2, axis=1).astype(np.float32)
    truth = rng.integers(0, 256, held.shape).astype(np.float32)
    found = metric()
    details = found.details(found.state(*rows(truth, held, held)))
    assert details["motion_ratio"] == 0
    assert details["moving"] == pytest.approx(details["moving_held"])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 5), st.floats(0, 60))
def test_perfect_is_best_failing_never_pays_and_states_add_up(seed, n, noise):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (n, *SHAPE)).astype(np.float32)
    held = rng.integers(0, 256, (n, *SHAPE)).astype(np.float32)
    guess = np.clip(truth + rng.normal(0, noise, truth.shape), -50, 400).astype(np.float32)
    found = metric()
    best = found.state(*rows(truth, truth, held))
    assert float(found.value(best)) == pytest.approx(BEST)
    whole = found.state(*rows(truth, guess, held))
    assert float(found.value(whole)) <= BEST + 1e-9
    assert float(found.value(whole + best)) == pytest.approx((float(found.value(whole)) + BEST) / 2)
    status = all_ok(n)
    status[0] = Status.OOM.value
    failed = float(found.value(found.state(*rows(truth, guess, held, status))))
    refused = guess.copy()
    refused[0] = held[0]
    assert failed <= float(found.value(found.state(*rows(truth, refused, held)))) + 1e-9


def test_more_noise_is_worse():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (5, 48)).astype(float)
    values = [psnr(truth, truth + sigma * rng.standard_normal(truth.shape)).mean() for sigma in (1, 4, 16, 64)]
    assert values == sorted(values, reverse=True)
