"""Trains the small Qwen3-Omni thinker that stands behind the preset `tiny`: `python -m branches.qwen_omni.pretrain`.

First its eyes and ears (`senses.py`), then its text path, which learns to copy (`copying.py`), to describe windows of demo
sessions of reserved seeds and to answer questions about them in JSON (`lessons.py`). The directory is that of a model on the Hub
(config, processor, tokenizer, safetensors), beside a `provenance.json` that names the sessions.
"""

import argparse
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen3OmniMoeThinkerForConditionalGeneration

from branches.qwen_omni.classroom import Classroom, Senses
from branches.qwen_omni.copying import StrangeWords, train_copying
from branches.qwen_omni.directory import TINY
from branches.qwen_omni.lessons import conversations, corpus
from branches.qwen_omni.omni import Omni
from branches.qwen_omni.senses import train_senses
from branches.qwen_omni.shape import tiny_config, tiny_processor
from branches.qwen_omni.windows import Windows, make_windows
from branches.torch_training import deterministic
from harness.model_directory import PROVENANCE

SEED, EPISODES, SECONDS, FRAMES = 10_500, 48, 14.0, 2
LOOKING, COPYING, DESCRIBING, ASKING = 500, 1000, 400, 1300
"""Steps of the towers alone, of the text path on rows of tokens, on conversations that describe or repeat, and on those most of
which answer in JSON."""
BATCH, LEARNING_RATE, WARMUP = 4, 2e-3, 100
SHARES = (0.6, 0.4, 0.0), (0.2, 0.1, 0.7)
"""Of conversations that describe, repeat a list and answer in JSON, in the two stages of the text path."""
TURNS = (4, 1, 3)
"""Windows of each."""


def train_text(room: Classroom, strange: StrangeWords, describing: int, asking: int) -> list[float]:
    """Next-token loss on the answers, the towers frozen; returns its mean over each tenth of the steps."""
    steps, rng, model = describing + asking, np.random.default_rng(SEED), room.model
    parameters = [*model.model.parameters(), *model.lm_head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=min(WARMUP / steps, 0.5))
    losses: list[float] = []
    for step in range(1, steps + 1):
        loss = room.loss(conversations(room.windows, strange, BATCH, TURNS, SHARES[step > describing], rng))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % max(1, steps // 40) == 0:
            print(f"text: step {step} of {steps}: loss {np.mean(losses[-max(1, steps // 40) :]):.3f}", flush=True)
    return [round(float(part.mean()), 4) for part in np.array_split(np.array(losses), 10)]


def save(out: Path, windows: Windows, threads: int, steps: tuple[int, int, int, int]) -> None:
    """Train on the windows, and replace the directory.

    Args:
        out: The directory.
        windows: To learn from.
        threads: Of torch; the last bits of the weights depend on them.
        steps: As `LOOKING`, `COPYING`, `DESCRIBING`, `ASKING`.
    """
    processor = tiny_processor(corpus(windows, SEED))
    with deterministic(threads, SEED):
        model = Qwen3OmniMoeThinkerForConditionalGeneration(tiny_config(processor.tokenizer)).train()
        senses = Senses(windows.clips, Omni(model, processor))
        looked = train_senses(model, windows, senses, steps[0], SEED)
        strange = StrangeWords(processor.tokenizer)
        copied = train_copying(model, strange, steps[1], SEED)
        told = train_text(Classroom(model, processor, windows, senses), strange, *steps[2:])
    shutil.rmtree(out, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    about = {
        "script": "python -m branches.qwen_omni.pretrain",
        "what": "what demo windows show, random words to repeat, captions, and questions in other words than those of the demo",
        "seed": SEED,
        "sessions": windows.sessions,
        "episodes": windows.episodes,
        "windows": len(windows.clips),
        "steps": dict(zip(("looking", "copying", "describing", "asking"), steps, strict=True)),
        "batch_size": BATCH,
        "loss_by_tenth": {"looking": looked, "copying": copied, "text": told},
        "threads": threads,
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    (out / PROVENANCE).write_text(json.dumps(about, indent=1) + "\n")


def main(out: Path, threads: int) -> None:
    """Make the data, train, and replace the directory."""
    with tempfile.TemporaryDirectory() as scratch:
        windows = make_windows(Path(scratch) / "demo", EPISODES, SEED, SECONDS, FRAMES)
    save(out, windows, threads, (LOOKING, COPYING, DESCRIBING, ASKING))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    main(arguments.out, arguments.threads)
