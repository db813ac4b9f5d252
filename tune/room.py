"""Which branches the Ray that is there can hold, by their cards."""

from harness.branch import make_branch
from harness.pipeline.room import lacking, machines
from harness.reference import PRIVILEGED
from harness.request import Request


def without_room(request: Request) -> dict[str, str]:
    """Branch -> `not_run: needs ...`, for those that no machine of the cluster can hold."""
    offered, found = machines(), {}
    for name in request.branches:
        if name in PRIVILEGED:
            continue
        card = make_branch(name, request.config.branch.get(name), request.config.preset).card
        if missing := lacking(max(card.cpus, card.fit_cpus), max(card.gpus, card.fit_gpus), offered):
            found[name] = f"not_run: needs {missing}"
    return found
