"""Mean per-joint position error of a forecast."""

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, MetricContext, State, by_step, number, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost

ACCURATE = 0.05
"""Metres: the tau of acc@0.05."""


class JointError(Metric):
    """Mean distance of the answered from the true joint position, in metres, over all measured joints and steps.

    `context.shape` is (H, joints, 3) or (H, joints x 3). A joint counts where all three coordinates are measured. There is no
    alignment. State (3 H,): per step the sum of the distances, the joints, and the joints answered within 0.05 m (a failed row
    has none).
    """

    name = "mpjpe"
    direction = "down"
    limits = (0.0, np.inf)
    mean_over_rows = True

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.steps = context.shape[0] if len(context.shape) > 1 else 1
        if context.shape and np.prod(context.shape[1:], dtype=int) % 3:
            raise ValueError(f"joint positions of shape {context.shape}: a step must hold x, y, z of every joint")

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(3 H,) sums over one episode's rows."""
        rows = vector_rows(targets, predictions, self.context)
        n, per_row = len(rows.truth), rows.truth.shape[1] // 3
        measured = np.asarray(rows.measured.reshape(n, per_row, 3).all(axis=2))
        distance = np.linalg.norm((rows.guess - rows.truth).reshape(n, per_row, 3), axis=2)
        within = measured & (distance < ACCURATE) & rows.answered[:, None]
        errors = with_failure_cost(distance, measured, rows.answered)
        per_step = [a.reshape(n, self.steps, per_row // self.steps).sum(axis=(0, 2)) for a in (errors, measured, within)]
        return pack(*per_step)

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) metres; NaN where no joint is measured."""
        steps = self.steps
        return ratio(states[..., :steps].sum(axis=-1), states[..., steps : 2 * steps].sum(axis=-1))

    def details(self, states: State) -> Details:
        """`fde` (error of the last step), `acc@0.05` (share of joints within 0.05 m) and `per_horizon` ("1" .. "H")."""
        errors, joints, within = states.reshape(3, self.steps)
        per_step = ratio(errors, joints)
        return {
            "fde": number(per_step[-1]),
            "acc@0.05": number(ratio(within.sum(), joints.sum())),
            "per_horizon": by_step(per_step),
        }
