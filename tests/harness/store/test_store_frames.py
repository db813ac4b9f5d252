import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from store_episodes import FPS, KEY, SMALL, MeanColour, make_episode

from harness.branch import FramesWant
from harness.episode import VideoFile
from harness.errors import UnreadableEpisode
from harness.store import TrackStore
from harness.store.frames import frame_of_each_time
from harness.store.wants import Wants


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
