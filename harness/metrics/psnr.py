"""Peak signal-to-noise ratio of future frames, with structural similarity and motion beside it."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, MetricContext, State, by_step, number, pack, ratio
from harness.metrics.motion import motion, moving_half
from harness.metrics.regression import vector_rows, with_failure_cost
from harness.metrics.ssim import ssim

RANGE = 255.0  # levels: the data range L
LEAST_MSE = 1 / 12  # of rounding to whole levels: nothing below it can be seen in 8 bits
BEST = 10 * np.log10(RANGE**2 / LEAST_MSE)  # 58.92 dB
FIXED = 9  # numbers of the state before those of the steps


def psnr(truth: NDArray[np.float64], guess: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) dB of frames (..., P) in levels from 0 to 255: 10 log10(255^2 / max(mean squared error, 1/12)).

    The bound is the error of rounding to whole levels, so that a perfect frame has 58.92 dB and not infinity.
    """
    error = np.maximum(((truth - guess) ** 2).mean(axis=-1), LEAST_MSE)
    return np.asarray(10 * np.log10(RANGE**2 / error))


class PSNR(Metric):
    """Mean over rows and frames of the PSNR of each frame (not the PSNR of the mean error). Answers are clipped to 0..255.

    A failed row costs as in every vector task, in dB below a perfect frame.

    State (9 + F,), F frames: frames, sum of PSNR, sum of SSIM; motion of answer and truth (levels, from the last observed
    frame); of the half of the rows that moves most: frames, sum of PSNR, sum of the PSNR of holding the last frame; frames that
    are failures; then the sum of PSNR of each step.
    """

    name = "psnr"
    direction = "up"
    mean_over_rows = True

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.frames = context.shape[0] if context.shape else 0

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(9 + F,) sums over one episode's rows."""
        assert targets.reference is not None, "PSNR needs the last observed frame"
        rows = vector_rows(targets, predictions, self.context)
        n, steps = len(rows.truth), (len(rows.truth), self.frames, -1)
        guess, held = np.clip(rows.guess, 0.0, RANGE), targets.reference.astype(np.float64)
        images = (n, *self.context.shape)
        below = BEST - psnr(rows.truth.reshape(steps), guess.reshape(steps))
        value = BEST - with_failure_cost(below, np.ones(below.shape, bool), rows.answered)
        unlike = 1 - ssim(rows.truth.reshape(images), guess.reshape(images), RANGE)
        alike = 1 - with_failure_cost(unlike, np.ones(unlike.shape, bool), rows.answered)
        moved = motion(rows.truth, held)
        fast = moving_half(moved)
        still = psnr(rows.truth.reshape(steps), held.reshape(steps))
        return pack(
            n * self.frames,
            value.sum(),
            alike.sum(),
            motion(guess, held).sum(),
            moved.sum(),
            fast.sum() * self.frames,
            value[fast].sum(),
            still[fast].sum(),
            (~rows.answered).sum() * self.frames,
            value.sum(axis=0),
        )

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) dB; NaN where there is no row."""
        return ratio(states[..., 1], states[..., 0])

    def details(self, states: State) -> Details:
        """`ssim`, `motion_ratio` (answer to truth; 0 for a frozen answer), the half that moves most, and `per_horizon`.

        `moving` is the PSNR of the half of each episode's rows whose truth moves most, `moving_held` that of holding the last
        observed frame on the same rows.
        """
        frames, _, alike, moved, truly, fast, fast_value, fast_held, _ = states[:FIXED]
        return {
            "ssim": number(ratio(alike, frames)),
            "motion_ratio": number(ratio(moved, truly)),
            "moving": number(ratio(fast_value, fast)),
            "moving_held": number(ratio(fast_held, fast)),
            "per_horizon": by_step(ratio(states[FIXED:], frames / max(self.frames, 1))),
        }
