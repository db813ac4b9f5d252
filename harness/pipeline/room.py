"""Whether a machine of a cluster has the CPUs and GPUs that one actor or one fit asks for."""

from collections.abc import Sequence
from typing import Any


def machines() -> list[dict[str, Any]]:
    """What each machine of the Ray that is connected offers: resource -> amount."""
    import ray  # noqa: PLC0415

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def lacking(cpus: float, gpus: float, offered: Sequence[dict[str, Any]]) -> str:
    """What would be needed of a single machine and none has; empty where it fits.

    Args:
        cpus: Needed together on one machine.
        gpus: As `cpus`.
        offered: As `machines` gives them.
    """
    if any(m.get("CPU", 0.0) >= cpus and m.get("GPU", 0.0) >= gpus for m in offered):
        return ""
    largest = ", ".join(f"{max((m.get(unit, 0.0) for m in offered), default=0.0):g} {unit}(s)" for unit in ("CPU", "GPU"))
    return f"{cpus:g} CPU(s) and {gpus:g} GPU(s) on one machine; the most there are: {largest}"
