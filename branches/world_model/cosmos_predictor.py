"""Fitted flows in memory: observed windows in, future frames or latents out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from branches.torch_training import deterministic, is_out_of_memory
from branches.world_model.cosmos_flow import CosmosFlow, load_flow, to_tensor, trained_state
from branches.world_model.cosmos_vae import THREADS
from branches.world_model.cosmos_windows import observed, still
from harness.answers import Predictions, Status, all_ok
from harness.branch import Predictor
from harness.errors import BadInput
from harness.tasks.future import SIDE
from harness.window import ObservedBatch

if TYPE_CHECKING:
    from branches.world_model.cosmos import Cosmos

WEIGHTS, ABOUT = "flow.safetensors", "cosmos.json"


class CosmosPredictor(Predictor):
    """The fitted flows of one branch, loaded when a task first asks.

    Args:
        branch: Whose artifact it is.
        folder: Of the artifact.
    """

    def __init__(self, branch: "Cosmos", folder: Path) -> None:
        self.branch = branch
        self.folder = folder
        self.loaded: dict[str, CosmosFlow] = {}

    def predict(self, batch: ObservedBatch) -> Predictions:
        """One future per window; `unsupported` where the camera shows no clip up to t0, `oom` where memory did not do."""
        flow = self._flow(batch.task)
        vae = self.branch.vae
        seen = observed(batch.views[0], vae)
        status = np.where(seen.there, all_ok(len(batch)), Status.UNSUPPORTED.value)
        frames = batch.task.startswith("future_video")
        width = vae.frames * SIDE * SIDE * 3 if frames else int(np.prod(vae.shape))
        values = np.full((len(batch), width), np.nan, np.float32)
        # Row by row: a row's bits depend neither on its neighbours nor on their number.
        for row in np.flatnonzero(seen.there):
            try:
                drawn, held = self._draw(flow, seen.past[row], seen.last[row], int(batch.seeds[row]))
                answer = self._video(drawn, held, seen.last[row]) if frames else drawn
                values[row] = answer.reshape(-1)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                status[row] = Status.OOM.value
        return Predictions(status, values=values)

    def _draw(
        self, flow: CosmosFlow, past: NDArray[np.float32], last: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """(T, h, w, C) latents of the future, and of the last frame held still where a difference to them was drawn."""
        like = next(flow.parameters())
        held = still(last[None], self.branch.vae)[0] if self.branch.config.difference else None
        with deterministic(THREADS, 0):
            seen = to_tensor(past[None], like)[0]
            drawn = flow.sample(seen, tuple(seen.shape), seed).permute(1, 2, 3, 0).float().cpu().numpy()
        drawn = drawn * np.float32(self.branch.config.spread)
        return (drawn if held is None else held + drawn), held

    def _video(
        self, drawn: NDArray[np.float32], held: NDArray[np.float32] | None, last: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """(frames, SIDE, SIDE, 3) levels: the frames as decoded, or the last frame and the change that the decoder draws."""
        vae = self.branch.vae
        frames = vae.decode(drawn[None])[0]
        if held is not None:
            frames = last.astype(np.float32) + frames - vae.decode(held[None])[0]
        return np.clip(shrunk(frames, SIDE), 0.0, 255.0)

    def _flow(self, task: str) -> CosmosFlow:
        """The flow of a task.

        Raises:
            BadInput: The model folders are not those it was fitted on.
        """
        if task not in self.loaded:
            folder = self.folder / task
            about, now = json.loads((folder / ABOUT).read_text()), self.branch.base
            if about["base"] != now:
                raise BadInput(
                    f"{self.branch.card.name}: fitted on other model folders ({about['base']}, now {now}); fit it again"
                )
            flow = load_flow(self.branch.transformer_folder, self.branch.config)
            state = load_file(folder / WEIGHTS)
            assert set(state) == set(trained_state(flow))
            flow.load_state_dict(state, strict=False)
            self.loaded[task] = flow.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return self.loaded[task]


def shrunk(frames: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(..., H, H, 3) frames as (..., side, side, 3): the mean over squares of pixels."""
    size = frames.shape[-2]
    assert size % side == 0
    squares = frames.reshape(*frames.shape[:-3], side, size // side, side, size // side, 3)
    return np.asarray(squares.mean(axis=(-4, -2)), np.float32)
