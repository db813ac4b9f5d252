"""What actors, fits and encoders ask of a machine, and whether one of a cluster has it."""

from collections.abc import Sequence
from typing import Any

ENCODER_GPUS = 0.25  # four tasks that encode latents share one: frozen encoders are small beside the models that are trained


def encoder_gpus() -> float:
    """GPUs that a task which encodes latents asks for: none where the Ray that is connected has none."""
    import ray  # noqa: PLC0415

    return ENCODER_GPUS if ray.cluster_resources().get("GPU") else 0.0


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
