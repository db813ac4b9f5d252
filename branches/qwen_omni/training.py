"""LoRA on the attention of the text path: loss on answer tokens alone, the best validation epoch kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch.nn.functional import cross_entropy

from branches.qwen_omni.config import LoraOptions
from branches.qwen_omni.gather import Taught
from branches.qwen_omni.omni import IGNORED, Omni
from branches.qwen_omni.prompt import Field
from branches.torch_training import deterministic, rate_at, within_memory

# On the thinker the text path is `model.layers`. PEFT takes a pattern for the end of a name and would adapt the audio tower too.
TARGETS = r".*model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj"
NOT_TARGETS = r".*(audio_tower|visual).*"


@dataclass(frozen=True)
class Trained:
    """How training went.

    Attributes:
        steps: Optimiser steps taken.
        best_epoch: Whose weights were kept; the last one without validation windows.
        train_loss: Mean over the last epoch, per answer token.
        validation_loss: Of the weights that were kept, which ranks trials; None without validation windows.
        validation_losses: After each epoch.
    """

    steps: int
    best_epoch: int
    train_loss: float
    validation_loss: float | None
    validation_losses: tuple[float, ...]


def lora_config(options: LoraOptions) -> LoraConfig:
    """What is added to the thinker."""
    return LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=TARGETS,
        exclude_modules=NOT_TARGETS,
        task_type="CAUSAL_LM",
    )


def add_lora(model: Any, options: LoraOptions, seed: int) -> PeftModel:
    """The model with new matrices, everything else frozen."""
    with deterministic(torch.get_num_threads(), seed):
        return get_peft_model(model, lora_config(options))


def save_lora(model: PeftModel, folder: Path) -> None:
    """`adapter_model.safetensors` and `adapter_config.json`, without the path of this machine's model directory."""
    model.peft_config["default"].base_model_name_or_path = None
    model.get_base_model().name_or_path = None  # PEFT would ask it
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)


def load_lora(omni: Omni, folder: Path) -> Omni:
    """The model with the fitted matrices of a folder merged into its weights."""
    model = PeftModel.from_pretrained(omni.model, str(folder), is_trainable=False)
    return Omni(model.merge_and_unload().eval(), omni.processor)


def trainable_names(model: torch.nn.Module) -> list[str]:
    """Names of all parameters that a fit changes."""
    return sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def train(
    omni: Omni, fields: Sequence[Field], windows: Taught, validation: Taught | None, options: LoraOptions, seed: int, threads: int
) -> Trained:
    """Train the LoRA of a model in place; the same seed and number of threads give the same weights.

    Args:
        omni: Its model has LoRA.
        fields: What is asked.
        windows: To train on.
        validation: To choose the epoch on; None keeps the last.
        options: Schedule.
        seed: Of order and dropout.
        threads: Of torch.
    """
    model, order = omni.model, np.random.default_rng(seed)
    per_epoch = -(-len(windows) // options.batch_size)
    steps, done = per_epoch * options.epochs, 0
    kept, losses, last = None, [], 0.0
    with deterministic(threads, seed):
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
        if options.checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        for _ in range(options.epochs):
            model.train()
            found = []
            for index in np.array_split(order.permutation(len(windows)), per_epoch):
                for group in optimiser.param_groups:
                    group["lr"] = options.learning_rate * rate_at(done, round(steps * options.warmup), steps)
                found.append(_step(omni, fields, windows, index, options))
                torch.nn.utils.clip_grad_norm_(parameters, options.gradient_norm)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                done += 1
            last = float(np.mean(found))
            if validation is not None:
                losses.append(validate(omni, fields, validation, options))
                if losses[-1] == min(losses):
                    kept = {name: tensor.detach().clone() for name, tensor in get_peft_model_state_dict(model).items()}
        if kept is not None:
            set_peft_model_state_dict(model, kept)
    best = int(np.argmin(losses)) + 1 if losses else options.epochs
    return Trained(done, best, round(last, 4), min(losses, default=None), tuple(round(loss, 4) for loss in losses))


def _step(omni: Omni, fields: Sequence[Field], windows: Taught, index: NDArray, options: LoraOptions) -> float:
    """Gradients of the mean loss per answer token of a batch; returns the loss."""
    size = options.micro_batch or len(index)
    parts = [np.sort(index[start : start + size]) for start in range(0, len(index), size)]
    total, tokens = 0.0, 0
    with within_memory(f"micro_batch={size}"):
        for part in parts:
            loss, count = answer_loss(omni, fields, windows, part)
            loss.backward()
            total, tokens = total + float(loss.detach()), tokens + count
    for parameter in omni.model.parameters():
        if parameter.grad is not None:
            parameter.grad /= max(tokens, 1)
    return total / max(tokens, 1)


def answer_loss(omni: Omni, fields: Sequence[Field], windows: Taught, index: NDArray) -> tuple[torch.Tensor, int]:
    """Sum of the next-token loss over the answer tokens of some windows, and their number."""
    answers, unknown = ([column[i] for i in index] for column in (windows.answers, windows.unknown))
    inputs, labels = omni.lessons(fields, windows.clips(index), answers, unknown)
    logits = omni.model(**inputs, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:]
    said = targets != IGNORED
    return cross_entropy(logits[said].float(), targets[said], reduction="sum"), int(said.sum())


def validate(omni: Omni, fields: Sequence[Field], windows: Taught, options: LoraOptions) -> float:
    """Mean loss per answer token over evenly spaced windows."""
    omni.model.eval()
    n = len(windows)
    index = np.unique(np.linspace(0, n - 1, min(n, options.validation_windows)).round().astype(np.int64))
    size, total, tokens = options.micro_batch or options.batch_size, 0.0, 0
    for start in range(0, len(index), size):
        with torch.no_grad():
            loss, count = answer_loss(omni, fields, windows, index[start : start + size])
        total, tokens = total + float(loss), tokens + count
    return total / max(tokens, 1)
