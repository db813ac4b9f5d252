"""The leaderboard: values with intervals over clusters, floors, ceilings, coverage, failures. One dict, many renderings."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.answers import Status
from harness.bundle import Bundle
from harness.evaluate import FLOOR, Cell, Evaluation
from harness.metrics.base import Metric, State
from harness.splits import Split
from harness.stats import Estimate, cluster_states, estimate, mean_interval, skill
from harness.tasks.base import Task

SCHEMA = "espalier.leaderboard/1"
GRADES = ("mock", "smoke", "dry_run", "held_out")
TINY_WEIGHTS = "tiny-pretrained"
"""`BranchCard.weights` of a branch whose pretrained weights our own scripts made small, from demo sessions."""


def evidence_grade(*, simulated: bool, limited: bool, split: Split, selected: bool = False) -> str:
    """The weakest of what caps it.

    Args:
        simulated: Recordings from a simulator.
        limited: A limit was set.
        split: A session or a participant on both sides, or one episode on both sides of a border, caps at `dry_run`.
        selected: The folder is one of `espalier select`, which caps at `dry_run` too.
    """
    if simulated:
        return "mock"
    if limited:
        return "smoke"
    return "dry_run" if selected or split.unit == "interval" or any(split.shared().values()) else "held_out"


def row_evidence(run: str, weights: str) -> str:
    """Evidence of one branch's row: that of the run, at most `smoke` where it stands on a tiny checkpoint.

    Args:
        run: As `evidence_grade` gave it.
        weights: `BranchCard.weights`.
    """
    return min(run, "smoke", key=GRADES.index) if weights == TINY_WEIGHTS else run


def build(evaluation: Evaluation, evidence: str, quarantined: int = 0) -> dict[str, Any]:
    """The table as JSON values; see design: `leaderboard.json`. Verdicts and ranks are null: intervals alone decide nothing."""
    held = evaluation.held
    split = held.split
    table = [_Tasked(evaluation, task) for task in held.tasks]
    rows = [row for tasked in table for row in tasked.rows(evidence)]
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
        "tasks": [tasked.summary() for tasked in table],
        "rows": rows,
    }


class _Tasked:
    """One task's part of the table.

    Args:
        evaluation: All states.
        task: The task.
    """

    def __init__(self, evaluation: Evaluation, task: Task) -> None:
        self.evaluation = evaluation
        self.task = task
        self.metric: Metric = evaluation.metrics[task.id, 0]
        self.clusters = evaluation.held.split.clusters
        floor = evaluation.cells.get((FLOOR, task.id))
        self.floor = self._estimate(floor, refitted=False)[0].value if floor else None

    def summary(self) -> dict[str, Any]:
        """The task's entry."""
        cell = self.evaluation.cells.get((FLOOR, self.task.id))
        return {
            "id": self.task.id,
            "title": self.task.title,
            "metric": self.metric.name,
            "unit": self.task.unit,
            "group_units": self.task.group_units(),
            "direction": self.metric.direction,
            "vacuous": self._vacuous(),
            "floor": {"branch": self.task.floor, "value": self.floor},
            "ceiling": self.task.ceiling,
            "n_samples": cell.n_samples.get(0, 0) if cell else 0,
        }

    def rows(self, evidence: str) -> list[dict[str, Any]]:
        """One row per branch that answers, best first; privileged rows last."""
        bundles: dict[str, list[Bundle]] = {}
        for bundle in self.evaluation.bundles:
            if self.task.id in bundle.routes:
                bundles.setdefault(bundle.branch, []).append(bundle)
        rows = [
            self._row(name, mine, self.evaluation.cells[name, self.task.id], evidence)
            for name, mine in bundles.items()
            if (name, self.task.id) in self.evaluation.cells
        ]
        sign = 1.0 if self.metric.direction == "down" else -1.0
        worst = np.inf
        return sorted(rows, key=lambda r: (r["privileged"], worst if r["value"] is None else sign * r["value"], r["branch"]))

    def _vacuous(self) -> str | None:
        """Why the task asks nothing, or null."""
        test = self.evaluation.test[self.task.id]
        if test.rows == 0:
            return "no test sample has a target"
        if self.task.answer == "label" and len(test.counts) < 2:
            return f"one class in test: {test.classes[0]}"
        if self.task.answer == "label_set" and all(n in (0, test.rows) for n in test.counts.values()):
            return "every test sample has the same set"
        if self.task.answer == "vector" and test.total is not None and not (test.variance > 1e-12).any():
            return "constant target"
        return None

    def _estimate(self, cell: Cell, *, refitted: bool) -> tuple[Estimate, State, list[str]]:
        """Estimate over clusters, (E, S) states averaged over seeds, and their episodes.

        Args:
            cell: States of one branch.
            refitted: True where the branch was fitted anew for every fold.
        """
        by_episode: dict[str, list[State]] = {}
        for (_, _, episode), state in sorted(cell.states.items(), key=lambda item: item[0]):
            by_episode.setdefault(episode, []).append(state)
        if not by_episode:
            return Estimate(None, None, None, None, 0, None, ()), np.zeros((0, 0)), []
        episodes = sorted(by_episode)
        states = np.stack([np.mean(by_episode[e], axis=0) for e in episodes])
        clusters = [self.clusters[e] for e in episodes]
        ratio = self._refit_ratio() if refitted else 0.0
        return estimate(self.metric, cluster_states(states, clusters), ratio), states, episodes

    def _refit_ratio(self) -> float:
        """Test clusters per training cluster, where every fold was fitted anew; see `harness.stats.estimate`."""
        folds = self.evaluation.held.split.folds
        if len(folds) < 2:
            return 0.0
        sizes = [({self.clusters[e] for e in f.test}, {self.clusters[e] for e in f.train}) for f in folds]
        return float(np.mean([len(test) / len(train) for test, train in sizes]))

    def _row(self, name: str, bundles: list[Bundle], cell: Cell, evidence: str) -> dict[str, Any]:
        first = bundles[0]
        found, states, episodes = self._estimate(cell, refitted=bool(first.card.get("fitted")))
        total = states.sum(axis=0) if len(states) else np.zeros(0)
        answered = cell.statuses.get(Status.OK.value, 0)
        scored = sum(cell.statuses.values())
        seen, unseen = self._strata(cell)
        return {
            "branch": name,
            "family": first.family,
            "task": self.task.id,
            "route": cell.route,
            "track": first.card.get("track", "full"),
            "evidence": row_evidence(evidence, first.card.get("weights", "")),
            "privileged": first.privileged,
            "value": found.value,
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "mde": found.mde,
            "skill": skill(found.value, self.floor, self.task.ceiling),
            "coverage": answered / scored if scored else None,
            "n_samples": max(cell.n_samples.values(), default=0),
            "n_clusters": found.n_clusters,
            "n_folds": len({b.fold for b in bundles}),
            "n_seeds": len({b.seed for b in bundles}),
            "failures": {s: n for s, n in sorted(cell.statuses.items()) if s != Status.OK.value},
            "rank_interval": None,
            "verdict_vs_floor": None,
            "leaning": None,
            "seen_value": seen,
            "unseen_value": unseen,
            "cost": _cost(bundles),
            "detail": (self._detail(total, states, episodes, cell) if len(states) else {}) | self._notes(bundles),
        }

    def _notes(self, bundles: list[Bundle]) -> dict[str, Any]:
        """What the fits have to say of this task, e.g. what a forecast is conditioned on: it may differ by fold."""
        notes = {str(note) for bundle in bundles if (note := bundle.details.get("notes", {}).get(self.task.id))}
        return {"notes": sorted(notes)} if notes else {}

    def _strata(self, cell: Cell) -> tuple[float | None, float | None]:
        """Value on rows with a label that train has, and on rows without; train differs by fold, so the mean over folds."""
        folds = sorted({fold for fold, _, _ in cell.states})
        pairs = [self.evaluation.metrics[self.task.id, f].seen_unseen(_fold_state(cell, f)) for f in folds]
        columns = ([value for p in pairs if (value := p[i]) is not None] for i in (0, 1))
        seen, unseen = (float(np.mean(column)) if column else None for column in columns)
        return seen, unseen

    def _detail(self, total: State, states: State, episodes: list[str], cell: Cell) -> dict[str, Any]:
        detail: dict[str, Any] = dict(self.metric.details(total))
        values = self.metric.value(states)
        detail["per_episode"] = {e: _number(v) for e, v in zip(episodes, values, strict=True)}
        if self.metric.plain:
            detail |= self._plain(states, episodes)
        folds = sorted({fold for fold, _, _ in cell.states})
        if len(folds) > 1:
            detail["per_fold"] = {str(f): _number(self.metric.value(_fold_state(cell, f))) for f in folds}
        return detail

    def _plain(self, states: State, episodes: list[str]) -> dict[str, Any]:
        """The plain number by episode, and its mean over clusters with a t interval (`NAME_mean`, `NAME_ci_low`, ...)."""
        name = self.metric.plain
        by_cluster = cluster_states(states, [self.clusters[e] for e in episodes])
        values = [self.metric.details(state)[name] for state in by_cluster]
        mean = mean_interval(np.array([v for v in values if isinstance(v, float)]))
        by_episode = {e: self.metric.details(state)[name] for e, state in zip(episodes, states, strict=True)}
        ends = zip(("mean", "ci_low", "ci_high"), mean, strict=True)
        return {f"{name}_per_episode": by_episode} | {f"{name}_{end}": value for end, value in ends}


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
