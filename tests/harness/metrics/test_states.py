"""What holds for every metric: states add, shards do not matter, `value` takes any leading axes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets
from harness.boundaries import Boundaries
from harness.metrics.base import MetricContext, metric_class

PATHS = [
    "harness.metrics.macro_f1:MacroF1",
    "harness.metrics.boundary_f1:BoundaryF1",
    "harness.metrics.micro_f1:MicroF1",
    "harness.metrics.retrieval:ReciprocalRank",
    "harness.metrics.mpjpe:JointError",
    "harness.metrics.mae:MeanAbsoluteError",
    "harness.metrics.rmse:RootMeanSquareError",
    "harness.metrics.r2:R2",
    "harness.metrics.chunk_error:ChunkError",
]
# Metrics whose state of an episode is the sum over its rows, as long as no row fails.
BY_ROW = [p for p in PATHS if not any(word in p for word in ("retrieval", "rmse", "boundary"))]
CLASSES = ("a", "b", "c", "transition")
CONTEXT = MetricContext(
    classes=CLASSES,
    seen=np.array([True, True, False, True]),
    shape=(2, 3),
    train_mean=np.arange(6) / 3,
    train_std=np.full(6, 1.5),
    groups={"left": [0, 1], "right": [2]},
)


def episode(rng, n, failures):
    """n rows that have everything any metric needs."""
    status = np.where(rng.random(n) < failures, Status.TIMEOUT.value, Status.OK.value)
    truth = rng.normal(size=(n, 6)).astype(np.float32)
    targets = Targets(
        np.ones(n, bool),
        labels=rng.integers(0, 4, n).astype(np.int32),
        label_sets=rng.random((n, 4)) < 0.5,
        vocabulary=CLASSES,
        values=truth,
        mask=rng.random((n, 6)) < 0.8,
        reference=truth + rng.normal(size=(n, 6)).astype(np.float32),
        item=rng.integers(0, n + 1, n).astype(np.int32),
        boundaries=Boundaries(rng.random(n), rng.integers(0, 9, (n, 2)) / 8, rng.integers(0, 2, n).astype(np.int32)),
    )
    predictions = Predictions(
        status,
        labels=rng.integers(-1, 4, n).astype(np.int32),
        label_sets=rng.random((n, 4)) < 0.5,
        vocabulary=CLASSES,
        values=truth + rng.normal(size=(n, 6)).astype(np.float32),
        query=rng.normal(size=(n, 5)).astype(np.float32),
        key=rng.normal(size=(n, 5)).astype(np.float32),
    )
    return targets, predictions


@pytest.mark.parametrize("path", PATHS)
def test_shape_of_states_and_values(path):
    metric = metric_class(path)(CONTEXT)
    rng = np.random.default_rng(1)
    table = np.array([[metric.state(*episode(rng, n, 0.2)) for n in (3, 8, 5)] for _ in range(2)])
    assert table.dtype == np.float64 and np.isfinite(table).all()
    values = metric.value(table)
    assert values.shape == (2, 3)
    np.testing.assert_array_equal(values, [[metric.value(state) for state in row] for row in table])
    # No rows: a state of zeros, no value.
    assert not metric.state(*episode(rng, 0, 0.0)).any()
    assert np.isnan(metric.value(np.zeros(table.shape[-1])))


@pytest.mark.parametrize("path", PATHS)
def test_details_are_json_values(path):
    metric = metric_class(path)(CONTEXT)
    state = metric.state(*episode(np.random.default_rng(2), 6, 0.2))
    for details in (metric.details(state), metric.details(np.zeros_like(state))):
        numbers = [v for d in details.values() for v in (d.values() if isinstance(d, dict) else [d])]
        assert all(number is None or (type(number) is float and np.isfinite(number)) for number in numbers)


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 6), min_size=2, max_size=5), cut=st.integers(0, 5))
def test_any_sharding_by_episode_gives_the_same_value(path, seed, sizes, cut):
    metric = metric_class(path)(CONTEXT)
    rng = np.random.default_rng(seed)
    states = np.array([metric.state(*episode(rng, n, 0.3)) for n in sizes])
    whole = metric.value(states.sum(axis=0))
    shards = states[:cut].sum(axis=0) + states[cut:][::-1].sum(axis=0)
    assert metric.value(shards) == pytest.approx(whole, nan_ok=True, rel=1e-9, abs=1e-9)
    # Twice the same rows weigh the same.
    assert metric.value(2 * states.sum(axis=0)) == pytest.approx(whole, nan_ok=True, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("path", BY_ROW)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 9), cut=st.integers(0, 9))
def test_rows_add_up(path, seed, n, cut):
    metric = metric_class(path)(CONTEXT)
    targets, predictions = episode(np.random.default_rng(seed), n, failures=0.0)
    first, rest = np.arange(n)[:cut], np.arange(n)[cut:]
    parts = [metric.state(targets.take(i), predictions.take(i)) for i in (first, rest)]
    assert sum(parts).tolist() == pytest.approx(metric.state(targets, predictions).tolist(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_the_order_of_rows_does_not_matter(path):
    metric = metric_class(path)(CONTEXT)
    rng = np.random.default_rng(3)
    targets, predictions = episode(rng, 12, failures=0.3)
    order = rng.permutation(12)
    shuffled = metric.state(targets.take(order), predictions.take(order))
    assert shuffled.tolist() == pytest.approx(metric.state(targets, predictions).tolist())


@pytest.mark.parametrize("path", PATHS)
def test_the_truth_scores_best(path):
    metric = metric_class(path)(CONTEXT)
    rng = np.random.default_rng(4)
    targets, predictions = episode(rng, 10, failures=0.0)
    vectors = np.eye(11, dtype=np.float32)[targets.item]
    oracle = Predictions(
        predictions.status,
        labels=targets.labels,
        label_sets=targets.label_sets,
        vocabulary=CLASSES,
        values=targets.values,
        query=vectors,
        key=vectors,
    )
    assert metric.value(metric.state(targets, oracle)) == (1.0 if metric.direction == "up" else 0.0)
