"""What taking something away changed: paired differences of every branch, task and variant, and means of skill over tasks.

Every difference is the full arm less the variant, signed so that above 0 means that what was taken away helped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.ablate.arms import Arm
from harness.ablate.means import HELPED, Part, means_of, within
from harness.ablate.variants import Variant
from harness.compare import Contrast, Side, compare, power_line
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.metrics.base import Metric, State
from harness.score import held_of
from harness.seeds import Key, by_cluster
from harness.stats import mean_contributions, support

SCHEMA = "espalier.ablation/2"
FULL = "full"
UNTOUCHED = "it is not shown what the variant takes away"
SAME = ("code", "data_hash", "split_hash", "windows", "tasks", "seeds")
"""What all arms must have alike, by its name in the manifest."""


@dataclass(frozen=True)
class _Scene:
    """What all arms have in common.

    Attributes:
        full: The full arm.
        metrics: Task -> metric with its context.
        tasks: Task -> its entry in the leaderboard.
        episodes: Those that any task tests, sorted.
        clusters: Of these episodes.
        refit_ratio: See `harness.splits.Split.refit_ratio`.
        still: See `harness.ablate.still.still_of`.
    """

    full: Arm
    metrics: dict[str, Metric]
    tasks: dict[str, dict[str, Any]]
    episodes: list[str]
    clusters: list[str]
    refit_ratio: float
    still: dict[str, str]

    def side(self, name: str, states: dict[Key, State]) -> Side:
        """By seed and cluster; all zero where there are no rows."""
        return Side(name, by_cluster(states, self.episodes, self.clusters), self.refit_ratio)


def build(out: Path, variants: dict[Variant, Path], still: dict[str, str]) -> dict[str, Any]:
    """The ablation as JSON values.

    Args:
        out: Folder of the full arm.
        variants: Each with its run folder.
        still: What tells nothing of what the run's branches are shown, see `harness.ablate.still.still_of`.

    Raises:
        BadInput: A run is not there, or answers other rows than the full arm.
    """
    scene = _scene(Arm(FULL, out), still)
    arms = {variant: Arm(variant.name, folder) for variant, folder in variants.items()}
    for arm in arms.values():
        _check_same(scene.full, arm)
    cells: list[dict[str, Any]] = []
    parts: list[Part] = []
    for branch, task in scene.full.rows:
        if scene.full.rows[branch, task]["privileged"] or task not in scene.metrics:
            continue
        found, skills = _family(scene, branch, task, arms)
        cells += found
        parts += skills
    split = scene.full.board["split"]
    return {
        "schema": SCHEMA,
        "evidence": scene.full.board["evidence"],
        "orientation": "full arm less variant, in the better direction: above 0 what was taken away helped",
        "family": "per branch and task over the variants; means: per branch over the variants",
        "split": {name: split[name] for name in ("kind", "unit", "hash", "clusters", "folds", "quarantined")},
        "power": power_line(split["clusters"]),
        "seeds": scene.full.manifest["seeds"],
        "still": still,
        "hidden": scene.full.manifest["hidden"],
        "features": scene.full.manifest["features"],
        "failed": scene.full.manifest["failed"],
        "variants": [v.as_json() | {"failed": arm.manifest["failed"]} for v, arm in arms.items()],
        "tasks": list(scene.tasks.values()),
        "cells": cells,
        "means": means_of(parts, [v.name for v in variants]),
    }


def _check_same(full: Arm, arm: Arm) -> None:
    for name in SAME:
        if full.manifest[name] != arm.manifest[name]:
            raise BadInput(f"{arm.folder}: a run with another {name} than the full arm {full.folder}; give another --out")


def _scene(full: Arm, still: dict[str, str]) -> _Scene:
    held = held_of(full.folder, full.manifest)
    metrics = {task: metric for (task, fold), metric in evaluate(held, []).metrics.items() if fold == 0}
    tasks = {task["id"]: task for task in full.board["tasks"]}
    episodes = sorted(full.episodes())
    return _Scene(full, metrics, tasks, episodes, [held.split.clusters[e] for e in episodes], held.split.refit_ratio, still)


def _family(scene: _Scene, branch: str, task: str, arms: dict[Variant, Arm]) -> tuple[list[dict[str, Any]], list[Part]]:
    """The cells of one branch on one task, and what they add to the means."""
    row, states = scene.full.rows[branch, task], scene.full.states(branch, task)
    sides, reasons = _sides(scene, branch, task, states, arms)
    margin, metric = scene.tasks[task]["margin"], scene.metrics[task]
    full = scene.side(FULL, states) if states else None
    pairs = [(full, other) for other in sides.values()] if full is not None else []
    contrasts = dict(zip(sides, compare(metric, pairs, margin), strict=False))
    cells, parts = [], []
    for variant, arm in arms.items():
        cell = _cell(scene, row, variant, *reasons.get(variant, ("compared", "")))
        by_cluster: NDArray[np.float64] = np.zeros(0)
        if full is not None and variant in contrasts:
            cell |= _numbers(contrasts[variant], row, arm.rows[branch, task], scene.tasks[task]["vacuous"])
            by_cluster = _by_cluster(scene.tasks[task], metric, full.states, sides[variant].states)
        cells.append(cell)
        parts.append(Part(branch, variant.name, task, cell["status"], cell["skill_delta"], by_cluster, scene.refit_ratio))
    return cells, parts


def _sides(
    scene: _Scene, branch: str, task: str, states: dict[Key, State], arms: dict[Variant, Arm]
) -> tuple[dict[Variant, Side], dict[Variant, tuple[str, str]]]:
    """The arms that can be compared with the full one; status and reason of those that cannot."""
    sides: dict[Variant, Side] = {}
    reasons: dict[Variant, tuple[str, str]] = {}
    whole, seen = scene.full.why_not(branch, task), scene.full.sight(branch, task)["views"]
    for variant, arm in arms.items():
        if reason := whole or arm.why_not(branch, task):
            reasons[variant] = reason
        elif nothing := _takes_nothing(seen, arm.sight(branch, task)["views"], scene.still):
            reasons[variant] = ("not_shown", nothing)
        elif (mine := arm.states(branch, task)).keys() != states.keys():
            raise BadInput(f"{arm.folder}: answers other episodes of {task} than the full arm; remove it and run again")
        elif mine:
            sides[variant] = scene.side(variant.name, mine)
    return sides, reasons


def _takes_nothing(full: list[list[str]], other: list[list[str]], still: dict[str, str]) -> str:
    """Why a variant that shows `other` takes away nothing; empty where it takes away something."""
    changed = sorted({name for a, b in zip(full, other, strict=True) for name in set(a) ^ set(b)})
    if not changed:
        return UNTOUCHED
    return "" if any(name not in still for name in changed) else "; ".join(f"{name} {still[name]}" for name in changed)


def _cell(scene: _Scene, row: dict[str, Any], variant: Variant, status: str, reason: str) -> dict[str, Any]:
    task = scene.tasks[row["task"]]
    return {
        "branch": row["branch"],
        "task": row["task"],
        "variant": variant.name,
        "status": status,
        "reason": reason,
        "metric": task["metric"],
        "unit": task["unit"],
        "direction": task["direction"],
        "vacuous": task["vacuous"],
        "evidence": row["evidence"],
        "full": row["value"],
        "coverage_full": row["coverage"],
        **dict.fromkeys(("value", "coverage", "delta", "ci_low", "ci_high", "p", "p_adjusted", "verdict", "leaning", "mde")),
        **dict.fromkeys(("n_clusters", "margin", "within_margin", "test", "correction", "skill_full", "skill", "skill_delta")),
    }


def _numbers(contrast: Contrast, full: dict[str, Any], row: dict[str, Any], vacuous: str | None) -> dict[str, Any]:
    if vacuous:  # as in a leaderboard: no skill, no verdict
        return {
            "value": row["value"],
            "coverage": row["coverage"],
            "delta": contrast.difference,
            "n_clusters": contrast.n_clusters,
        }
    skills = (full["skill"], row["skill"])
    said = {name: getattr(contrast, name) for name in ("ci_low", "ci_high", "p", "p_adjusted", "mde", "n_clusters", "margin")}
    return said | {
        "value": row["value"],
        "coverage": row["coverage"],
        "delta": contrast.difference,
        "verdict": HELPED[contrast.verdict],
        "leaning": HELPED[contrast.leaning] if contrast.leaning else None,
        "within_margin": within(contrast.ci_low, contrast.ci_high, contrast.margin),
        "test": contrast.test,
        "correction": contrast.correction,
        "skill_full": skills[0],
        "skill": skills[1],
        "skill_delta": None if None in skills else skills[0] - skills[1],
    }


def _by_cluster(task: dict[str, Any], metric: Metric, full: State, other: State) -> NDArray[np.float64]:
    """(G,) what each cluster adds to the difference in skill; NaN where it has no rows or there is no skill."""
    there = support(metric, full) & support(metric, other)
    out, floor = np.full(len(there), np.nan), task["floor"]["value"]
    alone = int(there.sum()) == 1  # the value of one cluster is what it adds; leaving it out leaves nothing to take a value of
    if there.any() and floor is not None and floor != task["ceiling"]:
        (whole, of_full), (less, of_other) = (mean_contributions(metric, side[..., there, :]) for side in (full, other))
        # Towards the ceiling is up, whichever way the metric points.
        out[there] = (whole - less if alone else of_full - of_other) / (task["ceiling"] - floor)
    return out
