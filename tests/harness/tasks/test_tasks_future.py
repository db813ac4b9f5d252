"""What comes next as the main camera sees it."""

from dataclasses import replace

import numpy as np
import pytest
from task_episodes import episode_of

from harness.encoder import Encoder
from harness.episode import Episode, Modality, Track
from harness.errors import BadInput
from harness.latents import clip_ends, latent_track, opened, stored_name
from harness.tasks import get_task
from harness.tasks.future import SIDE, FutureLatent, FutureRetrieval, FutureVideo
from harness.window import WindowSpec, make_samples, observe_track

SPEC = WindowSpec(length=8, stride=4)


class MeanColour(Encoder):
    """The mean colour of each frame of a clip."""

    name, height, width, frames, stride, shape = "mean", 4, 4, 3, 2, (3, 3)
    fingerprint = "1"

    def encode(self, clips):
        return clips.mean(axis=(2, 3)).astype(np.float32)


def recorded(n: int, seed: int = 0, period: int | None = None) -> Episode:
    """An episode of `n` samples at 10 Hz whose main camera shows noise, of which each frame is drawn on its own."""
    rng = np.random.default_rng(seed)
    times = np.arange(n) / 10
    draw = np.arange(n) if period is None else np.arange(n) % period
    tracks = {"video/a": Track("video/a", Modality.VIDEO, np.zeros((n, 0), np.uint8), times)}
    for side in (4, SIDE):
        frames = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)[draw]
        name = f"frames/a@{side}x{side}"
        tracks[name] = Track(name, Modality.VIDEO, frames, times, sources=("video/a",))
    return Episode("e", "video/a", tracks)


def with_latents(episode: Episode) -> Episode:
    encoder = MeanColour()
    track = latent_track(opened(episode, (), SPEC), encoder, SPEC)
    name = stored_name(encoder, SPEC)
    return opened(episode.with_tracks({**episode.tracks, name: replace(track, name=name)}), (encoder,), SPEC)


def test_future_frames_are_those_after_t0_and_the_reference_is_the_one_at_t0():
    task, episode = FutureVideo(10), opened(recorded(40), (), SPEC)
    samples = make_samples("window", "e", episode.timeline, SPEC)
    targets = task.targets(episode, samples, SPEC)
    frames = episode.tracks["frames/a@32x32"].array()
    last = samples.last[:, 0]
    assert targets.valid.tolist() == (last + 10 < 40).tolist()
    for row in np.flatnonzero(targets.valid):
        shown = targets.values[row].reshape(task.shape(episode))
        np.testing.assert_array_equal(shown, frames[last[row] + np.array([2, 4, 6, 8, 10])])
        held = targets.reference[row].reshape(task.shape(episode))
        np.testing.assert_array_equal(held, np.repeat(frames[last[row]][None], 5, axis=0))


def test_a_missing_frame_is_no_target():
    episode = recorded(40)
    mask = np.ones(40, bool)
    mask[20] = False
    track = episode.tracks["frames/a@32x32"]
    episode = opened(episode.with_tracks({**episode.tracks, track.name: replace(track, valid=mask)}), (), SPEC)
    samples = make_samples("window", "e", episode.timeline, SPEC)
    valid = FutureVideo(10).targets(episode, samples, SPEC).valid
    touched = [any(i == 20 for i in (last, *(last + np.array([2, 4, 6, 8, 10])))) for last in samples.last[:, 0]]
    assert valid.tolist() == [bool(last + 10 < 40) and not hit for last, hit in zip(samples.last[:, 0], touched, strict=True)]


def test_the_latent_is_of_the_last_clip_of_the_next_window_and_of_nothing_else():
    episode = with_latents(recorded(40))
    task = FutureLatent(MeanColour())
    samples = make_samples("window", "e", episode.timeline, SPEC)
    targets = task.targets(episode, samples, SPEC)
    frames = episode.tracks["frames/a@4x4"].array()
    assert targets.valid.any()
    for row, last in enumerate(samples.last[:, 0]):
        if targets.valid[row]:
            for end, found in ((last + 8, targets.values), (last, targets.reference)):
                clip = frames[[end - 4, end - 2, end]]
                np.testing.assert_allclose(found[row].reshape(3, 3), clip.mean(axis=(1, 2)), rtol=1e-6)


def test_latents_of_the_past_know_nothing_of_the_future():
    """Another future, from the frames on: every latent that ends before it keeps its bits."""
    episode = recorded(40)
    rng = np.random.default_rng(1)
    tracks = dict(episode.tracks)
    for name in ("frames/a@4x4", "frames/a@32x32"):
        frames = episode.tracks[name].array().copy()
        frames[24:] = rng.integers(0, 256, frames[24:].shape)
        tracks[name] = replace(episode.tracks[name], data=frames)
    one, other = (with_latents(e).tracks["latents/mean"] for e in (episode, episode.with_tracks(tracks)))
    before = one.times <= episode.timeline[23]
    assert before.any() and not before.all()
    np.testing.assert_array_equal(one.array()[before], other.array()[before])
    assert not np.array_equal(one.array()[~before], other.array()[~before])


def test_clips_before_the_recording_are_masked():
    short = WindowSpec(length=5, stride=2)
    episode = recorded(12)
    track = latent_track(opened(episode, (), short), MeanColour(), short)
    assert track.valid.all()
    far = type("Far", (MeanColour,), {"stride": 3})()
    assert latent_track(opened(episode, (), short), far, short).valid.tolist() == (clip_ends(short, 12) >= 6).tolist()


def test_another_window_spec_is_another_track():
    names = {stored_name(MeanColour(), spec) for spec in (SPEC, WindowSpec(8, 2), WindowSpec(8, 4, max_per_episode=3))}
    assert len(names) == 3
    assert stored_name(MeanColour(), WindowSpec(8, 4, context=12)) == stored_name(MeanColour(), SPEC)


def test_retrieval_pairs_a_window_with_the_one_after_it_and_ties_equal_pictures():
    episode = opened(recorded(60, period=4), (), SPEC)
    task = FutureRetrieval()
    samples = make_samples(task.samples, "e", episode.timeline, SPEC)
    assert (samples.starts[:, 1] - samples.starts[:, 0] == 8).all()
    assert (samples.t0 == episode.timeline[samples.starts[:, 1] + 7]).all()
    assert len(set(task.targets(episode, samples, SPEC).item.tolist())) == 1  # windows start every 4 samples of a loop of 4
    other = opened(recorded(60), (), SPEC)
    assert len(set(task.targets(other, samples, SPEC).item.tolist())) == len(samples)


def test_the_view_of_a_latent_ends_at_t0():
    episode = with_latents(recorded(40))
    track = episode.tracks["latents/mean"]
    window = observe_track(track, episode.timeline, np.array([15]), SPEC, 1)
    position = np.searchsorted(track.times, episode.timeline[15])
    np.testing.assert_array_equal(window.values[0, 0], track.array()[position])


def test_without_a_camera_there_is_no_target():
    episode = episode_of(40)
    for task in (FutureVideo(), FutureLatent(MeanColour()), FutureRetrieval()):
        samples = make_samples(task.samples, "e", episode.timeline, SPEC)
        assert not task.targets(episode, samples, SPEC).valid.any()


@pytest.mark.parametrize("word", ["future_latent", "future_latent[nobody]", "future_latent[]", "future_video@3"])
def test_what_cannot_be_is_refused_in_one_line(word):
    with pytest.raises(BadInput) as error:
        get_task(word)
    assert "\n" not in str(error.value)
