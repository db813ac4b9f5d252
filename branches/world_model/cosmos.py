"""`world_model:cosmos`: a video VAE, a Cosmos transformer and a rectified flow that draws the next window."""

import json
import shutil
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from branches.world_model import cosmos_vae
from branches.world_model.cosmos_config import REAL_ENCODER, TINY_ENCODER, TINY_TRANSFORMER, parse_cosmos
from branches.world_model.cosmos_windows import FutureWindows, gather, needs_of
from branches.world_model.model_folder import content_hash, read_config, weight_files
from harness.branch import TINY_WEIGHTS, Artifact, Branch, BranchCard, FitContext, Needs, Predictor, Route, TrainingSet
from harness.card import suggest
from harness.errors import BadInput
from harness.model_directory import PROVENANCE, episodes_of
from harness.model_plan import ModelPlan
from harness.tasks.base import Task
from harness.tasks.future import FutureLatent, FutureVideo

if TYPE_CHECKING:  # torch and diffusers take seconds to import: the command line must not wait for them
    from branches.world_model.cosmos_training import Trained

NAME = "world_model:cosmos"
ENCODERS = {TINY_ENCODER: cosmos_vae.tiny, REAL_ENCODER: cosmos_vae.wan}


class Cosmos(Branch):
    """Draws the latents of the next clip; the VAE, which stays as it is, makes frames of them."""

    card = BranchCard(
        NAME, "world_model", "Cosmos transformer on video latents, rectified flow", backbone="Cosmos-Predict2.5 transformer"
    )
    presets: ClassVar[tuple[str, ...]] = ("tiny", "real")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config = parse_cosmos(self.options, NAME)
        if self.config.encoder not in ENCODERS:
            raise BadInput(
                f"branch.{NAME}.encoder={self.config.encoder!r} is not known{suggest(self.config.encoder, list(ENCODERS))}"
            )
        self.vae = ENCODERS[self.config.encoder](self.config.vae or None)
        for folder in filter(None, (self.config.vae, self.config.transformer)):
            read_config(Path(folder)), weight_files(Path(folder))
        self.card = replace(self.card.of_preset(self.config.preset), weights=self._weights())

    def _weights(self) -> str:
        """Where the weights come from: tiny ones carry their provenance, under whatever path; else the name of the folder."""
        named = Path(self.config.transformer or (TINY_TRANSFORMER if self.config.encoder == TINY_ENCODER else ""))
        own = any((folder / PROVENANCE).is_file() for folder in (self.vae.folder, named) if folder is not None)
        return TINY_WEIGHTS if own else named.name

    @property
    def transformer_folder(self) -> Path:
        """Model folder of the transformer that a fit starts from.

        Raises:
            BadInput: None was given, and the package has none for this VAE.
        """
        if self.given_transformer is None:
            raise BadInput(f"branch.{NAME}.transformer is not given: name the model folder (a CosmosTransformer3DModel)")
        return self.given_transformer

    @property
    def given_transformer(self) -> Path | None:
        """As `transformer_folder`; None where there is none."""
        if self.config.transformer:
            return Path(self.config.transformer)
        return TINY_TRANSFORMER if self.config.encoder == TINY_ENCODER else None

    @property
    def encoders(self) -> tuple[str, ...]:
        """Its VAE."""
        return (self.vae.name,)

    def route(self, task: Task) -> Route | None:
        """Future frames, and future latents of its own VAE."""
        own = isinstance(task, FutureLatent) and task.encoder.name == self.vae.name
        return "native" if own or isinstance(task, FutureVideo) else None

    def needs(self, task: Task) -> Needs:
        """The stored latent of the clip that ends at t0, and the last frame."""
        return needs_of(self.vae)

    @cached_property
    def base(self) -> str:
        """Digest of the model folders that it stands on.

        Raises:
            BadInput: They are not there, or hold something else.
        """
        return f"{self.vae.fingerprint}-{content_hash(self.transformer_folder)}"

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Fine-tune one flow per task; tasks that ask for the same clips share one.

        Raises:
            BadInput: A model folder is not what it should be, or no training window has a camera.
            WorkFailed: Memory did not do.
        """
        self._check_encoder(context.tasks)
        base, parameters = self.base, 0
        seen: set[str] = set()
        checked: set[str] = set()
        details: dict[str, Any] = {}
        done: dict[str, Path] = {}
        with tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            for task in context.tasks:
                windows, checks = (
                    gather(role, task, self.vae, self.config, Path(scratch) / f"{len(details)}-{i}")
                    for i, role in enumerate((train, validation))
                )
                if not len(windows):
                    raise BadInput(f"{NAME}: no training window of {task.id} has a clip of the main camera; leave it out")
                folder, key = context.out / task.id, f"{windows.digest()}-{checks.digest()}"
                if key in done:
                    shutil.copytree(done[key], folder)
                    details[task.id] = details[done[key].name]
                else:
                    details[task.id], count = self._fit_flow(windows, checks, folder, base, context)
                    done[key], parameters = folder, parameters + count
                seen |= set(windows.episodes)
                checked |= set(checks.episodes)
        before = {*self.vae.pretrained_on, *episodes_of(self.transformer_folder)}
        parts = {"weights": seen, "early_stopping": checked, "pretrained": before}
        fitted_on = {part: tuple(sorted(episodes)) for part, episodes in parts.items() if episodes}
        return Artifact(context.out, fitted_on, parameters=parameters, details=details)

    def _fit_flow(
        self, windows: FutureWindows, checks: FutureWindows, folder: Path, base: str, context: FitContext
    ) -> tuple[dict[str, Any], int]:
        """Train one flow and write it; what is to be said of it, and the number of trained weights."""
        import torch  # noqa: PLC0415
        from safetensors.torch import save_file  # noqa: PLC0415

        from branches.torch_training import deterministic, within_memory  # noqa: PLC0415
        from branches.world_model.cosmos_flow import load_flow, trained_state  # noqa: PLC0415
        from branches.world_model.cosmos_predictor import ABOUT, WEIGHTS  # noqa: PLC0415
        from branches.world_model.cosmos_training import train  # noqa: PLC0415

        with within_memory(f"branch.{NAME}.batch_size={self.config.batch_size}"):
            with deterministic(context.threads, context.seed):
                flow = load_flow(self.transformer_folder, self.config)
                flow.to("cuda" if torch.cuda.is_available() else "cpu")
            trained: Trained = train(flow, windows, checks if len(checks) else None, self.config, context.seed, context.threads)
        state = {name: tensor.cpu().contiguous() for name, tensor in trained_state(flow).items()}
        folder.mkdir()
        save_file(state, folder / WEIGHTS)
        (folder / ABOUT).write_text(json.dumps({"base": base}))
        said = {"windows": len(windows), "left_out": windows.left_out, **vars(trained)}
        return said, sum(tensor.numel() for tensor in state.values())

    def _check_encoder(self, tasks: tuple[Task, ...]) -> None:
        """The latents of the run are to be those of this branch's VAE."""
        for task in tasks:
            if isinstance(task, FutureLatent) and task.encoder.fingerprint != self.vae.fingerprint:
                raise BadInput(
                    f"{NAME}: {task.id} is of other weights than branch.{NAME}.vae; give encoders.{self.vae.name} the same folder"
                )

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the flows."""
        from branches.world_model.cosmos_predictor import CosmosPredictor  # noqa: PLC0415

        return CosmosPredictor(self, artifact.folder)

    def plan(self) -> ModelPlan:
        """Its frozen VAE and its transformer, of the model folders where they are given."""
        from branches.world_model.plan import cosmos_plan  # noqa: PLC0415

        return cosmos_plan(self)
