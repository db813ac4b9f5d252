"""Fits of the contract suite, in this process."""

from dataclasses import replace
from pathlib import Path

from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor


def fitted(plan: Plan, actor: Actor, branch: str, out: Path | None = None) -> Plan:
    """Fit one branch on fold 0 (into another run folder where `out` says so)."""
    here = plan if out is None else replace(plan, out=out)
    fit_branch(here, FitJob(branch, 0, 0), actor.bench)
    return here
