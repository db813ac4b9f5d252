"""A ReLU network of a few hundred or thousand numbers, in NumPy: a step takes microseconds, and no library has to be imported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from branches.heads.config import SmallMLPOptions

Matrix = NDArray[np.float64]
FIRST_BETA, SECOND_BETA, EPSILON = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True, eq=False)
class Rows:
    """What a network learns from, or is watched on.

    Attributes:
        inputs: (n, d) standardised.
        targets: (n, D) standardised, nothing missing.
    """

    inputs: Matrix
    targets: Matrix


@dataclass(frozen=True, eq=False)
class ReluFit:
    """A trained network.

    Attributes:
        arrays: `dense0_weight` (d, H), `dense0_bias` (H,), `dense1_weight`, ... the last layer's outputs are D.
        step: The step that was kept.
        losses: (L,) mean squared error on the watched rows at every look; empty without such rows.
    """

    arrays: dict[str, NDArray]
    step: int
    losses: Matrix


class _Layers:
    """Weights and biases as views into one vector, so that an optimiser's step is one expression."""

    def __init__(self, widths: Sequence[int]) -> None:
        shapes = [shape for a, b in pairwise(widths) for shape in ((a, b), (b,))]
        edges = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        self.flat: Matrix = np.zeros(edges[-1])
        views = [self.flat[edges[i] : edges[i + 1]].reshape(shape) for i, shape in enumerate(shapes)]
        self.weights, self.biases = views[::2], views[1::2]


def parameter_count(widths: Sequence[int]) -> int:
    """Weights and biases of a network of these widths, inputs and outputs included: 257 for 6-16-8-1."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def relu_forward(arrays: dict[str, NDArray], x: NDArray) -> Matrix:
    """(n, D) outputs of a stored network for (n, d) rows."""
    depth = sum(name.startswith("dense") for name in arrays) // 2
    out = np.asarray(x, np.float64)
    for layer in range(depth):
        out = out @ arrays[f"dense{layer}_weight"] + arrays[f"dense{layer}_bias"]
        if layer < depth - 1:
            out = np.maximum(out, 0.0)
    return out


def planned_steps(n: int, options: SmallMLPOptions) -> int:
    """Steps of a fit on n rows."""
    return min(options.steps, options.epochs * -(-n // options.batch_size))


def fit_relu(
    train: Rows, watched: Rows | None, options: SmallMLPOptions, seed: int, planned: int, stop: int | None = None
) -> ReluFit:
    """Least squares by AdamW (Loshchilov and Hutter 2019) with a learning rate that falls linearly to 0.

    With watched rows, the best of the steps at which they were looked at is kept; without, the last one.

    Args:
        train: At least one row.
        watched: Rows that choose when to stop; never rows of the test.
        options: Network and schedule.
        seed: Of the first weights and of the order of rows.
        planned: Steps in which the learning rate falls to 0.
        stop: Steps to take; None = all that are planned.
    """
    rng = np.random.default_rng(seed)
    layers, gradients = _start(train, options, rng)
    mean, square = np.zeros_like(layers.flat), np.zeros_like(layers.flat)
    losses: list[float] = []
    kept, kept_step, step, stop = layers.flat.copy(), 0, 0, planned if stop is None else stop
    for batch in _batches(len(train.inputs), options.batch_size, stop, rng):
        _backward(layers, gradients, train.inputs[batch], train.targets[batch])
        rate = options.learning_rate * (1 - step / planned)
        step += 1
        mean += (1 - FIRST_BETA) * (gradients.flat - mean)
        square += (1 - SECOND_BETA) * (gradients.flat**2 - square)
        root = np.sqrt(square / (1 - SECOND_BETA**step)) + EPSILON
        layers.flat *= 1 - rate * options.weight_decay
        layers.flat -= rate / (1 - FIRST_BETA**step) * mean / root
        if watched is None:
            continue
        if step % options.evaluate_every == 0 or step == planned:
            losses.append(float(np.mean((relu_forward(_arrays(layers), watched.inputs) - watched.targets) ** 2)))
            if losses[-1] <= min(losses):
                kept, kept_step = layers.flat.copy(), step
    if losses:
        layers.flat[:] = kept
    return ReluFit(_arrays(layers), kept_step if losses else step, np.array(losses))


def choose_steps(
    rows: Rows, folds: NDArray[np.int64], options: SmallMLPOptions, seed: int, planned: int
) -> tuple[int, float | None]:
    """The number of steps of the least squared error on left-out rows, and that mean error.

    Args:
        rows: Of train.
        folds: (n,) codes of what is left out together; with less than two of them all planned steps are taken.
        options: Network and schedule.
        seed: As in `fit_relu`.
        planned: As in `fit_relu`.
    """
    codes = np.unique(folds)
    if len(codes) < 2:
        return planned, None
    errors: Matrix | float = 0.0
    for code in codes:
        inside = folds != code
        part, left = Rows(rows.inputs[inside], rows.targets[inside]), Rows(rows.inputs[~inside], rows.targets[~inside])
        errors = errors + fit_relu(part, left, options, seed, planned).losses * len(left.inputs)
    best = int(np.argmin(np.nan_to_num(errors, nan=np.inf)))
    return min((best + 1) * options.evaluate_every, planned), float(np.asarray(errors)[best] / len(rows.inputs))


def _start(train: Rows, options: SmallMLPOptions, rng: np.random.Generator) -> tuple[_Layers, _Layers]:
    """First weights (He et al. 2015 for the hidden layers) and room for their gradients."""
    widths = (train.inputs.shape[1], *options.hidden, train.targets.shape[1])
    layers = _Layers(widths)
    for i, weight in enumerate(layers.weights):
        gain = 2.0 if i < len(layers.weights) - 1 else 1.0
        weight[:] = rng.normal(0.0, np.sqrt(gain / max(weight.shape[0], 1)), weight.shape)
    return layers, _Layers(widths)


def _batches(n: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """So many batches; every row once before any row again."""
    done = 0
    while done < steps:
        order = rng.permutation(n)
        for start in range(0, n, size):
            if done == steps:
                return
            done += 1
            yield order[start : start + size]


def _backward(layers: _Layers, gradients: _Layers, x: Matrix, y: Matrix) -> None:
    """Put the gradient of the mean squared error into `gradients`."""
    outputs = [x]
    last = len(layers.weights) - 1
    for i, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        out = outputs[-1] @ weight
        out += bias
        outputs.append(out if i == last else np.maximum(out, 0.0, out=out))
    error = (outputs[-1] - y) * (2.0 / y.size)
    for i in range(last, -1, -1):
        np.matmul(outputs[i].T, error, out=gradients.weights[i])
        error.sum(axis=0, out=gradients.biases[i])
        if i:
            error = (error @ layers.weights[i].T) * (outputs[i] > 0)


def _arrays(layers: _Layers) -> dict[str, NDArray]:
    named: dict[str, NDArray] = {}
    for i, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        named |= {f"dense{i}_weight": weight.copy(), f"dense{i}_bias": bias.copy()}
    return named
