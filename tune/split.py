"""The frozen split of a dry run on 3 to 8 episodes: a pure function of their ids, their clusters and what they lack."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

from harness.dataset import Dataset
from harness.errors import BadInput, UnreadableEpisode
from harness.splits import Role

SIZES = {3: (1, 1, 1), 4: (2, 1, 1), 5: (3, 1, 1), 6: (3, 1, 2), 7: (4, 1, 2), 8: (4, 1, 3)}
"""Episodes -> those that train, validate and test."""


def freeze(episodes: Sequence[str], clusters: Mapping[str, str], defective: Collection[str]) -> dict[Role, list[str]]:
    """The best of all assignments of these sizes.

    In this order of importance it trains on what is defective, tests on clusters that do not train, tests on clusters that do not
    validate, validates on clusters that do not train, tests on the most clusters, and trains on the first ids.

    Args:
        episodes: 3 to 8 ids.
        clusters: Episode -> participant, session or itself.
        defective: Episodes that lack something or cannot be read.
    """
    ids = sorted(episodes)
    n_train, n_validation, _ = SIZES[len(ids)]
    assignments = [
        (train, validation, tuple(e for e in ids if e not in train and e not in validation))
        for train in combinations(ids, n_train)
        for validation in combinations([e for e in ids if e not in train], n_validation)
    ]

    def worse(assignment: tuple[tuple[str, ...], ...]) -> tuple[Any, ...]:
        train, validation, test = assignment
        fitted, checked = ({clusters[e] for e in part} for part in (train, validation))
        return (
            sum(e not in train for e in defective if e in ids),
            sum(clusters[e] in fitted for e in test),
            sum(clusters[e] in checked for e in test),
            sum(clusters[e] in fitted for e in validation),
            -len({clusters[e] for e in test}),
            assignment,
        )

    train, validation, test = min(assignments, key=worse)
    return {"train": list(train), "validation": list(validation), "test": list(test)}


def first_episodes(dataset: Dataset, count: int) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The first ids of a data set, their clusters, and those of them that are defective with the reason.

    Defective is what cannot be read, or lacks something that others of them have.

    Raises:
        BadInput: Not 3 to 8, or the data set has fewer.
    """
    if count not in SIZES:
        raise BadInput(f"--episodes {count}: give {min(SIZES)} to {max(SIZES)}; a larger comparison is `espalier run`")
    refs, faults = dataset.list_episodes()
    ids = sorted([ref.id for ref in refs] + [episode for episode, _, _ in faults])[:count]
    if len(ids) < count:
        raise BadInput(f"--episodes {count}: {dataset.root} has {len(ids)}")
    defective = {episode: reason for episode, _, reason in faults if episode in ids}
    clusters = {ref.id: ref.cluster for ref in refs} | {episode: episode for episode in defective}
    lacking: dict[str, dict[str, str]] = {}
    for ref in (ref for ref in refs if ref.id in ids):
        try:
            lacking[ref.id] = dict(dataset.read(ref).lacking)
        except UnreadableEpisode as error:
            defective[ref.id] = error.reason
    nobody_has = set.intersection(*map(set, lacking.values())) if lacking else set()
    for episode, tracks in lacking.items():
        if odd := [f"{track}: {why}" for track, why in sorted(tracks.items()) if track not in nobody_has]:
            defective[episode] = ", ".join(odd)
    return ids, clusters, defective
