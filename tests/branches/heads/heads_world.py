"""A small world of sessions in memory: a smooth hidden motion that every block shows in its own way, and what it decides."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.answers import Targets
from harness.branch import EpisodeBatch, Needs
from harness.tasks import get_task
from harness.tasks.base import Task
from harness.window import (
    FeatureMatrix,
    ObservedBatch,
    Samples,
    TrackWindow,
    View,
    WindowSpec,
    make_samples,
    row_seeds,
)

SPEC = WindowSpec(length=20, stride=5)
HIDDEN = 4
SOURCES = {
    "cam1": ("video/fisheye_cam1",),
    "cam3": ("video/fisheye_cam3",),
    "hands": ("hand_left",),
    "imu": ("imu",),
    "text": ("objects",),
}
WIDTHS = {"cam1": 30, "cam3": 26, "hands": 24, "imu": 12, "text": 10}


@dataclass
class World:
    """Episodes `s<session>e<number>`; sessions shift every feature, so leaving a session out is harder than leaving rows out.

    Attributes:
        seed: Of everything.
        sessions: Clusters.
        per_session: Episodes of a session.
        frames: Reference samples per episode.
        noise: Standard deviation of feature noise.
        hidden_blocks: (episode, block) that are not measured.
        blocks: Blocks of the data set.
    """

    seed: int = 0
    sessions: int = 4
    per_session: int = 2
    frames: int = 220
    noise: float = 0.5
    shift: float = 0.5
    hidden_blocks: tuple[tuple[str, str], ...] = ()
    blocks: tuple[str, ...] = tuple(WIDTHS)
    unlabelled: tuple[str, ...] = ()
    motion: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        mix = {b: rng.normal(size=(3 * HIDDEN, w)) / np.sqrt(HIDDEN) for b, w in WIDTHS.items()}
        for s in range(self.sessions):
            offset = {b: self.shift * rng.normal(size=w) for b, w in WIDTHS.items()}
            for e in range(self.per_session):
                name = f"s{s}e{e}"
                steps = rng.normal(size=(self.frames + 200, HIDDEN))
                kernel = np.hanning(60)
                smooth = np.stack([np.convolve(steps[:, i], kernel, "valid")[: self.frames] for i in range(HIDDEN)], 1)
                self.motion[name] = smooth / smooth.std(axis=0)
                starts = SPEC.grid(self.frames)
                windows = self.motion[name][starts[:, None] + np.arange(SPEC.length)]
                state = np.concatenate([windows.mean(1), windows[:, -1] - windows[:, 0], np.abs(windows).mean(1)], 1)
                self.features[name] = {
                    b: (state @ mix[b] + offset[b] + self.noise * rng.normal(size=(len(state), WIDTHS[b]))).astype(np.float32)
                    for b in WIDTHS
                }

    @property
    def episodes(self) -> tuple[str, ...]:
        return tuple(sorted(self.motion))

    def set(self, *names: str) -> "MemorySet":
        return MemorySet(self, tuple(sorted(names or self.episodes)))

    def batch(self, episode: str, task: Task, needs: Needs, role: str = "") -> EpisodeBatch:
        timeline = np.arange(self.frames) / 20
        samples = make_samples(task.samples, episode, timeline, SPEC)
        views = [task.views[1 if role == "key" else 0]]
        if task.answer != "retrieval" and samples.starts.shape[1] == 2:
            views = [task.views[0], task.views[-1]]
        shown = tuple(self._view(episode, v, samples.starts[:, i], needs) for i, v in enumerate(views))
        observed = ObservedBatch(task.id, shown, row_seeds(samples.ids, self.seed), role)
        return EpisodeBatch(episode, episode[:2], samples, observed, self._targets(episode, task, samples))

    def _view(self, episode, allowed, starts, needs):
        seen = [b for b in self.blocks if allowed.allows(SOURCES[b])]
        edges = np.cumsum([0, *(WIDTHS[b] for b in seen)])
        values = np.zeros((len(starts), edges[-1]), np.float32)
        valid = np.ones((len(starts), len(seen)), bool)
        for i, b in enumerate(seen):
            if (episode, b) in self.hidden_blocks:
                valid[:, i] = False
            else:
                values[:, edges[i] : edges[i + 1]] = self.features[episode][b][starts // SPEC.stride]
        columns = {b: slice(int(edges[i]), int(edges[i + 1])) for i, b in enumerate(seen)}
        tracks = {}
        if "command" in needs.tracks:
            index = starts[:, None] + np.arange(SPEC.length) - 1
            commands = self.motion[episode][np.maximum(index, 0)][..., :3]
            tracks["command"] = TrackWindow(commands.astype(np.float32), index >= 0)
        times = np.repeat(np.arange(1 - SPEC.length, 1)[None] / 20, len(starts), axis=0)
        return View(times, tracks, FeatureMatrix(values, valid, columns) if needs.features else None)

    def _targets(self, episode: str, task: Task, samples: Samples) -> Targets:
        n = len(samples)
        last = samples.last[:, 0]
        motion = self.motion[episode]
        everywhere = np.full(n, episode not in self.unlabelled)
        if task.samples == "order_pair":
            return Targets(
                everywhere, (samples.starts[:, 0] < samples.starts[:, 1]).astype(np.int32), vocabulary=("reversed", "forward")
            )
        if task.samples == "sync_pair":
            return Targets(
                everywhere, (samples.starts[:, 0] == samples.starts[:, 1]).astype(np.int32), vocabulary=("shifted", "aligned")
            )
        if task.answer == "label":
            codes = (motion[last] > 0)[:, :2] @ np.array([1, 2])
            # Every episode has its own order of words: codes mean nothing without them.
            words = np.roll(["cut", "pour", "stir", "wait"], int(episode[1]))
            codes = (codes + int(episode[1])) % 4
            codes = np.where(everywhere, codes, -1)
            return Targets(everywhere, codes.astype(np.int32), vocabulary=tuple(words.tolist()))
        if task.answer == "label_set":
            return Targets(everywhere, label_sets=motion[last] > 0.3, vocabulary=("bowl", "cup", "knife", "pan"))
        if task.answer == "retrieval":
            return Targets(everywhere, item=np.arange(n, dtype=np.int32))
        if task.tracks_for_history():
            ahead = last[:, None] + np.arange(16)
            inside = ahead[:, -1] < len(motion)
            values = motion[np.minimum(ahead, len(motion) - 1)][..., :3].reshape(n, -1).astype(np.float32)
            held = motion[np.maximum(last - 1, 0)][:, :3].astype(np.float32)
            mask = np.repeat(inside[:, None], values.shape[1], axis=1)
            return Targets(inside, values=values, mask=mask, reference=np.tile(held, (1, 16)))
        values = (motion[last] @ np.array([[1.0, 0.5, 0, 0], [0, 0, 2.0, 1.0]]).T + 3).astype(np.float32)
        return Targets(everywhere, values=values)


@dataclass
class MemorySet:
    """A `TrainingSet` over the world."""

    world: World
    episodes: tuple[str, ...]

    def batches(self, task: Task, needs: Needs, role: str = "") -> Iterator[EpisodeBatch]:
        for episode in self.episodes:
            yield self.world.batch(episode, task, needs, role)


TASKS = (
    "timeline_action",
    "next_action",
    "object_relevance",
    "imu_to_hand_pose",
    "time_to_transition",
    "action_chunk",
    "cross_modal_retrieval",
    "camera_view_sync_retrieval",
    "caption_grounding",
    "temporal_order",
    "misalignment_detection",
)


def tasks(*names: str) -> tuple[Task, ...]:
    return tuple(get_task(name) for name in names or TASKS)
