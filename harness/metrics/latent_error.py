"""Absolute error of a latent, with motion and collapse beside it."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, State, number, pack, ratio
from harness.metrics.motion import motion, moving_half
from harness.metrics.regression import vector_rows, with_failure_cost


class LatentError(Metric):
    """Mean over rows of the mean absolute error over a latent's numbers, in the scale its encoder gives.

    V-JEPA 2 gives tokens that are layer-normed: this is then the loss of V-JEPA 2-AC.

    State (11,): rows, sum of errors, sum of 1 - cosine of answer and truth; motion of answer and truth (from the latent observed
    last); of the half of the rows that moves most: rows, sum of errors, sum of the errors of holding the last latent; the
    standard deviations over this episode's rows, summed over the numbers, of answer and truth; sum of the errors of holding the
    newest time step of the last latent (its first axis is time).
    """

    name = "latent_l1"
    direction = "down"
    limits = (0.0, np.inf)
    mean_over_rows = True

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(11,) sums over one episode's rows."""
        assert targets.reference is not None, "a latent error needs the latent observed last"
        rows = vector_rows(targets, predictions, self.context)
        held = targets.reference.astype(np.float64)
        every = np.ones((len(held), 1), bool)
        own = np.abs(rows.truth - rows.guess).mean(axis=1, keepdims=True)
        error = with_failure_cost(own, every, rows.answered)[:, 0]
        unlike = with_failure_cost(_unlike(rows.truth, rows.guess)[:, None], every, rows.answered)
        moved = motion(rows.truth, held)
        fast = moving_half(moved)
        still = np.abs(rows.truth - held).mean(axis=1)
        return pack(
            len(error),
            error.sum(),
            unlike.sum(),
            motion(rows.guess, held).sum(),
            moved.sum(),
            fast.sum(),
            error[fast].sum(),
            still[fast].sum(),
            _spread(rows.guess),
            _spread(rows.truth),
            np.abs(rows.truth - self._newest(held)).mean(axis=1).sum(),
        )

    def _newest(self, latents: NDArray[np.float64]) -> NDArray[np.float64]:
        times = self.context.shape[0]
        steps = latents.reshape(len(latents), times, -1)
        return np.repeat(steps[:, -1:], times, axis=1).reshape(latents.shape)

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) mean absolute error; NaN where there is no row."""
        return ratio(states[..., 1], states[..., 0])

    def details(self, states: State) -> Details:
        """`one_minus_cosine`, `motion_ratio`, `spread_ratio` and the half that moves most.

        `motion_ratio` is the motion of the answers to that of the truth (0 for a frozen answer); `spread_ratio` the deviation of
        the answers over an episode to that of the truth (a collapsed forecast is near 0). `moving` is the error on the half of
        each episode's rows whose truth moves most, `moving_held` that of holding the last latent on the same rows.
        `newest_held` is the error, on all rows, of the newest time step of the last latent at every time: a floor that is often
        harder than the last latent itself.
        """
        rows, _, unlike, moved, truly, fast, fast_error, fast_held, spread, true_spread, newest = states
        return {
            "newest_held": number(ratio(newest, rows)),
            "one_minus_cosine": number(ratio(unlike, rows)),
            "motion_ratio": number(ratio(moved, truly)),
            "spread_ratio": number(ratio(spread, true_spread)),
            "moving": number(ratio(fast_error, fast)),
            "moving_held": number(ratio(fast_held, fast)),
        }


def _unlike(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 1 - cosine of two rows; 1 where either is zero."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return 1 - np.nan_to_num(ratio((one * other).sum(axis=1), norms))


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation over rows, summed over columns."""
    return float(values.std(axis=0).sum()) if len(values) else 0.0
