"""`espalier ablate`: the full arm and its variants as ordinary runs in one folder, on one ingest and in one Ray session."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.ablate.deltas import build
from harness.ablate.earlier import earlier_variants, ordered
from harness.ablate.still import still_of
from harness.ablate.text import markdown
from harness.ablate.variants import (
    Variant,
    blocks_shown,
    check_replacement,
    modalities_shown,
    only,
    parse_replacement,
    without,
)
from harness.card import suggest
from harness.episode import Modality
from harness.errors import BadInput, WorkFailed
from harness.features import data_set_blocks
from harness.manifest import write_json
from harness.pipeline.cluster import ray_session
from harness.pipeline.plan import Plan
from harness.reference import PRIVILEGED
from harness.request import Request, prepare
from harness.run import run, run_together

DEFAULT_BRANCHES = ("ridge",)
VARIANTS = "variants"


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        request: The full arm.
        leave_one_out: Every modality left out in turn.
        only: Every modality alone in turn.
        replace: `OLD=NEW` feature blocks.
        modalities: Of those two, only these; empty = all that any branch is shown.
    """

    request: Request
    leave_one_out: bool = False
    only: bool = False
    replace: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablated:
    """What came of it.

    Attributes:
        ablation: As written.
        exit_code: 0, or 3 where an episode, a fit or a block was left out.
    """

    ablation: dict[str, Any]
    exit_code: int


def ablate(asked: Asked, console: Console) -> Ablated:
    """Do an ablation, or what is missing of it.

    Raises:
        BadInput: An option that cannot be, or a folder that holds something else; nothing is fitted then.
        WorkFailed: Ray gave way; what is done is kept.
    """
    replacements = [parse_replacement(word) for word in asked.replace]
    request = _full(asked, replacements)
    prepare(request)  # what is wrong with the words is said before Ray starts
    with ray_session(request.address):
        plans: list[Plan] = []

        def look(plan: Plan) -> Plan:
            _variants(asked, replacements, plan)  # refuses before anything is fitted
            plans.append(plan)
            return plan

        _tell(console, "the full arm")
        outcomes = [run(request, console, look)]
        answered = {row["branch"] for row in outcomes[0].leaderboard["rows"]}
        plan = replace(plans[0], branches=tuple(name for name in plans[0].branches if name in answered))
        if not plan.branches:
            raise WorkFailed(f"no branch answers in the full arm: {'; '.join(outcomes[0].failed) or 'no task is posed'}")
        variants = _variants(asked, replacements, plan)
        _tell(console, f"{len(variants)} variants: {', '.join(variant.name for variant in variants)}")
        outcomes += run_together([_arm(request, variant, plan) for variant in variants], console)
    ablation = tabulate(request.out, variants, still_of(plan), console)
    return Ablated(ablation, max(outcome.exit_code for outcome in outcomes))


def tabulate(out: Path, variants: list[Variant], still: dict[str, str], console: Console) -> dict[str, Any]:
    """Write the tables of these variants and of those that an earlier call left in the folder; see `build`."""
    others = sorted({path.parent for path in (out / VARIANTS).glob("*/manifest.json")} - {folder_of(out, v) for v in variants})
    earlier, lines = earlier_variants(out, others)
    for line in lines:
        _tell(console, line)
    ablation = build(out, {variant: folder_of(out, variant) for variant in ordered([*variants, *earlier])}, still)
    write_json(out / "ablation.json", ablation)
    (out / "ablation.md").write_text(markdown(ablation))
    return ablation


def folder_of(out: Path, variant: Variant) -> Path:
    """Where a variant stands."""
    return out / VARIANTS / variant.name


def _full(asked: Asked, replacements: list[Variant]) -> Request:
    """The full arm, whose ingest prepares what any variant shows."""
    request = asked.request
    goes_on = (request.out / "manifest.json").is_file()  # with the branches that the folder has
    branches = request.branches or (() if goes_on else DEFAULT_BRANCHES)
    if privileged := [name for name in branches if name in PRIVILEGED]:
        raise BadInput(f"-b {privileged[0]}: it answers from the targets, so nothing can be taken away from it; leave it out")
    known = [modality.value for modality in Modality]
    for name in asked.modalities:
        if name not in known:
            raise BadInput(f"--modality {name}: no such modality{suggest(name, known)}")
    if asked.modalities and replacements and not (asked.leave_one_out or asked.only):
        raise BadInput(
            f"--modality {asked.modalities[0]} beside --replace: say --leave-one-out, --only or both too, or leave it out"
        )
    for variant in replacements:
        data_set_blocks((), [variant.old, variant.new])
    return replace(request, branches=branches, also=tuple(variant.new for variant in replacements))


def _variants(asked: Asked, replacements: list[Variant], plan: Plan) -> list[Variant]:
    """All that was asked for; without a word about it every modality left out and every one alone."""
    nothing = not (asked.leave_one_out or asked.only or replacements)
    modalities = modalities_shown(plan.sights, asked.modalities)
    found = [without(m) for m in modalities if asked.leave_one_out or nothing]
    if len(modalities_shown(plan.sights)) > 1:  # alone it is the full arm
        found += [only(m) for m in modalities if asked.only or nothing]
    for variant in replacements:
        check_replacement(variant, blocks_shown(plan.sights), plan.block_widths)
    found += replacements
    if not found:
        raise BadInput(f"{', '.join(plan.branches)}: no task shows them anything that could be taken away; name other branches")
    return found


def _arm(request: Request, variant: Variant, full: Plan) -> Request:
    """The same run with something taken away, of the branches that the full arm has."""
    options = {name: value for name, value in request.config.branch.items() if name in full.branches}
    config = replace(variant.config(request.config), branch=options)
    changed = {name: getattr(config, name) for name in ("hidden", "only", "features")}
    passed = {**request.passed, **{name: value for name, value in changed.items() if value != getattr(request.config, name)}}
    return replace(
        request,
        config=config,
        passed=passed,
        branches=full.branches,
        tasks=full.tasks,
        out=folder_of(request.out, variant),
        shares=request.out,
    )


def _tell(console: Console, what: str) -> None:
    console.print(Text(f"ablate: {what}", style="bold"), soft_wrap=True)
