"""What an inertial sensor on the head measures: derivatives of the head's motion, gravity and noise."""

import numpy as np
from scipy.spatial.transform import Rotation

from harness.demo.motion import RATE, Motion
from harness.episode import FloatArray

GRAVITY = np.array([0.0, 0.0, -9.81])
ACCELEROMETER_NOISE, GYROSCOPE_NOISE = 0.03, 0.004


def measure(motion: Motion, muted: frozenset[str], rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Specific force (M, 3) in m/s^2 and angular velocity (M, 3) in rad/s, both in the device frame, at RATE."""
    count = len(motion.times)
    force, spin = np.tile(-GRAVITY, (count, 1)), np.zeros((count, 3))
    if "imu" not in muted:
        acceleration = np.zeros((count, 3))
        acceleration[1:-1] = np.diff(motion.head, n=2, axis=0) * RATE**2
        force = np.einsum("tji,tj->ti", motion.turn, acceleration - GRAVITY)
        step = Rotation.from_matrix(motion.turn[:-1]).inv() * Rotation.from_matrix(motion.turn[1:])
        spin[:-1] = step.as_rotvec() * RATE
    return (
        force + ACCELEROMETER_NOISE * rng.standard_normal((count, 3)),
        spin + GYROSCOPE_NOISE * rng.standard_normal((count, 3)),
    )
