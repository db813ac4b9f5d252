import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from store_episodes import KEY, SMALL, Loudness, MeanColour, NewMeanColour, OnDisk, assert_same_track, key_of

from harness import video
from harness.branch import MAIN, FramesWant
from harness.card import Card
from harness.episode import Episode, Modality, Track, VideoFile
from harness.readers.lerobot import LeRobotReader
from harness.store import TrackStore
from harness.store.frames import window_frames
from harness.store.key import card_fingerprint
from harness.store.parts import NpyStream
from harness.store.wants import Wants


def test_an_episode_comes_back_as_it_was_read(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    names = store.write(episode, Wants((SMALL,), (MeanColour(),)), KEY)
    stored = store.open(KEY)
    assert set(names) == set(stored.tracks)
    for name in ("id", "reference", "session", "participant", "lacking", "uris", "cluster"):
        assert getattr(stored, name) == getattr(episode, name)
    for name in ("pose", "action", "imu", "calibration"):
        assert_same_track(stored.tracks[name], episode.tracks[name])
    assert np.isnan(stored.tracks["pose"].data[2, 3])
    assert not stored.tracks["pose"].data.flags.writeable
    np.testing.assert_array_equal(stored.timeline, episode.timeline)
    assert stored.tracks["video/cam"].data.shape == (60, 0)
    assert "audio/mic" not in stored.tracks


def test_times_that_tracks_share_are_stored_and_mapped_once(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants((SMALL,), (MeanColour(),)), KEY)
    stored = store.open(KEY)
    assert stored.tracks["pose"].times is stored.timeline
    assert stored.tracks["frames/cam@24x32"].times is stored.timeline
    assert len(list((tmp_path / KEY).glob("*-times.npy"))) == 2  # the cameras' and the inertial sensor's


def test_frames_are_those_of_the_file_in_every_size_from_one_pass(tmp_path, episode, clip):
    wants = Wants((SMALL, FramesWant("cam", 48, 64, 3), FramesWant("other", 8, 8)), (MeanColour(),))
    store = TrackStore(str(tmp_path))
    store.write(episode, wants, KEY, threads=2)
    stored = store.open(KEY)
    full = np.concatenate([frames[0] for _, frames in video.decode(VideoFile(str(clip[0])), [(48, 64)])])
    np.testing.assert_array_equal(stored.tracks["frames/cam@48x64/3"].data, full[::3])
    np.testing.assert_array_equal(stored.tracks["frames/cam@48x64/3"].times, episode.timeline[::3])
    assert np.abs(stored.tracks["frames/cam@24x32"].data.mean(axis=(1, 2)) - clip[1]).max() < 6
    described = stored.tracks["descriptor/video/cam"]
    assert described.data.dtype == np.float32
    assert np.abs(described.data - clip[1]).max() < 6
    assert described.sources == stored.tracks["frames/cam@24x32"].sources == ("video/cam",)
    assert store.decoded_frames(KEY) == {"video/cam": 60}
    assert not any("other" in name for name in stored.tracks)


def test_large_frames_are_kept_as_jpeg(tmp_path, episode, clip):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants((FramesWant("cam", 96, 128),)), KEY)
    track = store.open(KEY).tracks["frames/cam@96x128"]
    assert track.data.shape == (60, 96, 128, 3)
    frames = track.array(5, 9)
    assert frames.dtype == np.uint8
    assert np.abs(frames.mean(axis=(1, 2)) - clip[1][5:9]).max() < 6
    np.testing.assert_array_equal(track.array()[5:9], frames)
    assert store.size() < 60 * 96 * 128 * 3 / 10
    windows = window_frames(track, np.array([8, 0]), 4)
    np.testing.assert_array_equal(windows[0], frames)
    np.testing.assert_array_equal(windows[1], np.repeat(track.array(0, 1), 4, axis=0))


def test_windows_are_copies_of_the_rows_up_to_the_last(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants((SMALL,)), KEY)
    track = store.open(KEY).tracks["frames/cam@24x32"]
    windows = window_frames(track, np.array([19, 24, 2]), 20)
    assert windows.shape == (3, 20, 24, 32, 3) and windows.flags.writeable
    np.testing.assert_array_equal(windows[1], track.data[5:25])
    np.testing.assert_array_equal(windows[2, -3:], track.data[:3])
    np.testing.assert_array_equal(windows[2, 0], track.data[0])


def test_heavy_tracks_are_kept_only_where_asked_for(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants(tracks=("audio/*",), descriptors=(Loudness(),)), KEY)
    stored = store.open(KEY)
    np.testing.assert_array_equal(stored.tracks["audio/mic"].data, episode.tracks["audio/mic"].array())
    np.testing.assert_allclose(
        stored.tracks["descriptor/audio/mic"].data[:, 0],
        np.abs(episode.tracks["audio/mic"].array()).reshape(60, 100).mean(axis=1),
        rtol=1e-6,
    )


def test_one_can_open_only_what_one_needs(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants(), KEY)
    assert set(store.open(KEY, ["pose"]).tracks) == {"pose", "video/cam"}
    with pytest.raises(KeyError, match="e1 has no stored track depth"):
        store.open(KEY, ["depth"])
    with pytest.raises(KeyError, match="is not stored"):
        store.open(key_of(7))


@settings(max_examples=25, deadline=None)
@given(
    values=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.uint8, np.bool_, np.dtype("U5")]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    ),
    masked=st.booleans(),
    words=st.lists(st.text(max_size=8), max_size=3),
)
def test_any_array_comes_back_bit_for_bit(tmp_path_factory, values, masked, words):
    times = np.arange(len(values)) / 3
    valid = np.arange(values.size).reshape(values.shape) % 2 == 0 if masked else None
    track = Track("t/ä b", Modality.STATE, values, times, valid, categories=tuple(words))
    streamed = Track("s", Modality.STATE, OnDisk(values), times)
    store = TrackStore(str(tmp_path_factory.mktemp("any")))
    store.write(Episode("e", "t/ä b", {"t/ä b": track, "s": streamed}), Wants(), KEY)
    stored = store.open(KEY)
    assert_same_track(stored.tracks["t/ä b"], track)
    assert stored.tracks["s"].data.tobytes() == values.tobytes()


def test_python_objects_are_never_stored(tmp_path):
    track = Track("t", Modality.STATE, np.array([{}, None], object), np.arange(2.0))
    with pytest.raises(TypeError, match="objects"):
        TrackStore(str(tmp_path)).write(Episode("e", "t", {"t": track}), Wants(), KEY)
    assert list((tmp_path / KEY).iterdir()) == []


def test_a_file_may_grow_by_rows_of_its_shape(tmp_path):
    stream = NpyStream(tmp_path / "a.npy", np.int32, (2,))
    stream.append(np.arange(8).reshape(4, 2))
    with pytest.raises(ValueError, match="do not fit"):
        stream.append(np.zeros((1, 3)))
    stream.close()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(8).reshape(4, 2))


def test_only_what_is_missing_is_written(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    assert store.missing(KEY, Wants((SMALL,))) == ["*"] and store.recorded(KEY) == {}
    store.write(episode, Wants((SMALL,)), KEY)
    assert store.recorded(KEY) == {name: track.modality for name, track in episode.tracks.items()}
    assert store.missing(KEY, Wants((SMALL,))) == []
    before = store.size()
    assert store.write(episode, Wants((SMALL,)), KEY) == []
    assert store.size() == before and store.decoded_frames(KEY) == {"video/cam": 60}
    more = Wants((SMALL, FramesWant("cam", 8, 8)), (MeanColour(), MeanColour("video/none")))
    assert store.missing(KEY, more) == ["frames/cam@8x8", "descriptor/video/cam"]
    assert store.write(episode, more, KEY) == ["frames/cam@8x8", "descriptor/video/cam"]
    assert {"pose", "frames/cam@24x32", "frames/cam@8x8"} <= set(store.open(KEY).tracks)


def test_a_newer_descriptor_replaces_the_older_one(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants(descriptors=(MeanColour(),)), KEY)
    old = store.open(KEY).tracks["descriptor/video/cam"].data
    assert store.write(episode, Wants(descriptors=(NewMeanColour(),)), KEY) == ["descriptor/video/cam"]
    np.testing.assert_array_equal(store.open(KEY).tracks["descriptor/video/cam"].data, old + 1)
    assert store.missing(KEY, Wants(descriptors=(MeanColour(),))) == ["descriptor/video/cam"]


def test_the_size_is_known_before_anything_is_written(tmp_path, episode):
    wants = Wants((FramesWant("cam", 64, 64), FramesWant("cam", 64, 48, 2)), (MeanColour(),), ("audio/*",))
    store = TrackStore(str(tmp_path))
    estimate = store.estimate_bytes(episode, wants)
    assert not any(tmp_path.iterdir())
    store.write(episode, wants, KEY)
    assert store.size() == pytest.approx(estimate, rel=0.02)


SEVERAL = [pytest.param("episode_000029", 0, marks=pytest.mark.slow), ("episode_000059", 3)]


@pytest.mark.parametrize(("old", "new"), SEVERAL)
def test_real_episodes_are_the_same_from_both_layouts(tmp_path, shared_data, old, new):
    wants, opened = Wants((FramesWant("*", 64, 64),)), []
    for folder, chosen in (("g1_inspire_v21", old), ("g1_inspire_v30", f"episode_{new:06d}")):
        reader = LeRobotReader(shared_data / folder, Card(format="lerobot"))
        store = TrackStore(str(tmp_path / folder))
        ref = next(ref for ref in reader.list_episodes()[0] if ref.id == chosen)
        key = store.key(ref, card_fingerprint(reader.card))
        read = reader.read(ref)
        store.write(read, wants, key, threads=2)
        stored = store.open(key)
        assert stored.reference == "video/cam_high"
        assert store.decoded_frames(key) == {"video/cam_high": len(read.timeline)}
        for name in ("state", "command", "instruction"):
            assert_same_track(stored.tracks[name], read.tracks[name])
        opened.append(stored)
    for name in ("state", "command", "frames/cam_high@64x64"):
        np.testing.assert_array_equal(opened[0].tracks[name].data, opened[1].tracks[name].data)
    frames = opened[1].tracks["frames/cam_high@64x64"]
    assert frames.data.shape == (len(opened[1].timeline), 64, 64, 3) and frames.valid is None
    assert frames.data.std() > 20


def test_derived_tracks_join_what_is_stored(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    latent = Track("latents/x@1", Modality.VIDEO, np.ones((2, 3), np.float32), episode.timeline[[5, 9]], sources=("video/cam",))
    with pytest.raises(KeyError):
        store.add(KEY, [latent])
    store.write(episode, Wants((SMALL,)), KEY)
    before = store.recorded(KEY)
    store.add(KEY, [latent])
    assert_same_track(store.open(KEY).tracks["latents/x@1"], latent)
    assert store.recorded(KEY) == before
    assert not store.missing(KEY, Wants((SMALL,)))


def test_the_main_camera_is_the_reference_else_the_first_by_name(tmp_path, episode):
    wants = Wants((FramesWant(MAIN, 8, 8),))
    assert list(wants.cameras({"video/a": Modality.VIDEO, "video/cam": Modality.VIDEO}, "video/cam")) == [
        ("video/cam", wants.frames[0])
    ]
    assert list(wants.cameras({"video/b": Modality.VIDEO, "video/a": Modality.VIDEO, "pose": Modality.POSE}, "pose")) == [
        ("video/a", wants.frames[0])
    ]
    assert not list(wants.cameras({"pose": Modality.POSE}, "pose"))
    store = TrackStore(str(tmp_path))
    store.write(episode, wants, KEY)
    stored = store.open(KEY)
    assert stored.main_camera == episode.main_camera == "video/cam"
    assert "frames/cam@8x8" in stored.tracks
