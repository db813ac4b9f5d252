"""Error of a chunk of robot commands, each action group in its own unit."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.metrics.base import Details, Metric, MetricContext, State, by_step, number, pack, ratio
from harness.metrics.regression import vector_rows, with_failure_cost


class ChunkError(Metric):
    """Mean over the action groups of the mean of |answer - truth| / train deviation.

    `context.shape` is (H, A). The deviation of a dimension is that of its training targets over all steps together, so that a
    step does not change the yardstick. `context.groups` without entries is one group `all` of all dimensions. A group that is
    measured nowhere does not count.

    State (3 K + 2 H,), K groups: per group the error in train deviations, the error in the group's own unit, and the measured
    numbers; per step the error in the targets' units over all dimensions, and the measured numbers.
    """

    name = "chunk_error"
    direction = "down"
    limits = (0.0, np.inf)
    mean_over_rows = True
    plain = "mae"

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        # A task that no episode poses has no shape, and no state is ever asked of it.
        self.steps, self.dims = context.shape or (0, 0)
        self.groups = context.groups or {"all": list(range(self.dims))}

    @cached_property
    def members(self) -> NDArray[np.float64]:
        """(K, A) 1 where the dimension belongs to the group."""
        table = np.zeros((len(self.groups), self.dims))
        for row, dims in zip(table, self.groups.values(), strict=True):
            row[dims] = 1.0
        return table

    @cached_property
    def deviation(self) -> NDArray[np.float64]:
        """(H A,) standard deviation of each dimension over all steps: mean of the variances plus variance of the means."""
        std, mean = (moment.reshape(self.context.shape) for moment in (self.context.train_std, self.context.train_mean))
        return np.tile(np.sqrt((std**2).mean(axis=0) + mean.var(axis=0)), self.steps)

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(3 K + 2 H,) sums over one episode's rows."""
        rows = vector_rows(targets, predictions, self.context)
        scaled = with_failure_cost(np.abs(rows.guess - rows.truth) / self.deviation, rows.measured, rows.answered)
        chunk = (self.steps, self.dims)
        errors = scaled.sum(axis=0).reshape(chunk)
        own_unit = errors * self.deviation.reshape(chunk)
        measured = rows.measured.sum(axis=0).reshape(chunk)
        # No matrix product: its last bit depends on where in memory the operands happen to lie.
        per_group = [(self.members * table.sum(axis=0)).sum(axis=1) for table in (errors, own_unit, measured)]
        return pack(*per_group, own_unit.sum(axis=1), measured.sum(axis=1))

    def value(self, states: State) -> NDArray[np.float64]:
        """(...) in train deviations; NaN where nothing is measured."""
        k = len(self.groups)
        errors, measured = states[..., :k], states[..., 2 * k : 3 * k]
        present = measured > 0
        return ratio(np.where(present, ratio(errors, measured), 0.0).sum(axis=-1), present.sum(axis=-1))

    def details(self, states: State) -> Details:
        """`mae` over all dimensions, `per_group` in the group's own unit, `per_horizon` ("1" .. "H"): `mae` of each step."""
        k = len(self.groups)
        per_group = ratio(states[k : 2 * k], states[2 * k : 3 * k])
        errors, measured = states[3 * k :].reshape(2, self.steps)
        return {
            "mae": number(ratio(errors.sum(), measured.sum())),
            "per_group": {name: number(error) for name, error in zip(self.groups, per_group, strict=True)},
            "per_horizon": by_step(ratio(errors, measured)),
        }
