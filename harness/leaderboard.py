"""The leaderboard: values with intervals over clusters, verdicts, ranks, floors, coverage. One dict, many renderings."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.answers import Status
from harness.branch import TINY_WEIGHTS
from harness.bundle import Bundle
from harness.compare import Contrast, Side, compare, margin_of
from harness.evaluate import FLOOR, Cell, Evaluation, Key
from harness.folds import fold_details, outliers_of
from harness.held import OF_TEST
from harness.leakage import shared_units
from harness.metrics.base import Metric, State
from harness.metrics.probability import probability_values
from harness.ranking import LEAST_COVERAGE, Entry, Ranking, rank
from harness.splits import Split
from harness.stats import (
    Estimate,
    cluster_states,
    contributions,
    estimate,
    mean_interval,
    present,
    rate_interval,
    seed_error,
    skill,
)
from harness.tasks.base import Task

SCHEMA = "espalier.leaderboard/2"
GRADES = ("mock", "smoke", "dry_run", "held_out")


def evidence_grade(*, simulated: bool, limited: bool, split: Split, selected: bool = False, shared_content: bool = False) -> str:
    """The weakest of what caps it.

    Args:
        simulated: Recordings from a simulator.
        limited: A limit was set.
        split: A session or a participant on both sides, or one episode on both sides of a border, caps at `dry_run`.
        selected: The folder is one of `espalier select`, which caps at `dry_run` too.
        shared_content: Two groups on both sides hold the same content, which caps at `dry_run` too.
    """
    if simulated:
        return "mock"
    if limited:
        return "smoke"
    capped = selected or shared_content or split.unit == "interval" or any(split.shared().values())
    return "dry_run" if capped else "held_out"


def row_evidence(run: str, weights: str, *, shared: bool = False, imported: bool = False) -> str:
    """Evidence of one branch's row: that of the run, at most `smoke` on a tiny checkpoint or where it was made elsewhere.

    Args:
        run: As `evidence_grade` gave it.
        weights: `BranchCard.weights`.
        shared: True where it was fitted on a session or participant that it is tested on: at most `dry_run`.
        imported: True where nobody here saw how the predictions were made.
    """
    cap = "smoke" if weights == TINY_WEIGHTS or imported else "dry_run" if shared else "held_out"
    return min(run, cap, key=GRADES.index)


def build(evaluation: Evaluation, evidence: str, quarantined: int = 0, margins: dict[str, float] | None = None) -> dict[str, Any]:
    """The table as JSON values; see design: `leaderboard.json`.

    Args:
        evaluation: All states.
        evidence: Grade of the run.
        quarantined: Episodes that could not be read.
        margins: Metric -> difference that counts as none, where the run says so.
    """
    held = evaluation.held
    split = held.split
    table = [TaskBoard(evaluation, task, margins or {}) for task in held.tasks]
    rows = [row for board in table for row in board.rows(evidence)]
    by_task = {task.id: [row for row in rows if row["task"] == task.id] for task in held.tasks}
    return {
        "schema": SCHEMA,
        "evidence": evidence,
        "split": {
            "kind": split.kind,
            "unit": split.unit,
            "hash": split.hash,
            "clusters": len({split.clusters[e] for fold in split.folds for e in held.posing(fold.test)}),
            "lacking": len(held.present(split.episodes)) - len(held.posing(split.episodes)),
            "folds": len(split.folds),
            "shared": {name: units for name, units in split.shared().items() if units and split.unit != "interval"},
            "quarantined": quarantined,
        },
        "branches": _capabilities(evaluation),
        "tasks": [board.summary() | {"outlier_fold": outliers_of(by_task[board.task.id])} for board in table],
        "rows": rows,
        "comparisons": [board.compared(contrast) for board in table for contrast in board.ranking.contrasts],
    }


def _capabilities(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Branch by branch what it is, what its weights have seen, and how it answers each task; null = N/A."""
    first = {bundle.branch: bundle for bundle in reversed(evaluation.bundles)}
    return [
        {
            "branch": name,
            "family": bundle.family,
            "weights": bundle.card.get("weights", ""),
            "pretraining": bundle.card.get("pretraining", {}),
            "imported": bundle.imported,
            "answers": {task.id: bundle.routes.get(task.id) for task in evaluation.held.tasks},
        }
        for name, bundle in sorted(first.items())
    ]


class TaskBoard:
    """One task's part of the table.

    Args:
        evaluation: All states.
        task: The task.
        margins: Metric -> difference that counts as none.
    """

    def __init__(self, evaluation: Evaluation, task: Task, margins: dict[str, float]) -> None:
        self.evaluation = evaluation
        self.task = task
        self.metric: Metric = evaluation.metrics[task.id, 0]
        self.cells = {branch: cell for (branch, of), cell in evaluation.cells.items() if of == task.id}
        self.episodes = sorted({key[2] for cell in self.cells.values() for key in cell.states})
        self.clusters = [evaluation.held.split.clusters[e] for e in self.episodes]
        self.bundles: dict[str, list[Bundle]] = {}
        for bundle in evaluation.bundles:
            if task.id in bundle.routes and bundle.branch in self.cells:
                self.bundles.setdefault(bundle.branch, []).append(bundle)
        self.sides = {name: self._side(name, cell) for name, cell in self.cells.items() if cell.states}
        self.estimates = {n: estimate(self.metric, side.states, side.test_train_ratio) for n, side in self.sides.items()}
        self.floor = self.estimates[FLOOR].value if FLOOR in self.estimates else None
        self.margin = margin_of(self.metric, self.floor, task.ceiling, margins)
        self.vacuous = self._vacuous()
        self.ranking: Ranking = rank(self.metric, self._entries(), self.margin)
        self.above_floor = self._against_floor()

    def summary(self) -> dict[str, Any]:
        """The task's entry."""
        cell = self.cells.get(FLOOR)
        floor = {"branch": self.task.floor, "value": self.floor}
        return {
            "id": self.task.id,
            "title": self.task.title,
            "metric": self.metric.name,
            "unit": self.task.unit,
            "group_units": self.task.group_units(),
            "direction": self.metric.direction,
            "vacuous": self.vacuous,
            "floor": floor | {"probabilities": _probabilities(cell) if cell else None},
            "ceiling": self.task.ceiling,
            "margin": self.margin,
            "n_samples": cell.n_samples.get(0, 0) if cell else 0,
            "ranking": self.ranking.companies,
        }

    def compare(self, pairs: list[tuple[str, str]]) -> list[Contrast]:
        """These pairs of branches as one family; both of each have rows here."""
        return compare(self.metric, [(self.sides[a], self.sides[b]) for a, b in pairs], self.margin)

    def compared(self, contrast: Contrast) -> dict[str, Any]:
        """One pair's entry."""
        return {"task": self.task.id, "metric": self.metric.name, "unit": self.task.unit, **contrast.as_json()}

    def rows(self, evidence: str) -> list[dict[str, Any]]:
        """One row per branch that answers, best first; privileged rows last."""
        rows = [self._row(name, mine, self.cells[name], evidence) for name, mine in self.bundles.items()]
        sign = 1.0 if self.metric.direction == "down" else -1.0
        worst = np.inf
        return sorted(rows, key=lambda r: (r["privileged"], worst if r["value"] is None else sign * r["value"], r["branch"]))

    def _side(self, name: str, cell: Cell) -> Side:
        """States of one branch by cluster, seeds averaged; all zero where it has no rows."""
        bundles = self.bundles.get(name, [])
        refitted = bool(bundles) and bool(bundles[0].card.get("fitted"))
        ratio = self.evaluation.held.split.refit_ratio if refitted else 0.0
        return Side(name, cluster_states(self._by_episode(cell.states), self.clusters), ratio)

    def _by_episode(self, states: dict[Key, State]) -> State:
        """(E, S) states of every episode, averaged over seeds."""
        found: dict[str, list[State]] = {}
        for key in sorted(states):
            found.setdefault(key[2], []).append(states[key])
        width = len(next(iter(states.values())))
        return np.stack([np.mean(found[e], axis=0) if e in found else np.zeros(width) for e in self.episodes])

    def _entries(self) -> list[Entry]:
        names = [name for name, mine in self.bundles.items() if name in self.sides and not mine[0].privileged]
        return [
            Entry(
                self.sides[name],
                self.estimates[name].value,
                self.cells[name].route,
                self._track(self.bundles[name]),
                self._unranked(name),
            )
            for name in names
        ]

    def _track(self, bundles: list[Bundle]) -> str:
        """`common` where the run names its inputs and the branch was shown nothing else; a floor looks at no input."""
        common = set(self.evaluation.held.common)
        if not common:
            return "full"
        if bundles[0].family == "floor":
            return "common"
        shown = [None if b.inputs is None else b.inputs.get(self.task.id) for b in bundles]
        return "common" if all(inputs is not None and set(inputs) <= common for inputs in shown) else "full"

    def _unranked(self, name: str) -> str | None:
        if self.bundles[name][0].privileged:
            return "privileged"
        if self.bundles[name][0].imported:
            return "imported"
        if self.vacuous:
            return "the task is vacuous"
        coverage = _coverage(self.cells[name])
        if coverage is not None and coverage < LEAST_COVERAGE:
            return f"under {100 * LEAST_COVERAGE:.0f} % answered"
        return "no value" if self.estimates[name].value is None else None

    def _against_floor(self) -> dict[str, Contrast]:
        """Every branch against the floor, as one family."""
        if FLOOR not in self.sides:
            return {}
        names = [name for name, mine in self.bundles.items() if name in self.sides and not mine[0].privileged]
        pairs = [(self.sides[name], self.sides[FLOOR]) for name in names]
        return dict(zip(names, compare(self.metric, pairs, self.margin), strict=True))

    def _vacuous(self) -> str | None:
        """Why the task asks nothing, or null."""
        test = self.evaluation.test[self.task.id]
        if test.rows == 0:
            return "no test sample has a target"
        if self.task.answer == "label" and len(test.counts) < 2 and not self.task.asks_for_one_answer:
            return f"one class in test: {test.classes[0]}"
        if self.task.answer == "label_set" and all(n in (0, test.rows) for n in test.counts.values()):
            return "every test sample has the same set"
        if self.task.answer == "vector" and test.total is not None and not (test.variance > 1e-12).any():
            return "constant target"
        return None

    def _row(self, name: str, bundles: list[Bundle], cell: Cell, evidence: str) -> dict[str, Any]:
        first = bundles[0]
        found = self.estimates.get(name, Estimate(None, None, None, None, 0, None, ()))
        seen, unseen = self._strata(cell)
        shared = shared_units(bundles, self.evaluation.held.split)
        against = self.above_floor.get(name)
        interval = self.ranking.intervals.get(name)
        return {
            "branch": name,
            "family": first.family,
            "task": self.task.id,
            "route": cell.route,
            "track": self._track(bundles),
            "evidence": row_evidence(evidence, first.card.get("weights", ""), shared=bool(shared), imported=first.imported),
            "shared": shared,
            "privileged": first.privileged,
            "unranked": self._unranked(name),
            "gates": sorted(set(self.evaluation.unmet.get(name, ()))),
            "value": found.value,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "mde": against.mde if against else found.mde,
            "skill": skill(found.value, self.floor, self.task.ceiling),
            "coverage": _coverage(cell),
            "coverage_ci": self._coverage_interval(cell),
            "n_samples": max(cell.n_samples.values(), default=0),
            "n_clusters": found.n_clusters,
            "n_folds": len({b.fold for b in bundles}),
            "n_seeds": len({b.seed for b in bundles}),
            "failures": {s: n for s, n in sorted(cell.statuses.items()) if s != Status.OK.value},
            "complete_case": self._pooled(cell.complete),
            "bounds": self._bounds(found, cell),
            "rank_interval": list(interval) if interval else None,
            "verdict_vs_floor": against.verdict if against else None,
            "p_vs_floor": against.p_adjusted if against else None,
            "leaning": against.leaning if against else None,
            "seen_value": seen,
            "unseen_value": unseen,
            "strata": self._sensor_strata(cell),
            "probabilities": _probabilities(cell),
            "cost": _cost(bundles),
            "detail": (self._detail(cell) if cell.states else {}) | self._said(bundles),
        }

    def _pooled(self, states: dict[Key, State]) -> float | None:
        """The value of some of the rows: by the same rule as the value, clusters without such rows left out."""
        if not states:
            return None
        return estimate(self.metric, cluster_states(self._by_episode(states), self.clusters)).value

    def _bounds(self, found: Estimate, cell: Cell) -> dict[str, float | None]:
        """What the failed rows could have made of the value; `worst` is null for errors, which have no worst value."""
        return {"worst": found.value if self.metric.bounded or not _failed(cell) else None, "best": self._pooled(cell.best)}

    def _coverage_interval(self, cell: Cell) -> list[float] | None:
        by_cluster: dict[str, NDArray] = {}
        for key, counts in cell.answered.items():
            cluster = self.evaluation.held.split.clusters[key[2]]
            by_cluster[cluster] = by_cluster.get(cluster, np.zeros(2)) + np.array(counts)
        hits, rows = np.array(list(by_cluster.values())).reshape(-1, 2).T
        found = rate_interval(hits, rows)
        return None if found is None else list(found)

    def _sensor_strata(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """Sensors missing -> value of those rows and how many states they come from; empty where nothing is missing anywhere."""
        if set(cell.strata) <= {""}:
            return {}
        return {
            name or "complete": {"value": self._pooled(states), "episodes": len({key[2] for key in states})}
            for name, states in sorted(cell.strata.items())
        }

    def _said(self, bundles: list[Bundle]) -> dict[str, Any]:
        """What the fits have to say of this task, e.g. what a forecast is conditioned on, and figures by other definitions."""
        notes = {str(note) for bundle in bundles if (note := bundle.details.get("notes", {}).get(self.task.id))}
        published = [figures for bundle in bundles if (figures := bundle.details.get("published", {}).get(self.task.id))]
        return ({"notes": sorted(notes)} if notes else {}) | ({"published": published[0]} if published else {})

    def _strata(self, cell: Cell) -> tuple[float | None, float | None]:
        """Value on rows with a label that train has, and on rows without; train differs by fold, so the mean over folds."""
        if self.task.floor in OF_TEST and self.task.id not in self.evaluation.held.seen:
            return None, None  # nobody said what train has
        folds = sorted({fold for fold, _, _ in cell.states})
        pairs = [self.evaluation.metrics[self.task.id, f].seen_unseen(_fold_state(cell, f)) for f in folds]
        columns = ([value for p in pairs if (value := p[i]) is not None] for i in (0, 1))
        seen, unseen = (float(np.mean(column)) if column else None for column in columns)
        return seen, unseen

    def _detail(self, cell: Cell) -> dict[str, Any]:
        states = self._by_episode(cell.states)
        there = {key[2] for key in cell.states}
        detail: dict[str, Any] = dict(self.metric.details(states.sum(axis=0)))
        values = self.metric.value(states)
        detail["per_episode"] = {e: _number(v) for e, v in zip(self.episodes, values, strict=True) if e in there}
        if self.metric.plain:
            detail |= self._plain(states, there)
        folds = sorted({fold for fold, _, _ in cell.states})
        if len(folds) > 1:
            detail["per_fold"] = {str(f): _number(self.metric.value(_fold_state(cell, f))) for f in folds}
        return detail | fold_details(self.metric, cell.kept, self._fold_names()) | self._seeds(cell)

    def _fold_names(self) -> dict[int, str]:
        """Fold -> the clusters that it tests."""
        split = self.evaluation.held.split
        tested = {fold.id: sorted({split.clusters[e] for e in fold.test}) for fold in split.folds}
        return {fold: ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") for fold, names in tested.items()}

    def _seeds(self, cell: Cell) -> dict[str, Any]:
        """Values by seed; their spread, and the standard error that also generalises over seeds, from three seeds on."""
        seeds = sorted({seed for _, seed, _ in cell.states})
        if len(seeds) < 2:
            return {}
        by_seed = [{key: state for key, state in cell.states.items() if key[1] == seed} for seed in seeds]
        states = np.stack([cluster_states(self._by_episode(part), self.clusters) for part in by_seed])
        kept = present(self.metric, states).all(axis=0)
        if not kept.any():
            return {}
        values, parts = contributions(self.metric, states[:, kept])
        return {
            "per_seed": {str(seed): _number(value) for seed, value in zip(seeds, values, strict=True)},
            "seed_sd": _number(np.std(values, ddof=1)),
            "se_over_seeds_and_clusters": seed_error(parts.T),
        }

    def _plain(self, states: State, there: set[str]) -> dict[str, Any]:
        """The plain number by episode, and its mean over clusters with a t interval (`NAME_mean`, `NAME_ci_low`, ...)."""
        name = self.metric.plain
        values = [self.metric.details(state)[name] for state in cluster_states(states, self.clusters)]
        mean = mean_interval(np.array([v for v in values if isinstance(v, float)]))
        pairs = zip(self.episodes, states, strict=True)
        by_episode = {e: self.metric.details(state)[name] for e, state in pairs if e in there}
        ends = zip(("mean", "ci_low", "ci_high"), mean, strict=True)
        return {f"{name}_per_episode": by_episode} | {f"{name}_{end}": value for end, value in ends}


def _coverage(cell: Cell) -> float | None:
    scored = sum(cell.statuses.values())
    return cell.statuses.get(Status.OK.value, 0) / scored if scored else None


def _failed(cell: Cell) -> bool:
    return any(status != Status.OK.value for status in cell.statuses)


def _probabilities(cell: Cell) -> dict[str, float | None] | None:
    """Log-loss and the like over all rows that were given probabilities; None where the branch offers none."""
    if not cell.probabilities:
        return None
    return probability_values(np.sum(list(cell.probabilities.values()), axis=0))


def _fold_state(cell: Cell, fold: int) -> State:
    return np.asarray(np.sum([state for (f, _, _), state in cell.states.items() if f == fold], axis=0))


def _number(value: Any) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None


def _cost(bundles: Iterable[Bundle]) -> dict[str, Any]:
    """Over folds and seeds: seconds add up, memory is the highest."""
    bundles = list(bundles)
    predicted = [b.predict_cost() for b in bundles]
    train = [b.cost.get("train_s") for b in bundles]
    peaks = [p["peak_gib"] for p in predicted] + [b.cost.get("peak_gib") or 0.0 for b in bundles]
    return {
        "train_s": round(sum(t for t in train if t is not None), 3) if any(t is not None for t in train) else None,
        "predict_s": round(sum(p["predict_s"] for p in predicted), 3),
        "gpu_s": None,
        "peak_gib": max(peaks, default=None),
        "params": bundles[0].cost.get("params"),
    }
