"""What every branch of a run gets to see of every task, found out before anything is fitted."""

from collections.abc import Iterator
from dataclasses import replace

from harness.branch import Needs
from harness.episode import Episode, Modality
from harness.hiding import Hiding, Sight
from harness.pipeline.plan import Plan
from harness.pipeline.workbench import Workbench
from harness.tasks.base import Task

Views = tuple[dict[str, tuple[Modality, ...]], ...]


def with_sights(plan: Plan) -> Plan:
    """The plan with what its branches see, in an episode of each kind that there is."""
    bench = Workbench(plan)
    kinds = list(_kinds(bench))
    sights: dict[str, dict[str, Sight]] = {}
    for name in plan.branches:
        branch = plan.make_branch(name)
        for task in map(plan.task, plan.tasks):
            if branch.route(task) is not None:
                sights.setdefault(name, {})[task.id] = sight_of(bench, task, branch.needs(task), kinds)
    return replace(plan, sights=sights)


def blind_lines(plan: Plan) -> list[str]:
    """What its branches cannot answer with what is hidden, and why: N/A in the table."""
    found = ((name, task, sight.blind) for name, tasks in plan.sights.items() for task, sight in tasks.items())
    return [f"{name} has no answer to {task}: {blind}" for name, task, blind in found if blind]


def sight_of(bench: Workbench, task: Task, needs: Needs, episodes: list[Episode]) -> Sight:
    """What these needs get to see of a task, over some episodes."""
    hiding = bench.plan.hiding
    whole, left = (_union([bench.observer.shows(e, task, needs, h) for e in episodes], task) for h in (Hiding(), hiding))
    modalities = {m.value for view in left for made_of in view.values() for m in made_of}
    return Sight(tuple(tuple(sorted(view)) for view in left), tuple(sorted(modalities)), _blind(whole, left, needs, hiding))


def _union(shown: list[Views], task: Task) -> Views:
    found: Views = tuple({} for _ in task.views)
    for views in shown:
        for into, view in zip(found, views, strict=True):
            into.update(view)
    return found


def _blind(whole: Views, left: Views, needs: Needs, hiding: Hiding) -> str:
    """Why nothing can be answered with what is left; empty where something can."""
    there = {m for view in whole for made_of in view.values() for m in made_of}
    if lost := [m.value for m in needs.vital if m in there and hiding.hides((m,))]:
        return f"it has no answer without {' and '.join(lost)}"
    for shown, kept in zip(whole, left, strict=True):
        if shown and not kept:
            names = sorted({made_of[0].value for made_of in shown.values()})
            view = "all that it is shown" if len(whole) == 1 else "all that one of the two views shows"
            return f"{view} is hidden ({', '.join(names)})"
    return ""


def _kinds(bench: Workbench) -> Iterator[Episode]:
    """One episode of each set of tracks and blocks."""
    seen = set()
    for episode in bench.plan.split.episodes:
        if bench.usable(episode):
            record = bench.record(episode)
            kind = (frozenset(record.tracks), frozenset(record.block_widths))
            if kind not in seen:
                seen.add(kind)
                yield bench.episode(episode)
