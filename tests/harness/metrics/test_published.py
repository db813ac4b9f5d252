"""Published predictions give the published figures."""

import csv
import json

import numpy as np
import pytest

from harness.answers import Predictions, Targets, all_ok
from harness.metrics.base import MetricContext
from harness.metrics.macro_f1 import MacroF1
from harness.metrics.micro_f1 import MicroF1
from harness.metrics.mpjpe import JointError
from harness.metrics.r2 import R2
from harness.metrics.retrieval import ReciprocalRank


@pytest.fixture(scope="module")
def published(shared_data):
    folder = shared_data / "xperience_published" / "single_episode"
    if not folder.is_dir():
        pytest.skip("../shared/data/xperience_published is absent: published predictions are not part of the repository")
    return folder


def read(folder, *columns):
    with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figures = json.loads((folder / "metrics.json").read_text())
    return [[row[c] for row in rows] for c in columns], figures


def coded(words):
    vocabulary, codes = np.unique(words, return_inverse=True)
    return tuple(vocabulary.tolist()), codes.astype(np.int32)


def sets(texts):
    vocabulary = tuple(sorted({word for text in texts for word in text.split("|") if word}))
    return vocabulary, np.array([[word in text.split("|") for word in vocabulary] for text in texts], bool)


@pytest.mark.parametrize("head", ["minimal", "mlp"])
@pytest.mark.parametrize(
    "task", ["timeline_action", "timeline_subtask", "next_action", "transition_detection", "contact_prediction"]
)
def test_macro_f1(published, head, task):
    (truth, guess), figures = read(published / head / task, "true_label", "predicted_label")
    classes, codes = coded(truth)
    known, answers = coded(guess)
    n = len(truth)
    context = MetricContext(classes=classes, seen=np.isin(classes, figures["unseen_test_classes"], invert=True))
    metric = MacroF1(context)
    state = metric.state(
        Targets(np.ones(n, bool), labels=codes, vocabulary=classes), Predictions(all_ok(n), labels=answers, vocabulary=known)
    )
    assert metric.value(state) == pytest.approx(figures["macro_f1"], abs=1e-12)
    details = metric.details(state)
    assert details["accuracy"] == pytest.approx(figures["accuracy"], abs=1e-12)
    assert details["balanced_accuracy"] == pytest.approx(figures["balanced_accuracy"], abs=1e-12)
    seen, unseen = metric.seen_unseen(state)
    n_unseen = len(figures["unseen_test_classes"])
    assert seen * (len(classes) - n_unseen) + (unseen or 0.0) * n_unseen == pytest.approx(figures["macro_f1"] * len(classes))
    assert (unseen is None) == (n_unseen == 0)


@pytest.mark.parametrize("head", ["minimal", "mlp"])
def test_micro_f1(published, head):
    (truth, guess), figures = read(published / head / "object_relevance", "true_objects", "predicted_objects")
    classes, labels = sets(truth)
    known, answers = sets(guess)
    n = len(truth)
    metric = MicroF1(MetricContext(classes=classes, seen=np.ones(len(classes), bool)))
    state = metric.state(
        Targets(np.ones(n, bool), label_sets=labels, vocabulary=classes),
        Predictions(all_ok(n), label_sets=answers, vocabulary=known),
    )
    assert metric.value(state) == pytest.approx(figures["micro_f1"], abs=1e-12)
    details = metric.details(state)
    for ours, theirs in {"precision": "precision", "recall": "recall", "exact_match": "exact_match"}.items():
        assert details[ours] == pytest.approx(figures[theirs], abs=1e-12)
    # Theirs averages over the whole vocabulary, ours over the labels with support.
    assert details["macro_f1"] * len(classes) == pytest.approx(figures["macro_f1"] * figures["num_objects"], abs=1e-9)


@pytest.fixture(scope="module")
def hands(published):
    folder = published / "mlp" / "hand_trajectory_forecast"
    with np.load(folder / "predictions.npz") as arrays:
        truth, guess = arrays["y_true"], arrays["y_pred"]
    context = MetricContext(shape=(10, 42, 3), train_mean=truth.mean(axis=0, dtype=np.float64), train_std=np.ones(truth.shape[1]))
    figures = json.loads((folder / "metrics.json").read_text())
    return Targets(np.ones(len(truth), bool), values=truth), Predictions(all_ok(len(truth)), values=guess), context, figures


def test_joint_error(hands):
    targets, predictions, context, figures = hands
    metric = JointError(context)
    state = metric.state(targets, predictions)
    assert metric.value(state) == pytest.approx(figures["mpjpe"], rel=1e-6)
    details = metric.details(state)
    assert details["fde"] == pytest.approx(figures["final_frame_mpjpe"], rel=1e-6)
    assert details["per_horizon"]["10"] == details["fde"]


def test_r2(hands):
    targets, predictions, context, figures = hands
    metric = R2(context)
    state = metric.state(targets, predictions)
    assert metric.details(state)["published"]["r2"] == pytest.approx(figures["r2"], rel=1e-5)
    # With the test mean for the train mean and no scaling, the two definitions are one.
    assert metric.value(state) == pytest.approx(figures["r2"], rel=1e-5)


def test_reciprocal_rank(published):
    folder = published / "mlp" / "caption_grounding"
    with np.load(folder / "predictions.npz") as arrays:
        text, guess = arrays["y_true"], arrays["y_pred"]
    figures = json.loads((folder / "metrics.json").read_text())
    n = len(text)
    metric = ReciprocalRank(MetricContext())
    targets = Targets(np.ones(n, bool), item=np.arange(n, dtype=np.int32))
    state = metric.state(targets, Predictions(all_ok(n), query=text, key=guess))
    details = metric.details(state)
    assert metric.value(state) == pytest.approx(figures["mrr"], rel=1e-9)
    theirs = {"recall@1": "top1_accuracy", "recall@5": "top5_accuracy", "recall@10": "top10_accuracy", "mean_rank": "mean_rank"}
    assert {ours: figures[name] for ours, name in theirs.items()} == pytest.approx({ours: details[ours] for ours in theirs})
