"""Variants that an earlier call left in the folder: the tables have them all, whatever the last call asked for."""

from collections.abc import Iterable
from pathlib import Path

from harness.ablate.deltas import SAME
from harness.ablate.variants import KINDS, Variant, only, parse_replacement, without
from harness.episode import Modality
from harness.errors import BadInput
from harness.score import read_manifest


def earlier_variants(out: Path, folders: Iterable[Path]) -> tuple[list[Variant], list[str]]:
    """The variants of these run folders, and a line for each that no table can have beside the full arm as it is now.

    Args:
        out: Folder of the full arm.
        folders: Those of its variants.
    """
    full = read_manifest(out)
    found: list[Variant] = []
    lines: list[str] = []
    for folder in folders:
        manifest, variant = read_manifest(folder), _variant(folder)
        if other := [key for key in SAME if manifest[key] != full[key]]:
            lines.append(f"{folder} is not in the tables: a run with another {other[0]} than the full arm")
        elif manifest["state"] != "done" or variant is None:
            lines.append(f"{folder} is not in the tables: {manifest['state']}, ask for it again to finish it")
        else:
            found.append(variant)
    return found, lines


def ordered(variants: Iterable[Variant]) -> list[Variant]:
    """Each once, in the order of the tables: by kind, modalities as they are listed, replacements by name."""
    places = {modality.value: i for i, modality in enumerate(Modality)}
    return sorted(set(variants), key=lambda v: (KINDS.index(v.kind), places.get(v.old, len(places)), v.name))


def _variant(folder: Path) -> Variant | None:
    """What an arm takes away, by its name and by the features it was run with; None where it is no variant."""
    known = {variant.name: variant for m in Modality for variant in (without(m.value), only(m.value))}
    if folder.name in known:
        return known[folder.name]
    features = read_manifest(folder)["features"]
    try:
        variant = parse_replacement(f"{features[-2].removeprefix('-')}={features[-1]}")
    except (BadInput, IndexError):
        return None
    return variant if variant.name == folder.name else None
