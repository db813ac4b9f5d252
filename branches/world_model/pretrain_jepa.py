"""Trains the small V-JEPA 2 that `world_model:jepa` stands on at preset `tiny`: `python -m branches.world_model.pretrain_jepa`.

As V-JEPA does it: the encoder sees some tokens of a clip of demo sessions of reserved seeds, a predictor says what the others
are in the latents of a slowly moving copy of the encoder, and the error is absolute, on layer-normed tokens. The copy is kept. A
hinge on the spread of the tokens is added, because a small net on little data would collapse.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import layer_norm
from transformers import VJEPA2Config, VJEPA2Model, VJEPA2VideoProcessor

from branches.world_model.vjepa2 import MEAN, SHAPES, STD, TINY, to_pixels
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.episode import VideoFile
from harness.model_directory import PROVENANCE
from harness.video import decode

SEED, EPISODES, SECONDS = 10_100, 12, 20.0
STEPS, BATCH, LEARNING_RATE, WARMUP, DECAY = 600, 16, 1e-3, 100, 0.04
MOMENTUM = (0.99, 0.999)  # of the moving copy, at the first and the last step
VARIANCE, LEAST_SPREAD = 1.0, 0.7  # weight of what keeps the tokens from collapsing, and the spread it asks for
GAIN = 0.25  # colours of a clip are scaled by up to so much, so that another room is not another world
SHAPE = SHAPES["vjepa2-tiny"]
SIDE, TIMES = SHAPE.crop // SHAPE.patch, SHAPE.frames // SHAPE.tubelet


@dataclass(frozen=True, eq=False)
class Footage:
    """Frames of the main camera, episode by episode.

    Attributes:
        frames: (T, crop, crop, 3) uint8 each.
        sessions: Names.
        episodes: Ids.
    """

    frames: list[NDArray[np.uint8]]
    sessions: list[str]
    episodes: list[str]

    def clips(self, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """(n, frames, crop, crop, 3) clips of random episodes and times."""
        span = SHAPE.stride * (SHAPE.frames - 1) + 1
        found = []
        for which in rng.integers(len(self.frames), size=n):
            start = rng.integers(len(self.frames[which]) - span + 1)
            found.append(self.frames[which][start : start + span : SHAPE.stride])
        return np.stack(found)


def footage(folder: Path) -> Footage:
    """The main camera of the demo data of the reserved seed, written to `folder` where it is not there."""
    if not folder.is_dir():
        write_demo(folder, EPISODES, SEED, SECONDS)
    dataset = open_dataset(str(folder))
    refs, _ = dataset.list_episodes()
    frames = []
    for ref in refs:
        episode = dataset.read(ref)
        assert episode.main_camera is not None
        camera = episode.tracks[episode.main_camera].data
        assert isinstance(camera, VideoFile)
        frames.append(np.concatenate([f[0].copy() for _, f in decode(camera, [(SHAPE.crop, SHAPE.crop)])]))
    return Footage(frames, sorted({str(ref.session) for ref in refs}), [ref.id for ref in refs])


def make_model() -> VJEPA2Model:
    """The tiny shape, freshly drawn."""
    config = VJEPA2Config(
        patch_size=SHAPE.patch, crop_size=SHAPE.crop, frames_per_clip=SHAPE.frames, tubelet_size=SHAPE.tubelet,
        hidden_size=SHAPE.hidden, num_attention_heads=4, num_hidden_layers=4, num_pooler_layers=1,
        pred_hidden_size=32, pred_num_attention_heads=2, pred_num_hidden_layers=2, pred_num_mask_tokens=2,
        pred_zero_init_mask_tokens=False,
    )  # fmt: skip
    return VJEPA2Model(config)


def draw_mask(rng: np.random.Generator) -> NDArray[np.bool_]:
    """(times * SIDE * SIDE,) True for the tokens to be predicted: the rest of the time, or a block at all times."""
    hidden = np.zeros((TIMES, SIDE, SIDE), bool)
    if rng.random() < 0.5:
        hidden[rng.integers(1, TIMES) :] = True
    else:
        height, width = rng.integers(2, SIDE + 1), rng.integers(2, SIDE)
        row, column = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
        hidden[:, row : row + height, column : column + width] = True
    return hidden.reshape(-1)


def loss_of(model: VJEPA2Model, copy: VJEPA2Model, pixels: Tensor, hidden: NDArray[np.bool_]) -> Tensor:
    """Mean absolute error of the hidden tokens. Unlike the model's own forward the encoder never sees them."""
    n = len(pixels)
    seen, asked = (torch.from_numpy(np.flatnonzero(m)).expand(n, -1) for m in (~hidden, hidden))
    tokens = model.encoder.embeddings(pixels)
    context = torch.gather(tokens, 1, seen[..., None].expand(-1, -1, tokens.shape[2]))
    for layer in model.encoder.layer:
        context = layer(context, seen)[0]
    context = model.encoder.layernorm(context)
    places = torch.zeros_like(tokens).scatter(1, seen[..., None].expand_as(context), context)
    found = model.predictor(places, [seen], [asked]).last_hidden_state
    with torch.no_grad():
        target = copy(pixels, skip_predictor=True).last_hidden_state
        target = layer_norm(target, target.shape[-1:])
        target = torch.gather(target, 1, asked[..., None].expand(-1, -1, target.shape[2]))
    # Small nets on little data collapse towards one vector: the spread of a channel over clips is held up (Bardes et al. 2022).
    normed = layer_norm(context, context.shape[-1:])
    return (found - target).abs().mean() + VARIANCE * torch.relu(LEAST_SPREAD - normed.std(dim=0)).mean()


def train(shown: Footage, steps: int, say: Any) -> tuple[VJEPA2Model, list[float]]:
    """The moving copy after `steps` steps, and the losses."""
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    model = make_model()
    copy = deepcopy(model).requires_grad_(False).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    losses = []
    for step in range(steps):
        rate = min((step + 1) / WARMUP, 0.5 * (1 + np.cos(np.pi * step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * rate
        clips = shown.clips(BATCH, rng).astype(np.float32) * rng.uniform(1 - GAIN, 1 + GAIN, (BATCH, 1, 1, 1, 3))
        pixels = to_pixels(np.clip(clips, 0, 255).astype(np.uint8))
        loss = loss_of(model, copy, pixels, draw_mask(rng))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        momentum = MOMENTUM[0] + (MOMENTUM[1] - MOMENTUM[0]) * step / steps
        with torch.no_grad():
            for slow, fast in zip(copy.encoder.parameters(), model.encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - momentum)
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            say(f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}")
    copy.predictor.load_state_dict(model.predictor.state_dict())
    return copy, losses


def spread(model: VJEPA2Model, shown: Footage) -> float:
    """Standard deviation of a layer-normed channel over clips, at a fixed place, averaged: near 0 where it has collapsed."""
    clips = shown.clips(128, np.random.default_rng(0))
    with torch.no_grad():
        tokens = model(to_pixels(clips), skip_predictor=True).last_hidden_state
    return float(layer_norm(tokens, tokens.shape[-1:]).std(dim=0).mean())


def main(words: Sequence[str] | None = None) -> None:
    """Train, and write the directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--recordings", type=Path, help="Keep the demo data there, or take them from there.")
    given = parser.parse_args(words)
    torch.set_num_threads(1)  # the last bit of a sum depends on them
    with tempfile.TemporaryDirectory() as scratch:
        shown = footage(given.recordings or Path(scratch) / "demo")
    model, losses = train(shown, given.steps, lambda line: print(line, flush=True))
    given.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(given.out)
    size = {"shortest_edge": SHAPE.crop}
    VJEPA2VideoProcessor(
        size=size, crop_size={"height": SHAPE.crop, "width": SHAPE.crop}, image_mean=list(MEAN), image_std=list(STD)
    ).save_pretrained(given.out)
    body = {
        "script": "python -m branches.world_model.pretrain_jepa", "seed": SEED,
        "sessions": shown.sessions, "episodes": shown.episodes,
        "steps": given.steps, "first_loss": round(float(np.mean(losses[:50])), 4),
        "last_loss": round(float(np.mean(losses[-50:])), 4), "spread": round(spread(model, shown), 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "av")},
    }  # fmt: skip
    (given.out / PROVENANCE).write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps({key: body[key] for key in ("first_loss", "last_loss", "spread", "parameters")}))


if __name__ == "__main__":
    main()
