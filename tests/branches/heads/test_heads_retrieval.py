"""The space in which query and key meet."""

import numpy as np
import pytest
from heads_world import World, tasks

from branches.heads.config import InputOptions
from branches.heads.gather import gather
from branches.heads.inputs import InputMaker
from branches.heads.prepare import prepare
from branches.heads.retrieval import fit_meeting_space
from harness.branch import Needs


def space(folder, world, penalty=None):
    (task,) = tasks("camera_view_sync_retrieval")
    table = gather(world.set(), (task,), {task.id: InputMaker(task, InputOptions())}, lambda t: Needs(features=True), folder)
    prepared = {
        role: prepare(file, table.layouts[role], table.usable, InputOptions(), folder) for role, file in table.rows.items()
    }
    keep = table.tasks[task.id].valid & table.usable
    found = fit_meeting_space(prepared["query"], prepared["key"], table, keep, table.cluster, 256, penalty)
    return found, prepared, table


def test_predictable_coordinates_are_kept_and_weighted(tmp_path):
    found, prepared, _ = space(tmp_path, World(noise=0.3, shift=0.2))
    assert 2 <= len(found.chosen) < prepared["key"].rotation.rank
    assert (found.weight > 0).all() and found.weight.max() > 3 * found.weight.min()
    # The source's prediction and the goal's own coordinates agree where they meet.
    weights, bias = found.source_map()
    source = prepared["query"].read(slice(None)) @ weights + bias
    weights, bias = found.goal_map()
    goal = prepared["key"].read(slice(None)) @ weights + bias
    strongest = int(found.weight.argmax())
    assert np.corrcoef(source[:, strongest], goal[:, strongest])[0, 1] > 0.8


def test_deviations_are_about_the_mean_of_each_episode(tmp_path):
    found, prepared, table = space(tmp_path, World(shift=3.0))
    deviation = found.deviations(prepared["key"].read(slice(None)), table.episode)
    for episode in range(len(table.episodes)):
        np.testing.assert_allclose(deviation[table.episode == episode].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose((deviation**2).mean(axis=0), found.weight**2, rtol=1e-3)


def test_where_nothing_is_predictable_nothing_has_weight(tmp_path):
    world = World(noise=0.3)
    rng = np.random.default_rng(0)
    for episode in world.episodes:
        world.features[episode]["cam3"] = rng.normal(size=world.features[episode]["cam3"].shape).astype(np.float32)
    found, prepared, _ = space(tmp_path, world)
    # What is left is chance: it explains next to nothing, and no coordinate stands out.
    assert (found.weight < 0.3).all() or len(found.chosen) == prepared["key"].rotation.rank


@pytest.mark.parametrize("penalty", [10.0])
def test_a_fixed_penalty_chooses_nothing(tmp_path, penalty):
    found, prepared, _ = space(tmp_path, World(), penalty)
    assert len(found.chosen) == prepared["key"].rotation.rank
    np.testing.assert_array_equal(found.weight, found.std)
