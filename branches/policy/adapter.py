"""Policies as branches: frames, state and text in, a chunk of actions in physical units out."""

import json
import tempfile
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from branches.policy.config import ACTOptions, PolicyOptions, SmolVLAOptions, parse_options
from branches.policy.spaces import STATE
from branches.policy.vlm import TINY, check_directory, check_modules
from branches.policy.windows import INSTRUCTION, choose_cameras, gather
from harness.branch import (
    TINY_WEIGHTS,
    Artifact,
    Branch,
    BranchCard,
    FitContext,
    FramesWant,
    Needs,
    Predictor,
    Route,
    TrainingSet,
)
from harness.episode import Modality
from harness.errors import BadInput
from harness.model_directory import digest, episodes_of
from harness.model_plan import ModelPlan
from harness.observe import modality_of
from harness.tasks.action_chunk import ActionChunk
from harness.tasks.base import Task
from harness.tasks.hand_action import HandActionChunk

if TYPE_CHECKING:  # torch and lerobot take seconds to import: the command line must not wait for them
    from branches.policy.training import Policy


class PolicyBranch(Branch):
    """What all policies share: which windows they see, how they are trained, what they leave."""

    presets: ClassVar[tuple[str, ...]] = ("tiny", "real")
    projected: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    config: PolicyOptions

    @abstractmethod
    def build(self, cameras: int, state: int, action: int, horizon: int) -> "Policy":
        """The network, what is not loaded freshly drawn from torch's generator.

        Args:
            cameras: Frames it looks at.
            state: Numbers of one state.
            action: Numbers of one action.
            horizon: Actions of a chunk.
        """

    def base(self) -> str | None:
        """Digest of the pretrained weights that it stands on and does not change; None where there are none.

        Raises:
            BadInput: They are not there, or are none.
        """
        return None

    def pretrained_on(self) -> tuple[str, ...]:
        """Episodes that those weights have seen, as far as they are recorded."""
        return ()

    def route(self, task: Task) -> Route | None:
        """Robot commands and hand-pose actions."""
        return "native" if isinstance(task, ActionChunk | HandActionChunk) else None

    def needs(self, task: Task) -> Needs:
        """The frame at t0 of every camera that may be looked at, the state, and the past of the action."""
        size = self.config.image_size
        frames = FramesWant(self.config.cameras, size, size, steps=1)
        text = (INSTRUCTION,) if self.reads else ()
        past = task.tracks_for_history()
        # Of a robot the state stands in for the commands; a hand-pose action is anchored in the pose seen last.
        body = map(modality_of, past) if isinstance(task, HandActionChunk) else ()
        return Needs(tracks=(*past, STATE, *text), frames=(frames,), vital=(Modality.VIDEO, *dict.fromkeys(body)))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Train one network per task.

        Raises:
            BadInput: No training window has a camera and a state, or the action has more numbers than the network takes.
            WorkFailed: Memory did not do.
        """
        fitted, details, parameters, base = [], {}, 0, self.base()
        for task in context.tasks:
            said, count = self._fit_task(task, train, validation, context, base)
            details[task.id] = said
            parameters += count
            fitted.append(said.pop("episodes"))
        seen = tuple(sorted({e for episodes in fitted for e in episodes["train"]}))
        checked = tuple(sorted({e for episodes in fitted for e in episodes["validation"]}))
        before = self.pretrained_on()
        parts = {"scales": seen, "weights": seen} | ({"early_stopping": checked} if checked else {})
        return Artifact(context.out, parts | ({"pretrained": before} if before else {}), parameters=parameters, details=details)

    def _fit_task(
        self, task: Task, train: TrainingSet, validation: TrainingSet, context: FitContext, base: str | None
    ) -> tuple[dict[str, Any], int]:
        import torch  # noqa: PLC0415
        from safetensors.torch import save_file  # noqa: PLC0415

        from branches.policy.predictor import ABOUT, WEIGHTS  # noqa: PLC0415
        from branches.policy.scales import fit_scales  # noqa: PLC0415
        from branches.policy.training import train as train_policy  # noqa: PLC0415
        from branches.policy.training import trained_state  # noqa: PLC0415
        from branches.torch_training import deterministic  # noqa: PLC0415

        needs, name = self.needs(task), self.card.name
        cameras = choose_cameras(train, task, needs, self.config.max_cameras)
        if not cameras:
            raise BadInput(f"{name}: no training episode has a camera that fits {self.config.cameras!r}; leave it out")
        with tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            windows, checks = (
                gather(role, task, needs, cameras, self.config, self.projected, Path(scratch) / str(i))
                for i, role in enumerate((train, validation))
            )
            if windows is None or not len(windows):
                raise BadInput(f"{name}: no training window of {task.id} has {', '.join(cameras)} and a state; leave it out")
            checks = checks if checks is not None and len(checks) else None
            scales = fit_scales(windows)
            with deterministic(context.threads, context.seed):
                state = scales.state_width(self.config)
                policy = self.build(len(cameras), state, windows.space.width, windows.horizon)
                policy.module.to("cuda" if torch.cuda.is_available() else "cpu")
            trained = train_policy(policy, windows, checks, scales, self.config, context.seed, context.threads)
        folder = context.out / task.id
        folder.mkdir()
        save_file({k: v.detach().cpu().contiguous() for k, v in trained_state(policy.module).items()}, folder / WEIGHTS)
        body: dict[str, Any] = {
            "cameras": cameras,
            "horizon": windows.horizon,
            "width": windows.space.width,
            "scales": scales.to_json(),
        }
        body["base"] = base
        (folder / ABOUT).write_text(json.dumps(body))
        said = {"cameras": list(cameras), "windows": len(windows), "left_out": windows.left_out, **vars(trained)}
        said["texts"] = sorted(set(windows.texts)) if self.reads else []
        said["episodes"] = {"train": windows.episodes, "validation": checks.episodes if checks else []}
        return said, sum(p.numel() for p in policy.module.parameters() if p.requires_grad)

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the networks."""
        from branches.policy.predictor import PolicyPredictor  # noqa: PLC0415

        return PolicyPredictor(self, artifact.folder)


class ACT(PolicyBranch):
    """`policy:act`."""

    card = BranchCard("policy:act", "policy", "Action Chunking with Transformers, trained from scratch", backbone="ACT")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config: ACTOptions = parse_options(ACTOptions, self.options, "policy:act")
        self.card = self.card.of_preset(self.config.preset)

    def build(self, cameras: int, state: int, action: int, horizon: int) -> "Policy":
        """A new ACT."""
        from branches.policy.act import ACTNetwork  # noqa: PLC0415

        return ACTNetwork(self.config, cameras, state, action, horizon)

    def plan(self) -> ModelPlan:
        """With the published numbers of states, actions and chunks."""
        from branches.policy.plan import act_plan  # noqa: PLC0415

        return act_plan(self)


class SmolVLA(PolicyBranch):
    """`policy:smolvla`: the hand-pose action goes in and out as its 29-number projection."""

    card = BranchCard(
        "policy:smolvla", "policy", "SmolVLA: a frozen SmolVLM and a flow-matching action expert", backbone="SmolVLM"
    )
    projected = True
    reads = True

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config: SmolVLAOptions = parse_options(SmolVLAOptions, self.options, self.card.name)
        given = self.config.model
        self.folder = Path(given).expanduser() if given else TINY
        if given:
            check_directory(self.folder, self.card.name)
        # A model directory that our own script wrote stays what it is under another path.
        tiny = not given or bool(episodes_of(self.folder))
        self.card = replace(self.card.of_preset(self.config.preset), weights=TINY_WEIGHTS if tiny else self.folder.name)

    def base(self) -> str:
        """Digest of the SmolVLM's weights."""
        name = self.card.name
        if self.config.preset != "tiny" and not self.config.model:
            raise BadInput(
                f"{name}: preset {self.config.preset} has no weights of its own; give branch.{name}.model=DIR of a SmolVLM"
            )
        check_directory(self.folder, name)
        check_modules(self.folder, name)
        return digest(self.folder)

    def pretrained_on(self) -> tuple[str, ...]:
        """The demo episodes of the tiny SmolVLM."""
        return episodes_of(self.folder)

    def build(self, cameras: int, state: int, action: int, horizon: int) -> "Policy":
        """The SmolVLM of the directory, and a new action expert.

        Raises:
            BadInput: Action or state have more numbers than the policy takes.
        """
        from branches.policy.smolvla import SmolVLANetwork  # noqa: PLC0415

        for what, width, most in (("action", action, "max_action_dim"), ("state", state, "max_state_dim")):
            if width > (limit := getattr(self.config, most)):
                name = self.card.name
                raise BadInput(
                    f"{name}: the {what} of these data has {width} numbers and the policy takes {limit}; "
                    f"leave {name} out or set branch.{name}.{most}={width} (its own projections are trained from scratch)"
                )
        return SmolVLANetwork(self.config, self.folder, cameras, state, action, horizon)

    def plan(self) -> ModelPlan:
        """Of the directory's shape, or of the published one where the preset has no weights of its own."""
        from branches.policy.plan import smolvla_plan  # noqa: PLC0415

        return smolvla_plan(self)
