"""What of a track the noise takes: samples, masks and words, each from its own moment on."""

import numpy as np
import pytest

from harness.episode import Episode, Modality, Track
from harness.leakage.noise import noised

TIMES = np.arange(60) / 10
T0 = 3.0  # a sample lies at it, which is TIMES[30]


class InFile:
    """Samples that are read when they are asked for."""

    shape, dtype = (60, 2), np.dtype(np.float32)

    def read(self, start: int, stop: int) -> np.ndarray:
        return np.arange(120, dtype=np.float32).reshape(60, 2)[start:stop]


def recording(*tracks: Track) -> Episode:
    return Episode("e", tracks[0].name, {track.name: track for track in tracks})


def after(track: Track) -> Track:
    return noised(recording(track), T0).tracks[track.name]


@pytest.mark.parametrize("data", [np.ones((60, 2), np.float32), InFile()], ids=["array", "source"])
@pytest.mark.parametrize("before", [None, np.arange(60) % 4 > 0], ids=["all", "some"])
def test_the_mask_is_noise_after_t0_and_untouched_before(data, before) -> None:
    track = Track("depth", Modality.DEPTH, data, TIMES, before)
    mask = after(track).mask()
    np.testing.assert_array_equal(mask[:31], track.mask()[:31])
    assert len(mask) == 40 and 0 < (~mask[31:]).sum() < 5 and (mask[31:] != track.mask()[31:40]).any()


def test_a_word_that_is_said_after_t0_alone_is_another_word() -> None:
    codes = np.repeat(np.array([1, 0, 2], np.int32), [10, 21, 29])
    words = after(Track("action", Modality.LANGUAGE, codes, TIMES, categories=("stir", "pour", "serve"))).categories
    assert words[:2] == ("stir", "pour") and not set(words[2:]) & {"serve"}


def test_an_object_that_is_named_after_t0_alone_is_another_object() -> None:
    present = np.zeros((60, 3), np.uint8)
    present[5, 0] = present[30, 1] = present[31:, 2] = 1
    names = after(Track("objects", Modality.LANGUAGE, present, TIMES, names=("cup", "pot", "bowl"))).names
    assert names[:2] == ("cup", "pot") and len(names) == 3 and names[2] != "bowl"


def test_what_is_measured_at_t0_stays_and_a_command_given_at_it_goes() -> None:
    values = np.arange(60, dtype=np.float64)[:, None]
    tracks = [Track(kind.value, kind, values, TIMES) for kind in (Modality.STATE, Modality.COMMAND)]
    state, command = noised(recording(*tracks), T0).tracks.values()
    for track, first in ((state, 31), (command, 30)):
        np.testing.assert_array_equal(track.array()[:first], values[:first])
        assert len(track.array()) == 40 and (track.array()[first:] != values[first:40]).all()
        assert track.valid is not None and track.valid[:first].all()
