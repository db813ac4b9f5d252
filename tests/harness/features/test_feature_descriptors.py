"""Descriptors of frames, depth and sound: by hand, against plain loops, and blind to what comes later."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from feature_episodes import AUDIO_RATE, xperience_episode

from harness.episode import Episode, Modality, Track
from harness.features.audio import AUDIO_NAMES, AudioDescriptor, describe_sound
from harness.features.depth import DEPTH_NAMES, DepthDescriptor
from harness.features.video import VIDEO_NAMES, VideoDescriptor

VIDEO = VideoDescriptor("descriptor/video/cam", ("video/cam",))
DEPTH = DepthDescriptor("descriptor/depth", ("depth", "depth_confidence"))
AUDIO = AudioDescriptor("descriptor/audio/fisheye_cam0", ("audio/fisheye_cam0",))


def named(names, row):
    return dict(zip(names, row.tolist(), strict=True))


def plain_frame(frame: np.ndarray) -> np.ndarray:
    rgb = frame.astype(np.float64) / 255
    histograms = [np.histogram(rgb[..., c], bins=8, range=(0, 1))[0] / 1024 for c in range(3)]
    gray = rgb @ [0.299, 0.587, 0.114]
    cells = [gray[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean() for i in range(8) for j in range(8)]
    gy, gx = np.gradient(gray)
    edges = [np.abs(gx).mean(), np.abs(gy).mean(), np.abs(gx).std(), np.abs(gy).std()]
    return np.concatenate([rgb.mean((0, 1)), rgb.std((0, 1)), *histograms, cells, edges])


def test_frames_equal_a_plain_loop_and_chunks_may_be_cut_anywhere():
    frames = np.random.default_rng(0).integers(0, 256, (150, 32, 32, 3), dtype=np.uint8)
    frames[0], frames[1] = 0, 255
    frames[2, :16], frames[2, 16:] = 10, 245
    found = VIDEO.describe(frames)
    assert found.shape == (150, VIDEO.dim) == (150, 98)
    np.testing.assert_allclose(found, [plain_frame(f) for f in frames], atol=2e-6)
    pieces = [VIDEO.describe(frames[a:b]) for a, b in ((0, 1), (1, 70), (70, 150))]
    assert np.concatenate(pieces).tobytes() == found.tobytes()
    assert VIDEO.describe(frames[:0]).shape == (0, 98)


def test_a_red_frame_with_a_vertical_edge_by_hand():
    frame = np.zeros((1, 32, 32, 3), np.uint8)
    frame[:, :, 16:, 0] = 255
    found = named(VIDEO_NAMES, VIDEO.describe(frame)[0])
    assert found["mean_r"] == 0.5
    assert found["std_r"] == 0.5
    assert found["mean_g"] == found["std_b"] == 0
    assert found["histogram_r0"] == found["histogram_r7"] == 0.5
    assert found["histogram_g0"] == 1
    assert found["gray_0_3"] == 0
    assert found["gray_7_4"] == pytest.approx(0.299)
    # Two columns of 32 have a central difference of 0.299 / 2.
    assert found["mean_abs_gx"] == pytest.approx(0.299 / 32)
    assert found["mean_abs_gy"] == found["std_abs_gy"] == 0


def plain_map(depth: np.ndarray, span: tuple[float, float]) -> list[float]:
    seen = depth[np.isfinite(depth)]
    shares = np.percentile(seen, [10, 50, 90])
    scalars = [seen.mean(), seen.std(), seen.min(), seen.max(), *shares, np.isfinite(depth).mean()]
    height, width = depth.shape[0] // 8, depth.shape[1] // 8
    normal = np.clip((depth - span[0]) / (span[1] - span[0]), 0, 1)
    cells = normal.reshape(8, height, 8, width).swapaxes(1, 2).reshape(64, -1)
    return [*scalars, *(np.nanmean(c) for c in cells)]


def test_depth_equals_a_plain_loop():
    episode = xperience_episode(20)
    depth, confidence = episode.tracks["depth"].array(), episode.tracks["depth_confidence"].array()
    track = DEPTH.describe(episode)
    assert track.data.shape == (20, len(DEPTH_NAMES)) == (20, 140)
    assert track.valid.all()
    for i in range(20):
        c = confidence[i]
        cells = c.reshape(8, 3, 8, 4).mean((1, 3)).ravel()
        expected = [*plain_map(depth[i], (0, 4)), c.mean(), c.std(), c.min(), c.max(), *cells]
        np.testing.assert_allclose(track.data[i], expected, atol=1e-5)


def test_depth_that_was_not_measured_is_masked():
    times = np.arange(3) / 20
    maps = np.full((3, 16, 16), 2.0, np.float32)
    maps[1, :2, :2] = np.nan  # one cell
    maps[2] = np.nan
    span = Track("depth_range", Modality.CALIBRATION, np.array([1.0, 5.0]))
    depth = Track("depth", Modality.DEPTH, maps, times, np.array([True, True, True]))
    track = DEPTH.describe(Episode("e", "depth", {"depth": depth, "depth_range": span}))
    names = dict.fromkeys(DEPTH_NAMES[:72])
    whole, hole, nothing = (named(DEPTH_NAMES, row) for row in track.data)
    assert whole["depth_mean"] == 2
    assert whole["depth_0_0"] == 0.25
    assert whole["depth_measured"] == 1
    assert hole["depth_measured"] == pytest.approx(63 / 64)
    assert named(DEPTH_NAMES, track.valid[1])["depth_0_0"] is False
    assert track.valid[1, :72].sum() == 71
    assert [name for name in names if named(DEPTH_NAMES, track.valid[2])[name]] == ["depth_measured"]
    assert nothing["depth_measured"] == 0
    assert not track.valid[:, 72:].any()  # there is no confidence


def test_depth_maps_of_any_size_and_a_clock_of_their_own():
    times = np.arange(6) / 20
    maps = np.random.default_rng(0).uniform(0.5, 3, (3, 13, 21)).astype(np.float32)
    depth = Track("depth", Modality.DEPTH, maps, np.array([0.05, 0.15, 0.25]))
    clock = Track("state", Modality.STATE, np.zeros((6, 1)), times)
    track = DEPTH.describe(Episode("e", "state", {"depth": depth, "state": clock}))
    assert track.valid[:, 0].tolist() == [False, True, True, True, True, True]
    np.testing.assert_allclose(track.data[1:, 0], maps.mean((1, 2))[[0, 0, 1, 1, 2]], rtol=1e-5)
    np.testing.assert_allclose(track.data[5, 8], (maps[2, :1, :2] / 4).mean(), rtol=1e-5)  # cell of rows 0 and columns 0 to 1


def test_percentiles_of_large_maps_are_close():
    maps = np.random.default_rng(0).uniform(0, 4, (2, 256, 256)).astype(np.float32)
    depth = Track("depth", Modality.DEPTH, maps, np.arange(2) / 20)
    found = DEPTH.describe(Episode("e", "depth", {"depth": depth})).data
    np.testing.assert_allclose(found[:, 4:7], np.percentile(maps, [10, 50, 90], axis=(1, 2)).T, atol=0.1)


def plain_sound(segment: np.ndarray, rate: int) -> np.ndarray:
    power = np.abs(np.fft.rfft(segment * np.hanning(len(segment)))) ** 2
    hz = np.fft.rfftfreq(len(segment), 1 / rate)
    total, nyquist = power.sum(), rate / 2
    crossings = np.mean(segment[1:] * segment[:-1] < 0)
    loud = [
        np.sqrt(np.mean(segment**2)),
        np.abs(segment).mean(),
        np.abs(segment).max(),
        crossings,
        np.log1p(total / len(segment)),
    ]
    centroid = (hz * power).sum() / total
    bandwidth = np.sqrt(((hz - centroid) ** 2 * power).sum() / total)
    rolloff = hz[np.searchsorted(np.cumsum(power), 0.85 * total)]
    edges = np.geomspace(50, nyquist, 17)
    bands = np.log1p([power[(hz >= a) & (hz < b)].sum() for a, b in pairwise(edges)])
    return np.concatenate([loud, np.array([centroid, bandwidth, rolloff]) / nyquist, bands / np.linalg.norm(bands)])


def sound_episode(samples, sound_times, timeline, valid=None):
    clock = Track("state", Modality.STATE, np.zeros((len(timeline), 1)), timeline)
    sound = Track("audio/fisheye_cam0", Modality.AUDIO, samples, sound_times, valid)
    return Episode("e", "state", {t.name: t for t in (clock, sound)})


def test_sound_equals_a_plain_loop_over_what_was_heard_since_the_sample_before():
    rng = np.random.default_rng(0)
    timeline = np.cumsum(np.concatenate([[0], rng.uniform(0.03, 0.07, 30)]))
    clock = np.arange(int(timeline[-1] * AUDIO_RATE) + 100) / AUDIO_RATE
    samples = (np.sin(2 * np.pi * 440 * clock) * 0.3 + rng.normal(size=len(clock)) * 0.05).astype(np.float32)
    track = AUDIO.describe(sound_episode(samples, clock, timeline))
    assert track.data.shape == (31, len(AUDIO_NAMES)) == (31, 24)
    assert track.valid.tolist() == [False] + [True] * 30
    for i in range(1, 31):
        heard = samples[(clock > timeline[i - 1]) & (clock <= timeline[i])].astype(np.float64)
        np.testing.assert_allclose(track.data[i], plain_sound(heard, AUDIO_RATE), atol=1e-5)


def test_a_tone_by_hand():
    time = np.arange(1600) / 16_000
    found = named(AUDIO_NAMES, describe_sound(np.sin(2 * np.pi * 1000 * time)[None], 16_000)[0])
    assert found["rms"] == pytest.approx(np.sqrt(0.5), abs=1e-4)
    assert found["peak"] == pytest.approx(1, abs=1e-4)
    assert found["zero_crossings"] == pytest.approx(2000 / 16_000, abs=2e-3)
    assert found["centroid"] == pytest.approx(1000 / 8000, abs=1e-3)
    assert found["rolloff"] == pytest.approx(1000 / 8000, abs=2e-3)
    bands = [found[f"band{i}"] for i in range(16)]
    assert np.linalg.norm(bands) == pytest.approx(1, abs=1e-5)
    edges = np.geomspace(50, 8000, 17)
    assert np.argmax(bands) == np.searchsorted(edges, 1000) - 1


def test_silence_has_no_spectrum_and_gaps_are_masked():
    timeline, clock = np.arange(4) / 20, np.arange(2400) / 16_000
    samples = np.zeros(2400, np.float32)
    samples[1000] = np.nan
    track = AUDIO.describe(sound_episode(samples, clock, timeline))
    assert track.valid.tolist() == [False, True, False, True]
    assert not track.data.any()
    marked = np.ones(2400, bool)
    marked[100] = False
    track = AUDIO.describe(sound_episode(np.zeros(2400, np.float32), clock, timeline, marked))
    assert track.valid.tolist() == [False, False, True, True]
    short = AUDIO.describe(sound_episode(samples[:900], clock[:900], timeline))
    assert short.valid.tolist() == [False, True, True, False]  # the sound ends


@pytest.mark.parametrize("descriptor", [DEPTH, AUDIO], ids=["depth", "audio"])
def test_nothing_after_a_sample_changes_its_bits(descriptor):
    episode = xperience_episode(50, seed=3)
    before = descriptor.describe(episode)
    cut = 30
    t0 = episode.timeline[cut]
    rng = np.random.default_rng(9)
    tracks = dict(episode.tracks)
    for name in ("depth", "depth_confidence", "audio/fisheye_cam0"):
        data = tracks[name].array().copy()
        later = tracks[name].times > t0
        data[later] = rng.uniform(0, 9, data[later].shape)
        data[np.flatnonzero(later)[::3]] = np.nan
        tracks[name] = replace(tracks[name], data=data)
    after = descriptor.describe(episode.with_tracks(tracks))
    assert before.data[: cut + 1].tobytes() == after.data[: cut + 1].tobytes()
    assert before.valid[: cut + 1].tobytes() == after.valid[: cut + 1].tobytes()
    assert before.data[cut + 1 :].tobytes() != after.data[cut + 1 :].tobytes()
    # Nor does it matter whether anything comes after it at all.
    short = {n: t if t.times is None else trimmed(t, t0) for n, t in episode.tracks.items()}
    assert descriptor.describe(episode.with_tracks(short)).data.tobytes() == before.data[: cut + 1].tobytes()


def trimmed(track: Track, t0: float) -> Track:
    stop = int(np.searchsorted(track.times, t0, side="right"))
    valid = None if track.valid is None else track.valid[:stop]
    return replace(track, data=track.array(0, stop), times=track.times[:stop], valid=valid)
