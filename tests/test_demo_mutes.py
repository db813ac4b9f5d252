"""docs/demo.md names for each task what makes it learnable and the `--mute` that takes it away. Both are true."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student_t

from harness.config import load_config
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.evaluate import FLOOR, Evaluation, evaluate
from harness.held import Held
from harness.metrics.base import Metric
from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.ingest import ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.pipeline.survey import with_widths
from harness.run import write_bundle
from harness.score import find_bundles
from harness.splits import SplitConfig, make_split
from harness.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| *\d+ *\| `(\w+)` \|.*\| `(\w+)` \|$", re.MULTILINE)
MUTE_OF = dict(ROW.findall((ROOT / "docs" / "demo.md").read_text()))


def test_every_task_of_the_suite_is_in_the_table() -> None:
    assert set(MUTE_OF) == set(TASKS) - {"hand_action_chunk", "action_chunk", "quality_score", "future_video", "future_retrieval"}


def evaluated(out: Path, mute: str | None, tasks: tuple[str, ...]) -> Evaluation:
    """Ridge on the demo's frozen split, in this process."""
    recordings = out / "recordings"
    write_demo(recordings, episodes=8, seed=0, mute=mute)
    config, _ = load_config(None, [f"store.uri={out / 'store'}"])
    dataset = open_dataset(str(recordings), config)
    refs, _ = dataset.list_episodes()
    spec = config.windows.spec()
    split = make_split(refs, SplitConfig(**dataset.card.split), spec)
    plan = Plan(dataset, out / "run", str(out / "store"), config, spec, split, tasks, ("ridge",))
    for ref in refs:
        record = ingest_episode(plan, ref)
        assert getattr(record, "reason", None) is None
    plan = with_widths(plan)
    actor, job = Actor(plan), FitJob("ridge", 0, 0)
    fit_branch(plan, job, actor.bench)
    write_bundle(plan, job)
    for block in blocks_of(plan, actor.bench, "ridge", 0, 0):
        actor.run(block)
    held = Held(plan.out / "targets", split, tuple(map(plan.task, tasks)), spec)
    return evaluate(held, list(find_bundles(plan.out / "bundles")))


def above_floor(evaluation: Evaluation, task: str) -> tuple[float, float]:
    """How far the head is above the floor (larger is better), and the half width of its 95 % interval over clusters."""
    metric = evaluation.metrics[task, 0]
    head, floor = (evaluation.cells[name, task].states for name in ("ridge", FLOOR))
    keys = sorted(head)
    ours = np.stack([head[key] for key in keys])
    theirs = np.stack([floor[0, 0, episode] for _, _, episode in keys])
    sign = 1.0 if metric.direction == "up" else -1.0
    values = sign * (_leave_one_out(metric, ours) - _leave_one_out(metric, theirs))
    n = len(keys)
    centre = sign * float(metric.value(ours.sum(0)) - metric.value(theirs.sum(0)))
    error = (n - 1) / np.sqrt(n) * values.std(ddof=1)
    return centre, float(student_t.ppf(0.975, n - 1) * error)


def _leave_one_out(metric: Metric, states: np.ndarray) -> np.ndarray:
    return np.array([float(metric.value(np.delete(states, i, axis=0).sum(0))) for i in range(len(states))])


@pytest.fixture(scope="module")
def unmuted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Task -> distance to the floor and half width, with every mechanism at work."""
    evaluation = evaluated(tmp_path_factory.mktemp("unmuted"), None, tuple(MUTE_OF))
    return {task: above_floor(evaluation, task) for task in MUTE_OF}


@pytest.mark.slow
def test_with_nothing_muted_every_task_is_learnt(unmuted: dict[str, tuple[float, float]]) -> None:
    assert all(centre - half > 0 for centre, half in unmuted.values()), unmuted


@pytest.mark.slow
@pytest.mark.parametrize("mute", sorted(set(MUTE_OF.values())))
def test_without_its_mechanism_a_task_falls_to_its_floor(
    mute: str, tmp_path: Path, unmuted: dict[str, tuple[float, float]]
) -> None:
    tasks = tuple(task for task, value in MUTE_OF.items() if value == mute)
    evaluation = evaluated(tmp_path, mute, tasks)
    found = {task: above_floor(evaluation, task) for task in tasks}
    print({task: (unmuted[task], found[task]) for task in tasks})
    assert all(centre - half <= 0 for centre, half in found.values()), found
    # An interval may cross 0 by its width alone: the distance itself must go.
    assert all(found[task][0] < unmuted[task][0] / 2 for task in tasks), (unmuted, found)
