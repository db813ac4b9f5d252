"""Options of `espalier select`: those of a run, and what there is to choose with."""

import re
from dataclasses import dataclass

from harness.config import RunConfig
from harness.errors import BadInput


@dataclass
class SelectConfig(RunConfig):
    """Everything `espalier select` can be told with `key=value`.

    Attributes:
        budget: `trials:N`: N configurations of every branch that has a search space; 1 = its preset alone.
        seed: Of the configurations and, unless `seeds` is passed, of every fit.
    """

    budget: str = "trials:4"
    seed: int = 0


def trials_of(config: SelectConfig) -> int:
    """The number in `budget`.

    Raises:
        BadInput: It is written in another way.
    """
    match = re.fullmatch(r"trials:(\d+)", config.budget)
    if match is None or int(match[1]) < 1:
        raise BadInput(f"budget={config.budget}: give trials:N with N from 1 up")
    return int(match[1])
