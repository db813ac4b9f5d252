"""Two recordings compared clip by clip, by their fingerprints.

Two clips of two seconds are the same where every track that moves in them agrees, in two modalities at least where two move in
the recordings, and where the noise of no other track is clearly other noise. What stands still is never compared: it looks alike
everywhere. Nor is what runs at the same pace throughout (a frame index). Each channel that a sensor measures counts in units of
what it does in the clip: none rules a track by its unit, none hides the others. A passage is one where such clips, at one offset,
follow each other for four seconds (eight where but one modality moves at all, or where all is the same to the number, noise
included) or nearly all of the shorter recording. What is equal to the bit is found sooner, by `harness.leakage.exact`.
"""

import warnings
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
USUAL = 0.1  # of the mean energy of a channel
CODED = (Modality.VIDEO, Modality.AUDIO)  # may have been coded again
_BASIS = np.linalg.qr(np.vander(np.arange(CLIP) - (CLIP - 1) / 2, 4, increasing=True))[0].T  # (4, CLIP) mean, slope, bends


class Clips(NamedTuple):
    """One track of C channels.

    Attributes:
        values: (m, CLIP, C) every clip, smoothed.
        energy: (m, C) squares of a clip about a line at the pace of the recording; of video and sound the mean over channels of
            those about the mean.
        spread: (m, C) squares about the mean; of video and sound the energy.
        usual: (C,) a share of the mean energy: a channel that does less counts less.
        changes: (m, C) True where that is more than rounding.
        moves: (m, C) True where it is more than noise and than `usual`, too.
        pooled: Whether it is video or sound: channels of one unit, compared with their level.
    """

    values: FloatArray
    energy: FloatArray
    spread: FloatArray
    usual: FloatArray
    changes: BoolArray
    moves: BoolArray
    pooled: bool


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
            pooled = modality(track) in CODED
            raw, clips = clips_of(self.series[track]), clips_of(_smooth(self.series[track]))
            energy = _energy(clips, pooled)
            with warnings.catch_warnings():  # a channel that is never measured
                warnings.simplefilter("ignore", RuntimeWarning)
                middle = 0.0 if pooled or not len(clips) else np.nanmean(clips, axis=(0, 1))
            size = np.square(clips - middle).sum(axis=1)  # where all is one offset, rounding is that of what is left
            size = np.broadcast_to(size.mean(axis=1, keepdims=True), size.shape) if pooled else size
            with np.errstate(invalid="ignore"):
                changes = np.isfinite(energy) & (energy > 1e-10 * size + 1e-24 * np.square(clips).sum(axis=1))
            spread = energy if pooled else np.square(clips - clips.mean(axis=1, keepdims=True)).sum(axis=1)
            usual = USUAL * np.where(changes, energy, 0).sum(axis=0) / max(len(clips), 1)
            moves = changes & _moves(raw, pooled) & (pooled | (energy > usual))
            self._clips[track] = Clips(clips, energy, spread, usual, changes, moves, pooled)
        return self._clips[track]

    @cached_property
    def order(self) -> list[str]:
        """Tracks, those that move most often first."""
        return sorted(self.series, key=lambda track: (-int(self.of(track).moves.any(axis=1).sum()), track))


class _Compared(NamedTuple):
    """Clips of one track of two recordings; each (n,)."""

    known: BoolArray
    moves: BoolArray
    same: BoolArray
    exact: BoolArray


def matching_bins(mine: "Moving", theirs: "Moving", offset: int) -> BoolArray:
    """(bins of theirs,) True in passages that are the same as in `mine`, whose bin i is compared with bin i + offset.

    A shift of less than a bin is taken out. Clips in which too few modalities move are not the same, but where every number that
    changes at all is the same number, noise and all. As soon as no run of `PASSAGE` bins is left, the rest of the tracks are not
    looked at.
    """
    found = np.zeros(theirs.length, bool)
    begin = max(0, -offset)
    m = min(mine.length - begin, theirs.length - begin - offset) - CLIP + 1
    if m < 1:
        return found
    same, exact, heard = np.ones(m, bool), np.ones(m, bool), np.zeros(m, bool)
    kinds: dict[Modality, BoolArray] = {}
    least = min(PASSAGE - CLIP + 1, NEARLY_ALL * m)
    for track in mine.order:
        kind = modality(track)
        if not same.any():
            break
        if track not in theirs.series:
            continue
        one, other = mine.of(track), theirs.of(track)
        if one.values.shape[2] != other.values.shape[2]:
            continue
        n = min(m, len(one.values) - begin, len(other.values) - begin - offset)
        told = _compared(one, other, slice(begin, begin + n), begin + offset, track)
        moves = np.zeros(m, bool)
        moves[:n] = told.moves
        same[:n] &= ~told.known | told.same
        same &= long_runs(same, least).any()
        exact[:n] &= ~told.known | told.exact
        heard[:n] |= told.known
        kinds[kind] = kinds.get(kind, np.zeros(m, bool)) | moves
    there = sum(bool(moves.any()) for moves in kinds.values())
    same &= np.sum(list(kinds.values()), axis=0) >= min(2, max(there, 1)) if kinds else False
    shorter = min(mine.length, theirs.length)
    for clips, bins_in_a_row in ((same, PASSAGE if there > 1 else 2 * PASSAGE), (exact & heard, 2 * PASSAGE)):
        bins = np.zeros(theirs.length, bool)
        for start in (np.flatnonzero(clips) + begin + offset).tolist():
            bins[start : start + CLIP] = True
        found |= long_runs(bins, min(bins_in_a_row, NEARLY_ALL * shorter))
    return found


def _compared(one: Clips, other: Clips, part: slice, first: int, track: str) -> _Compared:
    """Clips `part` of one track with those of the other from `first` on."""
    changes, energy = one.changes[part], np.where(one.changes[part], one.energy[part], 1)
    moves: BoolArray = np.asarray(one.moves[part].any(axis=1), bool)
    counted = np.where(moves[:, None], one.moves[part], changes)
    weight = counted / (energy + one.usual)
    left = _residual(one.values[part], other.values, first, weight, level=moves | one.pooled)
    whole = np.where(moves[:, None], energy, one.spread[part]) * weight
    some = whole.sum(axis=1) > 0
    ratio = (left * weight).sum(axis=1) / np.where(some, whole.sum(axis=1), 1)
    known = np.isfinite(ratio) & some
    worst = ratio if one.pooled else np.where(changes, left / energy, 0).max(axis=1)
    return _Compared(known, moves & known, ratio <= np.where(moves, limit(track), noise_limit(track)), worst <= EXACT)


def modality(track: str) -> Modality:
    """What a track of a fingerprint measures."""
    return modality_of(track.removeprefix(DESCRIPTOR).removeprefix("logmel/"))


def noise_limit(track: str) -> float:
    """As `limit`, where a track does not move: noise is the same in a copy, but for video and sound that were coded again."""
    return np.inf if modality(track) in CODED else UNLIKE


def limit(track: str) -> float:
    """How much of a clip's energy may differ in a track."""
    return AGREE_CODED if modality(track) in CODED else AGREE


def clips_of(series: NDArray) -> FloatArray:
    """(m, CLIP, C) every clip of (bins, C), float64."""
    if len(series) < CLIP:
        return np.zeros((0, CLIP, series.shape[1]))
    return sliding_window_view(series.astype(np.float64), CLIP, axis=0).transpose(0, 2, 1)


def _smooth(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each bin with half of what stands before and after it: what is left can be shifted by less than a bin."""
    padded = np.pad(series.astype(np.float64), ((1, 1), (0, 0)), mode="edge")
    return np.asarray((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4)


def _moves(clips: FloatArray, pooled: bool) -> BoolArray:
    """(m, C) True where a clip's energy is more than noise and rounding: twice differenced, noise grows sixfold."""
    bends = np.square(np.diff(clips, 2, axis=1)).sum(axis=1) / 6 * CLIP / (CLIP - 2)
    bends = np.broadcast_to(bends.mean(axis=1, keepdims=True), bends.shape) if pooled else bends
    energy = _energy(clips, pooled)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(energy) & (energy > MOVES * bends))


def _energy(clips: FloatArray, pooled: bool) -> FloatArray:
    """(m, C) See `Clips.energy`."""
    about = clips - clips.mean(axis=1, keepdims=True)
    if pooled:
        energy = np.square(about).sum(axis=1)
        return np.asarray(np.broadcast_to(energy.mean(axis=1, keepdims=True), energy.shape))
    return np.asarray(np.square(about - _BASIS[1][:, None] * _pace(clips)).sum(axis=1))


def _pace(clips: FloatArray) -> FloatArray:
    """(C,) slope of the line that a channel follows in the middle one of its clips: that of a frame index, 0 of most joints.

    In a few seconds no pace can be told from motion: 0.
    """
    slope = np.einsum("l,mlc->mc", _BASIS[1], clips)
    with warnings.catch_warnings():  # a channel that is never measured
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(slope, axis=0) if len(slope) >= PASSAGE else np.zeros(clips.shape[2]))


def keys_of(clips: Clips, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """(n, K) keys of some clips, and (n,) how far apart those of two of which one is the other may be.

    Mean and slope of video and sound. Else slope (but for the pace) and bends of the channels that move, each in units of what it
    does: four sums of them with fixed signs, so that the same channels have the same keys in every run.
    """
    values = clips.values[rows]
    channels = values.shape[2]
    if clips.pooled:
        mean_slope = np.einsum("kl,mlc->mkc", _BASIS[:2], values)
        return mean_slope.reshape(len(rows), 2 * channels), np.sqrt(NEAR * clips.energy[rows].sum(axis=1))
    bends = (
        np.einsum("kl,mlc->mkc", _BASIS[1:4], values - _BASIS[1][:, None] * _pace(clips.values)) * _units(clips, rows)[:, None]
    )
    signs = np.random.default_rng(channels).choice([-0.5, 0.5], (channels, 4))
    return (bends @ signs).reshape(len(rows), 3 * 4), np.sqrt(
        NEAR * (clips.energy[rows] * np.square(_units(clips, rows))).sum(axis=1)
    )


def _units(clips: Clips, rows: NDArray[np.int64]) -> FloatArray:
    """(n, C) what a channel that moves is multiplied by; 0 where it does not."""
    moves = clips.moves[rows]
    return np.asarray(moves / np.sqrt(np.where(moves, clips.energy[rows] + clips.usual, 1)))


def _residual(clips: FloatArray, others: FloatArray, first: int, weight: FloatArray, level: BoolArray) -> FloatArray:
    """(m, C) squares that are left between clips and those of another track from `first` on, at the best shift below a bin.

    Between bins the other track is taken as the parabola through three of them. The shift is one for all channels.

    Args:
        clips: (m, CLIP, C).
        others: (k, CLIP, C).
        first: The clip of the others that the first one is compared with.
        weight: (m, C) of a channel in the choice of the shift.
        level: (m,) whether means count.
    """
    index = np.arange(first, first + len(clips))
    here = others[index]
    before, after = others[np.maximum(index - 1, 0)], others[np.minimum(index + 1, len(others) - 1)]
    away, slope, bend = clips - here, (after - before) / 2, (after - 2 * here + before) / 2
    drop = ~level[:, None, None]
    away, slope, bend = (values - drop * values.mean(axis=1, keepdims=True) for values in (away, slope, bend))
    weighted = slope * weight[:, None]
    size = (weighted * slope).sum(axis=(1, 2))
    linear, curved = (away * weighted).sum(axis=(1, 2)), (bend * weighted).sum(axis=(1, 2))
    shift = np.zeros(len(clips))
    for _ in range(3):  # the bend is small: a few rounds settle it
        shift = np.clip((linear - np.square(shift) * curved) / np.where(size > 0, size, 1), -SHIFT, SHIFT)
    by = shift[:, None, None]
    moved, still = np.square(away - by * slope - np.square(by) * bend).sum(axis=1), np.square(away).sum(axis=1)
    better = (moved * weight).sum(axis=1) < (still * weight).sum(axis=1)
    return np.asarray(np.where(better[:, None], moved, still))


def long_runs(matched: BoolArray, least: float) -> BoolArray:
    """Only the runs of at least so many bins."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], matched.astype(np.int8), [0]])))
    kept = np.zeros(len(matched), bool)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        kept[start:stop] = stop - start >= least
    return kept
