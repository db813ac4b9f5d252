"""What all errors of vector answers share: the mask, the reference, and what a failed row costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets
from harness.episode import BoolArray
from harness.metrics.base import MetricContext, ratio


@dataclass(frozen=True, eq=False)
class VectorRows:
    """Truth and answers of one episode, ready to subtract.

    Attributes:
        truth: (n, D) float64, 0 where not measured.
        guess: (n, D) float64, 0 where not measured; the reference in failed rows.
        measured: (n, D) True where the truth is.
        answered: (n,) False where the status is not ok or any number of the answer is not finite.
    """

    truth: NDArray[np.float64]
    guess: NDArray[np.float64]
    measured: BoolArray
    answered: BoolArray


def vector_rows(targets: Targets, predictions: Predictions, context: MetricContext) -> VectorRows:
    """The rows of one episode; a failed row answers its reference.

    The reference is `targets.reference`, and the train mean where there is none or it is not finite.

    Raises:
        ValueError: The answers have another shape than the targets, or a measured target is not finite.
    """
    assert targets.values is not None and predictions.values is not None, "a regression metric needs values"
    if predictions.values.shape != targets.values.shape:
        raise ValueError(f"answers of shape {predictions.values.shape} to targets of shape {targets.values.shape}")
    whole = targets.mask is None
    # Where everything is measured the mask is one True seen through a shape: nothing is copied for its sake.
    measured = np.broadcast_to(np.True_, targets.values.shape) if targets.mask is None else targets.mask
    if not (np.isfinite(targets.values).all() if whole else np.isfinite(targets.values[measured]).all()):
        raise ValueError("a target is not finite where its mask says that it is measured")
    answered = predictions.ok & np.isfinite(predictions.values).all(axis=1)
    guess = predictions.values.astype(np.float64)
    if not answered.all():
        guess[~answered] = _reference(targets, context)[~answered]
    truth = targets.values.astype(np.float64)
    if not whole:
        truth, guess = np.where(measured, truth, 0.0), np.where(measured, guess, 0.0)
    return VectorRows(truth, guess, measured, answered)


def _reference(targets: Targets, context: MetricContext) -> NDArray[np.float64]:
    assert targets.values is not None, "a regression metric needs values"
    if targets.reference is not None and np.isfinite(targets.reference).all():
        return targets.reference.astype(np.float64)
    if context.train_mean.shape != targets.values.shape[1:]:
        raise ValueError("a failed row has neither a reference nor a train mean to cost")
    mean = np.broadcast_to(context.train_mean, targets.values.shape)
    return mean if targets.reference is None else np.where(np.isfinite(targets.reference), targets.reference, mean)


def _everywhere(measured: BoolArray) -> bool:
    """True where the mask is the one True of `vector_rows`; a real mask is not searched."""
    return measured.strides == (0, 0) and bool(measured.size) and bool(measured.flat[0])


def with_failure_cost(errors: NDArray[np.float64], measured: BoolArray, answered: BoolArray) -> NDArray[np.float64]:
    """(n, P) errors in which a failed row costs max(its reference's error, the branch's own mean error in this episode).

    The own mean is taken per column (horizon step, joint, dimension), so that the two errors of a row are over the same things.
    Where no answered row has a column, its mean is that of all columns.

    Args:
        errors: (n, P) errors of `VectorRows.guess`, that is of the reference in failed rows. Not negative.
        measured: (n, P) True where there is an error to count; elsewhere the result is 0.
        answered: (n,) as in `VectorRows`.
    """
    if not _everywhere(measured):
        errors = np.where(measured, errors, 0.0)
    if answered.all() or not answered.any():
        return errors
    own_sum, own_count = errors[answered].sum(axis=0), measured[answered].sum(axis=0)
    overall = own_sum.sum() / max(own_count.sum(), 1)
    own = measured[~answered] * np.where(own_count > 0, np.nan_to_num(ratio(own_sum, own_count)), overall)
    reference = errors[~answered]
    own_is_dearer = own.sum(axis=1) > reference.sum(axis=1)
    errors[~answered] = np.where(own_is_dearer[:, None], own, reference)
    return errors
