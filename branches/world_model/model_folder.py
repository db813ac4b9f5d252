"""A model folder in the Hub's layout: what must lie in it is checked by name before anything is loaded."""

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.card import first_line
from harness.errors import BadInput
from harness.model_directory import CONFIG, read_object
from harness.model_directory import weight_files as files_of

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load_diffusers(cls: Any, folder: Path) -> "nn.Module":
    """A diffusers model from its folder, in evaluation mode, in the precision it was saved in (of several, in float32).

    Args:
        cls: Class of the model.
        folder: Holds `config.json` and safetensors; nothing is downloaded and nothing is unpickled.

    Raises:
        BadInput: The folder lacks a file, is of another class, or its weights have other names or shapes than the class.
    """
    check_diffusers(cls, folder)
    model: nn.Module = cls.from_pretrained(
        str(folder), use_safetensors=True, local_files_only=True, torch_dtype=_saved_in(folder)
    )
    return model.eval()


def empty_diffusers(cls: Any, folder: Path) -> "nn.Module":
    """What `load_diffusers` loads, on torch's meta device: without weights.

    Raises:
        BadInput: See `load_diffusers`.
    """
    import torch  # noqa: PLC0415

    check_diffusers(cls, folder)
    with torch.device("meta"):
        model: nn.Module = cls.from_config(read_config(folder)).to(_saved_in(folder))
    return model.eval()


def _saved_in(folder: Path) -> Any:
    """The one precision of the weights; float32 where there are several."""
    import torch  # noqa: PLC0415

    known = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    kinds = {kind for kind, _ in _tensors(weight_files(folder)).values()}
    return known.get(next(iter(kinds)), torch.float32) if len(kinds) == 1 else torch.float32


def check_diffusers(cls: Any, folder: Path) -> None:
    """See `load_diffusers`: reads the configuration and the names in the weights, not the weights."""
    import torch  # noqa: PLC0415

    files = weight_files(folder)
    body = read_config(folder)
    if body.get("_class_name") != cls.__name__:
        raise BadInput(f"{folder / CONFIG}: a {body.get('_class_name')}, not a {cls.__name__}; give its own model folder")
    found = {name: shape for name, (_, shape) in _tensors(files).items()}
    try:
        with torch.device("meta"):
            expected = {name: tuple(tensor.shape) for name, tensor in cls.from_config(body).state_dict().items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{folder / CONFIG}: no {cls.__name__} can be made of it ({first_line(error)})") from error
    for name in sorted(expected):
        if name not in found:
            raise BadInput(f"{files[0]}: no weights for {name}: they are those of another model; give the right folder")
        if found[name] != expected[name]:
            raise BadInput(f"{files[0]}: {name} is {found[name]}, {CONFIG} asks for {expected[name]}; give the right folder")
    if extra := sorted(set(found) - set(expected)):
        raise BadInput(f"{files[0]}: {extra[0]} is no part of a {cls.__name__}; give the right folder")


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`.

    Raises:
        BadInput: It is not there or is no JSON object.
    """
    if not (folder / CONFIG).is_file():
        raise BadInput(f"{folder}: no {CONFIG}; give a model folder as diffusers saves it")
    return read_object(folder / CONFIG)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a folder: one file, or those that an index names.

    Raises:
        BadInput: There are none, or one is missing.
    """
    return files_of(folder, WEIGHTS)


def content_hash(folder: Path) -> str:
    """Of the configuration and the weights."""
    digest = blake2b(digest_size=8)
    for file in (folder / CONFIG, *weight_files(folder)):
        with file.open("rb") as stream:
            while block := stream.read(2**24):
                digest.update(block)
    return digest.hexdigest()


def _tensors(files: list[Path]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> precision and shape of every tensor."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        try:
            with safe_open(file, framework="numpy") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                found |= {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
        except SafetensorError as error:
            raise BadInput(f"{file}: not safetensors ({first_line(error)}); copy it again") from error
    return found
