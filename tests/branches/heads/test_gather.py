"""From a training set to tables: which rows, in which order, under which vocabulary."""

from dataclasses import replace

import numpy as np
import pytest
from heads_world import MemorySet, World, tasks

from branches.heads.config import InputOptions
from branches.heads.gather import gather
from branches.heads.inputs import InputMaker
from harness.branch import Needs


def table_of(training, found, folder, needs=lambda task: Needs(features=True, tracks=task.tracks_for_history())):
    makers = {task.id: InputMaker(task, InputOptions()) for task in found}
    return gather(training, found, makers, needs, folder)


class Partial(MemorySet):
    """Some tasks are not posed in some episodes; what was read of features is counted."""

    missing = (("timeline_action", "s0e0"), ("timeline_subtask", "s1e1"))
    reads = 0

    def batches(self, task, needs, role=""):
        for batch in super().batches(task, needs, role):
            if (task.id, batch.episode) not in self.missing:
                self.reads += needs.features
                yield batch


def test_inputs_are_read_once_and_cover_the_episodes_of_every_task(tmp_path):
    world = World(sessions=2)
    training = Partial(world, world.episodes)
    found = tasks("timeline_action", "timeline_subtask", "next_action")
    table = table_of(training, found, tmp_path)
    assert sorted(table.episodes) == list(world.episodes) and training.reads == len(world.episodes)
    n = len(table.episode) // 4
    assert len(table.rows[""]) == 4 * n == len(table.usable)
    lacking = table.tasks["timeline_action"]
    assert lacking.episodes == ("s0e1", "s1e0", "s1e1")
    here = table.episode == table.episodes.index("s0e0")
    assert not lacking.valid[here].any() and (lacking.labels[here] == -1).all() and lacking.valid[~here].all()


def test_where_no_task_covers_all_the_rest_is_read_from_another(tmp_path):
    world = World(sessions=2)
    training = Partial(world, world.episodes)
    table = table_of(training, tasks("timeline_action", "timeline_subtask"), tmp_path)
    assert sorted(table.episodes) == list(world.episodes)
    assert len(table.rows[""]) == len(table.episode) == 4 * (table.episode == 0).sum()
    for episode in world.episodes:  # every row stands at its own episode
        rows = table.rows[""].read(table.episode == table.episodes.index(episode))
        (task,) = tasks("next_action")
        expected = world.batch(episode, task, Needs(features=True)).observed.views[0].features.values
        np.testing.assert_array_equal(rows, expected)


class NearABorder(MemorySet):
    """One task looks further past a chronological border than the others: in every episode it lacks the last samples."""

    reads = 0

    def batches(self, task, needs, role=""):
        for batch in super().batches(task, needs, role):
            self.reads += needs.features
            if task.id != "next_action":
                yield batch
                continue
            assert not needs.features, "the rows of a task that has them all were to be read"
            fewer = np.arange(len(batch.samples) - 3)
            yield replace(batch, samples=batch.samples.take(fewer), targets=batch.targets.take(fewer))


@pytest.mark.parametrize("order", [("next_action", "timeline_action"), ("timeline_action", "next_action")])
def test_a_task_that_looks_further_past_a_border_has_its_targets_at_the_right_rows(order, tmp_path):
    world = World(sessions=2)
    training = NearABorder(world, world.episodes)
    table = table_of(training, tasks(*order), tmp_path)
    assert training.reads == len(world.episodes)
    (tmp_path / "whole").mkdir()
    whole = table_of(MemorySet(world, world.episodes), tasks("next_action"), tmp_path / "whole").tasks["next_action"]
    found, last = table.tasks["next_action"], np.zeros(len(table.episode), bool)
    for code in range(len(table.episodes)):
        last[np.flatnonzero(table.episode == code)[-3:]] = True
    assert not found.valid[last].any() and (found.labels[last] == -1).all()
    np.testing.assert_array_equal(found.labels[~last], whole.labels[~last])
    assert table.tasks["timeline_action"].valid.all()


def test_rows_that_no_other_task_has_are_an_error(tmp_path):
    class Elsewhere(MemorySet):
        def batches(self, task, needs, role=""):
            for batch in super().batches(task, needs, role):
                shift = int(task.id == "next_action")
                yield replace(batch, samples=replace(batch.samples, starts=batch.samples.starts + shift))

    world = World(sessions=2)
    with pytest.raises(ValueError, match="different samples"):
        table_of(Elsewhere(world, world.episodes), tasks("timeline_action", "next_action"), tmp_path)


def test_codes_become_one_sorted_vocabulary_of_what_occurs(tmp_path):
    world = World(sessions=3)
    (task,) = tasks("timeline_action")
    rows = table_of(world.set(), (task,), tmp_path).tasks[task.id]
    words = []
    for episode in world.episodes:
        targets = world.batch(episode, task, Needs()).targets
        words += [targets.vocabulary[code] for code in targets.labels]
    assert rows.vocabulary == tuple(sorted(set(words)))
    assert [rows.vocabulary[code] for code in rows.labels] == words


def test_a_future_is_kept_as_its_difference_to_persistence(tmp_path):
    world = World(sessions=1)
    (task,) = tasks("action_chunk")
    rows = table_of(world.set("s0e0"), (task,), tmp_path).tasks[task.id]
    batch = world.batch("s0e0", task, Needs(tracks=("command",)))
    seen = batch.targets.valid & np.isfinite(batch.targets.reference).all(axis=1)
    found = rows.read_values(slice(None))
    expected = batch.targets.values - batch.targets.reference
    np.testing.assert_allclose(found[seen], expected[seen], atol=1e-5)
    assert np.isnan(found[~batch.targets.valid]).all() and (~batch.targets.valid).any()


def test_nothing_to_read_is_no_table(tmp_path):
    assert table_of(MemorySet(World(sessions=1), ()), tasks("timeline_action"), tmp_path) is None
