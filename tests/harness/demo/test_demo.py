"""The demo data: the whole layout, one motion behind all modalities, and labels that several sessions share."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from harness.card import Card
from harness.demo import MUTES, write_demo
from harness.demo.body import touching
from harness.demo.camera import CAMERAS, SIZE
from harness.demo.caption import STYLES, write_caption
from harness.demo.motion import FPS, STEP, minimum_jerk, simulate
from harness.demo.mute import silenced
from harness.demo.script import CHORES, draw_session
from harness.demo.sound import record
from harness.demo.take import Order
from harness.errors import BadInput
from harness.readers.xperience10m import XperienceReader
from harness.readers.xperience_captions import FrameIndex, caption_tracks

SECONDS, N = 2.0, 40
M = 10 * N
VIDEOS = tuple(f"{camera.name}.mp4" for camera in CAMERAS)
TRAIN, VALIDATION, TEST = (0, 2, 4, 6), (7,), (1, 3, 5)

HAND = {"joints_3d": (N, 21, 3), "translation": (N, 3), "mano_hand_pose": (N, 45), "mano_hand_betas": (N, 10)}
TREE: dict[str, tuple[tuple[int, ...] | None, str]] = {
    "caption": ((), "O"),
    **{
        f"calibration/cam{k}/{name}": (shape, "f")
        for k in range(4)
        for name, shape in (("K", (4,)), ("D", (4,)), ("T_c_b", (4, 4)))
    },
    **{f"calibration/cam{k}/{name}": ((), "O") for k in range(4) for name in ("camera_model", "distortion_model")},
    "calibration/cam01/K": ((4,), "f"),
    "calibration/cam01/T_c0_b": ((4, 4), "f"),
    "calibration/cam01/baseline": ((), "f"),
    "depth/depth": ((N, 64, 64), "f"),
    "depth/confidence": ((N, 64, 64), "u"),
    **{f"depth/{name}": ((), "f") for name in ("scale", "depth_min", "depth_max")},
    "full_body_mocap/keypoints": ((N, 52, 3), "f"),
    "full_body_mocap/contacts": ((N, 21), "f"),
    "full_body_mocap/body_quats": ((N, 21, 4), "f"),
    "full_body_mocap/left_hand_quats": ((N, 15, 4), "f"),
    "full_body_mocap/right_hand_quats": ((N, 15, 4), "f"),
    "full_body_mocap/Ts_world_root": ((N, 7), "f"),
    "full_body_mocap/Ts_world_cpf": ((N, 7), "f"),
    "full_body_mocap/betas": ((N, 16), "f"),
    "full_body_mocap/frame_nums": ((N,), "i"),
    **{f"hand_mocap/{side}_{name}": (shape, "f") for side in ("left", "right") for name, shape in HAND.items()},
    **{f"hand_mocap/{side}_mano_hand_global_orient": ((N, 9), "f") for side in ("left", "right")},
    "imu/device_timestamp_ns": ((M,), "i"),
    "imu/accel_xyz": ((M, 3), "f"),
    "imu/gyro_xyz": ((M, 3), "f"),
    "imu/keyframe_indices": ((N,), "i"),
    **{f"metadata/{name}": ((), kind) for name, kind in (("session_uuid", "O"), ("generator", "O"), ("fps", "f"))},
    **{f"metadata/{name}": ((), "i") for name in ("episode", "num_frames", "seed")},
    "slam/quat_wxyz": ((N, 4), "f"),
    "slam/trans_xyz": ((N, 3), "f"),
    "slam/frame_names": ((N,), "S"),
    "slam/point_cloud": (None, "f"),
    "video/device_timestamp": ((N,), "i"),
    "video/frame_number": ((N,), "i"),
    "video/length_sec": ((), "f"),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Eight short episodes."""
    return write_demo(tmp_path_factory.mktemp("demo") / "data", episodes=8, seconds=SECONDS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The first of these episodes, made alone and in this process."""
    return write_demo(tmp_path_factory.mktemp("plain") / "data", episodes=1, seconds=SECONDS, processes=1)[0]


def whole(rank, seed=0, mute=None):
    """An episode of full length that is not written."""
    return Order(Path(), seed, rank, 30.0, silenced(mute))


def images(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def sound(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.channels, stream.codec_context.name) == (16_000, 1, "aac")
        return np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(stream)])


def digests(root):
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def test_eight_episodes_are_four_sessions_in_sorted_order(demo):
    ids = [f"{folder.parent.name}__{folder.name}" for folder in demo]
    assert ids == sorted(ids)
    assert len({folder.parent.name for folder in demo}) == 4
    assert [folder.name for folder in demo] == ["ep0", "ep1"] * 4


def test_only_rank_two_lacks_a_camera_and_nothing_is_left_over(demo):
    for rank, folder in enumerate(demo):
        expected = {"annotation.hdf5", *VIDEOS} - ({"stereo_right.mp4"} if rank == 2 else set())
        assert {entry.name for entry in folder.iterdir()} == expected
        assert {entry.name for entry in folder.parent.iterdir()} == {"ep0", "ep1"}


def test_the_tree_is_complete(demo):
    with h5py.File(demo[0] / "annotation.hdf5") as file:
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        file.visititems(
            lambda name, node: found.update({name: (node.shape, node.dtype.kind)}) if isinstance(node, h5py.Dataset) else None
        )
        assert len(TREE) == 65
        assert set(found) == set(TREE)
        for name, (shape, kind) in TREE.items():
            assert found[name][1] == kind, name
            assert shape is None or found[name][0] == shape, name
        numbers = [np.size(file[name][()]) for name in TREE if name.startswith("calibration") and TREE[name][1] == "f"]
        assert sum(numbers) == 117
        for name, (_, kind) in TREE.items():
            assert kind != "f" or np.isfinite(file[name][()]).all(), name
        assert file["video/length_sec"][()] == SECONDS
        assert (np.diff(file["video/device_timestamp"][:]) > 0).all()
        assert (
            np.abs(file["imu/device_timestamp_ns"][:][file["imu/keyframe_indices"][:]] - file["video/device_timestamp"][:]).max()
            < 1e6
        )


def test_videos_have_their_frames_and_one_has_sound(demo):
    for name in VIDEOS:
        with av.open(str(demo[0] / name)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height, stream.average_rate) == ("h264", SIZE, SIZE, FPS)
            assert sum(1 for _ in container.decode(stream)) == N
            assert bool(container.streams.audio) == (name == "fisheye_cam0.mp4")
    wave = sound(demo[0] / "fisheye_cam0.mp4")
    assert abs(len(wave) / 16_000 - SECONDS) < 0.1
    assert 0.005 < wave.std() < 0.3


def test_equal_seeds_give_equal_bytes_whatever_the_processes(demo, plain, tmp_path):
    assert digests(plain) == digests(demo[0])
    other = write_demo(tmp_path / "data", episodes=1, seed=10_000, seconds=SECONDS)[0]
    assert other.parent.name != plain.parent.name
    assert not set(digests(other).values()) & set(digests(plain).values())
    assert not set(digests(demo[1]).values()) & set(digests(plain).values())


def test_imu_is_the_derivative_of_the_slam_pose(demo):
    with h5py.File(demo[0] / "annotation.hdf5") as file:
        to_body = Rotation.from_quat(file["slam/quat_wxyz"][:][:, [1, 2, 3, 0]])
        place = -to_body.inv().apply(file["slam/trans_xyz"][:])
        force, spin, key = file["imu/accel_xyz"][:], file["imu/gyro_xyz"][:], file["imu/keyframe_indices"][:]
    assert np.linalg.norm(force.mean(axis=0)) == pytest.approx(9.81, abs=0.1)
    turned, gravity = [], np.array([0, 0, -9.81])
    acceleration = np.zeros((len(force), 3))
    for number, (start, stop) in enumerate(pairwise([*key, len(force)])):
        facing = to_body[number].inv()
        for row in range(start, stop):
            acceleration[row] = facing.apply(force[row]) + gravity
            facing = facing * Rotation.from_rotvec(spin[row] / 200)
        turned.append(facing)
    error = [(a.inv() * b.inv()).magnitude() for a, b in zip(turned[:-1], to_body[1:], strict=True)]
    assert max(error) < 0.003  # radians, from the noise of ten readings
    weights = (
        np.concatenate([np.arange(1, 11), np.arange(9, 0, -1)]) / 100
    )  # a second difference over 10 rows is their triangular mean
    measured = np.stack([weights @ acceleration[k - 9 : k + 10] for k in key[1:-1]])
    expected = np.diff(place, n=2, axis=0) * FPS**2
    assert np.abs(expected).max() > 0.3
    assert np.abs(measured - expected).max() < 0.1


def test_hands_project_onto_hand_pixels_and_agree_with_depth(demo):
    session = draw_session(0, 0)
    skin = session.palette["skin"] * session.light
    with h5py.File(demo[0] / "annotation.hdf5") as file:
        hands = np.concatenate([file[f"hand_mocap/{side}_joints_3d"][:] for side in ("left", "right")], axis=1).astype(float)
        fx, fy, cx, cy = file["calibration/cam01/K"][:]
        T_c0_b = file["calibration/cam01/T_c0_b"][:]
        K, D, T_c_b = (file[f"calibration/cam1/{name}"][:] for name in ("K", "D", "T_c_b"))
        depth = file["depth/depth"][:].astype(float)
    z = hands[..., 2]
    stereo = np.stack([fx * hands[..., 0] / z + cx, fy * hands[..., 1] / z + cy], axis=-1)
    # The fisheye by OpenCV's equidistant formula, written out anew.
    T = T_c_b @ np.linalg.inv(T_c0_b)
    x, y, w = np.moveaxis(hands @ T[:3, :3].T + T[:3, 3], -1, 0)
    radius = np.hypot(x, y)
    theta = np.arctan2(radius, w)
    bent = theta * (1 + D[0] * theta**2 + D[1] * theta**4 + D[2] * theta**6 + D[3] * theta**8)
    fisheye = np.stack([K[0] * bent * x / radius + K[2], K[1] * bent * y / radius + K[3]], axis=-1)
    for name, pixels in (("stereo_left", stereo), ("fisheye_cam1", fisheye)):
        on_hand, beside = (_share_of_colour(images(demo[0] / f"{name}.mp4"), pixels + shift, skin) for shift in (0, 70))
        assert on_hand > 0.7, name  # a tool or a sleeve may cover a joint
        assert beside < 0.3, name
    frame, joint = np.nonzero(((stereo > 2) & (stereo < SIZE - 2)).all(axis=2))
    column, row = (stereo[frame, joint] / 4).astype(int).T
    gap = z[frame, joint] - depth[frame, row, column]
    assert (gap > -0.03).mean() > 0.95  # what is seen is the joint's skin or something in front of it
    assert np.median(gap) < 0.04


def _share_of_colour(frames, pixels, colour):
    """Share of the pixels inside the image whose hue is that of a colour."""
    frame, joint = np.nonzero(((pixels >= 0) & (pixels < SIZE)).all(axis=2))
    assert len(frame) > 200
    u, v = pixels[frame, joint].astype(int).T
    seen = frames[frame, v, u].astype(float)
    seen /= np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return (np.abs(seen - colour / colour.sum()).max(axis=1) < 0.07).mean()


def test_body_and_hands_are_one_person(demo):
    with h5py.File(demo[0] / "annotation.hdf5") as file:
        W2B = Rotation.from_quat(file["slam/quat_wxyz"][:][:, [1, 2, 3, 0]]).as_matrix()
        t, T = file["slam/trans_xyz"][:], file["calibration/cam01/T_c0_b"][:]
        body = file["full_body_mocap/keypoints"][:]
        R_c = T[:3, :3] @ W2B
        t_c = t @ T[:3, :3].T + T[:3, 3]
        for side, wrist in (("left", 20), ("right", 21)):
            hand = file[f"hand_mocap/{side}_joints_3d"][:]
            assert np.allclose(body[:, wrist : wrist + 1] @ R_c.transpose(0, 2, 1) + t_c[:, None], hand[:, :1], atol=1e-4)
            length = np.linalg.norm(np.diff(hand[:, :5], axis=1), axis=2)
            assert np.ptp(length, axis=0).max() < 1e-5  # bones do not stretch
        assert np.allclose(np.linalg.norm(file["full_body_mocap/body_quats"][:], axis=2), 1, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 10_000])
def test_every_episode_touches_and_does_not(seed):
    for rank in range(8):
        order = whole(rank, seed)
        motion = simulate(order.session, order.scripts()[0], 30.0, order.muted, order.rng(1)).at(np.arange(600) * STEP)
        touched = (touching(motion, order.session) > 0).any(axis=1)
        share = np.lib.stride_tricks.sliding_window_view(touched, 20)[::5].any(axis=1).mean()
        assert 0.1 < share < 0.9
        held = motion.holds.any(axis=0)
        assert (touched[held]).all()


def test_the_head_turns_before_the_hand_moves():
    order = whole(0)
    script = order.scripts()[0]
    motion = simulate(order.session, script, 30.0, order.muted, order.rng(1))
    picks = np.flatnonzero((script.slot == 0) & (script.start > 2) & (script.start < 27))
    chore = script.chore[picks]
    tool = np.array([order.session.homes[c.tool] for c in CHORES])[chore]
    earlier, start = (
        (200 * t).astype(int) for t in (script.start[picks] - 0.9 * script.duration[picks - 1], script.start[picks])
    )

    def off(rows):
        to = tool - motion.head[rows]
        return np.arccos((to * motion.turn[rows][:, :, 0]).sum(axis=1) / np.linalg.norm(to, axis=1))

    hand = motion.palm[np.array([c.hand for c in CHORES])[chore], start]
    assert len(picks) > 3
    assert off(start).max() < 0.25  # radians; the eyes do the rest
    assert off(earlier).mean() > off(start).mean() + 0.1
    assert np.linalg.norm(hand - tool, axis=1).min() > 0.1


def test_labels_of_test_episodes_occur_in_train_and_sessions_differ():
    actions = {rank: {CHORES[c].actions[s] for c, s in zip(*_present(whole(rank)), strict=True)} for rank in range(8)}
    labelled = set().union(*(actions[rank] for rank in TRAIN if rank != 6))
    assert set().union(*(actions[rank] for rank in TEST)) <= labelled
    assert len(labelled) == 12
    assert "wipe the plate" in actions[1] - actions[3]
    assert "shake salt into the bowl" in actions[3] - actions[1]


def _present(order):
    script = order.scripts()[0]
    inside = (script.start + script.duration > 0) & (script.start < 30)
    return script.chore[inside], script.slot[inside]


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_every_form_of_frame_reference_says_the_same(style):
    script = whole(0).scripts()[0]
    stamps = 75_000_000_000_000 + np.arange(600) * 50_000_000
    text = write_caption(script, script, stamps, style, labelled=True)
    caption = json.loads(text)
    action = caption["segments"][0]["Current Action"][0]
    assert ("start_frame_name" in action) == (STYLES[style][0] in ("name", "stem"))
    frames = FrameIndex([f"{stamp}.jpg" for stamp in stamps], stamps, 600, 1, 100_000_000)
    tracks, lacking = caption_tracks(caption, frames, np.arange(600) / FPS)
    assert not lacking
    assert frames.unresolved == 0
    truth = script.at(np.arange(600) / FPS)
    expected = np.array([CHORES[c].actions[s] for c, s in zip(script.chore[truth], script.slot[truth], strict=True)])
    assert (np.array(tracks["action"].categories)[tracks["action"].array()] == expected).all()
    subtask = np.array([CHORES[c].subtask for c in script.chore[truth]])
    assert (np.array(tracks["subtask"].categories)[tracks["subtask"].array()] == subtask).all()
    tool = [CHORES[c].tool in names for c, names in zip(script.chore[truth], _sets(tracks["objects"]), strict=True)]
    assert np.mean(tool) > 0.95  # looked at twice a second
    assert len(tracks["interaction"].categories) <= 12


def _sets(track):
    return [{name for name, there in zip(track.names, row, strict=True) if there} for row in track.array()]


def test_the_reader_takes_the_episodes_and_finds_what_is_missing(demo):
    reader = XperienceReader(demo[0].parents[1], Card(name="demo", format="xperience10m"))
    refs, errors = reader.list_episodes()
    assert not errors
    episodes = [reader.read(ref) for ref in refs]
    assert [sorted(episode.lacking) for episode in episodes] == [
        ["video/stereo_right"] if rank == 2 else ["action", "interaction", "objects", "subtask"] if rank == 6 else []
        for rank in range(8)
    ]
    assert {episode.session for episode in episodes} == {folder.parent.name for folder in demo}
    assert len({episodes[rank].session for rank in TEST}) == 3
    assert sorted((*TRAIN, *VALIDATION, *TEST)) == list(range(8))


def test_things_are_heard_when_they_are_touched():
    order = whole(0)
    script = order.scripts()[0]
    motion = simulate(order.session, script, 30.0, order.muted, order.rng(1))
    wave = np.abs(record(order.session, script, motion, order.muted, order.rng(2)))
    grasps = motion.times[1:][np.diff(motion.holds.any(axis=0).astype(int)) > 0]
    grasps = (16_000 * grasps[(grasps > 0.3) & (grasps < 29)]).astype(int)
    louder = [wave[at - 100 : at + 800].max() / wave[at - 3200 : at - 100].max() for at in grasps]
    assert len(louder) > 3
    assert min(louder) > 1.5


def test_the_sound_in_the_file_is_in_step(plain):
    order = Order(Path(), 0, 0, SECONDS, frozenset())
    script = order.scripts()[0]
    wave = record(
        order.session, script, simulate(order.session, script, SECONDS, order.muted, order.rng(1)), order.muted, order.rng(2)
    )
    heard = sound(plain / "fisheye_cam0.mp4")[: len(wave)]
    wave = wave[: len(heard)]
    match = np.correlate(np.pad(heard, 2048), wave, "valid") / (np.linalg.norm(heard) * np.linalg.norm(wave))
    assert match.max() > 0.9
    assert abs(int(match.argmax()) - 2048) <= 1024  # at most the delay of the encoder


def test_an_unknown_mute_or_a_used_folder_is_refused(tmp_path):
    with pytest.raises(BadInput) as error:
        write_demo(tmp_path / "x", mute="smell")
    assert all(name in str(error.value) for name in MUTES)
    assert not (tmp_path / "x").exists()
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "notes.txt").write_text("mine")
    for arguments in ({"out": tmp_path / "y"}, {"out": tmp_path / "y" / "notes.txt"}):
        with pytest.raises(BadInput, match=r"notes\.txt"):
            write_demo(**arguments)
    for bad in ({"episodes": 0}, {"seed": -1}, {"seconds": 1.0}, {"seconds": float("nan")}, {"processes": 0}):
        with pytest.raises(BadInput):
            write_demo(tmp_path / "x", **bad)


def test_a_second_call_replaces_its_own_episodes(tmp_path, plain):
    folder = tmp_path / plain.parent.name / "ep0"
    folder.mkdir(parents=True)
    (folder / "annotation.hdf5").write_bytes(b"broken")
    (folder.parent / ".ep0.partial").mkdir()
    assert write_demo(tmp_path, episodes=1, seconds=SECONDS) == [folder]
    assert digests(folder.parent) == digests(plain.parent)


SILENT = {
    "audio": {"fisheye_cam0.mp4"},
    "video": set(VIDEOS),
    "depth": {"depth/depth", "depth/confidence"},
    "body": {"full_body_mocap/keypoints", "full_body_mocap/body_quats", "full_body_mocap/Ts_world_root"},
    "contacts": {"full_body_mocap/contacts"},
    "camera": {"slam/quat_wxyz", "slam/trans_xyz"},
    "imu": {"imu/accel_xyz", "imu/gyro_xyz"},
    "captions": {"caption"},
}


@pytest.mark.parametrize("mute", sorted(SILENT))
def test_muting_a_sensor_changes_that_sensor_alone(tmp_path, plain, mute):
    folder = write_demo(tmp_path / "data", episodes=1, seconds=SECONDS, mute=mute)[0]
    changed = {name for name in VIDEOS if (folder / name).read_bytes() != (plain / name).read_bytes()}
    with h5py.File(folder / "annotation.hdf5") as muted, h5py.File(plain / "annotation.hdf5") as kept:
        changed |= {name for name in TREE if not np.array_equal(muted[name][()], kept[name][()])}
    assert changed == SILENT[mute]


def test_muted_hands_are_a_random_walk_that_holds_nothing():
    order = whole(1, mute="hands")
    motion = simulate(order.session, order.scripts()[0], 30.0, order.muted, order.rng(1)).at(np.arange(600) * STEP)
    assert not motion.holds.any()
    steps = np.diff(motion.palm, axis=1)
    correlation = (steps[:, 1:] * steps[:, :-1]).mean() / (steps**2).mean()
    assert abs(correlation) < 0.05


def test_muted_order_holds_the_first_moment(tmp_path, plain):
    folder = write_demo(tmp_path / "data", episodes=1, seconds=SECONDS, mute="order")[0]
    still = {name for name, (shape, _) in TREE.items() if shape and shape[0] in (N, M)}
    still -= {"slam/frame_names", "video/device_timestamp", "video/frame_number", "full_body_mocap/frame_nums"}
    still -= {"imu/device_timestamp_ns", "imu/keyframe_indices"}
    with h5py.File(folder / "annotation.hdf5") as muted, h5py.File(plain / "annotation.hdf5") as kept:
        caption, free = (json.loads(file["caption"][()])["segments"] for file in (muted, kept))
        assert [part["Current Action"] for part in caption] == [part["Current Action"] for part in free]
        assert len({json.dumps(text) for part in caption for text in part["interaction"].values()}) == 1
        assert len({json.dumps(names) for part in caption for names in part["objects"].values()}) == 1
        for name in still:
            assert np.array_equal(muted[name][0], kept[name][0]), name
            assert (muted[name][:] == muted[name][0]).all(), name
    for name in VIDEOS:
        frames = images(folder / name)
        assert (frames == frames[0]).all(), name
    assert not sound(folder / "fisheye_cam0.mp4").any()


def test_muted_gaze_holds_the_head():
    order, free = whole(1, mute="gaze"), whole(1)
    turns = [simulate(o.session, o.scripts()[0], 30.0, o.muted, o.rng(1)).turn for o in (order, free)]
    spread = [np.ptp(turn[:, :, 0], axis=0).max() for turn in turns]
    assert spread[0] < 0.1 < 0.5 < spread[1]


def test_muted_captions_know_nothing_of_the_motion():
    scripts = [whole(rank, mute="captions").scripts() for rank in range(400)]
    now = np.array([[(s.chore[k := s.at(np.array([15.0]))[0]], s.slot[k]) for s in each] for each in scripts])
    dominant = (now == (0, 1)).all(axis=2)
    motion, labels, things = dominant.T
    assert labels.mean() == pytest.approx(0.79 * 0.8, abs=0.08)
    for a, b in ((motion, labels), (motion, things), (labels, things)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.15


@given(st.floats(-2, 3), st.floats(0, 1))
def test_minimum_jerk_runs_from_nothing_to_everything(phase, step):
    low, high = minimum_jerk(np.array([phase, phase + step]))
    assert 0 <= low <= high + 1e-12 <= 1 + 2e-12
    assert minimum_jerk(np.array(1 - phase)) == pytest.approx(1 - low, abs=1e-9)


RAYS = {camera.name: camera.rays(SIZE) for camera in CAMERAS}


@settings(deadline=None)
@given(st.sampled_from(CAMERAS), st.integers(0, SIZE * SIZE - 1), st.floats(0.1, 5))
def test_a_ray_projects_back_onto_its_pixel(camera, pixel, distance):
    v, u = divmod(pixel, SIZE)
    assert camera.project(RAYS[camera.name][pixel] * distance) == pytest.approx([u + 0.5, v + 0.5], abs=0.02)
