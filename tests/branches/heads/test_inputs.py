"""Raw rows: masks, pairs, the past, and what makes a row usable."""

from dataclasses import replace

import numpy as np
import pytest
from heads_world import WIDTHS, World, tasks

from branches.heads.config import InputOptions
from branches.heads.inputs import InputMaker, Layout
from harness.branch import Needs
from harness.window import View

EVERYTHING = Needs(tracks=("command",), features=True)


@pytest.fixture(scope="module")
def world():
    return World(sessions=1, hidden_blocks=(("s0e1", "cam1"),))


def raw(world, task, episode="s0e0", role="", **more):
    return InputMaker(task, InputOptions(**more))(world.batch(episode, task, EVERYTHING, role).observed)


def test_a_block_that_was_not_measured_is_missing_not_zero(world):
    (task,) = tasks("timeline_action")
    seen, lacking = raw(world, task), raw(world, task, "s0e1")
    assert seen.layout == lacking.layout and np.isfinite(seen.values).all()
    width = WIDTHS["cam1"]
    assert np.isnan(lacking.values[:, :width]).all() and np.isfinite(lacking.values[:, width:]).all()
    assert lacking.usable.all()


def test_pairs_of_the_same_blocks_have_their_difference(world):
    order, sync = tasks("temporal_order", "misalignment_detection")
    rows = raw(world, order)
    d = sum(WIDTHS.values())
    assert rows.values.shape[1] == 3 * d == rows.layout.width
    np.testing.assert_array_equal(rows.values[:, 2 * d :], rows.values[:, d : 2 * d] - rows.values[:, :d])
    other = raw(world, sync)
    assert not other.layout.alike
    assert other.values.shape[1] == WIDTHS["hands"] + WIDTHS["imu"] + WIDTHS["cam1"] + WIDTHS["cam3"]
    assert other.layout.view_columns(1) == slice(36, 92)


def test_the_past_is_the_last_step_and_the_steps_to_it(world):
    (task,) = tasks("action_chunk")
    rows = raw(world, task, history_steps=3)
    batch = world.batch("s0e0", task, EVERYTHING).observed
    values, valid = task.history(batch.views[0])
    past = rows.values[:, rows.layout.features :].reshape(len(values), 3, 3)
    whole = valid.all(axis=(1, 2))
    np.testing.assert_allclose(past[whole, 0], values[whole, -1], atol=1e-6)
    np.testing.assert_allclose(past[whole, 2], values[whole, -1] - values[whole, -2], atol=1e-6)
    np.testing.assert_allclose(rows.base[whole], values[whole, -1], atol=1e-6)
    assert rows.layout.groups == [slice(0, rows.layout.features), slice(rows.layout.features, rows.layout.width)]


def test_a_row_with_nothing_measured_in_a_view_is_not_usable(world):
    (task,) = tasks("temporal_order")
    batch = world.batch("s0e0", task, EVERYTHING).observed
    second = batch.views[1].features
    valid = second.valid.copy()
    valid[2] = False
    blind = replace(batch, views=(batch.views[0], View(batch.views[1].times, {}, replace(second, valid=valid))))
    usable = InputMaker(task, InputOptions())(blind).usable
    assert not usable[2] and usable.sum() == len(batch) - 1


def test_a_known_past_is_enough(world):
    (task,) = tasks("action_chunk")
    blind = World(sessions=1, blocks=())
    rows = raw(blind, task)
    assert rows.layout.features == 0 and rows.layout.history > 0 and rows.usable.all()


def test_other_blocks_than_fitted_on_are_an_error(world):
    (task,) = tasks("timeline_action")
    layout = raw(world, task).layout
    assert Layout.from_json(layout.to_json()) == layout
    fewer = World(sessions=1, blocks=("imu",)).batch("s0e0", task, EVERYTHING).observed
    with pytest.raises(ValueError, match="other feature blocks"):
        InputMaker(task, InputOptions(), layout=layout)(fewer)


def test_an_embedding_stands_in_for_the_features(world):
    (task,) = tasks("action_chunk")
    embedded = np.arange(12.0).reshape(-1, 3)
    embedded[1] = np.nan
    batch = world.batch("s0e0", task, EVERYTHING).observed
    few = replace(batch, seeds=batch.seeds[:4])
    few = replace(
        few,
        views=tuple(
            View(v.times[:4], {k: t.__class__(t.values[:4], t.valid[:4]) for k, t in v.tracks.items()}) for v in few.views
        ),
    )
    rows = InputMaker(task, InputOptions(), lambda _: embedded)(few)
    assert rows.layout.history == 0 and rows.layout.width == 3
    assert rows.usable.tolist() == [True, False, True, True] and rows.base.shape == (4, 3)
