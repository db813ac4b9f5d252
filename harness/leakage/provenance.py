"""Fit provenance: nothing fitted may have seen what it is tested on, at or below the unit that the split promises."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.leakage.words import some
from harness.record import EpisodeRecord
from harness.splits import UNITS, Fold, Split

if TYPE_CHECKING:
    from harness.held import Held

PROVENANCE = "provenance"
HANDED_OUT = "fit (spans)"
"""As a part: what the fit stage itself noted."""
PRETRAINED = "pretrained"
"""The part of a bundle's `fitted_on` that lists recordings of other data sets, which pretrained weights have seen."""


def check_provenance(bundle: Bundle, held: "Held") -> None:
    """Refuse fitted parts that saw the evaluation, and those of which nobody knows what they saw.

    Scalers, vocabularies, quantiles, banks, adapters, shots and pretrained weights are alike: each is a part of `fitted_on`.
    Where the unit is an interval, fitting and testing share episodes; then what the fit was handed of them must end before the
    first thing that a test sample shows.

    Raises:
        BadInput: Names the branch, the part and the episodes.
    """
    if not 0 <= bundle.fold < len(held.split.folds):
        raise BadInput(f"bundle {bundle.folder}: there is no fold {bundle.fold}; the split has {len(held.split.folds)}")
    fold = held.split.folds[bundle.fold]
    fitted_on = _known(bundle, held, fold)
    for part, episodes in fitted_on.items():
        strangers = sorted(set(episodes) - set(held.split.clusters))
        if strangers and part.rpartition("/")[2] != PRETRAINED:
            raise BadInput(
                f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on {some(strangers)}, which this data set "
                "does not have under that name: nobody can tell whether it is tested; fit it again on this data set"
            )
        why = _overlap(held.split, fold, episodes)
        if why:
            raise BadInput(
                f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on {some(sorted(why))}, which fold "
                f"{bundle.fold} tests (unit: {held.split.unit}{_because(why)}); fit it again on the training episodes"
            )
    if held.split.unit == "interval":
        _check_intervals(bundle, fitted_on, held, fold)


def _known(bundle: Bundle, held: "Held", fold: Fold) -> dict[str, list[str]]:
    """What the parts were fitted on; on nothing only where there was nothing to fit on."""
    fitted_on = bundle.fitted_on
    if fitted_on is None or (not fitted_on and bundle.card.get("fitted", True)):
        raise BadInput(f"bundle {bundle.folder}: {bundle.branch} does not say what it was fitted on; it cannot be ranked")
    silent = [part for part, episodes in fitted_on.items() if not episodes]
    if silent and held.posing(fold.train):
        raise BadInput(
            f"bundle {bundle.folder}: {bundle.branch} does not say what its {some(silent)} was fitted on; it cannot be ranked"
        )
    return parts_of(bundle)


def parts_of(bundle: Bundle) -> dict[str, list[str]]:
    """Part -> episodes: what a bundle declares, and what the fit stage noted that it handed out, whatever is declared."""
    return {**(bundle.fitted_on or {}), **({HANDED_OUT: sorted(bundle.spans)} if bundle.spans else {})}


def _units_of(split: Split) -> dict[str, Mapping[str, str | None]]:
    """Unit -> episode -> its name."""
    itself = {episode: episode for episode in split.clusters}
    return {"episode": itself, "session": split.sessions, "participant": split.participants}


def _overlap(split: Split, fold: Fold, episodes: list[str]) -> dict[str, str]:
    """Episode that was fitted on -> the unit it shares with the test, for units up to the split's own."""
    found: dict[str, str] = {}
    for unit, name_of in _units_of(split).items():
        if UNITS.index(unit) > UNITS.index(split.unit):
            continue
        tested = {name for e in fold.test if (name := name_of.get(e, e if unit == "episode" else None)) is not None}
        for episode in episodes:
            name = episode if unit == "episode" else name_of.get(episode)
            if name in tested:
                found.setdefault(episode, "" if unit == "episode" else f"{unit} {name}")
    return found


def _because(why: dict[str, str]) -> str:
    shared = sorted({unit for unit in why.values() if unit})
    return f"; they share {some(shared)}" if shared else ""


def _check_intervals(bundle: Bundle, fitted_on: dict[str, list[str]], held: "Held", fold: Fold) -> None:
    """Refuse a bundle whose fit was handed reference samples that its test shows."""
    tested = set(held.present(fold.test))
    for part, episodes in fitted_on.items():
        for episode in sorted(tested & set(episodes)):
            span = bundle.spans.get(episode)
            if span is None:
                raise BadInput(
                    f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on {episode}, of which fold {bundle.fold} "
                    "tests a part, and does not say on which part; fit it again"
                )
            begin = fold.first("test", EpisodeRecord.from_file(held.file(episode)).n_reference, held.spec)
            if span[1] >= begin:
                raise BadInput(
                    f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on samples {span[0]} to {span[1]} of "
                    f"{episode}, and fold {bundle.fold} tests it from sample {begin} on (unit: interval); fit it on less"
                )


def shared_units(bundles: Iterable[Bundle], split: Split) -> dict[str, list[str]]:
    """Units above the split's own that fitted parts and test share: `session`, `participant` -> names. They cap the evidence."""
    found: dict[str, set[str]] = {}
    for bundle in bundles:
        if bundle.fitted_on is None or not 0 <= bundle.fold < len(split.folds) or split.unit == "interval":
            continue
        test = split.folds[bundle.fold].test
        fitted = {e for episodes in parts_of(bundle).values() for e in episodes}
        for unit, name_of in _units_of(split).items():
            if UNITS.index(unit) > UNITS.index(split.unit):
                both = {name_of.get(e) for e in fitted} & {name_of.get(e) for e in test}
                found.setdefault(unit, set()).update(name for name in both if name is not None)
    copies = {"copy": list(split.allow_copies)} if split.allow_copies else {}
    return {unit: sorted(names) for unit, names in found.items() if names} | copies
