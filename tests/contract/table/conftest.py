"""A small table and the stages of a run on it: what stands in for the recordings of the suite above."""

import csv

import numpy as np
import pytest
from named import named

from harness.config import load_config
from harness.dataset import open_dataset
from harness.leakage.canary import FutureCanary
from harness.pipeline.ingest import ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor
from harness.pipeline.survey import with_widths
from harness.splits import make_split

FEATURES = ("sharpness", "noise", "contrast", "blur", "motion", "light")
ROWS = 40  # of a group


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Plan:
    """An ingested run: three groups train, one validates, one tests. A few cells are empty."""
    home = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    with (home / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", *FEATURES, "mos"])
        for group in "abcde":
            x = rng.normal(size=(ROWS, 6))
            mos = 3 + x @ [0.5, -0.4, 0.2, 0.1, 0, 0.3] + 0.1 * rng.normal(size=ROWS)
            for i, row in enumerate(x.round(4).tolist()):
                writer.writerow(
                    [group, *("" if i % 9 == 0 and k == i % 6 else cell for k, cell in enumerate(row)), mos[i].round(3)]
                )
    words = ["table.group=source", "table.target=mos", "split.train=[a,b,c]", "split.validation=[d]", "split.test=[e]"]
    words += ["windows.length=1", "windows.stride=1", "branch.mlp.epochs=2"]
    config, passed = load_config(None, words)
    dataset = open_dataset(str(home / "scores.csv"), config, passed)
    refs, faults = dataset.list_episodes()
    assert not faults
    spec = config.windows.spec()
    split = make_split(refs, config.split, spec)
    made = Plan(
        dataset,
        home / "run",
        str(home / "store"),
        config,
        spec,
        split,
        ("quality_score",),
        ("ridge", *named(pytestconfig)),
        ("oracle",),
    )
    for ref in refs:
        assert getattr(ingest_episode(made, ref), "reason", None) is None
    return with_widths(made)


@pytest.fixture(scope="session")
def canaries(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> list[FutureCanary]:
    """Noise in the rows after two of the test group's."""
    [ref] = [ref for ref in plan.dataset.list_episodes()[0] if ref.id == "e"]
    out = tmp_path_factory.mktemp("table-canaries")
    return [FutureCanary(plan, ref, ROWS * share, out / str(share), seed=i) for i, share in enumerate((0.35, 0.7))]


@pytest.fixture(scope="session")
def actor(plan: Plan) -> Actor:
    """A prediction actor without Ray."""
    return Actor(plan)
