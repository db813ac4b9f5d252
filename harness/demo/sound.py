"""What the microphone hears: things touched, poured, stirred, rubbed and shaken, the chair, the hands' sleeves and the room."""

from collections.abc import Callable

import numpy as np

from harness.demo.motion import RATE, Motion
from harness.demo.script import CHORES, Script, Session
from harness.episode import FloatArray

SAMPLE_RATE = 16_000
Follow = Callable[[FloatArray], FloatArray]
"""Brings samples of the motion to the rate of the sound."""


def _band(rng: np.random.Generator, count: int, centre: float, octaves: float) -> FloatArray:
    """(count,) noise of unit power about one pitch."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    pitch = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 1.0)
    noise: FloatArray = np.fft.irfft(spectrum * np.exp(-0.5 * (np.log2(pitch / centre) / octaves) ** 2), count)
    unit: FloatArray = noise / max(float(noise.std()), 1e-9)
    return unit


def _ring(pitch: float, decay: float) -> FloatArray:
    """A struck thing: at once loud, then dying away within a few times `decay` seconds."""
    t = np.arange(int(5 * decay * SAMPLE_RATE)) / SAMPLE_RATE
    ring: FloatArray = np.exp(-t / decay) * np.sin(2 * np.pi * pitch * t)
    return ring


def _strikes(times: FloatArray, strength: float, count: int) -> FloatArray:
    """(count,) one pulse per time."""
    train = np.zeros(count)
    at = np.rint(times * SAMPLE_RATE).astype(int)
    np.add.at(train, at[(at >= 0) & (at < count)], strength)
    return train


def _echo(train: FloatArray, kernel: FloatArray) -> FloatArray:
    """(count,) every pulse of a train replaced by a kernel that starts there."""
    size = 1 << (len(train) + len(kernel)).bit_length()
    return np.fft.irfft(np.fft.rfft(train, size) * np.fft.rfft(kernel, size), size)[: len(train)]


def record(session: Session, script: Script, motion: Motion, muted: frozenset[str], rng: np.random.Generator) -> FloatArray:
    """(samples,) float32 mono in -1..1 at SAMPLE_RATE, as long as the motion."""
    count = round(len(motion.times) * SAMPLE_RATE / RATE)
    clock = np.arange(count) / SAMPLE_RATE
    if "audio" in muted:
        return (0.02 * rng.standard_normal(count)).astype(np.float32)

    def follow(samples: FloatArray) -> FloatArray:
        return np.interp(clock, motion.times, samples)

    sound = _uses(script, motion, follow, count, rng)
    for number, chore in enumerate(CHORES):
        edges = motion.times[np.flatnonzero(np.diff(motion.holds[number].astype(int)))]
        sound += _echo(_strikes(edges, 0.25, count), _ring(chore.pitch, 0.15))
    creak = _band(rng, 6400, 160, 0.5) * np.exp(-np.arange(6400) / SAMPLE_RATE / 0.12)
    sound += _echo(_strikes(script.start, 0.08, count), creak)
    speed = np.linalg.norm(motion.velocity, axis=2)
    for side, pitch in ((0, 600.0), (1, 900.0)):
        sound += 0.015 * follow(np.minimum(speed[side], 2.0)) * _band(rng, count, pitch, 0.3)
    tone = sum(np.sin(2 * np.pi * session.hum * k * clock) / k for k in (1, 2, 3))
    sound += 0.02 * (1 + 1.5 * follow(motion.slide)) * tone
    sound += 0.002 * rng.standard_normal(count)
    return np.clip(sound, -1, 1).astype(np.float32)


def _uses(script: Script, motion: Motion, follow: Follow, count: int, rng: np.random.Generator) -> FloatArray:
    """(count,) the sounds of tools in use."""
    now = script.at(motion.times)
    phase = (motion.times - script.start[now]) / script.duration[now]
    busy = [motion.holds[k] * motion.using for k in range(len(CHORES))]
    speed = np.linalg.norm(motion.velocity, axis=2)
    # A glass that fills rings higher and higher.
    rising = [np.exp(-0.5 * ((phase - at) / 0.2) ** 2) for at in (0.35, 0.6, 0.85)]
    sound = np.zeros(count)
    for share, pitch in zip(rising, (600.0, 1000.0, 1700.0), strict=True):
        sound += 0.08 * follow(busy[0] * share) * _band(rng, count, pitch, 0.15)
    turns = np.floor(CHORES[1].rate * 2 * (motion.times - script.start[now]))
    clinks = motion.times[1:][(np.diff(turns) != 0) & (busy[1][1:] > 0.3)]
    sound += _echo(_strikes(clinks, 0.2, count), _ring(4200.0, 0.06))
    sound += 0.08 * follow(busy[2] * np.minimum(speed[CHORES[2].hand], 1.0)) * _band(rng, count, 2600.0, 0.4)
    sound += 0.10 * follow(busy[3] * np.minimum(speed[CHORES[3].hand], 1.0)) * _band(rng, count, 5500.0, 0.2)
    return sound
