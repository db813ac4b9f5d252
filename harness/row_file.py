"""Rows on disk: a fit passes over more training rows than memory should hold."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

CHUNK_BYTES = 32 * 2**20
EVERY = slice(None)


class RowFile:
    """Rows of one width and dtype, appended once and read back by index. Every read is a copy, so no page stays mapped.

    Args:
        path: File to write; it must not exist.
        dtype: Of the rows.
    """

    def __init__(self, path: Path, dtype: DTypeLike = np.float32) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.width = -1
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def append(self, rows: NDArray) -> None:
        """Add (m, width) rows.

        Raises:
            ValueError: Their width is not that of the rows before.
        """
        if self.width < 0:
            self.width = rows.shape[1]
        if rows.shape[1] != self.width:
            raise ValueError(f"{self.path.name}: rows of {rows.shape[1]} columns after rows of {self.width}")
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.count += len(rows)

    def read(self, index: slice | NDArray, columns: slice = EVERY) -> NDArray:
        """(m, width) the rows at `index`, all columns or some."""
        if not self.count or not self.width:
            return np.zeros((len(np.arange(self.count)[index]), max(self.width, 0)), self.dtype)
        rows = np.memmap(self.path, self.dtype, "r", shape=(self.count, self.width))
        return np.array(rows[index, columns])

    def chunks(self, columns: slice = EVERY) -> Iterator[tuple[slice, NDArray]]:
        """All rows in order, about 32 MiB at a time: (which, (m, width) rows)."""
        size = max(1, CHUNK_BYTES // (self.dtype.itemsize * max(self.width, 1)))
        for start in range(0, self.count, size):
            part = slice(start, min(start + size, self.count))
            yield part, self.read(part, columns)
