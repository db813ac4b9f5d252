"""The tasks by name."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from task_episodes import episode_of, targets_of

from harness.errors import BadInput
from harness.metrics.base import metric_class
from harness.metrics.psnr import BEST
from harness.tasks import get_task, task_ids

PUBLISHED = [
    "timeline_action",
    "timeline_subtask",
    "transition_detection",
    "next_action",
    "hand_trajectory_forecast",
    "contact_prediction",
    "object_relevance",
    "caption_grounding",
    "cross_modal_retrieval",
    "modality_reconstruction",
    "temporal_order",
    "misalignment_detection",
    "long_horizon_next_action",
    "next_subtask_forecast",
    "interaction_text_prediction",
    "action_object_relation",
    "object_set_forecast",
    "imu_to_hand_pose",
    "camera_view_sync_retrieval",
    "time_to_transition",
]
HORIZONS = {
    "next_action": 20,
    "hand_trajectory_forecast": 10,
    "long_horizon_next_action": 100,
    "next_subtask_forecast": 100,
    "object_set_forecast": 100,
    "time_to_transition": 200,
    "hand_action_chunk": 16,
    "action_chunk": 16,
    "future_video": 20,
}


def test_the_published_twenty_and_ours():
    assert task_ids() == [*PUBLISHED, "hand_action_chunk", "action_chunk", "quality_score", "future_video", "future_retrieval"]


@pytest.mark.parametrize("name", task_ids())
def test_a_task_says_what_a_table_needs(name):
    task = get_task(name)
    assert task.id == name
    assert task.title and task.mechanism and task.requires
    assert len(task.views) == (1 if task.samples == "window" and task.answer != "retrieval" else 2)
    ceilings = {"psnr": BEST}
    metric = metric_class(task.metric)
    assert task.ceiling == ceilings.get(metric.name, 1.0 if metric.direction == "up" else 0.0)
    assert task.floor in {"label": ("majority", "chance"), "label_set": ("prior",), "retrieval": ("chance",)}.get(
        task.answer, ("prior", "persistence")
    )
    assert (task.floor == "persistence") == bool(task.tracks_for_history())
    if task.copies is not None:
        assert get_task(task.copies).answer == task.answer


@pytest.mark.parametrize("name", task_ids())
def test_no_task_shows_labels_or_what_it_asks_for(name):
    task = get_task(name)
    for view in task.views:
        for hidden in ("action", "subtask", "target", "point_cloud"):
            assert not view.allows((hidden,))
    asked = {
        "contact_prediction": ("contacts", "objects", "interaction"),
        "object_relevance": ("objects", "interaction"),
        "interaction_text_prediction": ("interaction", "objects"),
        "action_object_relation": ("objects", "interaction"),
        "imu_to_hand_pose": ("hand_left", "hand_right_translation", "body", "camera_pose", "video/fisheye_cam0"),
        "modality_reconstruction": ("depth", "depth_confidence", "video/fisheye_cam0", "objects"),
        "quality_score": ("target",),
    }
    for track in asked.get(name, ()):
        assert not task.views[0].allows((track,))


def test_a_derived_track_is_hidden_with_what_it_was_made_from():
    key = get_task("caption_grounding").views[1]
    assert key.allows(("depth", "camera_pose"))
    assert not key.allows(("depth", "objects"))


@pytest.mark.parametrize(("name", "default"), HORIZONS.items())
def test_horizons(name, default):
    assert get_task(name).horizon == default
    other = get_task(f"{name}@32")
    assert (other.id, other.horizon) == (f"{name}@32", 32)


@pytest.mark.parametrize(
    "word",
    [
        "timeline_acton",
        "next_action@0",
        "next_action@",
        "next_action@-3",
        "next_action@07",
        "next_action@x",
        "timeline_action@5",
        "",
    ],
)
def test_unknown_ids_are_refused_in_one_line(word):
    with pytest.raises(BadInput) as error:
        get_task(word)
    assert "\n" not in str(error.value)
    assert repr(word) in str(error.value)


def test_a_typing_error_gets_a_suggestion():
    with pytest.raises(BadInput, match="did you mean 'timeline_action'"):
        get_task("timeline_acton")


def test_listing_imports_no_task_and_nothing_heavy():
    code = (
        "import sys, harness.tasks; harness.tasks.task_ids();"
        "heavy = {'numpy', 'ray', 'torch', 'av', 'pyarrow', 'h5py', 'scipy', 'sklearn'};"
        "print(sorted(heavy & {m.split('.')[0] for m in sys.modules}))"
    )
    root = Path(__file__).resolve().parents[3]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", task_ids())
@pytest.mark.parametrize("n", [0, 1, 30])
def test_an_episode_that_lacks_everything_has_no_truth_and_is_no_error(name, n):
    task = get_task(name)
    targets, samples = targets_of(task, episode_of(n))
    assert len(targets) == len(samples)
    by_content = name in ("caption_grounding", "future_retrieval")
    needs_tracks = by_content or (task.samples == "window" and task.answer != "retrieval")
    assert not (needs_tracks and targets.valid.any())
    for array in (targets.labels, targets.label_sets, targets.values, targets.mask, targets.reference, targets.item):
        assert array is None or len(array) == len(samples)
    if targets.labels is not None:
        assert targets.labels.dtype == np.int32
    if targets.values is not None:
        assert targets.values.dtype == np.float32
        assert targets.values.shape[1] == np.prod(task.shape(episode_of(n)))
