"""What the policies are made of: the networks of the presets on torch's meta device, where they take no memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from branches.policy.smolvla import SmolVLANetwork
from branches.policy.vlm import write_shape
from harness.model_plan import ModelPlan, Part, measure

if TYPE_CHECKING:
    from branches.policy.adapter import ACT, SmolVLA

# What decides sizes in the data, as the policies were published.
ACT_NUMBERS, ACT_HORIZON = 14, 100  # two arms of ALOHA (Zhao et al. 2023)
SMOLVLA_HORIZON = 50
PER_TASK = "one task: each has a network of its own, trained one after the other; a prediction actor holds those it is asked for"


def act_plan(branch: "ACT") -> ModelPlan:
    """The whole network is trained."""
    cameras = branch.config.max_cameras
    with torch.device("meta"):
        network = branch.build(cameras, ACT_NUMBERS, ACT_NUMBERS, ACT_HORIZON)
    said = f"states and actions of {ACT_NUMBERS} numbers and chunks of {ACT_HORIZON}, as published; {cameras} camera(s)"
    return _plan((measure("policy", network.module),), said)


def smolvla_plan(branch: "SmolVLA") -> ModelPlan:
    """A frozen SmolVLM, and the expert with the projections of states and actions."""
    options = branch.config
    with _shape_folder(branch) as folder, torch.device("meta"):
        network = SmolVLANetwork(
            options, folder, options.max_cameras, options.max_state_dim, options.max_action_dim, SMOLVLA_HORIZON, weights=False
        )
    inside = "model.vlm_with_expert.vlm."
    vlm = measure("vlm", network.model.vlm_with_expert.vlm)
    expert = measure("expert", network.module, without=inside)
    said = f"chunks of {SMOLVLA_HORIZON}, as published; {options.max_cameras} camera(s)"
    return _plan((vlm, expert), said)


def _plan(parts: tuple[Part, ...], said: str) -> ModelPlan:
    names = (tuple(part.name for part in parts),)
    return ModelPlan(parts, {"fit": names, "predict": names}, (said, PER_TASK))


@contextmanager
def _shape_folder(branch: "SmolVLA") -> Iterator[Path]:
    """The branch's own directory, or the published config where the preset has no weights of its own."""
    if branch.config.preset == "tiny" or branch.config.model:
        yield branch.folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        write_shape(Path(scratch) / "shape")
        yield Path(scratch) / "shape"
