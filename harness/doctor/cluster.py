"""A Ray cluster: its machines, and whether one of them can hold a branch."""

from collections.abc import Sequence
from typing import Any, Literal

from harness.branch import BranchCard
from harness.doctor.findings import Findings, gib
from harness.model_plan import GIB, ModelPlan
from harness.pipeline.cluster import ray_session
from harness.pipeline.room import lacking, machines


def look_at_cluster(
    found: Findings, address: str, name: str = "", card: BranchCard | None = None, plan: ModelPlan | None = None
) -> None:
    """Everything, under `cluster`; what a branch lacks there is broken.

    Args:
        found: Takes it.
        address: As for `ray_session`.
        name: Branch to place; empty = none.
        card: Of the branch.
        plan: Of the branch.

    Raises:
        BadInput: There is no cluster at the address.
    """
    with ray_session(address):
        offered = machines()
    body: dict[str, Any] = {"address": address, "nodes": [_node(machine) for machine in offered]}
    found.body["cluster"] = body
    if card is None:
        return
    lacks = {"fit": missing("fit", card, plan, offered), "predict": missing("predict", card, plan, offered)}
    body["lacks"] = lacks
    found.broken += [f"{name}: {stage} needs {what}" for stage, what in lacks.items() if what]
    if plan and any(machine.get("GPU") for machine in offered):
        found.remarks.append("Ray does not say how much memory a GPU has: compare it with the plan")


def missing(stage: Literal["fit", "predict"], card: BranchCard, plan: ModelPlan | None, offered: Sequence[dict[str, Any]]) -> str:
    """What no machine has: CPUs and GPUs as the card says, or the memory of the plan where no machine has a GPU. Empty = room."""
    cpus, gpus = (card.fit_cpus, card.fit_gpus) if stage == "fit" else (card.cpus, card.gpus)
    if short := lacking(cpus, gpus, offered):
        return short
    size = plan.memory(stage).total if plan else 0
    most = max(machine.get("memory", 0.0) for machine in offered)
    if size <= most or any(machine.get("GPU") for machine in offered):
        return ""
    return f"{size / GIB:.1f} GiB of memory on one machine, without activations; the most that workers have: {most / GIB:.1f}"


def _node(machine: dict[str, Any]) -> dict[str, Any]:
    """Memory is what Ray gives to workers."""
    return {
        "host": next((key.partition(":")[2] for key in machine if key.startswith("node:") and "__" not in key), ""),
        "cpus": machine.get("CPU", 0.0),
        "gpus": machine.get("GPU", 0.0),
        "gpu_types": [key.partition(":")[2] for key in machine if key.startswith("accelerator_type:")],
        "memory_gib": gib(machine.get("memory", 0.0)),
    }
