"""Fit: one branch on one fold with one seed, in a Ray task; a training loop inside it runs under Ray Train."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.branch import Artifact, FitContext
from harness.card import first_line
from harness.manifest import write_json
from harness.pipeline.memory import peak_gib, reset_peak
from harness.pipeline.plan import Plan
from harness.pipeline.processes import note_process
from harness.pipeline.room import lacking, machines
from harness.pipeline.workbench import Workbench
from harness.splits import Fold
from harness.video import frames_decoded

INPUT = "input.json"


@dataclass(frozen=True)
class FitJob:
    """One fit.

    Attributes:
        branch: Branch id.
        fold: Fold id.
        seed: Seed.
    """

    branch: str
    fold: int
    seed: int


def artifact_folder(plan: Plan, job: FitJob) -> Path:
    """Where the fit's files stand."""
    return plan.bundle(job.branch, job.fold, job.seed) / "artifact"


def is_fitted(plan: Plan, job: FitJob, bench: Workbench) -> bool:
    """True where a fit was finished that would be the same today."""
    folder = artifact_folder(plan, job)
    if not all((folder / name).is_file() for name in ("artifact.json", INPUT)):
        return False
    return bool(json.loads((folder / INPUT).read_text()) == fit_input(plan, job, bench))


def fit_input(plan: Plan, job: FitJob, bench: Workbench) -> dict[str, Any]:
    """What a fit stands on beside the frozen options: an episode that could not be read then may be there now."""
    branch = plan.make_branch(job.branch)
    answered = [task for task in map(plan.task, plan.tasks) if plan.route(job.branch, branch, task) is not None]
    features = any(branch.needs(task).features for task in answered)
    fold = plan.split.folds[job.fold]
    return {
        "train": [e for e in fold.train if bench.usable(e)],
        "validation": [e for e in fold.validation if bench.usable(e)],
        "block_widths": {block.name: plan.block_widths[block.name] for block in bench.blocks} if features else {},
    }


def fit_branch(plan: Plan, job: FitJob, bench: Workbench | None = None) -> float:
    """The stage: fit a branch and leave its artifact. What an older fit of it had predicted goes.

    Returns:
        Wall seconds.
    """
    bench = bench or Workbench(plan)
    began, decoded = time.monotonic(), frames_decoded()
    reset_peak()
    note_process(plan.home, job.branch, "fit")
    fold: Fold = plan.split.folds[job.fold]
    branch = plan.make_branch(job.branch)
    posed = {task for e in fold.train if bench.usable(e) for task in bench.record(e).tasks}
    tasks = tuple(t for t in map(plan.task, plan.tasks) if t.id in posed and plan.route(job.branch, branch, t) is not None)
    final = artifact_folder(plan, job)
    out = final.with_name(f".{final.name}.{uuid4().hex}.partial")
    shutil.rmtree(final.parent, ignore_errors=True)
    out.mkdir(parents=True)
    train, validation = (bench.training_set(fold, role, job.seed) for role in ("train", "validation"))
    context = FitContext(tasks, job.seed, out, plan.config.threads, plan.block_widths)
    artifact: Artifact = branch.fit(train, validation, context)
    artifact = replace(artifact, spans=train.spans | validation.spans)
    seconds = time.monotonic() - began
    note_process(plan.home, job.branch, "fit", frames_decoded() - decoded)
    write_json(out / INPUT, fit_input(plan, job, bench))
    write_json(out / "cost.json", {"train_s": round(seconds, 3), "peak_gib": round(peak_gib(), 3)})
    artifact.save()
    out.rename(final)
    return seconds


def fit(todo: Sequence[tuple[Plan, FitJob]], tick: Callable[[Plan, FitJob], None]) -> list[str]:
    """Run fits as Ray tasks, those of several runs side by side.

    Returns:
        For each one line on why it failed; empty where it is done.
    """
    import ray  # noqa: PLC0415
    from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415

    from harness.pipeline.cluster import TRIES_AFTER_DEATH  # noqa: PLC0415

    failed = [""] * len(todo)
    pending = {}
    offered = machines()
    there = float(ray.cluster_resources().get("CPU", 1.0))
    shared: dict[int, Any] = {}
    for number, (plan, job) in enumerate(todo):
        card = plan.make_branch(job.branch).card
        cpus = min(card.fit_cpus, there)
        if card.fit_gpus and (missing := lacking(cpus, card.fit_gpus, offered)):  # Ray would wait for such a machine for ever
            failed[number] = f"needs {missing}; name a cluster with --address"
            tick(plan, job)
            continue
        if id(plan) not in shared:
            shared[id(plan)] = ray.put(plan)
        remote = ray.remote(num_cpus=cpus, num_gpus=card.fit_gpus, max_retries=TRIES_AFTER_DEATH)(fit_branch)
        pending[remote.remote(shared[id(plan)], job)] = number
    while pending:
        done, _ = ray.wait(list(pending), num_returns=1)
        number = pending.pop(done[0])
        try:
            ray.get(done[0])
        except RayTaskError as error:
            failed[number] = f"{type(error.cause).__name__}: {first_line(error.cause)}"
        except RayError as error:
            failed[number] = f"its worker died ({type(error).__name__}: {first_line(error)})"
        tick(*todo[number])
    return failed
