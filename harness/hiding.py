"""What no branch of a run is shown: the arms of an ablation differ in this and in nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.episode import Modality


@dataclass(frozen=True)
class Hiding:
    """Modalities that are kept from every branch. Targets, samples and the split know nothing of it.

    Attributes:
        hidden: Whatever is made of one of these is not shown.
        only: Only what measures one of these is shown; empty = everything. A hand block stands in the frame of the camera pose
            and measures a hand: it is shown with `hand`, and hidden with `hand` or `pose`.
    """

    hidden: frozenset[Modality] = frozenset()
    only: frozenset[Modality] = frozenset()

    @classmethod
    def of(cls, hidden: Sequence[str], only: Sequence[str]) -> Self:
        """By names, as the options have them."""
        return cls(frozenset(map(Modality, hidden)), frozenset(map(Modality, only)))

    def __bool__(self) -> bool:
        return bool(self.hidden or self.only)

    def hides(self, made_of: Sequence[Modality]) -> bool:
        """True for something that may not be shown.

        Args:
            made_of: Modalities of its sources; the first is the one that it measures.
        """
        return any(m in self.hidden for m in made_of) or bool(self.only and made_of[0] not in self.only)


@dataclass(frozen=True)
class Sight:
    """What a branch gets to see of a task's samples.

    Attributes:
        views: Per view, tracks and `features/BLOCK`s that it shows in any episode, sorted.
        modalities: What those are made of, sorted.
        blind: Why the branch cannot answer with what is left; empty where it can.
    """

    views: tuple[tuple[str, ...], ...]
    modalities: tuple[str, ...]
    blind: str = ""
