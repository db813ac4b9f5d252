"""Runs for the canaries: a few short simulated episodes, fitted in this process."""

from collections.abc import Sequence
from pathlib import Path

from harness.config import load_config
from harness.dataset import open_dataset
from harness.episode import EpisodeRef
from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.ingest import ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.survey import with_widths
from harness.splits import make_split


def planned(root: Path, out: Path, branches: Sequence[str], tasks: Sequence[str], *words: str) -> Plan:
    """An ingested run on recordings under `root`: episode 0 trains, 1 tests, unless `words` say otherwise."""
    words = (*(words or ("split.train=0", "split.test=1")), f"store.uri={out / 'store'}")
    config, _ = load_config(None, list(words))
    dataset = open_dataset(str(root), config)
    refs, _ = dataset.list_episodes()
    spec = config.windows.spec()
    split = make_split(refs, config.split, spec)
    plan = Plan(dataset, out / "run", str(out / "store"), config, spec, split, tuple(tasks), tuple(branches))
    for ref in refs:
        if ref.id in split.episodes:
            record = ingest_episode(plan, ref)
            assert getattr(record, "reason", None) is None
    return with_widths(plan)


def fitted(plan: Plan) -> list[FitJob]:
    """Every branch of the run, fitted."""
    jobs = [FitJob(branch, 0, 0) for branch in plan.branches]
    for job in jobs:
        fit_branch(plan, job)
    return jobs


def test_ref(plan: Plan) -> EpisodeRef:
    """The test episode."""
    [episode] = plan.split.folds[0].test
    return next(ref for ref in plan.dataset.list_episodes()[0] if ref.id == episode)


test_ref.__test__ = False  # type: ignore[attr-defined]
