"""Structural similarity of two images (Wang, Bovik, Sheikh and Simoncelli 2004)."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

SIGMA, RADIUS = 1.5, 5  # the window: 11 x 11, Gaussian
K1, K2 = 0.01, 0.03


def ssim(one: NDArray, other: NDArray, data_range: float) -> NDArray[np.float64]:
    """Mean over pixels and channels of (2 m1 m2 + c1)(2 s12 + c2) / ((m1^2 + m2^2 + c1)(s1^2 + s2^2 + c2)).

    Means, variances and covariance are of an 11 x 11 Gaussian window of deviation 1.5 (population moments), at pixels where it
    lies in the image; c1 = (0.01 L)^2 and c2 = (0.03 L)^2 of the data range L. Channels are compared one by one.

    Args:
        one: (..., height, width, channels), at least 11 x 11 pixels.
        other: The same shape.
        data_range: L, the largest level less the smallest that there can be.

    Returns:
        (...) values, 1 for equal images.

    Raises:
        ValueError: Shapes that differ, or images smaller than the window.
    """
    if one.shape != other.shape or min(one.shape[-3:-1]) <= 2 * RADIUS:
        raise ValueError(f"SSIM of {one.shape} and {other.shape}: give images of one shape, at least 11 x 11 pixels")
    x, y = one.astype(np.float64), other.astype(np.float64)
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    found = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return np.asarray(found.mean(axis=(-3, -2, -1)))


def _blur(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Windowed means, without the border of 5 pixels."""
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    rows = correlate1d(images, weights, axis=-3)[..., RADIUS:-RADIUS, :, :]
    return np.asarray(correlate1d(rows, weights, axis=-2)[..., RADIUS:-RADIUS, :])
