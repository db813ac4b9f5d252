"""Near-duplicates: a passage of a test episode that stands in what its fold fits on. See ADR 0016.

Memory holds the keys of the test clips and the prints of a fold and a few episodes at a time; time grows with the clips of train.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from harness.episode import BoolArray, FloatArray, Modality
from harness.errors import BadInput
from harness.leakage.clips import CLIP, Moving, keys_of, matching_bins, modality
from harness.leakage.exact import ExactIndex
from harness.leakage.fingerprint import BIN_S, PRINTS, Fingerprint, read_fingerprint
from harness.leakage.provenance import parts_of
from harness.leakage.words import some
from harness.record import FINGERPRINT_VERSION, EpisodeRecord, file_stem
from harness.splits import Fold, Split
from harness.window import WindowSpec

if TYPE_CHECKING:
    from harness.bundle import Bundle
    from harness.held import Held

DUPLICATES = "near-duplicate windows"
PROBES = 3  # tracks of as many modalities that candidates are sought by
STEP = 2  # bins between two clips of train that are looked up
NEIGHBOURS = 3
VOTES = 3  # clips that must lead to one offset before it is looked at
OPEN = 16  # fingerprints kept in memory


@dataclass(frozen=True)
class Copy:
    """Passages of a test episode that stand in what its fold fits on.

    Attributes:
        fold: Fold id.
        test: Test episode.
        train: The episode they stand in, of the training or validation part; where episodes are cut, it may be the same one.
        windows: Ids of the test windows that lie in them.
        exact: Whether only short passages say so, which are equal to the bit (`harness.leakage.exact`).
    """

    fold: int
    test: str
    train: str
    windows: tuple[str, ...]
    exact: bool = False

    def __str__(self) -> str:
        named = some(self.windows, 3)
        if self.exact:
            where = "the fitted part of it" if self.test == self.train else self.train
            return f"{len(self.windows)} windows of {self.test} stand in {where}, equal to the bit ({named})"
        return f"{self.test} is {self.train} under another name ({named})"


def check_duplicates(bundle: "Bundle", held: "Held") -> None:
    """Refuse a bundle that was fitted on what its test shows under another name.

    Raises:
        BadInput: Names the branch, the part, the episodes and the windows; also where nobody knows what it was fitted on.
    """
    if bundle.fitted_on is None:
        raise BadInput(f"bundle {bundle.folder}: {bundle.branch} does not say what it was fitted on")
    for copy in held.copies:
        part = next((part for part, episodes in parts_of(bundle).items() if copy.train in episodes), None)
        if copy.fold == bundle.fold and part is not None and not held.split.allows(copy.train, copy.test):
            raise BadInput(
                f"bundle {bundle.folder}: the {part} of {bundle.branch} was fitted on {copy.train}, and fold {bundle.fold} tests "
                f"what was recorded there: {copy}; take one of them out of the split"
            )


def refuse_copies(targets: Path, split: Split, spec: WindowSpec) -> None:
    """Stop a run whose split trains a recording under one name and tests it under another: nothing of it could be scored.

    Raises:
        BadInput: Names the episodes and the windows.
    """
    copies = [copy for copy in find_copies(targets, split, spec) if not split.allows(copy.train, copy.test)]
    if copies:
        more = f", and {len(copies) - 1} more such pairs" if len(copies) > 1 else ""
        raise BadInput(
            f"split: fold {copies[0].fold} fits on {copies[0].train}, and {copies[0]}{more}; take one of them out, "
            f"or say that they are two: split.allow_copies=[{copies[0].train}={copies[0].test}]"
        )


def find_copies(targets: Path, split: Split, spec: WindowSpec) -> tuple[Copy, ...]:
    """All test windows that stand in an episode that their fold fits on: by passages that are alike, and short ones to the bit.

    Args:
        targets: Folder of targets; episodes that ingest could not read are not looked at.
        split: Folds.
        spec: Windows, by which they are named.

    Raises:
        BadInput: An episode was ingested when no fingerprint was made, or one of other numbers.
    """
    if split.kind == "inner":  # the folds of a selection within train: no table is made of them
        return ()
    recordings = _Recordings(targets)
    return tuple(copy for fold in split.folds for copy in _copies_in(recordings, fold, spec))


class _Recordings:
    """Episodes by their targets.

    Args:
        targets: Folder.
    """

    def __init__(self, targets: Path) -> None:
        self.targets = targets
        self.moving = lru_cache(OPEN)(lambda episode: Moving(read_fingerprint(self.file(episode))))

    def file(self, episode: str) -> Path:
        """Targets of an episode."""
        return self.targets / f"{file_stem(episode)}.parquet"

    def record(self, episode: str) -> EpisodeRecord:
        """The record of an episode."""
        return EpisodeRecord.from_file(self.file(episode))

    def prints(self, episode: str, begin: float, end: float) -> Fingerprint:
        """Prints of an episode from one share of it to another."""
        first, stop = (self.moving(episode).length * BIN_S * share for share in (begin, end))
        found = read_fingerprint(self.file(episode), PRINTS)
        return {track: rows[(rows[:, 0] >= first) & (rows[:, 0] < stop)] for track, rows in found.items()}


def _copies_in(recordings: _Recordings, fold: Fold, spec: WindowSpec) -> Iterator[Copy]:
    fitted, test = (
        [e for e in dict.fromkeys(episodes) if recordings.file(e).is_file()]
        for episodes in ((*fold.train, *fold.validation), fold.test)
    )
    if unknown := [e for e in (*fitted, *test) if recordings.record(e).fingerprint != FINGERPRINT_VERSION]:
        raise BadInput(
            f"{recordings.targets}: {some(unknown)} stand there without a fingerprint of now, so nobody can tell copies; "
            "run again"
        )
    border = 0.0 if fold.borders is None else fold.borders[1]
    alike = _Index(test, recordings.moving)
    exact = ExactIndex(test, lambda episode: recordings.prints(episode, border, 1.0))
    for episode in fitted:
        mine = recordings.moving(episode)
        passages = exact.passages(recordings.prints(episode, 0.0, border or 1.0))
        found: dict[str, BoolArray] = {}
        for other, offset in sorted(alike.candidates(episode, mine)):
            if other in found:
                continue
            theirs = recordings.moving(other)
            matched = _allowed(fold, matching_bins(mine, theirs, offset), mine, theirs, offset)
            if matched.any() and _windows(recordings.record(other), spec, matched):
                found[other] = matched
        for other in sorted(found.keys() | passages.keys()):
            matched = np.zeros(recordings.moving(other).length, bool)
            matched[[at for at in passages.get(other, ()) if at < len(matched)]] = True
            windows = _windows(recordings.record(other), spec, matched | found.get(other, False))
            if windows:
                yield Copy(fold.id, other, episode, windows, exact=other not in found)


class _Index:
    """Clips of the test episodes, by the tracks that tell them apart best.

    Args:
        names: Ids.
        load: Gives the fingerprint of one.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Moving]) -> None:
        self.names = tuple(names)
        keys: dict[str, list[FloatArray]] = {}
        places: dict[str, list[NDArray[np.int64]]] = {}
        for number, episode in enumerate(self.names):
            one = load(episode)
            for track in one.series:
                moving = np.flatnonzero(one.of(track).moves.any(axis=1))
                keys.setdefault(track, []).append(keys_of(one.of(track), moving)[0])
                places.setdefault(track, []).append(np.stack([np.full(len(moving), number), moving], axis=1))
        counts = {track: sum(map(len, found)) for track, found in keys.items()}
        self.probes: dict[str, tuple[cKDTree, NDArray[np.int64]]] = {}
        taken: set[Modality] = set()
        for track in sorted(counts, key=lambda track: (-counts[track], track)):
            if counts[track] and modality(track) not in taken and len(taken) < PROBES:
                taken.add(modality(track))
                self.probes[track] = cKDTree(np.concatenate(keys[track])), np.concatenate(places[track])

    def candidates(self, episode: str, mine: Moving) -> set[tuple[str, int]]:
        """(test episode, offset) at which clips of an episode may be found: bin i of it, bin i + offset of the other."""
        votes: Counter[tuple[int, int]] = Counter()
        for track, (tree, places) in self.probes.items():
            if track not in mine.series:
                continue
            clips = mine.of(track)
            rows = np.flatnonzero(np.any(clips.moves, axis=1)[::STEP]) * STEP
            sought, reach = keys_of(clips, rows)
            count = min(NEIGHBOURS, tree.n)
            distance, at = tree.query(sought, k=list(range(1, count + 1)))
            near = distance <= reach[:, None]
            row, _ = np.nonzero(near)
            hits = places[at[near]]
            pairs = np.unique(np.stack([hits[:, 0], hits[:, 1] - rows[row], rows[row]], axis=1), axis=0)
            votes.update((int(number), int(offset)) for number, offset, _ in pairs)
        least = min(VOTES, max(1, mine.length // CLIP))
        near_by = {key: sum(votes[key[0], key[1] + step] for step in (-1, 0, 1)) for key in votes}
        return {
            (self.names[number], offset)
            for (number, offset), n in near_by.items()
            if n >= least and self.names[number] != episode and votes[number, offset] == _best(votes, number, offset)
        }


def _best(votes: Counter[tuple[int, int]], number: int, offset: int) -> int:
    return max(votes[number, offset + step] for step in (-1, 0, 1))


def _allowed(fold: Fold, matched: BoolArray, mine: Moving, theirs: Moving, offset: int) -> BoolArray:
    """Within episodes that both train and test: only what the fit sees of one and the test of the other."""
    if fold.borders is None:
        return matched
    bins, fitted_until = np.arange(len(matched)), fold.borders[1] * mine.length
    return matched & (bins >= fold.borders[1] * theirs.length) & (bins - offset < fitted_until)


def _windows(record: EpisodeRecord, spec: WindowSpec, matched: BoolArray) -> tuple[str, ...]:
    """Ids of the windows of an episode that lie in the matched bins."""
    n = record.n_reference
    seconds = len(matched) * BIN_S / max(n, 1)
    covered = np.concatenate([[0], np.cumsum(matched)])
    starts = spec.grid(n)
    low = np.minimum((starts * seconds / BIN_S).astype(np.int64), len(matched) - 1)
    high = np.minimum(((starts + spec.length) * seconds / BIN_S).astype(np.int64), len(matched))
    whole = covered[np.maximum(high, low + 1)] - covered[low] >= np.maximum(high - low, 1)
    return tuple(f"{record.id}#w{start}" for start in starts[whole].tolist())
