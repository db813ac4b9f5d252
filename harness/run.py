"""One run from recordings to a leaderboard. Everything that is there already is kept; only what is missing is done."""

import json
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.branch import Artifact
from harness.bundle import Bundle, find_bundles
from harness.console import plain
from harness.episode import EpisodeRef
from harness.errors import BadInput, UnreadableEpisode
from harness.inspect import print_card
from harness.leakage.duplicates import refuse_copies
from harness.manifest import environment, now, write_json
from harness.pipeline.cluster import check_reachable, ray_session
from harness.pipeline.fit import FitJob, artifact_folder, fit, is_fitted
from harness.pipeline.ingest import Quarantined, estimated_bytes, ingest, is_ingested
from harness.pipeline.plan import Plan, as_json
from harness.pipeline.predict import Block, blocks_of, predict
from harness.pipeline.processes import processes_of
from harness.pipeline.share import share_targets
from harness.pipeline.sights import blind_lines, with_sights
from harness.pipeline.survey import check_posed, odd_widths, records_of, tell_unposed, with_widths
from harness.pipeline.workbench import Workbench
from harness.progress import progress
from harness.readers.table import TableReader
from harness.reference import PRIVILEGED
from harness.request import Prepared, Request, data_hash, frozen, prepare
from harness.score import read_manifest, score_run
from harness.shared_content import Shared
from harness.store import TrackStore
from harness.table_split import drawn_lines


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


def run(request: Request, console: Console, choose: Callable[[Plan], Plan] | None = None) -> Outcome:
    """Do a run, or what is missing of it.

    Args:
        request: What to do.
        console: For progress.
        choose: Called once everything is in the store and before anything is fitted; returns the plan with other options of
            branches (model selection).

    Raises:
        BadInput: See `prepare`; nothing of an existing run is touched then.
        WorkFailed: See `ray_session`; the same request goes on from there.
    """
    return run_together([request], console, choose)[0]


def run_together(requests: Sequence[Request], console: Console, choose: Callable[[Plan], Plan] | None = None) -> list[Outcome]:
    """Do several runs on the same recordings: their fits wait for machines and not for each other.

    Args:
        requests: At least one; all name the same Ray.
        console: For progress.
        choose: As for `run`, of each.

    Raises:
        BadInput: See `prepare`, of any of them; nothing of an existing run is touched then.
        WorkFailed: See `ray_session`; the same requests go on from there.
    """
    prepared = [prepare(request) for request in requests]
    if requests[0].dataset.inferred:
        print_card(requests[0].dataset, console)
    manifests = [_begin(one) for one in prepared]
    for line in dict.fromkeys(line for manifest in manifests for line in manifest.remarks):
        console.print(Text(plain(line), style="yellow"), soft_wrap=True)
    outcomes: list[Outcome] = []
    try:
        _work(manifests, console, choose)
        for manifest in manifests:
            plan = manifest.plan
            leaderboard = score_run(plan.out, plan.out, list(find_bundles(plan.out / "bundles")), len(manifest.quarantined))
            manifest.write("done")
            outcomes.append(Outcome(leaderboard, manifest.quarantined, manifest.failed))
    except BaseException:
        for manifest in manifests[len(outcomes) :]:
            manifest.write("interrupted")
        raise
    return outcomes


def _begin(prepared: Prepared) -> "_Manifest":
    """The folder says whose it is before anything else stands in it."""
    plan, manifest = prepared.plan, _Manifest(prepared)
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out {plan.out}: cannot be made ({error.strerror}); give another one") from error
    manifest.write("running")
    plan.split.save(plan.out / "split.json")
    return manifest


def _work(manifests: list["_Manifest"], console: Console, choose: Callable[[Plan], Plan] | None) -> None:
    """Ingest, fit and predict what is missing. Ray starts once, and only if there is something to do."""
    with ExitStack() as session:

        def connect() -> None:
            session.enter_context(ray_session(manifests[0].prepared.request.address))
            check_reachable(list(dict.fromkeys(folder for manifest in manifests for folder in _folders(manifest.plan))))

        for manifest in manifests:
            _survey(manifest, connect, console, choose)
        plans = [manifest.plan for manifest in manifests]
        unfitted = _fit(plans, connect, console)
        unpredicted = _predict(plans, unfitted, connect, console)
        for manifest, failed, lines in zip(manifests, unfitted, unpredicted, strict=True):
            manifest.failed += [f"fit {job.branch} fold {job.fold} seed {job.seed}: {why}" for job, why in failed.items()]
            manifest.failed += lines


def _survey(manifest: "_Manifest", connect: Callable[[], None], console: Console, choose: Callable[[Plan], Plan] | None) -> None:
    """Ingest what is missing, and complete the plan with what the data have."""
    prepared, plan = manifest.prepared, manifest.plan
    if prepared.request.shares is not None:
        share_targets(prepared.request.shares, plan)
        manifest.quarantined = [Quarantined(**lost) for lost in read_manifest(prepared.request.shares)["quarantined"]]
    elif todo := _to_ingest(plan, prepared.refs):
        connect()
        manifest.quarantined += _ingest(plan, todo, console)
    manifest.quarantined += odd_widths(plan)
    manifest.plan = plan = with_sights(with_widths(plan))
    check_posed(plan, manifest.quarantined)
    refuse_copies(plan.home / "targets", plan.split, plan.spec)
    if prepared.request.shares is None:  # the arms of an ablation have tables of their own for it
        tell_unposed(plan, plan.tasks if prepared.request.tasks else (), console)
        for line in blind_lines(plan):
            console.print(Text(line, style="yellow"), soft_wrap=True)
    if choose:
        connect()
        manifest.plan = choose(plan)


def _folders(plan: Plan) -> list[Path]:
    """What every worker must reach."""
    store = TrackStore(plan.store_uri).folder
    if store is None:
        return [plan.out, plan.dataset.root]
    store.mkdir(parents=True, exist_ok=True)
    return [plan.out, plan.dataset.root, store]


class _Manifest:
    """`manifest.json`: written when the run starts, when it stops and when it is done."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.plan = prepared.plan
        self.quarantined = list(prepared.quarantined)
        self.failed: list[str] = []
        reader = self.plan.dataset.reader()
        self.shared: list[Shared] = []
        self.content_by: str | None = None
        self.remarks: list[str] = []
        if isinstance(reader, TableReader):
            self.shared, self.content_by = reader.shared_content()
            drawn = drawn_lines(self.plan.config, prepared.request.passed, self.plan.split)
            self.remarks = [*drawn, *(f"not used: {line}" for line in reader.unused())]
        self.started = prepared.previous.get("started", now())
        self._worked = prepared.previous.get("timings", {}).get("wall_s", 0.0)
        self._began = time.monotonic()

    def write(self, state: str) -> None:
        """Write the file with the state `running`, `interrupted` or `done`."""
        plan, card = self.plan, self.plan.dataset.card
        records = records_of(plan)
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
                "config_passed": self.prepared.request.passed,
                "config": as_json(self.prepared.plan.config),
                "selection": self.prepared.request.selection,
                "chosen": as_json(plan.config.branch) if self.prepared.request.selection else None,
                **frozen(plan, data_hash(self.prepared.data_keys, [q.episode for q in self.quarantined])),
                "seeds": plan.config.seeds,
                "branches": list(plan.branches),
                "references": list(plan.references),
                "quarantined": [asdict(q) for q in self.quarantined],
                "failed": self.failed,
                "shared_content": [one.as_json() for one in self.shared],
                "content_by": self.content_by,
                "remarks": self.remarks,
                "lacking": {e: r.lacking for e, r in records.items() if r.lacking},
                "decoded_frames": {e: r.decoded_frames for e, r in records.items() if r.decoded_frames},
                "block_widths": plan.block_widths,
                "sights": as_json(plan.sights),
                "processes": processes_of(plan.out),
                "environment": environment(),
                "timings": {"wall_s": round(self._worked + time.monotonic() - self._began, 1)},
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
    size = estimated_bytes(plan, todo)
    if size is not None:
        line = f"store: about {size / 2**30:.2f} GiB for {len(todo)} episode(s) in {plan.store_uri}"
        console.print(Text(line, style="dim"), soft_wrap=True)
    with progress("ingest", len(todo), console) as tick:
        results = ingest(plan, todo, tick)
    return [result for result in results if isinstance(result, Quarantined)]


def _jobs(plan: Plan) -> list[FitJob]:
    """Every fit of a run; a branch that what is hidden leaves without a task has none."""
    seeing = [branch for branch in plan.branches if branch not in plan.blinded]
    return [FitJob(branch, fold.id, seed) for branch in seeing for fold in plan.split.folds for seed in plan.seeds(branch)]


def _fit(plans: list[Plan], connect: Callable[[], None], console: Console) -> list[dict[FitJob, str]]:
    """Fit what is missing of all runs at once; the failed jobs of each, with one line."""
    todo: list[tuple[Plan, FitJob]] = []
    owners: list[int] = []
    for owner, plan in enumerate(plans):
        bench = Workbench(plan)
        missing = [(plan, job) for job in _jobs(plan) if not is_fitted(plan, job, bench)]
        todo += missing
        owners += [owner] * len(missing)
    failed: list[dict[FitJob, str]] = [{} for _ in plans]
    if todo:
        connect()
        with progress("fit", len(todo), console) as tick:
            lines = fit(todo, lambda plan, job: tick(f"{job.branch} {plan.out.name}" if len(plans) > 1 else job.branch))
        for owner, (_, job), line in zip(owners, todo, lines, strict=True):
            if line:
                failed[owner][job] = line
    return failed


def _predict(
    plans: list[Plan], unfitted: Sequence[Collection[FitJob]], connect: Callable[[], None], console: Console
) -> list[list[str]]:
    """Predict what is missing of all runs at once; for each one line for what failed."""
    todo: list[Block] = []
    for number, (plan, failed) in enumerate(zip(plans, unfitted, strict=True)):
        bench = Workbench(plan)
        ready = [job for job in _jobs(plan) if job not in failed]
        ready += [FitJob(name, fold.id, plan.config.seeds[0]) for name in plan.references for fold in plan.split.folds]
        for job in ready:
            write_bundle(plan, job)
        blocks = (block for job in ready for block in blocks_of(plan, bench, job.branch, job.fold, job.seed))
        todo += [replace(block, run=number) for block in blocks if not block.part(plan).is_file()]
    costs: dict[Block, dict[str, Any]] = {}
    if todo:
        connect()
        with progress("predict", len(todo), console) as tick:
            costs = predict(plans, todo, lambda block: tick(f"{block.branch} {block.episode}"))
    lost: list[dict[tuple[str, str], list[str]]] = [{} for _ in plans]
    for block, cost in costs.items():
        if "error" in cost:
            lost[block.run].setdefault((block.branch, cost["error"]), []).append(block.episode)
    return [[f"predict {b}: {why} ({_some(sorted(set(e)))})" for (b, why), e in of.items()] for of in lost]


def _some(episodes: list[str]) -> str:
    return ", ".join(episodes[:3]) + (f" and {len(episodes) - 3} more" if len(episodes) > 3 else "")


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
    sights = {t.id: sight for t in tasks if (sight := plan.sights.get(job.branch, {}).get(t.id)) and not sight.blind}
    cost = json.loads((artifact.folder / "cost.json").read_text()) | {"params": artifact.parameters}
    Bundle(
        folder,
        job.branch,
        branch.card.family,
        job.fold,
        job.seed,
        plan.split.hash,
        {t.id: route for t in tasks if (route := plan.route(job.branch, branch, t)) is not None},
        {part: list(ids) for part, ids in artifact.fitted_on.items()},
        {task: list(words) for task, words in artifact.classes.items()},
        card=as_json(branch.card) | {"pretraining": branch.card.declared_pretraining(plan.dataset.card.name)},
        cost=cost,
        details=artifact.details,
        prompts=list(artifact.prompts),
        spans={episode: list(span) for episode, span in artifact.spans.items()},
        inputs={task: list(sight.modalities) for task, sight in sights.items()} if sights else None,
    ).save()
