"""Information set: rows that saw past their t0, or do not say what they saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gate_world import TASK, bundle_of, held_of, samples

from harness.branch import Needs
from harness.episode import Episode, Modality, Track
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.features.robot import SignalBlock
from harness.leaderboard import build
from harness.leakage import INFORMATION
from harness.observe import Observer
from harness.tasks import get_task
from harness.tasks.base import ViewSpec
from harness.until import ends_at_t0
from harness.window import WindowSpec, make_samples


def test_a_row_that_saw_past_its_t0_is_refused_by_name(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    t0 = samples("b").t0
    late = bundle_of(held, tmp_path / "m", {"b": [t0[0], t0[1], np.nextafter(t0[2], np.inf), t0[3]]})
    with pytest.raises(BadInput, match=r"model:x was shown .* \(timeline_action: b#w8\); show it nothing after t0"):
        evaluate(held, [late])
    evaluate(held, [bundle_of(held, tmp_path / "n", {"b": [-np.inf, *t0[1:]]})])


def test_a_late_row_is_refused_where_nothing_is_scored_too(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets", untrue=(2,))
    t0 = samples("b").t0
    late = bundle_of(held, tmp_path / "m", {"b": [t0[0], t0[1], t0[2] + 1, t0[3]]})
    with pytest.raises(BadInput, match=r"model:x was shown .* \(timeline_action: b#w8\); show it nothing after t0"):
        evaluate(held, [late])


def test_a_row_that_does_not_say_what_it_saw_is_refused(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    silent = bundle_of(held, tmp_path / "m", {"a": [np.nan] * 4})
    with pytest.raises(BadInput, match=r"model:x does not say until when its rows saw \(timeline_action: a#w0, a#w4"):
        evaluate(held, [silent])


def test_imported_rows_are_scored_and_the_gate_is_named(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", {"a": [np.nan] * 4}, imported=True)
    [row] = build(evaluate(held, [made]), "held_out")["rows"]
    assert row["gates"] == [INFORMATION] and row["task"] == TASK.id


CLOCK = np.arange(40) / 20  # seconds; a window of 4 samples from sample 8 on has its t0 at 0.55 s


def recording() -> Episode:
    """Tracks on clocks of their own: a state between the frames, a command on them, a slow sensor, and untimed ones."""

    def track(name: str, modality: Modality, times: np.ndarray | None) -> Track:
        data = np.random.default_rng(1).normal(size=(1 if times is None else len(times), 2))
        return Track(name, modality, data, times)

    tracks = [
        track("clock", Modality.STATE, CLOCK),
        track("state", Modality.STATE, CLOCK + 0.02),
        track("command", Modality.COMMAND, CLOCK),
        track("imu", Modality.IMU, np.arange(4) * 0.4),
        track("calibration", Modality.CALIBRATION, None),
        track("point_cloud", Modality.MAP, None),
    ]
    return Episode("e", "clock", {t.name: t for t in tracks})


@pytest.mark.parametrize(
    ("asked", "newest"),
    [
        ((), -np.inf),
        (("calibration",), -np.inf),
        (("clock",), 0.55),
        (("state",), 0.52),  # the last one at or before t0
        (("command",), 0.5),  # strictly before: what is given at t0 is the answer
        (("imu",), 0.4),
        (("imu", "state", "calibration"), 0.52),
    ],
)
def test_what_a_row_saw_is_the_newest_sample_it_is_made_of(asked: tuple[str, ...], newest: float) -> None:
    spec = WindowSpec(length=4, stride=4)
    one = make_samples("window", "e", CLOCK, spec).take(np.array([2]))
    assert one.t0[0] == pytest.approx(0.55)
    _, seen = Observer(spec, (), {}).observe(recording(), get_task("action_chunk"), one, Needs(asked))
    assert seen[0] == pytest.approx(newest)


def test_a_map_of_the_whole_recording_is_seen_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task shows one; were it shown, its rows would say so."""
    monkeypatch.setattr(ViewSpec, "allows", lambda self, tracks: True)
    spec = WindowSpec(length=4, stride=4)
    one = make_samples("window", "e", CLOCK, spec).take(np.array([2]))
    _, seen = Observer(spec, (), {}).observe(recording(), get_task("action_chunk"), one, Needs(("point_cloud",)))
    assert seen[0] == np.inf


def test_a_pair_saw_what_the_later_of_its_views_saw() -> None:
    spec = WindowSpec(length=4, stride=4)
    pairs = make_samples("order_pair", "e", CLOCK, spec).take(np.array([0, 1]))
    _, seen = Observer(spec, (), {}).observe(recording(), get_task("temporal_order"), pairs, Needs(("state",)))
    assert seen.tolist() == pytest.approx([0.32, 0.32]) and pairs.t0.tolist() == pytest.approx([0.35, 0.35])


def test_window_features_saw_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = WindowSpec(length=4, stride=4)
    one = make_samples("window", "e", CLOCK, spec).take(np.array([2]))
    block = SignalBlock("state", ("state",), ("state",))

    def newest() -> float:
        observer = Observer(spec, (block,), {"state": len(block.columns(recording()))})
        return float(observer.observe(recording(), get_task("action_chunk"), one, Needs(features=True))[1][0])

    assert newest() == pytest.approx(0.52)
    monkeypatch.setattr(SignalBlock, "compute", scaled)
    assert newest() == pytest.approx(CLOCK[-1] + 0.02)


honest = SignalBlock.compute


def scaled(self: SignalBlock, episode: Episode, starts: np.ndarray, length: int):
    """Features in shares of the largest sample of the recording."""
    values, valid = honest(self, episode, starts, length)
    return values / np.abs(episode.tracks["state"].array()).max(), valid


class Projected(SignalBlock):
    """Windows by a matrix, as float32; scaled by the whole recording where `peeks`."""

    peeks = False

    def compute(self, episode: Episode, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        data = np.asarray(episode.tracks["state"].data, np.float32)
        windows = np.stack([data[start : start + length].reshape(-1) for start in starts.tolist()])
        signs = np.random.default_rng(0).normal(size=(windows.shape[1], 64)).astype(np.float32)
        return windows @ signs / (np.abs(data).max() if self.peeks else 1), np.ones(len(starts), bool)


def test_a_matrix_product_over_all_windows_ends_at_t0_and_a_scale_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    clock = np.arange(400) / 20
    state = np.cumsum(rng.normal(size=(400, 26)), axis=0).astype(np.float32)
    episode = Episode("arm", "state", {"state": Track("state", Modality.STATE, state, clock)})
    starts = np.arange(0, 380, 5)
    for peeks in (False, True):
        block = Projected("state", ("state",), ("state",))
        monkeypatch.setattr(Projected, "peeks", peeks)
        values, _ = block.compute(episode, starts, 20)
        assert ends_at_t0(episode, block, starts, 20, values) is not peeks


def filled(self: SignalBlock, episode: Episode, starts: np.ndarray, length: int):
    """Features of a signal whose gaps hold the next measured sample."""
    track = episode.tracks["state"]
    measured = np.where(track.mask(), np.arange(len(track.mask())), len(track.mask()) - 1)
    following = np.minimum.accumulate(measured[::-1])[::-1]
    whole = replace(track, data=track.array()[following], valid=None)
    return honest(self, episode.with_tracks({**episode.tracks, "state": whole}), starts, length)


def test_what_fills_gaps_from_the_next_sample_has_seen_past_t0(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = np.arange(400) / 20
    valid = np.ones(400, bool)
    valid[150:155] = False  # one window in eighty ends in it
    state = np.cumsum(np.random.default_rng(0).normal(size=(400, 2)), axis=0)
    tracks = {"clock": Track("clock", Modality.STATE, np.zeros((400, 1)), clock)}
    episode = Episode("arm", "clock", {**tracks, "state": Track("state", Modality.STATE, state, clock, valid)})
    starts, block = np.arange(0, 380, 5), SignalBlock("state", ("state",), ("state",))
    for peeks in (False, True):
        if peeks:
            monkeypatch.setattr(SignalBlock, "compute", filled)
        values, _ = block.compute(episode, starts, 20)
        assert ends_at_t0(episode, block, starts, 20, values) is not peeks
