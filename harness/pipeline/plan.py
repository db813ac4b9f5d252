"""What a run is going to do, as one value that travels to every worker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.branch import Branch, Route, make_branch
from harness.bundle import bundle_folder
from harness.config import RunConfig
from harness.dataset import Dataset
from harness.encoder import Encoder, get_encoder
from harness.episode import Episode
from harness.features import data_set_blocks
from harness.features.base import Block
from harness.hiding import Hiding, Sight
from harness.latents import LATENTS, opened
from harness.record import file_stem
from harness.reference import PRIVILEGED
from harness.splits import Split
from harness.store import TrackStore
from harness.tasks import get_task
from harness.tasks.base import Task
from harness.window import WindowSpec


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        dataset: Where the recordings are.
        out: The run folder, absolute.
        store_uri: Of the track store, absolute: a worker has another working folder and may have another `$ESPALIER_HOME`.
        config: As resolved.
        spec: Windows.
        split: Folds.
        tasks: Task ids, in the order of the table.
        branches: Branch ids that are fitted and predict; privileged rows are apart.
        references: `oracle`, `copy`.
        block_widths: Feature block -> columns, over all episodes; empty before ingest.
        also: Feature blocks that ingest prepares beside those of the run, for runs on the same targets.
        sights: Branch -> task -> what it gets to see; empty before ingest.
        part_of: Folder of the run that this one is a part of, as a trial is: targets stand there. None = itself.
    """

    dataset: Dataset
    out: Path
    store_uri: str
    config: RunConfig
    spec: WindowSpec
    split: Split
    tasks: tuple[str, ...]
    branches: tuple[str, ...]
    references: tuple[str, ...] = ()
    block_widths: dict[str, int] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    sights: dict[str, dict[str, Sight]] = field(default_factory=dict)
    part_of: Path | None = None

    @property
    def home(self) -> Path:
        """Folder of the run, also for a part of it."""
        return self.part_of or self.out

    def targets_file(self, episode: str) -> Path:
        """Targets and record of one episode."""
        return self.home / "targets" / f"{file_stem(episode)}.parquet"

    def bundle(self, branch: str, fold: int, seed: int) -> Path:
        """Folder of one bundle."""
        return bundle_folder(self.out, branch, fold, seed)

    def task(self, task_id: str) -> Task:
        """A task with this data set's action groups."""
        return make_task(task_id, self.dataset, self.config.encoders)

    def answered(self) -> Iterator[tuple[Branch, Task]]:
        """Every branch with every task that it answers."""
        for name in self.branches:
            branch = self.make_branch(name)
            for task in map(self.task, self.tasks):
                if branch.route(task) is not None:
                    yield branch, task

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """The frozen encoders whose latents its tasks are about or its branches ask for."""
        return tuple(get_encoder(name, self.config.encoders.get(name)) for name in self._encoder_names)

    @cached_property
    def _encoder_names(self) -> tuple[str, ...]:
        """Names alone, which travel to workers; asking every branch about every task takes as long as opening an episode."""
        about = [encoder.name for task in map(self.task, self.tasks) for encoder in task.target_encoders()]
        asked = {name for branch, task in self.answered() for name in branch.needs(task).tracks if name.startswith(LATENTS)}
        return tuple(dict.fromkeys((*about, *sorted(name.removeprefix(LATENTS) for name in asked))))

    def open_episode(self, store: TrackStore, key: str) -> Episode:
        """A stored episode as this run sees it; see `harness.latents.opened`."""
        return opened(store.open(key), self.encoders, self.spec)

    def make_branch(self, name: str) -> Branch:
        """A branch with the run's options for it."""
        return make_branch(name, self.config.branch.get(name), self.config.preset)

    @property
    def hiding(self) -> Hiding:
        """What is kept from every branch."""
        return Hiding.of(self.config.hidden, self.config.only)

    def route(self, name: str, branch: Branch, task: Task) -> Route | None:
        """How the branch of that name answers a task of this run; None where it does not, or cannot with what is hidden."""
        sight = self.sights.get(name, {}).get(task.id)
        return None if sight is not None and sight.blind else branch.route(task)

    @property
    def blinded(self) -> tuple[str, ...]:
        """Branches that what is hidden leaves without a task."""
        left = {name for name, tasks in self.sights.items() if any(not sight.blind for sight in tasks.values())}
        return tuple(name for name in self.branches if self.sights.get(name) and name not in left)

    def blocks(self, tracks: Sequence[str]) -> list[Block]:
        """The feature blocks that can be made of these tracks: those of the run, and those prepared beside them."""
        wanted = {b.name for names in (self.config.features, self.also) for b in data_set_blocks(tracks, names)}
        return [block for block in data_set_blocks(tracks, ["*"]) if block.name in wanted]

    def seeds(self, branch: str) -> list[int]:
        """A branch that fits nothing and a privileged row run once; the others once per seed."""
        if branch in PRIVILEGED or not self.make_branch(branch).card.fitted:
            return self.config.seeds[:1]
        return list(self.config.seeds)


def make_task(task_id: str, dataset: Dataset, encoders: dict[str, str] | None = None) -> Task:
    """A task as this data set poses it: with the card's action groups, and with the model folders of encoders."""
    return get_task(task_id, dataset.card.action_groups, encoders)


def as_json(value: Any) -> Any:
    """Dataclasses and paths as plain JSON values."""
    if hasattr(value, "__dataclass_fields__"):
        return {k: as_json(getattr(value, k)) for k in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(v) for v in value]
    return str(value) if isinstance(value, Path) else value
