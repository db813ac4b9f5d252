"""The prediction bundle: Parquet parts and a manifest. The only door between models and scores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow.parquet as pq

from harness.card import first_line
from harness.errors import BadInput
from harness.json_types import check_types
from harness.manifest import write_json
from harness.record import file_stem

SCHEMA = "espalier.bundle/2"
COST = b"espalier.cost"  # key of a part's cost in its metadata
# What the evaluator reads of the fields that branches fill as they like.
INSIDE: dict[str, dict[str, Any]] = {
    "card": {"weights": str, "fitted": bool, "pretraining": dict[str, str]},
    "cost": {"train_s": float | None, "peak_gib": float | None, "params": int | None},
    "details": {"notes": dict[str, str], "published": dict[str, dict[str, float]]},
}
PART_COST = {"seconds": float, "peak_gib": float}


@dataclass(frozen=True)
class Bundle:
    """One branch, one fold, one seed.

    Attributes:
        folder: Where the parts are.
        branch: Branch id.
        family: As in its card.
        fold: Fold id.
        seed: Seed.
        split: Hash of the split it answers.
        routes: Task -> `native`, `derived` or `probe`; tasks it does not answer are absent.
        fitted_on: Fitted part -> episode ids it has seen; null where nobody knows.
        classes: Task -> what the probabilities are over.
        privileged: True where targets were looked at.
        card: The rest of the branch's card.
        cost: `train_s`, `params`, ... of the fit.
        details: What the fit had to say. `notes` (task -> line) and `published` (task -> figures by definitions of their own)
            go into the table.
        prompts: What the branch was told in words: instructions, answers of shots.
        spans: Episode -> first and last reference sample of it that the fit was handed, targets included.
        imported: True where the predictions were made elsewhere: scored, never ranked.
        inputs: Task -> modalities that the branch was shown; None where nobody knows.
    """

    folder: Path
    branch: str
    family: str
    fold: int
    seed: int
    split: str
    routes: dict[str, str]
    fitted_on: dict[str, list[str]] | None
    classes: dict[str, list[str]] = field(default_factory=dict)
    privileged: bool = False
    card: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    spans: dict[str, list[int]] = field(default_factory=dict)
    imported: bool = False
    inputs: dict[str, list[str]] | None = None

    def save(self) -> None:
        """Write `manifest.json`."""
        body = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "folder"}
        write_json(self.folder / "manifest.json", {"schema": SCHEMA, **body})

    @staticmethod
    def load(folder: Path) -> "Bundle":
        """Read a bundle's manifest.

        Raises:
            BadInput: No manifest, not JSON, of another schema, or with a field of another type.
        """
        path = folder / "manifest.json"
        try:
            body = json.loads(path.read_text())
            if body.pop("schema") != SCHEMA:
                raise KeyError("schema")
            bundle = Bundle(folder, **body)
            bundle._check()
        except FileNotFoundError as error:
            raise BadInput(f"{folder}: no bundle (manifest.json is missing)") from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(f"{path}: not a bundle manifest of schema {SCHEMA} ({first_line(error)}); write it again") from error
        return bundle

    def _check(self) -> None:
        """Refuse what is of another type than is said above: a text in place of a list would be read letter by letter."""
        check_types(vars(self), {name: kind for name, kind in get_type_hints(Bundle).items() if name != "folder"})
        for name, kinds in INSIDE.items():
            check_types(getattr(self, name), kinds, f"{name}.")
        for name in ("fold", "seed"):
            if not 0 <= getattr(self, name) < 2**31:
                raise ValueError(f"{name} is no number from 0 up")
        if any(len(span) != 2 for span in self.spans.values()):
            raise ValueError("spans are not of two numbers each, the first and the last sample")

    def parts(self) -> list[Path]:
        """Its Parquet files, sorted by name."""
        return sorted(self.folder.glob("part-*.parquet"))

    def parts_by_episode(self) -> dict[str, list[Path]]:
        """File stem of an episode -> its parts, in the order of its samples; a part's name ends in its first sample."""
        found: dict[str, list[Path]] = {}
        for path in self.parts():
            found.setdefault(path.stem.rpartition("-")[0].removeprefix("part-"), []).append(path)
        return found

    def predict_cost(self) -> dict[str, float]:
        """Seconds and peak memory over its parts.

        Raises:
            BadInput: A part says something else in their place.
        """
        seconds, peak = 0.0, 0.0
        for path in self.parts():
            try:
                found = json.loads((pq.read_schema(path).metadata or {}).get(COST, b"{}"))
                check_types(found, PART_COST)
            except (ValueError, TypeError) as error:
                raise BadInput(f"{path}: no bundle part (its cost: {first_line(error)}); remove it and run again") from error
            seconds += found.get("seconds", 0.0)
            peak = max(peak, found.get("peak_gib", 0.0))
        return {"predict_s": round(seconds, 3), "peak_gib": round(peak, 3)}


def bundle_folder(run: Path, branch: str, fold: int = 0, seed: int = 0) -> Path:
    """Where a bundle stands in a run folder; no two branches share a place."""
    return run / "bundles" / file_stem(branch) / f"fold={fold}" / f"seed={seed}"


def find_bundles(folder: Path) -> Iterator[Bundle]:
    """Every bundle below a folder, sorted by path."""
    for path in sorted(folder.rglob("manifest.json")):
        if (path.parent.name.startswith("seed=")) and path.parent.parent.name.startswith("fold="):
            yield Bundle.load(path.parent)
