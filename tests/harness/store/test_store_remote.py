import os
import pickle
import time

import numpy as np
import pytest
from store_episodes import GIB, KEY, SMALL, assert_same_track, key_of

from harness.errors import BadInput
from harness.store import TrackStore
from harness.store.wants import Wants


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
