"""A branch that is in no registry is put through the suite by name, and what leaks does not get through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLANTED = "leaky.branches:ScalesByBatch"


def suite(*words: str) -> subprocess.CompletedProcess[str]:
    """The contract suite as its user runs it, with the planted branch where it can be imported."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "harness" / "leakage")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--branch", PLANTED, *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)


def test_a_branch_that_centres_over_the_batch_fails_the_canary() -> None:
    """On a table: that is quick to ingest."""
    found = suite("tests/contract/table", "-k", "after_t0 and (ScalesByBatch or ridge)")
    assert found.returncode == 1 and "1 failed, 1 passed" in found.stdout, found.stdout
    assert f"{PLANTED} knows what comes after t0 (quality_score, values)" in found.stdout


def test_a_named_branch_goes_through_every_test_that_a_registered_one_does() -> None:
    found = suite("tests/contract", "--collect-only")
    collected = [line for line in found.stdout.splitlines() if "::" in line]
    mine = {line.removesuffix(f"[{PLANTED}]") for line in collected if line.endswith(f"[{PLANTED}]")}
    assert mine == {line.removesuffix("[ridge]") for line in collected if line.endswith("[ridge]")}
    files = {Path(line.partition("::")[0]).name for line in mine}
    assert files == {"test_branches.py", "test_shuffled_labels.py", "test_table_branches.py"}


@pytest.mark.slow
def test_a_branch_that_centres_over_the_batch_fails_the_canary_on_recordings() -> None:
    found = suite("tests/contract/test_branches.py", "-k", "after_t0 and ScalesByBatch")
    assert found.returncode == 1 and f"{PLANTED} knows what comes after t0 (timeline_action" in found.stdout, found.stdout
