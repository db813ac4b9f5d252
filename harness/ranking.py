"""The order of the branches on one task: who may be ranked, in which company, and what the pairs say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from harness.compare import Contrast, Side, compare, rank_intervals
from harness.metrics.base import Metric

LEAST_COVERAGE = 0.95
"""Under this share of answered samples a branch is shown, not ranked."""


@dataclass(frozen=True)
class Entry:
    """One branch on one task.

    Attributes:
        side: Its name and states.
        value: Ranked value, None where there is none.
        route: `native`, `derived` or `probe`.
        track: `common` inputs or `full`.
        unranked: Why it is shown and not ranked; None where it is ranked.
    """

    side: Side
    value: float | None
    route: str
    track: str
    unranked: str | None = None

    @property
    def company(self) -> tuple[str, str]:
        """Only branches of one route and one input track are ranked together."""
        return self.route, self.track


@dataclass
class Ranking:
    """What the pairs of one task say.

    Attributes:
        intervals: Branch -> rank interval, for those that are ranked.
        contrasts: All pairs within a company, better value first.
        companies: JSON values: route, track, how many are ranked, the leaders (those that no other beats), and the winner.
    """

    intervals: dict[str, tuple[int, int]] = field(default_factory=dict)
    contrasts: list[Contrast] = field(default_factory=list)
    companies: list[dict[str, Any]] = field(default_factory=list)


def rank(metric: Metric, entries: Sequence[Entry], margin: float | None) -> Ranking:
    """Compare all pairs of every company, and rank those that may be ranked.

    The pairs of ranked branches are one family, pairs with any other are another: who is only shown decides nothing.

    Args:
        metric: Of the task.
        entries: Without privileged rows.
        margin: What counts as equal, see `harness.compare.margin_of`.
    """
    found = Ranking()
    for company in dict.fromkeys(entry.company for entry in entries):
        members = sorted((e for e in entries if e.company == company), key=lambda e: _order(metric, e))
        pairs = list(combinations(members, 2))
        families = [[(a, b) for a, b in pairs if (a.unranked is b.unranked is None) == both] for both in (True, False)]
        contrasts = [c for family in families for c in compare(metric, [(a.side, b.side) for a, b in family], margin)]
        ranked = [entry.side.name for entry in members if entry.unranked is None]
        intervals = rank_intervals(ranked, contrasts)
        found.contrasts += contrasts
        found.intervals |= intervals
        if ranked:
            found.companies.append(_summary(company, intervals))
    return found


def _order(metric: Metric, entry: Entry) -> tuple[bool, float, str]:
    sign = 1.0 if metric.direction == "down" else -1.0
    return entry.value is None, 0.0 if entry.value is None else sign * entry.value, entry.side.name


def _summary(company: tuple[str, str], intervals: dict[str, tuple[int, int]]) -> dict[str, Any]:
    leaders = [name for name, (best, _) in intervals.items() if best == 1]
    alone = len(intervals) > 1 and len(leaders) == 1 and intervals[leaders[0]][1] == 1
    return {
        "route": company[0],
        "track": company[1],
        "ranked": len(intervals),
        "leaders": leaders,
        "winner": leaders[0] if alone else None,
    }
