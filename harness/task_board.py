"""One task of the leaderboard: its rows, its order, and what every pair of branches says."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.answers import Status
from harness.bundle import Bundle
from harness.compare import Contrast, Side, compare, margin_of
from harness.evaluate import FLOOR, Cell, Evaluation
from harness.evidence import row_evidence
from harness.leakage import shared_units
from harness.metrics.base import Metric
from harness.ranking import LEAST_COVERAGE, Entry, Ranking, rank
from harness.row_details import RowDetails, probabilities
from harness.seeds import by_cluster
from harness.stats import Estimate, estimate, skill
from harness.tasks.base import Task

PRETRAINED = "pretrained"


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
        self.estimates = {name: self._estimate(name, side) for name, side in self.sides.items()}
        self.floor = self.estimates[FLOOR].value if FLOOR in self.estimates else None
        self.margin = margin_of(self.metric, self.floor, task.ceiling, margins)
        self.vacuous = self._vacuous()
        entries = [] if self.vacuous else self._entries()
        self.ranking: Ranking = rank(self.metric, entries, self.margin)
        self.against_floor = self._against_floor(entries)

    def _estimate(self, name: str, side: Side) -> Estimate:
        made = any(bundle.privileged for bundle in self.bundles.get(name, ()))
        return estimate(self.metric, side.states, side.test_train_ratio, by_construction=made)

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
            "floor": floor | {"probabilities": probabilities(cell) if cell else None},
            "ceiling": self.task.ceiling,
            "margin": self.margin,
            "n_samples": cell.n_samples.get(0, 0) if cell else 0,
            "n_clusters": len(set(self.clusters)),
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
        """States of one branch by seed and cluster."""
        refitted = any(_fitted(bundle) for bundle in self.bundles.get(name, ()))
        ratio = self.evaluation.held.split.refit_ratio if refitted else 0.0
        return Side(name, by_cluster(cell.states, self.episodes, self.clusters), ratio)

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
        """`common` where the run names its inputs and the branch was shown nothing else."""
        common = set(self.evaluation.held.common)
        shown = [None if b.inputs is None else b.inputs.get(self.task.id) for b in bundles]
        known = all(inputs is not None and set(inputs) <= common for inputs in shown)
        return "common" if common and known else "full"

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

    def _against_floor(self, entries: list[Entry]) -> dict[str, Contrast]:
        """Every branch against the floor: those that are ranked as one family, the others as another."""
        found: dict[str, Contrast] = {}
        for ranked in (True, False) if FLOOR in self.sides else ():
            mine = [entry.side for entry in entries if (entry.unranked is None) == ranked]
            contrasts = compare(self.metric, [(side, self.sides[FLOOR]) for side in mine], self.margin)
            found |= {side.name: contrast for side, contrast in zip(mine, contrasts, strict=True)}
        return found

    def _vacuous(self) -> str | None:
        """Why the task asks nothing, or null."""
        test = self.evaluation.test[self.task.id]
        if test.rows == 0:
            return "no test sample has a target"
        if self.task.asks_for_one_answer:
            return None
        one = {
            "label": len(test.counts) < 2 and f"one class in test: {', '.join(test.classes)}",
            "label_set": all(n in (0, test.rows) for n in test.counts.values()) and "every test sample has the same set",
            "vector": test.total is not None and not (test.variance > 1e-12 * test.mean**2).any() and "constant target",
        }
        at_ceiling = self.floor is not None and abs(self.floor - self.task.ceiling) < 1e-12
        return one.get(self.task.answer) or ("the floor is at the ceiling" if at_ceiling else None)

    def _row(self, name: str, bundles: list[Bundle], cell: Cell, evidence: str) -> dict[str, Any]:
        first = bundles[0]
        found = self.estimates.get(name, Estimate(None, None, None, None, 0, None, ()))
        shared = shared_units(bundles, self.evaluation.held.split)
        against = self.against_floor.get(name)
        beside = RowDetails(self.evaluation, self.task, cell, self.episodes)
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
            "skill": None if self.vacuous else skill(found.value, self.floor, self.task.ceiling),
            "coverage": _coverage(cell),
            "n_samples": max(cell.n_samples.values(), default=0),
            "n_clusters": found.n_clusters,
            "n_folds": len({b.fold for b in bundles}),
            "n_seeds": len({b.seed for b in bundles}),
            "failures": {s: n for s, n in sorted(cell.statuses.items()) if s != Status.OK.value},
            "rank_interval": list(interval) if interval else None,
            "verdict_vs_floor": against.verdict if against else None,
            "p_vs_floor": against.p_adjusted if against else None,
            "leaning": against.leaning if against else None,
            **beside.fields(found.value),
            "cost": _cost(bundles),
            "detail": beside.detail() | self._said(bundles),
        }

    def _said(self, bundles: list[Bundle]) -> dict[str, Any]:
        """What the fits have to say of this task, e.g. what a forecast is conditioned on, and figures by other definitions."""
        notes = {str(note) for bundle in bundles if (note := bundle.details.get("notes", {}).get(self.task.id))}
        published = [figures for bundle in bundles if (figures := bundle.details.get("published", {}).get(self.task.id))]
        return ({"notes": sorted(notes)} if notes else {}) | ({"published": published[0]} if published else {})


def _fitted(bundle: Bundle) -> bool:
    """True where anything was fitted on recordings of the run, and where nobody knows."""
    return bundle.fitted_on is None or any(episodes for part, episodes in bundle.fitted_on.items() if part != PRETRAINED)


def _coverage(cell: Cell) -> float | None:
    scored = sum(cell.statuses.values())
    return cell.statuses.get(Status.OK.value, 0) / scored if scored else None


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
