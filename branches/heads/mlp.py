"""The MLP head: LayerNorm-Linear-GELU-Dropout-Linear-GELU-Dropout-Linear, trained on rotated rows.

LayerNorm's gain and bias and the first linear layer are one linear map, and training rows live in the span of their singular
vectors; so the first layer is trained on the coordinates of normalised rows: no gradient flows through thousands of columns.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, gelu

from branches.heads.config import MLPOptions
from harness.errors import BadInput

LARGEST_POSITIVE_WEIGHT = 20.0


@dataclass(frozen=True, eq=False)
class MLPProblem:
    """What one network learns.

    Attributes:
        name: Task id.
        loss: `classes` (balanced cross-entropy), `labels` (binary cross-entropy per label) or `values` (squared error).
        rows: (N, r) float32 coordinates of normalised rows, shared by the tasks of an input set.
        index: (n,) which of them this task trains on.
        targets: (n,) int64 codes, (n, K) float32 0 / 1, or (n, D) float32 with NaN where not measured.
        validation_rows: (v, r); v = 0 where there is no validation episode.
        validation_targets: As `targets`.
        outputs: Width of the last layer.
        columns: Columns before rotation: the first layer starts as a layer on so many.
    """

    name: str
    loss: Literal["classes", "labels", "values"]
    rows: NDArray[np.float32]
    index: NDArray[np.int64]
    targets: NDArray
    validation_rows: NDArray[np.float32]
    validation_targets: NDArray
    outputs: int
    columns: int


@dataclass(frozen=True, eq=False)
class MLPFit:
    """A trained network.

    Attributes:
        arrays: `projection` (r, H), `bias`, `hidden_weight` (H, H), `hidden_bias`, `out_weight` (H, outputs), `out_bias`.
        epochs: Passes over train.
        best_epoch: The epoch that was kept.
        validation_loss: Of that epoch; None without validation rows.
    """

    arrays: dict[str, NDArray[np.float32]]
    epochs: int
    best_epoch: int
    validation_loss: float | None


class _Loss:
    """Mean loss over a batch that workers share: each gives its part, scaled so that the average of the parts is the mean."""

    def __init__(self, problem: MLPProblem, workers: int) -> None:
        self.kind = problem.loss
        self.workers = workers
        if self.kind == "classes":
            counts = np.bincount(problem.targets, minlength=problem.outputs)
            weight = np.where(counts > 0, len(problem.targets) / np.maximum(counts, 1) / max(np.count_nonzero(counts), 1), 0.0)
            self.weight = torch.tensor(weight, dtype=torch.float32)
        elif self.kind == "labels":
            positive = problem.targets.sum(axis=0)
            ratio = np.clip((len(problem.targets) - positive) / np.maximum(positive, 1), 1, LARGEST_POSITIVE_WEIGHT)
            self.weight = torch.tensor(ratio, dtype=torch.float32)
        else:
            self.complete = bool(np.isfinite(problem.targets).all() and np.isfinite(problem.validation_targets).all())

    def __call__(self, scores: Tensor, targets: Tensor, mine: slice) -> Tensor:
        """The loss of this worker's rows.

        Args:
            scores: (m, outputs) of this worker's rows.
            targets: Of the whole batch.
            mine: This worker's rows.
        """
        if self.kind == "classes":
            loss = cross_entropy(scores, targets[mine], weight=self.weight, reduction="sum")
            return loss * self.workers / self.weight[targets].sum().clamp(min=1e-12)
        if self.kind == "labels":
            loss = binary_cross_entropy_with_logits(scores, targets[mine], pos_weight=self.weight, reduction="sum")
            return loss * self.workers / targets.numel()
        error = scores - targets[mine]
        if self.complete:
            return error.square().sum() * self.workers / targets.numel()
        # A missing target makes its error, and with it its gradient, exactly 0.
        error = torch.nan_to_num(error, nan=0.0)
        return error.square().sum() * self.workers / torch.isfinite(targets).sum().clamp(min=1)


class _Network(nn.Module):
    """Three linear layers; dropout masks come from outside, so that workers can share one draw."""

    def __init__(self, problem: MLPProblem, options: MLPOptions, generator: torch.Generator) -> None:
        super().__init__()
        self.first = nn.Linear(problem.rows.shape[1], options.hidden)
        self.second = nn.Linear(options.hidden, options.hidden)
        self.last = nn.Linear(options.hidden, problem.outputs)
        # Torch's default start; the first layer's as if it stood on the unrotated columns.
        for layer, fan_in in ((self.first, problem.columns), (self.second, options.hidden), (self.last, options.hidden)):
            nn.init.uniform_(layer.weight, -(fan_in**-0.5), fan_in**-0.5, generator=generator)
            nn.init.uniform_(layer.bias, -(fan_in**-0.5), fan_in**-0.5, generator=generator)

    def forward(self, rows: Tensor, kept: Tensor | None = None) -> Tensor:
        """(m, outputs) of (m, r) rows; `kept` (m, 2, H) multiplies the hidden units in training."""
        hidden = gelu(self.first(rows))
        hidden = gelu(self.second(hidden if kept is None else hidden * kept[:, 0]))
        return torch.as_tensor(self.last(hidden if kept is None else hidden * kept[:, 1]))


class RotatedAdamW(torch.optim.Optimizer):
    """AdamW for a weight on rotated columns that steps as AdamW would on the columns themselves.

    A rotation spreads a gradient evenly over thousands of columns, whose second moments then hardly differ: their mean over the
    columns, one number per hidden unit, stands for all of them (the mean of a block as in Adam-mini, Zhang et al. 2024). A second
    moment per coordinate would let directions of noise move as fast as those that carry the signal.

    Args:
        weight: (H, r).
        columns: Before rotation.
        lr: Learning rate.
        weight_decay: Decoupled.
        betas: Of the moments.
        eps: Added to the root of the second moment.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        columns: int,
        lr: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__([weight], {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps})
        self.columns, self.steps = columns, 0
        self.mean, self.square = torch.zeros_like(weight), weight.new_zeros((len(weight), 1))

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradient that is there."""
        group = self.param_groups[0]
        (weight,), (first, second) = group["params"], group["betas"]
        self.steps += 1
        with torch.no_grad():
            self.mean.lerp_(weight.grad, 1 - first)
            self.square.lerp_(weight.grad.square().sum(dim=1, keepdim=True) / self.columns, 1 - second)
            root = (self.square / (1 - second**self.steps)).sqrt_().add_(group["eps"])
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(self.mean * (group["lr"] / (1 - first**self.steps) / root))


def _optimisers(network: _Network, columns: int, options: MLPOptions) -> list[torch.optim.Optimizer]:
    rate, decay = options.learning_rate, options.weight_decay
    others = [network.first.bias, *network.second.parameters(), *network.last.parameters()]
    return [
        RotatedAdamW(network.first.weight, columns, rate, decay),
        torch.optim.AdamW(others, lr=rate, weight_decay=decay, fused=True),
    ]


def fit_mlp(problem: MLPProblem, options: MLPOptions, seed: int) -> MLPFit:
    """Train one network; the same seed and number of threads and workers give the same network.

    Where `torch.distributed` is initialised, every worker calls this with the same problem and takes its share of each batch.

    Args:
        problem: At least one row.
        options: Network and schedule.
        seed: Of initial weights, order and dropout.
    """
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank, workers = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
    draw = torch.Generator().manual_seed(seed)
    network = _Network(problem, options, draw)
    module = nn.parallel.DistributedDataParallel(network) if workers > 1 else network
    optimisers = _optimisers(network, problem.columns, options)
    loss = _Loss(problem, workers)
    validation = torch.from_numpy(problem.validation_rows), torch.from_numpy(problem.validation_targets)
    watched = len(validation[0]) > 0 and options.fixed_epochs is None
    best, best_epoch, best_state = float("inf"), 0, None
    epochs = options.epochs if options.fixed_epochs is None else options.fixed_epochs
    epoch = 0
    while epoch < epochs and not (watched and epoch - best_epoch >= options.patience):
        epoch += 1
        for rows, targets, kept in _batches(problem, options, draw):
            mine = slice(rank, None, workers)
            module.zero_grad(set_to_none=True)
            loss(module(rows[mine], kept[mine]), targets, mine).backward()
            for optimiser in optimisers:
                optimiser.step()
        if watched and (value := _validate(network, loss, validation)) < best:
            best, best_epoch = value, epoch
            best_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if best_state is not None:
        network.load_state_dict(best_state)
    return MLPFit(_arrays(network), epoch, best_epoch if watched else epoch, best if best_state is not None else None)


def _batches(problem: MLPProblem, options: MLPOptions, draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One epoch in a new order: rows, targets, and which hidden units stay (scaled so that their mean is kept)."""
    order = torch.randperm(len(problem.index), generator=draw)
    rows = torch.from_numpy(problem.rows)[torch.from_numpy(problem.index)[order]]
    targets = torch.from_numpy(problem.targets)[order]
    stays = torch.rand((len(order), 2, options.hidden), generator=draw) >= options.dropout
    kept = stays / (1 - options.dropout)
    for start in range(0, len(order), options.batch_size):
        part = slice(start, start + options.batch_size)
        yield rows[part], targets[part], kept[part]


def _validate(network: _Network, loss: _Loss, validation: tuple[Tensor, Tensor]) -> float:
    """Mean validation loss; the first worker's word counts, so that all stop together."""
    with torch.no_grad():
        value = loss(network(validation[0]), validation[1], slice(None)) / loss.workers
    if loss.workers > 1:
        torch.distributed.broadcast(value, 0)
    return float(value)


def _arrays(network: _Network) -> dict[str, NDArray[np.float32]]:
    found = {
        "projection": network.first.weight.T,
        "bias": network.first.bias,
        "hidden_weight": network.second.weight.T,
        "hidden_bias": network.second.bias,
        "out_weight": network.last.weight.T,
        "out_bias": network.last.bias,
    }
    return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Deterministic kernels and a fixed number of threads; the process is as before after it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])


def train_loop(config: dict[str, Any]) -> list[MLPFit]:
    """What every training worker runs: one network after the other.

    Args:
        config: `problems` (or a Ray reference to them), `options`, `seed`, `threads`.
    """
    problems = config["problems"]
    if not isinstance(problems, list):
        import ray  # noqa: PLC0415

        problems = ray.get(problems)
    options = MLPOptions(**config["options"])
    with _deterministic(config["threads"]):
        return [fit_mlp(problem, options, config["seed"]) for problem in problems]


def train(problems: list[MLPProblem], options: MLPOptions, seed: int, threads: int, storage: str) -> list[MLPFit]:
    """Run `train_loop` under Ray Train: in this process for one worker, else on `options.workers` of a running Ray.

    Args:
        problems: All in one run: starting workers costs more than training a head.
        options: See `MLPOptions`.
        seed: Of every network.
        threads: Per worker.
        storage: Folder that every worker can reach; used with several workers only.
    """
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    config: dict[str, Any] = {"problems": problems, "options": asdict(options), "seed": seed, "threads": threads}
    if options.workers > 1:
        import ray  # noqa: PLC0415

        there = ray.cluster_resources().get("CPU", 0.0) if ray.is_initialized() else 0.0
        if options.workers * threads > there:
            raise BadInput(f"branch.mlp.workers={options.workers} of {threads} thread(s): Ray has {there:g} CPUs; give fewer")
        config["problems"] = ray.put(problems)
        scaling = ScalingConfig(num_workers=options.workers, resources_per_worker={"CPU": threads})
        trainer = TorchTrainer(
            train_loop, train_loop_config=config, scaling_config=scaling, run_config=RunConfig(storage_path=storage)
        )
    else:
        logging.getLogger("ray.train").setLevel(logging.WARNING)  # it announces the local mode at every call
        trainer = TorchTrainer(train_loop, train_loop_config=config, scaling_config=ScalingConfig(num_workers=0))
    found: list[MLPFit] = trainer.fit().return_value
    return found
