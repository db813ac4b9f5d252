"""Each block by hand or against a plain loop."""

from dataclasses import replace

import numpy as np
import pytest
from feature_episodes import poses, robot_episode, xperience_episode
from scipy.spatial.transform import Rotation

from harness.episode import Episode, Modality, Track
from harness.features import block_widths, blocks_for, descriptors_for, feature_matrix
from harness.features.base import EpisodeDescriptor
from harness.features.stats import stats7
from harness.features.text import bag_of_words, unit_length

LENGTH = 20


def block(episode: Episode, name: str):
    (found,) = blocks_for(episode, [name])
    return found


def compute(episode: Episode, name: str, starts, length: int = LENGTH):
    return block(episode, name).compute(episode, np.asarray(starts), length)


def described(episode: Episode) -> Episode:
    made = [d.describe(episode) for d in descriptors_for(list(episode.tracks)) if isinstance(d, EpisodeDescriptor)]
    return episode.with_tracks({**episode.tracks, **{t.name: t for t in made}})


def moved(episode: Episode, T: np.ndarray) -> Episode:
    """The same recording in another world frame."""
    tracks = dict(episode.tracks)
    tracks["camera_pose"] = replace(tracks["camera_pose"], data=T @ tracks["camera_pose"].array())
    body = tracks["body"].array() @ T[:3, :3].T + T[:3, 3]
    tracks["body"] = replace(tracks["body"], data=body.astype(np.float32))
    return episode.with_tracks(tracks)


def test_hands_do_not_see_the_world_frame():
    episode = xperience_episode(60, seed=1)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.random(rng=np.random.default_rng(0)).as_matrix(), [120.0, -45.0, 7.0]
    for side in ("left", "right"):
        before, valid = compute(episode, f"hand_{side}_joints", [0, 5, 21, 40])
        after, same = compute(moved(episode, T), f"hand_{side}_joints", [0, 5, 21, 40])
        assert np.abs(before[valid]).max() > 0.1
        np.testing.assert_allclose(before, after, atol=1e-4)
        assert (valid == same).all()


def test_hands_equal_a_plain_loop_over_samples():
    episode = xperience_episode(60, seed=2)
    hand, pose = episode.tracks["hand_left"].array(), episode.tracks["camera_pose"].array()
    start, last = 12, 31
    found, valid = compute(episode, "hand_left_joints", [start])
    anchored = np.full((LENGTH, 1, 63), np.nan)
    for k in range(LENGTH):
        points = np.c_[hand[start + k], np.ones(21)]
        anchored[k, 0] = (np.linalg.inv(pose[last]) @ pose[start + k] @ points.T)[:3].T.ravel()
    measured = np.isfinite(anchored)
    assert measured.any()
    assert not measured.all()
    np.testing.assert_allclose(found, stats7(anchored, measured), atol=1e-5)
    assert valid.all()


def test_a_window_without_a_camera_pose_at_t0_has_no_hands():
    episode = xperience_episode(60)
    missing = 30  # the pose that the episode lacks
    _, valid = compute(episode, "hand_left_joints", [missing - LENGTH, missing - LENGTH + 1, missing - LENGTH + 2])
    assert valid.tolist() == [True, False, True]


def test_left_is_left_and_right_is_right():
    episode = xperience_episode(60, gaps=False)
    still = np.tile(np.eye(4), (60, 1, 1))
    episode.tracks["camera_pose"] = replace(episode.tracks["camera_pose"], data=still)
    for side, sign in (("left", -1), ("right", 1)):
        found, _ = compute(episode, f"hand_{side}_joints", [0, 10])
        names = block(episode, f"hand_{side}_joints").columns(episode)
        x = [i for i, name in enumerate(names) if name.startswith("mean(") and name.endswith(".x)")]
        assert len(x) == 21
        assert (np.sign(found[:, x]) == sign).all()
    tracks = dict(episode.tracks)
    del tracks["hand_left"]
    alone = episode.with_tracks(tracks)
    blocks = blocks_for(episode, ["hand_*"])
    matrix = feature_matrix(alone, blocks, np.array([0]), LENGTH, block_widths(blocks, [alone]))
    assert matrix.valid.tolist() == [[False, True]]
    assert not matrix.values[:, matrix.blocks["hand_left_joints"]].any()


def test_body_joints_are_about_their_own_root():
    episode = xperience_episode(60)
    body = episode.tracks["body"].array()
    seen = np.ones((60, 52), bool)
    seen[25, 0] = False  # without the root nothing of the sample is known
    seen[40, 7] = False
    episode.tracks["body"] = replace(episode.tracks["body"], valid=seen)
    found, valid = compute(episode, "body_joints", [0, 15, 35])
    about = (body - body[:, :1]).reshape(60, 1, -1)
    known = np.repeat((seen & seen[:, :1])[:, None], 3, axis=2).reshape(60, 1, -1)
    for row, start in zip(found, [0, 15, 35], strict=True):
        window = slice(start, start + LENGTH)
        np.testing.assert_allclose(row, stats7(about[window], known[window])[0], atol=1e-5)
    assert found.shape == (3, 1092)
    assert valid.all()


def test_camera_blocks():
    episode = xperience_episode(60, gaps=False)
    pose = episode.tracks["camera_pose"].array()
    translation, _ = compute(episode, "camera_translation", [7])
    rotation, _ = compute(episode, "camera_rotation_matrix", [7])
    t = pose[7:27, :3, 3]
    np.testing.assert_allclose(translation, stats7((t - t[0])[:, None]), atol=1e-6)
    np.testing.assert_allclose(rotation, stats7(pose[7:27, :3, :3].reshape(20, 1, 9)), atol=1e-6)
    far = np.eye(4)
    far[:3, 3] = 1000.0
    np.testing.assert_allclose(compute(moved(episode, far), "camera_translation", [7])[0], translation, atol=1e-6)


def test_camera_translation_starts_at_the_first_pose_that_was_measured():
    episode = xperience_episode(60)
    found, valid = compute(episode, "camera_translation", [30])
    pose = episode.tracks["camera_pose"].array()
    t = pose[31:50, :3, 3]
    np.testing.assert_allclose(found.reshape(7, 3)[0], (t - t[0]).mean(0), atol=1e-6)
    assert valid.all()


def test_imu_takes_the_samples_from_the_first_to_the_last_frame():
    episode = xperience_episode(60)
    imu, clock = episode.tracks["imu"], episode.tracks["imu"].times
    found, valid = compute(episode, "imu_accel_gyro", [0, 3, 40])
    for row, start in zip(found, [0, 3, 40], strict=True):
        first = np.flatnonzero(clock <= episode.timeline[start])[-1]
        last = np.flatnonzero(clock <= episode.timeline[start + LENGTH - 1])[-1]
        np.testing.assert_allclose(row, stats7(imu.array()[first : last + 1, None])[0], atol=1e-5)
    assert valid.all()
    single, valid = compute(episode, "imu_accel_gyro", [5], length=1)
    at = np.flatnonzero(clock <= episode.timeline[5])[-1]
    np.testing.assert_allclose(single.reshape(7, 6)[0], imu.array()[at], rtol=1e-6)
    assert valid.all()


def test_an_imu_that_has_stopped_is_not_valid():
    episode = xperience_episode(60)
    imu = episode.tracks["imu"]
    episode.tracks["imu"] = replace(imu, data=imu.array()[:300], times=imu.times[:300])  # up to 1.48 s
    _, valid = compute(episode, "imu_accel_gyro", [0, 20, 29, 31, 40])
    assert valid.tolist() == [True, True, True, False, False]
    late = replace(imu, times=imu.times + 1.2)
    episode.tracks["imu"] = late
    _, valid = compute(episode, "imu_accel_gyro", [0, 30])
    assert valid.tolist() == [False, True]


def test_text_hashes_object_names_and_sentence_as_one_text():
    episode = xperience_episode(60)
    objects, sentence = episode.tracks["objects"], episode.tracks["interaction"]
    found, valid = compute(episode, "caption_objects_interaction_text", [0, 25])
    for row, start in zip(found, [0, 25], strict=True):
        bags = np.zeros((LENGTH, 1, 128), np.float32)
        for k in range(LENGTH):
            names = [n for n, there in zip(objects.names, objects.array()[start + k], strict=True) if there]
            code = int(sentence.array()[start + k])
            text = " ".join([*names, *([sentence.categories[code]] if code >= 0 else [])])
            bags[k] = unit_length(bag_of_words(text)[None])
        said = np.abs(bags).sum(axis=2, keepdims=True) > 0
        np.testing.assert_allclose(row, stats7(bags, np.repeat(said, 128, axis=2))[0], atol=1e-6)
    assert valid.all()


def test_samples_that_nothing_is_said_of_are_not_measured():
    episode = xperience_episode(60)
    objects, codes = np.zeros((60, 5), np.uint8), np.full(60, -1, np.int32)
    objects[35, 1] = 1
    episode.tracks["objects"] = replace(episode.tracks["objects"], data=objects)
    episode.tracks["interaction"] = replace(episode.tracks["interaction"], data=codes, valid=codes >= 0)
    found, valid = compute(episode, "caption_objects_interaction_text", [0, 30])
    assert valid.tolist() == [False, True]
    assert not found[0].any()
    np.testing.assert_allclose(found[1, :128], unit_length(bag_of_words("cup")[None])[0])
    without = {n: t for n, t in episode.tracks.items() if n != "interaction"}
    again, valid = block(episode, "caption*").compute(episode.with_tracks(without), np.array([0, 30]), LENGTH)
    assert (again == found).all()
    assert valid.tolist() == [False, True]


def test_words_hash_alike_everywhere():
    bag = bag_of_words("Pour the Tea, pour!")
    assert (bag == bag_of_words("tea pour the POUR")).all()
    assert np.abs(bag).sum() <= 4
    # Buckets and signs of these words, fixed for good: a change here changes every feature of a text.
    for word, bucket, sign in (("pour", 36, -1), ("the", 94, -1), ("tea", 58, 1), ("42", 87, -1)):
        assert np.flatnonzero(bag_of_words(word)).tolist() == [bucket]
        assert bag_of_words(word)[bucket] == sign
    assert not bag_of_words("").any()
    assert bag_of_words("拿起 杯子").any()


def test_instruction_is_the_one_in_force_at_t0():
    episode = robot_episode(40)
    found, valid = compute(episode, "instruction", [0, 1, 20], length=20)
    first, second = (unit_length(bag_of_words(t)[None])[0] for t in ("pick up the can", "place the can"))
    assert valid.all()
    assert (found == np.stack([first, second, second])).all()
    codes = np.full(40, -1, np.int32)
    episode.tracks["instruction"] = replace(episode.tracks["instruction"], data=codes)
    found, valid = compute(episode, "instruction", [0], length=20)
    assert not found.any()
    assert not valid.any()


def test_state_is_the_last_value_and_its_statistics():
    episode = robot_episode(40)
    state = episode.tracks["state"].array()
    found, valid = compute(episode, "state", [3], length=8)
    np.testing.assert_allclose(found, np.concatenate([state[[10]], stats7(state[3:11, None])], axis=1), atol=1e-6)
    assert valid.all()
    assert block(episode, "state").columns(episode)[:4] == ["last(joint0)", "last(joint1)", "last(joint2)", "mean(joint0)"]


def test_the_command_at_t0_is_not_shown():
    episode = robot_episode(40)
    command = episode.tracks["command"].array()
    found, valid = compute(episode, "command", [3], length=8)
    np.testing.assert_allclose(found, np.concatenate([command[[9]], stats7(command[3:10, None])], axis=1), atol=1e-6)
    assert valid.all()
    changed = command.copy()
    changed[10:] = 99
    episode.tracks["command"] = replace(episode.tracks["command"], data=changed)
    assert compute(episode, "command", [3], length=8)[0].tobytes() == found.tobytes()
    alone, valid = compute(episode, "command", [3], length=1)
    assert not alone.any()
    assert not valid.any()


def test_table_rows_as_they_are():
    values = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]])
    track = Track("features", Modality.TABLE, values, np.arange(3.0), np.isfinite(values), names=("a", "b"))
    episode = Episode("g", "features", {"features": track})
    found, valid = compute(episode, "table", [0, 1, 2], length=1)
    assert found.tolist() == [[1, 2], [3, 0], [0, 0]]
    assert valid.tolist() == [True, True, False]
    assert block(episode, "table").columns(episode) == ["a", "b"]


def test_static_blocks():
    episode = xperience_episode(60)
    cloud = episode.tracks["point_cloud"].array().astype(float)
    found, valid = compute(episode, "slam_point_cloud", [0, 9])
    shares = np.percentile(cloud, [10, 50, 90], axis=0).ravel()
    expected = [*cloud.mean(0), *cloud.std(0), *cloud.min(0), *cloud.max(0), *shares, np.log(51)]
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5)
    assert valid.all()
    numbers = episode.tracks["calibration"].array().copy()
    numbers[3] = np.nan
    episode.tracks["calibration"] = replace(episode.tracks["calibration"], data=numbers)
    found, valid = compute(episode, "calibration", [0])
    np.testing.assert_allclose(found[0], np.nan_to_num(numbers), rtol=1e-6)
    assert valid.all()


def test_a_track_with_a_clock_of_its_own_is_held_onto_the_reference_samples():
    timeline = np.arange(30) / 20
    slow = np.arange(0.1, 1.5, 0.125)
    contacts = np.random.default_rng(0).normal(size=(len(slow), 21)).astype(np.float32)
    clock = Track("state", Modality.STATE, np.zeros((30, 1)), timeline)
    episode = Episode("e", "state", {"state": clock, "contacts": Track("contacts", Modality.CONTACT, contacts, slow)})
    found, valid = compute(episode, "body_contacts", [0, 10])
    held = np.array([np.flatnonzero(slow <= t)[-1] if t >= 0.1 else -1 for t in timeline])
    np.testing.assert_allclose(found[1], stats7(contacts[held[10:30], None])[0], atol=1e-6)
    np.testing.assert_allclose(found[0], stats7(contacts[held[2:20], None])[0], atol=1e-6)
    assert valid.all()


@pytest.mark.parametrize(("length", "stride"), [(20, 5), (1, 1), (7, 3)])
def test_nothing_after_t0_changes_a_bit_of_any_block(length, stride):
    episode = xperience_episode(60, seed=5)
    robot = robot_episode(60, seed=5)
    timeline = episode.timeline
    tracks = {**episode.tracks, **{n: replace(t, times=timeline) for n, t in robot.tracks.items()}}
    episode = described(episode.with_tracks(tracks))
    last = 34
    t0 = timeline[last]
    starts = np.arange((last + 1 - length) % stride, last + 2 - length, stride)
    assert starts[-1] == last + 1 - length
    blocks = blocks_for(episode)
    assert len(blocks) == 17 + 3
    widths = block_widths(blocks, [episode])
    before = feature_matrix(episode, blocks, starts, length, widths)
    rng = np.random.default_rng(11)
    changed = episode.with_tracks({name: noisy_after(track, t0, rng) for name, track in episode.tracks.items()})
    after = feature_matrix(changed, blocks, starts, length, widths)
    assert before.values.tobytes() == after.values.tobytes()
    assert before.valid.tobytes() == after.valid.tobytes()
    # Changed they are: a later window tells.
    late = np.array([58 - length])
    later, same = (feature_matrix(e, blocks, late, length, widths) for e in (changed, episode))
    differs = {b.name for b in blocks if not np.array_equal(*(m.values[:, m.blocks[b.name]] for m in (later, same)))}
    assert differs == {b.name for b in blocks} - ({"calibration"} if length > 1 else UNCHANGED_IN_ONE_SAMPLE)


# Of one sample a translation since the window's start is 0 whatever happens, and no command is before t0.
UNCHANGED_IN_ONE_SAMPLE = {"calibration", "camera_translation", "command"}


def noisy_after(track: Track, t0: float, rng: np.random.Generator) -> Track:
    """Everything after t0 replaced: other numbers, other labels, samples missing."""
    if track.times is None or not isinstance(track.data, np.ndarray) or track.name.startswith("video/"):
        return track
    data, later = track.data.copy(), track.times > t0
    valid = np.ones(len(data), bool) if track.valid is None else track.valid.copy()
    valid[later] = (rng.uniform(size=(len(data), *valid.shape[1:])) > 0.3)[later]
    if track.name == "camera_pose":
        data[later] = poses(len(data), rng)[later]
    elif data.dtype == np.int32:
        data[later] = rng.integers(0, len(track.categories), later.sum())
    elif data.dtype == np.uint8:
        data[later] = rng.integers(0, 2, data[later].shape)
    else:
        data[later] = rng.normal(size=data[later].shape) * 50
    return replace(track, data=data, valid=valid)
