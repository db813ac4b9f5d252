"""Contacts, objects, pairs, retrieval and tables."""

import numpy as np
from task_episodes import episode_of, label_track, set_track, targets_of, track, words

from harness.episode import Modality
from harness.tasks import get_task
from harness.window import SYNC_SHIFT


def test_any_contact_above_zero_counts_and_missing_frames_leave_it_open():
    contacts = np.zeros((12, 21), np.float32)
    contacts[2, 20] = 0.01
    contacts[9, 3] = 1.0
    valid = np.ones(12, bool)
    valid[8] = False
    contacts[8] = np.nan
    targets, _ = targets_of(
        get_task("contact_prediction"), episode_of(12, track("contacts", Modality.CONTACT, contacts, valid)), stride=4
    )
    assert words(targets) == ["contact", "no_contact", None]


def test_objects_of_a_window_are_those_of_any_frame():
    sets = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]]
    known = [True, True, True, True, False, False]
    objects = set_track(sets, ["pan", "egg", "cup"], known)
    targets, _ = targets_of(get_task("object_relevance"), episode_of(6, objects), length=2, stride=2)
    assert targets.vocabulary == ("pan", "egg", "cup")
    assert targets.label_sets.tolist() == [[True, True, False], [False, False, False], [False, False, False]]
    assert targets.valid.tolist() == [True, True, False]  # nothing there is an answer, nothing known is none


def test_later_objects_are_those_of_the_window_so_much_later():
    sets = np.eye(10, dtype=np.uint8)
    episode = episode_of(10, set_track(sets, list("abcdefghij")))
    now, _ = targets_of(get_task("object_relevance"), episode, length=2)
    later, _ = targets_of(get_task("object_set_forecast@3"), episode, length=2)
    assert later.valid.tolist() == [True] * 6 + [False] * 3
    assert (later.label_sets[:6] == now.label_sets[3:]).all()


def test_captions_that_are_the_same_on_every_frame_are_one_item():
    sentence = label_track("interaction", [0, 0, 1, 1, 0, 0, -1, -1, -1, -1, 0, 0])
    sets = [[1]] * 4 + [[1]] * 2 + [[0]] * 2 + [[1]] * 2 + [[0]] * 2
    episode = episode_of(12, sentence, set_track(sets, ["pan"]))
    targets, _ = targets_of(get_task("caption_grounding"), episode, length=2, stride=2)
    item = targets.item.tolist()
    assert targets.valid.tolist() == [True, True, True, False, True, True]
    assert item[0] == item[2]  # both: sentence 0 with a pan
    assert len(set(item)) == 5
    turned, _ = targets_of(get_task("caption_grounding"), episode, length=2, stride=1)
    assert turned.item[1] != turned.item[3]  # 0 then 1 is not 1 then 0


def test_other_retrieval_has_an_item_per_window():
    for name in ("cross_modal_retrieval", "camera_view_sync_retrieval"):
        targets, _ = targets_of(get_task(name), episode_of(9))
        assert targets.valid.all() and targets.item.tolist() == list(range(6))


def test_each_pair_occurs_in_both_orders():
    targets, samples = targets_of(get_task("temporal_order"), episode_of(16), length=4, stride=2)
    assert len(samples) > 0 and targets.valid.all()
    assert words(targets) == ["forward" if a < b else "reversed" for a, b in samples.starts]
    assert words(targets).count("forward") * 2 == len(samples)


def test_half_of_the_sync_pairs_are_shifted():
    targets, samples = targets_of(get_task("misalignment_detection"), episode_of(30), length=4, stride=2)
    assert words(targets) == ["aligned", "shifted"] * (len(samples) // 2)
    assert set(np.diff(samples.starts, axis=1).ravel().tolist()) == {0, 2 * SYNC_SHIFT}


def test_motion_and_senses_share_no_track():
    tracks = [
        "hand_left",
        "body",
        "body_root",
        "contacts",
        "camera_pose",
        "imu",
        "depth",
        "depth_confidence",
        "video/a",
        "audio/a",
    ]
    for name in ("misalignment_detection", "cross_modal_retrieval", "camera_view_sync_retrieval"):
        first, second = get_task(name).views
        assert not [t for t in tracks if first.allows((t,)) and second.allows((t,))]
        assert not first.allows(("objects",)) and not second.allows(("interaction",))


def test_what_a_data_set_can_pose():
    table = ["features", "target"]
    assert [n for n in ("quality_score", "temporal_order", "action_chunk") if get_task(n).poses(table)] == ["quality_score"]
    robot = ["state", "command", "video/ego", "instruction"]
    assert get_task("action_chunk").poses(robot) and get_task("temporal_order").poses(robot)
    assert not get_task("camera_view_sync_retrieval").poses(["video/fisheye_cam1", "video/fisheye_cam2"])
    assert get_task("hand_trajectory_forecast").poses(["hand_right", "camera_pose"])
    assert not get_task("hand_trajectory_forecast").poses(["hand_right"])


def test_a_table_row_has_its_target():
    values = np.array([[1.5], [np.nan], [3.0]])
    target = track("target", Modality.TABLE, values, valid=np.isfinite(values[:, 0]))
    features = track("features", Modality.TABLE, np.zeros((3, 2)))
    targets, _ = targets_of(get_task("quality_score"), episode_of(3, target, features), length=1)
    assert targets.values.tolist() == [[1.5], [0.0], [3.0]]
    assert targets.valid.tolist() == [True, False, True]
