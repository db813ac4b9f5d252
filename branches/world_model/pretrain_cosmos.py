"""Trains the small networks `world_model:cosmos` stands on at preset `tiny`: `python -m branches.world_model.pretrain_cosmos`.

First the video VAE (reconstruction and a small divergence), then, on its latents, the transformer (rectified flow), both on demo
sessions of reserved seeds. The folders are those of models on the Hub (config, safetensors), beside a `provenance.json`.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, CosmosTransformer3DModel
from numpy.typing import NDArray
from torch import Tensor

from branches.torch_training import deterministic, rate_at
from branches.world_model.cosmos_config import TINY_TRANSFORMER, TINY_VAE, TRANSFORMER_TINY, VAE_TINY, CosmosOptions
from branches.world_model.cosmos_flow import trainable
from branches.world_model.cosmos_training import Trained, train
from branches.world_model.cosmos_vae import CosmosVAE, channels_first, channels_last, tiny
from branches.world_model.cosmos_windows import FutureWindows
from branches.world_model.vae_start import start_as_average
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.episode import VideoFile
from harness.model_directory import PROVENANCE
from harness.row_file import RowFile
from harness.video import decode

SEED, EPISODES, SECONDS, VALIDATION = 10_200, 16, 30.0, 2
VAE_STEPS, VAE_BATCH, VAE_RATE, VAE_WARMUP, DIVERGENCE = 350, 6, 2e-3, 10, 1e-6
STILL = 0.2  # share of clips that hold one frame, as the branch encodes the last frame
AHEAD = 20  # reference samples from a clip's end to that of the future's
FLOW = CosmosOptions(steps=700, batch_size=32, learning_rate=2e-3, warmup=50, evaluate_every=50, validation_windows=128)
AT_ONCE = 16
SAY_EVERY = 25  # steps


@dataclass(frozen=True, eq=False)
class Footage:
    """Frames of the main camera, episode by episode.

    Attributes:
        frames: (T, H, W, 3) uint8 each.
        sessions: Names.
        episodes: Ids.
    """

    frames: list[NDArray[np.uint8]]
    sessions: list[str]
    episodes: list[str]


def footage(folder: Path, vae: CosmosVAE, episodes: int, seconds: float) -> Footage:
    """The main camera of the demo data of the reserved seed, written to `folder` where it is not there."""
    if not folder.is_dir():
        write_demo(folder, episodes, SEED, seconds)
    dataset = open_dataset(str(folder))
    refs, _ = dataset.list_episodes()
    frames = []
    for ref in refs:
        episode = dataset.read(ref)
        assert episode.main_camera is not None
        camera = episode.tracks[episode.main_camera].data
        assert isinstance(camera, VideoFile)
        frames.append(np.concatenate([found[0].copy() for _, found in decode(camera, [(vae.height, vae.width)])]))
    return Footage(frames, sorted({str(ref.session) for ref in refs}), [ref.id for ref in refs])


def clips(frames: Sequence[NDArray[np.uint8]], vae: CosmosVAE, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(n, frames, H, W, 3) clips of random episodes and times, some of them of one frame held still."""
    found = []
    for which in rng.integers(len(frames), size=n):
        start = rng.integers(len(frames[which]) - vae.span + 1)
        stride = 0 if rng.random() < STILL else vae.stride
        found.append(frames[which][start + stride * np.arange(vae.frames)])
    return np.stack(found)


def train_vae(frames: Sequence[NDArray[np.uint8]], vae: CosmosVAE, steps: int, say: Callable[[str], None]) -> AutoencoderKLWan:
    """The VAE after so many steps, with the scale of its latents in its configuration."""
    rng, draw, errors = np.random.default_rng(SEED), torch.Generator().manual_seed(SEED), list[float]()
    model = AutoencoderKLWan(**VAE_TINY)
    start_as_average(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=VAE_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, VAE_WARMUP, steps))
    for step in range(1, steps + 1):
        video = as_video(clips(frames, vae, VAE_BATCH, rng))
        posterior = model.encode(video).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=draw)
        error = (model.decode(posterior.mean + posterior.std * noise).sample - video).square().mean()
        divergence = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        optimiser.zero_grad(set_to_none=True)
        (error + DIVERGENCE * divergence).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        errors.append(float(error.detach()))
        if step % SAY_EVERY == 0 or step == steps:
            say(f"vae step {step}: {10 * np.log10(4 / np.mean(errors[-SAY_EVERY:])):.2f} dB")
    model.eval().requires_grad_(False)
    latents = encoded(model, clips(frames, vae, 256, rng))
    axes = (0, 1, 2, 3)
    model.register_to_config(latents_mean=latents.mean(axes).tolist(), latents_std=latents.std(axes).tolist())
    return model


def reconstruction(model: AutoencoderKLWan, frames: Sequence[NDArray[np.uint8]], vae: CosmosVAE) -> float:
    """Mean PSNR in dB of clips that were not trained on."""
    shown = as_video(clips(frames, vae, 64, np.random.default_rng(SEED)))
    with torch.no_grad():
        error = (model(shown).sample - shown).mul(127.5).square().mean((1, 3, 4))
    return float((10 * torch.log10(255**2 / error)).mean())


def windows(model: AutoencoderKLWan, frames: Sequence[NDArray[np.uint8]], vae: CosmosVAE, out: Path) -> FutureWindows:
    """Past and future clips of every `stride`-th time, as the branch gathers them (`difference`)."""
    out.mkdir(parents=True)
    found = FutureWindows(vae.shape, RowFile(out / "past"), RowFile(out / "future"))
    mean, deviation = (np.array(getattr(model.config, f"latents_{part}"), np.float32) for part in ("mean", "std"))
    for shown in frames:
        ends = np.arange(vae.span - 1, len(shown), vae.stride)
        moving = (encoded(model, shown[ends[:, None] + vae.stride * np.arange(1 - vae.frames, 1)]) - mean) / deviation
        held = (encoded(model, np.repeat(shown[ends][:, None], vae.frames, axis=1)) - mean) / deviation
        ahead = AHEAD // vae.stride
        found.past.append(moving[:-ahead].reshape(len(ends) - ahead, -1))
        change = (moving[ahead:] - held[:-ahead]) / np.float32(FLOW.spread)
        found.future.append(change.reshape(len(ends) - ahead, -1))
    return found


def encoded(model: AutoencoderKLWan, shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, T, h, w, C) means of the posterior, as they come."""
    with torch.no_grad():
        parts = [shown[i : i + AT_ONCE] for i in range(0, len(shown), AT_ONCE)]
        return np.concatenate([channels_last(model.encode(as_video(part)).latent_dist.mode()) for part in parts])


def as_video(shown: NDArray[np.uint8]) -> Tensor:
    """(n, frames, H, W, 3) uint8 -> (n, 3, frames, H, W) in [-1, 1]."""
    return channels_first(shown, torch.device("cpu"), torch.float32) / 127.5 - 1


def train_transformer(
    past: FutureWindows, checks: FutureWindows, steps: int, say: Callable[[str], None]
) -> tuple[CosmosTransformer3DModel, Trained]:
    """The transformer after so many steps, those of the best validation loss."""
    options = replace(FLOW, steps=steps)
    with deterministic(1, SEED):
        model = CosmosTransformer3DModel(**TRANSFORMER_TINY)
    return model, train(trainable(model, options), past, checks, options, SEED, 1, say)


def save(model: Any, folder: Path, shown: Footage, about: dict[str, Any]) -> None:
    """Config, weights and where they come from."""
    model.save_pretrained(folder, safe_serialization=True)
    body = {
        "script": "branches.world_model.pretrain_cosmos",
        "seed": SEED,
        "sessions": shown.sessions,
        "episodes": shown.episodes,
        "validation": shown.episodes[-VALIDATION:],
        **about,
        "versions": {name: version(name) for name in ("torch", "diffusers")},
    }
    (folder / PROVENANCE).write_text(json.dumps(body, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write both."""
    parser = argparse.ArgumentParser(prog="pretrain_cosmos", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TINY_VAE.parent)
    parser.add_argument("--vae-steps", type=int, default=VAE_STEPS)
    parser.add_argument("--steps", type=int, default=FLOW.steps)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--recordings", type=Path, help="Keep the demo data there, or take them from there.")
    chosen = parser.parse_args(arguments)
    vae = tiny()
    with tempfile.TemporaryDirectory() as scratch, deterministic(1, SEED):
        say = partial(print, flush=True)
        shown = footage(chosen.recordings or Path(scratch) / "demo", vae, chosen.episodes, chosen.seconds)
        seen, unseen = shown.frames[:-VALIDATION], shown.frames[-VALIDATION:]
        model = train_vae(seen, vae, chosen.vae_steps, say)
        quality = reconstruction(model, unseen, vae)
        say(f"vae: {quality:.2f} dB on episodes not trained on")
        save(model, chosen.out / TINY_VAE.name, shown, {"steps": chosen.vae_steps, "validation_psnr_db": round(quality, 2)})
        rows, checks = (windows(model, part, vae, Path(scratch) / name) for name, part in (("seen", seen), ("unseen", unseen)))
        transformer, trained = train_transformer(rows, checks, chosen.steps, say)
        say(f"transformer: {trained}")
        save(transformer, chosen.out / TINY_TRANSFORMER.name, shown, {**vars(trained), "windows": len(rows)})


if __name__ == "__main__":
    main()
