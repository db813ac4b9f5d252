"""What the doctor found, as JSON values and lines."""

from dataclasses import dataclass, field
from typing import Any

from harness.model_plan import GIB


@dataclass
class Findings:
    """What was found.

    Attributes:
        body: Part (`machine`, `branch`, `cluster`) -> JSON values.
        broken: What keeps a run from working, a line each.
        remarks: What may surprise, a line each.
    """

    body: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**self.body, "broken": self.broken, "remarks": self.remarks}


def gib(size: float) -> float:
    """Bytes as GiB, rounded to a tenth of a MiB."""
    return round(size / GIB, 4)
