"""Options of the policies, and their presets."""

from dataclasses import dataclass
from typing import Any

from harness.branch import MAIN
from harness.card import suggest
from harness.config import branch_options
from harness.errors import BadInput


@dataclass
class PolicyOptions:
    """What every policy can be told.

    Attributes:
        preset: `tiny` trains on two CPU cores in minutes; `real` has the published shape.
        cameras: Shell pattern of the cameras that are decoded for it; `main_camera` is the one that windows are cut on.
        max_cameras: So many of the cameras that every training episode has are looked at, in the order of their names.
        relative: True: the network is asked for the difference to the action observed last, number by number, and the answer is
            their sum (so an answer of zeros is persistence); False: for the action itself.
        state_steps: Observed states that are shown: the one at t0, and the differences to it of those before, so that motion can
            be seen. The published policies look at one.
        state_stride: Reference samples between two of them.
        image_size: Height and width of a frame, pixels.
        steps: Optimiser steps.
        batch_size: Windows per step.
        learning_rate: Highest, after `warmup` steps; it falls to zero along a cosine.
        warmup: Steps.
        weight_decay: Of AdamW.
        gradient_norm: Gradients are cut to it.
        evaluate_every: Steps between two looks at the validation loss; the weights of the best one are kept.
        validation_windows: At most so many evenly spaced windows are looked at.
        rows_at_once: Windows that go through the network together when it answers. At 1 an answer depends on nothing but its own
            row; above, it is faster and its last bits may depend on its neighbours.
    """

    preset: str = "tiny"
    cameras: str = MAIN
    max_cameras: int = 1
    relative: bool = True
    state_steps: int = 4
    state_stride: int = 1
    image_size: int = 64
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 5e-4
    warmup: int = 30
    weight_decay: float = 1e-4
    gradient_norm: float = 10.0
    evaluate_every: int = 100
    validation_windows: int = 256
    rows_at_once: int = 1


@dataclass
class ACTOptions(PolicyOptions):
    """Options of `policy:act` (Zhao et al. 2023); the defaults are the preset `tiny`.

    Attributes:
        backbone: Image network: a ResNet of torchvision by name, or `small`, five convolutions for small frames. A ResNet-18 of
            11 million numbers has nothing to learn from some hundred frames of 64 pixels, and takes most of the time to do so.
        width: Of the transformer.
        heads: Of its attention.
        feedforward: Width of its feed-forward layers.
        encoder_layers: Of the transformer and of the variational encoder.
        decoder_layers: Of the transformer.
        dropout: Of the transformer.
        latent: Numbers of the variational latent.
        kl_weight: Of its divergence from a standard normal.
    """

    steps: int = 700
    learning_rate: float = 2e-3
    backbone: str = "small"
    width: int = 64
    heads: int = 4
    feedforward: int = 256
    encoder_layers: int = 1
    decoder_layers: int = 1
    dropout: float = 0.0
    latent: int = 16
    kl_weight: float = 1.0


@dataclass
class SmolVLAOptions(PolicyOptions):
    """Options of `policy:smolvla` (Shukor et al. 2025); the defaults are the preset `tiny`.

    Attributes:
        model: Directory of a SmolVLM as the Hub has it; null = the tiny one of this package, which only `tiny` may use.
        max_state_dim: Numbers of a state that its projection takes.
        max_action_dim: Numbers of an action that its projections take. At 32, as published, the hand-pose action goes in as the
            29 numbers of its projection.
        text_tokens: Tokens of the text; longer ones are cut.
        vlm_layers: So many first layers of the language model are used.
        expert_width: Width of the action expert, as a share of the language model's.
        flow_steps: Euler steps from noise to actions. As published: 10.
        draws: Chunks drawn per window; the answer is their mean. As published: 1.
    """

    steps: int = 800
    learning_rate: float = 2e-3
    model: str | None = None
    max_state_dim: int = 32
    max_action_dim: int = 32
    text_tokens: int = 16
    vlm_layers: int = 4
    expert_width: float = 0.75
    flow_steps: int = 5
    draws: int = 4


PRESETS: dict[type[PolicyOptions], dict[str, dict[str, Any]]] = {
    ACTOptions: {
        "tiny": {},
        # The defaults of lerobot's ACTConfig, at the camera resolution of its data sets.
        "real": {
            "cameras": "*",
            "max_cameras": 4,
            "image_size": 224,
            "steps": 100_000,
            "batch_size": 8,
            "learning_rate": 1e-5,
            "warmup": 500,
            "evaluate_every": 5_000,
            "state_steps": 1,
            "backbone": "resnet18",
            "width": 512,
            "heads": 8,
            "feedforward": 3200,
            "encoder_layers": 4,
            "dropout": 0.1,
            "latent": 32,
            "kl_weight": 10.0,
        },
    },
    SmolVLAOptions: {
        "tiny": {},
        # The defaults of lerobot's SmolVLAConfig.
        "real": {
            "cameras": "*",
            "max_cameras": 3,
            "image_size": 512,
            "steps": 20_000,
            "batch_size": 64,
            "learning_rate": 1e-4,
            "warmup": 1_000,
            "weight_decay": 1e-10,
            "evaluate_every": 1_000,
            "state_steps": 1,
            "text_tokens": 48,
            "vlm_layers": 16,
            "flow_steps": 10,
            "draws": 1,
        },
    },
}


def parse_options[T: PolicyOptions](cls: type[T], options: dict[str, Any], branch: str) -> T:
    """The preset with the options on top.

    Raises:
        BadInput: An unknown preset or key, or a wrong type.
    """
    preset = str(options.get("preset", cls.preset))
    if preset not in PRESETS[cls]:
        raise BadInput(f"branch.{branch}.preset={preset!r} is not known{suggest(preset, list(PRESETS[cls]))}")
    return branch_options(cls, options, branch, PRESETS[cls][preset])
