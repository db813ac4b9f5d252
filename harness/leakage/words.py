"""How refusals name things."""

from collections.abc import Sequence


def some(ids: Sequence[str], most: int = 5) -> str:
    """The first ids, and how many more there are."""
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")
