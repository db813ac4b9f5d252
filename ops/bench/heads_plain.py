"""The published heads written plainly, task by task (NumPy gradient steps, dual ridge, a PyTorch minibatch loop), and scores."""

from typing import Any

import numpy as np
import torch
from heads_simulation import BenchTask
from numpy.typing import NDArray
from torch import nn

from harness.answers import Predictions, Targets, recode_sets

Views = dict[str, list[NDArray[np.float32]]]
Truth = dict[str, Targets]


def minimal(task: BenchTask, views: Views, truth: Truth, epochs: int) -> Any:
    """The published minimal head of a task: softmax or multi-label gradient descent, or dual ridge."""
    train, test = inputs(task, views)
    del epochs
    if task.answer == "retrieval":
        # The caption task maps the sensors to the text; the others the query to the key.
        source, goal = (1, 0) if task.id == "caption_grounding" else (0, 1)
        x, tx = standardise(views["train"][source], views["test"][source])
        y, ty = standardise(views["train"][goal], views["test"][goal])
        mapped = ridge(x, tx, y, bias=task.early)
        return (ty, mapped) if source else (mapped, ty)
    x, tx = standardise(train, test)
    if task.answer == "vector":
        assert truth["train"].values is not None
        mean, std = moments(truth["train"].values)
        return ridge(x, tx, (truth["train"].values - mean) / std, bias=task.early) * std + mean
    if task.answer == "label_set":
        return multilabel(x, tx, truth["train"].label_sets)
    return softmax_head(x, tx, words_of(truth["train"]), task.steps)


def inputs(task: BenchTask, views: Views) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[a, b, b - a] of two windows of the same blocks, [a, b] of different ones, or the one view."""
    parts = {}
    for part, found in views.items():
        pair = task.starts.shape[1] == 2
        more = [found[1] - found[0]] if pair and len(task.views) == 1 else []
        parts[part] = np.concatenate([*found, *more], axis=1) if pair else found[0]
    return parts["train"], parts["test"]


def moments(x: NDArray) -> tuple[NDArray, NDArray]:
    """Mean and standard deviation (1 below 1e-6) of the columns."""
    std = x.std(axis=0)
    return x.mean(axis=0), np.where(std < 1e-6, 1, std)


def standardise(train: NDArray, test: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both by the moments of train."""
    mean, std = moments(train)
    return ((train - mean) / std).astype(np.float32), ((test - mean) / std).astype(np.float32)


def words_of(targets: Targets) -> NDArray[np.str_]:
    """(n,) labels as words."""
    assert targets.labels is not None
    return np.array(targets.vocabulary)[targets.labels]


def softmax_head(x: NDArray, tx: NDArray, labels: NDArray[np.str_], steps: int) -> NDArray[np.str_]:
    """Full-batch gradient descent on the balanced softmax loss."""
    classes, codes = np.unique(labels, return_inverse=True)
    counts = np.bincount(codes)
    weight = (len(codes) / (len(classes) * counts))[codes][:, None].astype(np.float32)
    weights = np.random.default_rng(7).normal(0, 0.01, (x.shape[1], len(classes))).astype(np.float32)
    bias = np.zeros(len(classes), np.float32)
    onehot = np.eye(len(classes), dtype=np.float32)[codes]
    for _ in range(steps):
        scores = x @ weights + bias
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = (scores / scores.sum(axis=1, keepdims=True) - onehot) * weight / len(x)
        weights -= 0.12 * (x.T @ error + 2e-3 * weights)
        bias -= 0.12 * error.sum(axis=0)
    return classes[(tx @ weights + bias).argmax(axis=1)]


def multilabel(x: NDArray, tx: NDArray, sets: NDArray | None) -> NDArray[np.bool_]:
    """Full-batch gradient descent on the weighted logistic loss of every label."""
    assert sets is not None
    y = sets.astype(np.float32)
    positive = y.sum(axis=0)
    ratio = np.clip((len(y) - positive) / np.maximum(positive, 1), 1, 20)
    weights = np.random.default_rng(7).normal(0, 0.01, (x.shape[1], y.shape[1])).astype(np.float32)
    bias = np.zeros(y.shape[1], np.float32)
    for _ in range(400):
        chance = 1 / (1 + np.exp(-np.clip(x @ weights + bias, -30, 30)))
        error = (chance - y) * np.where(y > 0, ratio, 1).astype(np.float32) / len(x)
        weights -= 0.05 * (x.T @ error + 2e-3 * weights)
        bias -= 0.05 * error.sum(axis=0)
    return threshold(tx @ weights + bias)


def threshold(scores: NDArray) -> NDArray[np.bool_]:
    """Labels of more than even odds, at least one."""
    chosen = scores > 0
    chosen[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return np.asarray(chosen, bool)


def ridge(x: NDArray, tx: NDArray, y: NDArray, bias: bool) -> NDArray:
    """Dual ridge with penalty 10."""
    if bias:
        x, tx = (np.concatenate([m, np.ones((len(m), 1), m.dtype)], axis=1) for m in (x, tx))
    dual = np.linalg.solve(x @ x.T + 10.0 * np.eye(len(x), dtype=x.dtype), y)
    return np.asarray(tx @ (x.T @ dual))


def network(task: BenchTask, views: Views, truth: Truth, epochs: int) -> Any:
    """The published MLP, a minibatch loop per task."""
    train, test = inputs(task, views)
    source, goal = (1, 0) if task.id == "caption_grounding" else (0, 1)
    if task.answer == "retrieval":
        train, test = views["train"][source], views["test"][source]
    x, tx = standardise(train, test)
    if task.answer == "label":
        classes, codes = np.unique(words_of(truth["train"]), return_inverse=True)
        weight = torch.tensor(len(codes) / (len(classes) * np.bincount(codes)), dtype=torch.float32)
        loss: nn.Module = nn.CrossEntropyLoss(weight=weight)
        return classes[fit(x, tx, torch.from_numpy(codes), len(classes), loss, epochs).argmax(axis=1)]
    if task.answer == "label_set":
        assert truth["train"].label_sets is not None
        y = truth["train"].label_sets.astype(np.float32)
        ratio = np.clip((len(y) - y.sum(axis=0)) / np.maximum(y.sum(axis=0), 1), 1, 20)
        loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(ratio, dtype=torch.float32))
        return threshold(fit(x, tx, torch.from_numpy(y), y.shape[1], loss, epochs))
    if task.answer == "retrieval":
        y, ty = standardise(views["train"][goal], views["test"][goal])
        mapped = fit(x, tx, torch.from_numpy(y), y.shape[1], nn.MSELoss(), epochs)
        return (ty, mapped) if source else (mapped, ty)
    assert truth["train"].values is not None
    mean, std = moments(truth["train"].values)
    y = ((truth["train"].values - mean) / std).astype(np.float32)
    return fit(x, tx, torch.from_numpy(y), y.shape[1], nn.MSELoss(), epochs) * std + mean


def fit(x: NDArray, tx: NDArray, y: torch.Tensor, outputs: int, loss: nn.Module, epochs: int) -> NDArray:
    """Train on (x, y), answer tx."""
    torch.manual_seed(7)
    model = nn.Sequential(
        nn.LayerNorm(x.shape[1]),
        nn.Linear(x.shape[1], 128),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(128, 128),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(128, outputs),
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    rows = torch.from_numpy(x)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), 128):
            batch = order[start : start + 128]
            optimiser.zero_grad()
            loss(model(rows[batch]), y[batch]).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        return np.asarray(model(torch.from_numpy(tx)).numpy())


def in_words(task: BenchTask, answers: list[Predictions], valid: NDArray[np.bool_]) -> Any:
    """The answers of valid rows as `score` takes them; labels become words, sets stand over the task's whole vocabulary."""
    first = answers[0]
    if task.answer == "label":
        assert first.labels is not None
        return np.array(first.vocabulary)[first.labels][valid]
    if task.answer == "label_set":
        assert first.label_sets is not None
        return recode_sets(first.label_sets, first.vocabulary, task.truth.vocabulary)[valid]
    vectors = [answer.values[valid] for answer in answers if answer.values is not None]
    return (vectors[0], vectors[1]) if task.answer == "retrieval" else vectors[0]


def score(task: BenchTask, answer: Any, truth: Targets) -> float:
    """More is better."""
    if task.answer == "label":
        true = words_of(truth)
        hits = [((answer == c) & (true == c)).sum() / ((answer == c).sum() + (true == c).sum()) for c in np.unique(true)]
        return float(2 * np.mean(hits))
    if task.answer == "label_set":
        assert truth.label_sets is not None
        return float(2 * (answer & truth.label_sets).sum() / (answer.sum() + truth.label_sets.sum()))
    if task.answer == "retrieval":
        return reciprocal_rank(*answer)
    assert truth.values is not None
    error = answer - truth.values
    if task.score == "R2":
        return float(1 - (error**2).sum() / ((truth.values - truth.values.mean(axis=0)) ** 2).sum())
    if task.score == "-MPJPE":
        return -float(np.linalg.norm(error.reshape(len(error), -1, 3), axis=2).mean())
    return -float(np.abs(error).mean())


def reciprocal_rank(query: NDArray, key: NDArray) -> float:
    """Mean reciprocal rank of a row's own key by cosine, ties averaged."""
    query, key = (m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in (query, key))
    similar = query @ key.T
    own = np.diag(similar)[:, None]
    rank = 1 + (similar > own).sum(axis=1) + ((similar == own).sum(axis=1) - 1) / 2
    return float((1 / rank).mean())
