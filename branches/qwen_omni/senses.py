"""First lesson of the tiny base: its eyes and ears learn to tell windows apart.

A text path that has just learnt to write gains nothing from towers that see nothing yet, and towers learn nothing from a text
path that does not look: from scratch both stay where they are for long. So the towers are trained first, as those of the
published model were, here with linear read-outs of what a window shows, which are thrown away.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, dropout
from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.classroom import Senses
from branches.qwen_omni.windows import Windows

BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 32, 2e-3, 0.05, 0.2
GAIN, SHIFT = 0.15, 0.1
"""Spread of the brightness and the tint that every window is given anew: sessions differ in light and colours."""


class ReadOuts(nn.Module):
    """One linear layer per field on all tokens of both towers, side by side.

    Args:
        width: Numbers of these tokens.
        windows: Says which fields there are.
    """

    def __init__(self, width: int, windows: Windows) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({name: nn.Linear(width, len(words)) for name, words in windows.words.items()})

    def loss(self, tokens: Tensor, truth: dict[str, Tensor]) -> Tensor:
        """Sum over the fields; rows without a truth do not count."""
        found = tokens.new_zeros(())
        for name, layer in self.layers.items():
            scores, target = layer(tokens), truth[name]
            if target.dtype == torch.bool:
                found = found + target.shape[1] / 2 * binary_cross_entropy_with_logits(scores, target.to(scores.dtype))
            else:
                found = found + cross_entropy(scores, target, ignore_index=-1)
        return found


def train_senses(
    model: Qwen3OmniMoeThinkerForConditionalGeneration, windows: Windows, senses: Senses, steps: int, seed: int
) -> list[float]:
    """Train the vision and the audio tower in place; returns the mean loss over each tenth of the steps.

    Args:
        model: The thinker.
        windows: The truth.
        senses: Of the same windows.
        steps: Optimiser steps.
        seed: Of the order and the light.
    """
    truth, pixels = {name: torch.from_numpy(values) for name, values in windows.truth.items()}, senses.pixels

    def tokens(index: Tensor, lit: Tensor) -> Tensor:
        seen, _, heard = senses.tokens(model, index, lit)
        return torch.cat([seen.flatten(1), heard.flatten(1)], dim=1)

    with torch.no_grad():
        width = tokens(torch.tensor([0]), pixels[:1]).shape[1]
    outs = ReadOuts(width, windows)
    parameters = [*model.visual.parameters(), *model.audio_tower.parameters(), *outs.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=0.1)
    rng, losses = np.random.default_rng(seed), []
    for step in range(1, steps + 1):
        index = torch.from_numpy(rng.choice(len(pixels), min(BATCH, len(pixels)), replace=False))
        colours = (len(index), 1, 3, 1)
        light, tint = (torch.from_numpy(rng.normal(size=colours).astype(np.float32)) for _ in range(2))
        patches = pixels[index].reshape(len(index), pixels.shape[1], 3, -1)
        lit = (patches * (1 + GAIN * light) + SHIFT * tint).flatten(2)
        loss = outs.loss(dropout(tokens(index, lit), DROPOUT), {name: values[index] for name, values in truth.items()})
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % max(1, steps // 20) == 0:
            print(f"senses: step {step} of {steps}: loss {np.mean(losses[-max(1, steps // 20) :]):.3f}", flush=True)
    return [round(float(part.mean()), 4) for part in np.array_split(np.array(losses), 10)]
