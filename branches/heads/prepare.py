"""Scaler, rotation and coordinates of one input set: what all heads on it share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.heads.config import InputOptions
from branches.heads.inputs import Layout
from branches.heads.rotation import Rotation, fit_rotation
from branches.heads.scaler import ScaledRows, Scaler, fit_scaler
from harness.episode import BoolArray
from harness.row_file import RowFile


@dataclass(frozen=True, eq=False)
class Prepared:
    """An input set, ready for heads.

    Attributes:
        rows: Standardised training rows.
        rotation: Their singular vectors.
        coordinates: (n, r) on disk.
    """

    rows: ScaledRows
    rotation: Rotation
    coordinates: RowFile

    @property
    def scaler(self) -> Scaler:
        """Of the training rows."""
        return self.rows.scaler

    def read(self, index: slice | NDArray) -> NDArray[np.float64]:
        """(m, r) coordinates of training rows."""
        return self.coordinates.read(index).astype(np.float64)


@dataclass(eq=False)
class FittedHead:
    """What a fit found for one task and role.

    Attributes:
        arrays: What `branches.heads.heads` makes scores of; `projection` (r, m) stands on rotated coordinates.
        details: For a reader; JSON values.
    """

    arrays: dict[str, NDArray]
    details: dict[str, Any] = field(default_factory=dict)


def prepare(
    file: RowFile, layout: Layout, keep: BoolArray, options: InputOptions, scratch: Path, *, layer_norm: bool = False
) -> Prepared:
    """Fit scaler and rotation on the rows in `keep` and put all rows into coordinates.

    Args:
        file: Raw training rows.
        layout: Their columns.
        keep: (n,) usable rows.
        options: Clip and sizes.
        scratch: Where the coordinates are written, beside the rows.
        layer_norm: As in `Scaler`.
    """
    scaler = fit_scaler(file, keep, options.clip, layout.groups, layer_norm=layer_norm)
    rows = ScaledRows(file, scaler)
    rotation = fit_rotation(rows, keep, options.max_rank, options.max_gram)
    coordinates = RowFile(scratch / f"{file.path.stem}.coordinates")
    rotation.write_coordinates(coordinates, len(file))
    return Prepared(rows, rotation, coordinates)
