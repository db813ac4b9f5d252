"""Resampling: real multi-rate tracks of glasses, and nothing after the moment of prediction."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.episode import Modality, Track
from harness.resample import resample


def track_of(times: np.ndarray, values: np.ndarray, valid: np.ndarray | None = None) -> Track:
    return Track("imu", Modality.IMU, values, times, valid)


TIMES = np.array([0.0, 1.0, 2.0, 4.0])
VALUES = np.array([[0.0], [10.0], [20.0], [40.0]])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("hold", [0, 10, 20]), ("nearest", [0, 20, 20]), ("linear", [0, 16, 25])],
)
def test_by_hand(how: str, expected: list[float]) -> None:
    values, valid, _ = resample(track_of(TIMES, VALUES), np.array([[0.0, 1.6, 2.5]]), np.array([9.0]), how)
    assert values[0, :, 0].tolist() == expected
    assert valid.all()


@pytest.mark.parametrize("how", ["hold", "nearest", "linear"])
def test_a_neighbour_after_the_limit_does_not_exist(how: str) -> None:
    values, valid, _ = resample(track_of(TIMES, VALUES), np.array([[1.0, 3.9]]), np.array([3.9]), how)
    assert values[0, :, 0].tolist() == [10, 20]
    assert valid.all()


def test_before_the_first_sample_nothing_is_measured() -> None:
    _, valid, _ = resample(track_of(TIMES + 1, VALUES), np.array([[0.0, 0.99, 1.0]]), np.array([5.0]), "hold")
    assert valid.tolist() == [[False, False, True]]


def test_linear_does_not_let_a_missing_neighbour_spoil_an_exact_hit() -> None:
    values = VALUES.copy()
    values[1] = np.nan
    track = track_of(TIMES, values, np.array([True, False, True, True]))
    got, valid, _ = resample(track, np.array([[0.0, 0.5, 2.0]]), np.array([9.0]), "linear")
    assert valid.tolist() == [[True, False, True]]
    assert got[0, 0, 0] == 0 and got[0, 2, 0] == 20


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=30).map(sorted),
    st.lists(st.floats(0, 12), min_size=1, max_size=20).map(sorted),
    st.floats(0, 12),
    st.sampled_from(["hold", "nearest", "linear"]),
)
def test_the_future_changes_nothing(clock: list[float], query: list[float], until: float, how: str) -> None:
    times = np.array(clock)
    values = np.arange(len(times), dtype=float)[:, None]
    wanted = np.minimum(np.array([query]), until)
    noise = np.where((times > until)[:, None], 1e9, values)
    one, mask_one, _ = resample(track_of(times, values), wanted, np.array([until]), how)
    other, mask_other, _ = resample(track_of(times, noise), wanted, np.array([until]), how)
    assert (mask_one == mask_other).all()
    assert (one[mask_one] == other[mask_one]).all()


@given(
    st.lists(st.floats(0, 10), min_size=1, max_size=30, unique=True).map(sorted),
    st.lists(st.floats(0, 12), min_size=1, max_size=20).map(sorted),
    st.floats(0, 12),
    st.sampled_from(["hold", "nearest", "linear"]),
)
def test_the_newest_sample_that_is_named_is_the_newest_that_was_used(
    clock: list[float], query: list[float], until: float, how: str
) -> None:
    times = np.array(clock)
    values = np.ones((len(times), 1))
    wanted = np.minimum(np.array([query]), until)
    one, mask, newest = resample(track_of(times, values), wanted, np.array([until]), how)
    assert newest[0] <= until
    for name, changed in (("after", times > newest[0]), ("at", times == newest[0])):
        other, _, _ = resample(track_of(times, np.where(changed[:, None], 7.0, values)), wanted, np.array([until]), how)
        if name == "after":
            assert (one[mask] == other[mask]).all()
        elif how != "linear":  # a weight may round to nothing
            assert (one[mask] != other[mask]).any() == bool(np.isfinite(newest[0]))


def test_labels_are_held_never_mixed() -> None:
    track = Track("action", Modality.LANGUAGE, np.array([0, 5], np.int32), np.array([0.0, 1.0]), categories=tuple("abcdef"))
    values, _, _ = resample(track, np.array([[0.5, 0.9]]), np.array([2.0]), "linear")
    assert values.tolist() == [[0, 0]]


def test_real_imu_at_1000_hz_onto_frames_at_20_hz(shared_data: Path) -> None:
    imu = np.load(shared_data / "aria" / "aea" / "recording" / "imu-right.npz")
    clock, accel = imu["t_ns"] * 1e-9, imu["accel_msec2"]
    track = track_of(clock - clock[0], accel)
    assert track.rate == pytest.approx(1000, rel=0.01)
    frames = np.arange(0, track.times[-1], 0.05)
    for how, bound in (("hold", 1e-3), ("nearest", 0.6e-3)):
        index_track = track_of(track.times, track.times[:, None])
        got, valid, _ = resample(index_track, frames[None], frames[-1:], how)
        assert valid.all()
        assert np.abs(got[0, :, 0] - frames).max() <= bound + 1e-9
    linear, _, _ = resample(track, frames[None], frames[-1:], "linear")
    reference = np.stack([np.interp(frames[:-1], track.times, accel[:, i]) for i in range(3)], 1)
    np.testing.assert_allclose(linear[0, :-1], reference, rtol=1e-9)


def test_a_hand_that_is_never_seen_stays_unmeasured(shared_data: Path) -> None:
    rows = np.genfromtxt(
        shared_data / "aria" / "mps_sample" / "hand_tracking" / "wrist_and_palm_poses.csv", delimiter=",", names=True
    )
    times = (rows["tracking_timestamp_us"] - rows["tracking_timestamp_us"][0]) * 1e-6
    for side, seen in (("left", False), ("right", True)):
        values = np.stack([rows[f"tx_{side}_wrist_device"], rows[f"ty_{side}_wrist_device"]], 1)
        track = track_of(times, values, rows[f"{side}_tracking_confidence"] > 0)
        _, valid, _ = resample(track, np.arange(0, times[-1], 0.05)[None], times[-1:], "hold")
        assert valid.any() == seen
