"""The frozen V-JEPA 2 encoder (Assran et al. 2025), as transformers has it: the tiny one of this package, or a local directory.

Torch and transformers are imported by the first clip that is encoded: what it wants and gives is known without them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.encoder import Encoder
from harness.errors import BadInput
from harness.model_directory import CONFIG, WEIGHTS, episodes_of, read_object

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import VJEPA2Model

TINY = Path(__file__).parent / "tiny" / "vjepa2"
FILES = (CONFIG, WEIGHTS)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the published preprocessor


@dataclass(frozen=True)
class Shape:
    """What decides the frames and the latent of an encoder.

    Attributes:
        crop: Height and width of a frame, pixels.
        patch: Height and width of a token, pixels.
        tubelet: Frames of a token.
        hidden: Channels of a token.
        frames: Of a clip.
        stride: Reference samples between two frames.
        grid: Tokens are averaged over space until so many are left per side.
    """

    crop: int
    patch: int
    tubelet: int
    hidden: int
    frames: int
    stride: int
    grid: int

    @property
    def latent(self) -> tuple[int, int, int, int]:
        """(times, rows, columns, channels)."""
        return (self.frames // self.tubelet, self.grid, self.grid, self.hidden)


SHAPES = {
    "vjepa2-tiny": Shape(crop=64, patch=16, tubelet=2, hidden=64, frames=8, stride=2, grid=4),
    # `vjepa2-vitl-fpc64-256`: 256 tokens of 1,024 channels per time step would be 8 MB a latent; the 2 x 2 means are 131 kB.
    "vjepa2-large": Shape(crop=256, patch=16, tubelet=2, hidden=1024, frames=16, stride=1, grid=2),
}


class VJEPA2Encoder(Encoder):
    """Tokens of a clip, layer-normed without scale or shift (as the loss of V-JEPA 2-AC has them), averaged onto a grid.

    Args:
        name: A key of `SHAPES`.
        folder: Model directory; None = none was given.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name, self.folder, self.form = name, folder, SHAPES[name]
        self.height = self.width = self.form.crop
        self.frames, self.stride, self.shape = self.form.frames, self.form.stride, self.form.latent
        self.pretrained_on = episodes_of(folder) if folder else ()

    @cached_property
    def fingerprint(self) -> str:
        """Of config, weights and shape."""
        digest = sha256(repr(self.form).encode())
        for file in FILES:
            with (self._checked() / file).open("rb") as opened:
                digest.update(file_digest(opened, "sha256").digest())
        return digest.hexdigest()[:16]

    def without_weights(self) -> Any:
        """Of the model directory, or the published one where none was given; V-JEPA 2's own predictor is loaded with it."""
        import torch  # noqa: PLC0415
        from transformers import VJEPA2Config, VJEPA2Model  # noqa: PLC0415

        config = VJEPA2Config() if self.folder is None else VJEPA2Config.from_pretrained(self._checked(), local_files_only=True)
        with torch.device("meta"):
            return VJEPA2Model(config).to(getattr(config, "dtype", None) or torch.float32).requires_grad_(False)

    def encode(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, frames, crop, crop, 3) -> (n, times, rows, columns, channels)."""
        device = next(self._model.parameters()).device
        with single_threaded():
            found = [self.tokens(to_pixels(clip[None]).to(device)).cpu().numpy() for clip in clips]
        return np.concatenate(found) if found else np.zeros((0, *self.shape), np.float32)

    def tokens(self, pixels: "Tensor") -> "Tensor":
        """(n, frames, 3, crop, crop) normalised -> (n, *shape)."""
        from torch.nn.functional import adaptive_avg_pool2d, layer_norm  # noqa: PLC0415

        found = self._model(pixels, skip_predictor=True).last_hidden_state
        side, n = self.form.crop // self.form.patch, len(pixels)
        maps = layer_norm(found.float(), found.shape[-1:]).reshape(-1, side, side, self.form.hidden)
        if side != self.form.grid:
            maps = adaptive_avg_pool2d(maps.permute(0, 3, 1, 2), self.form.grid).permute(0, 2, 3, 1)
        return maps.reshape(n, *self.shape)

    @cached_property
    def _model(self) -> "VJEPA2Model":
        import torch  # noqa: PLC0415

        return load_model(self._checked(), self.name).to("cuda" if torch.cuda.is_available() else "cpu")

    def _checked(self) -> Path:
        if self.folder is None:
            raise BadInput(f"encoder {self.name} comes without weights; give a local directory with encoders.{self.name}=DIR")
        check_directory(self.folder, self.name)
        return self.folder


@contextmanager
def single_threaded() -> Iterator[None]:
    """Inference on one thread: the last bit of a sum may depend on their number, and single rows gain nothing by more."""
    import torch  # noqa: PLC0415

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def tiny(folder: str | None = None) -> Encoder:
    """`vjepa2-tiny`: the one of this package."""
    return VJEPA2Encoder("vjepa2-tiny", Path(folder) if folder else TINY)


def large(folder: str | None = None) -> Encoder:
    """`vjepa2-large`: a local copy of `vjepa2-vitl-fpc64-256`."""
    return VJEPA2Encoder("vjepa2-large", Path(folder) if folder else None)


def to_pixels(clips: NDArray[np.uint8]) -> "Tensor":
    """(n, T, H, W, 3) uint8 -> (n, T, 3, H, W) float32, normalised by ImageNet's mean and deviation."""
    import torch  # noqa: PLC0415

    pixels = torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 1, 4, 2, 3).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std


def check_directory(folder: Path, name: str) -> None:
    """Refuse a directory that is no V-JEPA 2 of the expected shape, before anything is loaded.

    Raises:
        BadInput: Says which file is missing or broken, or which number of its config is another one.
    """
    lacking = [file for file in FILES if not (folder / file).is_file()]
    if lacking:
        raise BadInput(f"encoder {name}: {folder} lacks {', '.join(lacking)}; give a local copy of a V-JEPA 2 model")
    config = read_object(folder / CONFIG)
    if config.get("model_type") != "vjepa2":
        raise BadInput(
            f"encoder {name}: {folder} holds model_type {config.get('model_type')!r}, not 'vjepa2'; give a V-JEPA 2 model"
        )
    wanted = SHAPES[name]
    defaults = {"crop_size": 256, "patch_size": 16, "tubelet_size": 2, "hidden_size": 1024}
    numbers = dict(zip(defaults, (wanted.crop, wanted.patch, wanted.tubelet, wanted.hidden), strict=True))
    for key, value in numbers.items():
        if (found := config.get(key, defaults[key])) != value:
            raise BadInput(f"encoder {name}: {folder} has {key} {found}, not {value}; give a model of this encoder's shape")


def load_model(folder: Path, name: str) -> "VJEPA2Model":
    """The frozen model of a directory.

    Raises:
        BadInput: Modules are missing or have another shape (transformers would draw them at random), or a file is damaged.
    """
    from transformers import VJEPA2Model  # noqa: PLC0415

    from branches.pretrained import load_pretrained  # noqa: PLC0415

    model: VJEPA2Model = load_pretrained(VJEPA2Model, folder, f"encoder {name}: {folder}")
    return model.eval().requires_grad_(False)
