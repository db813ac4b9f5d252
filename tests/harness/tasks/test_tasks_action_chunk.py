"""The next commands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_episodes import FPS, episode_of, targets_of, track

from harness.card import ActionGroup, Card
from harness.episode import Modality
from harness.errors import BadInput
from harness.readers import reader_class
from harness.tasks import get_task
from harness.window import View, WindowSpec, make_samples, observe_track, view_times


def commands(data, valid=None, times=None):
    return track("command", Modality.COMMAND, np.asarray(data, np.float64), valid, times)


def history_of(task, episode, spec, samples):
    last = samples.last[:, 0]
    window = observe_track(episode.tracks["command"], episode.timeline, last, spec)
    return task.history(View(view_times(episode, last, spec), {"command": window}))


def test_the_chunk_starts_at_t0_and_persistence_repeats_the_command_before_it():
    episode = episode_of(12, commands(np.arange(24).reshape(12, 2)))
    task = get_task("action_chunk@3")
    targets, samples = targets_of(task, episode, length=4)
    assert task.shape(episode) == (3, 2)
    assert samples.last[0, 0] == 3
    assert targets.values[0].tolist() == [6, 7, 8, 9, 10, 11]
    assert targets.reference[0].tolist() == [4, 5] * 3
    assert targets.valid.tolist() == [True] * 7 + [False] * 2  # t0 = 9 is the last whose three commands are all there
    assert targets.mask[:7].all() and not targets.mask[7:].any()


def test_history_is_the_commands_strictly_before_t0():
    episode = episode_of(12, commands(np.arange(12)[:, None] * 10.0))
    spec = WindowSpec(4, 4)
    values, measured = history_of(get_task("action_chunk"), episode, spec, make_samples("window", "e", episode.timeline, spec))
    assert values[..., 0].tolist() == [[0, 10, 20], [40, 50, 60], [80, 90, 100]]  # t0 = 3, 7, 11
    assert measured.all()


@pytest.mark.parametrize("context", [1, 2, 5])
def test_the_reference_is_the_same_for_every_context(context):
    episode = episode_of(12, commands(np.arange(12)[:, None]))
    targets, samples = targets_of(get_task("action_chunk@2"), episode, context=context)
    rows = targets.valid
    assert rows.sum() == 8
    assert (targets.reference[rows, 0] == samples.last[rows, 0] - 1).all()


def test_before_the_first_command_there_is_nothing_to_repeat():
    episode = episode_of(6, commands(np.arange(6)[:, None]))
    targets, _ = targets_of(get_task("action_chunk@2"), episode, length=1)
    assert targets.valid.tolist() == [False, True, True, True, True, False]


def test_commands_with_a_clock_of_their_own_start_at_the_first_one_not_before_t0():
    times = np.arange(40) / (2 * FPS) + 0.001  # twice the rate, a millisecond late
    episode = episode_of(10, commands(np.arange(40)[:, None], times=times))
    targets, samples = targets_of(get_task("action_chunk@3"), episode, length=2, stride=3)
    assert samples.last[:, 0].tolist() == [1, 4, 7]
    assert targets.values.tolist() == [[2, 3, 4], [8, 9, 10], [14, 15, 16]]
    assert targets.reference[:, 0].tolist() == [1, 7, 13]


def test_missing_commands_are_masked_and_an_older_one_is_held():
    valid = np.ones(10, bool)
    valid[[3, 5]] = False
    data = np.where(valid, np.arange(10), np.nan)[:, None]
    targets, _ = targets_of(get_task("action_chunk@3"), episode_of(10, commands(data, valid)), length=4, stride=1)
    assert targets.mask[:2].tolist() == [[False, True, False], [True, False, True]]  # chunks 3 4 5 and 4 5 6
    assert targets.reference[1].tolist() == [2, 2, 2]
    assert np.isfinite(targets.values).all()


def test_action_groups_come_from_the_data_set_and_must_fit_its_command():
    episode = episode_of(30, commands(np.zeros((30, 3))))
    task = get_task("action_chunk", {"arm": ActionGroup(["0:2"], "rad"), "hand": ActionGroup(["2"], "m")})
    assert task.groups() == {"arm": [0, 1], "hand": [2]} and task.group_units() == {"arm": "rad", "hand": "m"}
    assert get_task("action_chunk").groups() == {}
    with pytest.raises(BadInput, match=r"'hand'.*dimension 3, the command has 3"):
        targets_of(get_task("action_chunk", {"hand": ActionGroup(["2:4"])}), episode)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_history_and_reference_know_no_command_from_t0_on(seed):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(30, 2))
    spec = WindowSpec(5, 5, resampling=rng.choice(["hold", "nearest", "linear"]))
    episode = episode_of(30, commands(data))
    samples = make_samples("window", "e", episode.timeline, spec).take(np.array([2]))
    t0 = int(samples.last[0, 0])
    changed = data.copy()
    changed[t0:] = rng.normal(size=changed[t0:].shape)
    other = episode_of(30, commands(changed))
    task = get_task("action_chunk@4")
    for before, after in zip(history_of(task, episode, spec, samples), history_of(task, other, spec, samples), strict=True):
        assert (before == after).all()
    a, b = task.targets(episode, samples, spec), task.targets(other, samples, spec)
    assert (a.reference == b.reference).all() and not (a.values == b.values).any()
    np.testing.assert_allclose(a.reference[0].reshape(4, 2), data[t0 - 1 : t0].repeat(4, axis=0), rtol=1e-6)


@pytest.mark.parametrize("name", ["g1_inspire_v21", "g1_inspire_v30"])
def test_chunks_of_a_real_robot_are_rows_of_its_table(shared_data, name):
    reader = reader_class("lerobot")(shared_data / name, Card(name=name, format="lerobot"))
    ref = reader.list_episodes()[0][0]
    episode = reader.read(ref)
    command = episode.tracks["command"].array()
    targets, samples = targets_of(get_task("action_chunk"), episode, length=20, stride=5)
    last = samples.last[:, 0]
    assert targets.valid.tolist() == (last + 16 <= len(command)).tolist()
    rows = np.flatnonzero(targets.valid)
    assert len(rows) > 10
    expected = np.stack([command[t : t + 16] for t in last[rows]]).astype(np.float32)
    assert (targets.values[rows] == expected.reshape(len(rows), -1)).all()
    assert (targets.reference[rows].reshape(len(rows), 16, -1) == command[last[rows] - 1][:, None].astype(np.float32)).all()
    assert targets.mask[rows].all()
