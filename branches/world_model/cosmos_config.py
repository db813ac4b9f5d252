"""Options of `world_model:cosmos`, its presets, and the shapes of the networks that stand behind them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.card import suggest
from harness.config import branch_options
from harness.errors import BadInput

TINY = Path(__file__).parent / "tiny"
TINY_VAE, TINY_TRANSFORMER = TINY / "cosmos-vae", TINY / "cosmos-transformer"
TINY_ENCODER, REAL_ENCODER = "cosmos-vae-tiny", "wan-vae"

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Attention projections of every block, of self-attention (`attn1`) and of cross-attention (`attn2`)."""

# diffusers' AutoencoderKLWan: two latent frames of 8 x 8 x 8 for a clip of five of 32 x 32 (15 numbers become one), with the
# shortcuts over a block of the Wan 2.2 VAE: without them so small a network learns for hours.
VAE_TINY: dict[str, Any] = {
    "base_dim": 8,
    "z_dim": 8,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "is_residual": True,
    "scale_factor_spatial": 4,
    "latents_mean": [0.0] * 8,
    "latents_std": [1.0] * 8,
}
VAE_REAL: dict[str, Any] = {}  # the class's defaults are the Wan 2.1 VAE, which Cosmos-Predict2.5 uses

# diffusers' CosmosTransformer3DModel. Channels in: those of a latent, and the condition mask.
TRANSFORMER_TINY: dict[str, Any] = {
    "in_channels": 8 + 1,
    "out_channels": 8,
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "num_layers": 3,
    "mlp_ratio": 2.0,
    "text_embed_dim": 8,
    "adaln_lora_dim": 16,
    "max_size": (8, 16, 16),
    "patch_size": (1, 2, 2),
    "rope_scale": (1.0, 1.0, 1.0),
    "concat_padding_mask": True,
    "extra_pos_embed_type": None,
}
# nvidia/Cosmos-Predict2.5-2B, as diffusers' conversion script has it.
TRANSFORMER_REAL: dict[str, Any] = {
    "in_channels": 16 + 1,
    "out_channels": 16,
    "num_attention_heads": 16,
    "attention_head_dim": 128,
    "num_layers": 28,
    "mlp_ratio": 4.0,
    "text_embed_dim": 1024,
    "adaln_lora_dim": 256,
    "max_size": (128, 240, 240),
    "patch_size": (1, 2, 2),
    "rope_scale": (1.0, 3.0, 3.0),
    "concat_padding_mask": True,
    "extra_pos_embed_type": None,
    "use_crossattn_projection": True,
    "crossattn_proj_in_channels": 100352,
    "encoder_hidden_states_channels": 1024,
}


@dataclass
class CosmosOptions:
    """Options of `world_model:cosmos`; the defaults are the preset `tiny`.

    Attributes:
        preset: `tiny` trains on two CPU cores in a minute or two; `real` is Cosmos-Predict2.5-2B.
        encoder: Its VAE by the name under which it is registered as an encoder.
        vae: Model folder of the VAE; empty = that of the package, which only `cosmos-vae-tiny` has.
        transformer: Model folder of the transformer; empty = that of the package (`tiny` only).
        difference: True: the flow is over the difference of the future's latents to those of the last frame held still, and the
            answer to `future_video` is the last observed frame plus the change that the decoder draws, so that an answer of zeros
            is copy-last; False: over the latents themselves, as published.
        spread: What is drawn is divided by it, so that it has about unit variance, as the noise has.
        sampling_steps: Euler steps from noise to latents.
        draws: Futures that are drawn per row; the answer is their mean, which is what PSNR and absolute errors ask for. At 1 it
            is a sample.
        shift: Of the noise levels, in training and in sampling: sigma -> shift sigma / (1 + (shift - 1) sigma).
        lora_rank: 0 = all weights of the transformer are trained.
        steps: Optimiser steps.
        batch_size: Windows per step.
        learning_rate: Highest, after `warmup` steps; it falls to zero along a cosine.
        warmup: Steps.
        weight_decay: Of AdamW.
        gradient_norm: Gradients are cut to it.
        evaluate_every: Steps between two looks at the validation loss; the weights of the best one are kept.
        validation_windows: At most so many evenly spaced windows are looked at.
    """

    preset: str = "tiny"
    encoder: str = TINY_ENCODER
    vae: str = ""
    transformer: str = ""
    difference: bool = True
    spread: float = 0.37
    sampling_steps: int = 2
    draws: int = 8
    shift: float = 5.0
    lora_rank: int = 0
    steps: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 1e-3
    gradient_norm: float = 1.0
    evaluate_every: int = 50
    validation_windows: int = 128


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {},
    # LoRA on the attention; rank and rate of the published LoRA recipe, which also adapts the feed-forward layers.
    "real": {
        "encoder": REAL_ENCODER,
        "difference": False,
        "spread": 1.0,
        "sampling_steps": 12,
        "draws": 1,
        "lora_rank": 32,
        "steps": 2_000,
        "batch_size": 1,
        "learning_rate": 1e-4,
        "warmup": 100,
        "evaluate_every": 200,
    },
}


def parse_cosmos(options: dict[str, Any], branch: str) -> CosmosOptions:
    """The preset with the options on top.

    Raises:
        BadInput: An unknown preset or key, a wrong type, or a number that draws nothing.
    """
    preset = str(options.get("preset", CosmosOptions.preset))
    if preset not in PRESETS:
        raise BadInput(f"branch.{branch}.preset={preset!r} is not known{suggest(preset, list(PRESETS))}")
    found = branch_options(CosmosOptions, options, branch, PRESETS[preset])
    for name in ("sampling_steps", "draws", "steps", "batch_size", "evaluate_every", "validation_windows"):
        if getattr(found, name) < 1:
            raise BadInput(f"branch.{branch}.{name}={getattr(found, name)}: give at least 1")
    return found
