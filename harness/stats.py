"""Intervals and tests for few independent clusters: the cluster is the unit of inference, never the window.

G is the number of clusters throughout. Every function is pure arithmetic on (G,) or (G, m) numbers or on states.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from harness.episode import BoolArray
from harness.metrics.base import Metric, State, number

CONFIDENCE = 0.95
POWER = 0.80
MIN_CLUSTERS = 3
"""Fewer have no interval."""
MIN_TESTED = 6
"""With fewer no sign-flip test reaches 5 %: its smallest p is 2 / 2^G."""
EXACT_CLUSTERS = 16
"""Up to so many all sign vectors are tried; above it `FLIPS` seeded ones."""
FLIPS = 100_000
_BLOCK = 8192  # sign vectors in memory at a time
_TIE = 1e-9  # statistics closer than this are equal but for rounding


@dataclass(frozen=True)
class Estimate:
    """A value over G independent clusters.

    Attributes:
        value: None where no cluster has rows.
        ci_low: Lower end of the 95 % interval, not beyond what the metric can be; None, not 0, where it cannot be estimated
            (G <= 2). Where every cluster stands at the metric's best or worst there is no spread to make one of, and it reaches
            3 / G of the metric's range (rule of three on clusters).
        ci_high: Upper end.
        standard_error: Of the value; None as the interval.
        n_clusters: G, clusters with rows.
        mde: Smallest difference that a t test of this standard error finds with 80 % power; None as the interval, and without
            any spread.
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


def estimate(metric: Metric, states: State, test_train_ratio: float = 0.0, *, by_construction: bool = False) -> Estimate:
    """Value and 95 % interval over clusters.

    A metric that is a mean over rows: mean of the clusters' values, t interval. Any other: value of the pooled state, and the
    interval from the jackknife that leaves one cluster out. Clusters without rows do not count.

    Args:
        metric: What turns states into values.
        states: (G, S) one state per cluster, or (R, G, S) by seed: a value is taken per seed and averaged, never a value of the
            seeds' mean state.
        test_train_ratio: Test clusters per training cluster of a fold, where the model was fitted again for every fold: such
            folds share training data, and the variance s^2 / G of the value becomes (1 / G + ratio) s^2 (Nadeau and Bengio 2003).
            Leaving one of G sessions out gives 1 / (G - 1). 0 where one frozen model answers all clusters.
        by_construction: The rows were made of the targets: where their value has no spread, none is to be expected.
    """
    kept = support(metric, states)
    n = int(kept.sum())
    per_seed = metric.value(states.reshape(-1, *states.shape[-2:]))
    per_cluster = tuple(number(value) for value in per_seed.mean(axis=0))
    if n == 0:
        return Estimate(None, None, None, None, 0, None, per_cluster)
    value, parts = mean_contributions(metric, states[..., kept, :])
    error = _deviation(parts) / np.sqrt(n) * np.sqrt(1 + n * test_train_ratio)
    if n < MIN_CLUSTERS or not np.isfinite([value, error]).all():
        return Estimate(number(value), None, None, None, n, None, per_cluster)
    low, high = metric.limits
    if error == 0 and not by_construction and value in (low, high) and np.isfinite([low, high]).all():
        half, reach = (high - low) * min(1.0, 3 / n), None
    else:
        half, reach = half_width(error, n), detectable(error, n)
    return Estimate(value, max(value - half, low), min(value + half, high), float(error), n, reach, per_cluster)


def present(metric: Metric, states: State) -> BoolArray:
    """(..., G) True where a cluster has rows that count."""
    return np.asarray(np.isfinite(metric.value(states)) if metric.mean_over_rows else states.any(axis=-1), bool)


def support(metric: Metric, states: State) -> BoolArray:
    """(G,) True where a cluster has rows for every seed of (G, S) or (R, G, S) states."""
    there = present(metric, states)
    return np.asarray(there.reshape(-1, there.shape[-1]).all(axis=0), bool)


def mean_contributions(metric: Metric, states: State) -> tuple[float, NDArray[np.float64]]:
    """Value and (G,) contributions of (G, S) or (R, G, S) states, averaged over seeds; all clusters have rows."""
    values, parts = contributions(metric, states)
    return _mean(values.reshape(-1)), parts.reshape(-1, parts.shape[-1]).mean(axis=0)


def contributions(metric: Metric, states: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each cluster adds to the value: the difference of two branches' contributions is all that a paired test needs.

    A metric that is a mean over rows: the clusters' values. Any other: the jackknife's pseudo-values G v - (G - 1) v_(g), v_(g)
    being the pooled value without cluster g. Their standard error s / sqrt(G) is that of the jackknife, and pseudo-values of a
    difference are differences of pseudo-values.

    Args:
        metric: What turns states into values.
        states: (..., G, S) of clusters that all have rows.

    Returns:
        (...) values and (..., G) contributions.
    """
    if metric.mean_over_rows:
        values = metric.value(states)
        return values.mean(axis=-1), values
    n, total = states.shape[-2], states.sum(axis=-2)
    pooled = metric.value(total)
    left_out = metric.value(total[..., None, :] - states)
    # As G v - (G - 1) v_(g); in this order equal clusters differ by nothing.
    return pooled, pooled[..., None] + (n - 1) * (pooled[..., None] - left_out)


@lru_cache(maxsize=4096)
def _t(probability: float, freedom: int) -> float:
    """Quantile of Student's t; a table asks for few of them, and often."""
    return float(student_t.ppf(probability, freedom))


def half_width(error: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Half of a two-sided t interval on n - 1 degrees of freedom around a value with this standard error."""
    return _t((1 + confidence) / 2, n - 1) * float(error)


def detectable(error: float, n: int) -> float:
    """The difference that a two-sided 5 % test with this standard error finds with 80 % power: (t.975 + t.80) SE."""
    return half_width(error, n) + _t(POWER, n - 1) * float(error)


def clusters_needed(deviation: float, difference: float) -> int | None:
    """The least number of clusters with which `difference` is found with 80 % power, at least `MIN_TESTED`.

    Args:
        deviation: Between clusters, of the paired difference.
        difference: To be found; its sign does not matter.

    Returns:
        None where the difference is zero or would need more than a million clusters.
    """
    low, high = MIN_TESTED, 10**6
    size = abs(difference)
    if size == 0 or detectable(deviation / np.sqrt(high), high) > size:
        return None
    while low < high:
        middle = (low + high) // 2
        if detectable(deviation / np.sqrt(middle), middle) <= size:
            high = middle
        else:
            low = middle + 1
    return low


def smallest_p(n: int) -> float:
    """The smallest two-sided p that a sign-flip test of n clusters can reach."""
    return 1.0 if n < 1 else max(2.0 / 2.0 ** min(n, 1000), 1 / (FLIPS + 1) if n > EXACT_CLUSTERS else 0.0)


def sign_flip(differences: NDArray[np.float64], seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-sided sign-flip tests of m paired differences, alone and as one family.

    Under the null hypothesis a cluster's difference is as likely to have the other sign. All contrasts share the sign vectors, so
    that the family keeps their correlation: the adjusted p is the share of vectors under which the largest |T| of the family
    reaches the contrast's own (Westfall and Young 1993, single step). Of n / sum(d^2) mean^2 = T^2 / (T^2 + n - 1) nothing is
    infinite where all differences are equal, and it orders as |T| does.

    Args:
        differences: (G, m).
        seed: Of the sign vectors where there are more than `EXACT_CLUSTERS` clusters.

    Returns:
        (m,) p and (m,) adjusted p.
    """
    n, m = differences.shape
    if n == 0 or m == 0:
        return np.ones(m), np.ones(m)
    largest_of = np.abs(differences).max(axis=0)
    differences = differences / np.where(largest_of > 0, largest_of, 1.0)  # no square leaves the range of a float
    squares = (differences**2).sum(axis=0)
    scaled = differences / np.sqrt(np.where(squares > 0, squares, 1.0))
    # Contrast by contrast: rows of numbers that lie together are squared, compared and counted several times as fast.
    rows = np.ascontiguousarray(scaled.T)
    observed = rows.sum(axis=1) ** 2 - _TIE
    alone, largest = np.zeros(m), []
    for signs in _sign_vectors(n, seed):
        flipped = rows @ signs
        np.square(flipped, out=flipped)
        alone += np.count_nonzero(flipped >= observed[:, None], axis=1)
        largest.append(flipped.max(axis=0))
    of_family = np.sort(np.concatenate(largest))
    tried = len(of_family)
    family = tried - np.searchsorted(of_family, observed)
    drawn = 1 if n > EXACT_CLUSTERS else 0  # the vector that was observed is one of those drawn
    zero = squares == 0
    p, adjusted = ((count + drawn) / (tried + drawn) for count in (alone, family))
    return np.where(zero, 1.0, p), np.where(zero, 1.0, adjusted)


def _sign_vectors(n: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks of (n, b) signs: all whose first sign is + (the others mirror them), or `FLIPS` seeded ones."""
    if n <= EXACT_CLUSTERS:
        for start in range(0, 2 ** (n - 1), _BLOCK):
            codes = np.arange(start, min(start + _BLOCK, 2 ** (n - 1)))
            yield _signs(codes >> np.arange(n)[:, None] & 1)
        return
    drawn = _drawn(n, seed)
    for start in range(0, FLIPS, _BLOCK):
        yield drawn[:, start : start + _BLOCK]


@lru_cache(maxsize=1)
def _drawn(n: int, seed: int) -> NDArray[np.float64]:
    """(n, `FLIPS`) seeded signs: the tasks of a table ask for the same ones, one after the other."""
    return _signs(np.random.default_rng(seed).integers(0, 2, (n, FLIPS), dtype=np.int8))


def _signs(bits: NDArray) -> NDArray[np.float64]:
    return np.asarray(1.0 - 2.0 * bits, np.float64)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) p adjusted by Holm's step-down (1979), for contrasts that cannot share sign vectors."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(stepped, 1.0)
    return out


def rate_interval(hits: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % interval of a rate over G clusters: t interval of the clusters' rates, within [0, 1].

    Where no row or every row is a hit the clusters' rates have no spread, and the rule of three on clusters holds: 3 / G.
    (Clopper and Pearson on a number of effective rows would narrow by windows that stand there twice.)

    Args:
        hits: (G,) hits per cluster.
        rows: (G,) rows per cluster, all above 0.

    Returns:
        None where there are fewer than `MIN_CLUSTERS` clusters.
    """
    g = len(rows)
    if g < MIN_CLUSTERS:
        return None
    if hits.sum() in (0.0, rows.sum()):
        reach = min(1.0, 3 / g)
        return (0.0, reach) if hits.sum() == 0 else (1 - reach, 1.0)
    rates = hits / rows
    half = half_width(_deviation(rates) / np.sqrt(g), g)
    return max(float(rates.mean()) - half, 0.0), min(float(rates.mean()) + half, 1.0)


def seed_error(table: NDArray[np.float64]) -> float | None:
    """Standard error of the mean of (G, S) contributions that also generalises over seeds, clusters and seeds being crossed.

    SE^2 = s_g^2 / G + s_s^2 / S - s_gs^2 / (G S), with the variances of the clusters' means, of the seeds' means, and of what
    neither explains. None below three clusters or three seeds.
    """
    g, s = table.shape
    if min(g, s) < MIN_CLUSTERS:
        return None
    clusters, seeds = table.mean(axis=1), table.mean(axis=0)
    rest = table - clusters[:, None] - seeds + table.mean()
    interaction = (rest**2).sum() / ((g - 1) * (s - 1))
    return float(np.sqrt(max(clusters.var(ddof=1) / g + seeds.var(ddof=1) / s - interaction / (g * s), 0.0)))


def mean_interval(values: NDArray[np.float64]) -> tuple[float | None, float | None, float | None]:
    """Mean of (G,) clusters and its 95 % t interval; no interval below three clusters, nothing without any."""
    if not len(values):
        return None, None, None
    mean = _mean(values)
    if len(values) < MIN_CLUSTERS:
        return mean, None, None
    half = _t((1 + CONFIDENCE) / 2, len(values) - 1) * _deviation(values) / np.sqrt(len(values))
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
