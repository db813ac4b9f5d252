"""Trains the small SmolVLM that `policy:smolvla` stands on at preset `tiny`: `python -m branches.policy.pretrain_smolvlm`.

It learns to describe frames of demo sessions of reserved seeds: what the hands do, and where the wrists are. The directory is
that of a model on the Hub (config, processor, tokenizer, safetensors), beside a `provenance.json` that names the sessions.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from branches.policy.vlm import TINY
from branches.policy.windows import NO_INSTRUCTION
from branches.torch_training import deterministic, shuffled
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.episode import Episode, VideoFile
from harness.model_directory import PROVENANCE
from harness.timeline import frame_values
from harness.video import decode

SEED, EPISODES, SECONDS, EVERY = 10_300, 12, 30.0, 6
STEPS, BATCH, LEARNING_RATE, WARMUP = 1200, 16, 2e-3, 50
SIZE, PATCH, SHRINK = 64, 8, 2
IMAGE_TOKENS = (SIZE // PATCH // SHRINK) ** 2
WIDTH, LAYERS, VOCABULARY = 64, 4, 448
IMAGE, FAKE, GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"
BEGIN, END, PAD = "<|im_start|>", "<end_of_utterance>", "<|im_end|>"


@dataclass(frozen=True, eq=False)
class Captioned:
    """Frames and what they show.

    Attributes:
        frames: (n, SIZE, SIZE, 3) uint8.
        texts: (n,).
        sessions: Names.
        episodes: Ids.
    """

    frames: NDArray[np.uint8]
    texts: list[str]
    sessions: list[str]
    episodes: list[str]


def captioned(folder: Path) -> Captioned:
    """Every `EVERY`-th frame of the first camera of each episode of new demo data."""
    write_demo(folder, EPISODES, SEED, SECONDS)
    dataset = open_dataset(str(folder))
    refs, _ = dataset.list_episodes()
    frames, texts = [], []
    for ref in refs:
        episode = dataset.read(ref)
        camera = episode.tracks[min(name for name in episode.tracks if name.startswith("video/"))].data
        assert isinstance(camera, VideoFile)
        every = np.concatenate([found[0].copy() for _, found in decode(camera, [(SIZE, SIZE)])])
        said = _captions(episode)
        for frame, text in list(zip(every, said, strict=False))[::EVERY]:
            if text:
                frames.append(frame)
                texts.append(text)
    return Captioned(np.stack(frames), texts, sorted({str(ref.session) for ref in refs}), [ref.id for ref in refs])


def _captions(episode: Episode) -> list[str]:
    """(T,) the sentence of each moment and where the wrists are in the camera's frame, whole decimetres; empty without one."""
    track = episode.tracks.get("interaction")
    if track is None:
        return []
    wrists = {side: frame_values(episode.tracks[f"hand_{side}"], episode.timeline)[0][:, 0] for side in ("right", "left")}
    out = []
    for i, code in enumerate(track.array().reshape(-1).tolist()):
        places = "; ".join(f"{side} " + " ".join(f"{10 * x:.0f}" for x in values[i]) for side, values in wrists.items())
        out.append(f"{track.categories[code]} {places}" if code >= 0 else "")
    return out


def processor_for(texts: Sequence[str]) -> Idefics3Processor:
    """A byte-level tokenizer trained on the texts, and frames at their own size.

    The processor is that of the first SmolVLM: the class of the second also wants a package that turns numbers into words.
    """
    rows = [f"<row_{i + 1}_col_{j + 1}>" for i in range(6) for j in range(6)]
    special = [BEGIN, PAD, END, IMAGE, FAKE, GLOBAL, *rows]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*texts, NO_INSTRUCTION], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        bos_token=BEGIN,
        extra_special_tokens={"image_token": IMAGE, "fake_image_token": FAKE, "global_image_token": GLOBAL},
    )
    edge = {"longest_edge": SIZE}
    images = Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False)
    return Idefics3Processor(images, fast, image_seq_len=IMAGE_TOKENS)


def config_for(tokenizer: PreTrainedTokenizerFast) -> SmolVLMConfig:
    """The shape: about 0.3 million numbers."""
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": WIDTH // 4,
        "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4,
        "image_size": SIZE, "patch_size": PATCH,
    }  # fmt: skip
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    return SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=SHRINK, image_token_id=image, pad_token_id=tokenizer.pad_token_id
    )


def train(model: SmolVLMForConditionalGeneration, data: Captioned, tokenizer: PreTrainedTokenizerFast) -> list[float]:
    """Next-token loss on the texts; returns its mean over each tenth of the steps."""
    prompt = [tokenizer.convert_tokens_to_ids(t) for t in (FAKE, GLOBAL, *[IMAGE] * IMAGE_TOKENS, FAKE)]
    found = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in data.texts]
    longest = max(map(len, found))
    ids = np.array([prompt + text + [tokenizer.pad_token_id] * (longest - len(text)) for text in found])
    labels = np.where(np.arange(ids.shape[1]) < len(prompt), -100, ids)
    labels[:, len(prompt) :][ids[:, len(prompt) :] == tokenizer.pad_token_id] = -100
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, STEPS, pct_start=WARMUP / STEPS)
    losses = []
    for index in shuffled(len(ids), BATCH, STEPS, SEED):
        pixels = torch.from_numpy(data.frames[index]).permute(0, 3, 1, 2)[:, None].float() / 127.5 - 1
        tokens = torch.from_numpy(ids[index])
        attention = (tokens != tokenizer.pad_token_id).long()
        loss = model(input_ids=tokens, attention_mask=attention, pixel_values=pixels, labels=torch.from_numpy(labels[index])).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if len(losses) % (STEPS // 10) == 0:
            print(f"step {len(losses)} of {STEPS}: loss {np.mean(losses[-STEPS // 10 :]):.3f}", flush=True)
    return [round(float(part.mean()), 4) for part in np.array_split(np.array(losses), 10)]


def main(out: Path, threads: int) -> None:
    """Make the data, train, and replace the directory."""
    with tempfile.TemporaryDirectory() as scratch:
        data = captioned(Path(scratch) / "demo")
    processor = processor_for(data.texts)
    tokenizer = processor.tokenizer
    with deterministic(threads, SEED):
        model = SmolVLMForConditionalGeneration(config_for(tokenizer))
        losses = train(model.train(), data, tokenizer)
    shutil.rmtree(out, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    about: dict[str, Any] = {
        "script": "python -m branches.policy.pretrain_smolvlm",
        "what": "captions of demo frames: what the hands do, and where the wrists are",
        "seed": SEED,
        "sessions": data.sessions,
        "episodes": data.episodes,
        "frames": len(data.texts),
        "steps": STEPS,
        "batch_size": BATCH,
        "loss_by_tenth": losses,
        "threads": threads,
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    (out / PROVENANCE).write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.out, arguments.threads)
