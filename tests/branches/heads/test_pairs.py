"""How well one view predicts the other: the evidence, on train and on new pairs."""

import numpy as np
import pytest
from heads_world import SPEC, World, tasks

from branches.heads.config import RidgeOptions
from branches.heads.gather import gather
from branches.heads.inputs import InputMaker
from branches.heads.pairs import fit_cross_prediction
from branches.heads.prepare import prepare
from harness.branch import Needs


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Misaligned and aligned pairs of six episodes, and two new ones."""
    world, (task,) = World(sessions=4), tasks("misalignment_detection")
    options = RidgeOptions()
    maker = InputMaker(task, options)
    folder = tmp_path_factory.mktemp("pairs")
    train = world.set(*[e for e in world.episodes if e < "s3"])
    table = gather(train, (task,), {task.id: maker}, lambda t: Needs(features=True), folder)
    prepared = prepare(table.rows[""], table.layouts[""], table.usable, options, folder)
    labels = table.tasks[task.id].labels
    found = fit_cross_prediction(prepared.rows, table.layouts[""], labels, table.usable, table.cluster, options)
    new = world.batch("s3e0", task, Needs(features=True))
    raw = maker(new.observed).values
    return found, labels, prepared, table.layouts[""], raw, new.targets.labels, table


def evidence(fitted, raw):
    (maps, _), _, prepared, layout, *_ = fitted
    x = prepared.scaler(raw)
    first, second = layout.view_columns(0), layout.view_columns(1)
    return maps(x[:, first], x[:, second], raw[:, second])


def test_it_tells_aligned_from_shifted_on_pairs_the_maps_have_not_seen(fitted):
    """Columns: each block of the second view, by the map of class 0 (aligned), then of class 1 (shifted)."""
    (_, on_train), labels, *_, raw, truth, _ = fitted
    for cosines, codes in ((on_train, labels), (evidence(fitted, raw), truth)):
        aligned = 0 if codes is labels else 1  # sorted words in train, the order of the task in a batch
        by_aligned_map = cosines[:, :2].mean(axis=1)
        gap = by_aligned_map[codes == aligned].mean() - by_aligned_map[codes != aligned].mean()
        assert gap > 0.4


def test_training_pairs_are_judged_as_strictly_as_new_ones(fitted):
    """By the map without their own cluster: the evidence of train looks like that of a new session, not better."""
    (_, on_train), labels, *_, raw, truth, _ = fitted
    seen, new = on_train[labels == 0, :2].mean(), evidence(fitted, raw)[truth == 1, :2].mean()
    assert seen < new + 0.15


def test_a_block_that_was_not_measured_says_nothing(fitted):
    *_, layout, raw, _, _ = fitted
    holes = raw.copy()
    width = layout.views[1][0][1]
    start = layout.view_columns(1).start
    holes[:, start : start + width] = np.nan
    whole, without = evidence(fitted, raw), evidence(fitted, holes)
    blocks = len(layout.views[1])
    assert (without[:, ::blocks] == 0).all() and (whole[:, ::blocks] != 0).any()
    np.testing.assert_allclose(without[:, 1], whole[:, 1])


def test_a_single_group_cannot_judge(fitted):
    _, labels, prepared, layout, *_, table = fitted
    assert SPEC.stride == 5
    one = np.zeros(len(labels), np.int64)
    assert fit_cross_prediction(prepared.rows, layout, labels, table.usable, one, RidgeOptions()) is None
