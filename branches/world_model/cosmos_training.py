"""Training the flow: shuffled windows from disk, a cosine schedule, the best validation step kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from branches.torch_training import deterministic, rate_at, shuffled
from branches.world_model.cosmos_config import CosmosOptions
from branches.world_model.cosmos_flow import CosmosFlow, FlowBatch, to_tensor, trained_state
from branches.world_model.cosmos_windows import FutureWindows


@dataclass(frozen=True)
class Trained:
    """How training went.

    Attributes:
        steps: Optimiser steps taken.
        best_step: Whose weights were kept; 0 = those it started from.
        train_loss: Mean over the last tenth of the steps.
        validation_loss: Of the weights that were kept; None without validation windows.
        untrained_loss: Validation loss of the weights it started from.
    """

    steps: int
    best_step: int
    train_loss: float
    validation_loss: float | None
    untrained_loss: float | None


def train(
    flow: CosmosFlow,
    windows: FutureWindows,
    validation: FutureWindows | None,
    options: CosmosOptions,
    seed: int,
    threads: int,
    say: Callable[[str], None] = lambda line: None,
) -> Trained:
    """Train a flow in place; the same seed and number of threads give the same weights. `say` is told of every look."""
    parameters, like = [p for p in flow.parameters() if p.requires_grad], next(flow.parameters())
    with deterministic(threads, seed):
        optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, options.warmup, options.steps))
        draw = torch.Generator(device=like.device).manual_seed(seed)
        untrained = None if validation is None else validate(flow, validation, options, seed)
        best, best_step, kept, losses = untrained, 0, _copy(flow), []
        for step, index in enumerate(shuffled(len(windows), options.batch_size, options.steps, seed), 1):
            flow.train()
            optimiser.zero_grad(set_to_none=True)
            loss = flow.loss(to_batch(windows, index, like), draw)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, options.gradient_norm)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if validation is not None and (step % options.evaluate_every == 0 or step == options.steps):
                value = validate(flow, validation, options, seed)
                say(f"step {step}: validation loss {value:.4f}")
                if best is None or value < best:
                    best, best_step, kept = value, step, _copy(flow)
        if validation is None:
            best_step = options.steps
        else:
            flow.load_state_dict(kept, strict=False)
    flow.eval()
    return Trained(len(losses), best_step, float(np.mean(losses[-max(1, len(losses) // 10) :])), best, untrained)


def validate(flow: CosmosFlow, windows: FutureWindows, options: CosmosOptions, seed: int) -> float:
    """Mean loss over evenly spaced validation windows, with the same draws every time."""
    flow.eval()
    like = next(flow.parameters())
    index = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), options.validation_windows)).round().astype(np.int64))
    draw = torch.Generator(device=like.device).manual_seed(seed)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(index), options.batch_size):
            part = index[start : start + options.batch_size]
            total += float(flow.loss(to_batch(windows, part, like), draw)) * len(part)
    return total / len(index)


def to_batch(windows: FutureWindows, index: np.ndarray, like: Tensor) -> FlowBatch:
    """Windows as tensors where `like` is."""
    past, future = windows.read(index)
    return FlowBatch(to_tensor(past, like), to_tensor(future, like))


def _copy(flow: CosmosFlow) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trained_state(flow).items()}
