"""Which sensors a sample lacks."""

import numpy as np

from harness.episode import Episode, Modality, Track
from harness.sensors import lacking, sensors_of
from harness.window import WindowSpec, make_samples

CLOCK = np.arange(40) / 20
SPEC = WindowSpec(length=4, stride=4)


def recording(**valid: np.ndarray) -> Episode:
    zeros = np.zeros((40, 3))
    tracks = {
        "hand_left": Track("hand_left", Modality.HAND, zeros, CLOCK, valid.get("left")),
        "hand_right": Track("hand_right", Modality.HAND, zeros, CLOCK, valid.get("right")),
        "imu": Track("imu", Modality.IMU, zeros, CLOCK, valid.get("imu")),
        "action": Track("action", Modality.LANGUAGE, np.full(40, -1, np.int32), CLOCK, np.zeros(40, bool)),
        "calibration": Track("calibration", Modality.CALIBRATION, np.zeros(4)),
    }
    return Episode("e", "imu", tracks)


def names(episode: Episode, spec: WindowSpec = SPEC, kind: str = "window") -> list[str]:
    return lacking(episode, make_samples(kind, "e", CLOCK, spec), spec).tolist()


def gone(start: int, stop: int, of: int = 40) -> np.ndarray:
    valid = np.ones(of, bool)
    valid[start:stop] = False
    return valid


def test_nothing_is_missing() -> None:
    assert names(recording()) == [""] * 10


def test_a_sensor_is_missing_where_all_its_tracks_are() -> None:
    one = recording(left=gone(8, 16))
    assert names(one) == [""] * 10  # the other hand is seen
    both = recording(left=gone(8, 16), right=gone(8, 16), imu=gone(7, 12))
    # Frames 8-11: no hand, no IMU; 12-15: no hand. Frame 7 is before the window and not measured either.
    assert names(both) == ["", "", "hand+imu", "hand", *[""] * 6]


def test_a_part_of_a_mask_is_enough_and_context_counts() -> None:
    parts = np.ones((40, 3), bool)
    parts[:20, :2] = False
    assert names(recording(imu=parts)) == [""] * 10
    assert names(recording(imu=gone(8, 12)), WindowSpec(length=4, stride=4, context=8)) == [""] * 10


def test_a_pair_lacks_what_either_view_lacks() -> None:
    found = names(recording(imu=gone(7, 12)), kind="order_pair")
    assert [bool(name) for name in found[:6]] == [False, False, True, True, True, True]


def test_labels_and_calibration_are_no_sensors() -> None:
    assert sensors_of([Modality.LANGUAGE, Modality.IMU, Modality.CALIBRATION, Modality.HAND]) == ["hand", "imu"]
