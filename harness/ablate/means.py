"""Means over tasks: of differences in skill alone, which have no unit; metrics of different units are never averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.compare import MARGIN, decide
from harness.stats import MIN_CLUSTERS, detectable, half_width, holm, sign_flip

HELPED = {"better": "helps", "worse": "hurts", "tied": "tied", "inconclusive": "inconclusive"}
"""What a verdict on the full arm says of what was taken away."""


@dataclass(frozen=True)
class Part:
    """One task's part of a mean.

    Attributes:
        branch: Branch id.
        variant: Name.
        task: Task id.
        status: Of its cell.
        skill_delta: Difference in skill; None where there is none.
        by_cluster: (G,) what each cluster adds to it, NaN where it has no rows.
        refit_ratio: See `harness.stats.estimate`.
    """

    branch: str
    variant: str
    task: str
    status: str
    skill_delta: float | None
    by_cluster: NDArray[np.float64]
    refit_ratio: float = 0.0


def means_of(parts: Sequence[Part], variants: Sequence[str]) -> list[dict[str, Any]]:
    """Branch by branch and variant by variant, the variants of a branch as one family."""
    found = []
    for branch in dict.fromkeys(part.branch for part in parts):
        mine = {name: [p for p in parts if (p.branch, p.variant) == (branch, name)] for name in variants}
        entries = [_mean(branch, name, of) for name, of in mine.items()]
        _decide(entries)
        found += [{k: v for k, v in entry.items() if not k.startswith("_")} for entry in entries]
    return found


def _mean(branch: str, variant: str, parts: list[Part]) -> dict[str, Any]:
    """The mean over tasks, and what each cluster adds to it, of the clusters that all of these tasks have."""
    counted = [part for part in parts if part.skill_delta is not None]
    deltas = [part.skill_delta for part in counted if part.skill_delta is not None]
    entry: dict[str, Any] = {
        "branch": branch,
        "variant": variant,
        "n_tasks": len(counted),
        "skill_delta": float(np.mean(deltas)) if deltas else None,
        "median": float(np.median(deltas)) if deltas else None,
        **dict.fromkeys(("ci_low", "ci_high", "p", "p_adjusted", "verdict", "leaning", "within_margin", "mde")),
        "margin": MARGIN,
        "n_clusters": 0,
        "tasks": [part.task for part in counted],
        "left_out": {
            "not_answered": [p.task for p in parts if p.status == "not_answered"],
            "failed": [p.task for p in parts if p.status == "failed"],
            "not_shown": [p.task for p in parts if p.status == "not_shown"],
            "without_skill": [p.task for p in parts if p.status == "compared" and p.skill_delta is None],
        },
    }
    if counted:
        table = np.stack([part.by_cluster for part in counted])
        shared = np.isfinite(table).all(axis=0)
        entry |= {"n_clusters": int(shared.sum()), "_clusters": table[:, shared].mean(axis=0), "_shared": shared.tobytes()}
        entry["_ratio"] = max(part.refit_ratio for part in counted)
    return entry


def _decide(entries: list[dict[str, Any]]) -> None:
    """Intervals and verdicts, in place."""
    family = [entry for entry in entries if entry["n_clusters"]]
    for entry, (p, adjusted) in zip(family, _tests(family), strict=True):
        value, n = entry["skill_delta"], entry["n_clusters"]
        if n < MIN_CLUSTERS:
            entry |= {"verdict": "inconclusive", "leaning": _leaning(value)}
            continue
        deviation = float(entry["_clusters"].std(ddof=1)) * np.sqrt(1 + n * entry["_ratio"])
        error = float(deviation / np.sqrt(n))
        half = half_width(error, n)
        verdict = decide(value, error, n, adjusted, MARGIN)
        entry |= {
            "ci_low": value - half,
            "ci_high": value + half,
            "p": p,
            "p_adjusted": adjusted,
            "verdict": HELPED[verdict],
            "leaning": _leaning(value) if verdict == "inconclusive" else None,
            "within_margin": within(value - half, value + half, MARGIN),
            "mde": detectable(error, n),
        }


def _tests(family: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """(p, adjusted p) of each: max-T where all stand on the same clusters, and so share sign vectors; Holm where they do not."""
    groups: dict[bytes, list[int]] = {}
    for i, entry in enumerate(family):
        groups.setdefault(entry["_shared"], []).append(i)
    p: NDArray[np.float64] = np.ones(len(family))
    adjusted: NDArray[np.float64] = np.ones(len(family))
    for members in groups.values():
        if family[members[0]]["n_clusters"] >= MIN_CLUSTERS:
            values = np.stack([family[i]["_clusters"] for i in members], axis=1)
            p[members], adjusted[members] = sign_flip(values)
    adjusted = adjusted if len(groups) <= 1 else holm(p)
    return list(zip(p.tolist(), adjusted.tolist(), strict=True))


def within(low: float | None, high: float | None, margin: float | None) -> bool | None:
    """True where an interval lies inside the margin: it may be told from 0 there, and still matters to nobody."""
    return None if low is None or high is None or margin is None else -margin < low and high < margin


def _leaning(value: float) -> str | None:
    return None if value == 0 else "helps" if value > 0 else "hurts"
