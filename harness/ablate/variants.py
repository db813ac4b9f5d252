"""What an ablation takes away: its variants, by name."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import quote

from harness.card import suggest
from harness.config import RunConfig
from harness.episode import Modality
from harness.errors import BadInput
from harness.hiding import Sight

BLOCK = "features/"
KINDS = ("without", "only", "replace")
"""In the order of the tables."""


@dataclass(frozen=True)
class Variant:
    """One arm beside the full one.

    Attributes:
        name: Also its folder.
        kind: `without` one modality, `only` one, or blocks `replace`d by others.
        old: The modality that is left out or left alone; the blocks that are replaced (a shell pattern).
        new: The blocks that stand in their place (a shell pattern).
    """

    name: str
    kind: Literal["without", "only", "replace"]
    old: str
    new: str = ""

    def config(self, full: RunConfig) -> RunConfig:
        """The options of the full arm, less what is taken away."""
        if self.kind == "without":
            return replace(full, hidden=sorted({*full.hidden, self.old}))
        if self.kind == "only":
            return replace(full, only=[self.old])
        return replace(full, features=[*full.features, f"-{self.old}", self.new])

    @property
    def takes(self) -> str:
        """What it takes away, in words."""
        words = {"without": self.old, "only": f"all but {self.old}", "replace": f"{self.old}, and shows {self.new} instead"}
        return words[self.kind]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"takes": self.takes}


def without(modality: str) -> Variant:
    """Leave one modality out."""
    return Variant(f"without_{modality}", "without", modality)


def only(modality: str) -> Variant:
    """Leave one modality alone."""
    return Variant(f"only_{modality}", "only", modality)


def parse_replacement(word: str) -> Variant:
    """`OLD=NEW`, two block names or shell patterns.

    Raises:
        BadInput: Not two names.
    """
    old, equals, new = word.partition("=")
    if not (old and equals and new) or "=" in new or old == new or old.startswith("-") or new.startswith("-"):
        raise BadInput(f"--replace {word!r}: give two feature blocks as OLD=NEW, e.g. 'audio_*=logmel_*'")
    # A star is common and no good part of a folder's name; a plus that is meant as one is quoted.
    name = quote(f"replace_{old}_by_{new}", safe=" ").replace("%2A", "+")
    return Variant(name, "replace", old, new)


def check_replacement(variant: Variant, shown: Iterable[str], there: Iterable[str]) -> None:
    """Refuse a replacement that would change nothing.

    Args:
        variant: Of kind `replace`.
        shown: Blocks of the full arm.
        there: Blocks that any episode has.

    Raises:
        BadInput: The full arm has no such old block, or has the new one already, or no episode gives it.
    """
    shown, there = sorted(set(shown)), sorted(set(there))
    word = f"--replace {variant.old}={variant.new}"
    if not any(fnmatchcase(block, variant.old) for block in shown):
        near = suggest(variant.old, shown) or f"; it shows {', '.join(shown)}"
        raise BadInput(f"{word}: the full arm shows no block {variant.old!r}{near}")
    if not any(fnmatchcase(block, variant.new) for block in there):
        raise BadInput(f"{word}: no episode gives a block {variant.new!r}{suggest(variant.new, there)}")
    if both := [block for block in shown if fnmatchcase(block, variant.new)]:
        raise BadInput(f"{word}: the full arm shows {both[0]} already; take it out with features=[...,-{both[0]}]")


def modalities_shown(sights: dict[str, dict[str, Sight]], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The modalities that any branch is shown in any task, or those of them that are named.

    Raises:
        BadInput: Nobody is shown one that is named.
    """
    shown = {m for tasks in sights.values() for sight in tasks.values() for m in sight.modalities}
    if unseen := [name for name in named if name not in shown]:
        raise BadInput(f"--modality {unseen[0]}: no branch is shown it; they are shown {', '.join(sorted(shown))}")
    return tuple(m.value for m in Modality if m.value in (named or shown))


def blocks_shown(sights: dict[str, dict[str, Sight]]) -> set[str]:
    """Feature blocks that any branch is shown in any task."""
    views = [view for tasks in sights.values() for sight in tasks.values() for view in sight.views]
    return {name.removeprefix(BLOCK) for view in views for name in view if name.startswith(BLOCK)}
