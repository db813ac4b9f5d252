"""How often the 95 % intervals of `harness.compare` hold the truth, and how often its tests cry wolf, with few clusters.

    .venv/bin/python ops/bench/coverage.py [--repetitions 2000] [--seed 0]

A second table says how often a difference as large as the detectable effect (that of the t test, 80 %) gets its verdict, which
needs the sign-flip test too.

Simulated pairs of branches without a true difference. `balanced`: 64 windows in every episode, each right or wrong; the paired
difference of an episode is normal with a standard deviation of 0.10. `skewed`: 16 to 256 windows per episode, and differences
from a shifted exponential of the same mean and deviation. Beside ours stands what is usually done: windows taken as independent.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.compare import ALPHA, Side, compare
from harness.metrics.base import Metric, MetricContext
from harness.metrics.macro_f1 import MacroF1
from harness.metrics.mae import MeanAbsoluteError
from harness.stats import detectable

CLUSTERS = (3, 5, 8, 16)
WINDOWS = 64
SPREAD = 0.10  # standard deviation of an episode's paired difference
CLASSES = 3
TESTED = (5, 6, 8, 14, 20)  # clusters of the table of power
FAMILIES = (1, 3, 6)
Z = NormalDist().inv_cdf(0.975)


@dataclass
class Counts:
    """Out of the repetitions: intervals that hold 0 (ours, and by windows), p at most 5 % (alone, of three), verdicts."""

    ours: int = 0
    by_windows: int = 0
    p_alone: int = 0
    p_family: int = 0
    verdicts: int = 0


def simulate(metric: str, clusters: int, *, skewed: bool, repetitions: int, seed: int = 0) -> Counts:
    """Counts of one cell of the table.

    Args:
        metric: `accuracy` (a mean over rows) or `macro_f1` (no mean: jackknife and pseudo-values).
        clusters: G.
        skewed: Unequal episodes and skewed differences.
        repetitions: Simulated comparisons.
        seed: Of everything.
    """
    rng = np.random.default_rng([seed, clusters, int(skewed), metric == "macro_f1"])
    counts = Counts()
    for _ in range(repetitions):
        found, naive = _accuracy(rng, clusters, skewed) if metric == "accuracy" else _macro_f1(rng, clusters, skewed)
        measured, sides = found
        reference, *others = sides
        [one] = compare(measured, [(others[0], reference)])
        family = compare(measured, [(side, reference) for side in others])
        assert one.ci_low is not None and one.ci_high is not None and one.p is not None
        counts.ours += one.ci_low <= 0 <= one.ci_high
        counts.by_windows += naive
        counts.p_alone += one.p <= ALPHA
        counts.p_family += any(c.p_adjusted is not None and c.p_adjusted <= ALPHA for c in family)
        counts.verdicts += any(c.verdict in ("better", "worse") for c in family)
    return counts


def _sizes(rng: np.random.Generator, clusters: int, skewed: bool) -> NDArray[np.int64]:
    return np.exp(rng.uniform(np.log(16), np.log(256), clusters)).astype(np.int64) if skewed else np.full(clusters, WINDOWS)


def _shifts(rng: np.random.Generator, clusters: int, skewed: bool) -> NDArray[np.float64]:
    return SPREAD * (rng.exponential(1.0, clusters) - 1.0) if skewed else rng.normal(0.0, SPREAD, clusters)


def _accuracy(rng: np.random.Generator, clusters: int, skewed: bool) -> tuple[tuple[Metric, list[Side]], bool]:
    """A reference and three branches that are as good; errors of 0 or 1. True where the interval by windows holds 0."""
    sizes = _sizes(rng, clusters, skewed)
    rate = rng.uniform(0.4, 0.6, clusters)
    wrong = [rng.binomial(sizes, rate)]
    wrong += [rng.binomial(sizes, np.clip(rate + _shifts(rng, clusters, skewed), 0, 1)) for _ in range(3)]
    sides = [Side(str(i), np.stack([count, sizes], axis=1).astype(float)) for i, count in enumerate(wrong)]
    n, (a, b) = sizes.sum(), (wrong[1].sum() / sizes.sum(), wrong[0].sum() / sizes.sum())
    error = math.sqrt((a * (1 - a) + b * (1 - b)) / n)
    return (MeanAbsoluteError(MetricContext()), sides), abs(a - b) <= Z * error


def _macro_f1(rng: np.random.Generator, clusters: int, skewed: bool) -> tuple[tuple[Metric, list[Side]], bool]:
    """The same with classes of unequal frequency and a hit rate per episode; by windows there is a formula for accuracy alone."""
    sizes = _sizes(rng, clusters, skewed)
    frequency = rng.dirichlet(np.full(CLASSES, 4.0), clusters)
    rate = rng.uniform(0.5, 0.7, clusters)
    rates = [rate] + [np.clip(rate + _shifts(rng, clusters, skewed), 0, 1) for _ in range(3)]
    metric = MacroF1(MetricContext(classes=tuple("abc"), seen=np.ones(CLASSES, bool)))
    truths = [rng.choice(CLASSES, size, p=p) for size, p in zip(sizes, frequency, strict=True)]
    sides, hits = [], []
    for i, hit_rate in enumerate(rates):
        states = []
        right = 0
        for truth, p in zip(truths, hit_rate, strict=True):
            guess = np.where(rng.random(len(truth)) < p, truth, rng.integers(0, CLASSES, len(truth)))
            hit = guess == truth
            right += int(hit.sum())
            states.append(np.concatenate([np.bincount(c, minlength=CLASSES) for c in (truth[hit], guess[~hit], truth[~hit])]))
        sides.append(Side(str(i), np.array(states, float)))
        hits.append(right)
    n, (a, b) = sizes.sum(), (hits[1] / sizes.sum(), hits[0] / sizes.sum())
    error = math.sqrt((a * (1 - a) + b * (1 - b)) / n)
    return (metric, sides), abs(a - b) <= Z * error


def power(clusters: int, family: int, repetitions: int, seed: int = 0) -> float:
    """Share of repetitions in which a branch that is better by the detectable effect is called `better`.

    Args:
        clusters: G.
        family: Branches compared with the reference; the others are as good as it.
        repetitions: Simulated comparisons.
        seed: Of everything.
    """
    rng = np.random.default_rng([seed, clusters, family])
    metric = MeanAbsoluteError(MetricContext())
    better = np.zeros(family)
    better[0] = detectable(SPREAD / math.sqrt(clusters), clusters)
    found = 0
    for _ in range(repetitions):
        reference = Side("reference", np.stack([np.full(clusters, 10.0), np.ones(clusters)], axis=1))
        errors = 10.0 - better[:, None] + rng.normal(0.0, SPREAD, (family, clusters))
        sides = [Side(str(i), np.stack([row, np.ones(clusters)], axis=1)) for i, row in enumerate(errors)]
        found += compare(metric, [(side, reference) for side in sides])[0].verdict == "better"
    return found / repetitions


def monte_carlo_error(share: float, repetitions: int) -> float:
    """Half of the 99.9 % range of a share that was estimated from so many repetitions."""
    return NormalDist().inv_cdf(0.9995) * math.sqrt(share * (1 - share) / repetitions)


def table(repetitions: int, seed: int) -> Iterator[str]:
    """Lines of the coverage table, in per cent."""
    yield "| metric | generator | G | interval | by windows | p <= 5 % | family of 3 | better or worse |"
    yield "|---|---|---|---|---|---|---|---|"
    for metric in ("accuracy", "macro_f1"):
        for skewed in (False, True):
            for clusters in CLUSTERS:
                counts = simulate(metric, clusters, skewed=skewed, repetitions=repetitions, seed=seed)
                shares = (f"{100 * getattr(counts, field.name) / repetitions:.1f}" for field in fields(counts))
                yield f"| {metric} | {'skewed' if skewed else 'balanced'} | {clusters} | {' | '.join(shares)} |"


def power_table(repetitions: int, seed: int) -> Iterator[str]:
    """Lines of the table of power, in per cent."""
    yield f"| G | {' | '.join(f'family of {family}' if family > 1 else 'alone' for family in FAMILIES)} |"
    yield "|---" * (1 + len(FAMILIES)) + "|"
    for clusters in TESTED:
        yield f"| {clusters} | {' | '.join(f'{100 * power(clusters, m, repetitions, seed):.0f}' for m in FAMILIES)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for line in table(asked.repetitions, asked.seed):
        print(line, flush=True)
    error = 100 * monte_carlo_error(0.95, asked.repetitions)
    print()
    for line in power_table(asked.repetitions, asked.seed):
        print(line, flush=True)
    print(f"\nper cent of {asked.repetitions} repetitions; Monte-Carlo error of 95 %: {error:.1f} (99.9 %)")


if __name__ == "__main__":
    main()
