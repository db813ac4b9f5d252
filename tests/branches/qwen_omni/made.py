"""Recordings made by hand: windows with frames, sound and the truth of all six tasks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from branches.qwen_omni.adapter import OmniBranch
from branches.qwen_omni.prompt import FIELDS
from harness.answers import Targets
from harness.branch import Artifact, EpisodeBatch, FitContext
from harness.tasks import get_task
from harness.window import ObservedBatch, Samples, TrackWindow, View, WindowSpec, make_samples, row_seeds

ROWS, STEPS, PIECE, SIZE = 5, 20, 800, 64
TASKS = tuple(get_task(task_id) for task_id in FIELDS)
WORDS = {
    "timeline_action": ("pick up the bottle", "pour water"),
    "timeline_subtask": ("pour a drink", "stir the drink"),
    "next_action": ("pour water", "put down the bottle"),
    "object_relevance": ("bottle", "cup", "tray"),
    "contact_prediction": ("no_contact", "contact"),
    "transition_detection": ("steady", "transition"),
}


def samples_of(seed: int) -> Samples:
    return make_samples("window", f"e{seed}", np.arange(ROWS * STEPS) / 20, WindowSpec(STEPS, STEPS))


def view(seed: int, unseen: tuple[int, ...] = (), unheard: tuple[int, ...] = (), *, sound: bool = True) -> View:
    """Noise to look at and to listen to; `unseen` rows lack the frame at t0 and `unheard` ones a piece of sound."""
    rng = np.random.default_rng(seed)
    seen, heard = np.ones((ROWS, STEPS), bool), np.ones((ROWS, STEPS), bool)
    seen[list(unseen), -1], heard[list(unheard), 7] = False, False
    frames = rng.integers(0, 255, (ROWS, STEPS, SIZE, SIZE, 3)).astype(np.uint8)
    tracks = {f"main_camera@{SIZE}x{SIZE}": TrackWindow(frames, seen)}
    if sound:
        noise = rng.normal(0, 0.1, (ROWS, STEPS, PIECE)).astype(np.float32)
        tracks["audio/mic"] = TrackWindow(noise, heard, rate=16_000.0)
    return View(np.tile(np.arange(-STEPS + 1, 1) / 20, (ROWS, 1)), tracks)


def observed(task_id: str, seed: int, shown: View | None = None) -> ObservedBatch:
    return ObservedBatch(task_id, (shown or view(seed),), row_seeds(samples_of(seed).ids, 0))


def targets(task_id: str, seed: int, unknown: tuple[int, ...] = ()) -> Targets:
    rng, words = np.random.default_rng([seed, len(task_id)]), WORDS[task_id]
    valid = np.ones(ROWS, bool)
    valid[list(unknown)] = False
    if task_id == "object_relevance":
        return Targets(valid, label_sets=(rng.random((ROWS, len(words))) < 0.6) & valid[:, None], vocabulary=words)
    return Targets(valid, labels=np.where(valid, np.arange(ROWS) % len(words), -1).astype(np.int32), vocabulary=words)


class Recordings:
    """A training set that stands in memory.

    Args:
        seeds: One episode each.
        unknown: Task -> rows without a truth.
        shown: Of `view`.
    """

    def __init__(self, *seeds: int, unknown: dict[str, tuple[int, ...]] | None = None, **shown) -> None:
        self.seeds, self.unknown, self.shown = seeds, unknown or {}, shown
        self.episodes = tuple(f"e{seed}" for seed in seeds)

    def batches(self, task, needs, role="") -> Iterator[EpisodeBatch]:
        for seed in self.seeds:
            shown = view(seed, **self.shown) if needs.frames or needs.tracks else View(np.zeros((ROWS, STEPS)))
            truth = targets(task.id, seed, self.unknown.get(task.id, ()))
            yield EpisodeBatch(f"e{seed}", f"e{seed}", samples_of(seed), observed(task.id, seed, shown), truth)


def fitted(branch: OmniBranch, out: Path, train: Recordings | None = None, seed: int = 0) -> Artifact:
    out.mkdir()
    return branch.fit(train or Recordings(1, 2), Recordings(3), FitContext(TASKS, seed, out))
