"""A Ray to work on: the cluster that was named, or a local one that starts and stops with the command."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

# Samples never travel through the object store (blocks carry references), so a small one is enough.
OBJECT_STORE_BYTES = 256 * 2**20


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Connect to `address`, or run a local Ray for as long as the block lasts. Within a running session it does nothing.

    Args:
        address: As for `ray.init`; `auto` finds the cluster that this machine or job belongs to.
    """
    if ray.is_initialized():
        yield
        return
    # `uv run` would make Ray rebuild the environment for every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address or os.environ.get("RAY_ADDRESS"):
        ray.init(address=address or "auto", **quiet)
    else:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        ray.init(include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    _quiet_data()
    try:
        yield
    finally:
        ray.shutdown()


def _quiet_data() -> None:
    import ray.data  # noqa: PLC0415

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def pool_shape(cpus_per_actor: float, jobs: int) -> tuple[int, float]:
    """How many actors, and the CPUs each asks Ray for.

    One CPU stays free for Ray Data's own tasks: with less than that left they never start. On two CPUs two actors of half a
    CPU each run instead of one, so no core idles; threads per actor are fixed elsewhere.

    Args:
        cpus_per_actor: What one actor really uses.
        jobs: Blocks there are to work on.
    """
    cpus = float(ray.cluster_resources().get("CPU", 1.0))
    size = max(1, min(int(cpus / cpus_per_actor), jobs))
    free = max(cpus - 1.0, cpus / 2)
    return size, min(cpus_per_actor, free / size)
