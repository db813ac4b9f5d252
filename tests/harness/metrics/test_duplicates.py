"""Windows that stand there twice change no value and no interval, whatever the metric."""

import numpy as np
import pytest

from harness.answers import Predictions, Status, Targets, all_ok
from harness.listing import listing
from harness.metrics.base import Metric, MetricContext, metric_class
from harness.stats import estimate
from harness.tasks import TASKS, get_task

WORDS = ("a", "b", "c")
SHAPE = {"psnr": (8, 32, 32, 3), "hand_action_error": (2, 59), "mpjpe": (2, 4, 3), "chunk_error": (3, 4)}
PATHS = sorted({get_task(task).metric for task in TASKS})
OTHERS = {"harness.metrics.latent_error:LatentError": "vector", "harness.metrics.validity:Validity": "label"}


def rows(answer: str, width: int, rng: np.random.Generator, n: int) -> tuple[Targets, Predictions]:
    valid, status = np.ones(n, bool), all_ok(n)
    status[rng.random(n) < 0.2] = Status.TIMEOUT.value
    if answer == "label":
        truth = Targets(valid, labels=rng.integers(0, 3, n).astype(np.int32), vocabulary=WORDS)
        return truth, Predictions(status, labels=rng.integers(0, 3, n).astype(np.int32), vocabulary=WORDS)
    if answer == "label_set":
        truth = Targets(valid, label_sets=rng.random((n, 3)) < 0.5, vocabulary=WORDS)
        return truth, Predictions(status, label_sets=rng.random((n, 3)) < 0.5, vocabulary=WORDS)
    if answer == "retrieval":
        key = rng.normal(size=(n, 4)).astype(np.float32)
        truth = Targets(valid, item=rng.integers(0, n, n).astype(np.int32))
        return truth, Predictions(status, query=key + rng.normal(size=key.shape).astype(np.float32), key=key)
    values = rng.uniform(0, 200, (n, width)).astype(np.float32)
    truth = Targets(valid, values=values, reference=values + 5)
    return truth, Predictions(status, values=values + rng.normal(0, 20, values.shape).astype(np.float32))


def made(path: str) -> tuple[Metric, str, int]:
    cls = metric_class(path)
    answer = OTHERS.get(path) or next(get_task(t).answer for t in TASKS if get_task(t).metric == path)
    shape = SHAPE.get(cls.name, (4,)) if answer == "vector" else ()
    width = int(np.prod(shape)) if shape else 0
    flags = np.ones(3, bool)
    return cls(MetricContext(WORDS, flags, shape, np.full(width, 90.0), np.full(width, 60.0), {}, ~flags)), answer, width


@pytest.mark.parametrize("path", [*PATHS, *OTHERS])
def test_every_window_twice(path: str) -> None:
    metric, answer, width = made(path)
    rng = np.random.default_rng(3)
    clusters = [rows(answer, width, rng, int(n)) for n in rng.integers(5, 12, 5)]
    once = np.stack([metric.state(truth, answers) for truth, answers in clusters])
    index = [np.repeat(np.arange(len(truth)), 2) for truth, _ in clusters]
    pairs = [(truth.take(i), answers.take(i)) for (truth, answers), i in zip(clusters, index, strict=True)]
    twice = np.stack([metric.state(truth, answers) for truth, answers in pairs])
    a, b = estimate(metric, once), estimate(metric, twice)
    for name in ("value", "ci_low", "ci_high", "mde"):
        assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-6), name
    assert a.ci_low < a.value < a.ci_high


def test_no_metric_is_left_out() -> None:
    assert {row["metric"] for row in listing("metrics")} <= {metric_class(path).name for path in (*PATHS, *OTHERS)}
