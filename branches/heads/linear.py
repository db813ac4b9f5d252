"""Fits one linear head per task, in rotated coordinates: logistic for labels, ridge for everything else."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from branches.heads.config import RidgeOptions
from branches.heads.gather import Table, TaskRows
from branches.heads.logistic import LogisticFit, choose_penalty, descend_logistic, fit_logistic, fold_of
from branches.heads.pairs import fit_cross_prediction
from branches.heads.prepare import FittedHead, Prepared
from branches.heads.retrieval import fit_meeting_space
from branches.heads.ridge import Factors, ReadRows, RidgeProblem, factorise, inner_groups, ridge_problem
from branches.heads.scaler import SMALLEST_STD
from harness.episode import BoolArray

SHARES = np.linspace(1, 0, 6)
THRESHOLDS = np.linspace(0.02, 0.98, 49)
Matrix = NDArray[np.float64]


@dataclass(eq=False)
class LinearFitter:
    """Fits the heads of one table; a factorisation serves all tasks with the same valid rows.

    Attributes:
        table: Targets and who they are of.
        prepared: Role -> coordinates.
        options: Penalties.
    """

    table: Table
    prepared: dict[str, Prepared]
    options: RidgeOptions
    _factors: dict[bytes, Factors] = field(default_factory=dict)

    def labels(self, rows: TaskRows) -> FittedHead:
        """Balanced multinomial logistic regression; for pairs also on how well one view predicts the other."""
        assert rows.labels is not None
        keep = rows.valid & self.table.usable
        groups, unit = self._groups(keep)
        index = np.flatnonzero(keep)
        codes, n_classes = rows.labels[index], len(rows.vocabulary)
        z = self.prepared[""].coordinates.read(index)  # float32: an iterative fit holds its rows in memory
        rank = z.shape[1]
        cross = self._cross_prediction(rows.labels, keep, groups)
        if cross is not None:
            # Each view of an aligned pair is also a view of a shifted one: side by side, different blocks say nothing.
            z *= self.table.layouts[""].alike
            z = np.concatenate([z, cross.details.pop("evidence")[index].astype(np.float32)], axis=1)
        folds = fold_of(groups, keep, self.options.inner_folds)[index]
        fit, found = self._logistic(z, codes, n_classes, folds)
        details: dict[str, Any] = {"inner_groups": unit, "cross_prediction": cross is not None, **found}
        weights = fit.weights
        arrays = {"projection": weights[:rank], "bias": fit.intercept}
        if cross is not None:
            cross.arrays["cross_projection"] = cross.arrays["cross_scale"][:, None] * weights[rank:]
            arrays |= cross.arrays
        return FittedHead(arrays, details)

    def _logistic(
        self, z: NDArray[np.float32], codes: NDArray, n_classes: int, folds: NDArray
    ) -> tuple[LogisticFit, dict[str, Any]]:
        """The fit of rows in their own scale, and what to say of it; a penalty is chosen on rows of mean squared norm 1."""
        penalty, steps = self.options.logistic_penalty, self.options.logistic_steps
        if steps is not None:
            assert penalty is not None  # `Ridge` refuses it
            fit = descend_logistic(z, codes, n_classes, penalty, steps, self.options.logistic_rate)
            return fit, {"penalty": penalty, "gradient_steps": steps}
        details: dict[str, Any] = {}
        norm = float(np.sqrt(max(np.einsum("ij,ij->i", z, z).mean(), np.finfo(np.float32).tiny)))
        z = z / np.float32(norm)
        if penalty is None:
            some = np.linspace(0, len(codes) - 1, min(len(codes), self.options.selection_rows)).round().astype(np.int64)
            chosen, details["loss"] = choose_penalty(z[some], codes[some], n_classes, folds[some])
        else:
            chosen = penalty / norm**2
        fit = fit_logistic(z, codes, n_classes, chosen)
        return LogisticFit(fit.weights / norm, fit.intercept), {"penalty": chosen, **details}

    def label_sets(self, rows: TaskRows) -> FittedHead:
        """Ridge on 0 and 1, and the threshold of the best micro-F1 on left-out rows."""
        assert rows.label_sets is not None
        sets = rows.label_sets
        keep = rows.valid & self.table.usable
        groups, unit = self._groups(keep)
        problem = self._problem(keep, lambda index: sets[index].astype(np.float64))
        penalty, details = self._penalty(problem, groups)
        weights, bias = problem.solve(penalty)
        scores = problem.left_out_predictions(groups, penalty)[keep]
        threshold, score = best_threshold(scores, sets[keep])
        arrays = {"projection": weights, "bias": bias, "threshold": np.array(threshold)}
        return FittedHead(arrays, {"inner_groups": unit, "threshold": threshold, "left_out_micro_f1": score, **details})

    def vectors(self, rows: TaskRows) -> FittedHead:
        """Ridge on standardised targets, one penalty for all; a target that was not measured stands at its train mean."""
        keep, mean, std, problem = self._vector_problem(rows)
        groups, unit = self._groups(keep)
        if self.options.penalty is not None:
            weights, bias = problem.solve_one(self.options.penalty)
            arrays = {"projection": weights, "bias": bias, "target_mean": mean, "target_std": std}
            return FittedHead(arrays, {"inner_groups": unit, "penalty": self.options.penalty})
        penalty, details = self._penalty(problem, groups)
        weights, bias = problem.solve(penalty)
        arrays = {"projection": weights, "bias": bias, "target_mean": mean, "target_std": std}
        if rows.future:
            pairs = (
                (rows.read_values(index)[keep[index]], (found * std + mean)[keep[index]])
                for index, found in problem.left_out_groups(groups, penalty)
            )
            share = trust(pairs, len(mean))
            arrays |= {"target_mean": mean * share, "target_std": std * share}
            details["trust"] = float(share.mean())
        return FittedHead(arrays, {"inner_groups": unit, **details})

    def least_squares(self, rows: TaskRows) -> FittedHead:
        """Linear regression without a penalty; of several solutions the shortest one."""
        _, mean, std, problem = self._vector_problem(rows)
        weights, bias = problem.solve_least_squares()
        return FittedHead({"projection": weights, "bias": bias, "target_mean": mean, "target_std": std})

    def _vector_problem(self, rows: TaskRows) -> tuple[BoolArray, Matrix, Matrix, RidgeProblem]:
        """(n,) rows that take part, (D,) mean and (D,) standard deviation of their targets, and the problem in that scale."""
        keep = rows.valid & self.table.usable
        mean, std = rows.moments(keep)
        return keep, mean, std, self._problem(keep, lambda index: np.nan_to_num((rows.read_values(index) - mean) / std, nan=0.0))

    def retrieval(self, rows: TaskRows) -> dict[str, FittedHead]:
        """Query and key are each mapped into the other's space by ridge; see `branches.heads.retrieval`."""
        keep = rows.valid & self.table.usable
        groups, unit = self._groups(keep)
        query, key = self.prepared["query"], self.prepared["key"]
        options = (self.table, keep, groups, self.options.key_dims, self.options.penalty)
        forward, back = fit_meeting_space(query, key, *options), fit_meeting_space(key, query, *options)
        return {
            "query": FittedHead(_side_by_side(forward.source_map(), back.goal_map()), {"inner_groups": unit, **forward.details}),
            "key": FittedHead(_side_by_side(forward.goal_map(), back.source_map()), back.details),
        }

    def _groups(self, keep: BoolArray) -> tuple[NDArray[np.int64], str]:
        return inner_groups(self.table.cluster, self.table.episode, keep, self.options.inner_folds)

    def _problem(self, keep: BoolArray, targets: ReadRows) -> RidgeProblem:
        read = self.prepared[""].read
        cached = keep.tobytes()
        if cached not in self._factors:
            self._factors[cached] = factorise(read, keep.astype(np.float64))
        return ridge_problem(self._factors[cached], read, targets)

    def _penalty(self, problem: RidgeProblem, groups: NDArray[np.int64]) -> tuple[Matrix, dict[str, float]]:
        """(D,) the penalty of the least left-out squared error over all targets, and what to say of it."""
        width, weight = len(problem.target_mean), problem.factors.total
        if self.options.penalty is not None:
            return np.full(width, self.options.penalty), {"penalty": self.options.penalty}
        grid = problem.factors.grid()
        errors = problem.left_out_errors(groups, grid).sum(axis=1)
        best = int(errors.argmin())
        return np.full(width, grid[best]), {"penalty": float(grid[best]), "left_out_mse": float(errors[best] / weight / width)}

    def _cross_prediction(self, labels: NDArray[np.int32], keep: BoolArray, groups: NDArray[np.int64]) -> FittedHead | None:
        """How well the first view predicts the second: the maps, and the standardised `evidence` of the training pairs."""
        layout = self.table.layouts[""]
        if not self.options.cross_prediction or len(layout.views) != 2:
            return None
        found = fit_cross_prediction(self.prepared[""].rows, layout, labels, keep, groups, self.options)
        if found is None:
            return None
        maps, ratios = found
        mean, std = ratios[keep].mean(axis=0), ratios[keep].std(axis=0)
        # Together as much variance as all features: see `branches.heads.scaler.balance`.
        scale = np.sqrt(layout.features / len(mean)) / np.where(std < SMALLEST_STD, 1.0, std)
        arrays = {f"cross_{name}": array for name, array in maps.arrays().items()}
        return FittedHead(arrays | {"cross_offset": mean, "cross_scale": scale}, {"evidence": (ratios - mean) * scale})


def trust(pairs: Iterable[tuple[NDArray, NDArray]], width: int) -> Matrix:
    """(D,) the share of a forecast's difference to persistence that has the least absolute error on rows it was not fitted on.

    Squared errors, which heads minimise, ask for a step wherever one is likely on average; tasks measure distances, by which it
    is better to stay where nothing moves most of the time.

    Args:
        pairs: (m, D) true differences, NaN where not measured, and (m, D) forecast ones.
        width: D.
    """
    errors = np.zeros((len(SHARES), width))
    for truth, forecast in pairs:
        for i, share in enumerate(SHARES):
            errors[i] += np.nansum(np.abs(truth - share * forecast), axis=0)
    return np.asarray(SHARES[errors.argmin(axis=0)])


def best_threshold(scores: Matrix, truth: BoolArray) -> tuple[float, float]:
    """The threshold of the highest micro-F1 where every row answers at least its best label, and that micro-F1.

    Args:
        scores: (n, K).
        truth: (n, K).
    """
    best = np.zeros(truth.shape, bool)
    best[np.arange(len(scores)), scores.argmax(axis=1)] = True
    answers = ((scores > threshold) | best for threshold in THRESHOLDS)
    f1 = np.array([2 * (truth & chosen).sum() / max(truth.sum() + chosen.sum(), 1) for chosen in answers])
    return float(THRESHOLDS[f1.argmax()]), float(f1.max())


def _side_by_side(one: tuple[Matrix, Matrix], other: tuple[Matrix, Matrix]) -> dict[str, NDArray]:
    """Two linear maps of the same rows as one."""
    return {"projection": np.concatenate([one[0], other[0]], axis=1), "bias": np.concatenate([one[1], other[1]])}
