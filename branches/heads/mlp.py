"""The MLP head: LayerNorm-Linear-GELU-Dropout-Linear-GELU-Dropout-Linear, trained on rotated rows.

LayerNorm's gain and bias and the first linear layer are one linear map, and training rows live in the span of their singular
vectors; so the first layer is trained on the coordinates of normalised rows: no gradient flows through thousands of columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from branches.heads.config import MLPOptions

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
    """Mean loss over a batch that is shared among workers: each gives its part, scaled so that their average is the mean."""

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

    def __call__(self, scores: Tensor, mine: Tensor, batch: Tensor) -> Tensor:
        """The loss of this worker's rows.

        Args:
            scores: (m, outputs).
            mine: Targets of the m rows.
            batch: Targets of the whole batch.
        """
        if self.kind == "classes":
            total = self.weight[batch].sum()
            loss = cross_entropy(scores, mine, weight=self.weight, reduction="sum")
        elif self.kind == "labels":
            total = torch.tensor(float(batch.numel()))
            loss = binary_cross_entropy_with_logits(scores, mine, pos_weight=self.weight, reduction="sum")
        else:
            total = torch.isfinite(batch).sum()
            measured = torch.isfinite(mine)
            loss = torch.where(measured, scores - torch.where(measured, mine, 0.0), 0.0).square().sum()
        return loss * self.workers / total.clamp(min=1e-12)


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
    rows, targets = torch.from_numpy(problem.rows), torch.from_numpy(problem.targets)
    index = torch.from_numpy(problem.index)
    validation = torch.from_numpy(problem.validation_rows), torch.from_numpy(problem.validation_targets)
    watched = len(problem.validation_rows) > 0 and options.fixed_epochs is None
    with _reproducible(seed + rank):
        network = _network(problem, options, torch.Generator().manual_seed(seed))
        module = nn.parallel.DistributedDataParallel(network) if workers > 1 else network
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        loss, order = _Loss(problem, workers), torch.Generator().manual_seed(seed)
        best, best_epoch, best_state = float("inf"), 0, None
        epochs = options.fixed_epochs if options.fixed_epochs is not None else options.epochs
        epoch = 0
        while epoch < epochs and not (watched and epoch - best_epoch >= options.patience):
            epoch += 1
            network.train()
            shuffled = torch.randperm(len(index), generator=order)
            _epoch(module, optimiser, loss, (rows[index[shuffled]], targets[shuffled]), options.batch_size, (rank, workers))
            if watched:
                value = _validate(network, loss, validation)
                if value < best:
                    best, best_epoch = value, epoch
                    best_state = {k: v.clone() for k, v in network.state_dict().items()}
        if best_state is not None:
            network.load_state_dict(best_state)
    return MLPFit(_arrays(network), epoch, best_epoch if watched else epoch, best if best_state is not None else None)


def _network(problem: MLPProblem, options: MLPOptions, generator: torch.Generator) -> nn.Sequential:
    """Layers with torch's default start; the first as if it stood on the unrotated columns."""
    layers = [
        nn.Linear(problem.rows.shape[1], options.hidden),
        nn.Linear(options.hidden, options.hidden),
        nn.Linear(options.hidden, problem.outputs),
    ]
    for layer, fan_in in zip(layers, (problem.columns, options.hidden, options.hidden), strict=True):
        bound = fan_in**-0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    first, second, last = layers
    rest = options.dropout
    return nn.Sequential(first, nn.GELU(), nn.Dropout(rest), second, nn.GELU(), nn.Dropout(rest), last)


def _epoch(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: _Loss,
    data: tuple[Tensor, Tensor],
    batch_size: int,
    share: tuple[int, int],
) -> None:
    rank, workers = share
    for start in range(0, len(data[0]), batch_size):
        rows, targets = data[0][start : start + batch_size], data[1][start : start + batch_size]
        mine = slice(rank, None, workers)
        optimiser.zero_grad(set_to_none=True)
        loss(module(rows[mine]), targets[mine], targets).backward()
        optimiser.step()


def _validate(network: nn.Module, loss: _Loss, validation: tuple[Tensor, Tensor]) -> float:
    """Mean validation loss; the first worker's word counts, so that all stop together."""
    network.eval()
    with torch.no_grad():
        value = loss(network(validation[0]), validation[1], validation[1]) / loss.workers
    if loss.workers > 1:
        torch.distributed.broadcast(value, 0)
    return float(value)


def _arrays(network: nn.Sequential) -> dict[str, NDArray[np.float32]]:
    first, second, last = (network[i] for i in (0, 3, 6))
    names = {"projection": first.weight.T, "bias": first.bias, "hidden_weight": second.weight.T, "hidden_bias": second.bias}
    names |= {"out_weight": last.weight.T, "out_bias": last.bias}
    return {name: tensor.detach().numpy().copy() for name, tensor in names.items()}


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seeded dropout and deterministic kernels within; the process is as before after it."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


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
    before = torch.get_num_threads()
    torch.set_num_threads(config["threads"])
    try:
        return [fit_mlp(problem, options, config["seed"]) for problem in problems]
    finally:
        torch.set_num_threads(before)


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

        config["problems"] = ray.put(problems)
        scaling = ScalingConfig(num_workers=options.workers, resources_per_worker={"CPU": threads})
        trainer = TorchTrainer(
            train_loop, train_loop_config=config, scaling_config=scaling, run_config=RunConfig(storage_path=storage)
        )
    else:
        trainer = TorchTrainer(train_loop, train_loop_config=config, scaling_config=ScalingConfig(num_workers=0))
    found: list[MLPFit] = trainer.fit().return_value
    return found
