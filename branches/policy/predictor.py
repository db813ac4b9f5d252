"""Fitted policies in memory: observed windows in, chunks of actions in physical units out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from branches.policy.scales import Scales
from branches.policy.spaces import space_of
from branches.policy.training import load_trained_state, to_batch
from branches.policy.windows import Rows, frames_of, texts_of
from branches.torch_training import deterministic, is_out_of_memory
from harness.actions.hand_pose import ANSWER_WIDTH
from harness.answers import Predictions, Status, all_ok
from harness.branch import Predictor
from harness.errors import BadInput
from harness.tasks import get_task
from harness.tasks.hand_action import HandActionChunk
from harness.window import ObservedBatch

if TYPE_CHECKING:
    from branches.policy.adapter import PolicyBranch

WEIGHTS, ABOUT = "policy.safetensors", "policy.json"
THREADS = 1  # actors run side by side, a core each; and the last bit of a sum depends on the threads


class PolicyPredictor(Predictor):
    """The fitted networks of one branch, loaded when a task first asks.

    Args:
        branch: Whose artifact it is.
        folder: Of the artifact.
    """

    def __init__(self, branch: "PolicyBranch", folder: Path) -> None:
        self.branch = branch
        self.folder = folder
        self.loaded: dict[str, _Loaded] = {}

    def predict(self, batch: ObservedBatch) -> Predictions:
        """One chunk per window; `unsupported` where a camera or the state is missing at t0, `oom` where memory did not do."""
        if batch.task not in self.loaded:
            self.loaded[batch.task] = _Loaded(self.branch, self.folder / batch.task, batch.task)
        return self.loaded[batch.task].predict(batch)


class _Loaded:
    """One task's network."""

    def __init__(self, branch: "PolicyBranch", folder: Path, task_id: str) -> None:
        body = json.loads((folder / ABOUT).read_text())
        self.task, self.options, self.cameras = get_task(task_id), branch.config, tuple(body["cameras"])
        if body["base"] != branch.base():
            raise BadInput(f"{branch.card.name}: its pretrained weights are others than when it was fitted; fit it again")
        self.scales, self.width = Scales.from_json(body["scales"]), int(body["width"])
        answer_width = ANSWER_WIDTH if isinstance(self.task, HandActionChunk) else self.width
        self.space = space_of(self.task, answer_width, projected=branch.projected)
        self.horizon = int(body["horizon"])
        self.policy = branch.build(len(self.cameras), self.scales.state_width(self.options), self.width, self.horizon)
        load_trained_state(self.policy.module, load_file(folder / WEIGHTS))
        self.policy.module.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def predict(self, batch: ObservedBatch) -> Predictions:
        view, options = batch.views[0], self.options
        frames, there = frames_of(view, self.cameras, options.image_size)
        states, known = self.space.state(self.task, view, options.state_steps, options.state_stride)
        rows = Rows(frames, states.reshape(len(batch), -1), tuple(texts_of(view)))
        status = np.where(there & known, all_ok(len(batch)), Status.UNSUPPORTED.value)
        actions = self._chunks(rows, batch.seeds, status)
        if options.relative:
            actions += self.space.last(self.task, view)[:, None]
        ok = status == Status.OK.value
        answers = self.space.answer(self.task, view, np.where(ok[:, None, None], actions, 0.0)).reshape(len(batch), -1)
        return Predictions(status, values=np.where(ok[:, None], answers, np.nan).astype(np.float32))

    def _chunks(self, rows: Rows, seeds: NDArray[np.uint64], status: NDArray[np.str_]) -> NDArray[np.float64]:
        """(B, H, width) of the rows that are `ok` so far; a row that memory does not do for becomes `oom`."""
        actions = np.zeros((len(rows), self.horizon, self.width))
        device = next(self.policy.module.parameters()).device
        asked = np.flatnonzero(status == Status.OK.value)
        with deterministic(THREADS, 0):
            for start in range(0, len(asked), self.options.rows_at_once):
                part = asked[start : start + self.options.rows_at_once]
                try:
                    found = self.policy.chunk(to_batch(rows.take(part), self.scales, device), seeds[part])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    status[part] = Status.OOM.value
                else:
                    actions[part] = self.scales.action.physical(found.to(torch.float64).cpu().numpy())
        return actions
