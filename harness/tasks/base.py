"""What a task is: which views of a sample it shows, what it asks, and how an answer is measured."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from harness.answers import AnswerKind, Targets
from harness.episode import Episode
from harness.window import SampleKind, Samples, View, WindowSpec

if TYPE_CHECKING:
    from harness.branch import FramesWant
    from harness.encoder import Encoder

# No input of any task: the labels themselves, and what was made from the whole recording (only calibration counts as known).
NEVER_OBSERVED = ("action", "subtask", "main_task", "target", "point_cloud")
CAPTION_TEXT = ("objects", "interaction")
Floor = Literal["majority", "prior", "persistence", "chance", "majority_of_test", "prior_of_test", "fixed_answer"]
FLOORS: tuple[str, ...] = get_args(Floor)


@dataclass(frozen=True)
class ViewSpec:
    """Which tracks one view shows: those that match `include` and not `exclude` (shell patterns over track names).

    A derived track or a feature block is allowed where every track it was made from is.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def allows(self, tracks: Sequence[str]) -> bool:
        """True where all of `tracks` may be seen."""
        return all(
            any(fnmatchcase(t, p) for p in self.include) and not any(fnmatchcase(t, p) for p in (*self.exclude, *NEVER_OBSERVED))
            for t in tracks
        )


class Task(ABC):
    """One question asked of every sample.

    Attributes:
        id: As on the command line.
        title: One line for tables.
        answer: Which arrays a target and an answer have.
        samples: What a sample is made of.
        views: What each view shows; in retrieval tasks the first is the query and the second the key, of one window.
        metric: `module:Class` of the ranked metric.
        unit: Unit of the metric's value.
        floor: Branch whose answer is the floor: `majority`, `prior`, `persistence` or `chance`; `majority_of_test` and
            `prior_of_test` where rows come without training labels, `fixed_answer` where one answer fits all.
        ceiling: Value of a perfect answer.
        mechanism: Why it can be learnt at all.
        requires: Tracks without which a data set cannot pose the task (shell patterns).
        copies: Task whose current answer the privileged copy row gives; None where there is none.
        open_vocabulary: True where any text may be answered. An answer that no class takes costs no more than its miss there, and
            so does a failed row: charging it with the floor's answer could be escaped by answering nonsense.
        asks_for_one_answer: True where every target is the same by design (is the text of the schema?), which is not vacuous.
    """

    id: str
    title: ClassVar[str]
    answer: ClassVar[AnswerKind]
    samples: ClassVar[SampleKind] = "window"
    views: ClassVar[tuple[ViewSpec, ...]] = (ViewSpec(),)
    metric: ClassVar[str]
    unit: ClassVar[str] = ""
    floor: ClassVar[Floor]
    ceiling: ClassVar[float]
    mechanism: ClassVar[str] = ""
    requires: ClassVar[tuple[str, ...]]
    copies: ClassVar[str | None] = None
    open_vocabulary: ClassVar[bool] = False
    asks_for_one_answer: ClassVar[bool] = False

    def poses(self, tracks: Sequence[str]) -> bool:
        """True where an episode with these tracks can have targets of this task."""
        return all(any(fnmatchcase(t, pattern) for t in tracks) for pattern in self.requires)

    @abstractmethod
    def targets(self, episode: Episode, samples: Samples, spec: WindowSpec) -> Targets:
        """The truth of every sample; rows whose truth is not there are not valid."""

    def reach(self, spec: WindowSpec) -> int:
        """Reference samples past t0 that a target may look at: at a chronological border they belong to the next part."""
        return 0

    def shape(self, episode: Episode) -> tuple[int, ...]:
        """Shape of one vector target, e.g. (horizon, dims); its product is D."""
        raise TypeError(f"task {self.id} does not ask for a vector")

    def groups(self) -> dict[str, list[int]]:
        """Named groups of the last axis of a vector target that are scored apart; empty = one group of all."""
        return {}

    def group_units(self) -> dict[str, str]:
        """Units of `groups`, where known."""
        return {}

    def target_tracks(self) -> tuple[str, ...]:
        """Derived tracks that `targets` reads beside the recorded ones, so that ingest stores them."""
        return ()

    def target_frames(self) -> "tuple[FramesWant, ...]":
        """Decoded frames that `targets` reads, so that ingest stores them."""
        return ()

    def target_encoders(self) -> "tuple[Encoder, ...]":
        """Frozen encoders whose latents `targets` reads, so that ingest makes them."""
        return ()

    def tracks_for_history(self) -> tuple[str, ...]:
        """Tracks that `history` reads; a floor that extrapolates asks for them. Empty where the task is no continuous future."""
        return ()

    def history(self, view: View) -> tuple[NDArray, NDArray[np.bool_]]:
        """The observed past of the very quantity that is forecast, in the coordinates of the target.

        Returns:
            (B, T, D_step) values, oldest first, and (B, T, D_step) validity. The forecast continues after the last step.
        """
        raise TypeError(f"task {self.id} forecasts no continuous quantity")


def majority_label(
    codes: NDArray[np.int32], n_categories: int, starts: NDArray[np.int64], length: int, share: float
) -> NDArray[np.int32]:
    """(n,) the most common label of each window if it holds at least `share` of the labelled frames, else -1.

    Args:
        codes: (N,) frame labels, -1 = none.
        n_categories: Number of labels.
        starts: (n,) first frame of each window.
        length: Frames per window.
        share: Fraction of the *labelled* frames in the window (the published rule: 0.6).
    """
    onehot = np.zeros((len(codes) + 1, n_categories), np.int32)
    rows = np.flatnonzero(codes >= 0)
    onehot[rows + 1, codes[rows]] = 1
    counts = np.cumsum(onehot, axis=0)
    inside = counts[starts + length] - counts[starts]
    total = inside.sum(axis=1)
    best = inside.argmax(axis=1) if n_categories else np.zeros(len(starts), np.int64)
    top = inside[np.arange(len(starts)), best] if n_categories else np.zeros(len(starts), np.int64)
    return np.where((total > 0) & (top >= share * total), best, -1).astype(np.int32)
