"""The intervals hold what they promise, by simulation; `ops/bench/coverage.py` prints the whole table."""

import runpy
from pathlib import Path

import pytest

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "ops" / "bench" / "coverage.py"))
simulate, monte_carlo_error = BENCH["simulate"], BENCH["monte_carlo_error"]


def check(metric: str, clusters: int, repetitions: int) -> None:
    counts = simulate(metric, clusters, skewed=False, repetitions=repetitions)
    covered, error = counts.ours / repetitions, monte_carlo_error(0.95, repetitions)
    assert abs(covered - 0.95) <= error, (metric, clusters, covered)
    # What is usually done instead falls short by far: the test would see a wrong interval.
    assert counts.by_windows / repetitions < 0.95 - 2 * error
    crying_wolf = counts.p_family / repetitions
    assert crying_wolf <= 0.05 + monte_carlo_error(0.05, repetitions)
    assert counts.verdicts <= counts.p_family
    if clusters < 6:
        assert counts.verdicts == counts.p_alone == counts.p_family == 0


@pytest.mark.parametrize("clusters", [5, 8])
def test_intervals_of_a_mean_hold_95_per_cent(clusters: int) -> None:
    check("accuracy", clusters, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [3, 5, 8, 16])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_intervals_hold_95_per_cent(metric: str, clusters: int) -> None:
    check(metric, clusters, 2000)
