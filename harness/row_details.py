"""What stands beside a value: bounds, strata, seeds, probabilities, and the secondary numbers of the metric."""

from typing import Any

import numpy as np

from harness.answers import Status
from harness.evaluate import Cell, Evaluation
from harness.folds import fold_details
from harness.held import OF_TEST
from harness.metrics.base import Metric, State, number
from harness.metrics.probability import probability_values
from harness.seeds import Key, average, by_cluster, by_episode, mean_of, pooled, seeds_of, sums_of
from harness.stats import contributions, mean_interval, rate_interval, seed_error, support
from harness.tasks.base import Task


class RowDetails:
    """Of one branch on one task. Every number is taken per seed and averaged over seeds.

    Args:
        evaluation: All states.
        task: The task.
        cell: States of the branch.
        episodes: All that the task tests, sorted.
    """

    def __init__(self, evaluation: Evaluation, task: Task, cell: Cell, episodes: list[str]) -> None:
        self.evaluation = evaluation
        self.task = task
        self.cell = cell
        self.episodes = episodes
        self.clusters = [evaluation.held.split.clusters[e] for e in episodes]
        self.metric: Metric = evaluation.metrics[task.id, 0]

    def fields(self, value: float | None) -> dict[str, Any]:
        """Those of the row itself; `value` is the ranked one.

        `bounds` say what the failed rows could have made of it, had each been right or as wrong as can be; `worst` is null for
        errors, which have no worst value.
        """
        seen, unseen = self._seen_unseen()
        return {
            "coverage_ci": self._coverage_interval(),
            "complete_case": self._pooled(self.cell.complete),
            "bounds": {"worst": self._worst(value), "best": self._pooled(self.cell.best)},
            "seen_value": seen,
            "unseen_value": unseen,
            "strata": self._sensor_strata(),
            "probabilities": probabilities(self.cell),
        }

    def detail(self) -> dict[str, Any]:
        """What the metric has beside its value, by episode, by fold and by seed; `row_weighted` where clusters weigh alike."""
        states = self.cell.states
        if not states:
            return {}
        detail: dict[str, Any] = dict(mean_of(states, self.metric.details))
        by_seed = by_episode(states, self.episodes)
        there = {key[2] for key in states}
        values = self.metric.value(by_seed).mean(axis=0)
        detail["per_episode"] = {e: number(v) for e, v in zip(self.episodes, values, strict=True) if e in there}
        if self.metric.mean_over_rows:
            detail["row_weighted"] = mean_of(states, lambda state: number(self.metric.value(state)))
        if self.metric.plain:
            detail |= self._plain(by_seed, there)
        folds = sorted({fold for fold, _, _ in states})
        if len(folds) > 1:
            per_fold = {str(f): mean_of(_of_fold(states, f), lambda state: number(self.metric.value(state))) for f in folds}
            detail["per_fold"] = per_fold
        return detail | fold_details(self.metric, self.cell.kept, self._fold_names()) | self._seeds()

    def _worst(self, value: float | None) -> float | None:
        if not any(status != Status.OK.value for status in self.cell.statuses):
            return value
        if not self.metric.bounded:
            return None
        right = sums_of(self.cell.best)
        answered = sums_of(self.cell.complete)
        found = average([self.metric.lowest(answered.get(seed, np.zeros_like(of)), of) for seed, of in right.items()])
        return value if found is None else found

    def _pooled(self, states: dict[Key, State]) -> float | None:
        return pooled(self.metric, states, self.episodes, self.clusters)

    def _coverage_interval(self) -> list[float] | None:
        by_cluster_counts: dict[str, State] = {}
        for key, counts in self.cell.answered.items():
            cluster = self.evaluation.held.split.clusters[key[2]]
            by_cluster_counts[cluster] = by_cluster_counts.get(cluster, np.zeros(2)) + np.array(counts)
        hits, rows = np.array(list(by_cluster_counts.values())).reshape(-1, 2).T
        found = rate_interval(hits, rows)
        return None if found is None else list(found)

    def _sensor_strata(self) -> dict[str, dict[str, Any]]:
        """Sensors missing -> value of those rows and how many episodes have any; empty where nothing is missing anywhere."""
        if set(self.cell.strata) <= {""}:
            return {}
        return {
            name or "complete": {"value": self._pooled(states), "episodes": len({key[2] for key in states})}
            for name, states in sorted(self.cell.strata.items())
        }

    def _seen_unseen(self) -> tuple[float | None, float | None]:
        """Value on rows with a label that train has, and on rows without; train differs by fold, so the mean over folds."""
        if self.task.floor in OF_TEST and self.task.id not in self.evaluation.held.seen:
            return None, None  # nobody said what train has
        folds = sorted({fold for fold, _, _ in self.cell.states})
        metrics = self.evaluation.metrics
        found = average([mean_of(_of_fold(self.cell.states, f), metrics[self.task.id, f].seen_unseen) for f in folds])
        return (None, None) if found is None else found

    def _fold_names(self) -> dict[int, str]:
        """Fold -> the clusters that it tests."""
        split = self.evaluation.held.split
        tested = {fold.id: sorted({split.clusters[e] for e in fold.test}) for fold in split.folds}
        return {fold: ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") for fold, names in tested.items()}

    def _seeds(self) -> dict[str, Any]:
        """Values by seed; their spread, and the standard error that also generalises over seeds, from three seeds on."""
        seeds = seeds_of(self.cell.states)
        if len(seeds) < 2:
            return {}
        states = by_cluster(self.cell.states, self.episodes, self.clusters)
        kept = support(self.metric, states)
        if not kept.any():
            return {}
        values, parts = contributions(self.metric, states[:, kept])
        over_both = seed_error(parts.T)
        return {
            "per_seed": {str(seed): number(value) for seed, value in zip(seeds, values, strict=True)},
            "seed_sd": number(float(np.std(values, ddof=1))),
            "se_over_seeds_and_clusters": None if over_both is None else number(over_both),
        }

    def _plain(self, by_seed: State, there: set[str]) -> dict[str, Any]:
        """The plain number by episode, and its mean over clusters with a t interval (`NAME_mean`, `NAME_ci_low`, ...)."""
        name = self.metric.plain

        def plain(states: State) -> list[float | None]:
            """Of (R, N, S) states, averaged over seeds."""
            return [average([self.metric.details(state)[name] for state in column]) for column in np.moveaxis(states, 0, 1)]

        clusters = plain(by_cluster(self.cell.states, self.episodes, self.clusters))
        mean = mean_interval(np.array([value for value in clusters if value is not None]))
        of_episodes = {e: v for e, v in zip(self.episodes, plain(by_seed), strict=True) if e in there}
        ends = zip(("mean", "ci_low", "ci_high"), mean, strict=True)
        return {f"{name}_per_episode": of_episodes} | {f"{name}_{end}": value for end, value in ends}


def probabilities(cell: Cell) -> dict[str, float | None] | None:
    """Log-loss and the like over all rows; a row without probabilities costs the worst. None where the branch offers none."""
    if not cell.probabilities:
        return None
    return probability_values(np.sum([*cell.probabilities.values(), *cell.unsaid.values()], axis=0))


def _of_fold(states: dict[Key, State], fold: int) -> dict[Key, State]:
    return {key: state for key, state in states.items() if key[0] == fold}
