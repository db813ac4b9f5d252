"""What no run may get past. One gate per file; each refusal is one line that names the branch, the part and the ids.

A bundle of our own that does not pass a gate is refused. An imported one is scored and never ranked: its row names every gate
that it does not meet. `harness.leakage.canary` finds by experiment what no declaration shows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.leakage.duplicates import DUPLICATES, check_duplicates
from harness.leakage.information import INFORMATION, check_rows
from harness.leakage.provenance import PROVENANCE, check_provenance, shared_units
from harness.leakage.vocabulary import VOCABULARY, check_vocabulary

if TYPE_CHECKING:
    from harness.held import Held

__all__ = ["DUPLICATES", "GATES", "INFORMATION", "PROVENANCE", "VOCABULARY", "check", "check_rows", "shared_units"]

GATES: dict[str, Callable[[Bundle, "Held"], None]] = {
    PROVENANCE: check_provenance,
    VOCABULARY: check_vocabulary,
    DUPLICATES: check_duplicates,
}
"""Gates of a whole bundle; `INFORMATION` is checked row by row, see `check_rows`."""


def check(bundle: Bundle, held: "Held") -> list[str]:
    """Refuse a bundle of our own that does not pass every gate. Privileged rows look at targets, say so and are never ranked.

    Returns:
        Names of the gates that an imported bundle does not meet. Empty for our own.

    Raises:
        BadInput: Names the branch, the part and the ids.
    """
    unmet = []
    for name, gate in GATES.items() if not bundle.privileged else ():
        try:
            gate(bundle, held)
        except BadInput:
            if not bundle.imported:
                raise
            unmet.append(name)
    return unmet
