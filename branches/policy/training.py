"""The training loop that all policies share: shuffled windows from disk, a cosine schedule, the best validation step kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from branches.policy.config import PolicyOptions
from branches.policy.scales import Scales
from branches.policy.windows import Rows, Windows
from branches.torch_training import deterministic, rate_at, shuffled, within_memory


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of B windows.

    Attributes:
        frames: (B, cameras, 3, size, size) in [0, 1].
        states: (B, state_steps * S) in [-1, 1].
        texts: (B,).
        actions: (B, H, A) in [-1, 1]; empty in prediction.
        masks: (B, H, A) True where measured.
    """

    frames: Tensor
    states: Tensor
    texts: tuple[str, ...]
    actions: Tensor
    masks: Tensor


class Policy(Protocol):
    """A network with a loss and a chunk."""

    module: nn.Module

    def loss(self, batch: Batch, draw: torch.Generator) -> Tensor:
        """Mean loss over the measured numbers; `draw` is all its randomness beside dropout."""

    def chunk(self, batch: Batch, seeds: NDArray[np.uint64]) -> Tensor:
        """(B, H, A) actions in [-1, 1]; a row depends on its own inputs and seed alone."""


@dataclass(frozen=True)
class Trained:
    """How training went.

    Attributes:
        steps: Optimiser steps taken.
        best_step: Whose weights were kept.
        train_loss: Mean over the last tenth of the steps.
        validation_loss: Of the weights that were kept; None without validation windows.
    """

    steps: int
    best_step: int
    train_loss: float
    validation_loss: float | None


def to_batch(rows: Rows, scales: Scales, device: torch.device) -> Batch:
    """Rows in physical units -> tensors."""
    frames = torch.from_numpy(rows.frames).to(device).permute(0, 1, 4, 2, 3).float() / 255
    states = torch.from_numpy(scales.state.normalise(rows.states).astype(np.float32)).to(device)
    if rows.actions is None or rows.masks is None:
        nothing = torch.zeros((len(states), 0, 0), device=device)
        return Batch(frames, states, rows.texts, nothing, nothing.bool())
    actions = np.where(rows.masks, scales.action.normalise(rows.actions), 0.0).astype(np.float32)
    return Batch(frames, states, rows.texts, torch.from_numpy(actions).to(device), torch.from_numpy(rows.masks).to(device))


def train(
    policy: Policy, windows: Windows, validation: Windows | None, scales: Scales, options: PolicyOptions, seed: int, threads: int
) -> Trained:
    """Train a policy in place; the same seed and number of threads give the same weights."""
    device = next(policy.module.parameters()).device
    with deterministic(threads, seed):
        optimiser = torch.optim.AdamW(
            [p for p in policy.module.parameters() if p.requires_grad],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(step, options.warmup, options.steps))
        draw = torch.Generator(device=device).manual_seed(seed)
        best, best_step, kept, losses = float("inf"), 0, None, []
        for step, index in enumerate(shuffled(len(windows), options.batch_size, options.steps, seed), 1):
            policy.module.train()
            optimiser.zero_grad(set_to_none=True)
            with within_memory(f"batch_size={options.batch_size}, image_size={options.image_size}"):
                loss = policy.loss(to_batch(windows.read(index), scales, device), draw)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.module.parameters(), options.gradient_norm)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if validation is not None and (step % options.evaluate_every == 0 or step == options.steps):
                value = validate(policy, validation, scales, options, seed)
                if value < best:
                    best, best_step = value, step
                    kept = {name: tensor.detach().clone() for name, tensor in trained_state(policy.module).items()}
        if kept is not None:
            load_trained_state(policy.module, kept)
    last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
    return Trained(len(losses), best_step or len(losses), last, best if kept is not None else None)


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """What a fit may have changed: the state without the parameters that are frozen."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}


def load_trained_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `trained_state` gave.

    Raises:
        ValueError: It is that of another network.
    """
    expected = set(trained_state(module))
    if expected != set(state):
        odd = sorted(expected ^ set(state))
        raise ValueError(
            f"the weights are those of another network: {odd[0]} and {len(odd) - 1} more stand in only one of the two"
        )
    module.load_state_dict(state, strict=False)


def validate(policy: Policy, windows: Windows, scales: Scales, options: PolicyOptions, seed: int) -> float:
    """Mean loss over evenly spaced validation windows, with the same draws every time."""
    policy.module.eval()
    device = next(policy.module.parameters()).device
    index = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), options.validation_windows)).round().astype(np.int64))
    draw = torch.Generator(device=device).manual_seed(seed)
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(index), options.batch_size):
            part = index[start : start + options.batch_size]
            total += float(policy.loss(to_batch(windows.read(part), scales, device), draw)) * len(part)
    return total / len(index)


def masked_mean(errors: Tensor, masks: Tensor) -> Tensor:
    """Mean of (B, H, A) errors where measured."""
    return torch.as_tensor((errors * masks).sum() / masks.sum().clamp(min=1))
