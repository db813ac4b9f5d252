"""Search spaces: every option is there, and none changes what is decoded."""

import json

import pytest

from harness.branch import branch_names, make_branch
from harness.tasks import get_task, task_ids
from tune.spaces import SPACES, LogUniform, Space, configurations, space_of


@pytest.mark.parametrize("name", sorted(set(SPACES) & set(branch_names())))
def test_a_space_holds_options_of_its_branch_that_leave_its_frames_alone(name: str) -> None:
    branch, space = make_branch(name), SPACES[name]
    tasks = [task for task in map(get_task, task_ids()) if branch.route(task) is not None]
    drawn = configurations(space, 6, seed=0)
    assert len(drawn) == 6 and drawn[0] == {}
    for options in drawn:
        other = make_branch(name, options)
        assert [other.needs(task) for task in tasks] == [branch.needs(task) for task in tasks]
    if space.steps:
        assert getattr(branch.config, space.steps) >= 4  # type: ignore[attr-defined]


def test_the_same_seed_gives_the_same_configurations_and_more_of_them_begin_alike() -> None:
    space = SPACES["mlp"]
    assert configurations(space, 8, seed=1) == configurations(space, 8, seed=1)
    assert configurations(space, 8, seed=1)[:4] == configurations(space, 4, seed=1)
    assert configurations(space, 8, seed=1) != configurations(space, 8, seed=2)


def test_no_configuration_comes_twice_and_a_small_space_ends() -> None:
    drawn = configurations(SPACES["ridge"], 50, seed=0)
    assert len({json.dumps(options) for options in drawn}) == len(drawn) < 50


def test_numbers_stay_in_their_range_and_fill_it() -> None:
    values = [options["x"] for options in configurations(Space({"x": LogUniform(1e-4, 1e-2)}), 40, seed=3)[1:]]
    assert all(1e-4 <= value <= 1e-2 for value in values)
    assert min(values) < 2e-4 and max(values) > 5e-3


def test_what_the_user_sets_does_not_vary() -> None:
    space = space_of("mlp", make_branch("mlp", {"hidden": 32}))
    assert "hidden" not in space.options and "dropout" in space.options


def test_a_branch_without_a_space_runs_once() -> None:
    assert configurations(space_of("majority", make_branch("majority")), 8, seed=0) == [{}]
