"""Block lists, their manifest and the matrix, for episodes that have everything and for those that do not."""

import json

import numpy as np
import pytest
from feature_episodes import CAMERAS, robot_episode, xperience_episode

from harness.episode import Episode, Modality, Track
from harness.errors import BadInput, UnreadableEpisode
from harness.features import (
    PUBLISHED,
    block_widths,
    blocks_for,
    data_set_blocks,
    descriptors_for,
    feature_matrix,
    manifest,
    published_manifest,
)
from harness.tasks.base import ViewSpec

AS_READ = (
    *(f"video/{camera}" for camera in CAMERAS),
    *("hand_left", "hand_right", "camera_pose", "body", "body_root", "contacts", "imu", "depth", "depth_confidence"),
    *("audio/fisheye_cam0", "objects", "interaction", "calibration", "point_cloud", "action", "subtask"),
)


def names(blocks):
    return [block.name for block in blocks]


def test_the_published_list_has_the_published_names_order_and_widths(shared_data):
    path = shared_data / "xperience_published" / "single_episode" / "feature_manifest.json"
    assert published_manifest() == json.loads(path.read_text())


def test_the_published_list_has_8546_numbers():
    assert published_manifest()[-1]["end"] == 8546
    assert sum(int(e["dim"]) for e in published_manifest() if str(e["name"]).startswith("video_")) == 6 * 686


def test_columns_of_an_episode_are_as_many_as_the_manifest_says():
    episode = xperience_episode(30)
    blocks = data_set_blocks(AS_READ, ["published"])
    made = [d.describe(episode) for d in descriptors_for(["depth", "depth_confidence", "audio/fisheye_cam0"])]
    episode = episode.with_tracks({**episode.tracks, **{t.name: t for t in made}})
    widths = block_widths(blocks, [episode])
    assert manifest(blocks, widths) == published_manifest()
    for block in blocks:
        columns = block.columns(episode)
        assert len(columns) == len(set(columns)) == widths[block.name]
        values, valid = block.compute(episode, np.array([0, 5]), 20)
        assert values.shape == (2, len(columns))
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert valid.all()


def test_the_default_leaves_out_what_was_built_from_the_whole_recording():
    assert names(data_set_blocks(AS_READ)) == [n for n in PUBLISHED if n != "slam_point_cloud"]
    assert names(data_set_blocks(AS_READ, ["slam_point_cloud", "imu_*"])) == ["imu_accel_gyro", "slam_point_cloud"]
    assert names(data_set_blocks(tuple(reversed(AS_READ)), ["published"])) == list(PUBLISHED)


def test_lists_of_robots_and_tables():
    tracks = ["video/observation.images.wrist", "video/head", "state", "command", "instruction"]
    assert names(data_set_blocks(tracks)) == ["command", "instruction", "state", "video_head", "video_observation.images.wrist"]
    assert names(data_set_blocks(tracks, ["published"])) == []
    assert names(data_set_blocks(["row", "features", "target"])) == ["table"]


def test_a_stored_episode_offers_what_the_recording_did():
    stored = [t for t in AS_READ if t.split("/")[0] not in ("video", "audio", "depth", "depth_confidence")]
    stored += [d.name for d in descriptors_for(AS_READ)]
    assert data_set_blocks(stored, ["published"]) == data_set_blocks(AS_READ, ["published"])


def test_names_that_fit_nothing_are_refused_with_a_suggestion():
    with pytest.raises(BadInput, match=r"'imu_acel_gyro'.*did you mean 'imu_accel_gyro'"):
        data_set_blocks(AS_READ, ["imu_acel_gyro"])
    with pytest.raises(BadInput, match="hnad"):
        data_set_blocks(AS_READ, ["default", "hnad_*"])
    # Right names whose tracks are not here are passed over: another episode may have them.
    assert data_set_blocks(["state"], ["imu_accel_gyro", "video_head"]) == []


def test_blocks_say_what_a_task_must_allow():
    by_name = {block.name: block for block in data_set_blocks(AS_READ, ["published"])}
    assert by_name["depth_confidence"].sources == ("depth", "depth_confidence")
    assert by_name["video_stereo_left"].sources == ("video/stereo_left",)
    motion = ViewSpec(include=("hand_*", "body*", "contacts", "camera_pose", "imu", "audio/*"))
    seen = [name for name, block in by_name.items() if motion.allows(block.sources)]
    assert seen == [*PUBLISHED[:7], "audio_fisheye_cam0_aac"]
    everything = ViewSpec()
    assert not everything.allows(by_name["slam_point_cloud"].sources)
    (depth_alone,) = data_set_blocks(["depth"])
    assert depth_alone.sources == ("depth",)


def test_descriptors():
    found = {d.name: d for d in descriptors_for(AS_READ)}
    cameras = [f"descriptor/video/{c}" for c in CAMERAS]
    assert list(found) == [*cameras, "descriptor/depth", "descriptor/audio/fisheye_cam0", "descriptor/logmel/audio/fisheye_cam0"]
    assert found["descriptor/depth"].tracks == ("depth", "depth_confidence")
    assert descriptors_for(["depth"])[0].tracks == ("depth",)
    assert descriptors_for(["state", "depth_confidence"]) == []


def test_an_episode_without_a_camera_keeps_the_columns_masked():
    episode = xperience_episode(40)
    tracks = {n: t for n, t in episode.tracks.items() if n != "descriptor/video/stereo_left"}
    other = Episode("s0__ep2", episode.reference, tracks, lacking={"video/stereo_left": "no file stereo_left.mp4"})
    assert names(blocks_for(other, ["video_*"])) == names(blocks_for(episode, ["video_*"]))
    blocks = blocks_for(other, ["video_fisheye_cam0", "video_stereo_*"])
    matrix = feature_matrix(other, blocks, np.array([0, 5, 10]), 20, block_widths(blocks, [other]))
    assert matrix.values.shape == (3, 3 * 686)
    assert matrix.valid.tolist() == [[True, False, True]] * 3
    assert not matrix.values[:, matrix.blocks["video_stereo_left"]].any()
    assert matrix.values[:, matrix.blocks["video_stereo_right"]].any(axis=1).all()


def test_rows_that_are_not_valid_are_zero():
    episode = xperience_episode(40)
    seen = np.zeros(40, bool)
    seen[30:] = True
    episode.tracks["contacts"] = Track("contacts", Modality.CONTACT, np.full((40, 21), 7.0), episode.timeline, seen)
    blocks = blocks_for(episode, ["body_contacts"])
    matrix = feature_matrix(episode, blocks, np.array([0, 20]), 20, block_widths(blocks, []))
    assert matrix.valid.tolist() == [[False], [True]]
    assert not matrix.values[0].any()
    assert set(matrix.values[1, :21]) == {7}
    assert feature_matrix(episode, blocks, np.zeros(0, np.int64), 20, {"body_contacts": 147}).values.shape == (0, 147)


def test_widths_of_a_robot_come_from_the_episodes():
    three, four = robot_episode(dims=3), robot_episode(dims=4)
    blocks = blocks_for(three)
    lacking = Episode("bare", "command", {"command": three.tracks["command"]})
    assert block_widths(blocks, [lacking]) == {"command": 24, "instruction": 128}
    widths = block_widths(blocks, [lacking, three])
    assert widths == {"command": 24, "instruction": 128, "state": 24}
    assert [e["start"] for e in manifest(blocks, widths)] == [0, 24, 152]
    assert feature_matrix(lacking, blocks, np.array([0]), 5, widths).valid.tolist() == [[True, False, False]]
    with pytest.raises(UnreadableEpisode, match="command has 32 numbers, in the data set it has 24"):
        block_widths(blocks, [three, four])
    with pytest.raises(UnreadableEpisode, match="command has 32 numbers"):
        feature_matrix(four, blocks, np.array([0]), 5, widths)


def test_a_frame_that_was_not_decoded_is_missing():
    episode = xperience_episode(40)
    name = "descriptor/video/stereo_left"
    track = episode.tracks[name]
    seen = np.ones(40, bool)
    seen[10] = False
    black = np.where(seen[:, None], track.array(), 0)
    episode.tracks[name] = Track(name, track.modality, black, track.times, seen)
    (block,) = blocks_for(episode, ["video_stereo_left"])
    found, valid = block.compute(episode, np.array([0, 15]), 20)
    kept = np.delete(np.arange(20), 10)
    np.testing.assert_allclose(found[0, :98], black[kept].mean(0), atol=1e-6)
    np.testing.assert_allclose(found[0, 196:294], black[kept].min(0))
    assert valid.all()
