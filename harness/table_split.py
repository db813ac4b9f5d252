"""How a table is split where nobody says: each group left out in turn; and what is said where that is not done."""

from dataclasses import replace
from typing import Any

from harness.config import RunConfig
from harness.dataset import Dataset
from harness.episode import EpisodeRef
from harness.errors import BadInput
from harness.splits import Split, SplitConfig, is_explicit, resolve_episodes

MOST_FOLDS = 100  # a table of more groups is not split by leaving out each of them unless that is asked for


def with_table_defaults(config: RunConfig, dataset: Dataset, passed: dict[str, Any], refs: list[EpisodeRef]) -> RunConfig:
    """A table's rows are samples of their own, each group is left out in turn, none is set aside to validate, unless asked.

    Args:
        config: With the split of the card, where that freezes one.
        dataset: Any; what is no table is left as it is.
        passed: Options as typed.
        refs: Groups.

    Raises:
        BadInput: There is one group, and nobody said how to split it.
    """
    if dataset.card.format != "table":
        return config
    windows = {"length": 1, "stride": 1, **passed.get("windows", {})}
    split = replace(config.split, **{"validation_share": 0.0, **passed.get("split", {})})
    if _in_turn(split, passed):
        groups = refs if split.episodes is None else resolve_episodes(refs, split.episodes, "split.episodes")
        if len(groups) == 1:
            raise BadInput(
                f"{dataset.root}: one group alone (table.group={dataset.card.table.group}) cannot be split into train and test; "
                "name a column with more groups, or split.kind=chronological for the order of the rows"
            )
        if (2 if split.validation_share == 0 else 3) <= len(groups) <= MOST_FOLDS:
            split = replace(split, kind="leave_one_session_out")
    return replace(config, windows=replace(config.windows, **windows), split=split)


def drawn_lines(config: RunConfig, passed: dict[str, Any], split: Split) -> list[str]:
    """That the groups of a table are not left out in turn although nobody asked for anything else, and how to ask.

    Args:
        config: As `with_table_defaults` gave it.
        passed: Options as typed.
        split: What came of them.
    """
    if not _in_turn(config.split, passed):
        return []
    groups, many = len(split.episodes), len(split.episodes) > MOST_FOLDS
    why = f"more than {MOST_FOLDS} groups" if many else "one of two groups cannot validate as well"
    ask = "split.kind=leave_one_session_out" if many else "split.validation_share=0"
    return [
        f"groups are not left out in turn ({why}): {len(split.folds[0].test)} of {groups} are tested, drawn once "
        f"({split.kind}); ask for all in turn with {ask}"
    ]


def _in_turn(split: SplitConfig, passed: dict[str, Any]) -> bool:
    """True where nobody asked for anything but the default."""
    return split.kind is None and "test_share" not in passed.get("split", {}) and not is_explicit(split)
