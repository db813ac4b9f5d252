"""The network that forecasts the difference of a latent (or of the hands) to what was observed last, and its training."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from branches.torch_training import deterministic, shuffled
from branches.world_model.config import JEPAOptions
from branches.world_model.rows import Rows, newest
from harness.errors import WorkFailed


class Network(nn.Module):
    """A transformer over the tokens of the past latent and those of the past motion.

    Its last layer starts at zero, so that before any training the answer is what was observed last.

    Args:
        options: Width, layers, heads, dropout.
        latent: Shape of a latent: times, rows, columns, channels.
        motion: (steps, numbers per step) of the past motion; (steps, 0) = none.
        answer: Numbers of the answer; None = a latent, token by token.
    """

    def __init__(self, options: JEPAOptions, latent: tuple[int, ...], motion: tuple[int, int], answer: int | None) -> None:
        super().__init__()
        self.times, self.tokens, self.channels = latent[0], int(np.prod(latent[:-1])), latent[-1]
        self.steps, self.numbers = motion
        width = options.width
        self.read_latent = nn.Linear(self.channels, width)
        self.places = nn.Parameter(torch.randn(self.tokens, width) * 0.02)
        moments = self.steps if self.numbers else 0
        self.read_motion = nn.Linear(2 * self.numbers, width) if moments else None
        self.moments = nn.Parameter(torch.randn(moments, width) * 0.02)
        self.summary = nn.Parameter(torch.randn(1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, options.heads, 4 * width, options.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.trunk = nn.TransformerEncoder(layer, options.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, self.channels if answer is None else answer)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.by_token = answer is None

    def forward(self, past: Tensor, motion: Tensor, measured: Tensor) -> Tensor:
        """(B, A) differences, in deviations of train.

        Args:
            past: (B, tokens * channels) of the latent, less its newest step, normalised.
            motion: (B, steps * numbers) normalised, 0 where not measured.
            measured: The same shape, 1 where measured.
        """
        n = len(past)
        parts = [self.read_latent(past.reshape(n, self.tokens, self.channels)) + self.places]
        if self.read_motion is not None:
            both = torch.cat([part.reshape(n, self.steps, self.numbers) for part in (motion, measured)], dim=2)
            parts.append(self.read_motion(both) + self.moments)
        parts.append(self.summary.expand(n, -1, -1))
        found = self.trunk(torch.cat(parts, dim=1))
        answer: Tensor = self.head(found[:, : self.tokens] if self.by_token else found[:, -1])
        return answer.reshape(n, -1)


@dataclass(frozen=True, eq=False)
class Scales:
    """What the training windows say of typical sizes.

    Attributes:
        mean: (L,) of the past latents.
        change: () typical size of what changes within a past latent; one number for all, so that proportions stay.
        motion: (2, steps * numbers) mean and deviation of the past motion.
        answer: () typical size of a difference, one number for all.
    """

    mean: NDArray[np.float32]
    change: float
    motion: NDArray[np.float32]
    answer: float

    @staticmethod
    def of(rows: Rows, times: int) -> "Scales":
        """Of training windows, read in pieces; a latent has so many times."""
        mean = np.zeros(rows.files["past"].width)
        change = 0.0
        for _, part in rows.files["past"].chunks():
            mean += part.sum(axis=0, dtype=np.float64) / len(rows)
            change += float(np.abs(part - newest(part, times)).mean(axis=1).sum(dtype=np.float64)) / len(rows)
        every = [np.arange(i, min(i + 512, len(rows))) for i in range(0, len(rows), 512)]
        parts = (rows.read(index) for index in every)
        motion = _moments(((part["motion"], part["measured"]) for part in parts), rows.files["motion"].width)
        total, count = 0.0, 0
        for found in (rows.read(index) for index in every):
            total += float(np.abs(found["answers"][found["known"]]).sum(dtype=np.float64))
            count += int(found["known"].sum())
        return Scales(mean.astype(np.float32), max(change, 1e-6), motion, max(total / max(count, 1), 1e-6))

    def inputs(
        self, past: NDArray, motion: NDArray, measured: NDArray, times: int, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The network's inputs of some rows: how the latent came to its newest step, not what it is.

        What a room looks like would only tell the training sessions apart.
        """
        scaled = np.where(measured, (motion - self.motion[0]) / self.motion[1], 0.0).clip(-10, 10)
        columns = ((past - newest(past, times)) / np.float32(self.change), scaled, measured)
        found = [torch.from_numpy(np.ascontiguousarray(column, np.float32)).to(device) for column in columns]
        return found[0], found[1], found[2]


def _moments(parts: Iterable[tuple[NDArray, NDArray]], width: int) -> NDArray[np.float32]:
    """(2, width) mean and deviation (at least 1e-3) of the known numbers of (rows, mask) pieces."""
    count, total, squares = (np.zeros(width) for _ in range(3))
    for values, mask in parts:
        known = np.broadcast_to(mask, values.shape)
        exact = np.where(known, values, 0).astype(np.float64)
        count += known.sum(axis=0)
        total += exact.sum(axis=0)
        squares += (exact**2).sum(axis=0)
    mean = total / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    return np.stack([mean, np.maximum(deviation, 1e-3)]).astype(np.float32)


@dataclass(frozen=True)
class Trained:
    """How training went; losses are absolute errors as a share of those of holding what was observed last.

    Attributes:
        steps: Optimiser steps taken.
        best_step: Whose weights were kept; 0 = those that hold what was observed last.
        train_loss: Mean over the last tenth of the steps.
        validation_loss: Of the weights that were kept; None without validation windows.
    """

    steps: int
    best_step: int
    train_loss: float
    validation_loss: float | None


def train(
    network: Network, rows: Rows, checks: Rows | None, scales: Scales, options: JEPAOptions, seed: int, threads: int
) -> Trained:
    """Train a network in place; the same seed and number of threads give the same weights.

    Raises:
        WorkFailed: The loss is no number any more.
    """
    device = next(network.parameters()).device
    with deterministic(threads, seed):
        optimiser = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
        best, best_step, kept = (1.0, 0, _copy(network)) if checks is not None else (float("inf"), 0, None)
        losses = []
        for step, index in enumerate(shuffled(len(rows), options.batch_size, options.steps, seed), 1):
            network.train()
            loss = _loss(network, rows.read(index), scales, device)
            if not torch.isfinite(loss):
                raise WorkFailed(f"training diverged at step {step}; give a lower learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if checks is not None and (step % options.evaluate_every == 0 or step == options.steps):
                value = _validate(network, checks, scales, options, device)
                if value < best:
                    best, best_step, kept = value, step, _copy(network)
        if kept is not None:
            network.load_state_dict(kept)
    network.eval()
    last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
    return Trained(len(losses), best_step if kept is not None else len(losses), last, best if kept is not None else None)


def _loss(network: Network, rows: dict[str, NDArray], scales: Scales, device: torch.device) -> Tensor:
    """Mean absolute error of the known numbers, as a share of their typical size."""
    found = network(*scales.inputs(rows["past"], rows["motion"], rows["measured"], network.times, device))
    truth = torch.from_numpy(np.where(rows["known"], rows["answers"] / scales.answer, 0).astype(np.float32)).to(device)
    known = torch.from_numpy(rows["known"]).to(device)
    return torch.as_tensor(((found - truth).abs() * known).sum() / known.sum().clamp(min=1))


def _validate(network: Network, checks: Rows, scales: Scales, options: JEPAOptions, device: torch.device) -> float:
    """Mean loss over evenly spaced validation windows, as a share of that of zeros on the same windows."""
    network.eval()
    index = np.unique(np.linspace(0, len(checks) - 1, min(len(checks), options.validation_windows)).round().astype(np.int64))
    total = floor = 0.0
    with torch.no_grad():
        for start in range(0, len(index), options.batch_size):
            rows = checks.read(index[start : start + options.batch_size])
            known = int(rows["known"].sum())
            total += float(_loss(network, rows, scales, device)) * known
            floor += float(np.abs(rows["answers"][rows["known"]]).sum(dtype=np.float64)) / scales.answer
    return total / max(floor, 1e-9)


def _copy(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
