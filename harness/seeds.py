"""States by seed: a score is taken for every seed and the scores are averaged; seeds are never rows, nor episodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.metrics.base import Metric, State
from harness.stats import cluster_states, estimate

Key = tuple[int, int, str]
"""Fold, seed, episode."""


def seeds_of(states: Mapping[Key, State]) -> list[int]:
    """Which seeds there are, sorted."""
    return sorted({seed for _, seed, _ in states})


def by_episode(states: Mapping[Key, State], episodes: Sequence[str]) -> State:
    """(R, E, S) states by seed and episode, folds summed; zero where a seed has no rows of an episode."""
    width = len(next(iter(states.values())))
    seeds, rows = {seed: i for i, seed in enumerate(seeds_of(states))}, {episode: i for i, episode in enumerate(episodes)}
    out = np.zeros((len(seeds), len(rows), width))
    for (_, seed, episode), state in sorted(states.items(), key=lambda item: item[0]):
        out[seeds[seed], rows[episode]] += state
    return out


def by_cluster(states: Mapping[Key, State], episodes: Sequence[str], clusters: Sequence[str]) -> State:
    """(R, G, S) states by seed and cluster.

    Args:
        states: Of one branch on one task.
        episodes: All that the task tests, in order.
        clusters: Of these episodes.
    """
    return cluster_states(by_episode(states, episodes), clusters)


def pooled(metric: Metric, states: Mapping[Key, State], episodes: Sequence[str], clusters: Sequence[str]) -> float | None:
    """The value of some of the rows by the rule of the ranked one, averaged over the seeds that have any; None without rows.

    Clusters that have no such rows for a seed do not count for it.
    """
    if not states:
        return None
    values = [estimate(metric, one).value for one in by_cluster(states, episodes, clusters)]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def mean_of(states: Mapping[Key, State], number: Callable[[State], Any]) -> Any:
    """What `number` says of the sum of each seed's states, averaged: numbers, and dictionaries of them; None where all are."""
    return average([number(total) for total in sums_of(states).values()])


def sums_of(states: Mapping[Key, State]) -> dict[int, State]:
    """Seed -> (S,) the sum of its states."""
    return {
        seed: np.asarray(np.sum([state for (_, s, _), state in states.items() if s == seed], axis=0)) for seed in seeds_of(states)
    }


def average(found: Sequence[Any]) -> Any:
    """The mean of numbers, entry by entry of dictionaries and tuples; what is None for a seed does not count."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    if len(found) == 1:
        return known[0]
    if isinstance(known[0], dict):
        return {name: average([one.get(name) for one in known]) for name in known[0]}
    if isinstance(known[0], tuple):
        return tuple(average(column) for column in zip(*known, strict=True))
    return float(np.mean(known))
