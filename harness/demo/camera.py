"""The six cameras on the head: a rectified stereo pair (pinhole) and four fisheyes (OpenCV's equidistant model).

Camera frames: x right, y down, z forward. All have square images of `SIZE` pixels and K in pixels of that size.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from harness.episode import FloatArray

SIZE = 256
DEPTH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    Attributes:
        name: Stem of its video.
        focal: fx = fy in pixels; the principal point is the image centre.
        distortion: (4,) fisheye coefficients k1..k4; None for a pinhole.
        T_c_b: (4, 4) device (body) frame -> camera frame.
    """

    name: str
    focal: float
    distortion: FloatArray | None
    T_c_b: FloatArray

    @property
    def K(self) -> FloatArray:  # noqa: N802
        """(4,) fx, fy, cx, cy."""
        return np.array([self.focal, self.focal, SIZE / 2, SIZE / 2])

    def project(self, points: FloatArray) -> FloatArray:
        """(..., 2) pixels of (..., 3) points in the camera frame; NaN behind a pinhole."""
        x, y, z = np.moveaxis(points, -1, 0)
        if self.distortion is None:
            scale = np.where(z > 0.02, 1 / np.where(z > 0.02, z, 1.0), np.nan)
        else:
            radius = np.hypot(x, y)
            theta = np.arctan2(radius, z)
            scale = self._distort(theta) / np.maximum(radius, 1e-9)
        return np.stack([x * scale, y * scale], axis=-1) * self.focal + SIZE / 2

    def rays(self, size: int) -> FloatArray:
        """(size * size, 3) directions of the pixel centres of a size x size image; z = 1 for a pinhole, else unit length."""
        centre = (np.arange(size) + 0.5) * (SIZE / size)
        v, u = np.meshgrid(centre, centre, indexing="ij")
        x, y = (u.ravel() - SIZE / 2) / self.focal, (v.ravel() - SIZE / 2) / self.focal
        if self.distortion is None:
            return np.stack([x, y, np.ones_like(x)], axis=1)
        radius = np.hypot(x, y)
        theta = radius.copy()
        for _ in range(8):  # fixed-point inverse of the distortion: converges fast for these small coefficients
            theta += radius - self._distort(theta)
        side = np.sin(theta) / np.maximum(radius, 1e-9)
        return np.stack([x * side, y * side, np.cos(theta)], axis=1)

    def _distort(self, theta: FloatArray) -> FloatArray:
        assert self.distortion is not None
        powers = theta[..., None] ** np.array([2, 4, 6, 8])
        bent: FloatArray = theta * (1 + powers @ self.distortion)
        return bent


def _mount(yaw: float, pitch: float, place: tuple[float, float, float]) -> FloatArray:
    """T_c_b of a camera turned `yaw` degrees to the left and `pitch` down, at `place` in the device frame."""
    axes = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    turn = Rotation.from_euler("ZY", [yaw, pitch], degrees=True).as_matrix()
    T = np.eye(4)
    T[:3, :3] = axes @ turn.T
    T[:3, 3] = -T[:3, :3] @ np.array(place)
    return T


BASELINE = 0.10
"""Metres between the stereo cameras."""

_FISHEYE = np.array([-0.012, 0.0015, -0.0002, 0.0])
STEREO_LEFT = Camera("stereo_left", 105.0, None, _mount(0, 18, (0.02, BASELINE / 2, 0.0)))
"""`cam01` of the calibration: hands and depth are in its frame."""

CAMERAS: tuple[Camera, ...] = (
    Camera("fisheye_cam0", 115.0, _FISHEYE * 1.0, _mount(15, 20, (0.02, 0.06, 0.01))),
    Camera("fisheye_cam1", 115.0, _FISHEYE * 0.9, _mount(-15, 20, (0.02, -0.06, 0.01))),
    Camera("fisheye_cam2", 115.0, _FISHEYE * 1.1, _mount(45, 25, (-0.01, 0.08, 0.0))),
    Camera("fisheye_cam3", 115.0, _FISHEYE * 0.8, _mount(-45, 25, (-0.01, -0.08, 0.0))),
    STEREO_LEFT,
    Camera("stereo_right", 105.0, None, _mount(0, 18, (0.02, -BASELINE / 2, 0.0))),
)


def to_cameras(T_c_b: FloatArray, head: FloatArray, turn: FloatArray) -> tuple[FloatArray, FloatArray]:
    """World -> camera of a camera on the head: R (T, 3, 3) and t (T, 3) with p_c = R p_w + t.

    Args:
        T_c_b: (4, 4) of the camera.
        head: (T, 3) origin of the device frame in the world.
        turn: (T, 3, 3) device -> world.
    """
    R = T_c_b[:3, :3] @ turn.transpose(0, 2, 1)
    return R, T_c_b[:3, 3] - np.einsum("tij,tj->ti", R, head)
