"""Folds side by side: what each model does over folds, and what each fold does to the models."""

from typing import Any

from harness.folds import LEAST_FOLDS
from harness.report.section import Section, number

POOLED = "pooled_"
RULE = "RMSE farther from the median than in 95 % of runs with alike folds"


def fold_sections(rows: list[dict[str, Any]]) -> list[Section]:
    """Two tables where the rows of a task have numbers by fold, one where a single fold has numbers of its rows together.

    Args:
        rows: Of one task.
    """
    rows = [row for row in rows if not row["privileged"] and _pooled(row)]
    if not rows:
        return []
    names = _pooled(rows[0])
    if not _by_fold(rows[0]):
        cells = [(row["branch"], _params(row), *(_defined(row["detail"][f"{POOLED}{name}"]) for name in names)) for row in rows]
        return [Section("All test rows together", ("branch", "params", *names), cells)]
    return [_over_folds(rows, names), _per_fold(rows, names)]


def outlier_lines(task: dict[str, Any]) -> list[str]:
    """Which fold is odd, and whether for every model; nothing where no model has numbers by fold."""
    found = task["outlier_fold"]
    if found is None:
        return []
    if not found["judged"]:
        return [f"outlier fold: not judged with fewer than {LEAST_FOLDS} folds"]
    if found["same"]:
        which = f"{found['group']}, the same for every model" if found["group"] else "none, for any model"
        return [f"outlier fold ({RULE}): {which}"]
    each = ", ".join(f"{branch}: {group or 'none'}" for branch, group in found["by_branch"].items())
    return [f"outlier fold ({RULE}): not the same for every model ({each})"]


def _pooled(row: dict[str, Any]) -> list[str]:
    """Names of the numbers over all rows together."""
    return [name.removeprefix(POOLED) for name in row["detail"] if name.startswith(POOLED)]


def _params(row: dict[str, Any]) -> str:
    params = row["cost"]["params"]
    return "-" if params is None else f"{params:,}"


def _by_fold(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Empty for metrics whose folds have a value and no more."""
    return row["detail"]["per_fold"] if "outlier_fold" in row["detail"] else {}


def _over_folds(rows: list[dict[str, Any]], names: list[str]) -> Section:
    columns = ("branch", "params", *(f"{name}{what}" for name in names for what in (" mean (sd)", " pooled")), "outlier fold")
    body = []
    for row in rows:
        detail, cells = row["detail"], []
        for name in names:
            cells += [_mean_and_sd(detail, name, len(_by_fold(row))), _defined(detail[f"{POOLED}{name}"])]
        odd = detail["outlier_fold"]
        body.append(
            (row["branch"], _params(row), *cells, odd["group"] if odd else "none" if detail["outlier_judged"] else "not judged")
        )
    return Section("Over folds: mean (sd over folds, divisor folds - 1); pooled: the rows of all folds together", columns, body)


def _mean_and_sd(detail: dict[str, Any], name: str, folds: int) -> str:
    mean, sd, known = (detail[f"{name}_{what}"] for what in ("mean", "sd", "folds"))
    if mean is None:
        return "undefined"
    spread = "" if sd is None else f" ({number(sd)})"
    return f"{number(mean)}{spread}" + ("" if known == folds else f" in {known} of {folds}")


def _per_fold(rows: list[dict[str, Any]], names: list[str]) -> Section:
    body = []
    for fold, about in _by_fold(rows[0]).items():
        cells = [" / ".join(_defined(_by_fold(row).get(fold, {}).get(name)) for name in names) for row in rows]
        body.append((fold, about["group"], str(about["n"]), *cells))
    columns = ("fold", "tested", "n", *(row["branch"] for row in rows))
    return Section(f"Every fold: {' / '.join(names)}", columns, body)


def _defined(value: float | None) -> str:
    """A number, or the word for what is none."""
    return "undefined" if value is None else number(value)
