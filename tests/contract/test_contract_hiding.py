"""Nothing that is hidden reaches any view of any task, whichever branch asks; what is left is answered or N/A with a reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fits import fitted

from harness.branch import Needs, branch_names
from harness.episode import Modality
from harness.features import data_set_blocks
from harness.observe import made_of, sources_of
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.pipeline.sights import blind_lines, with_sights
from harness.pipeline.workbench import Workbench
from harness.tables import by_task, read_predictions
from harness.tasks.base import Task

EVERYTHING = Needs(tracks=("*",), features=True)


def without(plan: Plan, hidden: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Plan:
    return replace(plan, config=replace(plan.config, hidden=list(hidden), only=list(only)))


def needs_of(plan: Plan) -> list[tuple[Task, Needs]]:
    """What every branch, and one that wants everything, asks for of every task that the test episode poses."""
    branches = [plan.make_branch(name) for name in dict.fromkeys([*branch_names(), *plan.branches])]
    tasks = [plan.task(task) for task in Workbench(plan).record(plan.split.folds[0].test[0]).tasks]
    asked = [(task, branch.needs(task)) for task in tasks for branch in branches if branch.route(task) is not None]
    return list(dict.fromkeys([*asked, *((task, EVERYTHING) for task in tasks)]))


@pytest.mark.parametrize("modality", list(Modality))
@pytest.mark.parametrize("way", ["hidden", "all_others"])
def test_nothing_hidden_reaches_a_view(plan: Plan, modality: Modality, way: str) -> None:
    hidden = {modality} if way == "hidden" else set(Modality) - {modality}
    here = without(plan, tuple(hidden))
    bench = Workbench(here)
    episode = bench.episode(plan.split.folds[0].test[0])
    sources = {b.name: sources_of(b) for b in data_set_blocks(list(episode.tracks), ["*"])}
    shown = 0
    for task, needs in needs_of(plan):
        samples = bench.samples(task, episode.id, plan.split.folds[0], "test")
        samples = samples.take(np.arange(len(samples))[:2])
        for role in ("query", "key") if task.answer == "retrieval" else ("",):
            for view in bench.observer.batch(episode, task, samples, needs, role=role).views:  # type: ignore[arg-type]
                for name, window in view.tracks.items():
                    if hidden & set(made_of(episode.tracks[name])):
                        assert name in task.tracks_for_history(), (task.id, name)
                        assert not window.valid.any() and not window.values.any() and not window.categories, (task.id, name)
                    else:
                        shown += 1
                for name in view.features.blocks if view.features else ():
                    assert not hidden & set(sources[name]), (task.id, name)
                    shown += 1
    # Most of it is still there, or the test would see nothing at all.
    assert shown > 100 or way == "all_others"


def test_only_shows_what_measures_it(plan: Plan) -> None:
    here = without(plan, only=("hand",))
    bench = Workbench(here)
    episode = bench.episode(plan.split.folds[0].test[0])
    shows = bench.observer.shows(episode, here.task("timeline_action"), EVERYTHING)[0]
    assert {made[0] for made in shows.values()} == {Modality.HAND}
    assert {"features/hand_left_joints", "features/hand_right_joints", "hand_left"} <= set(shows)


def test_what_is_said_to_be_shown_is_what_a_view_shows(plan: Plan) -> None:
    bench = Workbench(without(plan, ("audio",)))
    episode = bench.episode(plan.split.folds[0].test[0])
    for task, needs in needs_of(plan):
        samples = bench.samples(task, episode.id, plan.split.folds[0], "test").take(np.arange(2))
        roles = ("query", "key") if task.answer == "retrieval" else ("",)
        views = [v for r in roles for v in bench.observer.batch(episode, task, samples, needs, role=r).views]  # type: ignore[arg-type]
        said = bench.observer.shows(episode, task, needs)
        for i, view in enumerate(views):
            blocks = [f"features/{name}" for name in (view.features.blocks if view.features else ())]
            hidden = {name for name in view.tracks if Modality.AUDIO in made_of(episode.tracks[name])}
            assert sorted(said[min(i, len(said) - 1)]) == sorted([*(set(view.tracks) - hidden), *blocks]), task.id


BLIND = {
    ("persistence", "hand_trajectory_forecast", "hand"): "no answer without hand",
    ("persistence", "hand_trajectory_forecast", "pose"): "no answer without pose",
    ("persistence", "hand_trajectory_forecast", "audio"): "",
    ("majority", "timeline_action", "video"): "",
    ("ridge", "timeline_action", "video"): "",
    ("ridge", "imu_to_hand_pose", "imu"): "all that it is shown is hidden",
    ("ridge", "camera_view_sync_retrieval", "video"): "all that one of the two views shows is hidden",
    ("ridge", "caption_grounding", "language"): "all that one of the two views shows is hidden",
    ("world_model:jepa", "future_retrieval", "video"): "no answer without video",
    ("world_model:jepa", "future_retrieval", "hand"): "",
    ("world_model:jepa", "hand_trajectory_forecast", "hand"): "no answer without hand",
    ("world_model:cosmos", "future_video", "video"): "hidden",
    ("policy:act", "hand_action_chunk", "video"): "no answer without video",
    ("policy:act", "hand_action_chunk", "hand"): "no answer without hand",
    ("policy:act", "hand_action_chunk", "imu"): "",
    ("qwen_omni:prompt", "timeline_action", "video"): "no answer without video",
    ("qwen_omni:prompt", "timeline_action", "audio"): "",
    ("qwen_omni:blind", "timeline_action", "video"): "",
}


@pytest.mark.parametrize("hidden", sorted({hidden for _, _, hidden in BLIND}))
def test_what_cannot_be_answered_says_why(plan: Plan, hidden: str) -> None:
    cases = {(branch, task): why for (branch, task, h), why in BLIND.items() if h == hidden}
    here = replace(without(plan, (hidden,)), branches=tuple(dict.fromkeys(branch for branch, _ in cases)))
    here = with_sights(here)
    sights, lines = here.sights, blind_lines(here)
    for (branch, task), why in cases.items():
        blind = sights[branch][task].blind
        assert why in blind if why else not blind, (branch, task, blind)
        assert (f"{branch} has no answer to {task}: {blind}" in lines) == bool(why)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("ridge", "hand"), ("ridge", "pose"), ("mlp", "body"), ("world_model:jepa", "hand"), ("qwen_omni:prompt", "audio")],
)
def test_a_branch_answers_with_what_is_left(plan: Plan, tmp_path: Path, name: str, hidden: str) -> None:
    here = with_sights(replace(without(plan, (hidden,)), branches=(name,), references=(), out=tmp_path, part_of=plan.out))
    fitted(here, Actor(here), name)
    actor = Actor(here)
    episode = here.split.folds[0].test[0]
    answers: dict[str, list[str]] = {}
    for block in blocks_of(here, actor.bench, name, 0, 0):
        actor.run(block)
        for task_id, table in by_task(block.part(here)):
            answers.setdefault(task_id, []).extend(read_predictions(table, ()).status.tolist())
    posed = set(actor.bench.record(episode).tasks)
    blind = {task for task, sight in here.sights[name].items() if sight.blind}
    assert set(answers) == (set(here.sights[name]) - blind) & posed
    for task_id, statuses in answers.items():
        # The tiny checkpoint may not find its words without sound: that counts against it. It is asked all the same.
        assert np.mean([status in ("ok", "parse_error") for status in statuses]) > 0.9, task_id
