"""Which of two branches is better, and whether that can be told: contrasts, verdicts and rank intervals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import Metric, State
from harness.stats import (
    CONFIDENCE,
    MIN_CLUSTERS,
    MIN_TESTED,
    clusters_needed,
    detectable,
    half_width,
    holm,
    mean_contributions,
    sign_flip,
    smallest_p,
    support,
)

Verdict = Literal["better", "worse", "tied", "inconclusive"]
ALPHA = 0.05
MARGIN = 0.02
"""What counts as equal: two points of a metric that lives on 0 .. 1, else two hundredths of the way from floor to ceiling."""

EQUAL = 1e-9
"""Values that differ by less, in shares of themselves, are equal."""
ORIENTATION = "differences are a less b in the better direction of the metric: above 0 a is better"


@dataclass(frozen=True)
class Side:
    """One branch of a comparison.

    Attributes:
        name: Branch id.
        states: (R, G, S) one state per seed and cluster, or (G, S) of one seed; all zero where it has no rows.
        test_train_ratio: As in `harness.stats.estimate`: 0 where one frozen model answers all clusters.
    """

    name: str
    states: State
    test_train_ratio: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """The paired difference of two branches, a - b, signed so that above 0 means that a is better.

    Attributes:
        a: Branch.
        b: Branch it is compared with.
        difference: None where they share no cluster.
        ci_low: Lower end of the 95 % interval; None below three clusters.
        ci_high: Upper end.
        standard_error: Of the difference; None as the interval.
        p: Two-sided, by the sign-flip test.
        p_adjusted: Over the family the contrast was asked in.
        verdict: On a. `better` and `worse` need an interval off zero and an adjusted p of at most 5 %; `tied` a 90 % interval
            within the margin (two one-sided tests); all else is `inconclusive`, and so is everything below six clusters.
        leaning: `better` or `worse` by the point value of an inconclusive contrast; None elsewhere.
        n_clusters: Clusters that both answered.
        mde: Difference that so many clusters find with 80 % power; None below three.
        margin: What counts as equal, in the metric's unit.
        clusters_for_margin: Clusters at which a difference of the margin would be found with 80 % power.
        clusters_for_difference: The same for the difference seen here.
        test: `sign-flip` on the clusters' differences, or on their jackknife pseudo-values where the metric is no mean over rows.
        correction: Of the family: `max-T`, or `holm` where its contrasts stand on different clusters.
    """

    a: str
    b: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    standard_error: float | None
    p: float | None
    p_adjusted: float | None
    verdict: Verdict
    leaning: Literal["better", "worse"] | None
    n_clusters: int
    mde: float | None
    margin: float | None
    clusters_for_margin: int | None
    clusters_for_difference: int | None
    test: str
    correction: str

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def margin_of(metric: Metric, floor: float | None, ceiling: float, margins: dict[str, float] | None = None) -> float | None:
    """The difference below which two branches count as equal, in the metric's unit.

    Args:
        metric: Its `margin` where it says one.
        floor: Value of the task's floor.
        ceiling: Of the task.
        margins: Metric name -> margin, as the run's options say; they come first.
    """
    if margins and metric.name in margins:
        return margins[metric.name]
    if metric.margin is not None:
        return metric.margin
    return None if floor is None or floor == ceiling else MARGIN * abs(ceiling - floor)


def compare(metric: Metric, pairs: Sequence[tuple[Side, Side]], margin: float | None = None, seed: int = 0) -> list[Contrast]:
    """One family of paired contrasts, in the order of the pairs.

    All contrasts that stand on the same clusters share sign vectors (max-T over the family); where they do not, Holm.

    Args:
        metric: Of the states.
        pairs: (a, b); states of all sides have the same G and S.
        margin: What counts as equal; None = no tie can be found.
        seed: Of the sign vectors above 16 clusters.
    """
    supports = [support(metric, a.states) & support(metric, b.states) for a, b in pairs]
    groups: dict[bytes, list[int]] = {}
    for i, there in enumerate(supports):
        groups.setdefault(there.tobytes(), []).append(i)
    found: dict[int, tuple[float, NDArray[np.float64]]] = {}
    p: NDArray[np.float64] = np.ones(len(pairs))
    adjusted: NDArray[np.float64] = np.ones(len(pairs))
    for members in groups.values():
        kept = supports[members[0]]
        if not kept.any():
            continue
        sides = {id(side): side for i in members for side in pairs[i]}
        known = {key: mean_contributions(metric, side.states[..., kept, :]) for key, side in sides.items()}
        sign = 1.0 if metric.direction == "up" else -1.0
        for i in members:
            (a, of_a), (b, of_b) = (known[id(side)] for side in pairs[i])
            found[i] = float(_apart(sign * np.asarray(a), sign * np.asarray(b))), _apart(sign * of_a, sign * of_b)
        if int(kept.sum()) >= MIN_CLUSTERS:
            p[members], adjusted[members] = sign_flip(_testable(np.stack([found[i][1] for i in members], axis=1)), seed)
    shared = len(groups) <= 1
    adjusted = adjusted if shared else holm(p)
    correction = "max-T" if shared else "holm"
    return [
        _contrast(metric, pair, found.get(i), float(p[i]), float(adjusted[i]), margin, correction) for i, pair in enumerate(pairs)
    ]


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a - b, exactly 0 where they are equal but for rounding: equal branches sum their rows in other orders."""
    return np.where(np.abs(a - b) <= EQUAL * np.maximum(np.abs(a), np.abs(b)), 0.0, a - b)


def _testable(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a value hangs on one cluster (no value without it) there are no pseudo-values and nothing to test."""
    return np.where(np.isfinite(differences).all(axis=0), differences, 0.0)


def _contrast(
    metric: Metric,
    pair: tuple[Side, Side],
    found: tuple[float, NDArray[np.float64]] | None,
    p: float,
    adjusted: float,
    margin: float | None,
    correction: str,
) -> Contrast:
    a, b = pair
    test = "sign-flip" if metric.mean_over_rows else "sign-flip on jackknife pseudo-values"
    value, parts = found or (np.nan, np.zeros(0))
    n = len(parts)
    known = bool(np.isfinite(value))
    if n < MIN_CLUSTERS or not known or not np.isfinite(parts).all():
        leaning = _leaning(value) if known else None
        difference = value if known else None
        none = (None,) * 5
        return Contrast(a.name, b.name, difference, *none, "inconclusive", leaning, n, None, margin, None, None, test, correction)
    deviation = 0.0 if np.ptp(parts) == 0 else float(parts.std(ddof=1))
    # Folds that were fitted again share training data (Nadeau and Bengio 2003).
    widened = deviation * np.sqrt(1 + n * max(a.test_train_ratio, b.test_train_ratio))
    error = widened / np.sqrt(n)
    half = half_width(error, n)
    verdict = decide(value, error, n, adjusted, margin)
    return Contrast(
        a.name,
        b.name,
        value,
        value - half,
        value + half,
        float(error),
        p,
        adjusted,
        verdict,
        _leaning(value) if verdict == "inconclusive" else None,
        n,
        detectable(error, n),
        margin,
        clusters_needed(widened, margin) if margin else None,
        clusters_needed(widened, value),
        test,
        correction,
    )


def decide(value: float, error: float, n: int, p_adjusted: float, margin: float | None) -> Verdict:
    """The verdict on a difference, signed so that above 0 is better, with this standard error over n clusters; see `Contrast`."""
    if p_adjusted <= ALPHA and abs(value) > half_width(error, n):
        return "better" if value > 0 else "worse"
    if n >= MIN_TESTED and margin is not None and abs(value) + half_width(error, n, 2 * CONFIDENCE - 1) < margin:
        return "tied"
    return "inconclusive"


def _leaning(value: float) -> Literal["better", "worse"] | None:
    return None if value == 0 else "better" if value > 0 else "worse"


def rank_intervals(names: Sequence[str], contrasts: Sequence[Contrast]) -> dict[str, tuple[int, int]]:
    """Branch -> [1 + those that are significantly better, K - those that are significantly worse].

    Args:
        names: The K branches that are ranked.
        contrasts: All pairs of them, each once.
    """
    better: dict[str, int] = dict.fromkeys(names, 0)
    worse: dict[str, int] = dict.fromkeys(names, 0)
    for contrast in contrasts:
        if contrast.verdict in ("better", "worse") and contrast.a in better and contrast.b in better:
            up, down = (contrast.a, contrast.b) if contrast.verdict == "better" else (contrast.b, contrast.a)
            better[down] += 1
            worse[up] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def power_line(n: int) -> str:
    """What so many clusters can show at all."""
    if n < MIN_CLUSTERS:
        return f"G = {n}: no interval and no verdict (three clusters are the least)"
    reachable = smallest_p(n)
    if reachable > ALPHA:
        return f"G = {n}: underpowered, the best attainable p is {reachable:.4g}; no winner can be told"
    return f"G = {n}: the best attainable p is {reachable:.4g}"
