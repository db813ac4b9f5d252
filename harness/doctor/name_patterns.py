"""Thousands of parameter names as a few patterns that a person can read: `layers.{0..47}.self_attn.{q,k,v,o}_proj.weight`."""

from collections.abc import Iterable, Sequence

Words = tuple[str, ...]  # what may stand at one place of a dotted name


def name_patterns(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Pattern -> the names it stands for.

    A pattern stands for every combination of its alternatives and for nothing else; every name is in exactly one.

    Args:
        names: Dotted, each once; alternatives keep their order.
    """
    order: dict[str, int] = {}
    groups: dict[tuple[Words, ...], tuple[str, ...]] = {}
    for name in names:
        words = name.split(".")
        groups[tuple((word,) for word in words)] = (name,)
        for word in words:
            order.setdefault(word, len(order))
    before = -1
    while before != len(groups):
        before = len(groups)
        for place in reversed(range(max(map(len, groups), default=0))):
            groups = _merged(groups, place, order)
    return {".".join(map(_written, places)): found for places, found in groups.items()}


def _merged(
    groups: dict[tuple[Words, ...], tuple[str, ...]], place: int, order: dict[str, int]
) -> dict[tuple[Words, ...], tuple[str, ...]]:
    """Groups that differ at one place only are one: it then has the alternatives of all."""
    alike: dict[tuple[tuple[Words, ...], tuple[Words, ...] | None], list[tuple[Words, ...]]] = {}
    for places in groups:
        rest = places[place + 1 :] if place < len(places) else None
        alike.setdefault((places[:place], rest), []).append(places)
    merged = {}
    for (first, rest), members in alike.items():
        found = tuple(name for places in members for name in groups[places])
        if rest is None:
            merged[first] = found
        else:
            words = sorted({word for places in members for word in places[place]}, key=order.__getitem__)
            merged[(*first, tuple(words), *rest)] = found
    return merged


def _written(words: Words) -> str:
    """`{q,k}_proj` for `q_proj` and `k_proj`: what all begin or end with is written once, where an underscore divides it."""
    if len(words) == 1:
        return words[0]
    start = _beginning(words)
    if not all(word[len(start) :].isdigit() for word in words):
        start = start[: start.rfind("_") + 1]
    rest = [word[len(start) :] for word in words]
    end = _beginning([word[::-1] for word in rest])[::-1]
    end = end[end.find("_") :] if "_" in end else ""
    middle = [word[: len(word) - len(end)] for word in rest]
    return f"{start}{{{','.join(_ranges(middle))}}}{end}"


def _beginning(words: Sequence[str]) -> str:
    """What all words begin with."""
    first, last = min(words), max(words)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _ranges(words: Sequence[str]) -> list[str]:
    """`0..3`, `7` for 0, 1, 2, 3, 7; other words as they are."""
    if not all(word.isdigit() for word in words):
        return list(words)
    found: list[list[int]] = []
    for number in sorted(map(int, words)):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [word for run in found for word in ([f"{run[0]}..{run[-1]}"] if len(run) > 2 else [str(number) for number in run])]
