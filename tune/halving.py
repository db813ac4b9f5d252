"""Synchronous successive halving (Jamieson and Talwalkar 2016) of one branch's configurations, as a plain generator."""

import math
from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One trial to be run.

    Attributes:
        number: Of the configuration; 0 is the default one.
        rung: From 0.
        share: Of the branch's steps that it trains.
        refit: True for the last one: the chosen configuration in full, into the run itself. It has no objective.
    """

    number: int
    rung: int
    share: float = 1.0
    refit: bool = False


Jobs = Generator[Job, float | None, int]


def halving(count: int, *, in_part: bool) -> Jobs:
    """Yields jobs one by one and is sent the objective of each, lower is better, None where it failed; returns the number chosen.

    Every rung runs all its configurations before any is dropped; the better half goes on with twice the share, and the last one
    is fitted in full. Of equals the earlier one stays. Where all have failed nothing is refitted and the default is chosen.

    Args:
        count: Configurations.
        in_part: False where training in part tells nothing: one rung of everything in full.
    """
    alive = list(range(count))
    rungs = math.ceil(math.log2(count)) if in_part else int(count > 1)
    for rung in range(rungs):
        share = 2.0 ** (rung - rungs) if in_part else 1.0
        results: list[tuple[float, int]] = []
        for number in alive:
            objective = yield Job(number, rung, share)
            if objective is not None:
                results.append((objective, number))
        if not results:
            return 0
        alive = [number for _, number in sorted(results)[: (len(alive) + 1) // 2 if in_part else 1]]
    yield Job(alive[0], rungs, refit=True)
    return alive[0]


def jobs_of(count: int, *, in_part: bool) -> int:
    """How many jobs `halving` yields where none fails."""
    jobs, total = halving(count, in_part=in_part), 0
    try:
        jobs.send(None)
        while True:
            total += 1
            jobs.send(0.0)
    except StopIteration:
        return total
