"""Options of the Qwen3-Omni branches, and their presets."""

from dataclasses import dataclass
from typing import Any

from harness.card import suggest
from harness.config import branch_options
from harness.errors import BadInput


@dataclass
class OmniOptions:
    """What every branch of the family can be told; the defaults are the preset `tiny`.

    Attributes:
        preset: `tiny` runs on two CPU cores; `real` has the shape of Qwen3-Omni-30B-A3B.
        model: Directory of a Qwen3-Omni as the Hub has it; null = the tiny one of this package, which only `tiny` may use.
        camera: Camera to look at, without `video/`; null = the main one.
        image_size: Height and width of a frame, pixels.
        frames: Evenly spaced frames of a window, the one at t0 among them.
        audio: True: listens where training windows have sound, and then a window without it is `unsupported`; False: never.
        constrained: True: only answers that consist of options can be written. Else decoding is free and parsed strictly.
        dtype: Numbers of weights and activations.
        rows_at_once: Windows that go through the model together when it answers. At 1 an answer depends on nothing but its own
            window; above, the last bit of a sum may depend on who goes along, and a close call between two tokens on that.
    """

    preset: str = "tiny"
    model: str | None = None
    camera: str | None = None
    image_size: int = 64
    frames: int = 2
    audio: bool = True
    constrained: bool = False
    dtype: str = "float32"
    rows_at_once: int = 1


@dataclass
class PromptOptions(OmniOptions):
    """Options of `qwen_omni:prompt`.

    Attributes:
        shots: So many training windows are shown with their answers before each question, evenly spaced over the training
            episodes.
    """

    shots: int = 1


@dataclass
class LoraOptions(OmniOptions):
    """Options of `qwen_omni:lora` and `qwen_omni:blind`.

    Attributes:
        rank: Of the added matrices.
        alpha: They are scaled by `alpha / rank`.
        dropout: Of their input.
        epochs: Passes over the training windows; the one with the best validation loss is kept.
        batch_size: Windows per step.
        micro_batch: So many of them go through the model together; null = all. Gradients add up.
        learning_rate: Highest, after `warmup`; it falls to zero along a cosine.
        warmup: Share of the steps.
        weight_decay: Of AdamW.
        gradient_norm: Gradients are cut to it.
        checkpointing: Recompute activations in the backward pass instead of keeping them.
        validation_windows: At most so many evenly spaced windows are looked at.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    epochs: int = 12
    batch_size: int = 8
    micro_batch: int | None = None
    learning_rate: float = 4e-3
    warmup: float = 0.05
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    checkpointing: bool = False
    validation_windows: int = 64


REAL: dict[str, Any] = {"image_size": 224, "frames": 8, "dtype": "bfloat16"}
"""For Qwen3-Omni-30B-A3B: 256 patches of 16 pixels, merged four by four, per pair of frames."""

PRESETS: dict[type[OmniOptions], dict[str, dict[str, Any]]] = {
    PromptOptions: {"tiny": {}, "real": {**REAL, "shots": 2}},
    LoraOptions: {
        "tiny": {},
        # The recipe that ms-swift publishes for it.
        "real": {
            **REAL,
            "rank": 8,
            "alpha": 32,
            "epochs": 1,
            "batch_size": 4,
            "micro_batch": 1,
            "learning_rate": 1e-4,
            "checkpointing": True,
        },
    },
}


def parse_options[T: OmniOptions](cls: type[T], options: dict[str, Any], branch: str) -> T:
    """The options of a branch: defaults, then its preset, then what was passed.

    Raises:
        BadInput: An unknown key or preset, or a value out of range.
    """
    presets = PRESETS[cls]
    preset = str(options.get("preset", "tiny"))
    if preset not in presets:
        raise BadInput(f"branch.{branch}.preset={preset!r} is not known{suggest(preset, sorted(presets))}")
    parsed = branch_options(cls, options, f"branch.{branch}", presets[preset])
    least = {"image_size": 1, "frames": 1, "rows_at_once": 1, "rank": 1, "epochs": 1, "batch_size": 1, "shots": 0}
    for name, smallest in least.items():
        if getattr(parsed, name, smallest) < smallest:
            raise BadInput(f"branch.{branch}.{name}={getattr(parsed, name)}: give at least {smallest}")
    if parsed.dtype not in (known := ["float32", "bfloat16", "float64"]):
        raise BadInput(f"branch.{branch}.dtype={parsed.dtype!r} is not known{suggest(parsed.dtype, known)}")
    return parsed
