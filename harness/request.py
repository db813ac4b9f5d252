"""What a run is asked to do, checked against the data and against what the folder holds, before anything is touched."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from harness.branch import branch_names
from harness.card import first_line, suggest
from harness.config import RunConfig
from harness.dataset import Dataset, home
from harness.encoder import encoder_names
from harness.episode import EpisodeRef, Modality
from harness.errors import BadInput, UnreadableEpisode
from harness.features import data_set_blocks
from harness.manifest import code_version
from harness.margins import check_margins
from harness.pipeline.ingest import Quarantined, key_of
from harness.pipeline.plan import Plan, as_json
from harness.reference import PRIVILEGED
from harness.score import read_manifest
from harness.splits import ROLES, Fold, Split, is_explicit, make_split
from harness.store import TrackStore
from harness.table_split import with_table_defaults
from harness.tasks import FUTURE_LATENT, IMPORTED_TASKS, ON_DEMAND, on_demand, task_ids
from harness.window import WindowSpec

DEFAULT_BRANCHES = ("majority", "prior", "persistence", "constant_velocity", "chance", "oracle", "copy", "ridge", "mlp")
TABLE_HEADS = ("linear", "mlp_small", "mlp_medium")  # answer the target column of a table and nothing else
TABLE_BRANCHES = ("prior", "oracle", "ridge", *TABLE_HEADS)


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
        selection: What `espalier select` was asked for, as JSON values; None in any other run.
        also: Feature blocks that other runs on the same targets show and that ingest prepares with these.
        shares: Folder of the run whose targets these are, and which found out what cannot be read; None = its own.
    """

    dataset: Dataset
    config: RunConfig
    passed: dict[str, Any]
    branches: tuple[str, ...]
    tasks: tuple[str, ...]
    out: Path
    address: str | None = None
    selection: dict[str, Any] | None = None
    also: tuple[str, ...] = ()
    shares: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """A request that may go ahead.

    Attributes:
        request: As asked.
        plan: What to do.
        refs: Episodes of the plan's split.
        data_keys: Episode -> what its recording is, by the key of the track store.
        quarantined: Episodes that could not even be listed.
        previous: Manifest of the run that the folder holds; empty where there is none.
    """

    request: Request
    plan: Plan
    refs: list[EpisodeRef]
    data_keys: dict[str, str]
    quarantined: list[Quarantined]
    previous: dict[str, Any]


def prepare(request: Request) -> Prepared:
    """Plan a run and refuse what cannot be; nothing is written.

    Raises:
        BadInput: An option, a split or a branch that cannot be, no readable episode, or a folder that holds something else.
    """
    refs, faults = _listed(request.dataset)
    previous = _previous(request.out)
    plan, quarantined = _plan(request, refs, faults, previous)
    refs = [ref for ref in refs if ref.id in set(plan.split.episodes)]
    data_keys = _data_keys(plan, refs)
    # An episode that could not be read then may have been fetched again since.
    data = data_hash(data_keys, [q["episode"] for q in previous.get("quarantined", ())])
    _refuse_other_run(plan, previous, data, request.selection)
    return Prepared(request, plan, refs, data_keys, quarantined, previous)


def _listed(dataset: Dataset) -> tuple[list[EpisodeRef], list[Quarantined]]:
    refs, faults = dataset.list_episodes()
    if not refs:
        why = f": {faults[0][1]}: {faults[0][2]}" if faults else f"; see the layout of format {dataset.card.format!r}"
        raise BadInput(f"{dataset.root}: no episode in it can be read{why}")
    return refs, [Quarantined(*fault) for fault in faults]


def _plan(
    request: Request, refs: list[EpisodeRef], faults: list[Quarantined], previous: dict[str, Any]
) -> tuple[Plan, list[Quarantined]]:
    """The plan, and which of the faults concern it."""
    asked = _with_card_split(request)
    config = with_table_defaults(asked, request.dataset, request.passed, refs)
    _check_options(config)
    config = replace(config, store=config.store.resolved())
    spec = config.windows.spec()
    if config.limit.windows is not None:
        spec = replace(spec, max_per_episode=min(config.limit.windows, spec.max_per_episode or config.limit.windows))
    try:
        split, quarantined = _split(refs, faults, config, spec)
        split = _with_table(split, request.dataset)
    except BadInput as error:
        if asked is request.config:
            raise
        fix = "give split.kind=... or split.train=... split.test=..."
        raise BadInput(
            f"the frozen split of card {request.dataset.card.name!r} does not fit these episodes; {fix} ({error})"
        ) from error
    named = request.branches or (() if previous else default_branches(request.dataset.card.format))
    every = tuple(dict.fromkeys((*previous.get("branches", ()), *previous.get("references", ()), *named)))
    branches = tuple(name for name in every if name not in PRIVILEGED)
    references = tuple(name for name in every if name in PRIVILEGED)
    store = TrackStore(config.store.uri or str(home() / "store")).absolute_uri
    plan = Plan(request.dataset, request.out.absolute(), store, config, spec, split, (), branches, references, also=request.also)
    _check_branches(plan)
    plan = replace(plan, tasks=_tasks(request, previous, plan))
    _check_encoders(plan)
    return plan, quarantined


def _split(
    refs: list[EpisodeRef], faults: list[Quarantined], config: RunConfig, spec: WindowSpec
) -> tuple[Split, list[Quarantined]]:
    """The split, and the episodes it would have if they could be listed: all, unless roles are named without them."""
    if is_explicit(config.split):
        try:
            return _limited(make_split(refs, config.split, spec), config.limit.episodes), []
        except BadInput:
            if not faults:
                raise
    split = make_split(refs, config.split, spec, {fault.episode for fault in faults})
    return _limited(split, config.limit.episodes), faults


def _with_table(split: Split, dataset: Dataset) -> Split:
    """Recordings have names of their own; groups of two tables may share all of theirs, and are another held-out set."""
    if dataset.card.format != "table":
        return split
    with dataset.root.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()[:16]
    return replace(split, windows={**split.windows, "table": digest})


def _tasks(request: Request, previous: dict[str, Any], plan: Plan) -> tuple[str, ...]:
    """As named; else those of the folder, of the card, or all. A plain `future_latent` is that of the branches' encoders."""
    there, listed = tuple(previous.get("tasks", ())), tuple(request.dataset.card.tasks)
    latents = [f"{FUTURE_LATENT}[{name}]" for branch in plan.branches for name in plan.make_branch(branch).encoders]
    named = [task for word in request.tasks for task in (latents if word == FUTURE_LATENT and latents else [word])]
    tasks = tuple(dict.fromkeys(named)) or there or listed or tuple(t for t in task_ids() if not on_demand(t))
    for task_id in tasks:
        plan.task(task_id)
        if task_id in IMPORTED_TASKS:
            raise BadInput(f"task {task_id!r}: no recording poses it, only rows that were imported; see `espalier import`")
    if not (named or there):  # what only models of the run answer comes with them
        more = ("hand_action_chunk", *ON_DEMAND[:2], *dict.fromkeys(latents))
        tasks += tuple(task for task in more if task not in tasks and _modelled(plan, task))
    return there if set(tasks) == set(there) else tasks


def _modelled(plan: Plan, task_id: str) -> bool:
    """True where a model answers the task: heads and floors would answer anything."""
    branches = map(plan.make_branch, plan.branches)
    return any(b.card.family not in ("floor", "head") and b.route(plan.task(task_id)) is not None for b in branches)


def _check_encoders(plan: Plan) -> None:
    """An encoder must have weights that have not seen the test, and clips that fit into a window.

    Raises:
        BadInput: Names what is wrong, also where an encoder has no weights.
    """
    test = {episode for fold in plan.split.folds for episode in fold.test}
    for encoder in plan.encoders:
        if seen := sorted(test & set(encoder.pretrained_on)):
            raise BadInput(f"encoder {encoder.name} was pretrained on {seen[0]}, which this split tests; test other episodes")
        encoder.check_fits(plan.spec.length)
        _ = encoder.fingerprint


def _check_options(config: RunConfig) -> None:
    """What no type says: numbers from 1 up, names that there are.

    Raises:
        BadInput: Names the option.
    """
    least_one = {
        "limit.episodes": config.limit.episodes,
        "limit.windows": config.limit.windows,
        "windows.max_per_episode": config.windows.max_per_episode,
        "threads": config.threads,
        "block_samples": config.block_samples,
    }
    for name, value in least_one.items():
        if value is not None and value < 1:
            raise BadInput(f"{name}={value}: give at least 1")
    if config.store.max_gib is not None and config.store.max_gib <= 0:
        raise BadInput(f"store.max_gib={config.store.max_gib}: give more than 0")
    check_margins(config.margins)
    if not config.seeds:
        raise BadInput("seeds=[]: give at least one")
    modalities = [m.value for m in Modality]
    for option in ("modalities", "hidden", "only"):
        for name in getattr(config, option):
            if name not in modalities:
                raise BadInput(f"{option}: {name!r} is not known{suggest(name, modalities)}")
    for name in config.encoders:
        if name not in encoder_names():
            raise BadInput(f"encoders.{name}: no such encoder{suggest(name, encoder_names())}")
    data_set_blocks((), config.features)


def _check_branches(plan: Plan) -> None:
    for name in plan.branches:
        try:
            plan.make_branch(name)
        except (TypeError, ValueError) as error:  # options that the branch's config class does not take
            raise BadInput(f"branch.{name}: {first_line(error)}") from error
    unknown = sorted(set(plan.config.branch) - set(plan.branches))
    if unknown:
        raise BadInput(f"branch.{unknown[0]}: options for a branch that does not run{suggest(unknown[0], list(plan.branches))}")


def _with_card_split(request: Request) -> RunConfig:
    """The card's frozen split, where no other one was asked for."""
    config = request.config
    passed = request.passed.get("split", {})
    if not request.dataset.card.split or any(name in passed for name in ("kind", *ROLES)):
        return config
    if passed:
        raise BadInput(f"split.{next(iter(passed))}: the card freezes its split; name split.kind=... to draw another one")
    frozen = replace(config.split, **request.dataset.card.split)
    return replace(config, split=frozen)


def default_branches(format_name: str) -> tuple[str, ...]:
    """What runs where no branch is named."""
    return TABLE_BRANCHES if format_name == "table" else DEFAULT_BRANCHES


def every_branch(format_name: str) -> tuple[str, ...]:
    """What a selection runs where no branch is named: all that are registered and may answer such data."""
    if format_name == "table":
        return TABLE_BRANCHES
    return (*(name for name in branch_names() if name not in TABLE_HEADS), *PRIVILEGED)


def _limited(split: Split, episodes: int | None) -> Split:
    if episodes is None:
        return split
    folds = tuple(Fold(f.id, f.train[:episodes], f.validation[:episodes], f.test[:episodes], f.borders) for f in split.folds)
    return replace(split, folds=folds)


def _data_keys(plan: Plan, refs: list[EpisodeRef]) -> dict[str, str]:
    store, found = TrackStore(plan.store_uri), {}
    for ref in refs:
        try:
            key = key_of(plan, store, ref)
        except UnreadableEpisode as error:
            key = f"unreadable: {error.path}"
        found[ref.id] = key
    return found


def data_hash(keys: dict[str, str], without: Iterable[str] = ()) -> str:
    """Of the recordings that a run stands on: all but those that could not be read."""
    left_out = set(without)
    lines = (f"{episode}={key}\n" for episode, key in sorted(keys.items()) if episode not in left_out)
    return sha256("".join(lines).encode()).hexdigest()[:16]


def _previous(out: Path) -> dict[str, Any]:
    """The manifest of the run that the folder holds; empty where it holds nothing."""
    if (out / "manifest.json").is_file():
        found = read_manifest(out)
        if "imported" in found:
            raise BadInput(f"--out {out}: holds imported rows and no run; give another folder")
        return found
    # Hidden: what a killed write leaves behind.
    if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
        raise BadInput(f"--out {out}: there is something else; give a new folder, or that of a run")
    return {}


def _refuse_other_run(plan: Plan, previous: dict[str, Any], data: str, selection: dict[str, Any] | None) -> None:
    """Refuse to mix two runs in one folder, by the name of what differs."""
    if not previous:
        return
    old_set, new_set = previous["dataset"]["name"], plan.dataset.card.name
    if old_set != new_set:
        raise BadInput(f"--out {plan.out} holds a run of data set {old_set!r}, not {new_set!r}; give another --out")
    for name, mine in {**frozen(plan, data), "selection": selection}.items():
        if name in previous and previous[name] != mine:
            old, new = _what_differs(previous[name], mine)
            raise BadInput(
                f"--out {plan.out} holds a run with another {name} ({old}, now {new}); give another --out or the same again"
            )
    options = previous["config"]["branch"]
    for name in previous["branches"]:
        old, new = options.get(name), as_json(plan.config.branch).get(name)
        if old != new:
            raise BadInput(f"--out {plan.out} holds {name} with other options ({old}, now {new}); give another --out")


def _what_differs(old: Any, new: Any) -> tuple[str, str]:
    """Both as short text; of two dictionaries only what is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in new if old.get(key) != new[key]]
        old, new = ({key: side.get(key) for key in keys} for side in (old, new))
    texts = (json.dumps(old), json.dumps(new))
    return tuple(text if len(text) <= 80 else text[:77] + "..." for text in texts)  # type: ignore[return-value]


def frozen(plan: Plan, data: str) -> dict[str, Any]:
    """What must stay as it is for as long as a folder is added to; `data` is the `data_hash`."""
    return {
        "code": code_version(),
        # A table's content is part of its split: what changed is the data.
        **({"data_hash": data} if plan.dataset.card.format == "table" else {}),
        "windows": asdict(plan.spec),
        "split_hash": plan.split.hash,
        "decoder": plan.config.store.decoder,
        "data_hash": data,
        "tasks": list(plan.tasks),
        "features": list(plan.config.features),
        "modalities": list(plan.config.modalities),
        "hidden": list(plan.config.hidden),
        "only": list(plan.config.only),
        # Parts are named by their first sample, and the last bit of a sum may depend on the threads.
        "block_samples": plan.config.block_samples,
        "threads": plan.config.threads,
        "preset": plan.config.preset,
        "encoders": {encoder.name: encoder.fingerprint for encoder in plan.encoders},
        "seeds": list(plan.config.seeds),
    }
