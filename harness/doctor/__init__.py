"""`espalier doctor`: is everything here that a run needs, what does a branch's model hold, can a cluster hold it."""

from pathlib import Path

from harness.doctor.cluster import look_at_cluster
from harness.doctor.findings import Findings
from harness.doctor.machine import look_at_machine
from harness.doctor.model import describe, named_branch
from harness.errors import BadInput

__all__ = ["Findings", "examine"]


def examine(branch: str | None, preset: str | None, address: str | None, words: list[str], file: Path | None) -> Findings:
    """A branch and a cluster, as far as they are named; this machine where neither is.

    Args:
        branch: Branch id.
        preset: One of its presets; None = that of the options.
        address: Ray cluster.
        words: Options as `espalier run` takes them.
        file: YAML with options.

    Raises:
        BadInput: An unknown branch, preset or option, or no cluster at the address.
    """
    found = Findings()
    if branch is None:
        if preset or words or file:
            raise BadInput("doctor: presets and options are those of a branch; name it with --branch")
        if address is None:
            look_at_machine(found)
        else:
            look_at_cluster(found, address)
        return found
    made = named_branch(branch, preset, words, file)
    plan = made.plan()
    found.body["branch"] = describe(branch, made, plan)
    if address is not None:
        look_at_cluster(found, address, branch, made.card, plan)
    return found
