"""Options of the policies, and their presets."""

from dataclasses import dataclass
from typing import Any

from harness.card import suggest
from harness.config import branch_options
from harness.errors import BadInput


@dataclass
class PolicyOptions:
    """What every policy can be told.

    Attributes:
        preset: `tiny` trains on two CPU cores in minutes; `real` has the published shape.
        cameras: Shell pattern of the cameras that are decoded for it.
        max_cameras: So many of the cameras that every training episode has are looked at, in the order of their names.
        relative: True: the network is asked for the difference to the action observed last, number by number, and the answer is
            their sum (so an answer of zeros is persistence); False: for the action itself.
        image_size: Height and width of a frame, pixels.
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
    cameras: str = "*"
    max_cameras: int = 1
    relative: bool = True
    image_size: int = 64
    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 5e-4
    warmup: int = 30
    weight_decay: float = 1e-4
    gradient_norm: float = 10.0
    evaluate_every: int = 50
    validation_windows: int = 256


@dataclass
class ACTOptions(PolicyOptions):
    """Options of `policy:act` (Zhao et al. 2023); the defaults are the preset `tiny`.

    Attributes:
        width: Of the transformer.
        heads: Of its attention.
        feedforward: Width of its feed-forward layers.
        encoder_layers: Of the transformer and of the variational encoder.
        decoder_layers: Of the transformer.
        latent: Numbers of the variational latent.
        kl_weight: Of its divergence from a standard normal.
    """

    width: int = 64
    heads: int = 4
    feedforward: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 1
    latent: int = 16
    kl_weight: float = 1.0


PRESETS: dict[type[PolicyOptions], dict[str, dict[str, Any]]] = {
    ACTOptions: {
        "tiny": {},
        # The defaults of lerobot's ACTConfig, at the camera resolution of its data sets.
        "real": {
            "max_cameras": 4,
            "image_size": 224,
            "steps": 100_000,
            "batch_size": 8,
            "learning_rate": 1e-5,
            "warmup": 500,
            "evaluate_every": 5_000,
            "width": 512,
            "heads": 8,
            "feedforward": 3200,
            "encoder_layers": 4,
            "latent": 32,
            "kl_weight": 10.0,
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
