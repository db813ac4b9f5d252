"""What is chosen on left-out rows: thresholds and trust."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from branches.heads.linear import SHARES, THRESHOLDS, best_threshold, trust


def test_the_threshold_is_the_best_of_the_grid():
    rng = np.random.default_rng(0)
    truth = rng.random((200, 6)) < 0.2
    scores = np.clip(0.3 * truth + 0.3 * rng.random(truth.shape), 0, 1)
    threshold, f1 = best_threshold(scores, truth)

    def micro(t):
        chosen = scores > t
        chosen[np.arange(200), scores.argmax(axis=1)] = True
        return 2 * (chosen & truth).sum() / (chosen.sum() + truth.sum())

    found = [micro(t) for t in THRESHOLDS]
    assert f1 == max(found) and threshold == THRESHOLDS[int(np.argmax(found))]
    assert 0.2 < threshold < 0.45


@given(share=st.sampled_from([0.0, 0.2, 0.6, 1.0]), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_a_forecast_is_trusted_as_far_as_it_was_right(share, seed):
    rng = np.random.default_rng(seed)
    forecast = rng.normal(size=(60, 3))
    truth = share * forecast
    truth[rng.random(truth.shape) < 0.2] = np.nan
    halves = [(truth[:30], forecast[:30]), (truth[30:], forecast[30:])]
    np.testing.assert_allclose(trust(halves, 3), share)


def test_where_nothing_moves_most_of_the_time_staying_is_best():
    moves = (np.arange(100) % 5 == 0)[:, None] * 1.0
    assert trust([(moves, np.full((100, 1), moves.mean()))], 1) == 0 == SHARES[-1]
