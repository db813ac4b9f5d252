"""Options of `world_model:jepa`, and its presets."""

from dataclasses import dataclass
from typing import Any

from harness.card import suggest
from harness.config import branch_options
from harness.errors import BadInput


@dataclass
class JEPAOptions:
    """Options of `world_model:jepa`; the defaults are the preset `tiny`.

    Attributes:
        preset: `tiny` trains on two CPU cores in seconds; `real` stands on V-JEPA 2 L.
        encoder: Frozen encoder whose latents it reads and forecasts.
        motion_steps: So many moments of the past motion are read, evenly spaced over the view, the last one at t0.
        width: Of the predictor.
        layers: Of the predictor.
        heads: Of its attention.
        dropout: In the predictor.
        steps: Optimiser steps.
        batch_size: Windows per step.
        learning_rate: Highest; it falls to zero along a cosine.
        weight_decay: Of AdamW.
        evaluate_every: Steps between two looks at the validation loss; the weights of the best look are kept.
        validation_windows: At most so many evenly spaced windows are looked at.
    """

    preset: str = "tiny"
    encoder: str = "vjepa2-tiny"
    motion_steps: int = 5
    width: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1
    steps: int = 150
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    evaluate_every: int = 25
    validation_windows: int = 128


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {},
    # The predictor of V-JEPA 2: 12 layers, 384 wide.
    "real": {
        "encoder": "vjepa2-large",
        "width": 384,
        "layers": 12,
        "heads": 12,
        "steps": 20_000,
        "batch_size": 64,
        "learning_rate": 4.25e-4,
        "evaluate_every": 1_000,
        "validation_windows": 1024,
    },
}


def parse_options(options: dict[str, Any]) -> JEPAOptions:
    """The preset with the options on top.

    Raises:
        BadInput: An unknown preset or key, a wrong type, or a width that the heads do not divide.
    """
    branch = "world_model:jepa"
    preset = str(options.get("preset", JEPAOptions.preset))
    if preset not in PRESETS:
        raise BadInput(f"branch.{branch}.preset={preset!r} is not known{suggest(preset, list(PRESETS))}")
    parsed = branch_options(JEPAOptions, options, branch, PRESETS[preset])
    for name in ("motion_steps", "heads", "steps", "batch_size", "evaluate_every", "validation_windows"):
        if getattr(parsed, name) < 1:
            raise BadInput(f"branch.{branch}.{name}={getattr(parsed, name)}: give at least 1")
    if parsed.width < parsed.heads or parsed.width % parsed.heads:
        raise BadInput(f"branch.{branch}.width={parsed.width}: give a multiple of heads={parsed.heads}")
    return parsed
