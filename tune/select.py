"""`espalier select`: a dry run on 3 to 8 episodes. Configurations are chosen without the test episodes, which are opened once."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.dataset import Dataset
from harness.errors import BadInput
from harness.manifest import write_json
from harness.pipeline.cluster import ray_session
from harness.pipeline.plan import Plan
from harness.request import Request, every_branch, prepare
from harness.run import Outcome, run
from harness.splits import SplitConfig
from tune.board import Board
from tune.config import SelectConfig, trials_of
from tune.halving import halving, jobs_of
from tune.journal import Journal
from tune.preparation import preparations
from tune.room import without_room
from tune.sheet import LEFT_OUT, build_sheet
from tune.sheet_text import sheet_markdown
from tune.spaces import configurations, space_of
from tune.split import first_episodes, freeze
from tune.trial import HEAD, inner_split
from tune.tuners import Arm, run_arms


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        name: The data set as typed.
        dataset: The data set.
        config: Resolved.
        passed: As typed.
        episodes: How many, of all roles together.
        branches: Branch ids; empty = all that are registered.
        tasks: Task ids; empty = those of the card, and those that only models of the selection answer.
        out: The run folder.
        address: Ray cluster; None = a local one.
    """

    name: str
    dataset: Dataset
    config: SelectConfig
    passed: dict[str, Any]
    episodes: int
    branches: tuple[str, ...]
    tasks: tuple[str, ...]
    out: Path
    address: str | None = None


@dataclass(frozen=True)
class Selected:
    """What came of it.

    Attributes:
        sheet: The decision sheet, as written.
        exit_code: 0, or 3 where an episode, a trial, a fit, a block or a branch was left out.
    """

    sheet: dict[str, Any]
    exit_code: int


def select(asked: Asked, console: Console) -> Selected:
    """Do a selection, or what is missing of it.

    Raises:
        BadInput: An option or a branch that cannot be, too few episodes, or a folder that holds something else.
        WorkFailed: Ray gave way; what is done is kept.
    """
    count = trials_of(asked.config)
    if "split" in asked.passed:
        raise BadInput(f"split.{next(iter(asked.passed['split']))}: select freezes its own split over --episodes; leave it out")
    ids, clusters, defective = first_episodes(asked.dataset, asked.episodes)
    roles = freeze(ids, clusters, defective)
    request = _request(asked, {name: list(episodes) for name, episodes in roles.items()})
    journal = Journal(asked.out / "trials" / "journal.jsonl")
    _arms(prepare(request).plan, count, asked.config.seed, journal)  # what is wrong with the words is said before Ray starts
    with ray_session(asked.address):
        not_run = without_room(request)
        request = _without(request, not_run)
        arms: list[Arm] = []
        plans: list[Plan] = []
        prepared: list[dict[str, Any]] = []

        def choose(plan: Plan) -> Plan:
            prepared.extend(preparations(plan))
            arms.extend(_arms(plan, count, asked.config.seed, journal))
            plans.append(plan)
            return _chosen(plan, arms, asked.out / "trials" / "tune", console)

        outcome = run(request, console, choose)
        loo = _leave_one_out(request, plans[0], ids, console)
    sheet = build_sheet(asked.out, roles, defective, arms, not_run, outcome, loo) | {"preparation": prepared}
    write_json(asked.out / "sheet.json", sheet)
    (asked.out / "sheet.md").write_text(sheet_markdown(sheet))
    failed = any(trial["failed"] for trial in journal.trials)
    code = max(outcome.exit_code, loo.exit_code if loo else 0, 3 if failed or not_run else 0)
    return Selected(sheet, code)


def _request(asked: Asked, roles: dict[str, list[str]]) -> Request:
    """The run that a selection is."""
    seeds = asked.config.seeds if "seeds" in asked.passed else [asked.config.seed]
    split = replace(asked.config.split, train=roles["train"], validation=roles["validation"], test=roles["test"])
    config = replace(asked.config, split=split, seeds=seeds)
    said = {
        "dataset": str(Path(asked.name).absolute()) if Path(asked.name).exists() else asked.name,
        "episodes": asked.episodes,
        "branches": list(asked.branches),
        "tasks": list(asked.tasks),
        "options": asked.passed,
    }
    branches = asked.branches or every_branch(asked.dataset.card.format)
    passed = {**asked.passed, "split": roles}
    return Request(asked.dataset, config, passed, branches, asked.tasks, asked.out, asked.address, selection=said)


def _without(request: Request, not_run: dict[str, str]) -> Request:
    """The request without branches that there is no room for, nor their options."""
    if not not_run:
        return request
    left = tuple(name for name in request.branches if name not in not_run)
    if not left:
        raise BadInput(
            f"no branch can run: {next(iter(not_run))} {next(iter(not_run.values()))}; name a larger cluster with --address"
        )
    options = {name: value for name, value in request.config.branch.items() if name not in not_run}
    return replace(request, branches=left, config=replace(request.config, branch=options))


def _arms(plan: Plan, count: int, seed: int, journal: Journal) -> list[Arm]:
    """Every branch that has something to choose from, at its first job."""
    arms = []
    for name in plan.branches:
        branch = plan.make_branch(name)
        space = space_of(name, branch)
        drawn = configurations(space, count, seed)
        head = branch.card.family == HEAD
        if len(drawn) < 2 or (head and len(inner_split(plan.split, head=True).folds) < 2):
            continue
        if branch.card.fit_cpus <= 0:
            raise BadInput(
                f"branch {name} fits with Ray Train workers of its own, which Ray Tune cannot hold; give it one worker"
            )
        wants = [branch.needs(task) for _, task in replace(plan, branches=(name,)).answered()]
        options = [{**(plan.config.branch.get(name) or {}), **configuration} for configuration in drawn]
        for one in options:
            other = replace(plan, branches=(name,), config=replace(plan.config, branch={**plan.config.branch, name: one}))
            assert [b.needs(task) for b, task in other.answered()] == wants, f"{name}: {one} asks for other frames"
        steps = (space.steps, int(getattr(branch.config, space.steps))) if space.steps else None  # type: ignore[attr-defined]
        resources = {"cpu": branch.card.fit_cpus} | ({"gpu": branch.card.fit_gpus} if branch.card.fit_gpus else {})
        jobs = halving(len(drawn), in_part=steps is not None)
        arms.append(Arm(name, options, jobs, steps, resources, journal, lambda *_: None))
    return arms


def _chosen(plan: Plan, arms: list[Arm], folder: Path, console: Console) -> Plan:
    """Run what is missing of the trials; the plan with the chosen options."""
    board = Board({arm.name: jobs_of(len(arm.options), in_part=arm.steps is not None) for arm in arms}, console)
    for arm in arms:
        arm.tell = board.tell
        arm.advance()
    if any(arm.job for arm in arms):
        with board.shown():
            run_arms(plan, arms, folder)
    chosen = {arm.name: arm.options[arm.chosen or 0] for arm in arms}
    return replace(plan, config=replace(plan.config, branch={**plan.config.branch, **chosen}))


def _leave_one_out(request: Request, plan: Plan, ids: list[str], console: Console) -> Outcome | None:
    """Floors and heads, as they were passed, on every episode in turn: nothing of it takes part in choosing."""
    cheap = tuple(name for name in plan.branches if plan.make_branch(name).card.family in ("floor", HEAD))
    if not cheap:
        return None
    split = SplitConfig(kind="leave_one_episode_out", episodes=ids)
    options = {name: value for name, value in request.config.branch.items() if name in cheap}
    config = replace(request.config, split=split, branch=options)
    passed = {**request.passed, "split": {"kind": split.kind, "episodes": ids}}
    out = request.out / LEFT_OUT
    return run(Request(request.dataset, config, passed, cheap, plan.tasks, out, selection=request.selection), console)


def said_before(folder: Path) -> dict[str, Any]:
    """What a folder's selection was asked for, to go on with it.

    Raises:
        BadInput: It holds none.
    """
    path = folder / "manifest.json"
    try:
        said = json.loads(path.read_text()).get("selection")
    except (OSError, json.JSONDecodeError, AttributeError) as error:
        raise BadInput(f"--resume {folder}: no selection has begun there; start one with --out") from error
    if not said:
        raise BadInput(f"--resume {folder}: that is the folder of another run; start a selection with --out")
    return dict(said)
