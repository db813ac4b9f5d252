"""The published suite's own metrics on arrays of one recording: what the single-episode figures are defined by.

They stand apart from `harness.metrics`, whose definitions rank; here the last digit counts, so float32 stays float32.
"""

from collections.abc import Sequence
from math import fsum

import numpy as np
from numpy.typing import NDArray

Figures = dict[str, float]


def of_classes(true: Sequence[str], predicted: Sequence[str]) -> Figures:
    """`accuracy`; `balanced_accuracy`, `macro_f1` and `weighted_f1` over the classes that are true somewhere."""
    t, p = np.asarray(true, np.str_), np.asarray(predicted, np.str_)
    recall, f1, support = [], [], []
    for label in np.unique(t):
        hits, wrong, missed = _counts(t == label, p == label)
        recall.append(hits / (hits + missed))
        f1.append(_f1(hits, wrong, missed))
        support.append(hits + missed)
    return {
        "accuracy": float(np.mean(t == p)),
        "balanced_accuracy": fsum(recall) / len(recall),
        "macro_f1": fsum(f1) / len(f1),
        "weighted_f1": float(np.average(f1, weights=support)),
    }


def of_pairs(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Figures:
    """A yes-no question: counts, `precision`, `recall`, `f1` of yes, `accuracy`, and how often yes is true and said."""
    hits, wrong, missed = _counts(true, predicted)
    right = int((~true & ~predicted).sum())
    return {
        "tp": hits,
        "tn": right,
        "fp": wrong,
        "fn": missed,
        "accuracy": (hits + right) / len(true),
        "precision": hits / (hits + wrong) if hits + wrong else 0.0,
        "recall": hits / (hits + missed) if hits + missed else 0.0,
        "f1": _f1(hits, wrong, missed),
        "positive_rate_true": float(true.mean()),
        "positive_rate_pred": float(predicted.mean()),
    }


def of_sets(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Figures:
    """(n, K) sets: `micro_f1`, `precision`, `recall`, `exact_match`; `macro_f1` over the whole vocabulary."""
    hits, wrong, missed = _counts(true, predicted)
    by_word = [_f1(*_counts(true[:, k], predicted[:, k])) for k in range(true.shape[1])]
    return {
        "micro_f1": _f1(hits, wrong, missed),
        "macro_f1": float(np.mean(by_word)),
        "exact_match": float((true == predicted).all(axis=1).mean()),
        "precision": hits / (hits + wrong) if hits + wrong else 0.0,
        "recall": hits / (hits + missed) if hits + missed else 0.0,
    }


def of_hands(true: NDArray[np.float32], predicted: NDArray[np.float32], frames: int) -> Figures:
    """(n, frames x joints x 3) metres: `mse`, `mae`, `mpjpe`, `final_frame_mpjpe`, and `r2` about the mean of the test rows."""
    shape = (len(true), frames, -1, 3)
    distance = np.linalg.norm(predicted.reshape(shape) - true.reshape(shape), axis=-1)
    error = float(((true - predicted) ** 2).sum())
    spread = float(((true - true.mean(axis=0)) ** 2).sum())
    return {
        "mse": float(((true - predicted) ** 2).mean()),
        "mae": float(np.abs(true - predicted).mean()),
        "r2": 1.0 - error / spread if spread > 0 else float("nan"),
        "mpjpe": float(distance.mean()),
        "final_frame_mpjpe": float(distance[:, -1].mean()),
    }


def of_ranks(query: NDArray[np.float32], key: NDArray[np.float32]) -> Figures:
    """(n, E) vectors, each query's key being its own row: ranks by cosine, ties broken by the sort."""
    similar = _unit(query) @ _unit(key).T
    order = np.argsort(-similar, axis=1)
    rank = np.argmax(order == np.arange(len(order))[:, None], axis=1) + 1
    return {
        "mrr": float((1.0 / rank).mean()),
        "median_rank": float(np.median(rank)),
        "mean_rank": float(rank.mean()),
        "top1_accuracy": float((rank <= 1).mean()),
        "top5_accuracy": float((rank <= 5).mean()),
        "top10_accuracy": float((rank <= 10).mean()),
        "num_queries": len(rank),
    }


def of_boundaries(claims: NDArray[np.int64], changes: NDArray[np.int64], tolerance: int) -> Figures:
    """Frames claimed against frames of change, matched greedily one to one in order of the claims."""
    free, errors = list(changes.tolist()), []
    for claim in claims.tolist():
        near = [change for change in free if abs(change - claim) <= tolerance]
        if near:
            taken = min(near, key=lambda change: abs(change - claim))
            free.remove(taken)
            errors.append(abs(taken - claim))
    matched = len(errors)
    precision = matched / len(claims) if len(claims) else 0.0
    recall = matched / len(changes) if len(changes) else 0.0
    return {
        "boundary_precision": precision,
        "boundary_recall": recall,
        "boundary_f1": 2 * precision * recall / (precision + recall) if matched else 0.0,
        "matched_boundaries": matched,
        "true_boundaries": len(changes),
        "predicted_boundaries": len(claims),
        "mean_abs_timing_error_frames": float(np.mean(errors)) if errors else float("nan"),
    }


def _counts(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[int, int, int]:
    return int((true & predicted).sum()), int((~true & predicted).sum()), int((true & ~predicted).sum())


def _f1(hits: int, wrong: int, missed: int) -> float:
    precision = hits / (hits + wrong) if hits + wrong else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
