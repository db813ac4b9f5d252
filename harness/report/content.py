"""Groups of a table that share content, as lines."""

from typing import Any

NAMED = 3


def shared_lines(split: dict[str, Any]) -> list[str]:
    """Which groups on both sides of the split hold the same content, or that nothing can tell; none for recordings."""
    pairs = split.get("shared_content", [])
    if not pairs and split.get("content_by") == "nothing":
        return ["content: features are too few or too coarse to tell whether groups share content; name table.content=COLUMN"]
    if not pairs:
        return []
    named = "; ".join(f"{pair['groups'][0]} and {pair['groups'][1]}: {pair['rows']} rows" for pair in pairs[:NAMED])
    more = f"; and {len(pairs) - NAMED} more pairs" if len(pairs) > NAMED else ""
    return [
        f"shared content: {named}{more} ({pairs[0]['how']}); what is tested was trained on under another name: evidence at most "
        "dry_run; give such groups one name"
    ]
