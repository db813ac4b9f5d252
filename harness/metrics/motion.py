"""How much an answer moves away from what was observed last, beside how much the truth does: no frozen answer may look good."""

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray


def motion(values: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) sum of |value - reference| of each row, (n, D) both; the reference is what was observed last."""
    return np.asarray(np.abs(values - reference).sum(axis=1))


def moving_half(moved: NDArray[np.float64]) -> BoolArray:
    """(n,) True for the half of an episode's rows (rounded up) whose truth moves most; of equals the earlier ones.

    Args:
        moved: (n,) motion of the truth.
    """
    chosen = np.zeros(len(moved), bool)
    chosen[np.argsort(-moved, kind="stable")[: (len(moved) + 1) // 2]] = True
    return chosen
