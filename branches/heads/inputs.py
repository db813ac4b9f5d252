"""From an observed batch to raw rows: feature columns of all views, NaN where a block was not measured, and the recent past."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.heads.config import InputOptions
from harness.episode import BoolArray
from harness.tasks.base import Task
from harness.tasks.horizon import hold_last
from harness.window import FeatureMatrix, ObservedBatch

Embed = Callable[[ObservedBatch], NDArray[np.float32]]
EMBEDDING = "embedding"


@dataclass(frozen=True)
class Layout:
    """What the columns of raw rows are.

    Attributes:
        views: Per view its blocks, (name, columns) each. The difference of two views of equal blocks stands as a third.
        history: Columns of the recent past, after the features.
    """

    views: tuple[tuple[tuple[str, int], ...], ...]
    history: int = 0

    @property
    def alike(self) -> bool:
        """True for a pair whose views show the same blocks: their difference means something."""
        return len(self.views) == 2 and self.views[0] == self.views[1]

    @property
    def view_widths(self) -> list[int]:
        """Feature columns of each view."""
        return [sum(width for _, width in blocks) for blocks in self.views]

    @property
    def features(self) -> int:
        """Feature columns of all views and their difference."""
        return sum(self.view_widths) + (self.view_widths[0] if self.alike else 0)

    @property
    def width(self) -> int:
        """All columns."""
        return self.features + self.history

    @property
    def groups(self) -> list[slice]:
        """Columns that count as one source of evidence each: the features, and the recent past."""
        cuts = [slice(0, self.features), slice(self.features, self.width)]
        return [cut for cut in cuts if cut.stop > cut.start]

    def view_columns(self, view: int) -> slice:
        """Feature columns of one view."""
        start = sum(self.view_widths[:view])
        return slice(start, start + self.view_widths[view])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"views": [[list(block) for block in view] for view in self.views], "history": self.history}

    @staticmethod
    def from_json(body: dict[str, Any]) -> "Layout":
        """What `to_json` gave."""
        return Layout(tuple(tuple((str(n), int(w)) for n, w in view) for view in body["views"]), int(body["history"]))


@dataclass(frozen=True, eq=False)
class RawRows:
    """Rows as they were observed.

    Attributes:
        values: (B, width) float32, NaN where not measured.
        usable: (B,) True where there is something to answer from: a measured block in every view, or a known past.
        layout: What the columns are.
        base: (B, D_step) the last observed step of the forecast quantity, 0 where never observed; None elsewhere.
    """

    values: NDArray[np.float32]
    usable: BoolArray
    layout: Layout
    base: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class InputMaker:
    """Makes the raw rows of one task and role.

    Attributes:
        task: The task.
        options: `history_steps` matters here.
        embed: The embedding that stands in for the features (probes), else None.
        layout: What the columns must be; None takes what comes.
    """

    task: Task
    options: InputOptions
    embed: Embed | None = None
    layout: Layout | None = field(default=None)

    def __call__(self, batch: ObservedBatch) -> RawRows:
        """The raw rows of a batch.

        Raises:
            ValueError: The batch has other blocks than those the head was fitted on.
        """
        raw = self._embedded(batch) if self.embed else self._observed(batch)
        if self.layout is not None and raw.layout != self.layout:
            raise ValueError(f"task {batch.task}: this batch has other feature blocks than the head was fitted on")
        return raw

    def _embedded(self, batch: ObservedBatch) -> RawRows:
        assert self.embed is not None
        values = np.array(self.embed(batch), np.float32).reshape(len(batch), -1)
        values[~np.isfinite(values)] = np.nan
        base = self._past(batch)[0] if self.task.tracks_for_history() else None
        layout = Layout((((EMBEDDING, values.shape[1]),),))
        return RawRows(values, np.asarray(np.isfinite(values).any(axis=1)), layout, base)

    def _observed(self, batch: ObservedBatch) -> RawRows:
        shown = [_masked(view.features, len(batch)) for view in batch.views]
        layout = Layout(tuple(blocks for _, _, blocks in shown))
        parts = [values for values, _, _ in shown]
        if layout.alike:
            parts.append(parts[1] - parts[0])
        usable = np.asarray(np.stack([usable for _, usable, _ in shown]).all(axis=0))
        base = None
        if self.task.tracks_for_history():
            base, known, recent = self._past(batch)
            parts.append(recent)
            usable |= known
            layout = Layout(layout.views, recent.shape[1])
        return RawRows(np.concatenate(parts, axis=1), usable, layout, base)

    def _past(self, batch: ObservedBatch) -> tuple[NDArray[np.float64], BoolArray, NDArray[np.float32]]:
        """(B, D_step) held last step, (B,) whether any is known, (B, steps * D_step) that step and the steps that led to it."""
        values, valid = self.task.history(batch.views[0])
        held, known = hold_last(values, valid)
        recent = np.where(valid, values, np.nan)[:, -self.options.history_steps :]
        columns = [np.where(known, held, np.nan)[:, None], np.diff(recent, axis=1)]
        past = np.concatenate(columns, axis=1).reshape(len(batch), -1)
        return np.asarray(held, np.float64), np.asarray(known.any(axis=1)), past.astype(np.float32)


def _masked(features: FeatureMatrix | None, n: int) -> tuple[NDArray[np.float32], BoolArray, tuple[tuple[str, int], ...]]:
    """(n, D) feature columns with NaN in blocks that are not valid, (n,) True where any block is, and the blocks."""
    if features is None or not features.blocks:
        return np.zeros((n, 0), np.float32), np.zeros(n, bool), ()
    widths = [columns.stop - columns.start for columns in features.blocks.values()]
    values = features.values.copy()
    for i, columns in enumerate(features.blocks.values()):
        values[~features.valid[:, i], columns] = np.nan
    return values, np.asarray(features.valid.any(axis=1)), tuple(zip(features.blocks, widths, strict=True))
