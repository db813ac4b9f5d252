"""One small simulated data set for the whole suite, and the stages of a run in one process."""

from pathlib import Path

import pytest
from named import named, named_for

from harness.branch import branch_names, make_branch
from harness.config import load_config
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.leakage.canary import FutureCanary
from harness.pipeline.ingest import ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor
from harness.pipeline.survey import with_widths
from harness.splits import make_split
from harness.tasks import task_ids

SECONDS = 12.0


def pytest_addoption(parser: pytest.Parser) -> None:
    about = "put a branch that is not registered through the suite too, e.g. package.module:Mine (may be repeated)"
    parser.addoption("--branch", action="append", metavar="MODULE:CLASS", help=about)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take a `name` are run for the NAMES of their module and for what `--branch` names."""
    names = getattr(metafunc.module, "NAMES", None)
    if names is not None and "name" in metafunc.fixturenames:
        table = getattr(metafunc.module, "TABLE", False)
        metafunc.parametrize("name", [*names, *named_for(metafunc.config, table)])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes of two sessions."""
    out = tmp_path_factory.mktemp("demo") / "recordings"
    write_demo(out, episodes=4, seed=3, seconds=SECONDS)
    return out


@pytest.fixture(scope="session")
def plan(demo: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Plan:
    """An ingested run: two episodes train, one validates, one tests."""
    home = tmp_path_factory.mktemp("home")
    words = ["split.train=0,2", "split.validation=3", "split.test=1", f"store.uri={home / 'store'}"]
    words += ["branch.mlp.epochs=2", "branch.policy:act.steps=3", "branch.policy:smolvla.steps=3"]
    words += ["branch.world_model:jepa.steps=3", "branch.world_model:jepa.evaluate_every=3"]
    words += ["branch.world_model:cosmos.steps=3", "branch.world_model:cosmos.evaluate_every=3"]
    words += ["branch.qwen_omni:lora.epochs=1", "branch.qwen_omni:blind.epochs=3"]
    config, _ = load_config(None, words)
    dataset = open_dataset(str(demo), config)
    refs, faults = dataset.list_episodes()
    assert not faults
    spec = config.windows.spec()
    split = make_split(refs, config.split, spec)
    # Branches with frames or latents of their own, which ingest must know; and the latents they forecast, as tasks.
    models = [name for name in branch_names() if make_branch(name, preset="tiny").card.family not in ("floor", "head")]
    models += named(pytestconfig)
    latents = {f"future_latent[{encoder}]" for name in models for encoder in make_branch(name, preset="tiny").encoders}
    made = Plan(
        dataset,
        home / "run",
        str(home / "store"),
        config,
        spec,
        split,
        (*task_ids(), *sorted(latents)),
        ("ridge", *models),
        ("oracle",),
    )
    for ref in refs:
        record = ingest_episode(made, ref)
        assert getattr(record, "reason", None) is None
    return with_widths(made)


@pytest.fixture(scope="session")
def canaries(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[FutureCanary]:
    """The test episode with noise after two of its moments, each in a fresh store that all branches share."""
    [episode] = plan.split.folds[0].test
    [ref] = [ref for ref in plan.dataset.list_episodes()[0] if ref.id == episode]
    out = tmp_path_factory.mktemp("canaries")
    return [FutureCanary(plan, ref, SECONDS * share, out / str(share), seed=i) for i, share in enumerate((0.35, 0.7))]


@pytest.fixture(scope="session")
def actor(plan: Plan) -> Actor:
    """A prediction actor without Ray."""
    return Actor(plan)
