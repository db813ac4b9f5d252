"""Short passages of a recording that stand in another one, or in another part of it, to the bit.

Clips of `harness.leakage.clips` are alike; they take seconds in a row to tell a copy from a repetition. Samples that are equal to
the bit take less. Ingest writes prints: hashes of single samples of a track, about as many a second whatever its rate, chosen by
their own content, so that a copy that begins anywhere has the same ones. A print holds the channels that bend there (a third
sample is not where two before it lead): what rests, counts or runs at one pace says nothing and hides nothing.

A passage is one where prints, at one offset, follow each other for a second in two modalities, or for two seconds in one (but
`COMMAND`: a script commands the same again), and in more than half of the modalities that bend there: simulated recordings
share one scripted motion to the bit and differ in the rest. Commands, video and sound do not count against it: they may be
defined or coded anew. What the fitted recording itself repeats to the bit (rest in few levels, black frames, a simulated
oscillation) is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.features.held import numbers
from harness.leakage.clips import CODED, long_runs, modality
from harness.leakage.fingerprint import BIN_S, FRAMES, Fingerprint, is_content

SPACING_S = 0.125  # one print at least in so many seconds of content
BENT = 1e-3  # of the step from one sample to the next,
ROUNDED = 1e-6  # and of the value: more than single precision leaves of a straight line
PASSAGE = 4  # bins that a passage reaches into,
ALONE = 8  # where one modality alone says so
GAP = 2  # bins from one print of a passage to the next, at most
LEAST = 4  # prints of a passage in one modality
CELLS = 1 << 20  # numbers that are hashed at once
KINDS = list(Modality)
ANEW = {KINDS.index(kind) for kind in (Modality.COMMAND, *CODED)}
Prints = Fingerprint
"""Track -> (n, 2) seconds and hash (a whole number below 2^53) of its prints, in order of time."""


def prints(episode: Episode) -> Prints:
    """The prints of a stored episode: of its small tracks and its descriptors."""
    found = {}
    for track in episode.tracks.values():
        clock = track.times
        if clock is not None and len(clock) > 2 and is_content(track, episode) and not track.name.startswith(FRAMES):
            hashes = _hashes(track)
            width = max(1, round(SPACING_S / max(float(np.median(np.diff(clock))), 1e-6)))
            least = sliding_window_view(hashes, min(width, len(hashes))).argmin(axis=1)
            chosen = np.unique(least + np.arange(len(least)))
            chosen = chosen[np.isfinite(hashes[chosen])]
            if len(chosen):
                found[track.name] = np.stack([clock[chosen], hashes[chosen]], axis=1)
    return found


def _hashes(track: Track) -> FloatArray:
    """(N,) whole numbers below 2^53; infinite where no channel bends."""
    values, measured = numbers(track)
    n, channels = values.shape
    out = np.full(n, np.inf)
    odd = np.random.default_rng(channels).integers(1 << 63, size=channels, dtype=np.uint64) | np.uint64(1)
    rows = max(1, CELLS // max(channels, 1))
    for start in range(1, n - 1, rows):
        stop = min(start + rows, n - 1)
        part = values[start - 1 : stop + 1].astype(np.float64) + 0.0  # no minus before a zero
        with np.errstate(invalid="ignore", over="ignore"):
            before, here, after = part[:-2], part[1:-1], part[2:]
            bend, step = np.abs(before - 2 * here + after), np.abs(after - before) / 2
            bends = np.isfinite(bend) & (bend > BENT * step + ROUNDED * np.abs(here))
        if measured is not None:
            bends &= measured[start - 1 : stop - 1] & measured[start:stop] & measured[start + 1 : stop + 1]
        mixed = _mix(_mix(here.copy().view(np.uint64)) * odd)
        total = _mix(np.where(bends, mixed, np.uint64(0)).sum(axis=1, dtype=np.uint64)) >> np.uint64(11)
        out[start:stop] = np.where(bends.any(axis=1), total.astype(np.float64), np.inf)
    return out


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the input in every bit of the output (the finaliser of splitmix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


class _Held(NamedTuple):
    """Prints of one track in all test episodes, sorted by hash; each (n,)."""

    hashes: FloatArray
    seconds: FloatArray
    number: NDArray[np.int64]


class _Hits(NamedTuple):
    """Prints of a test episode that are prints of the fitted one; each (n,)."""

    number: NDArray[np.int64]
    kind: NDArray[np.int64]
    seconds: FloatArray
    offset: FloatArray


class ExactIndex:
    """Prints of the test episodes of a fold.

    Args:
        names: Ids.
        load: Gives the prints of one that the fold tests.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], Prints]) -> None:
        self.names = tuple(names)
        held: dict[str, list[tuple[FloatArray, NDArray[np.int64]]]] = {}
        self.bends: list[dict[int, BoolArray]] = []
        for number, name in enumerate(self.names):
            found = load(name)
            self.bends.append(_bending({track: _once(rows) for track, rows in found.items()}))
            for track, rows in found.items():
                held.setdefault(track, []).append((rows, np.full(len(rows), number)))
        self.held: dict[str, _Held] = {}
        for track, parts in held.items():
            rows, numbers_ = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.argsort(rows[:, 1], kind="stable")
            self.held[track] = _Held(rows[order, 1], rows[order, 0], numbers_[order])

    def passages(self, found: Prints) -> dict[str, NDArray[np.int64]]:
        """Test episode -> bins of it that stand in a fitted one, by the prints of what is fitted of that."""
        out: dict[str, set[int]] = {}
        for number, hits in _alike(self._hits({track: _once(rows) for track, rows in found.items()})):
            bins = _bins(hits, self.bends[number])
            if len(bins):
                out.setdefault(self.names[number], set()).update(bins.tolist())
        return {name: np.array(sorted(bins)) for name, bins in out.items()}

    def _hits(self, once: Prints) -> _Hits:
        parts = [_Hits(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))]
        for track, rows in once.items():
            if track not in self.held:
                continue
            held = self.held[track]
            first, stop = (np.searchsorted(held.hashes, rows[:, 1], side=side) for side in ("left", "right"))
            count = stop - first
            at = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
            kind = np.full(len(at), KINDS.index(modality(track)))
            parts.append(_Hits(held.number[at], kind, held.seconds[at], held.seconds[at] - np.repeat(rows[:, 0], count)))
        return _Hits(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _once(rows: FloatArray) -> FloatArray:
    """The prints that a recording does not repeat."""
    _, first, count = np.unique(rows[:, 1], return_index=True, return_counts=True)
    return np.asarray(rows[np.sort(first[count == 1])])


def _alike(hits: _Hits) -> Iterator[tuple[int, _Hits]]:
    """Those of one test episode at about one offset: in cells of a bin, and in cells half a bin further."""
    for shift in (0.0, 0.5):
        cell = np.floor(hits.offset / BIN_S + shift).astype(np.int64)
        order = np.lexsort((hits.seconds, cell, hits.number))
        number, cell = hits.number[order], cell[order]
        edges = np.flatnonzero((np.diff(number) != 0) | (np.diff(cell) != 0)) + 1
        edges = np.concatenate([[0], edges, [len(order)]])
        many = np.flatnonzero(np.diff(edges) >= LEAST)
        for first, stop in zip(edges[many].tolist(), edges[many + 1].tolist(), strict=True):
            yield int(number[first]), _Hits(*(column[order[first:stop]] for column in hits))


def _bending(once: Prints) -> dict[int, BoolArray]:
    """Modality -> (bins,) True where a recording has prints of it that follow each other."""
    length = 1 + max((int(rows[-1, 0] / BIN_S) for rows in once.values() if len(rows)), default=0)
    seconds: dict[int, list[FloatArray]] = {}
    for track, rows in once.items():
        seconds.setdefault(KINDS.index(modality(track)), []).append(rows[:, 0])
    return {kind: _followed(np.sort(np.concatenate(parts)), length) for kind, parts in seconds.items()}


def _bins(hits: _Hits, bends: dict[int, BoolArray]) -> NDArray[np.int64]:
    """Bins of the passages among hits of one episode at one offset.

    Args:
        hits: In order of time.
        bends: Of the episode, see `_bending`.
    """
    length = int(hits.seconds[-1] / BIN_S) + 1
    covered = {kind: _followed(hits.seconds[hits.kind == kind], length) for kind in np.unique(hits.kind).tolist()}
    agree, against = np.zeros(length, np.int64), np.zeros(length, np.int64)
    for kind in (covered.keys() | bends.keys()) - ANEW:
        here, there = covered.get(kind, np.zeros(length, bool)), np.zeros(length, bool)
        bent = bends.get(kind, there)[:length]
        there[: len(bent)] = bent
        agree += here
        against += there & ~here
    most = (agree > against) | (against == 0)
    found = long_runs(np.sum(list(covered.values()), axis=0) * most > 1, PASSAGE)
    for kind in covered.keys() - {KINDS.index(Modality.COMMAND)}:
        found |= long_runs(covered[kind] & most, ALONE)
    return np.flatnonzero(found)


def _followed(seconds: FloatArray, length: int) -> BoolArray:
    """(length,) True in the bins from the first to the last of enough prints, in order of time, that follow each other."""
    bins = (seconds / BIN_S).astype(np.int64)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(bins) > GAP) + 1, [len(bins)]])
    covered = np.zeros(length + 1, np.int64)
    runs = np.flatnonzero(np.diff(edges) >= LEAST)
    covered[bins[edges[runs]]] += 1
    covered[bins[edges[runs + 1] - 1] + 1] -= 1
    return np.cumsum(covered[:-1]) > 0
