"""Groups of a table that hold the same content under two names: what trains on one has seen what the other tests.

By a content column where one is named: equal values. Else by features, which tell only where a coincidence would be a wonder:

* Columns are measured in units of their spread. Two rows are near-duplicates where they agree within a tolerance in all columns
  but `SPARED` of them and a third of them at most: a running index, a code of the group, a column of noise or one left empty in
  the copies hides nothing. The tolerance is the widest of `TOLERANCES` for which the table could hold far more different rows
  than it does: the product of the columns' levels (range over the tolerance, or over the smallest step where values stand on a
  grid) exceeds `ROOM` times the square of the number of different rows; so must that of the columns in which a pair agrees.
  Constants, labels and scales of less than `LEAST_LEVELS` levels are no fingerprint and are not looked at. Where no tolerance
  will do, features say nothing and no group is named.
* A row of one value alone (but in the columns that may differ) is what silence or a default looks like, and no content.
* Two groups are named where they have at least `LEAST_CONTENTS` different contents in common (rows that are near-duplicates are
  one content), and more than chance would put there: pairs that agree within ten tolerances and not within one are at least nine
  times as many as chance pairs within one.

Not found: copies of which more columns differ, or which share fewer contents; in tables of two or three columns one that differs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import poisson

from harness.splits import Split

TOLERANCES = (1e-3, 1e-5, 1e-7)  # of a column's spread
ROOM = 1000.0
LEAST_LEVELS = 16
LEAST_CONTENTS = 3  # two may be defaults
SPARED = 3  # columns that may differ
SHELL = 10.0  # tolerances
SEARCHED = 4  # columns at once: in many dimensions a tree finds nothing to cut off
CHANCE = 1e-4
MOST_NEIGHBOURS = 50  # pairs per different row: more of them are a cloud, not duplicates
MOST_AT_ONCE = 100_000  # pairs whose columns are in memory
MOST_PAIRS = 1000  # of groups that are reported
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shared:
    """Two groups with content in common.

    Attributes:
        groups: Their names, sorted.
        rows: Rows with a counterpart in the other group, of the group that has fewer of them.
        how: What says so.
    """

    groups: tuple[str, str]
    rows: int
    how: str

    @staticmethod
    def from_json(body: dict[str, Any]) -> "Shared":
        """What `as_json` gave."""
        return Shared((body["groups"][0], body["groups"][1]), body["rows"], body["how"])

    def as_json(self) -> dict[str, Any]:
        """For the manifest and the leaderboard."""
        return {"groups": list(self.groups), "rows": self.rows, "how": self.how}


def shared_by_name(groups: Sequence[str], content: Sequence[str | None], column: str) -> list[Shared]:
    """Groups with equal values of a content column; rows without a value share nothing.

    Args:
        groups: (n,) group of every row.
        content: (n,) content of every row, None where it has none.
        column: Name of the content column.
    """
    there = [i for i, value in enumerate(content) if value is not None]
    names, group = np.unique(np.array([groups[i] for i in there], dtype=object).astype(str), return_inverse=True)
    _, item = np.unique(np.array([content[i] for i in there], dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        return []
    rows = csr_array((np.ones(len(there)), (item, group)))
    return _pairs(names, rows, _binary(rows), np.ones((len(names),) * 2, bool), f"equal values of column {column!r}")


def shared_by_features(groups: Sequence[str], features: Floats) -> list[Shared] | None:
    """Groups with near-duplicate rows, see the module; None where features say nothing.

    Args:
        groups: (n,) group of every row.
        features: (n, D), NaN where a cell is empty.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    different, vector = _different(features)
    found = _informative(different)
    if found is None:
        return None
    columns, levels, tolerance = found
    content = _has_content(different[:, columns])
    near, shell = _neighbours(_in_spreads(different[:, columns]), levels, tolerance, content)
    kept = content[vector]
    rows = csr_array((np.ones(kept.sum()), (vector[kept], group[kept])), shape=(len(different), len(names)))
    holds = _binary(rows)
    reach = _binary(near @ holds)
    matched = (holds.T @ reach).toarray()
    chance = (holds.T @ (shell @ holds)).toarray() / (SHELL - 1)
    count = np.minimum(np.minimum(matched, matched.T), _contents(near, holds))
    wonder = (count >= LEAST_CONTENTS) & (poisson.sf(count - 1, chance) < CHANCE)
    how = f"within {tolerance:g} of a column's spread in all but at most {_spared(len(columns))} of {len(columns)} columns"
    return _pairs(names, rows, reach, wonder, f"near-duplicate features ({how})")


def on_both_sides(shared: Iterable[Shared], split: Split) -> list[Shared]:
    """Those of which one group is fitted on and the other tested, in any fold."""
    fitted = {(a, b) for fold in split.folds for a in (*fold.train, *fold.validation) for b in fold.test}
    return [one for one in shared if one.groups in fitted or one.groups[::-1] in fitted]


def _pairs(names: NDArray, rows: csr_array, reach: csr_array, named: NDArray[np.bool_], how: str) -> list[Shared]:
    """The named pairs, those with most rows first.

    Args:
        names: (G,).
        rows: (V, G) rows of every group that are v.
        reach: (V, G) 1 where the group has a counterpart of v.
        named: (G, G).
        how: See `Shared`.
    """
    there = (rows.T @ reach).tocoo()
    found: dict[tuple[int, int], float] = {}
    for a, b, n in zip(there.row.tolist(), there.col.tolist(), there.data.tolist(), strict=True):
        if a != b and n and named[a, b]:
            pair = (min(a, b), max(a, b))
            found[pair] = min(found.get(pair, n), n)
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]
    return [Shared((str(names[a]), str(names[b])), int(n), how) for (a, b), n in most]


def _different(features: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """(V, D) different rows and (n,) which of them each row is."""
    plain = np.ascontiguousarray(features) + 0.0  # no minus before a zero
    plain[np.isnan(plain)] = np.nan  # one bit pattern of the many
    _, first, which = np.unique(
        plain.view(np.dtype((np.void, plain.shape[1] * 8))).ravel(), return_index=True, return_inverse=True
    )
    return plain[first], which.astype(np.int64)


def _in_spreads(rows: Floats) -> Floats:
    """(V, D) columns in units of their spread, NaN where a cell is empty."""
    columns = []
    for column in rows.T:
        known = np.isfinite(column)
        values = column[known]
        low, high = np.quantile(values, [0.25, 0.75])
        spread = (high - low) / 1.349 or values.std() or 1.0
        columns.append(np.where(known, (column - np.median(values)) / spread, np.nan))
    return np.column_stack(columns)


def _informative(rows: Floats) -> tuple[NDArray[np.int64], Floats, float] | None:
    """The columns that tell rows apart, those that tell most first, their levels, and the widest tolerance that will do."""
    some = np.flatnonzero(np.isfinite(rows).any(axis=0))
    scaled = _in_spreads(rows[:, some]) if len(some) else np.zeros((len(rows), 0))
    for tolerance in TOLERANCES:
        levels = np.array([_levels(column, tolerance) for column in scaled.T])
        if np.log(levels[levels >= LEAST_LEVELS]).sum() >= _needed(rows):
            order = np.argsort(-levels, kind="stable")[: int((levels >= LEAST_LEVELS).sum())]
            return some[order], levels[order], tolerance
    return None


def _needed(rows: Floats) -> float:
    """Of the logarithm of the levels of columns that agree."""
    return float(np.log(ROOM) + 2 * np.log(max(len(rows), 2)))


def _spared(columns: int) -> int:
    return min(SPARED, columns // 3)


def _has_content(rows: Floats) -> NDArray[np.bool_]:
    """(V,) whether a row is more than one value and the columns that may differ."""
    known = np.isfinite(rows)
    at = np.maximum(known.sum(axis=1) - 1, 0) // 2
    middle = np.sort(np.where(known, rows, np.inf), axis=1)[np.arange(len(rows)), at]
    return np.asarray((known & (rows != middle[:, None])).sum(axis=1) > _spared(rows.shape[1]))


def _levels(column: Floats, tolerance: float) -> float:
    """How many values between the 5th and the 95th percentile the column can tell apart."""
    known = column[np.isfinite(column)]
    steps = np.diff(np.unique(known))
    steps = steps[steps > tolerance]
    if not len(steps):
        return 1.0
    low, high = np.quantile(known, [0.05, 0.95])
    return float(1 + (high - low) / steps.min())


def _neighbours(rows: Floats, levels: Floats, tolerance: float, content: NDArray[np.bool_]) -> tuple[csr_array, csr_array]:
    """(V, V) 1 where two different rows agree within the tolerance (and for itself), and where only within ten of it.

    The columns are dealt into one part more than may differ: two rows that agree do so in all of one part.
    Where rows crowd within ten tolerances in a part, it is not searched.

    Args:
        rows: (V, D), those columns first that tell most.
        levels: (D,).
        tolerance: In a column.
        content: (V,) rows that are looked at.
    """
    seen = np.flatnonzero(content)
    # An empty cell is far from every value, and equal to another one.
    plain = np.where(np.isfinite(rows), rows, 1e6 + 2 * np.nanmax(np.abs(rows)))
    spared = _spared(rows.shape[1])
    found = [np.zeros((0, 2), np.int64)]
    for part in range(spared + 1):
        tree = cKDTree(plain[np.ix_(seen, np.arange(part, rows.shape[1], spared + 1)[:SEARCHED])])
        if tree.count_neighbors(tree, SHELL * tolerance, p=np.inf) <= MOST_NEIGHBOURS * len(seen):
            found.append(seen[tree.query_pairs(SHELL * tolerance, p=np.inf, output_type="ndarray")])
    pairs = np.unique(np.concatenate(found), axis=0)
    near, far = (_agree(rows, plain, pairs, levels, reach) for reach in (tolerance, SHELL * tolerance))
    ends = np.concatenate([pairs[near], pairs[near][:, ::-1], np.column_stack([seen, seen])])
    shell = pairs[far & ~near]
    return _graph(ends, (len(rows),) * 2), _graph(np.concatenate([shell, shell[:, ::-1]]), (len(rows),) * 2)


def _agree(rows: Floats, plain: Floats, pairs: NDArray[np.int64], levels: Floats, reach: float) -> NDArray[np.bool_]:
    """(n,) pairs that agree in enough columns; two empty cells do, but tell nothing."""
    out = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), MOST_AT_ONCE):
        a, b = pairs[start : start + MOST_AT_ONCE].T
        agrees = np.abs(plain[a] - plain[b]) <= reach
        told = (agrees & np.isfinite(rows[a])) @ np.log(levels)
        out[start : start + len(a)] = ((~agrees).sum(axis=1) <= _spared(len(levels))) & (told >= _needed(rows))
    return out


def _contents(near: csr_array, holds: csr_array) -> Floats:
    """(G, G) how many contents two groups have in common."""
    count, content = connected_components(near, directed=False)
    held = _binary(_graph(np.column_stack([content, np.arange(len(content))]), (count, len(content))) @ holds)
    return np.asarray((held.T @ held).toarray())


def _graph(ends: NDArray, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape)


def _binary(matrix: csr_array) -> csr_array:
    out = csr_array(matrix, copy=True)
    out.data[:] = 1.0
    return out
