"""From a stored episode to an `ObservedBatch`: what the task allows, what the branch asked for, copied and cut at t0."""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.branch import Needs
from harness.episode import BoolArray, Episode, FloatArray, Modality, Track
from harness.features.base import Block
from harness.hiding import Hiding
from harness.tasks.base import Task, ViewSpec
from harness.until import FeatureTimes
from harness.window import (
    FeatureMatrix,
    ObservedBatch,
    Samples,
    TrackWindow,
    View,
    WindowSpec,
    look_at,
    row_seeds,
    view_times,
)

CACHE_BYTES = 512 * 2**20


class Observer:
    """Makes batches. One per process: it keeps the window features of the last episodes, which several tasks and branches share.

    Args:
        spec: Windows of the run.
        blocks: Feature blocks of the run, in order.
        widths: Block -> columns.
        modalities: Only features that measure one of these; empty = all.
        hiding: What is kept from every branch.
    """

    def __init__(
        self,
        spec: WindowSpec,
        blocks: Sequence[Block],
        widths: dict[str, int],
        modalities: Sequence[str] = (),
        hiding: Hiding | None = None,
    ) -> None:
        self.spec = spec
        self.blocks = tuple(blocks)
        self.widths = widths
        self.modalities = frozenset(modalities)
        self.hiding = hiding or Hiding()
        self._cache: OrderedDict[tuple[str, str], tuple[NDArray[np.float32], BoolArray]] = OrderedDict()
        self._cached_bytes = 0
        self._times = FeatureTimes(spec.length)

    def batch(
        self,
        episode: Episode,
        task: Task,
        samples: Samples,
        needs: Needs,
        *,
        seed: int = 0,
        draw: int = 0,
        role: Literal["", "query", "key"] = "",
    ) -> ObservedBatch:
        """What a branch sees of these samples of one task, see `observe`."""
        return self.observe(episode, task, samples, needs, seed=seed, draw=draw, role=role)[0]

    def observe(
        self,
        episode: Episode,
        task: Task,
        samples: Samples,
        needs: Needs,
        *,
        seed: int = 0,
        draw: int = 0,
        role: Literal["", "query", "key"] = "",
    ) -> tuple[ObservedBatch, FloatArray]:
        """What a branch sees of these samples of one task, and until when.

        Args:
            episode: As the track store gives it.
            task: Says which tracks each view allows.
            samples: Rows, in the order of the batch.
            needs: What the branch asked for.
            seed: Of the run.
            draw: Number of the draw, for branches that sample.
            role: Retrieval tasks: which of the two views.

        Returns:
            The batch, and (n,) the time of the newest sample that anything in a row of it is made of, seconds on the episode's
            time base; -inf where nothing is shown. It is no part of the batch: absolute time would answer the pair tasks.
        """
        chosen = [(0, task.views[0])]
        if role == "key":
            chosen = [(samples.starts.shape[1] - 1, task.views[1])]
        elif task.answer != "retrieval":
            chosen = [(i, task.views[min(i, len(task.views) - 1)]) for i in range(samples.starts.shape[1])]
        past = task.tracks_for_history()
        found = [self._view(episode, spec, samples.starts[:, i], needs, past) for i, spec in chosen]
        batch = ObservedBatch(task.id, tuple(view for view, _ in found), row_seeds(samples.ids, seed, draw, role), role)
        return batch, np.max([newest for _, newest in found], axis=0)

    def shows(
        self, episode: Episode, task: Task, needs: Needs, hiding: Hiding | None = None
    ) -> tuple[dict[str, tuple[Modality, ...]], ...]:
        """Per view of a task, what it shows of an episode -> what that is made of; window features as `features/BLOCK`.

        Args:
            episode: As in `batch`.
            task: As in `batch`.
            needs: As in `batch`.
            hiding: Another one than the observer's.
        """
        hiding = self.hiding if hiding is None else hiding
        found = []
        for allowed in task.views:
            tracks = ((track.name, made_of(track)) for track, _ in self._tracks(episode, allowed, needs))
            blocks = self._blocks(allowed, hiding) if needs.features else []
            named = ((f"features/{b.name}", sources_of(b)) for b in blocks if b.available(episode))
            found.append({name: made for name, made in (*tracks, *named) if not hiding.hides(made)})
        return tuple(found)

    def _view(
        self, episode: Episode, allowed: ViewSpec, starts: NDArray[np.int64], needs: Needs, past: Sequence[str]
    ) -> tuple[View, FloatArray]:
        newest = np.full(len(starts), -np.inf)
        last = starts + self.spec.length - 1
        tracks: dict[str, TrackWindow] = {}
        for track, steps in self._tracks(episode, allowed, needs):
            hidden = self.hiding.hides(made_of(track))
            if hidden and track.name not in past:
                continue
            window, until = look_at(track, episode.timeline, last, self.spec, min(steps, self.spec.observed))
            tracks[track.name] = _unmeasured(window) if hidden else window
            newest = newest if hidden else np.maximum(newest, until)
        features = None
        if needs.features:
            features, until = self._features(episode, allowed, starts)
            newest = np.maximum(newest, until)
        return View(view_times(episode, last, self.spec), tracks, features), newest

    def _tracks(self, episode: Episode, allowed: ViewSpec, needs: Needs) -> Iterator[tuple[Track, int]]:
        """Tracks that were asked for and are allowed, hidden or not, and how many steps of them."""
        for track in episode.tracks.values():
            steps = steps_shown(track.name, needs)
            if steps and allowed.allows(track.sources or (track.name,)):
                yield track, steps

    def _blocks(self, allowed: ViewSpec, hiding: Hiding) -> list[Block]:
        return [b for b in self.blocks if allowed.allows(b.sources) and self._wanted(b) and not hiding.hides(sources_of(b))]

    def _features(self, episode: Episode, allowed: ViewSpec, starts: NDArray[np.int64]) -> tuple[FeatureMatrix, FloatArray]:
        seen = self._blocks(allowed, self.hiding)
        edges = np.cumsum([0, *(self.widths[b.name] for b in seen)]).tolist()
        columns = {b.name: slice(edges[i], edges[i + 1]) for i, b in enumerate(seen)}
        values = np.zeros((len(starts), edges[-1]), np.float32)
        valid = np.zeros((len(starts), len(seen)), bool)
        every = np.unique(starts) if self.spec.max_per_episode else self.spec.grid(len(episode.timeline))
        position = np.searchsorted(every, starts)
        newest = np.full(len(starts), -np.inf)
        for i, block in enumerate(seen):
            if block.available(episode):
                # With few windows only those are computed; else all of the grid at once, for other tasks and branches too.
                few = self.spec.max_per_episode is not None
                found = block.compute(episode, every, self.spec.length) if few else self._grid_features(episode, block)
                values[:, columns[block.name]] = found[0][position]
                valid[:, i] = found[1][position]
                newest = np.maximum(newest, self._times.newest(episode, block, every, found[0])[position])
        return FeatureMatrix(values, valid, columns), newest

    def _wanted(self, block: Block) -> bool:
        """By what the block measures; what it stands on beside that (the camera pose of a hand) is not asked for."""
        return not self.modalities or modality_of(block.sources[0]) in self.modalities

    def _grid_features(self, episode: Episode, block: Block) -> tuple[NDArray[np.float32], BoolArray]:
        """Features of every window of the episode's grid: tasks take rows of them."""
        key = (episode.id, block.name)
        if key not in self._cache:
            found = block.compute(episode, self.spec.grid(len(episode.timeline)), self.spec.length)
            self._cache[key] = found
            self._cached_bytes += found[0].nbytes
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= self._cache.popitem(last=False)[1][0].nbytes
        self._cache.move_to_end(key)
        return self._cache[key]


def steps_shown(track: str, needs: Needs) -> int:
    """How many last reference samples of a track a branch asked for: 0 = none, at most all that a view observes."""
    if any(fnmatchcase(track, pattern) for pattern in needs.tracks):
        return 1 if track.startswith("latents/") else sys.maxsize  # a latent is of a whole clip: only that of t0 is shown
    wanted = [want for want in needs.frames if fnmatchcase(track, want.pattern)]
    return max((want.steps or sys.maxsize for want in wanted), default=0)


def _unmeasured(window: TrackWindow) -> TrackWindow:
    """A window of the same shape that shows nothing: a continuous future finds its past, and that none of it is measured."""
    return replace(window, values=np.zeros_like(window.values), valid=np.zeros_like(window.valid), categories=())


def made_of(track: Track) -> tuple[Modality, ...]:
    """Modalities of what a stored track is made of; the first is the one that it measures."""
    return tuple(modality_of(source) for source in track.sources) or (track.modality,)


def sources_of(block: Block) -> tuple[Modality, ...]:
    """As `made_of`, of a feature block."""
    return tuple(modality_of(source) for source in block.sources)


def modality_of(track: str) -> Modality:
    """The modality that the name of a track says."""
    prefix = track.partition("/")[0]
    for start, modality in _MODALITIES.items():
        if prefix.startswith(start):
            return modality
    return Modality.STATE


_MODALITIES = {
    "video": Modality.VIDEO,
    "main_camera": Modality.VIDEO,
    "frames": Modality.VIDEO,
    "latents": Modality.VIDEO,
    "audio": Modality.AUDIO,
    "depth": Modality.DEPTH,
    "camera_pose": Modality.POSE,
    "hand": Modality.HAND,
    "body": Modality.BODY,
    "contact": Modality.CONTACT,
    "imu": Modality.IMU,
    "objects": Modality.LANGUAGE,
    "interaction": Modality.LANGUAGE,
    "instruction": Modality.LANGUAGE,
    "command": Modality.COMMAND,
    "calibration": Modality.CALIBRATION,
    "point_cloud": Modality.MAP,
    "features": Modality.TABLE,
}
