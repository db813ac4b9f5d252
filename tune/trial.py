"""One trial: a configuration of a branch is fitted and gets an objective, lower is better. Test episodes are no part of it."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from ray import tune

from harness.branch import Artifact
from harness.bundle import Bundle
from harness.card import first_line
from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.pipeline.fit import FitJob, artifact_folder, fit_branch, is_fitted
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.pipeline.workbench import Workbench
from harness.splits import Fold, Split

HEAD = "head"


class Trial(tune.Trainable):
    """The actor that runs all trials of a branch, one after the other: its libraries are imported once."""

    def setup(self, config: dict[str, Any], plan: Plan | None = None) -> None:
        """Ray Tune's: `config` is a trial as JSON values, see `run_trial`."""
        assert plan is not None
        self.plan = plan
        self.trial = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial into the same process."""
        self.trial = new_config
        return True

    def step(self) -> dict[str, Any]:
        """The whole trial. What it throws is a result: a dead actor would have to import everything again."""
        began = time.monotonic()
        found: dict[str, Any]
        try:
            found = {"objective": run_trial(self.plan, self.trial), "failed": None}
        except Exception as error:
            found = {"objective": None, "failed": f"{type(error).__name__}: {first_line(error)}"}
        found["seconds"] = round(time.monotonic() - began, 3)
        objective = float("inf") if found["objective"] is None else found["objective"]  # Ray Tune wants a number
        return {"objective": objective, "found": json.dumps(found), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: a trial is done in one step. Ray Tune asks for it when it uses an actor again."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, see `save_checkpoint`."""


def run_trial(plan: Plan, trial: dict[str, Any]) -> float | None:
    """Run one trial in this process.

    Args:
        plan: The run; its recordings are in the store and its targets in its folder.
        trial: `branch`, `options` (all of them), `refit`.

    Returns:
        The objective: the validation loss that the branch reports (mean over what it trains); else, and for heads, 1 - the mean
        skill over tasks in the shared evaluator. None for a refit, which leaves the artifact of the run.
    """
    name = trial["branch"]
    config = replace(plan.config, branch={**plan.config.branch, name: trial["options"]})
    if trial["refit"]:
        final = replace(plan, config=config)
        for seed in final.seeds(name):
            if not is_fitted(final, FitJob(name, 0, seed), Workbench(final)):
                fit_branch(final, FitJob(name, 0, seed))
        return None
    split = inner_split(plan.split, head=plan.make_branch(name).card.family == HEAD)
    work = plan.home / "trials" / "work" / uuid4().hex
    inner = replace(plan, config=config, split=split, out=work, part_of=plan.home, branches=(name,), references=())
    try:
        return _objective(inner, name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def inner_split(split: Split, *, head: bool) -> Split:
    """Train and validation episodes of the one fold, without the test: what trials may see.

    A trained branch gets the one pair, and answers the validation episodes. A head gets one fold per cluster of train, which is
    left out and answered; the validation episodes stop it early where it wants to.
    """
    [fold] = split.folds
    if not head:
        return replace(split, kind="inner", folds=(Fold(0, fold.train, fold.validation, fold.validation),))
    clusters = sorted({split.clusters[e] for e in fold.train})
    folds = [
        Fold(
            i,
            tuple(e for e in fold.train if split.clusters[e] != cluster),
            fold.validation,
            tuple(e for e in fold.train if split.clusters[e] == cluster),
        )
        for i, cluster in enumerate(clusters)
    ]
    return replace(split, kind="inner", folds=tuple(folds))


def _objective(plan: Plan, name: str) -> float:
    seed = plan.config.seeds[0]
    jobs = [FitJob(name, fold.id, seed) for fold in plan.split.folds]
    actor = Actor(plan)
    for job in jobs:
        fit_branch(plan, job, actor.bench)
    if plan.make_branch(name).card.family != HEAD:
        artifact = Artifact.load(artifact_folder(plan, jobs[0]))
        if losses := list(_losses(artifact.details)):
            return float(np.mean(losses))
    for job in jobs:
        for block in blocks_of(plan, actor.bench, name, job.fold, seed):
            actor.run(block)
    return 1.0 - _mean_skill(plan, name, jobs)


def _losses(details: Any) -> Iterator[float]:
    """Every `validation_loss` that a fit reports, of whatever it trains."""
    for key, value in details.items() if isinstance(details, dict) else ():
        if key == "validation_loss" and value is not None:
            yield float(value)
        else:
            yield from _losses(value)


def _mean_skill(plan: Plan, name: str, jobs: list[FitJob]) -> float:
    """Mean over tasks that have a skill, each cut to [-1, 1]: one task far below its floor must not decide alone.

    Raises:
        ValueError: No task has one.
    """
    branch = plan.make_branch(name)
    tasks = tuple(task for task in map(plan.task, plan.tasks) if branch.route(task) is not None)
    routes = {task.id: str(branch.route(task)) for task in tasks}
    bundles = []
    for job in jobs:
        artifact = Artifact.load(artifact_folder(plan, job))
        # A trained branch may have stopped early on the episodes that rank its configurations: that is what they are for.
        excused = () if branch.card.family == HEAD else plan.split.folds[job.fold].test
        seen = {part: kept for part, ids in artifact.fitted_on.items() if (kept := [e for e in ids if e not in excused])}
        spans = {episode: list(span) for episode, span in artifact.spans.items() if episode not in excused}
        classes = {task: list(words) for task, words in artifact.classes.items()}
        folder = plan.bundle(name, job.fold, job.seed)
        made = Bundle(folder, name, branch.card.family, job.fold, job.seed, plan.split.hash, routes, seen, classes)
        bundles.append(replace(made, prompts=list(artifact.prompts), spans=spans))
    held = Held(Path(plan.home / "targets"), plan.split, tasks, plan.spec)
    posed = {task for e in held.present(plan.split.episodes) for task in Workbench(plan).record(e).tasks}
    held = replace(held, tasks=tuple(task for task in tasks if task.id in posed))
    skills = [row["skill"] for row in build(evaluate(held, bundles), "smoke")["rows"] if row["skill"] is not None]
    if not skills:
        raise ValueError("no task of the episodes left out has a skill")
    return float(np.mean(np.clip(skills, -1.0, 1.0)))
