"""What every training loop in torch needs, whatever its family: order, rate, determinism, and what to say where memory ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import WorkFailed


def rate_at(step: int, warmup: int, steps: int) -> float:
    """Share of the highest learning rate: up linearly over `warmup` steps, then down along half a cosine to step `steps`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(steps - warmup, 1)
    return float((1 + np.cos(np.pi * min(done, 1.0))) / 2)


def shuffled(n: int, batch_size: int, steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """`steps` batches of row numbers, every pass in a new order."""
    rng = np.random.default_rng(seed)
    waiting: NDArray[np.int64] = np.zeros(0, np.int64)
    for _ in range(steps):
        while len(waiting) < min(batch_size, n):
            waiting = np.concatenate([waiting, rng.permutation(n)])
        yield np.sort(waiting[:batch_size])
        waiting = waiting[batch_size:]


@contextmanager
def deterministic(threads: int, seed: int) -> Iterator[None]:
    """Deterministic kernels, a seeded generator and a fixed number of threads; the process is as before after it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.get_rng_state()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
        torch.set_rng_state(before[2])


def is_out_of_memory(error: BaseException) -> bool:
    """True where torch or Python ran out of memory; on a CPU torch has no class of its own for it."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


@contextmanager
def within_memory(sizes: str) -> Iterator[None]:
    """Training that memory does not do for ends with a `WorkFailed` of one line, which says what to make smaller."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise WorkFailed(f"out of memory in a training step at {sizes}; give a smaller one, or a larger machine") from error
