"""Information set: a row may have seen nothing after its t0, and says itself until when it saw."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Status
from harness.bundle import Bundle
from harness.errors import BadInput
from harness.leakage.words import some
from harness.window import Samples

Answers = Sequence[tuple[NDArray[np.str_], Predictions]]

INFORMATION = "information set"


def check_rows(bundle: Bundle, task_id: str, answers: Answers, samples: Samples) -> list[str]:
    """Refuse rows that saw anything after t0, or of which nobody knows what they saw; those that are not scored, too.

    Args:
        bundle: Where they stand; a privileged one looks at targets and says so.
        task_id: What they answer.
        answers: Sample ids and rows of each part. `seen_until` in seconds, NaN where unknown; None = all unknown. -inf: nothing
            but the training set was shown.
        samples: (n,) of the episode, t0 on the same time base.

    Returns:
        `[INFORMATION]` where the rows of an imported bundle do not meet the gate, else nothing.

    Raises:
        BadInput: Names the branch, the task and the samples.
    """
    if bundle.privileged or not answers or not len(samples):
        return []
    given = np.concatenate([ids for ids, _ in answers])
    seen = np.concatenate([np.full(len(i), np.nan) if r.seen_until is None else r.seen_until for i, r in answers])
    order = np.argsort(samples.ids, kind="stable")
    place = order[np.minimum(np.searchsorted(samples.ids, given, sorter=order), len(order) - 1)]
    there = (samples.ids[place] == given) & (np.concatenate([rows.status for _, rows in answers]) != Status.MISSING.value)
    ids, seen, t0 = given[there], seen[there], samples.t0[place[there]]
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
