"""One run from recordings to a leaderboard. Everything that is there already is kept; only what is missing is done."""

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.branch import Artifact, branch_names
from harness.bundle import Bundle
from harness.card import suggest
from harness.config import RunConfig
from harness.dataset import Dataset
from harness.episode import EpisodeRef
from harness.errors import BadInput, UnreadableEpisode
from harness.manifest import environment, now, write_json
from harness.pipeline.cluster import ray_session
from harness.pipeline.fit import FitJob, artifact_folder, fit, is_fitted
from harness.pipeline.ingest import Quarantined, ingest, is_ingested
from harness.pipeline.plan import Plan, as_json, make_task
from harness.pipeline.predict import Block, blocks_of, predict
from harness.pipeline.workbench import Workbench
from harness.progress import progress
from harness.record import EpisodeRecord
from harness.reference import PRIVILEGED
from harness.score import score_run
from harness.splits import ROLES, Fold, Split, make_split
from harness.store import TrackStore
from harness.store_key import card_fingerprint
from harness.tasks import task_ids

DEFAULT_BRANCHES = ("majority", "prior", "persistence", "constant_velocity", "chance", "oracle", "copy", "ridge", "mlp")
FROZEN = ("data_hash", "split_hash", "windows", "tasks", "features", "modalities")


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        leaderboard: As written.
        quarantined: Episodes that could not be read.
        failed: One line per fit or block that failed.
    """

    leaderboard: dict[str, Any]
    quarantined: list[Quarantined] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 3 where something was left out."""
        return 3 if self.quarantined or self.failed else 0


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        dataset: The data set.
        config: Resolved.
        passed: As typed.
        branches: Branch ids; empty = those the folder has, else the defaults.
        tasks: Task ids; empty = all that the data pose.
        out: The run folder.
        address: Ray cluster; None = a local one.
    """

    dataset: Dataset
    config: RunConfig
    passed: dict[str, Any]
    branches: tuple[str, ...]
    tasks: tuple[str, ...]
    out: Path
    address: str | None = None


def run(request: Request, console: Console) -> Outcome:
    """Do a run, or what is missing of it.

    Raises:
        BadInput: See `make_split`, `_refuse_other_run`; nothing of an existing run is touched then.
    """
    began = time.monotonic()
    refs, quarantined = _listed(request.dataset)
    plan, data_hash = _plan(request, refs)
    _refuse_other_run(plan, request, data_hash)
    plan.out.mkdir(parents=True, exist_ok=True)
    plan.split.save(plan.out / "split.json")
    manifest = _Manifest(plan, request, data_hash)
    manifest.write("running", quarantined, [])
    wanted = set(plan.split.episodes)
    quarantined = [q for q in quarantined if q.episode in wanted or not wanted]
    session: AbstractContextManager[None] = nullcontext()
    failed: list[str] = []
    try:
        todo = _to_ingest(plan, [r for r in refs if r.id in wanted])
        session = ray_session(request.address) if todo else nullcontext()
        with session:
            quarantined += _ingest(plan, todo, console)
            plan = with_widths(plan)
            _check_posed(plan, quarantined)
            manifest.plan = plan
            failed += _fit_and_predict(plan, request.address, console)
    finally:
        manifest.timings["wall_s"] = round(time.monotonic() - began, 1)
        manifest.write("interrupted", quarantined, failed)
    leaderboard = score_run(plan.out, plan.out, quarantined=len(quarantined))
    manifest.write("done", quarantined, failed)
    return Outcome(leaderboard, quarantined, failed)


def _listed(dataset: Dataset) -> tuple[list[EpisodeRef], list[Quarantined]]:
    refs, faults = dataset.list_episodes()
    if not refs and not faults:
        raise BadInput(f"{dataset.root}: no episode in it; see the layout of format {dataset.card.format!r}")
    return refs, [Quarantined(*fault) for fault in faults]


def _plan(request: Request, refs: list[EpisodeRef]) -> tuple[Plan, str]:
    config = _with_card_split(request)
    spec = config.windows.spec()
    if config.limit.windows is not None:
        most = min(config.limit.windows, spec.max_per_episode or config.limit.windows)
        spec = replace(spec, max_per_episode=most)
    if not refs:
        raise BadInput(f"{request.dataset.root}: no episode can be read")
    try:
        split = _limited(make_split(refs, config.split, spec), config.limit.episodes)
    except BadInput as error:
        if config is request.config:
            raise
        fix = "give split.kind=... or split.train=... split.test=..."
        raise BadInput(
            f"the frozen split of card {request.dataset.card.name!r} does not fit these episodes; {fix} ({error})"
        ) from error
    previous = _previous(request.out)
    tasks = request.tasks or tuple(previous.get("tasks", ())) or tuple(request.dataset.card.tasks) or tuple(task_ids())
    for task_id in tasks:
        make_task(task_id, request.dataset)
    named = request.branches or (() if previous else DEFAULT_BRANCHES)
    every = tuple(dict.fromkeys((*previous.get("branches", ()), *previous.get("references", ()), *named)))
    branches = tuple(name for name in every if name not in PRIVILEGED)
    plan = Plan(request.dataset, request.out, config, spec, split, tasks, branches, tuple(n for n in every if n in PRIVILEGED))
    for name in branches:
        plan.make_branch(name)
    unknown = sorted(set(config.branch) - set(branches))
    if unknown:
        raise BadInput(f"branch.{unknown[0]}: options for a branch that does not run{suggest(unknown[0], list(branches))}")
    return plan, _data_hash(plan, [r for r in refs if r.id in set(split.episodes)])


def _with_card_split(request: Request) -> RunConfig:
    """The card's frozen split, where no other one was asked for."""
    config = request.config
    if request.passed.get("split") or not request.dataset.card.split:
        return config
    frozen = replace(config.split, **request.dataset.card.split)
    return replace(config, split=frozen)


def _limited(split: Split, episodes: int | None) -> Split:
    if episodes is None:
        return split
    folds = tuple(Fold(f.id, f.train[:episodes], f.validation[:episodes], f.test[:episodes], f.borders) for f in split.folds)
    return replace(split, folds=folds)


def _data_hash(plan: Plan, refs: list[EpisodeRef]) -> str:
    """Of what the recordings are, by the keys of the track store."""
    store = TrackStore(plan.store_uri)
    digest = sha256()
    for ref in refs:
        try:
            key = store.key(ref, card_fingerprint(plan.dataset.card), content_hash=plan.config.store.content_hash)
        except UnreadableEpisode as error:
            key = f"unreadable: {error.path}"
        digest.update(f"{ref.id}={key}\n".encode())
    return digest.hexdigest()[:16]


def _previous(out: Path) -> dict[str, Any]:
    path = out / "manifest.json"
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise BadInput(f"--out {out}: a folder with other things in it; give a new one")
        return {}
    try:
        body: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}: not JSON ({error}); give another --out") from error
    return body


def _refuse_other_run(plan: Plan, request: Request, data_hash: str) -> None:
    """Refuse to mix two runs in one folder, by the name of what differs."""
    previous = _previous(request.out)
    if not previous:
        return
    mine = _frozen(plan, data_hash)
    for name in FROZEN:
        if name in previous and previous[name] != mine[name]:
            raise BadInput(
                f"--out {request.out} holds a run with another {name} ({_short(previous[name])}, now {_short(mine[name])}); "
                "give another --out or the same options"
            )
    old = previous.get("config", {}).get("branch", {})
    for name in previous.get("branches", ()):
        if old.get(name) != as_json(plan.config.branch).get(name):
            raise BadInput(f"--out {request.out} holds {name} with other options ({old.get(name)}); give another --out")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _frozen(plan: Plan, data_hash: str) -> dict[str, Any]:
    return {
        "data_hash": data_hash,
        "split_hash": plan.split.hash,
        "windows": asdict(plan.spec),
        "tasks": list(plan.tasks),
        "features": list(plan.config.features),
        "modalities": list(plan.config.modalities),
    }


class _Manifest:
    """`manifest.json`: written when the run starts, when it stops and when it is done."""

    def __init__(self, plan: Plan, request: Request, data_hash: str) -> None:
        self.plan = plan
        self.request = request
        self.data_hash = data_hash
        self.started = now()
        self.timings: dict[str, float] = {}

    def write(self, state: str, quarantined: Sequence[Quarantined], failed: Sequence[str]) -> None:
        """Write the file with the state `running`, `interrupted` or `done`."""
        plan, card = self.plan, self.plan.dataset.card
        records = {e: EpisodeRecord.from_file(p) for e in plan.split.episodes if (p := plan.targets_file(e)).is_file()}
        write_json(
            plan.out / "manifest.json",
            {
                "schema": "espalier.run/1",
                "state": state,
                "started": self.started,
                "written": now(),
                "dataset": {"name": card.name, "root": str(plan.dataset.root), "card": as_json(card)},
                "simulated": card.simulated,
                "limited": plan.config.limit.episodes is not None or plan.config.limit.windows is not None,
                "config_passed": self.request.passed,
                "config": as_json(plan.config),
                **_frozen(plan, self.data_hash),
                "seeds": plan.config.seeds,
                "branches": list(plan.branches),
                "references": list(plan.references),
                "quarantined": [asdict(q) for q in quarantined],
                "failed": list(failed),
                "lacking": {e: r.lacking for e, r in records.items() if r.lacking},
                "decoded_frames": {e: r.decoded_frames for e, r in records.items() if r.decoded_frames},
                "block_widths": plan.block_widths,
                "environment": environment(),
                "timings": self.timings,
                "gpu_s": 0.0,
            },
        )


def _to_ingest(plan: Plan, refs: list[EpisodeRef]) -> list[EpisodeRef]:
    store = TrackStore(plan.store_uri, plan.config.store.max_gib)

    def done(ref: EpisodeRef) -> bool:
        try:
            return is_ingested(plan, ref, store)
        except UnreadableEpisode:
            return False

    return [ref for ref in refs if not done(ref)]


def _ingest(plan: Plan, todo: list[EpisodeRef], console: Console) -> list[Quarantined]:
    if not todo:
        return []
    with progress("ingest", len(todo), console) as tick:
        results = ingest(plan, todo, tick)
    return [result for result in results if isinstance(result, Quarantined)]


def with_widths(plan: Plan) -> Plan:
    """The plan with the width of every feature block that any episode has."""
    widths: dict[str, int] = {}
    for episode in plan.split.episodes:
        path = plan.targets_file(episode)
        if path.is_file():
            for name, width in EpisodeRecord.from_file(path).block_widths.items():
                if widths.setdefault(name, width) != width:
                    raise BadInput(f"feature block {name} is {widths[name]} wide in one episode and {width} in {episode}")
    return replace(plan, block_widths=widths)


def _check_posed(plan: Plan, quarantined: list[Quarantined]) -> None:
    """Roles and tasks that nothing is left of."""
    for fold in plan.split.folds:
        for role in ROLES:
            left = [e for e in fold.episodes(role) if plan.targets_file(e).is_file()]
            if fold.episodes(role) and not left:
                why = f": {quarantined[0].path}: {quarantined[0].reason}" if quarantined else ""
                raise BadInput(f"split.{role}: none of its {len(fold.episodes(role))} episodes can be read{why}")
    posed = {t for e in plan.split.episodes if (p := plan.targets_file(e)).is_file() for t in EpisodeRecord.from_file(p).tasks}
    if not posed:
        needs = ", ".join(sorted({r for t in plan.tasks for r in plan.task(t).requires}))
        raise BadInput(f"no episode poses any of the tasks {', '.join(plan.tasks)}: they need tracks {needs}")


def _fit_and_predict(plan: Plan, address: str | None, console: Console) -> list[str]:
    bench = Workbench(plan)
    jobs = [FitJob(branch, fold.id, seed) for branch in plan.branches for fold in plan.split.folds for seed in plan.seeds(branch)]
    to_fit = [job for job in jobs if not is_fitted(plan, job)]
    failed: dict[FitJob, str] = {}
    if to_fit:
        with ray_session(address), progress("fit", len(to_fit), console) as tick:
            failed = fit(plan, to_fit, lambda job: tick(job.branch))
    ready = [job for job in jobs if job not in failed]
    ready += [FitJob(name, fold.id, plan.config.seeds[0]) for name in plan.references for fold in plan.split.folds]
    blocks = [block for job in ready for block in blocks_of(plan, bench, job.branch, job.fold, job.seed)]
    to_predict = [block for block in blocks if not block.part(plan).is_file()]
    costs: dict[Block, dict[str, Any]] = {}
    for job in ready:
        write_bundle(plan, job)
    if to_predict:
        with ray_session(address), progress("predict", len(to_predict), console) as tick:
            costs = predict(plan, to_predict, lambda block: tick(f"{block.branch} {block.episode}"))
    lines = [f"fit {job.branch} fold {job.fold} seed {job.seed}: {why}" for job, why in failed.items()]
    return lines + [f"predict {b.branch} {b.episode}: {cost['error']}" for b, cost in costs.items() if "error" in cost]


def write_bundle(plan: Plan, job: FitJob) -> None:
    """The manifest of one bundle."""
    tasks = [plan.task(t) for t in plan.tasks]
    folder = plan.bundle(job.branch, job.fold, job.seed)
    if job.branch in PRIVILEGED:
        copied = [t for t in tasks if job.branch == "oracle" or (t.copies in plan.tasks)]
        routes = {t.id: "native" for t in copied}
        card = {"title": PRIVILEGED[job.branch]}
        Bundle(
            folder, job.branch, "reference", job.fold, job.seed, plan.split.hash, routes, None, privileged=True, card=card
        ).save()
        return
    branch = plan.make_branch(job.branch)
    artifact = Artifact.load(artifact_folder(plan, job))
    cost = json.loads((artifact.folder / "cost.json").read_text()) | {"params": artifact.parameters}
    Bundle(
        folder,
        job.branch,
        branch.card.family,
        job.fold,
        job.seed,
        plan.split.hash,
        {t.id: route for t in tasks if (route := branch.route(t)) is not None},
        {part: list(ids) for part, ids in artifact.fitted_on.items()},
        {task: list(words) for task, words in artifact.classes.items()},
        card=as_json(branch.card),
        cost=cost,
        details=artifact.details,
    ).save()


def known_branches() -> list[str]:
    """Every branch and privileged row that `-b` takes."""
    return [*branch_names(), *PRIVILEGED]
