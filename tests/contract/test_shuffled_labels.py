"""What every branch that answers in labels must keep: fitted on shuffled ones, it knows nothing of the test."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.branch import branch_names, make_branch
from harness.leakage.labels import LABELS, label_canary
from harness.pipeline.fit import FitJob
from harness.pipeline.plan import Plan

# Floors and heads at once, models among the slow tests.
QUICK = {name: make_branch(name, preset="tiny").card.family in ("floor", "head") for name in branch_names()}
NAMES = [pytest.param(name, marks=() if quick else (pytest.mark.slow,)) for name, quick in QUICK.items()]


def test_on_shuffled_labels_it_falls_to_the_floor(name: str, plan: Plan, tmp_path: Path) -> None:
    branch = plan.make_branch(name)
    answered = [t for t in plan.tasks if plan.task(t).answer in LABELS and branch.route(plan.task(t)) is not None]
    if not answered:
        pytest.skip(f"{name} answers no task with labels")
    falls = label_canary(replace(plan, tasks=tuple(answered), branches=(name,)), FitJob(name, 0, 0), tmp_path)
    assert falls and [str(fall) for fall in falls if not fall.fell] == []
