"""`world_model:jepa`: a frozen encoder's latents of the past, and a predictor trained in the run that says what they become."""

import json
import tempfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from branches.world_model.config import JEPAOptions, parse_options
from branches.world_model.motion import TRACKS, fit_width, past_motion
from branches.world_model.rows import Goal, gather, newest, past_latent
from branches.world_model.vjepa2 import single_threaded
from harness.answers import Predictions, Status, all_ok
from harness.branch import TINY_WEIGHTS, Artifact, Branch, BranchCard, FitContext, Needs, Predictor, Route, TrainingSet
from harness.encoder import Encoder, get_encoder
from harness.episode import Modality
from harness.errors import BadInput
from harness.latents import track_name
from harness.model_plan import ModelPlan
from harness.observe import modality_of
from harness.tasks.base import Task
from harness.tasks.future import FutureLatent, FutureRetrieval
from harness.tasks.hands import HandTrajectoryForecast
from harness.tasks.horizon import hold_last
from harness.window import ObservedBatch

LATENT, HANDS = "latent", "hands"
CONDITIONED = {"hands": "past hands", "actions": "recorded actions", "none": "no motion"}


class JEPA(Branch):
    """`world_model:jepa`."""

    card = BranchCard(
        "world_model:jepa",
        "world_model",
        "V-JEPA 2 latents of the past, forecast from the past motion",
        backbone="V-JEPA 2",
        weights=TINY_WEIGHTS,
    )
    presets: ClassVar[tuple[str, ...]] = ("tiny", "real")

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.config: JEPAOptions = parse_options(self.options)
        self.card = self.card.of_preset(self.config.preset)
        if self.config.encoder != "vjepa2-tiny":
            self.card = replace(self.card, weights=self.config.encoder)
        self.track = track_name(self.config.encoder)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoder it stands on."""
        return (self.config.encoder,)

    @cached_property
    def encoder(self) -> Encoder:
        """What its latents look like; its weights are not needed here."""
        return get_encoder(self.config.encoder)

    def route(self, task: Task) -> Route | None:
        """The next latent of its own encoder, the next window by it, and the joints to come."""
        own = isinstance(task, FutureLatent) and task.encoder.name == self.config.encoder
        return "native" if own or isinstance(task, FutureRetrieval | HandTrajectoryForecast) else None

    def needs(self, task: Task) -> Needs:
        """The latent of the clip that ends at t0, and the past motion."""
        past = task.tracks_for_history()
        vital = dict.fromkeys((Modality.VIDEO, *map(modality_of, past)))
        return Needs(tracks=tuple(dict.fromkeys((self.track, *TRACKS, *past))), vital=tuple(vital))

    def fit(self, train: TrainingSet, validation: TrainingSet, context: FitContext) -> Artifact:
        """Train one predictor for the latents and one for the hands.

        Raises:
            BadInput: No training window has a past latent and something to learn.
            WorkFailed: Memory did not do.
        """
        goals: dict[str, Goal] = {}
        for task in context.tasks:
            goals.setdefault(_goal_name(task), self._goal(task))
        for task in context.tasks:
            if isinstance(task, FutureLatent):  # the same latents, and every window has them
                goals[LATENT] = self._goal(task)
        details: dict[str, Any] = {}
        seen: dict[str, set[str]] = {"scales": set(), "weights": set(), "early_stopping": set()}
        parameters = 0
        for name, goal in goals.items():
            said, parameters_of, trained_on, checked = self._fit_goal(name, goal, train, validation, context)
            details[name], parameters = said, parameters + parameters_of
            seen["scales"] |= trained_on
            seen["weights"] |= trained_on
            seen["early_stopping"] |= checked
        given = {task.id: details[_goal_name(task)]["conditioned_on"] for task in context.tasks}
        details["notes"] = {task: f"conditioned on {CONDITIONED[motion]}" for task, motion in given.items()}
        fitted_on = {part: tuple(sorted(episodes)) for part, episodes in seen.items() if episodes}
        if self.encoder.pretrained_on:
            fitted_on["pretrained"] = tuple(sorted(self.encoder.pretrained_on))
        return Artifact(context.out, fitted_on, parameters=parameters, details=details)

    def _goal(self, task: Task) -> Goal:
        return Goal(task, self.track, self.encoder.shape)

    def _fit_goal(
        self, name: str, goal: Goal, train: TrainingSet, validation: TrainingSet, context: FitContext
    ) -> tuple[dict[str, Any], int, set[str], set[str]]:
        import torch  # noqa: PLC0415
        from safetensors.torch import save_file  # noqa: PLC0415

        from branches.torch_training import deterministic, within_memory  # noqa: PLC0415
        from branches.world_model.predictor import Network, Scales  # noqa: PLC0415
        from branches.world_model.predictor import train as fit_network  # noqa: PLC0415

        needs = self.needs(goal.task)
        with tempfile.TemporaryDirectory(dir=context.out, prefix="scratch-") as scratch:
            rows = gather(train, goal, needs, self.config.motion_steps, Path(scratch) / "train")
            if rows is None:
                raise BadInput(
                    f"{self.card.name}: no training window of {goal.task.id} has a clip of the main camera; leave it out"
                )
            checks = gather(validation, goal, needs, self.config.motion_steps, Path(scratch) / "validation", rows)
            scales = Scales.of(rows, self.encoder.shape[0])
            answer = None if goal.is_latent else rows.files["answers"].width
            with within_memory(f"batch_size={self.config.batch_size}, width={self.config.width}"):
                with deterministic(context.threads, context.seed):
                    network = Network(self.config, self.encoder.shape, (self.config.motion_steps, rows.motion_width), answer)
                network.to("cuda" if torch.cuda.is_available() else "cpu")
                trained = fit_network(network, rows, checks, scales, self.config, context.seed, context.threads)
        folder = context.out / name
        folder.mkdir()
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()},
            folder / "predictor.safetensors",
        )
        arrays = {key: np.asarray(value, np.float32) for key, value in vars(scales).items()}
        np.savez(folder / "scales.npz", **arrays)  # type: ignore[arg-type]
        about = {"motion": rows.motion, "motion_width": rows.motion_width, "answer": answer}
        (folder / "predictor.json").write_text(json.dumps(about))
        said = {"conditioned_on": rows.motion, "windows": len(rows), "left_out": rows.left_out, **vars(trained)}
        count = sum(p.numel() for p in network.parameters())
        return said, count, set(rows.episodes), set(checks.episodes if checks else ())

    def predictor(self, artifact: Artifact) -> Predictor:
        """Load the networks."""
        return JEPAPredictor(self, artifact.folder)

    def plan(self) -> ModelPlan:
        """Its frozen encoder, and a network each for latents and hands."""
        from branches.world_model.plan import jepa_plan  # noqa: PLC0415

        return jepa_plan(self)


def _goal_name(task: Task) -> str:
    return HANDS if isinstance(task, HandTrajectoryForecast) else LATENT


class JEPAPredictor(Predictor):
    """The fitted networks, loaded when a task first asks.

    Args:
        branch: Whose artifact it is.
        folder: Of the artifact.
    """

    def __init__(self, branch: JEPA, folder: Path) -> None:
        self.branch = branch
        self.folder = folder
        self.loaded: dict[str, _Loaded] = {}
        self.width = int(np.prod(branch.encoder.shape))

    def predict(self, batch: ObservedBatch) -> Predictions:
        """The next latent, its direction from the mean (retrieval), or the joints to come; `oom` where memory did not do."""
        if batch.role == "key":
            past, there = past_latent(batch.views[0], self.branch.track, self.width)
            return _rows(past - self._load(LATENT).scales.mean, there)
        name = HANDS if batch.task.startswith(HandTrajectoryForecast.name) else LATENT
        loaded = self._load(name)
        past, there = past_latent(batch.views[0], self.branch.track, self.width)
        difference, oom = loaded.differences(batch, past)
        if name == HANDS:
            held, known = hold_last(*_HANDS.history(batch.views[0]))
            steps = difference.shape[1] // held.shape[1]
            return _rows(np.tile(held, (1, steps)) + difference, there & known.any(axis=1), oom)
        forecast = newest(past, self.branch.encoder.shape[0]) + difference
        return _rows(forecast - loaded.scales.mean if batch.role == "query" else forecast, there, oom)

    def embed(self, batch: ObservedBatch) -> NDArray[np.float32]:
        """(B, views * times * channels) past latents, averaged over space; NaN where there is none."""
        parts = []
        for view in batch.views:
            past, there = past_latent(view, self.branch.track, self.width)
            times, *_, channels = self.branch.encoder.shape
            pooled = past.reshape(len(past), times, -1, channels).mean(axis=2).reshape(len(past), -1)
            parts.append(np.where(there[:, None], pooled, np.nan))
        return np.asarray(np.concatenate(parts, axis=1), np.float32)

    def _load(self, name: str) -> "_Loaded":
        if name not in self.loaded:
            self.loaded[name] = _Loaded(self.branch, self.folder / name)
        return self.loaded[name]


_HANDS = HandTrajectoryForecast()


class _Loaded:
    """One fitted network."""

    def __init__(self, branch: JEPA, folder: Path) -> None:
        import torch  # noqa: PLC0415
        from safetensors.torch import load_file  # noqa: PLC0415

        from branches.world_model.predictor import Network, Scales  # noqa: PLC0415

        body = json.loads((folder / "predictor.json").read_text())
        self.answer = body["answer"] or int(np.prod(branch.encoder.shape))
        self.motion, self.width, self.steps = body["motion"], int(body["motion_width"]), branch.config.motion_steps
        with np.load(folder / "scales.npz", allow_pickle=False) as arrays:
            self.scales = Scales(arrays["mean"], float(arrays["change"]), arrays["motion"], float(arrays["answer"]))
        self.network = Network(branch.config, branch.encoder.shape, (self.steps, self.width), body["answer"])
        self.network.load_state_dict(load_file(folder / "predictor.safetensors"))
        self.network.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    def differences(self, batch: ObservedBatch, past: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(B, A) forecast differences and (B,) True where memory did not do; row by row, so that no row depends on its batch."""
        import torch  # noqa: PLC0415

        from branches.torch_training import is_out_of_memory  # noqa: PLC0415

        device = next(self.network.parameters()).device
        motion, measured = fit_width(*past_motion(batch.views[0], self.motion, self.steps), self.width)
        flat = [column.reshape(len(past), -1) for column in (motion, measured)]
        inputs = self.scales.inputs(past, flat[0], flat[1], self.network.times, torch.device("cpu"))
        found, oom = np.zeros((len(past), self.answer), np.float32), np.zeros(len(past), bool)
        with single_threaded():
            for i in range(len(past)):
                try:
                    found[i] = self.network(*(column[i : i + 1].to(device) for column in inputs))[0].cpu().numpy()
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    oom[i] = True
        return found * np.float32(self.scales.answer), oom


def _rows(values: NDArray, there: NDArray[np.bool_], oom: NDArray[np.bool_] | None = None) -> Predictions:
    """Answers of the rows that have what they need; the others are `unsupported`, or `oom` where memory did not do."""
    ok = there if oom is None else there & ~oom
    status = np.where(ok, all_ok(len(ok)), np.where(there, Status.OOM.value, Status.UNSUPPORTED.value))
    return Predictions(status, values=np.where(ok[:, None], values, np.nan).astype(np.float32))
