"""What the ingested episodes of a run have: widths of blocks, tasks they pose, and whether that is enough to go on."""

from collections import Counter
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from harness.errors import BadInput
from harness.pipeline.ingest import Quarantined, quarantine
from harness.pipeline.plan import Plan
from harness.record import EpisodeRecord
from harness.splits import Role


def odd_widths(plan: Plan) -> list[Quarantined]:
    """Quarantine the episodes in which a feature block is of another width than in most."""
    records = records_of(plan)
    counts: dict[str, Counter[int]] = {}
    for record in records.values():
        for name, width in record.block_widths.items():
            counts.setdefault(name, Counter())[width] += 1
    usual = {name: widths.most_common(1)[0][0] for name, widths in counts.items()}
    lost = []
    for episode, record in records.items():
        for name, width in record.block_widths.items():
            if width != usual[name]:
                reason = (
                    f"feature block {name} has {width} numbers, {usual[name]} in most episodes; check its calibration and tracks"
                )
                lost.append(quarantine(plan, Quarantined(episode, str(plan.dataset.root), reason)))
                break
    return lost


def with_widths(plan: Plan) -> Plan:
    """The plan with the width of every feature block that any episode has."""
    widths: dict[str, int] = {}
    for episode, record in records_of(plan).items():
        for name, width in record.block_widths.items():
            if widths.setdefault(name, width) != width:
                raise BadInput(f"feature block {name} is {widths[name]} wide in one episode and {width} in {episode}")
    return replace(plan, block_widths=widths)


def check_posed(plan: Plan, quarantined: list[Quarantined]) -> None:
    """Nothing to train or to test on in any fold, or no task: the run cannot go on. Without validation it can."""
    roles: tuple[Role, ...] = ("train", "test")
    for role in roles:
        wanted = {e for fold in plan.split.folds for e in fold.episodes(role)}
        if not any(plan.targets_file(e).is_file() for e in wanted):
            why = next((f": {q.path}: {q.reason}" for q in quarantined if q.episode in wanted), "")
            raise BadInput(f"split.{role}: none of its {len(wanted)} episodes can be read{why}")
    longest = max((r.n_reference for r in records_of(plan).values()), default=0)
    if longest < plan.spec.length:
        raise BadInput(f"windows.length={plan.spec.length}: the longest episode has {longest} samples; give fewer")
    if not posed_by(plan):
        without = [m for m in plan.config.modalities if all(m in record.lacking for record in records_of(plan).values())]
        if without:
            raise BadInput(
                f"modalities={without}: no episode has {' or '.join(without)}; see `espalier inspect`, and ask for less"
            )
        needs = ", ".join(sorted({r for t in plan.tasks for r in plan.task(t).requires}))
        raise BadInput(f"no episode poses any of the tasks {', '.join(plan.tasks)}: they need tracks {needs}")


def posed_by(plan: Plan) -> set[str]:
    """Tasks that an episode poses."""
    return {task for record in records_of(plan).values() for task in record.tasks}


def records_of(plan: Plan) -> dict[str, EpisodeRecord]:
    """Of every episode that could be read."""
    return {e: EpisodeRecord.from_file(p) for e in plan.split.episodes if (p := plan.targets_file(e)).is_file()}


def tell_unposed(plan: Plan, asked: tuple[str, ...], console: Console) -> None:
    """A task that was asked for by name does not vanish in silence."""
    for task_id in asked:
        if task_id not in posed_by(plan):
            needs = ", ".join(plan.task(task_id).requires)
            console.print(Text(f"task {task_id}: no episode poses it (it needs tracks {needs})", style="yellow"), soft_wrap=True)
