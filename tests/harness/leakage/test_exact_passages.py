"""Short passages that stand in train to the bit: found wherever they were cut, and not where a recording only repeats itself."""

from pathlib import Path

import numpy as np
import pytest
from copied_world import recorded, split_of, targets_of, walk, wandering

from harness.episode import Episode, Modality
from harness.errors import BadInput
from harness.leakage.duplicates import Copy, find_copies, refuse_copies
from harness.window import WindowSpec

SPEC = WindowSpec()


def copies(folder: Path, found: dict, split=None) -> tuple[Copy, ...]:
    targets_of(folder / "targets", found)
    return find_copies(folder / "targets", split or split_of(["a"], ["b"]), SPEC)


@pytest.mark.parametrize("piece", [12, 14, 15, 16, 20])
def test_pieces_of_a_recording_in_another_order_are_found(tmp_path: Path, piece: int) -> None:
    rng = np.random.default_rng(0)
    train = walk(rng, 240)
    order = rng.permutation(240 // piece)
    test = {name: np.concatenate([values[i * piece : (i + 1) * piece] for i in order]) for name, values in train.items()}
    [copy] = copies(tmp_path, {"a": train, "b": test})
    assert len(copy.windows) >= 0.9 * len(SPEC.grid(5 * len(test["state"])))
    with pytest.raises(BadInput, match=r"fold 0 fits on a, and .* \(b#w"):
        refuse_copies(tmp_path / "targets", split_of(["a"], ["b"]), SPEC)


def moving(rng: np.random.Generator, seconds: float) -> dict[str, tuple[Modality, float, np.ndarray]]:
    """Joints at 30 samples a second and an IMU at 200."""
    joints, imu = wandering(rng, round(30 * seconds), 7), rng.normal(size=(round(200 * seconds), 6)).astype(np.float32)
    return {"state": (Modality.STATE, 30.0, joints), "imu": (Modality.IMU, 200.0, imu)}


def with_passage(test: dict, train: dict, at: float, of: float, seconds: float) -> Episode:
    """What the train recording measured from `of` on stands in the test recording from `at` on, however samples fall there."""
    made = {}
    for name, (kind, rate, data) in test.items():
        n, to, begin = round(seconds * rate), round(at * rate), round(of * rate)
        mixed = data.copy()
        mixed[to : to + n] = train[name][2][begin : begin + n]
        made[name] = (kind, rate, mixed)
    return recorded(made)


@pytest.mark.parametrize(("at", "of"), [(5.0, 12.0), (7.1, 3.3), (10.37, 10.37)])
def test_a_window_is_found_wherever_it_was_cut(tmp_path: Path, at: float, of: float) -> None:
    train, test = (moving(np.random.default_rng(seed), 20) for seed in (0, 1))
    [copy] = copies(tmp_path, {"a": recorded(train), "b": with_passage(test, train, at, of, 1.3)})
    for window in copy.windows:
        start = int(window.rpartition("#w")[2]) / 20
        assert at - 0.25 <= start <= at + 0.55
    assert copy.exact and str(copy).startswith(f"{len(copy.windows)} windows of b stand in a, equal to the bit (b#w")
    assert copies(tmp_path, {"a": recorded(train), "b": with_passage(test, train, at, of, 0.4)}) == ()


def test_one_modality_takes_two_seconds_and_is_never_commands(tmp_path: Path) -> None:
    train, test = (moving(np.random.default_rng(seed), 20) for seed in (0, 1))

    def alone(kind: Modality, seconds: float) -> tuple[Copy, ...]:
        mine, theirs = ({str(kind): (kind, 30.0, tracks["state"][2])} for tracks in (train, test))
        return copies(tmp_path, {"a": recorded(mine), "b": with_passage(theirs, mine, 5.0, 12.0, seconds)})

    assert len(alone(Modality.STATE, 2.5)) == 1 and alone(Modality.STATE, 1.3) == () == alone(Modality.COMMAND, 2.5)


def test_one_scripted_motion_is_no_copy_where_other_sensors_differ(tmp_path: Path) -> None:
    script = wandering(np.random.default_rng(0), 400, 7)

    def played(seed: int, **more: tuple[Modality, float, np.ndarray]) -> Episode:
        rng = np.random.default_rng(seed)
        return recorded(
            {"camera_pose": (Modality.POSE, 20.0, script), "imu": (Modality.IMU, 200.0, rng.normal(size=(4000, 6))), **more}
        )

    grey = (Modality.VIDEO, 20.0, np.abs(script))
    assert copies(tmp_path, {"a": played(1), "b": played(2)}) == ()
    hand, other = ((Modality.HAND, 20.0, wandering(np.random.default_rng(seed), 400, 3)) for seed in (3, 4))
    seen = {"descriptor/video/a": grey}
    assert copies(tmp_path, {"a": played(1, hand_left=hand, **seen), "b": played(2, hand_left=other, **seen)}) == ()
    # Most of what is measured agrees; the pictures were coded again.
    coded = {"descriptor/video/a": (Modality.VIDEO, 20.0, np.abs(script) + 0.01)}
    assert len(copies(tmp_path, {"a": played(1, hand_left=hand, **seen), "b": played(2, hand_left=hand, **coded)})) == 1


def test_neither_an_index_nor_a_constant_hides_a_passage(tmp_path: Path) -> None:
    train, test = (moving(np.random.default_rng(seed), 20) for seed in (0, 1))
    for number, tracks in enumerate((train, test)):
        kind, rate, data = tracks["state"]
        beside = [np.arange(len(data)) + 1000.0 * number, np.arange(len(data)) / rate + number, np.full(len(data), float(number))]
        tracks["state"] = (kind, rate, np.column_stack([data, *beside]))
    passage = with_passage(test, train, 5.0, 12.0, 3.0)
    # The columns beside stay those of the test recording.
    state = passage.tracks["state"].data
    state[:, 7:] = test["state"][2][:, 7:]
    [copy] = copies(tmp_path, {"a": recorded(train), "b": passage})
    assert len(copy.windows) >= 7


def test_a_half_that_is_the_other_half_of_one_recording_is_found(tmp_path: Path) -> None:
    half = walk(np.random.default_rng(0), 100)
    loop = {name: np.concatenate([values, values]) for name, values in half.items()}
    cut = split_of(["a"], ["a"], (0.5, 0.5))
    [copy] = copies(tmp_path, {"a": loop}, cut)
    assert (copy.train, copy.test) == ("a", "a") and len(copy.windows) > 90
    with pytest.raises(BadInput, match="windows of a stand in the fitted part of it, equal to the bit"):
        refuse_copies(tmp_path / "targets", cut, SPEC)
    assert copies(tmp_path, {"a": walk(np.random.default_rng(1), 200)}, cut) == ()


def test_motion_that_repeats_itself_is_no_copy(tmp_path: Path) -> None:
    """Five seconds to a period: measured, and simulated to the bit."""
    phase = np.arange(1200) % 100 * (2 * np.pi / 100)
    turning = np.stack([np.sin(phase), np.cos(2 * phase), np.sin(phase + 1)], axis=1)
    cut = split_of(["a"], ["a"], (0.7, 0.8))
    for noise in (0.0, 1e-4):
        measured = turning + noise * np.random.default_rng(0).normal(size=turning.shape)
        tracks = {"state": (Modality.STATE, 20.0, measured), "imu": (Modality.IMU, 20.0, measured[:, ::-1] ** 3)}
        assert copies(tmp_path, {"a": recorded(tracks)}, cut) == ()


def test_rest_counters_black_frames_and_levels_are_no_copy(tmp_path: Path) -> None:
    def resting(seed: int) -> Episode:
        rng = np.random.default_rng(seed)
        clock = np.arange(600) / 20
        return recorded(
            {
                "state": (Modality.STATE, 20.0, rng.integers(0, 3, (600, 4)).astype(np.float32)),
                "imu": (Modality.IMU, 20.0, np.stack([clock, 0.3 * clock + 5, np.full(600, 9.81)], axis=1).astype(np.float32)),
                "contacts": (Modality.CONTACT, 20.0, (np.arange(600)[:, None] // (100 + 10 * seed) % 2).astype(np.float32)),
                "descriptor/video/a": (Modality.VIDEO, 20.0, np.zeros((600, 8), np.float32)),
            }
        )

    assert copies(tmp_path, {"a": resting(1), "b": resting(2)}) == ()


def test_a_pair_that_is_allowed_hides_no_other(tmp_path: Path) -> None:
    track = walk(np.random.default_rng(0), 80)
    found = copies(tmp_path, {"a": track, "b": track, "c": track}, split_of(["a"], ["b", "c"]))
    assert [copy.test for copy in found] == ["b", "c"]
