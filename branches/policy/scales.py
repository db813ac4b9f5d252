"""Quantile scales of states and actions, fitted on training windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from branches.policy.config import PolicyOptions
from branches.policy.windows import Windows
from harness.actions.quantiles import Quantiles, fit_quantiles

MOST_ROWS = 100_000  # evenly spaced: a quantile of more says the same


@dataclass(frozen=True, eq=False)
class Scales:
    """Between physical units and the policy's [-1, 1].

    Attributes:
        state: Of the states that are shown, one after the other.
        action: Of one step of the chunk.
    """

    state: Quantiles
    action: Quantiles

    def state_width(self, options: PolicyOptions) -> int:
        """Numbers of one of the states that are shown."""
        return len(self.state.low) // options.state_steps

    def to_json(self) -> dict[str, Any]:
        """For the artifact."""
        return {
            name: {"low": q.low.tolist(), "high": q.high.tolist()} for name, q in (("state", self.state), ("action", self.action))
        }

    @staticmethod
    def from_json(body: dict[str, Any]) -> "Scales":
        """What `to_json` wrote."""
        return Scales(*(Quantiles(np.array(body[name]["low"]), np.array(body[name]["high"])) for name in ("state", "action")))


def fit_scales(windows: Windows) -> Scales:
    """Quantiles of the training windows."""
    index = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MOST_ROWS)).round().astype(np.int64))
    rows = windows.read(index)
    assert rows.actions is not None and rows.masks is not None
    width = windows.space.width
    actions, masks = rows.actions.reshape(-1, width), rows.masks.reshape(-1, width)
    return Scales(fit_quantiles(rows.states, np.ones(rows.states.shape, bool)), fit_quantiles(actions, masks))
