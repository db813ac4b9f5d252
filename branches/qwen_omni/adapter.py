"""Qwen3-Omni as branches: video frames, their sound and a question in, one JSON object out that answers six tasks."""

import json
import tempfile
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from branches.qwen_omni.config import LoraOptions, OmniOptions, PromptOptions, parse_options
from branches.qwen_omni.directory import TINY, check_directory
from branches.qwen_omni.gather import Taught, gather, has_sound, label_space
from branches.qwen_omni.prompt import Field, field_name, fields_to_json, instructions
from harness.branch import (
    MAIN,
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
from harness.tasks.base import Task


class OmniBranch(Branch):
    """What all branches of the family share: the question, and what a window shows."""

    presets: ClassVar[tuple[str, ...]] = ("tiny", "real")
    options_class: ClassVar[type[OmniOptions]]
    sees: ClassVar[bool] = True
    config: OmniOptions

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        name = self.card.name
        self.config = parse_options(self.options_class, self.options, name)
        given = self.config.model
        self.folder = Path(given).expanduser() if given else TINY
        if given:
            check_directory(self.folder, name)
        # A model directory that our own script wrote stays what it is under another path.
        tiny = not given or bool(episodes_of(self.folder))
        self.card = replace(self.card.of_preset(self.config.preset), weights=TINY_WEIGHTS if tiny else self.folder.name)

    def base(self) -> str:
        """Digest of the pretrained weights.

        Raises:
            BadInput: They are not there, or are none.
        """
        name = self.card.name
        if self.config.preset != "tiny" and not self.config.model:
            raise BadInput(
                f"{name}: preset {self.config.preset} has no weights of its own; give branch.{name}.model=DIR of a Qwen3-Omni"
            )
        check_directory(self.folder, name)
        return digest(self.folder)

    def frames_want(self) -> FramesWant:
        """The frames that it looks at."""
        size = self.config.image_size
        return FramesWant(self.config.camera or MAIN, size, size)

    def route(self, task: Task) -> Route | None:
        """The tasks with a field in the answer."""
        return "native" if field_name(task.id) is not None else None

    def needs(self, task: Task) -> Needs:
        """Frames and sound of the window: what all six tasks allow. No caption text, no contacts."""
        if not self.sees:
            return Needs()
        sound = ("audio/*",) if self.config.audio else ()
        return Needs(sound, frames=(self.frames_want(),), vital=(Modality.VIDEO,))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Make the label space, then what the branch adds to it.

        Raises:
            BadInput: No training window has an answer and the camera.
            WorkFailed: Memory did not do.
        """
        base, fields = self.base(), label_space(train, context.tasks)
        listens = self.sees and self.config.audio and has_sound(train, context.tasks[0])
        with tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            windows = self._gather(train, context, fields, Path(scratch) / "train", listens=listens)
            if not len(windows):
                asked = "an answer" if not self.sees else f"an answer and the camera {self.config.camera or '(main)'}"
                raise BadInput(f"{self.card.name}: no training window has {asked}; leave it out")
            checks = self._gather(validation, context, fields, Path(scratch) / "validation", listens=listens)
            parts, said, parameters = self._learn(fields, windows, checks if len(checks) else None, context)
        shots = said.pop("shots", None)
        body = {"base": base, "listens": listens, "fields": fields_to_json(fields), "shots": shots}
        (context.out / "omni.json").write_text(json.dumps(body))
        if before := episodes_of(self.folder):
            parts["pretrained"] = before
        details = {"windows": len(windows), "left_out": windows.left_out, "listens": listens, **said}
        classes = {f.task: f.options for f in fields}
        prompts = (instructions(fields), *(shots["answers"] if shots else ()))
        return Artifact(context.out, {"label_space": train.episodes, **parts}, classes, parameters, details, prompts)

    def _gather(
        self, episodes: TrainingSet, context: FitContext, fields: tuple[Field, ...], out: Path, *, listens: bool
    ) -> Taught:
        needs = {task.id: self.needs(task) for task in context.tasks}
        return gather(episodes, context.tasks, fields, self.config, needs, out, listens=listens)

    @abstractmethod
    def _learn(
        self, fields: tuple[Field, ...], windows: Taught, checks: Taught | None, context: FitContext
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, Any], int]:
        """What a branch learns beside the label space: fitted parts, details (`shots` among them), number of fitted numbers."""

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load model, processor and what was fitted."""
        from branches.qwen_omni.predictor import OmniPredictor  # noqa: PLC0415

        return OmniPredictor(self, artifact.folder)

    def plan(self) -> ModelPlan:
        """Of the directory's shape, or of the published one where the preset has no weights of its own."""
        from branches.qwen_omni.plan import omni_plan  # noqa: PLC0415

        return omni_plan(self)


class Prompt(OmniBranch):
    """`qwen_omni:prompt`: nothing is trained; label space and a few shots come from training windows."""

    card = BranchCard("qwen_omni:prompt", "qwen_omni", "Qwen3-Omni, asked", backbone="Qwen3-Omni")
    options_class = PromptOptions
    config: PromptOptions

    def _learn(
        self, fields: tuple[Field, ...], windows: Taught, checks: Taught | None, context: FitContext
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, Any], int]:
        from safetensors.numpy import save_file  # noqa: PLC0415

        whole = [i for i, unknown in enumerate(windows.unknown) if not unknown]
        count = min(self.config.shots, len(whole))
        if not count:
            return {}, {}, 0
        places = ((np.arange(count) + 0.5) * len(whole) / count).astype(np.int64)
        index = np.array(whole)[places]
        clips = windows.clips(index)
        assert clips is not None
        save_file({"frames": clips.frames, "sound": clips.sound}, context.out / "shots.safetensors")
        shots = {"fps": clips.fps, "answers": [windows.answers[i] for i in index]}
        return {"shots": tuple(dict.fromkeys(windows.episode_of[i] for i in index))}, {"shots": shots}, 0


class Lora(OmniBranch):
    """`qwen_omni:lora`: LoRA on the attention of the text path."""

    card = BranchCard("qwen_omni:lora", "qwen_omni", "Qwen3-Omni with LoRA on its text path", backbone="Qwen3-Omni")
    options_class = LoraOptions
    config: LoraOptions

    def _learn(
        self, fields: tuple[Field, ...], windows: Taught, checks: Taught | None, context: FitContext
    ) -> tuple[dict[str, tuple[str, ...]], dict[str, Any], int]:
        from branches.qwen_omni.omni import Omni, load  # noqa: PLC0415
        from branches.qwen_omni.training import add_lora, save_lora, train  # noqa: PLC0415

        base = load(self.folder, self.card.name, self.config.dtype)
        omni = Omni(add_lora(base.model, self.config, context.seed), base.processor)
        trained = train(omni, fields, windows, checks, self.config, context.seed, context.threads)
        save_lora(omni.model, context.out / "lora")
        parts = {"lora": windows.episodes} | ({"early_stopping": checks.episodes} if checks else {})
        return parts, vars(trained), sum(p.numel() for p in omni.model.parameters() if p.requires_grad)


class Blind(Lora):
    """`qwen_omni:blind`, a control: the same LoRA, fitted and asked with text only."""

    card = BranchCard("qwen_omni:blind", "qwen_omni", "Qwen3-Omni with LoRA, text only (control)", backbone="Qwen3-Omni")
    sees = False
