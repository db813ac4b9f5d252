"""Regressors for the rows of a table: least squares and two small networks. They answer `quality_score` and nothing else."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from branches.heads.adapter import HeadBranch, Job
from branches.heads.config import InputOptions, MediumMLPOptions, RidgeOptions, SmallMLPOptions
from branches.heads.gather import Table
from branches.heads.linear import LinearFitter
from branches.heads.logistic import fold_of
from branches.heads.prepare import FittedHead, Prepared
from branches.heads.relu import Rows, choose_steps, fit_relu, parameter_count, planned_steps
from branches.heads.ridge import inner_groups
from harness.branch import Branch, BranchCard, Route
from harness.config import branch_options
from harness.errors import BadInput
from harness.tasks.base import Task

TASK = "quality_score"


class _TableHead(HeadBranch):
    """A head for tables alone."""

    @classmethod
    def on_embedding(cls, branch: Branch, options: dict[str, Any] | None = None) -> Self:
        """Not this head.

        Raises:
            BadInput: Always.
        """
        name = cls.card.name
        raise BadInput(
            f"branch '{name}@{branch.card.name}': {name} stands on the columns of a table; use ridge@{branch.card.name}"
        )

    def route(self, task: Task) -> Route | None:
        """The target column of a table."""
        return "native" if task.id == TASK else None


class Linear(_TableHead):
    """Linear regression without a penalty."""

    card = BranchCard("linear", "head", "least squares on the columns of a table")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config = branch_options(InputOptions, self.options, "linear")

    def _fit_heads(
        self, job: Job, tasks: tuple[Task, ...], table: Table, prepared: dict[str, Prepared], scratch: Path
    ) -> dict[str, dict[str, FittedHead]]:
        fitter = LinearFitter(table, prepared, RidgeOptions())
        return {"": {task.id: fitter.least_squares(table.tasks[task.id]) for task in tasks}}


class SmallMLP(_TableHead):
    """Two hidden layers of 16 and 8 ReLU units."""

    card = BranchCard("mlp_small", "head", "16-8 ReLU network on the columns of a table")
    options_class: type[SmallMLPOptions] = SmallMLPOptions

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config: SmallMLPOptions = branch_options(self.options_class, self.options, self.card.name)
        _check(self.config, self.card.name)

    def _fit_heads(
        self, job: Job, tasks: tuple[Task, ...], table: Table, prepared: dict[str, Prepared], scratch: Path
    ) -> dict[str, dict[str, FittedHead]]:
        validation = self._table(job, job.validation, tasks, scratch / "validation")
        if validation is not None and validation.layouts != table.layouts:
            raise ValueError("validation groups have other columns than train")
        heads = {task.id: self._fit_network(job, task.id, table, validation, prepared[""]) for task in tasks}
        return {"": heads}

    def _fit_network(self, job: Job, task: str, table: Table, validation: Table | None, prepared: Prepared) -> FittedHead:
        rows = table.tasks[task]
        keep = rows.valid & table.usable
        index = np.flatnonzero(keep)
        mean, std = rows.moments(keep)
        train = Rows(prepared.rows.read(index).astype(np.float64), (rows.read_values(index) - mean) / std)
        widths = (train.inputs.shape[1], *self.config.hidden, train.targets.shape[1])
        details: dict[str, Any] = {"layers": "-".join(map(str, widths)), "parameters": parameter_count(widths)}
        seed, planned = job.context.seed, planned_steps(len(index), self.config)
        held = self._held_out(validation, task, prepared, mean, std)
        if held is None:
            groups, unit = inner_groups(table.cluster, table.episode, keep, self.config.inner_folds)
            folds = fold_of(groups, keep, self.config.inner_folds)[index]
            steps, error = choose_steps(train, folds, self.config, seed, planned)
            fit = fit_relu(train, None, self.config, seed, planned, steps)
            details |= {"steps": fit.step, "steps_chosen_on": f"left-out {unit} of train", "left_out_mse": error}
        else:
            assert validation is not None
            job.saw("early_stopping", validation.episodes)
            fit = fit_relu(train, held, self.config, seed, planned)
            details |= {"steps": fit.step, "steps_chosen_on": "validation groups", "validation_loss": float(fit.losses.min())}
        return FittedHead({"target_mean": mean, "target_std": std, **fit.arrays}, details)

    def _held_out(self, validation: Table | None, task: str, prepared: Prepared, mean: NDArray, std: NDArray) -> Rows | None:
        """Validation rows in the scale of train; None where there are none."""
        if validation is None:
            return None
        rows = validation.tasks[task]
        index = np.flatnonzero(rows.valid & validation.usable)
        if not len(index):
            return None
        inputs = prepared.scaler(validation.rows[""].read(index)).astype(np.float64)
        return Rows(inputs, (rows.read_values(index) - mean) / std)


class MediumMLP(SmallMLP):
    """Two hidden layers of 64 and 32 ReLU units."""

    card = BranchCard("mlp_medium", "head", "64-32 ReLU network on the columns of a table")
    options_class = MediumMLPOptions


def _check(options: SmallMLPOptions, name: str) -> None:
    """What no type says.

    Raises:
        BadInput: Names the option.
    """
    least_one = {
        "hidden": min(options.hidden, default=1),
        **{key: getattr(options, key) for key in ("batch_size", "epochs", "steps", "evaluate_every", "inner_folds")},
    }
    for key, value in least_one.items():
        if value < 1:
            raise BadInput(f"branch.{name}.{key}={getattr(options, key)}: give at least 1")
    for key in ("learning_rate", "weight_decay"):
        if not (np.isfinite(getattr(options, key)) and getattr(options, key) >= 0):
            raise BadInput(f"branch.{name}.{key}={getattr(options, key)}: give a number from 0 up")
