"""Intervals for few independent clusters: the cluster is the unit of inference, never the window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from harness.metrics.base import Metric, State, number

CONFIDENCE = 0.95
POWER = 0.80
MIN_CLUSTERS = 3


@dataclass(frozen=True)
class Estimate:
    """A value over G independent clusters.

    Attributes:
        value: None where no cluster has rows.
        ci_low: Lower end of the 95 % interval; None, not 0, where it cannot be estimated (G <= 2).
        ci_high: Upper end.
        standard_error: Of the value; None as the interval.
        n_clusters: G, clusters with rows.
        mde: Smallest difference that a test of this standard error finds with 80 % power; None as the interval.
        per_cluster: Value of each cluster, in the order of the states; None where a cluster has none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    standard_error: float | None
    n_clusters: int
    mde: float | None
    per_cluster: tuple[float | None, ...]


def cluster_states(states: State, clusters: Sequence[str]) -> State:
    """Sums of the states of each cluster's episodes.

    Args:
        states: (..., E, S) states of E episodes.
        clusters: Cluster of each episode.

    Returns:
        (..., G, S); the rows follow `sorted(set(clusters))`.
    """
    names, position = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(position) != states.shape[-2]:
        raise ValueError(f"{len(position)} cluster ids for {states.shape[-2]} episodes")
    order = np.argsort(position, kind="stable")
    starts = np.searchsorted(position[order], np.arange(len(names)))
    return np.asarray(np.add.reduceat(states[..., order, :], starts, axis=-2), np.float64)


def estimate(metric: Metric, states: State, test_train_ratio: float = 0.0) -> Estimate:
    """Value and 95 % interval over clusters.

    A metric that is a mean over rows: mean of the clusters' values, t interval. Any other: value of the pooled state, and the
    interval from the jackknife that leaves one cluster out. Clusters without rows do not count.

    Args:
        metric: What turns states into values.
        states: (G, S) one state per cluster.
        test_train_ratio: Test clusters per training cluster of a fold, where the model was fitted again for every fold: such
            folds share training data, and the variance s^2 / G of the value becomes (1 / G + ratio) s^2 (Nadeau and Bengio 2003).
            Leaving one of G sessions out gives 1 / (G - 1). 0 where one frozen model answers all clusters.
    """
    values = metric.value(states)
    kept = np.isfinite(values) if metric.mean_over_rows else states.any(axis=-1)
    n = int(kept.sum())
    per_cluster = tuple(number(value) for value in values)
    if n == 0:
        return Estimate(None, None, None, None, 0, None, per_cluster)
    if metric.mean_over_rows:
        value, error = _mean(values[kept]), _deviation(values[kept]) / np.sqrt(n)
    else:
        pooled = states[kept].sum(axis=0)
        value, left_out = float(metric.value(pooled)), metric.value(pooled - states[kept])
        error = _deviation(left_out) * (n - 1) / np.sqrt(n)
    error *= np.sqrt(1 + n * test_train_ratio)
    if n < MIN_CLUSTERS or not np.isfinite([value, error]).all():
        return Estimate(number(value), None, None, None, n, None, per_cluster)
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1) * error)
    mde = half + float(student_t.ppf(POWER, n - 1) * error)
    return Estimate(value, value - half, value + half, float(error), n, mde, per_cluster)


def mean_interval(values: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """Mean of (G,) clusters and its 95 % t interval; no interval below three clusters, nothing without any."""
    if not len(values):
        return None, None, None
    mean = _mean(values)
    if len(values) < MIN_CLUSTERS:
        return mean, None, None
    half = float(student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * _deviation(values) / np.sqrt(len(values))
    return mean, float(mean - half), float(mean + half)


def skill(value: float | None, floor: float | None, ceiling: float | None) -> float | None:
    """(value - floor) / (ceiling - floor): 0 at the floor, 1 at the ceiling, below 0 under the floor.

    None where one of the three is unknown or floor and ceiling coincide.
    """
    if value is None or floor is None or ceiling is None or abs(ceiling - floor) < 1e-12:
        return None
    return number((value - floor) / (ceiling - floor))


def _mean(values: NDArray[np.float64]) -> float:
    """The mean; exact where all values are equal."""
    return float(values[0] if np.ptp(values) == 0 else values.mean())


def _deviation(values: NDArray[np.float64]) -> float:
    """Sample standard deviation; exactly 0 where all values are equal or there is only one."""
    return 0.0 if len(values) < 2 or np.ptp(values) == 0 else float(values.std(ddof=1))
