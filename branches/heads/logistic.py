"""Multinomial logistic regression with balanced classes, in rotated coordinates: by L-BFGS or by so many gradient steps."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

PENALTIES = np.logspace(0, -5, 6)  # of rows with a mean squared norm of 1; strongest first, each start is the solution before
TOLERANCE = 1e-5  # largest entry of the gradient, in the search's own coordinates
SELECTION_TOLERANCE = 1e-3
MAX_STEPS = 200


@dataclass(frozen=True, eq=False)
class LogisticFit:
    """Scores are z @ weights + intercept; classes without a training row score -inf.

    Attributes:
        weights: (r, K).
        intercept: (K,).
    """

    weights: Matrix
    intercept: Matrix

    def scores(self, z: NDArray) -> Matrix:
        """(m, K) logits."""
        return np.asarray(z @ self.weights + self.intercept)


def balanced_weights(codes: NDArray, n_classes: int) -> Matrix:
    """(n,) weights that give every class the same total, summing to n."""
    counts = np.bincount(codes, minlength=n_classes)
    return np.asarray(len(codes) / (np.count_nonzero(counts) * counts[codes]))


def fit_logistic(
    z: NDArray, codes: NDArray, n_classes: int, penalty: float, start: LogisticFit | None = None, tolerance: float = TOLERANCE
) -> LogisticFit:
    """Minimise the balanced mean cross-entropy + penalty / 2 |weights|^2.

    Args:
        z: (n, r) rows; float32 rows halve the time and are exact enough to choose a penalty.
        codes: (n,) in [0, n_classes).
        n_classes: K.
        penalty: On the weights, not on the intercept.
        start: Where to begin; its classes are the same.
        tolerance: Largest entry of the gradient at the end.
    """
    present = np.unique(codes)
    position = np.zeros(n_classes, np.int64)
    position[present] = np.arange(len(present))
    weight = (balanced_weights(codes, n_classes) / len(codes)).astype(z.dtype)
    onehot = np.zeros((len(codes), len(present)), z.dtype)
    onehot[np.arange(len(codes)), position[codes]] = 1.0
    # Rotated columns are nearly uncorrelated, so the diagonal of the curvature's bound makes all directions alike.
    spread = np.concatenate([np.sqrt(0.5 * (weight @ z**2) + penalty), [np.sqrt(0.5)]])[:, None].astype(np.float64)

    def objective(flat: Matrix) -> tuple[float, Matrix]:
        theta = flat.reshape(spread.shape[0], -1) / spread
        scores = z @ theta[:-1].astype(z.dtype)
        scores += theta[-1].astype(z.dtype)
        scores -= scores.max(axis=1, keepdims=True)
        picked = (scores * onehot).sum(axis=1)
        np.exp(scores, out=scores)
        mass = scores.sum(axis=1, keepdims=True)
        loss = float(weight @ (np.log(mass[:, 0]) - picked)) + 0.5 * penalty * float((theta[:-1] ** 2).sum())
        scores /= mass
        scores -= onehot
        scores *= weight[:, None]
        gradient = np.concatenate([z.T @ scores + penalty * theta[:-1], scores.sum(axis=0, keepdims=True)])
        return loss, (gradient / spread).ravel()

    first = np.zeros((spread.shape[0], len(present)))
    if start is not None:
        first = np.concatenate([start.weights, start.intercept[None]])[:, present] * spread
    options = {"maxiter": MAX_STEPS, "gtol": tolerance, "maxcor": 10}
    found = scipy.optimize.minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    theta = found.x.reshape(first.shape) / spread
    weights, intercept = np.zeros((z.shape[1], n_classes)), np.full(n_classes, -np.inf)
    weights[:, present], intercept[present] = theta[:-1], theta[-1] - theta[-1].mean()
    return LogisticFit(weights, intercept)


def descend_logistic(z: NDArray, codes: NDArray, n_classes: int, penalty: float, steps: int, rate: float) -> LogisticFit:
    """Full-batch gradient steps from zero on the objective of `fit_logistic`, stopped after a fixed number (as published).

    Gradient steps that start at zero stay in the span of the rows, so a rotation of the columns changes nothing: these are the
    steps on all columns for the price of steps on at most n coordinates. Unlike a minimum they depend on the scale of the rows.

    Args:
        z: (n, r) rows in the scale in which the steps are meant.
        codes: (n,) in [0, n_classes).
        n_classes: K.
        penalty: On the weights, not on the intercept.
        steps: How many.
        rate: Learning rate.
    """
    present, position = np.unique(codes, return_inverse=True)
    rows = np.arange(len(codes))
    weight = (balanced_weights(codes, n_classes) / len(codes)).astype(z.dtype)[:, None]
    # The weights are z' @ dual throughout: one product with the rows' Gram matrix a step, and none with the rows.
    gram = z @ z.T
    dual, bias = np.zeros((len(codes), len(present)), z.dtype), np.zeros(len(present), z.dtype)
    for _ in range(steps):
        error = gram @ dual
        error += bias
        error -= error.max(axis=1, keepdims=True)
        np.exp(error, out=error)
        error /= error.sum(axis=1, keepdims=True)
        error[rows, position] -= 1
        error *= weight
        dual *= 1 - rate * penalty
        dual -= rate * error
        bias -= rate * error.sum(axis=0)
    weights, intercept = np.zeros((z.shape[1], n_classes)), np.full(n_classes, -np.inf)
    weights[:, present], intercept[present] = z.T @ dual, bias
    return LogisticFit(weights, intercept)


def choose_penalty(z: NDArray, codes: NDArray, n_classes: int, folds: NDArray) -> tuple[float, dict[str, float]]:
    """The penalty of the least balanced cross-entropy on held-out folds, and that loss of every penalty tried.

    The path goes from strong to weak, each fit starting at the one before, and ends where the loss has passed its minimum. Rows
    whose class the other folds lack count for no penalty; where no row counts, the strongest penalty is taken.

    Args:
        z: (n, r) rows, mean squared norm 1.
        codes: (n,).
        n_classes: K.
        folds: (n,) codes; at least two.
    """
    parts = [(folds != fold, (folds == fold) & np.isin(codes, codes[folds != fold])) for fold in np.unique(folds)]
    parts = [(train, test) for train, test in parts if test.any()]
    if not parts:
        return float(PENALTIES[0]), {}
    fits: list[LogisticFit | None] = [None] * len(parts)
    curve: dict[str, float] = {}
    for penalty in PENALTIES:
        loss, mass = 0.0, 0.0
        for i, (train, test) in enumerate(parts):
            fit = fit_logistic(z[train], codes[train], n_classes, float(penalty), fits[i], tolerance=SELECTION_TOLERANCE)
            fits[i] = fit
            weight = balanced_weights(codes[test], n_classes)
            log_p = scipy.special.log_softmax(fit.scores(z[test]), axis=1)
            loss -= float(weight @ log_p[np.arange(len(log_p)), codes[test]])
            mass += float(weight.sum())
        if curve and loss / mass > min(curve.values()):
            curve[f"{penalty:g}"] = loss / mass
            break
        curve[f"{penalty:g}"] = loss / mass
    return float(min(curve, key=lambda k: curve[k])), curve


def fold_of(groups: NDArray, keep: NDArray[np.bool_], folds: int) -> NDArray[np.int64]:
    """(n,) groups dealt into at most `folds` folds: the largest first, each to the smallest fold so far."""
    names, inverse, counts = np.unique(groups[keep], return_inverse=True, return_counts=True)
    sizes = np.zeros(min(folds, len(names)))
    fold = np.zeros(len(names), np.int64)
    for name in np.argsort(-counts, kind="stable"):
        fold[name] = int(sizes.argmin())
        sizes[fold[name]] += counts[name]
    out = np.full(len(groups), -1, np.int64)
    out[keep] = fold[inverse]
    return out
