"""Small recordings for the tests of the track store, and descriptors that say what they saw."""

import av
import numpy as np

from harness.branch import FramesWant
from harness.episode import Episode, Modality, Track, VideoFile
from harness.features.base import EpisodeDescriptor, FrameDescriptor

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


def assert_same_track(stored, track):
    for name in ("modality", "unit", "frame", "names", "categories", "sources"):
        assert getattr(stored, name) == getattr(track, name)
    assert stored.data.dtype == track.data.dtype
    np.testing.assert_array_equal(stored.array(), track.array())
    for mine, theirs in ((stored.times, track.times), (stored.valid, track.valid)):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_array_equal(mine, theirs)
