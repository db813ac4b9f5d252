"""Two recordings compared clip by clip, by their fingerprints.

Two clips of two seconds are the same where every track that moves in them agrees, in two modalities at least where two move in
the recordings, and where the noise of no other track is clearly other noise. What stands still is never compared: it looks alike
everywhere. A passage is one where such clips, at one offset, follow each other for four seconds (eight where but one modality
moves at all, or where all is the same to the number, noise included) or nearly all of the shorter recording.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.episode import BoolArray, FloatArray, Modality
from harness.leakage.fingerprint import DESCRIPTOR, Fingerprint
from harness.observe import modality_of

CLIP = 8  # bins: two seconds
PASSAGE = 16  # bins in a row that matching clips must cover: four seconds,
NEARLY_ALL = 0.9  # or this share of the shorter recording
AGREE = 0.02  # of a clip's energy about its mean: two recordings of one motion measured differ by 0.07 and more
AGREE_CODED = 0.1  # video and sound, which may have been coded again
EXACT = 1e-3  # of the energy: the very numbers, whatever was rounded
UNLIKE = 0.7  # of the energy, in a track that does not move: other noise
MOVES = 10.0  # a track moves where its energy is so many times that of its noise
SHIFT = 0.75  # bins: more than half of one, for a clock that drifts
NEAR = 0.3  # of the energy: where half a bin of shift may lead


class Clips(NamedTuple):
    """One track.

    Attributes:
        values: (m, CLIP, NUMBERS) every clip, smoothed.
        energy: (m,) squares about the mean of a clip.
        changes: (m,) True where that is more than rounding.
        moves: (m,) True where it is more than noise, too.
    """

    values: FloatArray
    energy: FloatArray
    changes: BoolArray
    moves: BoolArray


class Moving:
    """A fingerprint as clips, each track's made when it is asked for.

    Attributes:
        series: The fingerprint.
        length: Bins.
    """

    def __init__(self, series: Fingerprint) -> None:
        self.series = series
        self.length = max((len(values) for values in series.values()), default=0)
        self._clips: dict[str, Clips] = {}

    def of(self, track: str) -> Clips:
        """The clips of a track."""
        if track not in self._clips:
            raw, clips = clips_of(self.series[track]), clips_of(_smooth(self.series[track]))
            energy = np.square(clips - clips.mean(axis=1, keepdims=True)).sum(axis=(1, 2))
            with np.errstate(invalid="ignore"):
                changes = np.isfinite(energy) & (energy > 1e-10 * np.square(clips).sum(axis=(1, 2)))
            self._clips[track] = Clips(clips, energy, changes, changes & _moves(raw))
        return self._clips[track]

    @cached_property
    def order(self) -> list[str]:
        """Tracks, those that move most often first."""
        return sorted(self.series, key=lambda track: (-int(self.of(track).moves.sum()), track))


def matching_bins(mine: "Moving", theirs: "Moving", offset: int) -> BoolArray:
    """(bins of theirs,) True in passages that are the same as in `mine`, whose bin i is compared with bin i + offset.

    A shift of less than a bin is taken out. Clips in which too few modalities move are not the same, but where every number that
    changes at all is the same number, noise and all. As soon as no run of `PASSAGE` bins is left the rest of the tracks are not
    looked at: nothing is the same then.
    """
    found = np.zeros(theirs.length, bool)
    begin = max(0, -offset)
    m = min(mine.length - begin, theirs.length - begin - offset) - CLIP + 1
    if m < 1:
        return found
    same, exact, heard = np.ones(m, bool), np.ones(m, bool), np.zeros(m, bool)
    kinds: dict[Modality, BoolArray] = {}
    for track in mine.order:
        if track not in theirs.series:
            continue
        one, other = mine.of(track), theirs.of(track).values
        n = min(m, len(one.values) - begin, len(other) - begin - offset)
        part = slice(begin, begin + n)
        ratio = _residual(one.values[part], other, begin + offset) / np.where(one.changes[part], one.energy[part], 1)
        known = np.isfinite(ratio) & one.changes[part]
        moves = np.zeros(m, bool)
        moves[:n] = one.moves[part] & known
        same[:n] &= ~known | (ratio <= np.where(one.moves[part], limit(track), noise_limit(track)))
        exact[:n] &= ~known | (ratio <= EXACT)
        heard[:n] |= known
        kinds[modality(track)] = kinds.get(modality(track), np.zeros(m, bool)) | moves
        if not long_runs(same, min(PASSAGE - CLIP + 1, NEARLY_ALL * m)).any():
            return found
    there = sum(bool(moves.any()) for moves in kinds.values())
    same &= np.sum(list(kinds.values()), axis=0) >= min(2, max(there, 1))
    nearly_all = NEARLY_ALL * min(mine.length, theirs.length)
    for clips, least in ((same, PASSAGE if there > 1 else 2 * PASSAGE), (exact & heard, 2 * PASSAGE)):
        bins = np.zeros(theirs.length, bool)
        for start in (np.flatnonzero(clips) + begin + offset).tolist():
            bins[start : start + CLIP] = True
        found |= long_runs(bins, min(least, nearly_all))
    return found


def modality(track: str) -> Modality:
    """What a track of a fingerprint measures."""
    return modality_of(track.removeprefix(DESCRIPTOR).removeprefix("logmel/"))


def noise_limit(track: str) -> float:
    """As `limit`, where a track does not move: noise is the same in a copy, but for video and sound that were coded again."""
    return np.inf if modality(track) in (Modality.VIDEO, Modality.AUDIO) else UNLIKE


def limit(track: str) -> float:
    """How much of a clip's energy may differ in a track."""
    return AGREE_CODED if modality(track) in (Modality.VIDEO, Modality.AUDIO) else AGREE


def clips_of(series: NDArray) -> FloatArray:
    """(m, CLIP, NUMBERS) every clip of (bins, NUMBERS), float64."""
    if len(series) < CLIP:
        return np.zeros((0, CLIP, series.shape[1]))
    return sliding_window_view(series.astype(np.float64), CLIP, axis=0).transpose(0, 2, 1)


def _smooth(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each bin with half of what stands before and after it: what is left can be shifted by less than a bin."""
    padded = np.pad(series.astype(np.float64), ((1, 1), (0, 0)), mode="edge")
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4)


def _moves(clips: FloatArray) -> BoolArray:
    """(m,) True where squares about a clip's mean are more than noise and rounding: twice differenced, noise grows sixfold."""
    energy = np.square(clips - clips.mean(axis=1, keepdims=True)).sum(axis=(1, 2))
    bends = np.square(np.diff(clips, 2, axis=1)).sum(axis=(1, 2)) / 6 * CLIP / (CLIP - 2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(energy) & (energy > MOVES * bends))


def keys_of(clips: FloatArray) -> FloatArray:
    """(m, 2 NUMBERS) mean and slope of each clip, scaled so that keys are never farther apart than clips."""
    ramp = np.arange(CLIP) - (CLIP - 1) / 2
    slope = np.einsum("l,mlp->mp", ramp / np.sqrt(np.square(ramp).sum()), clips)
    return np.concatenate([clips.mean(axis=1) * np.sqrt(CLIP), slope], axis=1)


def _residual(clips: FloatArray, others: FloatArray, first: int) -> FloatArray:
    """(m,) squares that are left between clips and those of another track from `first` on, at the best shift below a bin.

    Between bins the other track is taken as the parabola through three of them.
    """
    index = np.arange(first, first + len(clips))
    here = others[index]
    before, after = others[np.maximum(index - 1, 0)], others[np.minimum(index + 1, len(others) - 1)]
    slope, bend = (after - before) / 2, (after - 2 * here + before) / 2
    size = np.square(slope).sum(axis=(1, 2))
    shift = np.zeros(len(clips))
    for _ in range(3):  # the bend is small: a few rounds settle it
        away = clips - here - np.square(shift)[:, None, None] * bend
        shift = np.clip((away * slope).sum(axis=(1, 2)) / np.where(size > 0, size, 1), -SHIFT, SHIFT)
    by = shift[:, None, None]
    moved = np.square(clips - here - by * slope - np.square(by) * bend).sum(axis=(1, 2))
    return np.asarray(np.fmin(moved, np.square(clips - here).sum(axis=(1, 2))))


def long_runs(matched: BoolArray, least: float) -> BoolArray:
    """Only the runs of at least so many bins."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], matched.astype(np.int8), [0]])))
    kept = np.zeros(len(matched), bool)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        kept[start:stop] = stop - start >= least
    return kept
