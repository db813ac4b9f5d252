"""The log-mel spectrogram of a sound and the 588 numbers of a window, by hand and against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
from feature_episodes import AUDIO_RATE, xperience_episode

from harness.episode import Episode, Modality, Track
from harness.features import data_set_blocks, descriptors_for
from harness.features.logmel import LOGMEL_COLUMNS, LogMelBlock, LogMelDescriptor, mel_filters

NAME = "descriptor/logmel/audio/fisheye_cam0"
MELS = LogMelDescriptor(NAME, ("audio/fisheye_cam0",))
BLOCK = LogMelBlock("logmel_fisheye_cam0", (NAME,), ("audio/fisheye_cam0",))


def sounding(samples: np.ndarray, frames: int = 40, valid: np.ndarray | None = None) -> Episode:
    """An episode of 20 frames a second with this sound, and its spectrogram."""
    clock = Track("state", Modality.STATE, np.zeros((frames, 1)), np.arange(frames) / 20)
    sound = Track("audio/fisheye_cam0", Modality.AUDIO, samples, np.arange(len(samples)) / AUDIO_RATE, valid)
    episode = Episode("e", "state", {t.name: t for t in (clock, sound)})
    return episode.with_tracks({**episode.tracks, NAME: MELS.describe(episode)})


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=round(seconds * AUDIO_RATE)) * 0.1).astype(np.float32)


def named(row: np.ndarray) -> dict[str, float]:
    return dict(zip(LOGMEL_COLUMNS, row.tolist(), strict=True))


def htk_filters() -> np.ndarray:
    """64 triangles, point by point."""
    mel = np.linspace(2595 * np.log10(1 + 40 / 700), 2595 * np.log10(1 + 8000 / 700), 66)
    hz = 700 * (10 ** (mel / 2595) - 1)
    out = np.zeros((64, 257))
    for m in range(64):
        for k in range(257):
            f = k * AUDIO_RATE / 512
            if hz[m] <= f <= hz[m + 1]:
                out[m, k] = (f - hz[m]) / (hz[m + 1] - hz[m])
            elif hz[m + 1] <= f <= hz[m + 2]:
                out[m, k] = (hz[m + 2] - f) / (hz[m + 2] - hz[m + 1])
    return out


def test_filters_are_triangles_on_the_htk_scale():
    np.testing.assert_allclose(mel_filters(AUDIO_RATE, 512), htk_filters(), atol=1e-12)
    assert (mel_filters(AUDIO_RATE, 512).sum(axis=1) > 0).all()


def test_rows_equal_a_plain_loop_and_stand_where_they_end():
    samples = noise(1.0)
    track = sounding(samples).tracks[NAME]
    assert track.data.shape == ((16_000 - 512) // 160 + 1, 68)
    assert track.valid.all()
    for row in (0, 7, 50, len(track.data) - 1):
        heard = samples[160 * row : 160 * row + 512].astype(np.float64)
        power = np.abs(np.fft.rfft(heard * np.hanning(512))) ** 2
        last = heard[-160:]
        crossings = np.mean(heard[-160:] * heard[-161:-1] < 0)
        wave = [np.mean(last**2), np.abs(last).mean(), np.abs(last).max(), crossings]
        np.testing.assert_allclose(track.data[row], [*np.log1p(htk_filters() @ power), *wave], rtol=1e-5, atol=1e-7)
        assert track.times[row] == (160 * row + 511) / AUDIO_RATE


def test_a_window_equals_a_plain_loop():
    episode = sounding(noise(2.0))
    found, valid = BLOCK.compute(episode, np.array([0, 5, 20]), 20)
    assert found.shape == (3, 588) == (3, len(set(LOGMEL_COLUMNS)))
    assert valid.all()
    track, timeline = episode.tracks[NAME], episode.timeline
    for i, start in enumerate((0, 5, 20)):
        after = -1.0 if start == 0 else timeline[start - 1]
        rows = track.data[(track.times > after) & (track.times <= timeline[start + 19])].astype(np.float64)
        mel, (square, size, top, crossings) = rows[:, :64], rows[:, 64:].T
        steps = np.diff(mel, axis=0)
        parts = [mel.mean(0), mel.std(0), mel.min(0), mel.max(0), *np.percentile(mel, [10, 50, 90], axis=0)]
        thirds = [part.mean() for part in np.array_split(size, 3)]
        wave = [np.sqrt(square.mean()), size.mean(), np.sqrt(square.mean() - size.mean() ** 2), top.max(), crossings.mean()]
        wave += [np.log1p(square.sum()), *thirds, thirds[2] - thirds[0], len(rows) / 100, len(rows)]
        np.testing.assert_allclose(found[i], np.concatenate([*parts, steps.mean(0), steps.std(0), wave]), rtol=1e-4, atol=1e-5)


def test_a_tone_by_hand():
    time = np.arange(2 * AUDIO_RATE) / AUDIO_RATE
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time + 0.1)).astype(np.float32)
    found = named(BLOCK.compute(sounding(tone), np.array([20]), 20)[0][0])
    assert found["rms"] == pytest.approx(0.5 * np.sqrt(0.5), rel=1e-3)
    assert found["mean_abs"] == pytest.approx(0.5 * 2 / np.pi, rel=2e-2)
    assert found["max_abs"] == pytest.approx(0.5, rel=1e-2)
    assert found["crossings"] == pytest.approx(2000 / AUDIO_RATE, rel=1e-2)
    assert found["seconds"] == 1.0
    assert found["rows"] == 100
    assert found["last-first_third"] == pytest.approx(0, abs=1e-3)
    mels = [found[f"mean(mel{i})"] for i in range(64)]
    corners = 700 * (10 ** (np.linspace(2595 * np.log10(1 + 40 / 700), 2595 * np.log10(1 + 8000 / 700), 66) / 2595) - 1)
    assert np.argmax(mels) == np.abs(corners[1:-1] - 1000).argmin()
    # The tone's period divides the hop: every row is the same.
    assert max(found[f"std(mel{i})"] for i in range(64)) < 1e-4


def test_a_window_with_a_gap_or_without_sound_is_not_valid():
    samples = noise(2.0)
    samples[10_000] = np.nan
    found, valid = BLOCK.compute(sounding(samples), np.array([0, 5, 20]), 20)
    assert valid.tolist() == [False, False, True]
    assert not found[:2].any()
    assert BLOCK.compute(sounding(noise(0.4)), np.array([0, 20]), 20)[1].tolist() == [True, False]  # the sound ends
    for short in (0, 1, 511):
        assert not BLOCK.compute(sounding(noise(2.0)[:short]), np.array([0]), 20)[1].any()


def test_nothing_after_t0_changes_a_bit_of_a_window():
    episode = xperience_episode(60, seed=3)
    track = episode.tracks["audio/fisheye_cam0"]
    later = track.times > episode.timeline[30]
    changed = replace(track, data=np.where(later, 9.0, track.data).astype(np.float32))
    seen = []
    for sound in (track, changed):
        other = episode.with_tracks({**episode.tracks, "audio/fisheye_cam0": sound})
        other = other.with_tracks({**other.tracks, NAME: MELS.describe(other)})
        seen.append(BLOCK.compute(other, np.array([0, 6, 11]), 20)[0])  # the last one ends at sample 30
    assert seen[0].tobytes() == seen[1].tobytes()
    alone = BLOCK.compute(other, np.array([11]), 20)[0]
    assert alone.tobytes() == seen[1][2:].tobytes()  # nor do the windows beside it


def test_it_is_there_where_it_is_asked_for():
    tracks = ["audio/fisheye_cam0", "imu"]
    assert [b.name for b in data_set_blocks(tracks)] == ["imu_accel_gyro", "audio_fisheye_cam0_aac"]
    instead = ("default", "-audio_*", "logmel_*")
    assert [b.name for b in data_set_blocks(tracks, instead)] == ["imu_accel_gyro", "logmel_fisheye_cam0"]
    assert [b.name for b in data_set_blocks(tracks, ("published", "-imu_*"))] == ["audio_fisheye_cam0_aac"]
    assert NAME in {d.name for d in descriptors_for(tracks)}
