"""What a run of several folds says beside its value: numbers of every fold, over folds, of all rows, and the odd fold."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics.base import Metric

Rows = NDArray[np.float64]
Numbers = dict[str, float | None]
FALSE_ALARMS = 0.05  # share of runs with alike folds in which one is called odd
SIMULATED = 20_000  # samples from which the threshold is read
LEAST_FOLDS = 3  # of two neither is the odd one
LEAST_SPREAD = 1e-6  # of the largest value: below it a spread is rounding


def fold_details(metric: Metric, kept: Mapping[tuple[int, int, str], Rows], names: Mapping[int, str]) -> dict[str, Any]:
    """Details of one branch on one task, from what the metric kept of its rows.

    A number is taken per seed and averaged over seeds; it is None where it is undefined for any of them.

    Args:
        metric: Keeps rows, see `Metric.kept`.
        kept: (fold, seed, episode) -> rows.
        names: Fold -> who is tested in it.

    Returns:
        `pooled_NAME` over the rows of all folds; with more than one fold also `per_fold` (fold -> its numbers, `n` rows and
        `group`), `NAME_mean`, `NAME_sd` (divisor folds - 1) and `NAME_folds` over the folds in which the number is defined, and
        `outlier_fold`, see `outlier`, with `outlier_judged`, whether there were folds enough for one.
    """
    folds = sorted({fold for fold, _, _ in kept})
    seeds = sorted({seed for _, seed, _ in kept})
    if not folds:
        return {}
    pooled = _over_seeds(metric, [_rows(kept, folds, seed) for seed in seeds])
    details: dict[str, Any] = {f"pooled_{name}": value for name, value in pooled.items()}
    if len(folds) < 2:
        return details
    per_fold: dict[str, dict[str, Any]] = {}
    for fold in folds:
        parts = [part for seed in seeds if len(part := _rows(kept, [fold], seed))]
        sizes = max((len(part) for part in parts), default=0)
        per_fold[str(fold)] = {"group": names[fold], "n": sizes, **_over_seeds(metric, parts)}
    for name in pooled:
        details |= _over_folds(name, [fold.get(name) for fold in per_fold.values()])
    judged = details[f"{metric.name}_folds"] >= LEAST_FOLDS
    return details | {
        "per_fold": per_fold, "outlier_fold": _outlier_fold(metric.name, per_fold), "outlier_judged": judged,
    }  # fmt: skip


def outlier(values: NDArray[np.float64]) -> tuple[int, float, float] | None:
    """The value that is farthest from the median, where it is too far for one of so many alike values.

    Distance is counted in median absolute deviations; too far is beyond what 95 % of samples of so many normal values reach
    (simulated, seeded), so that among alike folds one is called odd in 5 % of the runs, whatever their number.

    Args:
        values: (F,) finite; of less than three none is odd.

    Returns:
        Its index, its distance in median absolute deviations, the threshold; None where none is odd.
    """
    if len(values) < LEAST_FOLDS:
        return None
    distance = _distances(values)
    index, limit = int(distance.argmax()), threshold(len(values))
    return (index, float(distance[index]), limit) if distance[index] > limit else None


def _distances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., F) distance from the median in median absolute deviations."""
    away = np.abs(values - np.median(values, axis=-1, keepdims=True))
    least = np.maximum(LEAST_SPREAD * np.abs(values).max(axis=-1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(away / np.maximum(np.median(away, axis=-1, keepdims=True), least))


@lru_cache(maxsize=64)
def threshold(count: int) -> float:
    """Median absolute deviations that the farthest of so many normal values exceeds in 5 % of samples."""
    samples = np.random.default_rng(0).normal(size=(SIMULATED, count))
    return float(np.quantile(_distances(samples).max(axis=1), 1 - FALSE_ALARMS))


def outliers_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The odd fold of every model of one task, and whether it is the same.

    Args:
        rows: Of the leaderboard.

    Returns:
        `by_branch` (group or None; floors too, privileged rows not), `same` (over the models, floors left out), `group`, that
        of all models, and `judged`, False where a model has too few folds for an odd one; None where no model has several folds.
    """
    judged = [row for row in rows if "outlier_fold" in row["detail"] and not row["privileged"]]
    models = [row for row in judged if row["family"] != "floor"]
    if not models:
        return None
    found = {row["branch"]: (row["detail"]["outlier_fold"] or {}).get("group") for row in judged}
    groups = {found[row["branch"]] for row in models}
    return {
        "same": len(groups) == 1,
        "group": groups.pop() if len(groups) == 1 else None,
        "by_branch": found,
        "judged": all(row["detail"]["outlier_judged"] for row in models),
    }


def _rows(kept: Mapping[tuple[int, int, str], Rows], folds: Sequence[int], seed: int) -> Rows:
    parts = [rows for (f, s, _), rows in sorted(kept.items(), key=lambda item: item[0]) if f in folds and s == seed]
    return np.concatenate(parts) if parts else np.zeros((0, next(iter(kept.values())).shape[1]))


def _over_seeds(metric: Metric, parts: Sequence[Rows]) -> Numbers:
    found = [metric.numbers(rows) for rows in parts]
    columns = {name: [numbers[name] for numbers in found] for name in (found[0] if found else {})}
    return {name: _mean(values) for name, values in columns.items()}


def _mean(values: Sequence[Any]) -> float | None:
    """None where any is: what is undefined for one seed must not look better without it."""
    return None if any(value is None for value in values) else float(np.mean(values))


def _over_folds(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    known = np.array([value for value in values if value is not None])
    return {
        f"{name}_mean": float(known.mean()) if len(known) else None,
        f"{name}_sd": float(known.std(ddof=1)) if len(known) > 1 else None,
        f"{name}_folds": len(known),
    }


def _outlier_fold(name: str, per_fold: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    known = {fold: numbers for fold, numbers in per_fold.items() if numbers.get(name) is not None}
    values = np.array([numbers[name] for numbers in known.values()])
    found = outlier(values)
    if found is None:
        return None
    index, distance, limit = found
    fold = list(known)[index]
    body = {"fold": fold, "group": known[fold]["group"], name: float(values[index]), "median": float(np.median(values))}
    return body | {"distance": distance, "threshold": limit}
