"""Policies as branches: frames, state and text in, a chunk of actions in physical units out."""

import json
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from branches.policy.config import ACTOptions, PolicyOptions, parse_options
from branches.policy.spaces import STATE, Space, space_of
from branches.policy.windows import choose_cameras, frames_of, gather, in_parts
from harness.answers import Predictions, Status, all_ok
from harness.branch import Artifact, Branch, BranchCard, FitContext, FramesWant, Needs, Predictor, Route, TrainingSet
from harness.errors import BadInput
from harness.tasks.action_chunk import ActionChunk
from harness.tasks.base import Task
from harness.tasks.hand_action import HandActionChunk
from harness.window import ObservedBatch

if TYPE_CHECKING:  # torch and lerobot take seconds to import: the command line must not wait for them
    from branches.policy.training import Policy

PART = 64  # windows that go through a network at once


class PolicyBranch(Branch):
    """What all policies share: which windows they see, how they are trained, what they leave."""

    presets: ClassVar[tuple[str, ...]] = ("tiny", "real")
    projected: ClassVar[bool] = False
    config: PolicyOptions

    @abstractmethod
    def build(self, cameras: int, state: int, action: int, horizon: int) -> "Policy":
        """The network, freshly drawn from torch's generator."""

    def route(self, task: Task) -> Route | None:
        """Robot commands and hand-pose actions."""
        return "native" if isinstance(task, ActionChunk | HandActionChunk) else None

    def needs(self, task: Task) -> Needs:
        """The frame at t0 of every camera that may be looked at, the state, and the past of the action."""
        size = self.config.image_size
        frames = FramesWant(self.config.cameras, size, size, steps=1)
        return Needs(tracks=(*task.tracks_for_history(), STATE), frames=(frames,))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Train one network per task.

        Raises:
            BadInput: No training window has a camera and a state.
        """
        fitted, details, parameters = [], {}, 0
        for task in context.tasks:
            said, count = self._fit_task(task, train, validation, context)
            details[task.id] = said
            parameters += count
            fitted.append(said.pop("episodes"))
        seen = tuple(sorted({e for episodes in fitted for e in episodes["train"]}))
        checked = tuple(sorted({e for episodes in fitted for e in episodes["validation"]}))
        parts = {"scales": seen, "weights": seen} | ({"early_stopping": checked} if checked else {})
        return Artifact(context.out, parts, parameters=parameters, details=details)

    def _fit_task(
        self, task: Task, train: TrainingSet, validation: TrainingSet, context: FitContext
    ) -> tuple[dict[str, Any], int]:
        import torch  # noqa: PLC0415
        from safetensors.torch import save_file  # noqa: PLC0415

        from branches.policy.scales import fit_scales  # noqa: PLC0415
        from branches.policy.training import deterministic  # noqa: PLC0415
        from branches.policy.training import train as train_policy  # noqa: PLC0415

        needs, horizon = self.needs(task), _horizon(task)
        cameras = choose_cameras(train, task, needs, self.config.max_cameras)
        if not cameras:
            raise BadInput(f"{self.card.name}: no training episode has a camera that fits {self.config.cameras!r}; leave it out")
        with tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            both = [
                gather(role, task, needs, cameras, self.config, self.projected, Path(scratch) / name)
                for name, role in (("train", train), ("validation", validation))
            ]
            windows, checks = both
            if windows is None or not len(windows):
                raise BadInput(f"{self.card.name}: no training window of {task.id} has {', '.join(cameras)} and a state")
            scales = fit_scales(windows)
            with deterministic(context.threads, context.seed):
                policy = self.build(len(cameras), len(scales.state.low), windows.space.width, horizon)
            policy.module.to("cuda" if torch.cuda.is_available() else "cpu")
            checks = checks if checks is not None and len(checks) else None
            trained = train_policy(policy, windows, checks, scales, self.config, context.seed, context.threads)
        folder = context.out / task.id
        folder.mkdir()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.module.state_dict().items()}
        save_file(state, folder / "policy.safetensors")
        body = {
            "relative": self.config.relative,
            "cameras": cameras,
            "horizon": horizon,
            "width": windows.space.width,
            "scales": scales.to_json(),
        }
        (folder / "policy.json").write_text(json.dumps(body))
        said = {"cameras": list(cameras), "windows": len(windows), "left_out": windows.left_out, **vars(trained)}
        said["episodes"] = {"train": windows.episodes, "validation": checks.episodes if checks else []}
        return said, sum(p.numel() for p in policy.module.parameters())

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the networks."""
        return PolicyPredictor(self, artifact.folder)


class PolicyPredictor(Predictor):
    """The fitted networks of one branch, loaded when a task first asks.

    Args:
        branch: Whose artifact it is.
        folder: Of the artifact.
    """

    def __init__(self, branch: PolicyBranch, folder: Path) -> None:
        self.branch = branch
        self.folder = folder
        self.loaded: dict[str, _Loaded] = {}

    def predict(self, batch: ObservedBatch) -> Predictions:
        """One chunk per window; `unsupported` where a camera or the state is missing at t0."""
        if batch.task not in self.loaded:
            self.loaded[batch.task] = _Loaded(self.branch, self.folder / batch.task, batch.task)
        return self.loaded[batch.task].predict(batch)


class _Loaded:
    """One task's network."""

    def __init__(self, branch: PolicyBranch, folder: Path, task_id: str) -> None:
        from safetensors.torch import load_file  # noqa: PLC0415

        from branches.policy.scales import Scales  # noqa: PLC0415
        from harness.tasks import get_task  # noqa: PLC0415

        body = json.loads((folder / "policy.json").read_text())
        self.task, self.relative = get_task(task_id), bool(body["relative"])
        self.cameras, self.size = tuple(body["cameras"]), branch.config.image_size
        self.scales: Scales = Scales.from_json(body["scales"])
        self.space: Space = space_of(self.task, _answer_width(self.task, body["width"]), projected=branch.projected)
        self.policy = branch.build(len(self.cameras), len(self.scales.state.low), body["width"], body["horizon"])
        self.policy.module.load_state_dict(load_file(folder / "policy.safetensors"))
        self.policy.module.eval()

    def predict(self, batch: ObservedBatch) -> Predictions:
        import torch  # noqa: PLC0415

        from branches.policy.training import to_batch  # noqa: PLC0415

        view = batch.views[0]
        frames, there = frames_of(view, self.cameras, self.size)
        states, known = self.space.state(self.task, view)
        ok = there & known
        device = next(self.policy.module.parameters()).device
        chunks = []
        for part in in_parts(batch, PART):
            rows: dict[str, NDArray] = {"frames": frames[part], "states": states[part]}
            found = self.policy.chunk(to_batch(rows, self.scales, device), batch.seeds[part])
            chunks.append(self.scales.action.physical(found.to(torch.float64).cpu().numpy()))
        actions = np.concatenate(chunks)
        if self.relative:
            actions += self.space.last(self.task, view)[:, None]
        answers = self.space.answer(self.task, view, actions).reshape(len(batch), -1)
        status = np.where(ok, all_ok(len(batch)), Status.UNSUPPORTED.value)
        return Predictions(status, values=np.where(ok[:, None], answers, np.nan).astype(np.float32))


def _horizon(task: Task) -> int:
    assert isinstance(task, ActionChunk | HandActionChunk)
    return task.horizon


def _answer_width(task: Task, width: int) -> int:
    from harness.actions.hand_pose import ANSWER_WIDTH  # noqa: PLC0415

    return ANSWER_WIDTH if isinstance(task, HandActionChunk) else width


class ACT(PolicyBranch):
    """`policy:act`."""

    card = BranchCard("policy:act", "policy", "Action Chunking with Transformers, trained from scratch", backbone="ACT")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config: ACTOptions = parse_options(ACTOptions, self.options, "policy:act")

    def build(self, cameras: int, state: int, action: int, horizon: int) -> "Policy":
        """A new ACT."""
        from branches.policy.act import ACTNetwork  # noqa: PLC0415

        return ACTNetwork(self.config, cameras, state, action, horizon)
