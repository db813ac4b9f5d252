"""Error of a chunk of hand-pose actions: ranked on the projection, told in metres and degrees beside it."""

import numpy as np

from harness.actions.hand_pose import FULL, SIDES, WIDTH, tips_in_anchor
from harness.actions.rotation import angle_between, from_six
from harness.answers import Predictions, Targets
from harness.metrics.base import Details, MetricContext, State, number, pack, ratio
from harness.metrics.chunk_error import ChunkError
from harness.metrics.regression import vector_rows, with_failure_cost

PARTS = ("camera", *(f"{side}_wrist" for side in SIDES), *(f"{side}_tips" for side in SIDES))
TURNS = PARTS[:3]


def _nine(name: str, columns: slice) -> dict[str, list[int]]:
    every = list(range(columns.start, columns.stop))
    return {f"{name}_place": every[:3], f"{name}_rotation": every[3:]}


GROUPS = {
    **_nine("camera", FULL.camera),
    **{key: dims for side in SIDES for key, dims in _nine(f"{side}_wrist", FULL.wrist[side]).items()},
    **{f"{side}_grasp": [WIDTH + i] for i, side in enumerate(SIDES)},
}
"""Of the 59 columns of an answer: those of the projection, 29 in all. The fingertips are in no group and rank nothing."""


class HandActionError(ChunkError):
    """`ChunkError` over the groups of the projection, with distances and angles as secondary numbers.

    State: that of `ChunkError`, then metres and measured entries of camera, wrists and fingertips (both in the frame of t0),
    then radians and measured entries of camera and wrists.
    """

    name = "hand_action_error"
    plain = "wrist_m"

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self.groups = GROUPS

    def state(self, targets: Targets, predictions: Predictions) -> State:
        """Sums over one episode's rows."""
        rows = vector_rows(targets, predictions, self.context)
        n = len(rows.truth)
        shape = (n, self.steps, self.dims)
        truth, guess, measured = (a.reshape(shape) for a in (rows.truth, rows.guess, rows.measured))
        errors, known = [], []
        for columns in (FULL.camera, *(FULL.wrist[side] for side in SIDES)):
            place = slice(columns.start, columns.start + 3)
            errors.append(np.linalg.norm(guess[..., place] - truth[..., place], axis=-1))
            known.append(measured[..., place].all(axis=-1))
        for side in SIDES:
            tips = [tips_in_anchor(part[..., :WIDTH], side) for part in (guess, truth)]
            errors.append(np.linalg.norm(tips[0] - tips[1], axis=-1).mean(axis=-1))
            known.append(measured[..., FULL.wrist[side]].all(axis=-1) & measured[..., FULL.tips[side]].all(axis=-1))
        for columns in (FULL.camera, *(FULL.wrist[side] for side in SIDES)):
            six = slice(columns.start + 3, columns.stop)
            errors.append(angle_between(from_six(guess[..., six]), from_six(truth[..., six])))
            known.append(measured[..., six].all(axis=-1))
        there = np.stack(known, axis=-1).reshape(n, -1)
        costs = with_failure_cost(np.stack(errors, axis=-1).reshape(n, -1), there, rows.answered)
        totals = costs.sum(axis=0).reshape(self.steps, -1).sum(axis=0)
        return pack(super().state(targets, predictions), totals, there.sum(axis=0).reshape(self.steps, -1).sum(axis=0))

    def details(self, states: State) -> Details:
        """`place_m` and `rotation_deg` by part, `wrist_m`: mean of both wrists, and those of `ChunkError`."""
        extra = 2 * (len(PARTS) + len(TURNS))
        totals, counts = states[-extra:].reshape(2, -1)
        means = ratio(totals, counts)
        found = super().details(states[:-extra])
        found.pop("mae")  # metres and rotation numbers do not mix
        found["place_m"] = {part: number(m) for part, m in zip(PARTS, means, strict=False)}
        found["rotation_deg"] = {part: number(np.degrees(m)) for part, m in zip(TURNS, means[len(PARTS) :], strict=True)}
        wrists = slice(1, 1 + len(SIDES))
        found["wrist_m"] = number(ratio(totals[wrists].sum(), counts[wrists].sum()))
        return found
