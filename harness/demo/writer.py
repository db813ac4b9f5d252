"""Writes the demo data set: one folder per session, one per episode in it, several episodes at a time."""

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from threadpoolctl import threadpool_limits

from harness.demo.mute import silenced
from harness.demo.take import Order, write_episode
from harness.errors import BadInput

SHORTEST = 2.0
"""Seconds; a shorter episode has too few windows to be of use."""


def write_demo(
    out: Path,
    episodes: int = 8,
    seed: int = 0,
    seconds: float = 30.0,
    mute: str | None = None,
    processes: int = 2,
) -> list[Path]:
    """Write a demo data set in the Xperience-10M layout: `<out>/<session>/ep<N>/`, two episodes per session.

    The same arguments give the same bytes. Seeds from 10000 up are reserved for pretraining. See `docs/demo.md`.

    Args:
        out: Folder; made where it does not exist. Episodes of an earlier call with the same seed are replaced.
        episodes: How many; 8 make the frozen split of the card `demo`.
        seed: Draws sessions, scripts, motion and noise.
        seconds: Length of each episode, a whole number of frames (1/20 s).
        mute: A key of `MUTES` to silence, or None.
        processes: Episodes made at a time; 1 makes them in this process.

    Returns:
        The episode folders in the order of their ids.

    Raises:
        BadInput: An unknown `mute`, a number out of range, or a folder that holds other things.
    """
    muted = silenced(mute)
    if episodes < 1 or seed < 0 or processes < 1:
        raise BadInput(f"demo data: episodes {episodes}, seed {seed}, processes {processes}; use at least 1, 0 and 1")
    if not seconds >= SHORTEST:
        raise BadInput(f"demo data: {seconds} seconds are too short for a window; use at least {SHORTEST}")
    orders = [Order(Path(out), seed, rank, seconds, muted) for rank in range(episodes)]
    _check_free(Path(out), {order.session.uuid for order in orders})
    if processes == 1 or episodes == 1:
        return [_make(order) for order in orders]
    # Spawned, not forked: the caller may run threads (Ray, video decoders).
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_make, orders))


def _check_free(out: Path, sessions: set[str]) -> None:
    """Another seed's sessions in the same folder would make a data set that no seed gives."""
    if out.exists() and not out.is_dir():
        raise BadInput(f"demo data: {out} is a file; give an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    strangers = sorted(entry.name for entry in out.iterdir() if entry.name not in sessions)
    if strangers:
        raise BadInput(f"demo data: {out} already holds {strangers[0]}; give an empty folder")


def _make(order: Order) -> Path:
    """Write one episode beside its place, then move it there: a folder under its final name is complete."""
    partial = order.folder.with_name(f".{order.folder.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    # One thread each: several processes with a thread per core wait for each other, and sums depend on the number of threads.
    with threadpool_limits(1):
        write_episode(order, partial)
    if order.folder.exists():
        shutil.rmtree(order.folder)
    partial.rename(order.folder)
    return order.folder
