"""Successive halving: who goes on, with how much, and what is chosen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.halving import Job, halving, jobs_of


def played(values: list[float | None], *, in_part: bool) -> tuple[list[Job], int]:
    """The jobs when configuration i always reaches `values[i]`, and what is chosen."""
    jobs, seen = halving(len(values), in_part=in_part), []
    try:
        job = jobs.send(None)
        while True:
            seen.append(job)
            job = jobs.send(None if job.refit else values[job.number])
    except StopIteration as stop:
        return seen, stop.value


def test_four_configurations_are_halved_twice() -> None:
    jobs, chosen = played([0.4, 0.1, 0.3, 0.2], in_part=True)
    assert [(j.number, j.share) for j in jobs] == [(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.25), (1, 0.5), (3, 0.5), (1, 1.0)]
    assert jobs[-1].refit and not any(j.refit for j in jobs[:-1]) and chosen == 1


def test_in_full_every_configuration_runs_once() -> None:
    jobs, chosen = played([0.4, 0.1, 0.3], in_part=False)
    assert [(j.number, j.share, j.refit) for j in jobs] == [(0, 1.0, False), (1, 1.0, False), (2, 1.0, False), (1, 1.0, True)]
    assert chosen == 1


def test_nothing_is_refitted_where_all_failed() -> None:
    jobs, chosen = played([None, None], in_part=True)
    assert len(jobs) == 2 and not any(j.refit for j in jobs) and chosen == 0


def test_of_equals_the_default_stays() -> None:
    assert played([0.5, 0.5, 0.5], in_part=False)[1] == 0
    assert played([0.5, 0.5, 0.5, 0.5], in_part=True)[1] == 0


def test_one_configuration_is_only_fitted() -> None:
    jobs, chosen = played([1.0], in_part=True)
    assert [j.refit for j in jobs] == [True] and chosen == 0


@pytest.mark.parametrize("in_part", [True, False])
@given(values=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=20))
def test_rungs_are_synchronous_and_the_best_survives(in_part: bool, values: list[float | None]) -> None:
    jobs, chosen = played(values, in_part=in_part)
    assert [j.rung for j in jobs] == sorted(j.rung for j in jobs)
    fit = [v for v in values if v is not None]
    if len(values) > 1:
        assert [j.number for j in jobs if j.rung == 0 and not j.refit] == list(range(len(values)))
        assert (values[chosen] == min(fit)) if fit else chosen == 0
    for rung in {j.rung for j in jobs if not j.refit}:
        shares = {j.share for j in jobs if j.rung == rung and not j.refit}
        assert len(shares) == 1 and (in_part or shares == {1.0})
    if all(v is not None for v in values):
        assert len(jobs) == jobs_of(len(values), in_part=in_part)
        assert not in_part or sum(j.share for j in jobs) <= 2 + math.ceil(math.log2(len(values)))
