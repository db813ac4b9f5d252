"""Peak memory of one piece of work, in a process that does one after the other."""

import resource
from pathlib import Path

PROC = Path("/proc/self")


def reset_peak() -> None:
    """Let the peak of this process begin again at what it holds now (proc_pid_clear_refs(5): 5 sets VmHWM to VmRSS)."""
    try:
        (PROC / "clear_refs").write_text("5")
    except OSError:
        return  # no Linux, or a kernel without it


def peak_gib() -> float:
    """GiB of the most resident memory since the last `reset_peak`.

    It is of the whole process: libraries and models that earlier work has left in it count. Where a machine has no `/proc`, or
    one whose peak cannot be reset, it is the most since the process began, whatever it did then.
    """
    try:
        lines = (PROC / "status").read_text().splitlines()
    except OSError:
        lines = []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if kib is None else kib) / 2**20
