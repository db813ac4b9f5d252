"""What a Qwen3-Omni branch is made of: its thinker on torch's meta device, where it takes no memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.config import LoraOptions
from branches.qwen_omni.shape import published_config
from harness.card import first_line
from harness.errors import BadInput
from harness.model_plan import ModelPlan, measure

if TYPE_CHECKING:
    from branches.qwen_omni.adapter import OmniBranch


def omni_plan(branch: "OmniBranch") -> ModelPlan:
    """The thinker, with LoRA where the branch trains one. The fit of a prompt loads no model.

    Raises:
        BadInput: The config of the model directory cannot be read.
    """
    options, published = branch.config, branch.config.preset != "tiny" and not branch.config.model
    config = published_config() if published else _config_of(branch.folder, branch.card.name)
    with torch.device("meta"):
        # As `from_pretrained` does it: buffers keep float32.
        model: Any = Qwen3OmniMoeThinkerForConditionalGeneration._from_config(config, dtype=getattr(torch, options.dtype))
        model.requires_grad_(False)
        if isinstance(options, LoraOptions):
            from branches.qwen_omni.training import add_lora  # noqa: PLC0415  peft takes seconds to import

            model = add_lora(model, options, 0)
    thinker = measure("thinker", model)
    names = ((thinker.name,),)
    said = "the shape of Qwen3-Omni-30B-A3B" if published else f"the shape of {branch.folder.name}"
    assumed = (f"{said}, without its talker; numbers as `dtype` says",)
    return ModelPlan((thinker,), {"fit": names if thinker.trained else (), "predict": names}, assumed)


def _config_of(folder: Path, branch: str) -> Qwen3OmniMoeThinkerConfig:
    try:
        return Qwen3OmniMoeThinkerConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"branch.{branch}.model={folder}: config.json cannot be read ({first_line(error)}); copy it again"
        ) from error
