"""What of a table does not take part, as lines: columns that are no features though nobody chose, rows, cells of features."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from harness.episode import BoolArray

NAMED = 5


def column_lines(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """Columns that might have been features and are not numeric: one line, nothing where there are none.

    Args:
        table: The whole file.
        columns: Names of those columns.
    """
    if not columns:
        return []
    each = [f"{name!r} ({_why(table[name])})" for name in columns]
    return [f"{len(columns)} column(s) are no features: {_some(each)}; correct the cells, or name table.features=[A,B]"]


def row_lines(target: str, groups: NDArray[np.object_], there: BoolArray) -> list[str]:
    """How many rows have no finite target, and in which groups: one line, nothing where all have one.

    Args:
        target: Name of the target column.
        groups: (n,) group of every row, None where it has none; such rows are not counted.
        there: (n,) True where the target is finite.
    """
    grouped = np.array([group is not None for group in groups], bool)
    lost = grouped & ~there
    if not lost.any():
        return []
    names, counts = np.unique(groups[lost].astype(str), return_counts=True)
    sizes = dict(zip(*np.unique(groups[grouped].astype(str), return_counts=True), strict=True))
    each = [f"{name} {count} of {sizes[name]}" for name, count in zip(names, counts, strict=True)]
    return [
        f"{lost.sum()} of {grouped.sum()} rows have no target (column {target!r} is empty, NaN or infinite) and are neither "
        f"trained on nor scored: {_some(each)}"
    ]


def cell_lines(features: Sequence[str], groups: NDArray[np.object_], there: BoolArray) -> list[str]:
    """How many cells of the features hold no finite number, and in which columns: one line, nothing where all do.

    Args:
        features: D names.
        groups: (n,) as in `row_lines`.
        there: (n, D) True where a cell is finite.
    """
    grouped = np.array([group is not None for group in groups], bool)
    lost = (~there[grouped]).sum(axis=0)
    if not lost.any():
        return []
    each = [f"{name!r} {count} of {grouped.sum()}" for name, count in zip(features, lost.tolist(), strict=True) if count]
    return [f"{lost.sum()} cell(s) of features are empty, NaN or infinite and read as 0: {_some(each)}"]


def _why(column: pa.ChunkedArray) -> str:
    """Cells that are no number, and the first of them; another type by its name."""
    kind = column.type
    if column.null_count == len(column):
        return "empty"
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_binary(kind):
        return "binary, as text is that is not UTF-8"
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return str(kind)
    cells = column.to_pylist()
    text = [row for row, cell in enumerate(cells) if cell is not None and cell.strip() and not _is_number(cell)]
    if not text:
        return f"{kind}, in which numbers stand"
    return f"{len(text)} of {len(cells)} cells are no number, first in row {text[0] + 1}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _some(each: Sequence[str]) -> str:
    more = f" and {len(each) - NAMED} more" if len(each) > NAMED else ""
    return ", ".join(each[:NAMED]) + more
