"""A worker's hands: stored episodes, samples and training sets of one run, opened once per process."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from harness.answers import Targets
from harness.branch import EpisodeBatch, Needs
from harness.episode import Episode
from harness.features import data_set_blocks
from harness.features.base import Block
from harness.observe import Observer
from harness.pipeline.plan import Plan
from harness.record import EpisodeRecord
from harness.splits import Fold, Role
from harness.store import TrackStore
from harness.tables import by_task, read_samples, read_targets
from harness.tasks.base import Task
from harness.window import Samples, make_samples

OPEN_EPISODES = 4  # memory-mapped, so this bounds file handles rather than memory


class Workbench:
    """Everything the stages share within a process.

    Args:
        plan: The run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.store = TrackStore(plan.store_uri, plan.config.store.max_gib)
        self.record = lru_cache(maxsize=4096)(self._record)
        self.episode = lru_cache(maxsize=OPEN_EPISODES)(self._episode)

    @cached_property
    def observer(self) -> Observer:
        """Makes the batches."""
        blocks = self.blocks
        return Observer(self.plan.spec, blocks, self.plan.block_widths, self.plan.config.modalities, self.plan.hiding)

    @cached_property
    def blocks(self) -> list[Block]:
        """Feature blocks of the run, those that any episode has."""
        tracks = sorted({t for e in self.plan.split.episodes if self.present(e) for t in self.record(e).tracks})
        found = data_set_blocks(tracks, self.plan.config.features)
        return [block for block in found if block.name in self.plan.block_widths]

    def present(self, episode: str) -> bool:
        """True where ingest could read the episode."""
        return self.plan.targets_file(episode).is_file()

    def usable(self, episode: str) -> bool:
        """True where it also poses a task: an episode without a modality that the run asks for poses none."""
        return self.present(episode) and bool(self.record(episode).tasks)

    def _record(self, episode: str) -> EpisodeRecord:
        return EpisodeRecord.from_file(self.plan.targets_file(episode))

    def _episode(self, episode: str) -> Episode:
        return self.plan.open_episode(self.store, self.record(episode).key)

    def samples(self, task: Task, episode: str, fold: Fold, role: Role) -> Samples:
        """The samples of a task in an episode that belong to a role of a fold."""
        stored = self.episode(episode)
        samples = make_samples(task.samples, episode, stored.timeline, self.plan.spec)
        return samples.take(fold.select(role, samples, len(stored.timeline), self.plan.spec, task.reach(self.plan.spec)))

    def training_set(self, fold: Fold, role: Literal["train", "validation"], seed: int) -> "StoredTrainingSet":
        """The episodes of a role, read one at a time."""
        return StoredTrainingSet(self, fold, role, seed)


class StoredTrainingSet:
    """A `TrainingSet` over the track store and the targets of training or validation episodes.

    Attributes:
        spans: Episode -> first and last reference sample that it has handed out so far.
    """

    def __init__(self, bench: Workbench, fold: Fold, role: Literal["train", "validation"], seed: int) -> None:
        self.bench = bench
        self.fold = fold
        self.role = role
        self.seed = seed
        self.spans: dict[str, tuple[int, int]] = {}
        self.episodes = tuple(e for e in fold.episodes(role) if bench.usable(e))

    def batches(self, task: Task, needs: Needs, role: Literal["", "query", "key"] = "") -> Iterator[EpisodeBatch]:
        """See `harness.branch.TrainingSet`."""
        bench = self.bench
        for episode in self.episodes:
            found = self._rows(task, episode)
            if found is None:
                continue
            samples, targets = found
            spec = bench.plan.spec
            keep = self.fold.select(self.role, samples, bench.record(episode).n_reference, spec, task.reach(spec))
            if not keep.any():
                continue
            samples, targets = samples.take(np.flatnonzero(keep)), targets.take(np.flatnonzero(keep))
            self._note(episode, samples, task.reach(spec))
            observed = bench.observer.batch(bench.episode(episode), task, samples, needs, seed=self.seed, role=role)
            yield EpisodeBatch(episode, bench.plan.split.clusters[episode], samples, observed, targets)

    def _note(self, episode: str, samples: Samples, reach: int) -> None:
        """What of an episode a fit was handed: the first reference sample of any view, the last one of any target."""
        spec, n = self.bench.plan.spec, self.bench.record(episode).n_reference
        first, last = max(int(samples.last.min()) + 1 - spec.observed, 0), min(int(samples.last.max()) + reach, n - 1)
        before = self.spans.get(episode, (first, last))
        self.spans[episode] = (min(before[0], first), max(before[1], last))

    def _rows(self, task: Task, episode: str) -> tuple[Samples, Targets] | None:
        path = self.bench.plan.targets_file(episode)
        for task_id, table in by_task(path, [task.id]):
            assert task_id == task.id
            return read_samples(table, task.samples, self.bench.plan.spec.length), read_targets(table, task.answer)
        return None
