"""One table of a report, and numbers as its cells."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


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


def plain(text: str) -> str:
    """Text that comes from data, without what would move the cursor of whoever prints it."""
    return _CONTROL.sub(" ", text)


def interval(low: float | None, high: float | None) -> str:
    """Both ends, or that there are none."""
    return "not estimable" if low is None or high is None else f"{number(low)} .. {number(high)}"


def number(value: float | None) -> str:
    """Four significant digits, a dash for null."""
    return "-" if value is None else f"{value + 0.0:.4g}"  # + 0.0: no minus before a zero
