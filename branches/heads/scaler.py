"""Standardising: what is subtracted and divided comes from training rows alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.episode import BoolArray
from harness.row_file import EVERY, RowFile

SMALLEST_STD = 1e-6  # below it a column is a constant and its scale is 1 (published rule)
LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class Scaler:
    """(x - mean) / std, cut at +-clip, missing values at the mean, columns weighted.

    Attributes:
        mean: (d,) float32, over the measured entries of train.
        std: (d,) float32, over the measured entries of train.
        weight: (d,) float32 factor per column, by `balance`.
        clip: Standard deviations.
        layer_norm: True brings every row to mean 0 and variance 1 over its columns afterwards (the MLP's first layer).
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    weight: NDArray[np.float32]
    clip: float
    layer_norm: bool = False

    def __call__(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """(m, d) float32 from raw rows; a value that was not measured stands at the train mean, which is 0."""
        rows = np.subtract(raw, self.mean, dtype=np.float32)
        rows /= self.std
        np.clip(rows, -self.clip, self.clip, out=rows)
        rows *= self.weight
        rows[np.isnan(rows)] = 0.0
        if self.layer_norm:
            rows -= rows.mean(axis=1, keepdims=True)
            rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True) + LAYER_NORM_EPSILON)
        return rows

    def take(self, columns: slice) -> "Scaler":
        """The same for some columns."""
        return replace(self, mean=self.mean[columns], std=self.std[columns], weight=self.weight[columns])


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Rows of a file as a scaler makes them, all columns or some.

    Attributes:
        file: Raw rows.
        scaler: Standardises the given columns.
        columns: Which columns of the file are given.
    """

    file: RowFile
    scaler: Scaler
    columns: slice = EVERY

    @property
    def width(self) -> int:
        """Columns."""
        return len(self.scaler.mean)

    def take(self, columns: slice) -> "ScaledRows":
        """Some columns of rows that give all."""
        return ScaledRows(self.file, self.scaler.take(columns), columns)

    def read(self, index: slice | NDArray) -> NDArray[np.float32]:
        """(m, width) rows at `index`."""
        return self.scaler(self.file.read(index, self.columns))

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """All rows in order: (which, (m, width) rows)."""
        for part, chunk in self.file.chunks(self.columns):
            yield part, self.scaler(chunk)


def fit_scaler(rows: RowFile, keep: BoolArray, clip: float, groups: Sequence[slice] = (), *, layer_norm: bool = False) -> Scaler:
    """Mean and standard deviation of the measured entries of the rows in `keep`, one pass; groups of columns as `balance` has."""
    mean, std, varies = column_moments(rows, keep)
    return Scaler(mean.astype(np.float32), std.astype(np.float32), balance(groups, varies), clip, layer_norm)


def column_moments(rows: RowFile, keep: BoolArray) -> tuple[NDArray[np.float64], NDArray[np.float64], BoolArray]:
    """(d,) mean and (d,) standard deviation over measured entries; mean 0 where nothing is measured, std 1 below 1e-6.

    The third is (d,) True where a column varies: its standard deviation is not below 1e-6.
    """
    shift: NDArray[np.float64] | None = None
    count, total, squares = (np.zeros(max(rows.width, 0)) for _ in range(3))
    for part, chunk in rows.chunks():
        values = chunk[keep[part]].astype(np.float64)
        if not len(values):
            continue
        missing = np.isnan(values)
        holes = missing.any()
        if shift is None:
            # Sums about a nearby value keep their digits where a column's mean is large against its spread.
            shift = np.where(missing, 0, values).sum(axis=0) / np.maximum((~missing).sum(axis=0), 1)
        values -= shift
        if holes:
            values[missing] = 0.0
        count += len(values) - (missing.sum(axis=0) if holes else 0)
        total += values.sum(axis=0)
        squares += np.einsum("ij,ij->j", values, values)
    delta = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - delta**2, 0))
    mean = delta if shift is None else np.where(count > 0, shift + delta, 0.0)
    varies = std >= SMALLEST_STD
    return mean, np.where(varies, std, 1.0), varies


def balance(groups: Sequence[slice], varies: BoolArray) -> NDArray[np.float32]:
    """(d,) weights that give every group of columns the total variance of the one that has most.

    A penalty treats all standardised columns alike: a hundred columns of recent past would drown in eight thousand features.
    A column that does not vary on the training rows has no variance, so it changes the weight of no other.

    Args:
        groups: Columns that count as one source of evidence each; those of none weigh 1.
        varies: (d,) as `column_moments` gives it.
    """
    weight = np.ones(len(varies), np.float32)
    totals = [int(varies[group].sum()) for group in groups]
    for group, total in zip(groups, totals, strict=True):
        weight[group] = np.sqrt(max(totals) / total) if total else 1.0
    return weight
