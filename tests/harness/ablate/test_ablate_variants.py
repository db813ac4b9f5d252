"""What is taken away, by name: every variant has a folder of its own, and a word that would change nothing is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ablate.variants import (
    Variant,
    blocks_shown,
    check_replacement,
    modalities_shown,
    only,
    parse_replacement,
    without,
)
from harness.config import RunConfig
from harness.episode import Modality
from harness.errors import BadInput
from harness.features import data_set_blocks
from harness.hiding import Hiding, Sight

SIGHTS = {
    "ridge": {
        "timeline_action": Sight((("features/imu_accel_gyro", "features/audio_fisheye_cam0_aac"),), ("audio", "imu")),
        "imu_to_hand_pose": Sight((("features/imu_accel_gyro",),), ("imu",)),
    },
    "persistence": {"hand_trajectory_forecast": Sight((("camera_pose", "hand_left"),), ("hand", "pose"))},
    "majority": {"timeline_action": Sight(((),), ())},
}
NAMES = st.text("ab_*?[]/%=. é", min_size=1, max_size=12)


def test_variants_change_one_thing() -> None:
    full = RunConfig(hidden=["language"], features=["default"])
    assert without("audio").config(full).hidden == ["audio", "language"]
    assert without("audio").config(full).only == []
    assert only("audio").config(full).only == ["audio"]
    assert only("audio").config(full).hidden == ["language"]
    assert parse_replacement("audio_*=logmel_*").config(full).features == ["default", "-audio_*", "logmel_*"]
    assert (full.hidden, full.only, full.features) == (["language"], [], ["default"])


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=20))
def test_every_variant_has_a_folder_of_its_own(pairs: list[tuple[str, str]]) -> None:
    variants = {f(m.value) for m in Modality for f in (without, only)}
    for old, new in pairs:
        try:
            variants.add(parse_replacement(f"{old}={new}"))
        except BadInput:
            assert "=" in old + new or old == new
    names = {variant.name for variant in variants}
    assert len(names) == len(variants)
    assert all(re.fullmatch(r"[A-Za-z0-9_.~%+ -]+", name) and name not in (".", "..") for name in names)


@pytest.mark.parametrize("word", ["", "=", "audio", "audio=", "=logmel", "a=b=c", "a=a", "-a=b", "a=-b"])
def test_what_is_no_replacement_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match="OLD=NEW"):
        parse_replacement(word)


def test_a_replacement_that_would_change_nothing_is_refused() -> None:
    shown, there = ["audio_cam", "imu"], ["audio_cam", "imu", "logmel_cam"]
    check_replacement(parse_replacement("audio_*=logmel_*"), shown, there)
    with pytest.raises(BadInput, match=r"no block 'adio_cam'.*did you mean 'audio_cam'"):
        check_replacement(parse_replacement("adio_cam=logmel_*"), shown, there)
    with pytest.raises(BadInput, match=r"no episode gives a block 'logmel_dog'"):
        check_replacement(parse_replacement("audio_*=logmel_dog"), shown, there)
    with pytest.raises(BadInput, match="shows imu already"):
        check_replacement(parse_replacement("audio_*=imu"), shown, there)


def test_modalities_are_those_that_anybody_is_shown() -> None:
    assert modalities_shown(SIGHTS) == ("audio", "pose", "hand", "imu")
    assert modalities_shown(SIGHTS, ("imu", "audio")) == ("audio", "imu")
    with pytest.raises(BadInput, match=r"--modality depth: no branch is shown it; they are shown audio, hand, imu, pose"):
        modalities_shown(SIGHTS, ("depth",))
    assert blocks_shown(SIGHTS) == {"imu_accel_gyro", "audio_fisheye_cam0_aac"}


def test_hidden_is_whatever_is_made_of_it_and_only_is_what_measures_it() -> None:
    hand, pose, imu = Modality.HAND, Modality.POSE, Modality.IMU
    joints = (hand, pose)  # a hand in the frame of the camera pose
    assert Hiding.of(["pose"], []).hides(joints)
    assert Hiding.of(["hand"], []).hides(joints)
    assert not Hiding.of(["imu"], []).hides(joints)
    assert not Hiding.of([], ["hand"]).hides(joints)
    assert Hiding.of([], ["pose"]).hides(joints)
    assert Hiding.of(["pose"], ["hand"]).hides(joints)
    assert not Hiding.of([], []).hides((imu,))
    assert not Hiding.of([], []) and Hiding.of(["imu"], [])


def test_the_blocks_of_a_replacement() -> None:
    tracks = ["audio/cam", "imu", "hand_left", "camera_pose"]
    full = [b.name for b in data_set_blocks(tracks)]
    variant = Variant("x", "replace", "audio_*", "logmel_*").config(RunConfig()).features
    assert set(full) ^ {b.name for b in data_set_blocks(tracks, variant)} == {"audio_cam", "logmel_cam"}
