"""The contract a branch implements: fit on training episodes, then answer batches that end at t0."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, cast

from harness.answers import Predictions, Targets
from harness.card import suggest
from harness.episode import Modality
from harness.errors import BadInput
from harness.manifest import ENTRY_POINTS
from harness.model_plan import ModelPlan
from harness.tasks.base import Task
from harness.window import ObservedBatch, Samples

Route = Literal["native", "derived", "probe"]
TINY_WEIGHTS = "tiny-pretrained"
"""`BranchCard.weights` of a branch whose pretrained weights our own scripts made small, from demo sessions of reserved seeds."""
MAIN = "main_camera"  # as a camera: the one that an episode's windows are cut on


@dataclass(frozen=True)
class FramesWant:
    """Decoded frames that a branch wants ingest to keep.

    Attributes:
        camera: Video track without its `video/` prefix; `*` = every camera; `MAIN` = the main one, `Episode.main_camera`, whose
            frames a view shows as `main_camera@<height>x<width>`.
        height: Pixels.
        width: Pixels.
        stride: Every so-manieth source frame: model rates divide the source rate.
        steps: A view shows it so many last reference samples, up to t0; null = all it observes.
    """

    camera: str
    height: int
    width: int
    stride: int = 1
    steps: int | None = None

    def track(self, camera: str) -> str:
        """Name of the stored track."""
        return f"frames/{camera}{self._size}"

    @property
    def pattern(self) -> str:
        """Name, or shell pattern of the names, under which a view shows it."""
        return f"{MAIN}{self._size}" if self.camera == MAIN else self.track(self.camera)

    @property
    def _size(self) -> str:
        return f"@{self.height}x{self.width}" + (f"/{self.stride}" if self.stride > 1 else "")


@dataclass(frozen=True)
class Needs:
    """What a branch wants to see of a sample; it gets the part of it that the task allows.

    Attributes:
        tracks: Shell patterns over track names.
        features: True for the window features of the run's block list.
        frames: Decoded frames, which are shown as tracks `frames/<camera>@<height>x<width>`.
        vital: Modalities without which it has no answer, where a view may show others beside them.
    """

    tracks: tuple[str, ...] = ()
    features: bool = False
    frames: tuple[FramesWant, ...] = ()
    vital: tuple[Modality, ...] = ()


@dataclass(frozen=True)
class BranchCard:
    """What a reader of the table must know of a branch.

    Attributes:
        name: Branch id as on the command line, e.g. `ridge` or `policy:smolvla`.
        family: `floor`, `reference`, `head`, `qwen_omni`, `world_model`, `policy`, `replay`.
        title: One line for tables.
        backbone: Model the branch stands on; empty where there is none.
        weights: Where its pretrained weights come from: empty, `tiny-pretrained` or an id.
        pretraining: Data set -> `yes`, `no` or `unknown`: what the pretrained weights have seen.
        privileged: True where it looks at targets: it bounds, it is never ranked.
        fitted: True where `fit` learns something from training episodes.
        cpus: CPUs of one prediction actor.
        gpus: GPUs of one prediction actor.
        fit_cpus: CPUs that a fit itself holds; 0 where it starts Ray Train workers that hold theirs.
        fit_gpus: As `fit_cpus`.
    """

    name: str
    family: str
    title: str
    backbone: str = ""
    weights: str = ""
    pretraining: dict[str, str] = field(default_factory=dict)
    privileged: bool = False
    fitted: bool = True
    cpus: float = 1.0
    gpus: float = 0.0
    fit_cpus: float = 1.0
    fit_gpus: float = 0.0

    def declared_pretraining(self, dataset: str) -> dict[str, str]:
        """Data set -> `yes`, `no` or `unknown`, for the data set of a run too: said beside its numbers, whatever it is."""
        if not self.weights:
            return dict(self.pretraining)
        tiny = self.weights == TINY_WEIGHTS
        return {dataset: "no" if tiny else "unknown"} | ({"demo": "yes"} if tiny else {}) | self.pretraining

    def of_preset(self, preset: str) -> Self:
        """The card of a model in one of its sizes: `real` holds a whole GPU where it is fitted and where it answers."""
        return replace(self, gpus=1.0, fit_gpus=1.0) if preset == "real" else self


@dataclass(frozen=True, eq=False)
class EpisodeBatch:
    """All samples of one task in one training or validation episode: what was observed, and the truth.

    Attributes:
        episode: Episode id.
        cluster: Participant, session or episode: inner folds keep it together.
        samples: Ids and positions.
        observed: Cut at t0.
        targets: Row for row.
    """

    episode: str
    cluster: str
    samples: Samples
    observed: ObservedBatch
    targets: Targets


class TrainingSet(Protocol):
    """The episodes of one role of a fold, read from the track store one at a time."""

    @property
    def episodes(self) -> tuple[str, ...]:
        """Ids, sorted."""

    def batches(self, task: Task, needs: Needs, role: Literal["", "query", "key"] = "") -> Iterator[EpisodeBatch]:
        """One batch per episode; only samples of this role of the fold. Episodes without any sample are left out."""


@dataclass(frozen=True)
class FitContext:
    """Everything else a fit may know.

    Attributes:
        tasks: Tasks to fit, those the branch answers.
        seed: Of all randomness.
        out: Empty folder for the artifact's files (no pickles).
        threads: Threads the fit may use.
        block_widths: Feature block -> its number of columns.
    """

    tasks: tuple[Task, ...]
    seed: int
    out: Path
    threads: int = 1
    block_widths: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """What `fit` leaves: files in a folder, and who they were made from.

    Attributes:
        folder: Where the files are.
        fitted_on: Fitted part (`scaler`, `vocabulary`, `weights`, ...) -> episode ids it has seen.
        classes: Task -> the classes its codes and probabilities are over.
        parameters: Number of fitted numbers, where it means something.
        prompts: What the branch tells its model in words (instructions, answers of shots): no label of the test may stand there.
        spans: Episode -> first and last reference sample of it that the fit was handed, targets included; the stage fills it in.
        details: What a reader may want to know (penalties, epochs); JSON values. `notes` (task -> line) stand beside its numbers.
    """

    folder: Path
    fitted_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def save(self) -> None:
        """Write `artifact.json` last: its presence says that the fit is complete."""
        body = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "folder"}
        partial = self.folder / ".artifact.json.partial"
        partial.write_text(json.dumps(body, indent=1, sort_keys=True))
        partial.replace(self.folder / "artifact.json")

    @staticmethod
    def load(folder: Path) -> "Artifact":
        """Read what `save` wrote."""
        body = json.loads((folder / "artifact.json").read_text())
        fitted_on = {part: tuple(ids) for part, ids in body["fitted_on"].items()}
        classes = {task: tuple(words) for task, words in body["classes"].items()}
        spans = {episode: (first, last) for episode, (first, last) in body["spans"].items()}
        return Artifact(folder, fitted_on, classes, body["parameters"], body["details"], tuple(body["prompts"]), spans)


class Predictor(ABC):
    """A fitted branch in memory, loaded once per actor."""

    @abstractmethod
    def predict(self, batch: ObservedBatch) -> Predictions:
        """One row per sample of the batch, in its order. In retrieval tasks `values` is the vector of the batch's role."""

    def embed(self, batch: ObservedBatch) -> Any:
        """(B, E) float32 features for a shared probe head, or None where the branch offers none."""
        return None


class Branch(ABC):
    """A model family's way into the frame.

    Args:
        options: The branch's own options, `<branch>.<key>=value` on the command line, checked by its config class.
    """

    card: BranchCard
    presets: ClassVar[tuple[str, ...]] = ()
    """Names of the sizes it comes in; empty where there is but one."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        self.options = options or {}

    @property
    def encoders(self) -> tuple[str, ...]:
        """Frozen encoders whose latents it forecasts: what a plain `future_latent` stands for in a run of this branch."""
        return ()

    @abstractmethod
    def route(self, task: Task) -> Route | None:
        """How the branch answers a task; None = not at all (N/A in the table, never 0)."""

    @abstractmethod
    def needs(self, task: Task) -> Needs:
        """What it wants to see of a sample of this task."""

    @abstractmethod
    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Learn what is to be learnt from these episodes alone, and write it to `context.out`."""

    @abstractmethod
    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the artifact."""

    def plan(self) -> ModelPlan | None:
        """What its model is made of, without any weights (torch's meta device); None where nothing is worth a plan."""
        return None


def branch_names() -> list[str]:
    """Every registered branch, without importing any."""
    return sorted(point.name for point in entry_points(group=ENTRY_POINTS))


def make_branch(name: str, options: dict[str, Any] | None = None, preset: str | None = None) -> Branch:
    """A branch by its id, or by `module:Class` for one that is not registered.

    Args:
        name: Branch id.
        options: Its own options.
        preset: Of all branches that have presets and whose options name none.

    Raises:
        BadInput: No such branch.
    """
    head, _, inner = name.partition("@")
    cls = _branch_class(head)
    if inner:  # `ridge@policy:act`: a head on another branch's embedding
        if not hasattr(cls, "on_embedding"):
            raise BadInput(f"branch {name!r}: {head} is no head, so it cannot stand on the embedding of {inner}")
        return cast(Branch, cls.on_embedding(make_branch(inner, None, preset), options))
    return cls({"preset": preset, **(options or {})} if preset and cls.presets else options)


def _branch_class(name: str) -> type[Branch]:
    if "." in name and ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return cast(type[Branch], getattr(import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            raise BadInput(f"branch {name!r} cannot be imported ({error}); give package.module:Class") from error
    points: dict[str, EntryPoint] = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise BadInput(f"branch {name!r} is not known{suggest(name, sorted(points))}")
    try:
        return cast(type[Branch], points[name].load())
    except (ImportError, AttributeError) as error:
        raise BadInput(f"branch {name!r} ({points[name].value}) cannot be imported: {error}; install what it needs") from error
