import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import video
from harness.branch import FramesWant
from harness.card import ActionGroup, Card, XperienceOptions
from harness.episode import Episode, EpisodeRef, Modality, Track, VideoFile
from harness.errors import BadInput, UnreadableEpisode
from harness.features.base import EpisodeDescriptor, FrameDescriptor
from harness.readers.lerobot import LeRobotReader
from harness.store import TrackStore
from harness.store_cache import MARKER
from harness.store_frames import frame_of_each_time, window_frames
from harness.store_key import card_fingerprint, episode_key
from harness.store_parts import NpyStream, Part
from harness.store_wants import Wants

FPS = 20
SMALL = FramesWant("*", 24, 32)
KEY = "0123456789abcdef0123456789abcdef"
GIB = 2**30


def key_of(number):
    return f"{number:032x}"


class MeanColour(FrameDescriptor):
    version = 1
    size = (8, 8)
    dim = 3

    def __init__(self, camera="video/cam"):
        self.name = f"descriptor/{camera}"
        self.tracks = (camera,)

    def describe(self, frames):
        return frames.mean(axis=(1, 2)).astype(np.float32)


class NewMeanColour(MeanColour):
    version = 2

    def describe(self, frames):
        return super().describe(frames) + 1


class Loudness(EpisodeDescriptor):
    version = 1
    name = "descriptor/audio/mic"
    tracks = ("audio/mic",)

    def describe(self, episode):
        loud = np.abs(episode.tracks["audio/mic"].array()).reshape(-1, 100).mean(axis=1)
        return Track(self.name, Modality.AUDIO, loud[:, None].astype(np.float32), episode.timeline, sources=self.tracks)


class OnDisk:
    """A source as a reader gives it: samples come when they are asked for."""

    def __init__(self, values):
        self._values = values
        self.shape = values.shape
        self.dtype = values.dtype

    def read(self, start, stop):
        return self._values[start:stop]


def write_video(path, count, height=48, width=64, seed=0):
    """H.264 with B-frames; every frame is a plain colour of its own."""
    colours = np.random.default_rng(seed).integers(30, 220, (count, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for colour in colours:
            picture = np.broadcast_to(colour, (height, width, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return colours


def make_episode(path, count, times=None, **changes):
    """Video is the reference; the pose has a NaN under its mask, the labels a gap, the calibration no time."""
    times = np.arange(count) / FPS if times is None else times
    pose = np.random.default_rng(1).normal(size=(len(times), 7)).astype(np.float32)
    measured = np.ones((len(times), 7), bool)
    measured[2, 3], pose[2, 3] = False, np.nan
    codes = np.full(len(times), -1, np.int32)
    codes[3:] = 1
    tracks = [
        Track("video/cam", Modality.VIDEO, VideoFile(str(path)), times),
        Track("pose", Modality.POSE, pose, times, measured, "m", "world", tuple("xyzabcd")),
        Track("action", Modality.LANGUAGE, codes, times, categories=("wait", "pour")),
        Track("imu", Modality.IMU, np.zeros((50, 6)), np.arange(50) / 200, unit="m/s^2"),
        Track("calibration", Modality.CALIBRATION, np.eye(3)),
        Track("audio/mic", Modality.AUDIO, OnDisk(np.linspace(-1, 1, 100 * len(times), dtype=np.float32)), times=None),
    ]
    about = {"session": "s1", "participant": "p1", "lacking": {"depth": "no file"}, "uris": (str(path),)}
    return Episode("e1", "video/cam", {t.name: t for t in tracks}, **{**about, **changes})


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, write_video(path, 60)


@pytest.fixture
def episode(clip):
    return make_episode(clip[0], 60)


def assert_same_track(stored, track):
    for name in ("modality", "unit", "frame", "names", "categories", "sources"):
        assert getattr(stored, name) == getattr(track, name)
    assert stored.data.dtype == track.data.dtype
    np.testing.assert_array_equal(stored.array(), track.array())
    for mine, theirs in ((stored.times, track.times), (stored.valid, track.valid)):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_array_equal(mine, theirs)


# --- what comes back -------------------------------------------------------------------------------------------------------


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


# --- adding, versions, sizes -----------------------------------------------------------------------------------------------


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


def test_the_union_of_wants_names_each_thing_once():
    both = Wants((SMALL,), (MeanColour(),), ("audio/*",)) | Wants((SMALL, FramesWant("a", 8, 8)), (MeanColour(),))
    assert both.frames == (SMALL, FramesWant("a", 8, 8))
    assert [d.name for d in both.descriptors] == ["descriptor/video/cam"]
    assert both.tracks == ("audio/*",)


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


# --- which frame belongs to which time -------------------------------------------------------------------------------------


@given(st.data())
def test_a_time_gets_its_own_frame_or_none(data):
    count = data.draw(st.integers(40, 80))
    times = np.arange(count) / FPS
    gone = data.draw(st.sets(st.integers(1, count - 1), min_size=1, max_size=2))
    kept = np.array([i for i in range(count) if i not in gone])
    jitter = data.draw(hnp.arrays(float, len(kept), elements=st.floats(-0.2 / FPS, 0.2 / FPS)))
    jitter[0] = 0.0
    index = frame_of_each_time(5.0 + times[kept] + jitter, times, VideoFile("f"))
    np.testing.assert_array_equal(np.flatnonzero(index < 0), sorted(gone))
    np.testing.assert_array_equal(kept[index[index >= 0]], kept)


def test_equal_counts_need_no_clock_and_too_few_frames_are_no_video():
    times = np.arange(40) / FPS
    np.testing.assert_array_equal(frame_of_each_time(times * 1.7, times, VideoFile("f")), np.arange(40))
    np.testing.assert_array_equal(frame_of_each_time(np.arange(50) / FPS, times, VideoFile("f")), np.arange(40))
    drifting = times * 1.03  # by the end a whole frame off; the tool that cut the file left its last frame out
    assert frame_of_each_time(times[:-1], drifting, VideoFile("f")).tolist() == [*range(39), -1]
    assert frame_of_each_time(np.arange(41) / FPS, drifting, VideoFile("f")).tolist() == [*range(40)]
    inside = VideoFile("f", start=3.0)
    assert frame_of_each_time(3.0 + times[1:], times, inside).tolist() == [-1, *range(39)]
    with pytest.raises(UnreadableEpisode, match="f: has 30 frames, and none at 10 of the track's 40 times"):
        frame_of_each_time(times[:30], times, VideoFile("f"))
    with pytest.raises(UnreadableEpisode, match="f: has 0 frames"):
        frame_of_each_time(times[:0], times, VideoFile("f"))


def test_a_time_without_a_frame_is_black_and_masked(tmp_path, clip):
    """The annotation says 62 instants, one of them between two frames' instants and one after the last frame."""
    times = np.sort(np.append(np.arange(61) / FPS, 30.5 / FPS + 1e-4))
    episode = make_episode(clip[0], 62, times)
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants((SMALL, FramesWant("cam", 16, 16, 2), FramesWant("cam", 72, 72)), (MeanColour(),)), KEY)
    stored = store.open(KEY)
    full, half = stored.tracks["frames/cam@24x32"], stored.tracks["frames/cam@16x16/2"]
    assert np.flatnonzero(~full.mask()).tolist() == [61]
    assert not full.data[61].any() and full.data[60].any()
    np.testing.assert_array_equal(full.data[31], full.data[32])  # both nearest to frame 31
    assert np.abs(full.data[:31].mean(axis=(1, 2)) - clip[1][:31]).max() < 6
    assert np.abs(full.data[32:61].mean(axis=(1, 2)) - clip[1][31:]).max() < 6
    np.testing.assert_array_equal(half.times, times[::2])
    assert np.abs(half.data.mean(axis=(1, 2)) - full.data[::2].mean(axis=(1, 2))).max() < 2
    assert half.valid is not None and len(half.valid) == 31 and len(stored.tracks["descriptor/video/cam"].mask()) == 62
    assert np.abs(stored.tracks["descriptor/video/cam"].data[32:61] - clip[1][31:]).max() < 6
    assert np.abs(stored.tracks["frames/cam@72x72"].array(32, 61).mean(axis=(1, 2)) - clip[1][31:]).max() < 6
    assert store.decoded_frames(KEY) == {"video/cam": 120}  # which frame belongs where was only known at the end


@pytest.mark.parametrize("count", [59, 61])
def test_a_last_frame_too_few_or_too_many_costs_no_second_pass(tmp_path, clip, count):
    store = TrackStore(str(tmp_path))
    store.write(make_episode(clip[0], count), Wants((SMALL, FramesWant("cam", 72, 72, 2)), (MeanColour(),)), KEY)
    stored = store.open(KEY)
    assert store.decoded_frames(KEY) == {"video/cam": 60}
    for name, stride in (("frames/cam@24x32", 1), ("frames/cam@72x72/2", 2)):
        track = stored.tracks[name]
        assert len(track.times) == len(track.array()) == len(range(0, count, stride))
        assert np.abs(track.array().mean(axis=(1, 2))[track.mask()] - clip[1][:count:stride][: track.mask().sum()]).max() < 6
    assert np.flatnonzero(~stored.tracks["frames/cam@24x32"].mask()).tolist() == ([60] if count == 61 else [])
    assert len(stored.tracks["descriptor/video/cam"].data) == count


# --- what goes wrong -------------------------------------------------------------------------------------------------------


def test_a_truncated_video_leaves_nothing_behind(tmp_path, clip):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip[0].read_bytes()[:-2000])
    store = TrackStore(str(tmp_path / "store"))
    with pytest.raises(UnreadableEpisode, match=r"cut\.mp4"):
        store.write(make_episode(cut, 60), Wants((SMALL,)), KEY)
    assert list((tmp_path / "store" / KEY).iterdir()) == []
    assert store.missing(KEY, Wants()) == ["*"]


def test_a_failure_in_a_later_write_leaves_the_earlier_one(tmp_path, episode):
    class Broken(MeanColour):
        version = 3

        def describe(self, frames):
            raise ArithmeticError("broken")

    store = TrackStore(str(tmp_path))
    store.write(episode, Wants((SMALL,)), KEY)
    before = sorted((tmp_path / KEY).iterdir())
    with pytest.raises(ArithmeticError):
        store.write(episode, Wants((SMALL, FramesWant("cam", 8, 8)), (Broken(),)), KEY)
    assert sorted((tmp_path / KEY).iterdir()) == before
    assert "frames/cam@24x32" in store.open(KEY).tracks


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_store import KEY, SMALL, MeanColour, Wants, make_episode
from harness.store import TrackStore

class Slow(MeanColour):
    def describe(self, frames):
        print("writing", flush=True)
        time.sleep(60)

TrackStore(sys.argv[2]).write(make_episode(Path(sys.argv[3]), 60), Wants((SMALL,), (Slow(),)), KEY)
"""


def test_a_killed_writer_leaves_nothing_visible(tmp_path, episode, clip):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path), str(clip[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
    store = TrackStore(str(tmp_path))
    left = list((tmp_path / KEY).iterdir())
    assert left and store.missing(KEY, Wants()) == ["*"]
    with pytest.raises(KeyError):
        store.open(KEY)
    store.write(episode, Wants((SMALL,)), KEY)
    assert store.prune(1.0) == [] and all(path.exists() for path in left)  # it might still be writing
    assert store.prune(1.0, abandoned_s=0.0) == [] and not any(path.exists() for path in left)
    np.testing.assert_array_equal(store.open(KEY).tracks["pose"].data, episode.tracks["pose"].data)


@given(st.data())
def test_a_marker_that_was_cut_off_names_nothing(marker, data):
    assert Part.from_bytes(marker).tracks.keys() >= {"pose"}
    assert Part.from_bytes(marker[: data.draw(st.integers(0, len(marker) - 1))]) is None


@pytest.fixture(scope="module")
def marker(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("marker")
    TrackStore(str(root)).write(make_episode(clip[0], 60), Wants(), KEY)
    return next((root / KEY).glob(f"*{MARKER}")).read_bytes()


def test_writers_of_one_key_do_not_disturb_each_other(tmp_path, episode):
    together = threading.Barrier(2, timeout=30)

    class Together(MeanColour):
        def describe(self, frames):
            if not self.met:
                together.wait()
                self.met = True
            return super().describe(frames)

    failures = []

    def work():
        descriptor = Together()
        descriptor.met = False
        try:
            TrackStore(str(tmp_path)).write(episode, Wants((SMALL,), (descriptor,)), KEY)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=work) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert len(list((tmp_path / KEY).glob(f"*{MARKER}"))) == 2
    alone = TrackStore(str(tmp_path / "alone"))
    alone.write(episode, Wants((SMALL,), (MeanColour(),)), KEY)
    mine, other = TrackStore(str(tmp_path)).open(KEY), alone.open(KEY)
    assert list(mine.tracks) == list(other.tracks)
    for name in mine.tracks:
        assert_same_track(mine.tracks[name], other.tracks[name])


def test_a_damaged_file_is_named(tmp_path, episode):
    store = TrackStore(str(tmp_path))
    store.write(episode, Wants(), KEY)
    pose = next((tmp_path / KEY).glob("*-pose.npy"))
    os.truncate(pose, 100)
    with pytest.raises(UnreadableEpisode, match=r"pose.npy: damaged: 100 of \d+ bytes; remove its folder"):
        store.open(KEY)
    pose.unlink()
    with pytest.raises(UnreadableEpisode, match="a stored file is gone"):
        store.open(KEY)
    assert "action" in store.open(KEY, ["action"]).tracks


# --- remote stores, the cache, pruning -------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "dir"])
def remote(request, tmp_path):
    """Two file systems behind the same interface as object stores; neither renames, neither is read in place."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}", {}
    return "dir://store", {"path": str(tmp_path / "remote"), "target_protocol": "file"}


def test_a_remote_store_is_read_through_a_cache(tmp_path, episode, remote):
    uri, options = remote
    writer = TrackStore(uri, cache=tmp_path / "writer", options=options)
    writer.write(episode, Wants((SMALL,)), KEY)
    reader = pickle.loads(pickle.dumps(TrackStore(uri, cache=tmp_path / "reader", options=options)))
    assert reader.missing(KEY, Wants((SMALL,))) == []
    assert set(reader.open(KEY, ["pose"]).tracks) == {"pose", "video/cam"}
    assert not list((tmp_path / "reader").rglob("*frames*"))  # only what was asked for is copied
    stored = reader.open(KEY)
    assert_same_track(stored.tracks["pose"], episode.tracks["pose"])
    here = TrackStore(str(tmp_path / "here"))
    here.write(episode, Wants((SMALL,)), KEY)
    assert_same_track(stored.tracks["frames/cam@24x32"], here.open(KEY).tracks["frames/cam@24x32"])
    assert not list((tmp_path / "reader").rglob("*.partial"))
    assert reader.size() == writer.size() > stored.tracks["frames/cam@24x32"].data.nbytes


def test_the_cache_drops_what_was_used_longest_ago_but_nothing_that_is_open(tmp_path, episode, remote):
    uri, options = remote
    writer = TrackStore(uri, cache=tmp_path / "writer", options=options)
    keys = [key_of(i) for i in range(4)]
    for key in keys:
        writer.write(episode, Wants((SMALL,)), key)
    one = writer.size() / 4
    cache = tmp_path / "cache"
    reader = TrackStore(uri, max_gib=2.5 * one / GIB, cache=cache, options=options)

    def cached():
        return sorted(path.name for path in cache.iterdir())

    held = reader.open(keys[0])
    reader.open(keys[1])
    assert cached() == keys[:2]
    time.sleep(0.01)
    reader.open(keys[2])
    assert cached() == [keys[0], keys[2]]  # the first was used longest ago, but it is open
    value = held.tracks["pose"].data.copy()
    del held
    time.sleep(0.01)
    reader.open(keys[3])
    assert cached() == keys[2:]
    again = reader.open(keys[0])
    np.testing.assert_array_equal(again.tracks["pose"].data, value)
    assert reader.missing(keys[1], Wants((SMALL,))) == []  # the cache forgets, the store does not


def test_a_writer_of_a_remote_store_keeps_its_cache_small(tmp_path, episode, remote):
    uri, options = remote
    probe = TrackStore(str(tmp_path / "probe"))
    probe.write(episode, Wants((SMALL,)), KEY)
    one = probe.size()
    writer = TrackStore(uri, max_gib=1.5 * one / GIB, cache=tmp_path / "cache", options=options)
    for i in range(4):
        writer.write(episode, Wants((SMALL,)), key_of(i))
        time.sleep(0.01)
    assert sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.npy")) < 1.6 * one
    assert writer.size() > 3.9 * one


def test_pruning_removes_what_was_used_longest_ago_and_only_what_is_ours(tmp_path, episode):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x" * 100_000)
    store = TrackStore(str(tmp_path))
    keys = [key_of(i) for i in range(3)]
    for i, key in enumerate(keys):
        store.write(episode, Wants((SMALL,)), key)
        os.utime(tmp_path / key, (1000 + i, 1000 + i))
    one = store.size() / 3
    (tmp_path / keys[2] / "notes.txt").write_text("mine")
    os.utime(tmp_path / keys[2], (1002, 1002))
    store.open(keys[0])  # the oldest is used again, and closed
    held = store.open(keys[1])
    os.utime(tmp_path / keys[1], (1001, 1001))
    assert store.prune(2.5 * one / GIB) == [keys[2]]
    assert store.size() == pytest.approx(2 * one)
    assert store.prune(0.0) == [keys[0]]
    assert held.tracks["pose"].data.shape == (60, 7)
    del held
    assert store.prune(0.0) == [keys[1]]
    assert (tmp_path / "thesis" / "chapter.tex").exists() and (tmp_path / keys[2] / "notes.txt").exists()
    assert store.size() == 0


def test_pruning_a_remote_store(tmp_path, episode, remote):
    uri, options = remote
    store = TrackStore(uri, cache=tmp_path / "cache", options=options)
    for i in range(2):
        store.write(episode, Wants(), key_of(i))
    assert store.prune(0.6 * store.size() / GIB) == [key_of(0)]
    assert store.missing(key_of(0), Wants()) == ["*"]
    assert store.missing(key_of(1), Wants()) == []


def test_an_unknown_uri_is_named():
    with pytest.raises(BadInput, match=r"store nowhere://x: .*nowhere"):
        TrackStore("nowhere://x")


# --- keys ------------------------------------------------------------------------------------------------------------------


def test_a_key_follows_the_files_and_what_changes_the_reading(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    ref = EpisodeRef("e", (str(path),), 0, locator={"from": 0.0})
    card = Card(format="lerobot")
    key = episode_key(ref, card_fingerprint(card))
    assert episode_key(ref, card_fingerprint(replace(card, title="t", action_groups={"a": ActionGroup(["0"])}))) == key
    other_options = replace(card, xperience=XperienceOptions(world_to_body=False))
    assert episode_key(ref, card_fingerprint(other_options)) != key
    assert episode_key(replace(ref, locator={"from": 1.0}), card_fingerprint(card)) != key
    assert episode_key(replace(ref, id="f"), card_fingerprint(card)) != key
    os.utime(path, (5, 5))
    assert episode_key(ref, card_fingerprint(card)) != key
    with pytest.raises(UnreadableEpisode, match="no such file"):
        episode_key(replace(ref, uris=(str(tmp_path / "b"),)), "")


def test_a_content_key_follows_the_bytes(tmp_path):
    refs = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        refs.append(EpisodeRef("e", (str(tmp_path / name),), 0))
    a, b, c = (episode_key(ref, "", content_hash=True) for ref in refs)
    assert a == b != c
    with pytest.raises(UnreadableEpisode, match="no such file"):
        episode_key(replace(refs[0], uris=(str(tmp_path / "z"),)), "", content_hash=True)


# --- real recordings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [("episode_000029", 0), ("episode_000059", 3)])
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
