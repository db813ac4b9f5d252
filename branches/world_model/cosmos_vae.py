"""The video VAE as a frozen encoder: clips to latents, and latents back to frames."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from branches.world_model.cosmos_config import REAL_ENCODER, TINY_ENCODER, TINY_VAE, VAE_REAL
from branches.world_model.model_folder import content_hash, empty_diffusers, load_diffusers, read_config
from harness.encoder import Encoder
from harness.errors import BadInput
from harness.model_directory import episodes_of

if TYPE_CHECKING:  # torch and diffusers take seconds to import: the command line must not wait for them
    from torch import Tensor, nn

FRAMES, STRIDE = 5, 4  # the frames that `future_video` asks for: a fifth of a window of 20 samples apart
TEMPORAL = 4  # frames behind one latent frame; the first frame has one of its own
THREADS = 1  # the last bit of a sum depends on it


class CosmosVAE(Encoder):
    """diffusers' `AutoencoderKLWan`, the VAE of Cosmos-Predict2.5. Causal in time, and yet a clip is always encoded alone.

    A latent is the mean of the posterior, normalised per channel by the `latents_mean` and `latents_std` of its configuration.

    Args:
        name: As registered.
        size: Height and width of a frame, pixels.
        channels: Of a latent.
        ratio: Pixels of a frame to one of a latent, per axis.
        folder: Model folder; None where none was given.
        frames: Of a clip; 4 k + 1.

    Raises:
        BadInput: A number of frames that the VAE cannot take.
    """

    def __init__(self, name: str, size: int, channels: int, ratio: int, folder: Path | None, frames: int = FRAMES) -> None:
        if frames < 1 or (frames - 1) % TEMPORAL:
            near = max(1, round((frames - 1) / TEMPORAL) * TEMPORAL + 1)
            raise BadInput(f"encoder {name}: a clip of {frames} frames; the VAE takes 4 k + 1, e.g. {near}")
        self.name, self.height, self.width = name, size, size
        self.frames, self.stride = frames, STRIDE
        self.shape = (1 + (frames - 1) // TEMPORAL, size // ratio, size // ratio, channels)
        self.folder = folder

    @property
    def fingerprint(self) -> str:
        """Hash of the model folder's content."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return content_hash(self.checked_folder)

    @cached_property
    def checked_folder(self) -> Path:
        """The model folder.

        Raises:
            BadInput: There is none, or it holds a VAE of another shape.
        """
        if self.folder is None:
            raise BadInput(f"encoder {self.name} comes without weights: give encoders.{self.name}=FOLDER (an AutoencoderKLWan)")
        if not self.folder.is_dir():
            raise BadInput(f"encoder {self.name}: {self.folder} is no folder; correct the path")
        body = read_config(self.folder)
        if body.get("z_dim") != self.shape[-1]:
            raise BadInput(f"encoder {self.name}: {self.folder} has z_dim {body.get('z_dim')}, not {self.shape[-1]}")
        return self.folder

    @cached_property
    def pretrained_on(self) -> tuple[str, ...]:  # type: ignore[override]
        """As its provenance says."""
        return () if self.folder is None else episodes_of(self.folder)

    @cached_property
    def module(self) -> "nn.Module":
        """The weights, loaded when they are first needed and never trained.

        Raises:
            BadInput: See `load_diffusers`.
        """
        import torch  # noqa: PLC0415
        from diffusers import AutoencoderKLWan  # noqa: PLC0415

        module = load_diffusers(AutoencoderKLWan, self.checked_folder).requires_grad_(False)
        return module.to("cuda" if torch.cuda.is_available() else "cpu")

    def without_weights(self) -> Any:
        """Of the model folder, or the published one where none was given."""
        import torch  # noqa: PLC0415
        from diffusers import AutoencoderKLWan  # noqa: PLC0415

        if self.folder is not None:
            return empty_diffusers(AutoencoderKLWan, self.checked_folder).requires_grad_(False)
        with torch.device("meta"):
            return AutoencoderKLWan(**VAE_REAL).requires_grad_(False)

    def encode(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One clip at a time: no bit depends on the others.

        Raises:
            BadInput: Clips of another number of frames.
        """
        import torch  # noqa: PLC0415

        from branches.torch_training import deterministic  # noqa: PLC0415

        if clips.shape[1] != self.frames:
            raise BadInput(f"encoder {self.name}: clips of {clips.shape[1]} frames; it is made for {self.frames}")
        latents = np.zeros((len(clips), *self.shape), np.float32)
        with torch.inference_mode(), deterministic(THREADS, 0):
            for row, clip in zip(latents, clips, strict=True):
                row[...] = channels_last(self._encode(to_video(clip[None], self.module)))[0]
        return latents

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, *shape) latents -> (n, frames, height, width, 3) RGB levels, 0 to 255; one at a time."""
        import torch  # noqa: PLC0415

        from branches.torch_training import deterministic  # noqa: PLC0415

        frames = np.zeros((len(latents), self.frames, self.height, self.width, 3), np.float32)
        with torch.inference_mode(), deterministic(THREADS, 0):
            for row, latent in zip(frames, latents, strict=True):
                mean, deviation = self._scale()
                found = channels_first(latent[None], mean.device, mean.dtype) * deviation + mean
                row[...] = channels_last((self.module.decode(found, return_dict=False)[0] + 1) * 127.5)[0]  # type: ignore[operator]
        return frames

    def _encode(self, video: "Tensor") -> "Tensor":
        """(B, 3, frames, H, W) in [-1, 1] -> (B, C, T, h, w) normalised."""
        mean, deviation = self._scale()
        found: Tensor = self.module.encode(video).latent_dist.mode()  # type: ignore[operator]
        return (found - mean) / deviation

    def _scale(self) -> tuple["Tensor", "Tensor"]:
        """Mean and standard deviation per channel, (1, C, 1, 1, 1)."""
        import torch  # noqa: PLC0415

        config, parameter = self.module.config, next(self.module.parameters())
        mean, deviation = (
            torch.tensor(values, device=parameter.device, dtype=parameter.dtype).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)  # type: ignore[union-attr]
        )
        return mean, deviation


def tiny(folder: str | None = None) -> CosmosVAE:
    """`cosmos-vae-tiny`: 32 x 32 pixels, with the weights of the package."""
    return CosmosVAE(TINY_ENCODER, 32, 8, 4, TINY_VAE if folder is None else Path(folder))


def wan(folder: str | None = None) -> CosmosVAE:
    """`wan-vae`: the Wan 2.1 VAE at 256 x 256 pixels; its folder is the `vae` of nvidia/Cosmos-Predict2.5-2B."""
    return CosmosVAE(REAL_ENCODER, 256, 16, 8, None if folder is None else Path(folder))


def to_video(clips: NDArray[np.uint8], module: "nn.Module") -> "Tensor":
    """(B, frames, H, W, 3) uint8 -> (B, 3, frames, H, W) in [-1, 1], where the module is."""
    parameter = next(module.parameters())
    return channels_first(clips, parameter.device, parameter.dtype) / 127.5 - 1


def channels_first(values: NDArray, device: Any, dtype: Any) -> "Tensor":
    """(B, T, h, w, C) -> (B, C, T, h, w)."""
    import torch  # noqa: PLC0415

    return torch.from_numpy(np.ascontiguousarray(values)).to(device).permute(0, 4, 1, 2, 3).to(dtype).contiguous()


def channels_last(values: "Tensor") -> NDArray[np.float32]:
    """(B, C, T, h, w) -> (B, T, h, w, C)."""
    return np.asarray(values.permute(0, 2, 3, 4, 1).float().cpu().numpy(), np.float32)
