"""Small search spaces over the branches' own options, and seeded quasi-random configurations from them.

A space may hold only options that leave two things alone: what the branch asks of an episode (`needs`: frames are decoded once,
before any trial) and what its validation loss means (losses of two configurations are compared).
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import qmc

from harness.branch import Branch

DRAWS_PER_CONFIGURATION = 32  # of a small space many draws are alike


@dataclass(frozen=True)
class Among:
    """One of a few values."""

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The value at a place in [0, 1)."""
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class LogUniform:
    """A positive number, uniform in its logarithm, to two digits."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The number at a place in [0, 1)."""
        return float(f"{self.low * (self.high / self.low) ** share:.1e}")


@dataclass(frozen=True)
class Space:
    """What may vary in a branch.

    Attributes:
        options: Option of the branch -> where its values come from.
        steps: The option that says how long it trains, where a short training tells something about a long one: its share is what
            successive halving hands out. Empty: every configuration is run in full.
    """

    options: dict[str, Among | LogUniform]
    steps: str = ""


_OMNI_LORA = Space({"learning_rate": LogUniform(1e-3, 8e-3), "rank": Among((16, 8))}, steps="epochs")
_POLICY = Space({"learning_rate": LogUniform(7e-4, 5e-3), "weight_decay": LogUniform(1e-5, 1e-2)}, steps="steps")
SPACES: dict[str, Space] = {
    "ridge": Space({"max_rank": Among((1024, 256, 64)), "clip": Among((10.0, 3.0)), "history_steps": Among((8, 2))}),
    "mlp": Space(
        {
            "learning_rate": LogUniform(3e-4, 3e-3),
            "hidden": Among((64, 128, 256)),
            "dropout": Among((0.1, 0.3)),
            "weight_decay": LogUniform(1e-5, 1e-2),
        }
    ),
    "qwen_omni:prompt": Space({"shots": Among((1, 0, 2)), "frames": Among((2, 1))}),
    "qwen_omni:lora": _OMNI_LORA,
    "qwen_omni:blind": _OMNI_LORA,
    "world_model:jepa": Space({"learning_rate": LogUniform(4e-4, 3e-3), "dropout": Among((0.1, 0.0))}, steps="steps"),
    "world_model:cosmos": Space({"learning_rate": LogUniform(4e-4, 3e-3), "weight_decay": LogUniform(1e-4, 1e-1)}, steps="steps"),
    "policy:act": _POLICY,
    "policy:smolvla": _POLICY,
}
"""By branch id. A branch without a space runs once, as its preset has it."""


def space_of(name: str, branch: Branch) -> Space:
    """The space of a branch without the options that the user has set."""
    found = SPACES.get(name, Space({}))
    return Space({option: domain for option, domain in found.options.items() if option not in branch.options}, found.steps)


def configurations(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """At most so many different configurations: the default first, then a scrambled Halton sequence.

    Args:
        space: Where they come from.
        count: How many; fewer where the space holds fewer.
        seed: The same one gives the same configurations, and of more of them the first ones are the same.
    """
    found: list[dict[str, Any]] = [{}]
    if not space.options:
        return found
    seen = {json.dumps({})}
    points = qmc.Halton(len(space.options), scramble=True, rng=np.random.default_rng(seed))
    for point in points.random(count * DRAWS_PER_CONFIGURATION):
        drawn = {name: domain.at(float(share)) for (name, domain), share in zip(space.options.items(), point, strict=True)}
        if len(found) < count and (text := json.dumps(drawn)) not in seen:
            seen.add(text)
            found.append(drawn)
    return found[:count]
