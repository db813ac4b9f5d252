import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_episodes import KEY, SMALL, MeanColour, assert_same_track, make_episode

from harness.branch import FramesWant
from harness.errors import UnreadableEpisode
from harness.store import TrackStore
from harness.store.cache import MARKER
from harness.store.parts import Part
from harness.store.wants import Wants


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
from store_episodes import KEY, SMALL, MeanColour, make_episode
from harness.store.wants import Wants
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
