"""The future canary catches what knows the future, wherever on the normal path it sits, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from canary_world import fitted, planned, test_ref

from harness import latents
from harness.branch import FramesWant
from harness.bundle import find_bundles
from harness.demo import write_demo
from harness.episode import Episode, Modality, Track
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.features.audio import AudioDescriptor
from harness.features.hands import HandBlock
from harness.features.track import TrackBlock
from harness.held import Held
from harness.leakage.canary import Change, FutureCanary, future_canary
from harness.leakage.noise import noised
from harness.pipeline.predict import Actor, Block
from harness.pipeline.workbench import Workbench
from harness.run import write_bundle
from harness.store import TrackStore
from harness.store.wants import Wants

SECONDS = 6.0
TASKS = ("timeline_action", "hand_trajectory_forecast")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "recordings"
    write_demo(out, episodes=2, seed=3, seconds=SECONDS)
    return out


def found(root: Path, out: Path, branch: str, tasks=TASKS, *words: str) -> list[Change]:
    """What two canaries find of one branch."""
    plan = planned(root, out, [branch], tasks, *words)
    return future_canary(plan, test_ref(plan), [2.0, 4.0], fitted(plan), out / "canary")


def test_an_honest_head_stays_the_same_and_hears_what_comes_later(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["ridge"], TASKS)
    [job] = fitted(plan)
    answer = FutureCanary(plan, test_ref(plan), 3.0, tmp_path / "canary").check(job)
    assert answer.changes == () and answer.compared > 10 and answer.heard


def test_a_whole_episode_normaliser_at_ingest_is_caught(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loudness in shares of the loudest moment of the recording: it stands in the store, so only a fresh store shows it."""
    honest = AudioDescriptor.describe

    def normalised(self: AudioDescriptor, episode: Episode) -> Track:
        track = honest(self, episode)
        return replace(track, data=track.array() / np.abs(track.array()).max(axis=0).clip(1e-6))

    monkeypatch.setattr(AudioDescriptor, "describe", normalised)
    changes = found(root, tmp_path, "ridge")
    assert {change.task for change in changes} == set(TASKS)
    assert "ridge knows what comes after t0 (timeline_action" in str(changes[0]) and "#w0" in changes[0].samples[0]


def test_a_bidirectional_latent_cache_is_caught(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that is run over the whole recording and lets every clip look at the next one."""
    honest = latents.latent_track

    def both_ways(*args: object) -> Track:
        track = honest(*args)  # type: ignore[arg-type]
        values = track.array()
        return replace(track, data=(values + np.roll(values, -1, axis=0)) / 2)

    words = ("split.train=0", "split.test=1", "branch.world_model:jepa.steps=2", "branch.world_model:jepa.evaluate_every=2")
    task = ("future_latent[vjepa2-tiny]",)
    assert found(root, tmp_path / "honest", "world_model:jepa", task, *words) == []
    monkeypatch.setattr(latents, "latent_track", both_ways)
    [one, _] = found(root, tmp_path / "leaky", "world_model:jepa", task, *words)
    assert one.columns == ("values",)


@pytest.mark.parametrize("knows", [lambda t, end: t / end, lambda t, end: t > end - 2.0], ids=["progress", "the end is near"])
def test_what_knows_how_long_the_recording_is_is_caught(root: Path, tmp_path: Path, monkeypatch, knows) -> None:
    honest = AudioDescriptor.describe

    def knowing(self: AudioDescriptor, episode: Episode) -> Track:
        track = honest(self, episode)
        data = track.array().copy()
        data[:, 0] = knows(np.asarray(track.times), episode.timeline[-1])
        return replace(track, data=data)

    monkeypatch.setattr(AudioDescriptor, "describe", knowing)
    assert found(root, tmp_path, "ridge", ("timeline_action",))


def test_a_run_that_is_thinned_out_is_compared_at_its_own_windows(root: Path, tmp_path: Path) -> None:
    words = ("split.train=0", "split.test=1", "windows.max_per_episode=10")
    plan = planned(root, tmp_path, ["ridge", "leaky.branches:ScalesByBatch"], ("timeline_action",), *words)
    honest, leaky = fitted(plan)
    canary = FutureCanary(plan, test_ref(plan), 3.0, tmp_path / "canary")
    answer = canary.check(honest)
    timeline = plan.dataset.read(test_ref(plan)).timeline
    early = int((timeline[plan.spec.grid(len(timeline)) + plan.spec.length - 1] <= 3.0).sum())
    assert answer.changes == () and answer.compared == early >= 4 and answer.heard
    assert canary.check(leaky).changes


def clip_level(self: TrackBlock, episode: Episode, starts: np.ndarray, length: int):
    """Features in shares of the largest of any window: it hides in what is kept for the whole grid."""
    values, valid = honest_compute(self, episode, starts, length)
    return values / np.abs(values).max(axis=0, initial=1e-6), valid


honest_compute = HandBlock.compute


def test_a_clip_level_scaler_in_window_features_is_caught(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandBlock, "compute", clip_level)
    assert {change.task for change in found(root, tmp_path, "ridge")} == set(TASKS)


def test_a_clip_level_scaler_is_refused_at_scoring_too(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows say what they saw by what was tried, not by what a block promises."""
    monkeypatch.setattr(HandBlock, "compute", clip_level)
    plan = planned(root, tmp_path, ["ridge"], ("timeline_action",))
    [job] = fitted(plan)
    write_bundle(plan, job)
    bench, episode = Workbench(plan), plan.split.folds[0].test[0]
    Actor(plan).run(Block("ridge", 0, 0, episode, 0, 1000))
    held = Held(plan.out / "targets", plan.split, (plan.task("timeline_action"),), plan.spec)
    end = bench.episode(episode).timeline[-1]
    with pytest.raises(BadInput, match=rf"ridge was shown {end:.3f} s and was asked at t0 = .* show it nothing after t0"):
        evaluate(held, list(find_bundles(plan.out / "bundles")))


def test_a_branch_that_scales_by_the_windows_it_is_asked_together_with_is_caught(root: Path, tmp_path: Path) -> None:
    assert found(root, tmp_path, "leaky.branches:ScalesByBatch", ("timeline_action",))


def test_a_branch_with_a_cache_of_its_own_hears_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path / "cache"))
    plan = planned(root, tmp_path, ["leaky.branches:Remembers"], ("transition_detection",))
    [job] = fitted(plan)
    answer = FutureCanary(plan, test_ref(plan), 3.0, tmp_path / "canary").check(job)
    assert answer.changes == () and not answer.heard


def test_every_track_is_noise_after_t0_and_untouched_before(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["majority"], ("timeline_action",))
    true = plan.dataset.read(test_ref(plan))
    other, t0 = noised(true, 3.0), 3.0
    for name, track in true.tracks.items():
        mine = other.tracks[name]
        if track.times is None:
            assert (track.modality == Modality.MAP) == (mine is not track), name
            continue
        end = t0 + (true.timeline[-1] - t0) / 3
        np.testing.assert_array_equal(mine.times, track.times[track.times <= end], err_msg=name)
        until = int(np.searchsorted(track.times, t0, side="left" if track.modality == Modality.COMMAND else "right"))
        np.testing.assert_array_equal(mine.mask()[:until], track.mask()[:until], err_msg=name)
        assert (mine.mask()[until:] != track.mask()[until : len(mine.times)]).any(), name
        if track.modality != Modality.VIDEO:
            np.testing.assert_array_equal(mine.array(0, until), track.array(0, until), err_msg=name)
            late, noise = track.array(until, len(mine.times)), mine.array(until, len(mine.times))
            assert (late != noise).mean() > (0.7 if late.dtype.kind == "f" else 0.1), name
            if track.data is not mine.data and not isinstance(track.data, np.ndarray):
                np.testing.assert_array_equal(mine.array(until + 3, until + 9), noise[3:9])  # however it is cut


def test_frames_are_noise_from_the_first_one_after_t0(root: Path, tmp_path: Path) -> None:
    plan = planned(root, tmp_path, ["majority"], ("timeline_action",))
    episode = plan.dataset.read(test_ref(plan))
    shown = []
    for name, recording in (("true", episode), ("noised", noised(episode, 3.0))):
        store = TrackStore(str(tmp_path / name))
        store.write(recording, Wants(frames=(FramesWant("fisheye_cam0", 32, 32),)), "key")
        shown.append(store.open("key").tracks["frames/fisheye_cam0@32x32"].array())
    times = episode.timeline
    left = len(shown[1])
    assert left == np.searchsorted(times, 3.0 + (times[-1] - 3.0) / 3, side="right")
    same = (shown[0][:left] == shown[1]).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(same, times[:left] <= 3.0)


@pytest.mark.parametrize("name", ["gr1_picknplace_v20", "g1_inspire_v30"])
def test_heads_on_real_robots_know_nothing_of_the_future(shared_data: Path, tmp_path: Path, name: str) -> None:
    """Videos of their own, and one video for many episodes, of which the noise must find its place."""
    words = ("split.train=0-1", "split.test=2", "windows.stride=20", "features=[default]")
    plan = planned(shared_data / name, tmp_path, ["ridge"], ("action_chunk",), *words)
    [job] = fitted(plan)
    answer = FutureCanary(plan, test_ref(plan), 5.0, tmp_path / "canary").check(job)
    assert answer.changes == () and answer.compared and answer.heard
