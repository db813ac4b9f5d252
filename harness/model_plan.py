"""What a branch's model is made of, and the memory that it takes before anything is computed.

The harness imports no torch: whatever has `named_parameters` and `named_buffers` is a module, on the meta device or not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

GIB = 2**30
STATES = 2  # AdamW keeps a mean and a mean square per trained number, in the number's own format

Stage = Literal["ingest", "fit", "predict"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Module(Protocol):
    """A `torch.nn.Module`."""

    def named_parameters(self) -> Iterable[tuple[str, Any]]:
        """Each parameter once."""

    def named_buffers(self) -> Iterable[tuple[str, Any]]:
        """Tensors that are no parameters."""


@dataclass(frozen=True)
class Part:
    """One network of a model.

    Attributes:
        name: For tables.
        parameters: Numbers in its parameters.
        formats: Number format (`float32`, `bfloat16`) -> parameters in it.
        size: Bytes of its parameters and buffers.
        trained: Name -> numbers of each parameter that a fit changes, in the order of the network.
        trained_size: Bytes of those.
    """

    name: str
    parameters: int
    formats: dict[str, int]
    size: int
    trained: dict[str, int]
    trained_size: int

    @property
    def trained_parameters(self) -> int:
        """Numbers that a fit changes."""
        return sum(self.trained.values())


@dataclass(frozen=True)
class Memory:
    """Bytes that one process holds in one stage, on its GPU where it has one; without activations.

    Attributes:
        weights: Parameters and buffers.
        gradients: Of trained parameters.
        optimiser: State of AdamW.
        best: Copy of the best trained weights so far.
    """

    weights: int = 0
    gradients: int = 0
    optimiser: int = 0
    best: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimiser + self.best


@dataclass(frozen=True)
class ModelPlan:
    """A branch's model in one preset.

    Attributes:
        parts: Its networks.
        held: Stage -> sets of parts, by name, that are in memory together; one set after the other. `ingest` is where a frozen
            encoder makes latents, `fit` where parts are trained.
        assumed: What the data or a model folder would have decided, one sentence each.
    """

    parts: tuple[Part, ...]
    held: dict[Stage, tuple[tuple[str, ...], ...]]
    assumed: tuple[str, ...] = ()

    def memory(self, stage: Stage) -> Memory:
        """The most that is held at once; nothing where the stage loads no model."""
        of = {part.name: part for part in self.parts}
        found = (_memory([of[name] for name in names], stage) for names in self.held.get(stage, ()))
        return max(found, key=lambda memory: memory.total, default=Memory())


def measure(name: str, module: Module, without: str | None = None) -> Part:
    """One part as a module has it.

    Args:
        name: Of the part.
        module: Counted.
        without: Parameters and buffers whose names begin so are another part's.
    """

    def own(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        return {key: tensor for key, tensor in named if without is None or not key.startswith(without)}

    parameters, formats = own(module.named_parameters()), dict[str, int]()
    for tensor in parameters.values():
        kind = str(tensor.dtype).removeprefix("torch.")
        formats[kind] = formats.get(kind, 0) + tensor.numel()
    trained = {key: tensor for key, tensor in parameters.items() if tensor.requires_grad}
    return Part(
        name,
        sum(formats.values()),
        formats,
        _size(parameters) + _size(own(module.named_buffers())),
        {key: tensor.numel() for key, tensor in trained.items()},
        _size(trained),
    )


def _size(tensors: dict[str, Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _memory(parts: list[Part], stage: Stage) -> Memory:
    weights = sum(part.size for part in parts)
    if stage != "fit":
        return Memory(weights)
    trained = sum(part.trained_size for part in parts)
    return Memory(weights, trained, STATES * trained, trained)
