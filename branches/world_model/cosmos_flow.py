"""The Cosmos transformer as a rectified flow from noise to the latents of the future, with those of the past as clean frames.

sigma = 1 is noise and sigma = 0 data: x_sigma = (1 - sigma) x + sigma noise, and the network answers with the velocity noise - x
(Liu et al. 2022; as in Cosmos-Predict2.5). Frames that are observed stand before those that are drawn, clean, with a 1 in the
mask channel and a noise level of nearly 0; they carry no loss.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from branches.world_model.cosmos_config import LORA_TARGETS, CosmosOptions
from branches.world_model.model_folder import load_diffusers

CLEAN = 1e-4  # noise level of an observed frame, as diffusers' pipeline has it


@dataclass(frozen=True, eq=False)
class FlowBatch:
    """Tensors of B windows.

    Attributes:
        past: (B, C, P, h, w) latents of the observed clip.
        future: (B, C, F, h, w) what is drawn: latents, or their differences to those of the last frame held still.
    """

    past: Tensor
    future: Tensor


class CosmosFlow(nn.Module):
    """A transformer, and the flow it drives.

    Args:
        transformer: diffusers' `CosmosTransformer3DModel`.
        options: Steps, draws, shift.
    """

    def __init__(self, transformer: nn.Module, options: CosmosOptions) -> None:
        super().__init__()
        self.transformer = transformer
        self.options = options
        config: Any = transformer.config
        self.text_width = config.crossattn_proj_in_channels if config.use_crossattn_projection else config.text_embed_dim

    def velocity(self, noisy: Tensor, past: Tensor, sigma: Tensor) -> Tensor:
        """(B, C, F, h, w) velocity of noisy frames (B, C, F, h, w) at noise levels (B,), given the past (B, C, P, h, w)."""
        n, _, observed, height, width = past.shape
        frames = torch.cat([past, noisy], dim=2)
        seen = torch.zeros((n, 1, frames.shape[2], 1, 1), device=frames.device, dtype=frames.dtype)
        seen[:, :, :observed] = 1
        # No text is shown: a context of zeros, as where the text is dropped for classifier-free guidance.
        text = frames.new_zeros((n, 1, self.text_width))
        found = self.transformer(
            hidden_states=frames,
            timestep=seen * CLEAN + (1 - seen) * sigma.view(-1, 1, 1, 1, 1),
            encoder_hidden_states=text,
            condition_mask=seen.expand(-1, -1, -1, height, width),
            padding_mask=frames.new_zeros((1, 1, height, width)),
            return_dict=False,
        )[0]
        return torch.as_tensor(found[:, :, observed:])

    def loss(self, batch: FlowBatch, draw: torch.Generator) -> Tensor:
        """Mean squared error of the velocity of the future's frames; `draw` is all its randomness."""
        x = batch.future
        normal = torch.randn(len(x), generator=draw, device=x.device, dtype=x.dtype)
        sigma = shifted(torch.sigmoid(normal), self.options.shift)
        noise = torch.randn(x.shape, generator=draw, device=x.device, dtype=x.dtype)
        level = sigma.view(-1, 1, 1, 1, 1)
        found = self.velocity((1 - level) * x + level * noise, batch.past, sigma)
        return (found - (noise - x)).float().square().mean()

    def sample(self, past: Tensor, shape: tuple[int, ...], seed: int) -> Tensor:
        """(C, F, h, w) the mean of `draws` futures of one window; no gradients.

        Args:
            past: (C, P, h, w).
            shape: Of the future, (C, F, h, w).
            seed: Of the row: the noise comes from it alone.
        """
        draws = self.options.draws
        noise = np.random.default_rng(seed).standard_normal((draws, *shape), np.float32)
        x = torch.from_numpy(noise).to(past.device, past.dtype)
        seen = past.expand(draws, -1, -1, -1, -1)
        levels = shifted(torch.linspace(1, 0, self.options.sampling_steps + 1), self.options.shift).tolist()
        with torch.inference_mode():
            for now, then in pairwise(levels):
                x = x + (then - now) * self.velocity(x, seen, x.new_full((draws,), now))
            return x.mean(dim=0)


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Noise levels moved towards 1: shift sigma / (1 + (shift - 1) sigma)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def load_flow(folder: Path, options: CosmosOptions) -> CosmosFlow:
    """The flow of a model folder, ready to be trained: all its weights, or LoRA on the attention.

    Raises:
        BadInput: See `load_diffusers`.
    """
    from diffusers import CosmosTransformer3DModel  # noqa: PLC0415

    return trainable(load_diffusers(CosmosTransformer3DModel, folder), options)


def trainable(transformer: nn.Module, options: CosmosOptions) -> CosmosFlow:
    """Mark what is trained; LoRA weights are drawn from torch's generator."""
    if options.lora_rank:
        from peft import LoraConfig  # noqa: PLC0415  seconds

        transformer.requires_grad_(False)
        rank = options.lora_rank
        adapter: Any = transformer
        adapter.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS)))
    return CosmosFlow(transformer, options)


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, by name."""
    return {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.requires_grad}


def to_tensor(latents: NDArray[np.float32], like: Tensor) -> Tensor:
    """(B, T, h, w, C) -> (B, C, T, h, w) where `like` is, in its precision."""
    return torch.from_numpy(latents).to(like.device).permute(0, 4, 1, 2, 3).to(like.dtype).contiguous()
