"""Targets of the one public Xperience-10M recording, against the labels that were published with the predictions.

Frame labels are not published, but windows are, with the share of their label: enough to put every frame's label back.
"""

import csv
import json

import numpy as np
import pytest
from task_episodes import episode_of, label_track, set_track, targets_of, words

from harness.answers import Predictions, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.boundary_f1 import BoundaryF1
from harness.tasks import get_task

N, LENGTH, STRIDE = 5821, 20, 5
CELL = 40  # frames between two frames that the captions describe


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def published(shared_data):
    return shared_data / "xperience_published" / "single_episode"


@pytest.fixture(scope="module")
def windows(published):
    return rows(published / "windows.csv")


def frames_of(windows, kind):
    """Frame labels from window labels: where a new label first leads, its share says on which frame it began."""
    labels = [w[f"{kind}_label"] for w in windows]
    names = sorted(set(labels) - {""})
    codes = np.full(N, names.index(labels[0]))
    for window, label in zip(windows, labels, strict=True):
        end = int(window["start_frame"]) + LENGTH
        if label and names.index(label) != codes[end - 1]:
            codes[end - round(LENGTH * float(window[f"{kind}_fraction"])) :] = names.index(label)
    return label_track(kind, codes, names)


@pytest.fixture(scope="module")
def episode(windows, published):
    sets = [w["objects"].split("|") if w["objects"] else [] for w in rows(published / "window_object_labels.csv")]
    names = sorted({name for s in sets for name in s})
    cells = np.array([[name in sets[start // STRIDE] for name in names] for start in range(0, N - LENGTH, CELL)])
    objects = set_track(np.repeat(cells, CELL, axis=0)[:N], names)
    return episode_of(N, frames_of(windows, "action"), frames_of(windows, "subtask"), objects)


@pytest.mark.parametrize(
    ("task", "kind", "labelled"), [("timeline_action", "action", 1144), ("timeline_subtask", "subtask", 1147)]
)
def test_window_labels(windows, episode, task, kind, labelled):
    targets, _ = targets_of(get_task(task), episode, LENGTH, STRIDE)
    assert words(targets) == [w[f"{kind}_label"] or None for w in windows]
    assert targets.valid.sum() == labelled


def test_transitions(published, episode):
    targets, samples = targets_of(get_task("transition_detection"), episode, LENGTH, STRIDE)
    by_start = dict(zip(samples.starts[:, 0].tolist(), words(targets), strict=True))
    truth = rows(published / "minimal" / "transition_detection" / "predictions.csv")
    assert len(truth) == 348
    assert [by_start[int(r["start_frame"])] for r in truth] == [r["true_label"] for r in truth]


@pytest.mark.parametrize("head", ["minimal", "mlp"])
def test_boundary_f1(published, episode, head):
    targets, samples = targets_of(get_task("transition_detection"), episode, LENGTH, STRIDE)
    assert targets.boundaries.count == 17
    folder = published / head / "transition_detection"
    answered, figures = rows(folder / "predictions.csv"), json.loads((folder / "metrics.json").read_text())
    truth = targets.take(np.searchsorted(samples.starts[:, 0], [int(r["start_frame"]) for r in answered]))
    labels = np.array([targets.vocabulary.index(r["predicted_label"]) for r in answered], np.int32)
    metric = BoundaryF1(MetricContext(classes=("steady", "transition"), seen=np.ones(2, bool)))
    state = metric.state(truth, Predictions(all_ok(len(labels)), labels=labels, vocabulary=targets.vocabulary))
    theirs = [figures[f"{which}_boundaries"] for which in ("matched", "predicted", "true")]
    assert state[-4:-1].tolist() == theirs
    details = metric.details(state)
    for name in ("boundary_f1", "boundary_precision", "boundary_recall"):
        assert details[name] == pytest.approx(figures[name], abs=1e-12)
    assert details["boundary_error_s"] * 20 == pytest.approx(figures["mean_abs_timing_error_frames"], abs=1e-12)
    assert metric.value(state) == pytest.approx(figures["macro_f1"], abs=1e-12)


def test_the_most_that_boundary_f1_can_be_in_the_published_windows(episode):
    targets, samples = targets_of(get_task("transition_detection"), episode, LENGTH, STRIDE)
    truth = targets.take(np.flatnonzero(samples.starts[:, 0] >= 4065))
    metric = BoundaryF1(MetricContext(classes=("steady", "transition"), seen=np.ones(2, bool)))
    oracle = Predictions(all_ok(len(truth)), labels=truth.labels, vocabulary=truth.vocabulary)
    details = metric.details(metric.state(truth, oracle))
    assert (details["boundary_recall"], details["boundary_precision"]) == (1.0, 0.25)
    assert details["boundary_f1"] == pytest.approx(0.4)


def test_next_actions_but_for_the_windows_that_were_clamped_to_the_last_frame(published, episode):
    targets, samples = targets_of(get_task("next_action"), episode, LENGTH, STRIDE)
    by_start = dict(zip(samples.starts[:, 0].tolist(), words(targets), strict=True))
    truth = rows(published / "minimal" / "next_action" / "predictions.csv")
    known = [r for r in truth if by_start[int(r["start_frame"])] is not None]
    assert len(truth) == 348 and len(known) == 344
    assert [by_start[int(r["start_frame"])] for r in known] == [r["true_label"] for r in known]


def test_objects_of_all_windows(published, episode):
    targets, _ = targets_of(get_task("object_relevance"), episode, LENGTH, STRIDE)
    found = [{targets.vocabulary[k] for k in np.flatnonzero(row)} for row in targets.label_sets]
    assert found == [set(filter(None, w["objects"].split("|"))) for w in rows(published / "window_object_labels.csv")]
    assert len(targets.vocabulary) == 34
