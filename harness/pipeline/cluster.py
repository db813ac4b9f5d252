"""A Ray to work on: the cluster that was named, or a local one that starts and stops with the command."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from harness.card import first_line
from harness.errors import BadInput, WorkFailed

# Samples never travel through the object store (blocks carry references), so a small one is enough.
OBJECT_STORE_BYTES = 256 * 2**20
# Ray's own numbers are infinite: an episode that kills whoever reads it would be tried for ever.
TRIES_AFTER_DEATH = 2
KNOCK_S = 10.0
# Workers that were given no GPU see none; by itself Ray leaves them all, and branches would share one unaccounted.
HIDE_GPUS = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would rebuild the environment for every worker
    **HIDE_GPUS,
    "RAY_task_oom_retries": str(TRIES_AFTER_DEATH),
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what its core reports also comes back as an exception
}


@contextmanager
def ray_session(address: str | None = None) -> Iterator[None]:
    """Connect to `address`, or run a local Ray for as long as the block lasts. Within a running session it does nothing.

    Args:
        address: As for `ray.init`; `auto` finds the cluster that this machine or job belongs to.

    Raises:
        BadInput: There is no cluster at the address.
        WorkFailed: Ray itself gave way.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415  seconds, which a run with nothing left to do saves
    import ray.data.exceptions  # noqa: PLC0415

    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        with redirect_stdout(sys.stderr):  # Ray tells of dead workers on stdout, where the result belongs
            yield
    except (ray.exceptions.RayError, ray.data.exceptions.SystemException) as error:
        raise WorkFailed(
            f"Ray gave way ({type(error).__name__}: {first_line(error)}); the same command goes on from here"
        ) from error
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray.data  # noqa: PLC0415

    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        _knock(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        with _silent_stderr():
            if address:
                ray.init(address=address, runtime_env={"env_vars": HIDE_GPUS}, **quiet)
            else:
                os.environ.setdefault("RAY_AUTH_MODE", "disabled")
                ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    except Exception as error:  # Ray raises a bare one where the machine is too busy to start it within 30 s
        if not address:
            raise WorkFailed(
                f"a local Ray does not start ({first_line(error)}); run again, or name a cluster with --address"
            ) from error
        raise BadInput(
            f"--address {address}: no Ray cluster answers there ({first_line(error)}); start it or correct it"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A block whose worker died again and again is left out; the stages see which one did not come back.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # Ray Data 2.60 warns of the only way to limit retries and has no other.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")


def _knock(address: str) -> None:
    """Ray tries for many minutes to reach a HOST:PORT where nobody listens."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"--address {address}: nobody answers there ({first_line(error)}); start the cluster or correct it"
        ) from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Ray's core announces its log level on the file descriptor itself. Faults come as exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_reachable(paths: Sequence[Path]) -> None:
    """Every machine of the cluster must see the folders that a run lives in.

    Raises:
        BadInput: One does not.
    """
    import ray  # noqa: PLC0415
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if len(nodes) < 2:
        return
    look = ray.remote(num_cpus=0)(_unseen)
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote([str(path) for path in paths])
        for node in nodes
    ]
    for host, unseen in ray.get(asked):
        if unseen:
            raise BadInput(f"{unseen[0]}: {host} of the cluster does not see it; give a folder that all its machines share")


def _unseen(paths: list[str]) -> tuple[str, list[str]]:
    return socket.gethostname(), [path for path in paths if not os.path.exists(path)]


def pool_shape(cpus_per_actor: float, gpus_per_actor: float, jobs: int) -> tuple[int, float]:
    """How many actors, and the CPUs each asks Ray for.

    One CPU stays free for Ray Data's own tasks: with less than that left they never start. On two CPUs two actors of half a
    CPU each run instead of one, so no core idles; threads per actor are fixed elsewhere.

    Args:
        cpus_per_actor: What one actor really uses.
        gpus_per_actor: As `cpus_per_actor`.
        jobs: Blocks there are to work on.
    """
    import ray  # noqa: PLC0415

    there = ray.cluster_resources()
    cpus, gpus = float(there.get("CPU", 1.0)), float(there.get("GPU", 0.0))
    if gpus < gpus_per_actor:
        raise BadInput(f"a branch needs {gpus_per_actor:g} GPU(s) per actor and Ray has {gpus:g}; name a cluster with --address")
    size = max(1, min(int(cpus / cpus_per_actor), jobs))
    if gpus_per_actor:
        size = max(1, min(size, int(gpus / gpus_per_actor)))
    free = max(cpus - 1.0, cpus / 2)
    return size, min(cpus_per_actor, free / size)
