"""Reading episodes in the Xperience-10M layout: every track, its clock and mask, and every fault by name."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from factories import CAMERAS, FIRST_TIMESTAMP, TONE, write_video, write_xperience_episode, xperience_caption
from hypothesis import given
from hypothesis import strategies as st

from harness.card import Card, XperienceOptions
from harness.episode import Episode, EpisodeRef, Modality, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.readers import reader_class, recognise
from harness.readers.xperience10m import XperienceReader
from harness.readers.xperience_signals import imu_times

FRAMES = 60
CARD = Card(name="bench", format="xperience10m")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Episode]:
    """A complete episode: its folder, what was written, and what was read."""
    root = tmp_path_factory.mktemp("xperience")
    folder = root / "0a1b-session" / "ep3"
    written = write_xperience_episode(folder, FRAMES)
    reader = XperienceReader(root, CARD)
    return folder, written, reader.read(reader.list_episodes()[0][0])


def read(folder: Path, card: Card = CARD) -> Episode:
    """The only episode in a folder."""
    reader = XperienceReader(folder, card)
    refs, errors = reader.list_episodes()
    assert (len(refs), errors) == (1, [])
    return reader.read(refs[0])


def read_changed(folder: Path, edit: Callable[[dict], None] | None = None, card: Card = CARD, **options: Any) -> Episode:
    """An episode written with a change, with one small video only."""
    write_xperience_episode(folder, 12, cameras=options.pop("cameras", ()), edit=edit, **options)
    return read(folder, card)


def put(name: str, value: Any) -> Callable[[dict], None]:
    """An edit that replaces one dataset by a value, or by a function of it."""

    def edit(arrays: dict[str, Any]) -> None:
        arrays[name] = value(arrays[name]) if callable(value) else value

    return edit


# --- What a complete episode holds


def test_a_complete_episode_has_every_track_and_lacks_nothing(full: tuple) -> None:
    folder, _, episode = full
    assert (episode.id, episode.session, episode.reference) == ("0a1b-session__ep3", "0a1b-session", "video/fisheye_cam0")
    assert episode.lacking == {}
    assert {Path(uri).name for uri in episode.uris} == {"annotation.hdf5", *(f"{camera}.mp4" for camera in CAMERAS)}
    assert all(Path(uri).parent == folder for uri in episode.uris)
    assert {track.modality for track in episode.tracks.values()} == set(Modality) - {
        Modality.STATE,
        Modality.COMMAND,
        Modality.TABLE,
    }
    assert {n: t.data.shape for n, t in episode.tracks.items() if not isinstance(t.data, VideoFile)} == {
        "audio/fisheye_cam0": (48_000,),
        "depth": (60, 32, 32),
        "depth_range": (2,),
        "depth_confidence": (60, 32, 32),
        "camera_pose": (60, 4, 4),
        "imu": (615, 6),
        "hand_left": (60, 21, 3),
        "hand_left_rotation": (60, 3, 3),
        "hand_left_translation": (60, 3),
        "hand_left_pose": (60, 45),
        "hand_left_betas": (60, 10),
        "hand_right": (60, 21, 3),
        "hand_right_rotation": (60, 3, 3),
        "hand_right_translation": (60, 3),
        "hand_right_pose": (60, 45),
        "hand_right_betas": (60, 10),
        "body": (60, 52, 3),
        "contacts": (60, 21),
        "body_root": (60, 7),
        "body_cpf": (60, 7),
        "body_rotations": (60, 21, 4),
        "body_left_hand_rotations": (60, 15, 4),
        "body_right_hand_rotations": (60, 15, 4),
        "body_betas": (60, 16),
        "calibration": (117,),
        "intrinsics": (4,),
        "point_cloud": (50, 3),
        "action": (60,),
        "subtask": (60,),
        "interaction": (60,),
        "objects": (60, 2),
        "main_task": (60,),
    }


def test_frame_synchronous_tracks_share_the_device_timestamps(full: tuple) -> None:
    _, written, episode = full
    stamps = written["video/device_timestamp"].astype(np.int64)
    np.testing.assert_allclose(episode.timeline, (stamps - stamps[0]) / 1e9, atol=1e-9)
    own_clock = {"audio/fisheye_cam0", "imu"}
    for name, track in episode.tracks.items():
        if track.times is not None and name not in own_clock:
            assert track.times is episode.timeline
        if track.times is not None:
            assert len(track.times) == (FRAMES if isinstance(track.data, VideoFile) else track.data.shape[0])
            assert (np.diff(track.times) >= 0).all()


def test_videos_are_known_but_not_decoded(full: tuple) -> None:
    folder, _, episode = full
    for camera in CAMERAS:
        data = episode.tracks[f"video/{camera}"].data
        assert isinstance(data, VideoFile)
        assert (data.path, data.stream, data.height, data.width) == (str(folder / f"{camera}.mp4"), 0, 64, 64)


@pytest.mark.parametrize("world_to_body", [True, False])
def test_camera_pose_is_the_camera_in_the_world(tmp_path: Path, world_to_body: bool) -> None:
    from scipy.spatial.transform import Rotation

    def body_in_world(arrays: dict[str, Any]) -> None:
        turn = Rotation.from_quat(arrays["slam/quat_wxyz"], scalar_first=True).inv()
        arrays["slam/quat_wxyz"] = turn.as_quat(scalar_first=True)
        arrays["slam/trans_xyz"] = -turn.apply(arrays["slam/trans_xyz"])

    folder = tmp_path / "s" / "ep0"
    written = write_xperience_episode(folder, 12, cameras=(), edit=None if world_to_body else body_in_world)
    episode = read(folder, replace(CARD, xperience=XperienceOptions(world_to_body=world_to_body)))
    pose = episode.tracks["camera_pose"]
    assert (pose.frame, pose.unit, pose.data.dtype) == ("world", "m", np.float64)
    np.testing.assert_allclose(pose.data, written["T_world_camera"], atol=1e-12)


def test_mocap_is_as_written_and_unseen_frames_are_masked_nan(tmp_path: Path) -> None:
    def unseen(arrays: dict[str, Any]) -> None:
        arrays["hand_mocap/left_joints_3d"][2, 5] = np.nan
        arrays["hand_mocap/left_joints_3d"][3] = 0
        arrays["full_body_mocap/keypoints"][4] = 0
        arrays["slam/quat_wxyz"][5] = np.nan
        arrays["slam/quat_wxyz"][6] = 0
        arrays["slam/trans_xyz"][6] = 0

    folder = tmp_path / "s" / "ep0"
    written = write_xperience_episode(folder, 12, cameras=(), edit=unseen)
    tracks = read(folder).tracks
    missing = {"hand_left": [2, 3], "hand_left_rotation": [2, 3], "hand_left_pose": [2, 3], "hand_right": []}
    missing |= {"body": [4], "contacts": [4], "body_root": [4], "camera_pose": [5, 6]}
    for name, frames in missing.items():
        assert np.flatnonzero(~tracks[name].mask()).tolist() == frames, name
        assert np.isnan(tracks[name].data[frames]).all(), name
        assert np.isfinite(tracks[name].data[tracks[name].mask()]).all(), name
    seen = tracks["hand_left"].mask()
    assert np.array_equal(tracks["hand_left"].data[seen], written["hand_mocap/left_joints_3d"][seen])
    turned = written["hand_mocap/left_mano_hand_global_orient"][0].reshape(3, 3)
    assert np.array_equal(tracks["hand_left_rotation"].data[0], turned)
    assert np.array_equal(tracks["contacts"].data[0], written["full_body_mocap/contacts"][0])
    assert (tracks["hand_left"].frame, tracks["body"].frame) == ("camera", "world")


def test_imu_is_on_the_clock_of_the_frames(full: tuple) -> None:
    _, written, episode = full
    imu, keyframes = episode.tracks["imu"], written["imu/keyframe_indices"]
    np.testing.assert_allclose(imu.times[keyframes], episode.timeline, atol=1e-12)
    assert imu.times[0] == pytest.approx(-4 * 0.005)
    assert imu.rate == pytest.approx(200, rel=0.01)
    assert np.array_equal(imu.data[:, :3], written["imu/accel_xyz"])
    assert np.array_equal(imu.data[:, 3:], written["imu/gyro_xyz"])


@given(st.data())
def test_imu_rows_stay_in_order_whatever_the_clocks(data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 40))
    clock = np.cumsum([0, *data.draw(st.lists(st.floats(0, 0.02), min_size=rows - 1, max_size=rows - 1))])
    keyframes = np.array(sorted(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=20))))
    times = np.cumsum([0, *data.draw(st.lists(st.floats(0.01, 0.1), min_size=len(keyframes) - 1, max_size=len(keyframes) - 1))])
    placed = imu_times(clock, keyframes, times)
    assert (np.diff(placed) >= -1e-12).all()
    first_of_each = np.unique(clock[keyframes], return_index=True)[1]
    np.testing.assert_allclose(placed[keyframes[first_of_each]], times[first_of_each], atol=1e-12)


def test_imu_units_are_of_the_card(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    written = write_xperience_episode(folder, 12, cameras=())
    options = XperienceOptions(accelerometer_to_si=9.80665, gyroscope_to_si=np.pi / 180)
    data = read(folder, replace(CARD, xperience=options)).tracks["imu"].data
    np.testing.assert_allclose(data[:, :3], written["imu/accel_xyz"] * 9.80665)
    np.testing.assert_allclose(data[:, 3:], written["imu/gyro_xyz"] * np.pi / 180)


def test_depth_is_metres_with_nan_where_not_measured(full: tuple) -> None:
    _, written, episode = full
    depth, stored = episode.tracks["depth"], written["depth/depth"]
    part = depth.array(10, 13)
    assert part.dtype == np.float32
    assert np.isnan(part[:, 0, 0]).all()
    assert np.array_equal(part[:, 1:], stored[10:13, 1:])  # depth/scale is the size of the maps, no factor
    assert episode.tracks["depth_range"].data.tolist() == [0.2, 4.0]
    confidence = episode.tracks["depth_confidence"].array()
    np.testing.assert_allclose(confidence, written["depth/confidence"] / 255, atol=1e-7)


def test_depth_in_millimetres(tmp_path: Path) -> None:
    def as_integers(arrays: dict[str, Any]) -> None:
        arrays["depth/depth"] = (arrays["depth/depth"] * 1000).astype(np.uint16)
        arrays["depth/scale"], arrays["depth/depth_min"], arrays["depth/depth_max"] = 0.001, 200, 4000

    folder = tmp_path / "s" / "ep0"
    written = write_xperience_episode(folder, 12, cameras=(), edit=as_integers)
    tracks = read(folder).tracks
    np.testing.assert_allclose(tracks["depth"].array()[:, 1:], written["depth/depth"][:, 1:] * 1e-3, rtol=1e-6)
    np.testing.assert_allclose(tracks["depth_range"].data, [0.2, 4.0])
    tracks = read(folder, replace(CARD, xperience=XperienceOptions(depth_to_metres=0.01))).tracks
    np.testing.assert_allclose(tracks["depth"].array()[:, 1:], written["depth/depth"][:, 1:] * 1e-2, rtol=1e-6)


@pytest.mark.parametrize(("stored", "wanted"), [(np.float32(0.5), 0.5), (np.float32(127.5), 0.5), (np.uint8(1), 1 / 255)])
def test_confidence_of_any_kind_is_a_share(tmp_path: Path, stored: np.generic, wanted: float) -> None:
    edit = put("depth/confidence", lambda c: np.full(c.shape, stored))
    confidence = read_changed(tmp_path / "s" / "ep0", edit).tracks["depth_confidence"].array(3, 5)
    np.testing.assert_allclose(confidence, wanted, rtol=1e-6)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000])
def test_sound_is_mono_16_khz_and_in_time(tmp_path: Path, rate: int) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, FRAMES, cameras=())
    write_video(folder / "fisheye_cam0.mp4", FRAMES, audio=True, audio_rate=rate)
    track = read(folder).tracks["audio/fisheye_cam0"]
    assert (len(track.times), track.times[0]) == (48_000, 0.0)
    assert track.rate == pytest.approx(16_000)
    sound = track.array()
    assert (sound.shape, sound.dtype) == ((48_000,), np.float32)
    # Away from the ends, where the codec fades, it is the tone that was written, within two samples of its time.
    inner = slice(2000, 46_000)
    wave = np.exp(2j * np.pi * TONE * track.times[inner])
    component = 2j * (sound[inner] * wave.conj()).mean()
    assert abs(component) == pytest.approx(0.3, abs=0.01)
    assert abs(np.angle(component)) < 2 * np.pi * TONE * 2 / 16_000
    assert np.array_equal(track.array(20_000, 20_500), sound[20_000:20_500])


def test_calibration_is_flat_and_named(full: tuple) -> None:
    _, written, episode = full
    track = episode.tracks["calibration"]
    value = dict(zip(track.names, track.data.tolist(), strict=True))
    assert (track.times, track.names[0], track.names[-1]) == (None, "cam0/D[0]", "cam3/T_c_b[15]")
    assert list(track.names) == sorted(track.names, key=lambda name: name.split("[")[0])
    assert value["cam2/D[1]"] == written["calibration/cam2/D"][1]
    assert value["cam01/baseline[0]"] == 0.06
    assert episode.tracks["intrinsics"].data.tolist() == [200, 200, 256, 256]


def test_captions_label_the_frames(full: tuple) -> None:
    tracks = full[2].tracks
    action = tracks["action"]
    spans = {label: np.flatnonzero(action.data == code) for code, label in enumerate(action.categories)}
    assert action.categories == ("lift kettle", "pour water", "reach kettle")
    # frame numbers count from 1: [3, 20] is frames 2..19; the gap before takes the first action, the one after the previous
    assert [(spans[a][0], spans[a][-1]) for a in ("reach kettle", "lift kettle", "pour water")] == [(0, 21), (22, 39), (40, 59)]
    subtask = tracks["subtask"]
    assert [subtask.categories[code] for code in subtask.data[[0, 29, 39, 40]]] == ["boil water"] * 3 + ["pour"]
    assert tracks["objects"].names == ("cup", "kettle")
    assert tracks["objects"].data[[0, 18, 19, 29, 40]].tolist() == [[1, 1], [1, 1], [0, 1], [0, 1], [1, 0]]
    assert tracks["objects"].mask()[[29, 30, 39, 40]].tolist() == [True, False, False, True]
    assert tracks["interaction"].data[[0, 1, 18, 19, 40]].tolist() == [-1, 0, 0, -1, 1]
    assert tracks["main_task"].categories == ("make tea",)


def test_frame_numbers_may_count_from_zero(tmp_path: Path) -> None:
    segment = {
        "start_frame": 0,
        "end_frame": 11,
        "Current Action": [{"label": "a", "start_frame": 4, "end_frame": "frame_000006"}],
    }
    segment["Current Action"].append({"label": "b", "start_frame": 7, "end_frame": 11})
    card = replace(CARD, xperience=XperienceOptions(frame_numbers_from=0))
    action = read_changed(tmp_path / "s" / "ep0", card=card, caption={"segments": [segment]}).tracks["action"]
    assert action.data.tolist() == [0] * 7 + [1] * 5


def test_captions_may_refer_to_timestamps_and_stand_in_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    stamp = FIRST_TIMESTAMP + 50_000_000 * np.array([2, 5])
    parts = [{"label": "a", "start_frame": int(stamp[0]), "end_frame": str(stamp[1] + 9_000_000)}]
    text = {"segments": [{"start_frame": int(stamp[0]), "end_frame": int(stamp[1]), "Sub Task": "s", "Current Action": parts}]}

    def rename(arrays: dict[str, Any]) -> None:
        arrays["captions"] = "labels.json"

    write_xperience_episode(folder, 12, cameras=(), caption=None, edit=rename)
    (folder / "labels.json").write_text(__import__("json").dumps(text))
    episode = read(folder)
    assert episode.tracks["action"].data.tolist() == [-1, -1] + [0] * 10
    assert str(folder / "labels.json") in episode.uris


def test_an_episode_travels_between_processes(full: tuple) -> None:
    episode = pickle.loads(pickle.dumps(full[2]))
    for name in ("depth", "depth_confidence", "audio/fisheye_cam0"):
        np.testing.assert_array_equal(episode.tracks[name].array(3, 5), full[2].tracks[name].array(3, 5))


# --- What may be lacking


def test_a_missing_camera_is_coverage(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=set(CAMERAS) - {"fisheye_cam2"})
    episode = read(folder)
    assert episode.lacking == {"video/fisheye_cam2": "no file fisheye_cam2.mp4"}
    assert episode.reference == "video/fisheye_cam0"
    (folder / "fisheye_cam0.mp4").unlink()
    episode = read(folder)
    assert set(episode.lacking) == {"video/fisheye_cam2", "video/fisheye_cam0", "audio/fisheye_cam0"}
    assert (episode.reference, len(episode.timeline), episode.timeline[0]) == ("camera_pose", 12, 0)


def test_no_sound_and_no_caption_are_coverage(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=["fisheye_cam0"], audio=False, caption=None)
    lacking = read(folder).lacking
    assert lacking["audio/fisheye_cam0"] == "fisheye_cam0.mp4 has no audio stream"
    assert {lacking[name] for name in ("action", "subtask", "interaction", "objects")} == {"annotation.hdf5 has no caption"}


def test_optional_datasets_are_coverage_and_ignored_ones_are_not(tmp_path: Path) -> None:
    drop = [
        "slam/point_cloud",
        "slam/frame_names",
        "depth/confidence",
        "full_body_mocap/contacts",
        "hand_mocap/left_mano_hand_betas",
    ]
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, drop=drop, edit=put("full_body_mocap/body_quats", np.zeros((12, 9))))
    card = replace(CARD, ignore=["hand_left_betas"], modalities=["video", "map", "gaze", "main_task"])
    lacking = read(folder, card).lacking
    assert set(lacking) == {"point_cloud", "map", "gaze", "depth_confidence", "contacts", "body_rotations"}
    assert "(12, 9)" in lacking["body_rotations"]


def test_without_device_timestamps_the_frames_are_spaced_evenly_and_it_is_said(tmp_path: Path) -> None:
    episode = read_changed(tmp_path / "s" / "ep0", drop=["video/device_timestamp"])
    np.testing.assert_allclose(episode.timeline, np.arange(12) / 20)
    assert "spaced evenly" in episode.lacking["device_timestamp"]


def test_timestamps_may_be_integers_and_names_bytes(tmp_path: Path) -> None:
    def plain(arrays: dict[str, Any]) -> None:
        arrays["video/device_timestamp"] = arrays["video/device_timestamp"].astype(np.int64)
        names = arrays["slam/frame_names"]
        arrays["slam/frame_names"] = names.view(np.uint8).reshape(len(names), -1)
        first, last = names[4].decode(), names[6].decode()
        arrays["caption"] = f'{{"segments": [{{"objects": {{"{first}": ["cup"], "{last}": []}}}}]}}'
        arrays["full_body_mocap/keypoints"] = arrays["full_body_mocap/keypoints"][None]
        arrays["hand_mocap/left_joints_3d"] = arrays["hand_mocap/left_joints_3d"].reshape(12, 63)

    tracks = read_changed(tmp_path / "s" / "ep0", plain).tracks
    assert tracks["objects"].data[:, 0].tolist() == [0] * 4 + [1, 1] + [0] * 6
    assert (tracks["body"].data.shape, tracks["hand_left"].data.shape) == ((12, 52, 3), (12, 21, 3))


def test_another_reference_of_the_card_moves_the_zero(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=())
    assert read(folder, replace(CARD, reference="video/stereo_left")).reference == "camera_pose"
    episode = read(folder, replace(CARD, reference="imu"))
    assert (episode.reference, episode.timeline[0]) == ("imu", 0)
    assert episode.tracks["body"].times[0] == pytest.approx(0.02)
    with pytest.raises(BadInput, match="'imus' is no timed track; did you mean 'imu'"):
        read(folder, replace(CARD, reference="imus"))


# --- What makes an episode unreadable

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "group": ({"drop": ["imu"]}, "group imu is missing"),
    "groups": ({"drop": ["hand_mocap", "slam"]}, "group hand_mocap, slam is missing"),
    "dataset": ({"drop": ["full_body_mocap/keypoints"]}, "dataset full_body_mocap/keypoints is missing"),
    "no depth": ({"drop": ["depth/depth"]}, "dataset depth/depth is missing"),
    "no extrinsics": ({"drop": ["calibration/cam01/T_c0_b"]}, "dataset calibration/cam01/T_c0_b is missing"),
    "no clock": ({"drop": ["video/device_timestamp", "video/length_sec"]}, "neither video/device_timestamp nor"),
    "nan": ({"edit": put("slam/quat_wxyz", np.full((12, 4), np.nan))}, "slam/quat_wxyz holds no finite number"),
    "short": ({"edit": put("hand_mocap/left_joints_3d", lambda a: a[:7])}, "has 7 rows, the recording has 12 frames"),
    "short extra": ({"edit": put("full_body_mocap/contacts", lambda a: a[:7])}, "has 7 rows, the recording has 12 frames"),
    "short depth": ({"edit": put("depth/depth", lambda a: a[:7])}, "depth/depth has 7 rows, the recording has 12 frames"),
    "short names": ({"edit": put("slam/frame_names", lambda a: a[:7])}, "frame_names has 7 rows, the recording has 12"),
    "shape": ({"edit": put("full_body_mocap/keypoints", lambda a: a[:, :51])}, r"\(12, 51, 3\), not \(12, 52, 3\)"),
    "text": ({"edit": put("slam/trans_xyz", "abc")}, "slam/trans_xyz holds object, not numbers"),
    "extrinsics": ({"edit": put("calibration/cam01/T_c0_b", np.ones((4, 4)))}, "is not a .* rigid transform"),
    "mirrored": ({"edit": put("calibration/cam01/T_c0_b", np.diag([1.0, 1, -1, 1]))}, "is not a .* rigid transform"),
    "clock": ({"edit": put("video/device_timestamp", lambda a: a[[0, 1, 1, *range(3, 12)]])}, "does not increase at frame 2"),
    "clock text": ({"edit": put("video/device_timestamp", np.array(["x"] * 12, "S"))}, "video/device_timestamp: "),
    "no frame": ({"edit": put("video/device_timestamp", np.zeros(0, np.int64))}, "the recording has no frame"),
    "keyframe": ({"edit": put("imu/keyframe_indices", np.arange(12) * 100)}, "runs from 0 to 1100, imu has 135 rows"),
    "keyframe below": ({"edit": put("imu/keyframe_indices", np.arange(12) - 1)}, "runs from -1 to 10"),
    "keyframe back": ({"edit": put("imu/keyframe_indices", np.arange(12)[::-1].copy())}, "runs backward"),
    "keyframes": ({"edit": put("imu/keyframe_indices", np.arange(9))}, "has 9 rows, the recording has 12 frames"),
    "imu": ({"edit": put("imu/gyro_xyz", np.zeros((9, 3)))}, r"\(9, 3\), imu/device_timestamp_ns has 135 rows"),
    "caption": ({"caption": "{'a': 1}"}, "caption is not JSON"),
    "caption path": ({"caption": "../../caption.json"}, "outside the episode folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_line(tmp_path: Path, fault: str) -> None:
    options, message = FAULTS[fault]
    with pytest.raises(UnreadableEpisode, match=message) as caught:
        read_changed(tmp_path / "s" / "ep0", **options)
    assert caught.value.path == str(tmp_path / "s" / "ep0" / "annotation.hdf5")
    assert "\n" not in str(caught.value)


def test_a_damaged_hdf5_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=())
    path = folder / "annotation.hdf5"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no HDF5 at all"):
        path.write_bytes(content)
        with pytest.raises(UnreadableEpisode, match="damaged or no HDF5") as caught:
            read(folder)
        assert caught.value.path == str(path)


def test_damage_inside_the_depth_maps_is_found_when_they_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    written = write_xperience_episode(folder, 12, cameras=())
    with h5py.File(folder / "annotation.hdf5", "a") as file:
        del file["depth/depth"]
        file.create_dataset("depth/depth", data=written["depth/depth"], chunks=(1, 32, 32), compression="gzip")
        place = file["depth/depth"].id.get_chunk_info(5)
    with (folder / "annotation.hdf5").open("r+b") as raw:
        raw.seek(place.byte_offset)
        raw.write(b"\xff" * place.size)
    depth = read(folder).tracks["depth"]
    assert np.isfinite(depth.array(4, 5)[:, 1:]).all()
    with pytest.raises(UnreadableEpisode, match="damaged"):
        depth.array(4, 7)


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=["stereo_left"])
    path = folder / "stereo_left.mp4"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no video at all"):
        path.write_bytes(content)
        with pytest.raises(UnreadableEpisode, match="cannot be decoded") as caught:
            read(folder)
        assert caught.value.path == str(path)
    write_video(path, 9)
    with pytest.raises(UnreadableEpisode, match=r"has 9 frames, annotation\.hdf5 has 12"):
        read(folder)


def test_a_video_cut_behind_its_index_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 12, cameras=())
    path = folder / "stereo_left.mp4"
    write_video(path, 12, index_first=True)
    assert read(folder).tracks["video/stereo_left"].data.height == 64
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableEpisode, match="truncated: it ends before its last box"):
        read(folder)


def test_sound_that_ends_early_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "s" / "ep0"
    write_xperience_episode(folder, 60, cameras=["fisheye_cam0"])
    track = read(folder).tracks["audio/fisheye_cam0"]
    longer = replace(track.data, length=track.data.length + 10_000)
    with pytest.raises(UnreadableEpisode, match=r"its sound ends after \d+ of 58000 samples"):
        longer.read(0, 10)


# --- Which episodes there are


def write_tree(root: Path, names: list[str]) -> None:
    """Episode folders with an annotation that is no HDF5: listing must not open it."""
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "annotation.hdf5").write_bytes(b"never opened")


def test_listing_is_sorted_and_opens_nothing(tmp_path: Path) -> None:
    write_tree(tmp_path, ["b/ep2", "b/ep10", "a/ep0"])
    (tmp_path / "a" / "ep0" / "stereo_left.mp4").write_bytes(b"")
    write_tree(tmp_path, ["a/.ep1.partial"])
    (tmp_path / "notes").mkdir()
    refs, errors = XperienceReader(tmp_path, CARD).list_episodes()
    assert errors == []
    assert [(r.id, r.index, r.session) for r in refs] == [("a__ep0", 0, "a"), ("b__ep10", 1, "b"), ("b__ep2", 2, "b")]
    assert refs[0].uris == tuple(str(tmp_path / "a" / "ep0" / n) for n in ("annotation.hdf5", "stereo_left.mp4"))


@pytest.mark.parametrize("part", ["", "a", "a/ep0"])
def test_the_root_may_be_any_level(tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, ["a/ep0"])
    monkeypatch.chdir(tmp_path / part)
    for root in (tmp_path / part, Path()):
        assert [ref.id for ref in XperienceReader(root, CARD).list_episodes()[0]] == ["a__ep0"]
        assert XperienceReader.recognises(root)


def test_two_episodes_with_one_id_are_both_reported(tmp_path: Path) -> None:
    write_tree(tmp_path, ["one/a/ep1", "two/a/ep1", "two/a/ep2", "b/ep1", "b/ep01"])
    refs, errors = XperienceReader(tmp_path, CARD).list_episodes()
    assert [(ref.id, ref.index) for ref in refs] == [("a__ep2", 1)]
    expected = [("a__ep1", "one/a/ep1"), ("a__ep1", "two/a/ep1"), ("b__ep1", "b/ep01"), ("b__ep1", "b/ep1")]
    assert [(name, path) for name, path, _ in errors] == [(name, str(tmp_path / path)) for name, path in expected]
    assert str(tmp_path / "two" / "a" / "ep1") in errors[0][2]


def test_an_episode_folder_without_annotation_is_reported_and_moves_no_index(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/ep0", "a/ep1", "a/ep2"])
    reader = XperienceReader(tmp_path, CARD)
    ref = reader.list_episodes()[0][1]
    (tmp_path / "a" / "ep1" / "annotation.hdf5").unlink()
    refs, errors = reader.list_episodes()
    assert [(r.id, r.index) for r in refs] == [("a__ep0", 0), ("a__ep2", 2)]
    assert errors == [("a__ep1", str(tmp_path / "a" / "ep1"), "no file annotation.hdf5; fetch it or remove the folder")]
    with pytest.raises(UnreadableEpisode, match="no such file"):
        reader.read(ref)


def test_sessions_may_come_from_a_pattern(tmp_path: Path) -> None:
    write_tree(tmp_path, ["kitchen-7/ep0"])
    reader = XperienceReader(tmp_path, replace(CARD, session_pattern=r"^(\w+)-"))
    assert reader.list_episodes()[0][0].session == "kitchen"
    with pytest.raises(BadInput, match="finds no session in 'kitchen-7__ep0'"):
        XperienceReader(tmp_path, replace(CARD, session_pattern="(x+)")).list_episodes()
    for bad in ("(", "abc"):
        with pytest.raises(BadInput, match="session_pattern"):
            XperienceReader(tmp_path, replace(CARD, session_pattern=bad))


def test_a_folder_of_something_else_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "data" / "chunk-000").mkdir(parents=True)
    (tmp_path / "file.txt").write_text("x")
    for root in (tmp_path, tmp_path / "file.txt", tmp_path / "absent"):
        assert not XperienceReader.recognises(root)
    with pytest.raises(BadInput, match="no episode folder"):
        XperienceReader(tmp_path, CARD).list_episodes()


def test_real_data_of_another_format_is_not_recognised(shared_data: Path) -> None:
    assert not any(XperienceReader.recognises(folder) for folder in shared_data.iterdir())


def test_a_bare_folder_gets_a_card(full: tuple) -> None:
    root = full[0].parents[1]
    assert recognise(root) == "xperience10m"
    cls = reader_class("xperience10m")
    assert cls.fingerprint(root) == {"metadata/device_id": "bench", "metadata/body_height": "1.75"}
    card = cls(root, Card(format="xperience10m")).infer()
    assert (card.format, card.root, card.name) == ("xperience10m", str(root), root.name)
    refs: list[EpisodeRef] = cls(root, card).list_episodes()[0]
    assert [ref.id for ref in refs] == [full[2].id]


def test_fingerprint_skips_what_cannot_be_opened(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/ep0"])
    assert XperienceReader.fingerprint(tmp_path) == {}
    write_xperience_episode(tmp_path / "b" / "ep0", 12, cameras=())
    assert XperienceReader.fingerprint(tmp_path)["metadata/device_id"] == "bench"


def test_the_factory_writes_the_same_arrays_for_the_same_seed(tmp_path: Path) -> None:
    one, two, other = (write_xperience_episode(tmp_path / n, 12, cameras=(), seed=s) for n, s in (("a", 3), ("b", 3), ("c", 4)))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["depth/depth"], other["depth/depth"])
    assert xperience_caption(12)["segments"]
    shutil.rmtree(tmp_path / "a")


def nothing(values: np.ndarray) -> np.ndarray:
    return np.full(values.shape, np.nan, np.float32)


@pytest.mark.parametrize("name", ["depth/depth", "calibration/cam01/K", "full_body_mocap/keypoints"])
def test_what_a_recording_must_have_and_holds_no_number_is_a_fault(name: str, tmp_path: Path) -> None:
    write_xperience_episode(tmp_path / "s" / "ep0", cameras=(), edit=put(name, nothing))
    with pytest.raises(UnreadableEpisode, match=name.rpartition("/")[2]):
        read(tmp_path / "s" / "ep0")


@pytest.mark.parametrize(("name", "track"), [("full_body_mocap/contacts", "contacts"), ("slam/point_cloud", "point_cloud")])
def test_what_is_optional_and_holds_no_number_is_lacking(name: str, track: str, tmp_path: Path) -> None:
    write_xperience_episode(tmp_path / "s" / "ep0", cameras=(), edit=put(name, nothing))
    episode = read(tmp_path / "s" / "ep0")
    assert track not in episode.tracks and "no finite" in episode.lacking[track]


def test_the_card_says_what_joint_0_of_the_body_is(tmp_path: Path) -> None:
    written = write_xperience_episode(tmp_path / "s" / "ep0", cameras=())
    roots = written["full_body_mocap/Ts_world_root"][:, 4:]
    assert not np.allclose(read(tmp_path / "s" / "ep0").tracks["body"].array()[:, 0], roots)
    other = replace(CARD, xperience=XperienceOptions(body_root="Ts_world_root"))
    np.testing.assert_allclose(read(tmp_path / "s" / "ep0", other).tracks["body"].array()[:, 0], roots, atol=1e-6)
    with pytest.raises(BadInput, match=r"xperience\.body_root='pelvis'"):
        read(tmp_path / "s" / "ep0", replace(CARD, xperience=XperienceOptions(body_root="pelvis")))
