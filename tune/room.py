"""Which branches the Ray that is there can hold, by their cards."""

from harness.branch import BranchCard, make_branch
from harness.reference import PRIVILEGED
from harness.request import Request


def without_room(request: Request) -> dict[str, str]:
    """Branch -> `not_run: needs ...`, for those that no machine of the cluster can hold."""
    import ray  # noqa: PLC0415

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    lacking = {}
    for name in request.branches:
        if name in PRIVILEGED:
            continue
        card = make_branch(name, request.config.branch.get(name), request.config.preset).card
        if missing := _missing(card, machines):
            lacking[name] = f"not_run: needs {missing}"
    return lacking


def _missing(card: BranchCard, machines: list[dict[str, float]]) -> str:
    """What one actor or one fit would need of a single machine and none has; empty where it fits."""
    cpus, gpus = max(card.cpus, card.fit_cpus), max(card.gpus, card.fit_gpus)
    if any(m.get("CPU", 0.0) >= cpus and m.get("GPU", 0.0) >= gpus for m in machines):
        return ""
    largest = ", ".join(f"{max((m.get(unit, 0.0) for m in machines), default=0.0):g} {unit}(s)" for unit in ("CPU", "GPU"))
    return f"{cpus:g} CPU(s) and {gpus:g} GPU(s) on one machine; the most there are: {largest}"
