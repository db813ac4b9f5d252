"""One table of a report, and numbers as its cells."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: Empty for the main table of a task.
        columns: Their names.
        rows: Cells under them.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def interval(low: float | None, high: float | None) -> str:
    """Both ends, or that there are none."""
    return "not estimable" if low is None or high is None else f"{number(low)} .. {number(high)}"


def number(value: float | None) -> str:
    """Four significant digits, a dash for null."""
    return "-" if value is None else f"{value + 0.0:.4g}"  # + 0.0: no minus before a zero
