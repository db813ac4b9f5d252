"""A metric turns the rows of one episode into a small additive state; everything else is arithmetic on states.

States of one task all have the same length, so a table of branches x episodes is one array (B, G, S): shards merge by adding,
a jackknife is a sum with one row left out, and `value` takes any leading axes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import ClassVar, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.answers import Predictions, Targets, all_ok

State = NDArray[np.float64]
Details = dict[str, float | dict[str, float | None] | None]


@dataclass(frozen=True)
class MetricContext:
    """What a metric knows of a task before it sees a row; all of it comes from targets and the split.

    Attributes:
        classes: Every label that occurs in any target of the split, sorted: the axis of all class counts.
        seen: (C,) True where the label occurs in a training target of the fold.
        shape: Shape of one vector target.
        train_mean: (D,) mean of the training targets (measured entries).
        train_std: (D,) standard deviation of the training targets, 1 where it is below 1e-6.
        groups: Named groups of the last axis that are scored apart.
        usual: (C,) True for the label (label sets: the labels) that the train prior answers everywhere. A failed row is charged
            with it, so that failing is never better than answering it.
    """

    classes: tuple[str, ...] = ()
    seen: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    shape: tuple[int, ...] = ()
    train_mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    train_std: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    groups: dict[str, list[int]] = field(default_factory=dict)
    usual: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))


class Metric(ABC):
    """One ranked number of one task, with the secondary numbers that fall out of the same state.

    Attributes:
        name: As in tables.
        direction: Which way is better.
        margin: Difference that counts as none; None = two hundredths of the way from floor to ceiling.
        limits: What the value can be at least and at most; intervals end there.
        bounded: True where the value has a lower bound whatever a failed row might have said, see `lowest`; errors have none.
        plain: Name of the detail that says the same in the targets' own units, where the value is in others; its interval and
            its values by episode go beside it.
        mean_over_rows: True where the value is a mean over rows, so that the estimate is the mean over clusters and its interval
            a t interval; False where it is not (macro-F1, R2): value of the pooled state, interval by the jackknife.
    """

    name: ClassVar[str]
    direction: ClassVar[Literal["up", "down"]]
    mean_over_rows: ClassVar[bool]
    margin: ClassVar[float | None] = None
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    bounded: ClassVar[bool] = False
    plain: ClassVar[str] = ""

    def __init__(self, context: MetricContext) -> None:
        self.context = context

    @abstractmethod
    def state(self, targets: Targets, predictions: Predictions) -> State:
        """(S,) float64 of the rows of one episode: row i of `predictions` answers row i of `targets`, all rows valid.

        A failed row counts as the train prior's answer where that is wrong and as no answer where it is right (classes), or
        costs max(reference error, the branch's own mean error in this episode) (regression), so that failing never pays.
        """

    @abstractmethod
    def value(self, states: State) -> NDArray[np.float64]:
        """(...) values of states (..., S); NaN where undefined (no rows)."""

    def details(self, states: State) -> Details:
        """Secondary numbers of one (S,) state, by name; JSON values, None where undefined."""
        return {}

    def kept(self, targets: Targets, predictions: Predictions) -> NDArray[np.float64] | None:
        """(m, K) float64: what is kept of one episode's rows for numbers that are no sums; None where there are none."""
        return None

    def numbers(self, rows: NDArray[np.float64]) -> Details:
        """Numbers of kept rows (m, K) of any episodes together; None where undefined."""
        return {}

    def seen_unseen(self, states: State) -> tuple[float | None, float | None]:
        """The value on rows whose label occurs in train, and on rows whose label does not; None where it means nothing."""
        return None, None

    def best_case(self, targets: Targets, predictions: Predictions) -> State:
        """(S,) the state if every failed row had been right: the upper bound beside the declared value."""
        return self.state(targets, as_if_right(targets, predictions))

    def lowest(self, answered: State, right: State) -> float | None:
        """The lowest value that any answers in place of the failed rows give; None where that is the declared one.

        Args:
            answered: (S,) of the rows that answered.
            right: (S,) of all rows, the failed ones as if right.
        """
        return None

    def chance(self, targets: Targets) -> State | None:
        """(S,) the expected state of a guess where it has a closed form (one label of several, retrieval); None elsewhere."""
        return None


def as_if_right(targets: Targets, predictions: Predictions) -> Predictions:
    """The rows with the truth in place of what failed. Labels and sets of both are over the same first words."""
    ok = predictions.ok
    labels, sets, values = predictions.labels, predictions.label_sets, predictions.values
    if labels is not None and targets.labels is not None:
        labels = np.where(ok, labels, targets.labels).astype(np.int32)
    if sets is not None and targets.label_sets is not None:
        true = np.zeros(sets.shape, bool)
        true[:, : targets.label_sets.shape[1]] = targets.label_sets
        sets = np.where(ok[:, None], sets, true)
    if values is not None and targets.values is not None:
        values = np.where(ok[:, None], values, np.nan_to_num(targets.values, nan=0.0))
    return replace(predictions, status=all_ok(len(ok)), labels=labels, label_sets=sets, values=values)


def metric_class(path: str) -> type[Metric]:
    """The class named by `module:Class`."""
    module, _, attribute = path.partition(":")
    return cast(type[Metric], getattr(import_module(module), attribute))


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[np.float64]:
    """numerator / denominator, NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    out: NDArray[np.float64] = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out


def number(value: NDArray | float) -> float | None:
    """A JSON number: None where the value is not finite."""
    return float(value) if np.isfinite(value) else None


def by_step(values: NDArray[np.float64]) -> dict[str, float | None]:
    """(H,) numbers of the horizon steps under the keys "1" .. "H"; None where undefined."""
    return {str(step): number(value) for step, value in enumerate(values, 1)}


def pack(*parts: ArrayLike) -> State:
    """(S,) a state of numbers and vectors laid end to end."""
    return np.concatenate([np.atleast_1d(np.asarray(part, np.float64)) for part in parts])
