"""Ridge and MLP as branches: on window features, or as probes on the embedding of another branch."""

import shutil
import tempfile
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from branches.heads.config import InputOptions, MLPOptions, RidgeOptions
from branches.heads.gather import Table, gather
from branches.heads.heads import HeadPredictor, HeadWriter
from branches.heads.inputs import Embed, InputMaker
from branches.heads.linear import LinearFitter
from branches.heads.prepare import FittedHead, Prepared, prepare
from harness.branch import Artifact, Branch, BranchCard, FitContext, Needs, Predictor, Route, TrainingSet
from harness.config import branch_options
from harness.errors import BadInput
from harness.tasks.base import Task
from harness.window import ObservedBatch

INNER = "inner"


@dataclass(eq=False)
class Job:
    """One fit under way."""

    train: TrainingSet
    validation: TrainingSet
    context: FitContext
    scratch: Path
    embed: Embed | None
    writer: HeadWriter
    fitted_on: dict[str, set[str]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def saw(self, part: str, episodes: tuple[str, ...]) -> None:
        self.fitted_on.setdefault(part, set()).update(episodes)


class HeadBranch(Branch):
    """What both heads share: which tasks stand on the same rows, how these are read, and where heads go."""

    config: InputOptions
    layer_norm = False
    concurrent = False

    def __init__(self, options: dict[str, Any] | None = None, inner: Branch | None = None) -> None:
        super().__init__(options)
        self.inner = inner
        if inner is not None:
            name, title = f"{self.card.name}@{inner.card.name}", f"{self.card.title}, on the embedding of {inner.card.title}"
            self.card = replace(inner.card, name=name, family=self.card.family, title=title, fitted=True)

    @classmethod
    def on_embedding(cls, branch: Branch, options: dict[str, Any] | None = None) -> Self:
        """The head as a probe of another branch: `ridge@BRANCH`."""
        return cls(options, branch)

    def route(self, task: Task) -> Route | None:
        """Every task: natively, or as a probe on an embedding."""
        return "native" if self.inner is None else "probe"

    def needs(self, task: Task) -> Needs:
        """Window features, or what the embedded branch asks for; and the past of a continuous future."""
        if self.inner is None:
            return Needs(tracks=task.tracks_for_history(), features=True)
        asked = self.inner.needs(task)
        return replace(asked, tracks=tuple(dict.fromkeys((*asked.tracks, *task.tracks_for_history()))))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Fit a head for every task of the context.

        Raises:
            BadInput: The branch to be probed offers no embedding.
        """
        inner = self._fit_inner(train, validation, context)
        writer = HeadWriter(context.out, self.config.history_steps)
        sets = self._input_sets(context.tasks)
        at_once = min(context.threads, len(sets)) if self.concurrent and inner is None else 1
        with (
            threadpool_limits(1 if at_once > 1 else context.threads),
            tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch,
            ThreadPoolExecutor(max(at_once, 1)) as pool,
        ):
            embed = None if inner is None else self._embed(inner)
            job = Job(train, validation, context, Path(scratch), embed, writer)
            # Rows of as many input sets at a time as there are threads; half of the work is memory traffic, on one thread.
            list(pool.map(lambda item: self._fit_input_set(job, item[1], str(item[0])), enumerate(sets)))
        writer.close()
        job.saw("rows", train.episodes)  # also where no task could be fitted: the bundle must say so
        seen = {part: tuple(sorted(ids)) for part, ids in job.fitted_on.items()}
        seen |= {f"{INNER}/{part}": ids for part, ids in (inner.fitted_on if inner else {}).items()}
        told = inner.prompts if inner else ()
        return Artifact(context.out, seen, job.classes, writer.parameters, job.details, told)

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the heads, and the embedded branch's predictor with them."""
        from harness.tasks import get_task  # noqa: PLC0415  so that a card can be read without the tasks

        embed = None if self.inner is None else self._embed(Artifact.load(artifact.folder / INNER))
        return HeadPredictor(artifact.folder, get_task, embed)

    def _input_sets(self, tasks: tuple[Task, ...]) -> list[tuple[Task, ...]]:
        """Tasks that see the same rows share scaler, rotation and factorisation."""
        sets: dict[Any, list[Task]] = {}
        for task in tasks:
            alone = self.inner is not None or task.answer == "retrieval" or bool(task.tracks_for_history())
            sets.setdefault(task.id if alone else (task.samples, task.views), []).append(task)
        # The widest and longest ones first, so that no thread is left alone with one.
        return sorted((tuple(found) for found in sets.values()), key=lambda tasks: (tasks[0].samples == "window", -len(tasks)))

    def _fit_input_set(self, job: Job, tasks: tuple[Task, ...], name: str) -> None:
        scratch = job.scratch / name
        try:
            self._fit_rows(job, tasks, name, scratch)
        finally:
            shutil.rmtree(scratch)

    def _fit_rows(self, job: Job, tasks: tuple[Task, ...], name: str, scratch: Path) -> None:
        table = self._table(job, job.train, tasks, scratch / "train")
        reasons = {task.id: _why_not(task, table) for task in tasks}
        for task in tasks:
            rows = None if table is None else table.tasks[task.id]
            width = rows.values.width if rows is not None and rows.values is not None else 0
            job.writer.describe(task, rows.vocabulary if rows else (), width, reasons[task.id])
            if reasons[task.id]:
                job.details[task.id] = {"unsupported": reasons[task.id]}
        answered = tuple(task for task in tasks if not reasons[task.id])
        if table is None or not answered:
            return
        prepared = {
            role: prepare(file, table.layouts[role], table.usable, self.config, file.path.parent, layer_norm=self.layer_norm)
            for role, file in table.rows.items()
        }
        job.saw("scaler", table.episodes)
        for task in answered:
            rows = table.tasks[task.id]
            job.saw("weights", rows.episodes)
            if rows.vocabulary:
                job.saw("vocabulary", rows.episodes)
                job.classes[task.id] = rows.vocabulary
        for task in answered:
            job.details[task.id] = {
                f"{role}{'_' if role else ''}coordinates": f"{found.rotation.rank} of {found.rows.width} columns"
                for role, found in prepared.items()
            }
        for role, heads in self._fit_heads(job, answered, table, prepared, scratch).items():
            job.writer.add(f"{name}{role}", table.layouts[role], prepared[role], heads, role)
            for task_id, head in heads.items():
                if head.details:
                    job.details.setdefault(task_id, {}).update({role: head.details} if role else head.details)

    @abstractmethod
    def _fit_heads(
        self, job: Job, tasks: tuple[Task, ...], table: Table, prepared: dict[str, Prepared], scratch: Path
    ) -> dict[str, dict[str, FittedHead]]:
        """Role -> task id -> head, for tasks of one input set."""

    def _table(self, job: Job, training: TrainingSet, tasks: tuple[Task, ...], scratch: Path) -> Table | None:
        scratch.mkdir(parents=True)
        makers = {task.id: InputMaker(task, self.config, job.embed) for task in tasks}
        return gather(training, tasks, makers, self.needs, scratch)

    def _fit_inner(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact | None:
        if self.inner is None:
            return None
        tasks = tuple(task for task in context.tasks if self.inner.route(task) is not None)
        folder = context.out / INNER
        folder.mkdir()
        artifact = self.inner.fit(train, validation, replace(context, tasks=tasks, out=folder))
        artifact.save()
        return artifact

    def _embed(self, artifact: Artifact) -> Embed:
        assert self.inner is not None
        predictor, inner, name = self.inner.predictor(artifact), self.inner.card.name, self.card.name

        def embed(batch: ObservedBatch) -> NDArray[np.float32]:
            found = predictor.embed(batch)
            if found is None:
                raise BadInput(f"branch {name!r}: {inner} offers no embedding for task {batch.task}; leave {name} out")
            return np.asarray(found, np.float32)

        return embed


class Ridge(HeadBranch):
    """Logistic regression for labels, ridge for everything else; penalties by left-out clusters of train."""

    concurrent = True
    card = BranchCard("ridge", "head", "ridge and logistic heads on window features")

    def __init__(self, options: dict[str, Any] | None = None, inner: Branch | None = None) -> None:
        super().__init__(options, inner)
        self.config: RidgeOptions = branch_options(RidgeOptions, self.options, "ridge")
        if self.config.logistic_steps is not None and self.config.logistic_penalty is None:
            raise BadInput("branch.ridge.logistic_steps needs branch.ridge.logistic_penalty: with fixed steps none is chosen")

    def _fit_heads(
        self, job: Job, tasks: tuple[Task, ...], table: Table, prepared: dict[str, Prepared], scratch: Path
    ) -> dict[str, dict[str, FittedHead]]:
        fitter = LinearFitter(table, prepared, self.config)
        if tasks[0].answer == "retrieval":
            return {role: {tasks[0].id: head} for role, head in fitter.retrieval(table.tasks[tasks[0].id]).items()}
        fits = {"label": fitter.labels, "label_set": fitter.label_sets, "vector": fitter.vectors}
        return {"": {task.id: fits[task.answer](table.tasks[task.id]) for task in tasks}}


class MLP(HeadBranch):
    """A network of two hidden layers per task, stopped early on validation episodes."""

    card = BranchCard("mlp", "head", "MLP heads on window features")
    layer_norm = True

    def __init__(self, options: dict[str, Any] | None = None, inner: Branch | None = None) -> None:
        super().__init__(options, inner)
        self.config: MLPOptions = branch_options(MLPOptions, self.options, "mlp")
        if self.config.workers > 1:
            self.card = replace(self.card, fit_cpus=0.0)

    def _fit_heads(
        self, job: Job, tasks: tuple[Task, ...], table: Table, prepared: dict[str, Prepared], scratch: Path
    ) -> dict[str, dict[str, FittedHead]]:
        from branches.heads.mlp import train  # noqa: PLC0415  torch comes with it
        from branches.heads.networks import NetworkTasks  # noqa: PLC0415

        fixed = self.config.fixed_epochs is not None
        validation = None if fixed else self._table(job, job.validation, tasks, scratch / "validation")
        if validation is not None and validation.layouts != table.layouts:
            raise ValueError(f"task {tasks[0].id}: validation episodes have other feature blocks than train")
        if validation is not None:
            job.saw("early_stopping", validation.episodes)
        maker = NetworkTasks(table, prepared, validation, self.config)
        networks = [network for task in tasks for network in maker.make(task.id, task.answer)]
        fits = train([n.problem for n in networks], self.config, job.context.seed, job.context.threads, str(scratch))
        heads: dict[str, dict[str, FittedHead]] = {}
        for network, fit in zip(networks, fits, strict=True):
            heads.setdefault(network.role, {})[network.problem.name] = network.head(fit, fixed)
        return heads


def _why_not(task: Task, table: Table | None) -> str:
    """Why a task cannot be fitted; empty where it can."""
    if table is None:
        return "train has no sample of this task"
    if any(layout.width == 0 for layout in table.layouts.values()):
        return "no feature block of the data set may be seen in this task"
    rows = table.tasks[task.id]
    if (rows.valid & table.usable).sum() < 2:
        return "fewer than two training rows have both inputs and a target"
    if task.answer in ("label", "label_set") and not rows.vocabulary:
        return "no label occurs in train"
    if task.answer == "vector" and rows.values is None:
        return "the targets of train have no numbers"
    return ""
