"""Information set: a row may have seen nothing after its t0, and says itself until when it saw."""

import numpy as np
from numpy.typing import NDArray

from harness.bundle import Bundle
from harness.episode import FloatArray
from harness.errors import BadInput
from harness.leakage.words import some

INFORMATION = "information set"


def check_rows(
    bundle: Bundle,
    task_id: str,
    ids: NDArray[np.str_],
    seen_until: FloatArray | None,
    t0: FloatArray,
    there: NDArray[np.int64],
) -> list[str]:
    """Refuse rows that saw anything after t0, or of which nobody knows what they saw.

    Args:
        bundle: Where they stand; a privileged one looks at targets and says so.
        task_id: What they answer.
        ids: (n,) samples.
        seen_until: (n,) seconds, NaN where unknown; None = all unknown. -inf: nothing but the training set was shown.
        t0: (n,) seconds on the same time base.
        there: Which of the samples have a row at all.

    Returns:
        `[INFORMATION]` where the rows of an imported bundle do not meet the gate, else nothing.

    Raises:
        BadInput: Names the branch, the task and the samples.
    """
    if bundle.privileged or not len(there):
        return []
    ids, t0 = ids[there], t0[there]
    seen = np.full(len(ids), np.nan) if seen_until is None else seen_until[there]
    late, unknown = seen > t0, np.isnan(seen)
    if not (late.any() or unknown.any()):
        return []
    if bundle.imported:
        return [INFORMATION]
    if late.any():
        first = int(np.flatnonzero(late)[0])
        raise BadInput(
            f"bundle {bundle.folder}: {bundle.branch} was shown {seen[first]:.3f} s and was asked at t0 = {t0[first]:.3f} s "
            f"({task_id}: {some(ids[late].tolist())}); show it nothing after t0"
        )
    raise BadInput(
        f"bundle {bundle.folder}: {bundle.branch} does not say until when its rows saw ({task_id}: "
        f"{some(ids[unknown].tolist())}); predict them again, each with its `seen_until`"
    )
