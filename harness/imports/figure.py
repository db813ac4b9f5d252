"""One published figure beside what its own rows give, ours, and the floor under it."""

from collections.abc import Iterable
from dataclasses import dataclass

TOLERANCE = 1e-15
"""Relative; what the order of a sum may move in the last digit: such a figure is reproduced, and it is said."""


@dataclass(frozen=True)
class Figure:
    """A line of the table.

    Attributes:
        place: Which files, e.g. `qwen/v1`.
        name: As it is called where it was published.
        published: As it stands there.
        recomputed: By the same definition from the rows; None where the files do not carry what it takes.
        reason: Why it cannot be recomputed.
        ours: What the evaluator here says of the same rows.
        floor: What costs nothing.
        exact: True where the last digit counts as well: figures of counts, whose sums have no order.
    """

    place: str
    name: str
    published: float
    recomputed: float | None = None
    reason: str = ""
    ours: str = ""
    floor: str = ""
    exact: bool = False

    @property
    def reproduced(self) -> bool | None:
        """None where it cannot be recomputed."""
        if self.recomputed is None:
            return None
        apart = abs(self.published - self.recomputed)
        return apart <= (0.0 if self.exact else TOLERANCE * abs(self.published))

    @property
    def same(self) -> bool:
        """True where it is recomputed to the last digit."""
        return self.published == self.recomputed


def table(figures: Iterable[Figure]) -> list[str]:
    """Markdown lines of those that can be recomputed and are no counts."""
    lines = ["| files | figure | published | recomputed | | ours | floor |", "|---|---|---|---|---|---|---|"]
    for figure in figures:
        if figure.recomputed is not None and not isinstance(figure.published, int):
            mark = ("reproduced" if figure.same else "last digit differs") if figure.reproduced else "**differs**"
            cells = (
                figure.place,
                figure.name,
                _cell(figure.published),
                _cell(figure.recomputed),
                mark,
                figure.ours,
                figure.floor,
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return lines


def counts(figures: Iterable[Figure]) -> list[str]:
    """Markdown lines of the counts that can be recomputed, those of one place together."""
    found: dict[str, list[str]] = {}
    for figure in figures:
        if figure.recomputed is not None and isinstance(figure.published, int):
            differs = "" if figure.reproduced else f" (**differs**: {figure.recomputed!r})"
            found.setdefault(figure.place, []).append(f"{figure.name} = {figure.published}{differs}")
    return [f"- {place}: {', '.join(names)}" for place, names in found.items()]


def not_reproducible(figures: Iterable[Figure]) -> list[str]:
    """Markdown lines of the rest, those of one place and reason together."""
    found: dict[tuple[str, str], list[str]] = {}
    for figure in figures:
        if figure.recomputed is None:
            found.setdefault((figure.place, figure.reason), []).append(f"{figure.name} = {_cell(figure.published)}")
    return [f"- {place}: {', '.join(names)}: {reason}" for (place, reason), names in found.items()]


def short(value: float | None) -> str:
    """Four digits behind the point: enough beside a figure that stands in full."""
    return "-" if value is None else f"{value:.4f}"


def _cell(value: float) -> str:
    return repr(value)
