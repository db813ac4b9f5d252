"""The tasks by name. Listing them imports none of them."""

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from harness.card import ActionGroup, suggest
from harness.errors import BadInput

if TYPE_CHECKING:
    from harness.tasks.base import Task

# In the order of the published suite, then ours.
TASKS = {
    "timeline_action": "harness.tasks.labels:TimelineAction",
    "timeline_subtask": "harness.tasks.labels:TimelineSubtask",
    "transition_detection": "harness.tasks.transitions:TransitionDetection",
    "next_action": "harness.tasks.labels:NextAction",
    "hand_trajectory_forecast": "harness.tasks.hands:HandTrajectoryForecast",
    "contact_prediction": "harness.tasks.contact:ContactPrediction",
    "object_relevance": "harness.tasks.objects:ObjectRelevance",
    "caption_grounding": "harness.tasks.retrieval:CaptionGrounding",
    "cross_modal_retrieval": "harness.tasks.retrieval:CrossModalRetrieval",
    "modality_reconstruction": "harness.tasks.reconstruction:ModalityReconstruction",
    "temporal_order": "harness.tasks.pairs:TemporalOrder",
    "misalignment_detection": "harness.tasks.pairs:MisalignmentDetection",
    "long_horizon_next_action": "harness.tasks.labels:LongHorizonNextAction",
    "next_subtask_forecast": "harness.tasks.labels:NextSubtaskForecast",
    "interaction_text_prediction": "harness.tasks.labels:InteractionTextPrediction",
    "action_object_relation": "harness.tasks.labels:ActionObjectRelation",
    "object_set_forecast": "harness.tasks.objects:ObjectSetForecast",
    "imu_to_hand_pose": "harness.tasks.reconstruction:ImuToHandPose",
    "camera_view_sync_retrieval": "harness.tasks.retrieval:CameraViewSyncRetrieval",
    "time_to_transition": "harness.tasks.transitions:TimeToTransition",
    "hand_action_chunk": "harness.tasks.hand_action:HandActionChunk",
    "action_chunk": "harness.tasks.action_chunk:ActionChunk",
    "quality_score": "harness.tasks.quality:QualityScore",
    "future_video": "harness.tasks.future:FutureVideo",
    "future_retrieval": "harness.tasks.future:FutureRetrieval",
}
# Posed by imported rows alone (`espalier import xperience-json`): part of no run.
IMPORTED_TASKS = {
    "qa_action": "harness.tasks.qa:QaAction",
    "qa_subtask": "harness.tasks.qa:QaSubtask",
    "qa_transition": "harness.tasks.qa:QaTransition",
    "qa_next_action": "harness.tasks.qa:QaNextAction",
    "qa_contact": "harness.tasks.qa:QaContact",
    "qa_objects": "harness.tasks.qa:QaObjects",
    "qa_json": "harness.tasks.qa:QaJson",
}
FUTURE_LATENT = "future_latent"  # one task per frozen encoder: `future_latent[ENCODER]`
_LATENT = re.compile(rf"{FUTURE_LATENT}\[([^][]+)\]")
# About video alone: part of a run only where they are named, or where a model of the run answers them.
ON_DEMAND = ("future_video", "future_retrieval", FUTURE_LATENT)


def task_ids() -> list[str]:
    """Ids of all tasks, with their default horizons; those of `latent_task_ids` are apart."""
    return list(TASKS)


def latent_task_ids() -> list[str]:
    """The latent task of every registered encoder."""
    from harness.encoder import encoder_names  # noqa: PLC0415

    return [f"{FUTURE_LATENT}[{name}]" for name in encoder_names()]


def on_demand(task_id: str) -> bool:
    """True for a task that no run has unasked."""
    return re.split(r"[@\[]", task_id, maxsplit=1)[0] in ON_DEMAND


def get_task(task_id: str, action_groups: dict[str, ActionGroup] | None = None, encoders: dict[str, str] | None = None) -> "Task":
    """The task of an id: `NAME`, `NAME@H` for a horizon of H reference samples where the task looks ahead, `NAME[ENCODER]`.

    Args:
        task_id: E.g. `timeline_action`, `hand_trajectory_forecast@32`, `future_latent[vjepa2-tiny]`.
        action_groups: Named dimensions of the data set's commands; only `action_chunk` uses them.
        encoders: Encoder -> model folder, for those that come without weights.

    Raises:
        BadInput: No such task, or it takes no such horizon or encoder.
    """
    if latent := _LATENT.fullmatch(task_id):
        from harness.tasks.future import latent_task  # noqa: PLC0415

        return latent_task(latent[1], (encoders or {}).get(latent[1]))
    if task_id == FUTURE_LATENT:
        raise BadInput(
            f"task {task_id!r} needs an encoder: write {FUTURE_LATENT}[ENCODER], or name a branch that forecasts latents"
        )
    name, at, number = task_id.partition("@")
    if task_id in IMPORTED_TASKS:
        return cast(type["Task"], _class_at(IMPORTED_TASKS[task_id]))()
    if name not in TASKS:
        raise BadInput(f"task {task_id!r} is not known{suggest(name, task_ids())}")
    from harness.tasks.action_chunk import ActionChunk  # noqa: PLC0415  numpy and the readers' types come with it
    from harness.tasks.horizon import HorizonTask  # noqa: PLC0415

    cls = cast(type["Task"], _class_at(TASKS[name]))
    if not issubclass(cls, HorizonTask):
        if at:
            raise BadInput(f"task {task_id!r}: {name} has no horizon; write {name!r}")
        return cls()
    if at and not re.fullmatch("[1-9][0-9]{0,3}", number):
        raise BadInput(f"task {task_id!r}: write the horizon as 1 to 9999 samples, e.g. {name}@{cls.default_horizon}")
    horizon = int(number) if at else None
    return ActionChunk(horizon, action_groups) if issubclass(cls, ActionChunk) else cls(horizon)


def _class_at(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
