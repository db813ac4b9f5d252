"""Turns the tables of train and validation into what the networks learn, and the trained networks into heads."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from branches.heads.config import MLPOptions
from branches.heads.gather import Table, TaskRows
from branches.heads.heads import forward
from branches.heads.linear import best_threshold, trust
from branches.heads.mlp import MLPFit, MLPProblem
from branches.heads.prepare import FittedHead, Prepared
from branches.heads.retrieval import MeetingSpace, fit_meeting_space
from branches.heads.ridge import inner_groups
from harness.answers import recode, recode_sets

Floats = NDArray[np.float32]


@dataclass(eq=False)
class NetworkTask:
    """One network to train, and what its head needs beside it.

    Attributes:
        problem: Rows and targets.
        arrays: Of the head beside the network: target mean and standard deviation, or linear outputs.
        role: Retrieval: which side it maps.
        future: True where the targets are differences to persistence.
    """

    problem: MLPProblem
    arrays: dict[str, NDArray] = field(default_factory=dict)
    role: str = ""
    future: bool = False

    def head(self, fit: MLPFit, fixed: bool) -> FittedHead:
        """The trained network as a head; the threshold of a label set is chosen on validation rows where there are any."""
        details: dict[str, Any] = {"epochs": fit.epochs, "best_epoch": fit.best_epoch, "validation_loss": fit.validation_loss}
        if fit.validation_loss is None:
            details["early_stopping"] = "off: fixed_epochs is set" if fixed else "off: no validation rows, so all epochs ran"
        arrays: dict[str, NDArray] = {**self.arrays, **fit.arrays}
        if self.problem.loss == "labels":
            threshold = 0.5
            if fit.validation_loss is not None:
                chance = scipy.special.expit(forward(arrays, self.problem.validation_rows.astype(np.float64)))
                threshold, details["validation_micro_f1"] = best_threshold(chance, self.problem.validation_targets > 0)
            arrays["threshold"] = np.array(scipy.special.logit(threshold))
            details["threshold"] = threshold
        if self.future and fit.validation_loss is not None:
            mean, std = arrays["target_mean"], arrays["target_std"]
            forecast = forward(arrays, self.problem.validation_rows) * std + mean
            share = trust([(self.problem.validation_targets * std + mean, forecast)], len(mean))
            arrays |= {"target_mean": mean * share, "target_std": std * share}
            details["trust"] = float(share.mean())
        return FittedHead(arrays, details)


@dataclass(eq=False)
class NetworkTasks:
    """Makes the networks' problems from one table.

    Attributes:
        table: Of train.
        prepared: Role -> coordinates of train.
        validation: Of the validation episodes; None where there are none.
        options: Sizes.
    """

    table: Table
    prepared: dict[str, Prepared]
    validation: Table | None
    options: MLPOptions
    _trained: dict[str, Floats] = field(default_factory=dict)
    _rotated: dict[str, Floats] = field(default_factory=dict)

    def make(self, task_id: str, kind: str) -> list[NetworkTask]:
        """The problem of one task; two where both sides of a retrieval task are mapped.

        Args:
            task_id: A task of the table.
            kind: Its answer kind.
        """
        if kind == "retrieval":
            return self._retrieval(task_id)
        rows = self.table.tasks[task_id]
        keep = rows.valid & self.table.usable
        if kind == "label":
            assert rows.labels is not None
            return [self._task(task_id, "classes", rows.labels[keep].astype(np.int64), len(rows.vocabulary), {})]
        if kind == "label_set":
            assert rows.label_sets is not None
            return [self._task(task_id, "labels", rows.label_sets[keep].astype(np.float32), len(rows.vocabulary), {})]
        mean, std = rows.moments(keep)
        targets = ((rows.read_values(np.flatnonzero(keep)) - mean) / std).astype(np.float32)
        return [self._task(task_id, "values", targets, len(mean), {"target_mean": mean, "target_std": std})]

    def _task(self, task_id: str, loss: Any, targets: NDArray, outputs: int, arrays: dict[str, NDArray]) -> NetworkTask:
        rows = self.table.tasks[task_id]
        prepared = self.prepared[""]
        index = np.flatnonzero(rows.valid & self.table.usable)
        held_rows, held_targets = self._held_out(task_id, rows, targets, arrays)
        problem = MLPProblem(task_id, loss, self._rows(""), index, targets, held_rows, held_targets, outputs, prepared.rows.width)
        return NetworkTask(problem, arrays, future=rows.future)

    def _held_out(self, task_id: str, rows: TaskRows, targets: NDArray, arrays: dict[str, NDArray]) -> tuple[Floats, NDArray]:
        """Validation rows and targets in the vocabulary and scale of train; rows of classes that train lacks are left out."""
        none = np.zeros((0, self.prepared[""].rotation.rank), np.float32), targets[:0]
        if self.validation is None:
            return none
        held = self.validation.tasks[task_id]
        keep = held.valid & self.validation.usable
        values: NDArray
        if held.labels is not None:
            values = recode(held.labels, held.vocabulary, rows.vocabulary).astype(np.int64)
            keep = keep & (values >= 0)
        elif held.label_sets is not None:
            values = recode_sets(held.label_sets, held.vocabulary, rows.vocabulary).astype(np.float32)
        elif held.values is not None:
            values = ((held.read_values(slice(None)) - arrays["target_mean"]) / arrays["target_std"]).astype(np.float32)
            keep = keep & np.isfinite(values).any(axis=1)
        else:
            return none
        return (self._validation_rows("")[keep], values[keep]) if keep.any() else none

    def _retrieval(self, task_id: str) -> list[NetworkTask]:
        """Two networks, one from the query into the key's space and one back, in place of the two ridge maps."""
        keep = self.table.tasks[task_id].valid & self.table.usable
        groups, _ = inner_groups(self.table.cluster, self.table.episode, keep, self.options.inner_folds)
        found = []
        for source, goal in (("query", "key"), ("key", "query")):
            options = (self.table, keep, groups, self.options.key_dims, None)
            space = fit_meeting_space(self.prepared[source], self.prepared[goal], *options)
            targets = space.deviations(self._rows(goal)[keep], self.table.episode[keep]).astype(np.float32)
            held = self._held_out_pairs(task_id, source, goal, space, targets)
            columns, index = self.prepared[source].rows.width, np.flatnonzero(keep)
            problem = MLPProblem(task_id, "values", self._rows(source), index, targets, *held, targets.shape[1], columns)
            found.append((NetworkTask(problem, {}, source), space))
        (query, forward), (key, back) = found
        # A vector is the coordinates in the key's space, then those in the query's.
        query.arrays |= dict(zip(("right_projection", "right_bias"), back.goal_map(), strict=True))
        key.arrays |= dict(zip(("left_projection", "left_bias"), forward.goal_map(), strict=True))
        return [query, key]

    def _held_out_pairs(
        self, task_id: str, source: str, goal: str, space: MeetingSpace, targets: Floats
    ) -> tuple[Floats, Floats]:
        if self.validation is not None:
            seen = self.validation.tasks[task_id].valid & self.validation.usable
            if seen.any():
                goals = space.deviations(self._validation_rows(goal)[seen], self.validation.episode[seen])
                return self._validation_rows(source)[seen], goals.astype(np.float32)
        return np.zeros((0, self.prepared[source].rotation.rank), np.float32), targets[:0]

    def _rows(self, role: str) -> Floats:
        """(n, r) coordinates of all training rows of a role, one array for all tasks."""
        if role not in self._trained:
            self._trained[role] = self.prepared[role].coordinates.read(slice(None))
        return self._trained[role]

    def _validation_rows(self, role: str) -> Floats:
        """(v, r) coordinates of all validation rows of a role, once for all tasks."""
        assert self.validation is not None
        if role not in self._rotated:
            prepared = self.prepared[role]
            parts = [prepared.rotation.rotate(prepared.scaler(raw)) for _, raw in self.validation.rows[role].chunks()]
            self._rotated[role] = np.concatenate(parts)
        return self._rotated[role]
