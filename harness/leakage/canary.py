"""The future canary: no bit of a prediction may change when everything after its t0 is other.

It goes the way of any run: a recording that is noise after t0 is ingested into a fresh store and every branch predicts from it,
with the artifacts of the run. Rows with that t0 or an earlier one are compared with the run's own, column by column. The noised
recording is also shorter, so only samples that either has are asked for, in the same batches: no last bit may depend on that.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from harness.episode import EpisodeRef
from harness.leakage.noise import NoisedDataset
from harness.leakage.words import some
from harness.pipeline.fit import FitJob, artifact_folder
from harness.pipeline.ingest import Quarantined, ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, Block
from harness.pipeline.workbench import Workbench
from harness.splits import Fold, Role
from harness.tables import by_task, sample_ids
from harness.tasks.base import Task
from harness.window import Samples, make_samples


@dataclass(frozen=True)
class Change:
    """Rows of one task that knew the future.

    Attributes:
        branch: Branch id.
        task: Task id.
        columns: What changed in them.
        samples: Ids.
    """

    branch: str
    task: str
    columns: tuple[str, ...]
    samples: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.branch} knows what comes after t0 ({self.task}, {', '.join(self.columns)}): {some(self.samples)}"


@dataclass(frozen=True)
class Answer:
    """What a canary found of one branch.

    Attributes:
        changes: Rows that knew the future; empty where none did.
        compared: Rows that were compared.
        heard: True where any row after t0 changed. A branch that is shown something and hears nothing answers from elsewhere
            (a cache that outlives the store), and then its silence proves nothing.
    """

    changes: tuple[Change, ...]
    compared: int
    heard: bool


class SharedSamples(Workbench):
    """Draws the samples that the run draws, as far as both recordings have them.

    Args:
        plan: On either recording.
        true: Of the run.
        shared: Ids that both recordings have.
    """

    def __init__(self, plan: Plan, true: Workbench, shared: Iterable[str]) -> None:
        super().__init__(plan)
        self._true = true
        self._shared = np.asarray(sorted(shared), np.str_)

    def samples(self, task: Task, episode: str, fold: Fold, role: Role) -> Samples:
        """See `Workbench`; a fold's borders are those in the run's recording."""
        drawn = self._true.samples(task, episode, fold, role).ids
        found = make_samples(task.samples, episode, self.episode(episode).timeline, self.plan.spec)
        return found.take(np.flatnonzero(np.isin(found.ids, drawn) & np.isin(found.ids, self._shared)))


class FutureCanary:
    """One noised recording, ingested once for all branches of a run.

    Args:
        plan: A run whose branches are fitted, with all its episodes ingested.
        ref: A test episode.
        t0: Seconds on its time base.
        folder: Empty; a store and two run folders are made here.
        seed: Of the noise.

    Raises:
        ValueError: The noised recording cannot be ingested.
    """

    def __init__(self, plan: Plan, ref: EpisodeRef, t0: float, folder: Path, seed: int = 0) -> None:
        self.t0 = t0
        self.episode = ref.id
        self._fitted = plan
        dataset = NoisedDataset(plan.dataset.root, plan.dataset.card, plan.dataset.inferred, t0, seed)
        self._true = replace(plan, out=folder / "true", part_of=None)
        # The shorter recording would be thinned out at other places.
        spec = replace(plan.spec, max_per_episode=None)
        store = str(folder / "store")
        self._noised = replace(plan, dataset=dataset, out=folder / "noised", store_uri=store, spec=spec, part_of=None)
        for other in (self._true, self._noised):
            _link_targets(plan, other, but=() if other is self._true else (ref.id,))
        record = ingest_episode(self._noised, ref)
        if isinstance(record, Quarantined):
            raise ValueError(f"the noised {ref.id} cannot be ingested: {record.reason}")

    @cached_property
    def _actors(self) -> tuple[Actor, Actor]:
        true, noised = Actor(self._true), Actor(self._noised)
        drawn = true.bench
        for actor in (true, noised):
            actor.bench = SharedSamples(actor.plan, drawn, self._late)
        return true, noised

    @cached_property
    def _late(self) -> dict[str, bool]:
        """Sample that both recordings have -> whether its t0 is after the canary's."""
        late: dict[str, bool] = {}
        there: set[str] = set()
        for _, table in by_task(self._true.targets_file(self.episode), self._true.tasks):
            late |= dict(zip(sample_ids(table).tolist(), (table.column("t0").to_numpy() > self.t0).tolist(), strict=True))
        for _, table in by_task(self._noised.targets_file(self.episode), self._noised.tasks):
            there |= set(sample_ids(table).tolist())
        return {sample: is_late for sample, is_late in late.items() if sample in there}

    @cached_property
    def _windows(self) -> list[bool]:
        """Whether its t0 is after the canary's, of every sample that is a window."""
        return [late for sample, late in self._late.items() if "#w" in sample]

    def check(self, job: FitJob, near: int | None = None) -> Answer:
        """Predict the episode from either recording and compare.

        Args:
            job: A finished fit.
            near: So many samples before the canary's moment and after it, for models that take seconds for each; None = all.
        """
        before = sum(not late for late in self._windows)
        start, stop = (0, len(self._late)) if near is None else (max(before - near, 0), before + near)
        rows = []
        for plan, actor in zip((self._true, self._noised), self._actors, strict=True):
            _link(artifact_folder(self._fitted, job), artifact_folder(plan, job))
            block = Block(job.branch, job.fold, job.seed, self.episode, start, stop)
            actor.run(block)
            rows.append(dict(by_task(block.part(plan))))
        changes, compared, heard = [], 0, False
        for task, true in rows[0].items():
            changed = _changed(true, rows[1][task])
            early = {sample: columns for sample, columns in changed.items() if not self._late[sample]}
            compared += sum(not self._late[sample] for sample in changed)
            if known := {sample: columns for sample, columns in early.items() if columns}:
                columns = tuple(sorted({column for columns in known.values() for column in columns}))
                changes.append(Change(job.branch, task, columns, tuple(known)))
            heard |= any(columns for sample, columns in changed.items() if self._late[sample])
        return Answer(tuple(changes), compared, heard)


def future_canary(plan: Plan, ref: EpisodeRef, t0s: Sequence[float], jobs: Iterable[FitJob], folder: Path) -> list[Change]:
    """Try fitted branches at several moments of one test episode.

    Args:
        plan: A run whose branches are fitted, with all its episodes ingested.
        ref: A test episode.
        t0s: Seconds on its time base; the recording is ingested once for each.
        jobs: Which fits.
        folder: Empty.

    Returns:
        What knew the future; empty where nothing did.
    """
    jobs = list(jobs)
    canaries = [FutureCanary(plan, ref, t0, folder / str(i), seed=i) for i, t0 in enumerate(t0s)]
    return [change for canary in canaries for job in jobs for change in canary.check(job).changes]


def _changed(one: pa.Table, other: pa.Table) -> dict[str, list[str]]:
    """Sample -> columns in which the two differ by any bit (NaN equals NaN)."""
    found: dict[str, list[str]] = {}
    theirs = {row["sample"]: row for row in other.to_pylist()}
    for row in one.to_pylist():
        match = theirs.pop(row["sample"], {})
        found[row["sample"]] = [column for column, value in row.items() if repr(value) != repr(match.get(column))]
    return found | {sample: ["sample"] for sample in theirs}


def _link_targets(plan: Plan, other: Plan, but: Sequence[str]) -> None:
    for episode in plan.split.episodes:
        if episode not in but and plan.targets_file(episode).is_file():
            _link(plan.targets_file(episode), other.targets_file(episode))


def _link(source: Path, place: Path) -> None:
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(source.resolve(), place)
