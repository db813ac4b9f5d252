"""What no run may get past: a fitted part must not have seen what it is tested on."""

from typing import TYPE_CHECKING

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.splits import Split

if TYPE_CHECKING:
    from harness.held import Held

PROVENANCE = "provenance"


def check(bundle: Bundle, held: "Held") -> list[str]:
    """Refuse a bundle of our own that does not pass every gate.

    Returns:
        Names of the gates that an imported bundle does not meet: it is scored and never ranked. Empty for our own.

    Raises:
        BadInput: Names the branch, the part and the episodes.
    """
    try:
        check_provenance(bundle, held.split)
    except BadInput:
        if not bundle.imported:
            raise
        return [PROVENANCE]
    return []


def check_provenance(bundle: Bundle, split: Split) -> None:
    """Refuse a bundle whose fitted parts overlap its test episodes at or below the unit that the split promises.

    Where the split's unit is an interval, train and test share episodes by design; the gap keeps them apart.

    Raises:
        BadInput: Names the branch, the part and the episodes; also where nobody knows what a part was fitted on.
    """
    if bundle.privileged:
        return
    if bundle.fitted_on is None or (not bundle.fitted_on and bundle.card.get("fitted")):
        raise BadInput(f"bundle {bundle.folder}: {bundle.branch} does not say what it was fitted on; it cannot be ranked")
    if not 0 <= bundle.fold < len(split.folds):
        raise BadInput(f"bundle {bundle.folder}: there is no fold {bundle.fold}; the split has {len(split.folds)}")
    test = split.folds[bundle.fold].test
    forbidden = set(test) if split.unit in ("episode", "session") else set()
    if split.unit == "session":
        sessions = {split.sessions[e] for e in test} - {None}
        forbidden |= {e for e, session in split.sessions.items() if session in sessions}
    for part, episodes in bundle.fitted_on.items():
        seen = sorted(set(episodes) & forbidden)
        if seen:
            raise BadInput(
                f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on {', '.join(seen[:5])}, which fold "
                f"{bundle.fold} tests (unit: {split.unit}); fit it again on the training episodes"
            )
