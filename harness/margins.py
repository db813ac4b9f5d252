"""Margins: the differences that count as none, as options say them."""

import math
from collections.abc import Mapping, Sequence

from harness.card import suggest
from harness.errors import BadInput
from harness.listing import listing


def parse_margins(words: Sequence[str]) -> dict[str, float]:
    """`METRIC=VALUE` words, each in its metric's unit.

    Raises:
        BadInput: Not of that form, no such metric, or not above 0.
    """
    found: dict[str, float] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            found[name] = float(text)
        except ValueError as error:
            raise BadInput(f"--margin {word}: write METRIC=VALUE, e.g. macro_f1=0.01") from error
        if not equals:
            raise BadInput(f"--margin {word}: write METRIC=VALUE, e.g. macro_f1=0.01")
    check_margins(found, "--margin ")
    return found


def check_margins(margins: Mapping[str, float], key: str = "margins.") -> None:
    """Refuse margins of no metric and those that are none.

    Raises:
        BadInput: Names the option.
    """
    known = [row["metric"] for row in listing("metrics")] if margins else []
    for name, margin in margins.items():
        if name not in known:
            raise BadInput(f"{key}{name}: no such metric{suggest(name, known)}")
        if not (margin > 0 and math.isfinite(margin)):
            raise BadInput(f"{key}{name}={margin}: give more than 0")
