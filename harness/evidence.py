"""Evidence grades: how much a row can prove, capped by the weakest of what it stands on."""

from harness.branch import TINY_WEIGHTS
from harness.splits import Split

GRADES = ("mock", "smoke", "dry_run", "held_out")


def evidence_grade(*, simulated: bool, limited: bool, split: Split, selected: bool = False, shared_content: bool = False) -> str:
    """The weakest of what caps it.

    Args:
        simulated: Recordings from a simulator.
        limited: A limit was set.
        split: A session or a participant on both sides, or one episode on both sides of a border, caps at `dry_run`.
        selected: The folder is one of `espalier select`, which caps at `dry_run` too.
        shared_content: Two groups on both sides hold the same content, which caps at `dry_run` too.
    """
    if simulated:
        return "mock"
    if limited:
        return "smoke"
    capped = selected or shared_content or split.unit == "interval" or any(split.shared().values())
    return "dry_run" if capped else "held_out"


def row_evidence(run: str, weights: str, *, shared: bool = False, imported: bool = False) -> str:
    """Evidence of one branch's row: that of the run, at most `smoke` on a tiny checkpoint or where it was made elsewhere.

    Args:
        run: As `evidence_grade` gave it.
        weights: `BranchCard.weights`.
        shared: True where it was fitted on a session or participant that it is tested on: at most `dry_run`.
        imported: True where nobody here saw how the predictions were made.
    """
    cap = "smoke" if weights == TINY_WEIGHTS or imported else "dry_run" if shared else "held_out"
    return min(run, cap, key=GRADES.index)
