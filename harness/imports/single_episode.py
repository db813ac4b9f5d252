"""The published single-episode predictions: every figure that their files carry, and what costs nothing beside it.

A folder `single_episode/{minimal,mlp}/<task>` holds `metrics.json` and the rows of the last three tenths of one recording, as CSV
or as `y_true` and `y_pred` arrays; `windows.csv` holds the labels of all its windows. One recording is one cluster: no interval.
"""

import csv
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from harness.answers import Predictions, Targets, all_ok
from harness.card import first_line
from harness.errors import BadInput
from harness.imports import definitions
from harness.imports.figure import Figure, short
from harness.imports.source import read_object
from harness.metrics.base import MetricContext
from harness.metrics.retrieval import ReciprocalRank

FRAMES = 20  # of a window
TOLERANCE = 10  # frames between a window's centre and a change
HORIZON = 10  # frames that are forecast
HELD_FROM = 2  # windows: the target of the window two before ends on the last frame that a window observes
SUITE = (
    "timeline_action", "timeline_subtask", "transition_detection", "next_action", "hand_trajectory_forecast",
    "contact_prediction", "object_relevance", "caption_grounding", "cross_modal_retrieval", "modality_reconstruction",
    "temporal_order", "misalignment_detection",
)  # fmt: skip
_TRAINING = "a figure of the training rows, which are not in the files"
_SETTING = "a setting or a count of the training, no result"


@dataclass(frozen=True)
class Recomputed:
    """What the rows of one task give.

    Attributes:
        figures: Published name -> value.
        ours: Published name -> what our definition says.
        floors: Published name -> what costs nothing.
    """

    figures: dict[str, float]
    ours: dict[str, str]
    floors: dict[str, str]


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """What a file that is not the published one can raise, as bad input."""
    try:
        yield
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        EOFError,
        OSError,
        BadZipFile,
        zlib.error,
    ) as error:
        raise BadInput(f"{path}: not what was published ({type(error).__name__}: {first_line(error)}); fetch it anew") from error


class Recording:
    """Labels of all windows of the recording.

    Args:
        folder: `single_episode`.
    """

    def __init__(self, folder: Path) -> None:
        with _one_line(folder / "windows.csv"):
            self.windows = {int(row["window_index"]): row for row in _rows(folder / "windows.csv")}
            for row in self.windows.values():
                int(row["end_frame"]), float(row["action_fraction"]), row["action_label"], row["subtask_label"]
        with _one_line(folder / "window_object_labels.csv"):
            self.objects = {int(row["window_index"]): row["objects"] for row in _rows(folder / "window_object_labels.csv")}
        with _one_line(folder / "object_vocab.json"):
            self.vocabulary = [str(word) for word in read_object(folder / "object_vocab.json")["vocab"]]

    def changes(self) -> NDArray[np.int64]:
        """Frames on which the action changes: where a label first leads, its share of the window says on which frame it began."""
        now, found = "", []
        for row in self.windows.values():
            label = row["action_label"]
            if label and label != now:
                if now:
                    found.append(int(row["end_frame"]) + 1 - round(FRAMES * float(row["action_fraction"])))
                now = label
        return np.array(found, np.int64)

    def before(self, index: int, column: str) -> list[str]:
        """Labels of the windows before one: the training rows."""
        return [row[column] for i, row in self.windows.items() if i < index and row[column]]


def single_episode(folder: Path) -> list[Figure]:
    """Every figure of every `metrics.json` below the folder.

    Raises:
        BadInput: A file is missing or is not what it should be.
    """
    recording = Recording(folder)
    found: list[Figure] = []
    for head in ("minimal", "mlp"):
        for task in SUITE:
            place = folder / head / task
            if (place / "metrics.json").is_file():
                found += _figures(place, f"{head}/{task}", recording)
    return found


def absent(folder: Path) -> list[str]:
    """Tasks of the suite without a folder: nothing of theirs can be recomputed."""
    lines = []
    for head in ("minimal", "mlp"):
        missing = [task for task in SUITE if not (folder / head / task).is_dir()]
        if missing:
            lines.append(f"- {head}: {', '.join(missing)}: no predictions of these tasks are in the files")
    if (folder / "audio_ablation_summary.json").is_file():
        lines.append("- audio_ablation_summary.json: summaries only, no predictions")
    return lines


def _figures(place: Path, name: str, recording: Recording) -> Iterator[Figure]:
    stated = read_object(place / "metrics.json")
    with _one_line(place):
        given = _recomputed(place, recording)
    for key, value in stated.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            reason = _TRAINING if key.startswith("train_final") or key == "majority_baseline_accuracy" else _SETTING
            yield Figure(
                f"single_episode/{name}", key, value, given.figures.get(key), reason, given.ours.get(key, ""),
                given.floors.get(key, ""),
            )  # fmt: skip


def _recomputed(place: Path, recording: Recording) -> Recomputed:
    task = place.name
    if (place / "predictions.npz").is_file():
        with np.load(place / "predictions.npz", allow_pickle=False) as arrays:
            true, predicted = arrays["y_true"], arrays["y_pred"]
        return _hands(true, predicted) if task == "hand_trajectory_forecast" else _ranks(true, predicted)
    rows = _rows(place / "predictions.csv")
    if "true_objects" in rows[0]:
        return _objects(rows, recording)
    return _pairs(rows) if "true" in rows[0] else _labels(task, rows, recording)


def _labels(task: str, rows: Sequence[dict[str, str]], recording: Recording) -> Recomputed:
    true, predicted = [row["true_label"] for row in rows], [row["predicted_label"] for row in rows]
    figures = definitions.of_classes(true, predicted) | {"num_eval_windows": len(rows), "num_test_windows": len(rows)}
    constants = {"majority of test": [_most(true)] * len(rows)}
    indices = [int(row["window_index"]) for row in rows]
    column = {"timeline_action": "action_label", "timeline_subtask": "subtask_label"}.get(task)
    if column:
        trained = recording.before(indices[0], column)
        constants["majority of train"] = [_most(trained)] * len(rows)
        figures["majority_baseline_accuracy"] = definitions.of_classes(true, constants["majority of train"])["accuracy"]
        figures["num_classes"] = len({row[column] for row in recording.windows.values()} - {""})
    if task == "next_action":
        constants["copy of the current action (privileged)"] = [recording.windows[i]["action_label"] for i in indices]
    if task == "transition_detection":
        centres = np.array([int(row["center_frame"]) for row in rows], np.int64)
        changes = recording.changes()
        inside = changes[(changes >= centres[0]) & (changes <= centres[-1])]
        claims = np.array([word == "transition" for word in predicted], bool)
        figures |= definitions.of_boundaries(centres[claims], inside, TOLERANCE)
    given = {name: definitions.of_classes(true, constant) for name, constant in constants.items()}
    floors = {key: _listed({name: found[key] for name, found in given.items()}) for key in next(iter(given.values()))}
    if task == "transition_detection":
        everywhere = definitions.of_boundaries(centres, inside, TOLERANCE)["boundary_f1"]
        floors["boundary_f1"] = _listed({"claiming every window": everywhere})
    single = "vacuous: one class" if len(set(true)) == 1 else ""
    return Recomputed(figures, {"macro_f1": single or short(figures["macro_f1"])}, floors)


def _pairs(rows: Sequence[dict[str, str]]) -> Recomputed:
    true, predicted = (np.array([row[key] == "1" for row in rows], bool) for key in ("true", "predicted"))
    always = definitions.of_pairs(true, np.ones(len(rows), bool))
    figures = definitions.of_pairs(true, predicted) | {"num_test_samples": len(rows)}
    macro = definitions.of_classes(true.astype(str).tolist(), predicted.astype(str).tolist())["macro_f1"]
    floors = {key: _listed({"always yes": always[key]}) for key in ("accuracy", "precision", "recall", "f1")}
    return Recomputed(figures, {"f1": f"macro-F1 {short(macro)}"}, floors)


def _objects(rows: Sequence[dict[str, str]], recording: Recording) -> Recomputed:
    words = recording.vocabulary
    true, predicted = (_sets([row[key] for row in rows], words) for key in ("true_objects", "predicted_objects"))
    first = int(rows[0]["window_index"])
    trained = _sets([names for i, names in recording.objects.items() if i < first], words)
    constants = {"best set of test": _best_set(true), "best set of train": _best_set(trained)}
    given = {name: definitions.of_sets(true, np.repeat(chosen[None], len(rows), axis=0)) for name, chosen in constants.items()}
    figures = definitions.of_sets(true, predicted) | {"num_test_windows": len(rows), "num_objects": len(words)}
    floors = {
        key: _listed({name: found[key] for name, found in given.items()}) for key in ("micro_f1", "macro_f1", "exact_match")
    }
    return Recomputed(figures, {"micro_f1": short(figures["micro_f1"])}, floors)


def _hands(true: NDArray[np.float32], predicted: NDArray[np.float32]) -> Recomputed:
    shape = (len(true), HORIZON, -1)
    held = np.repeat(true.reshape(shape)[:-HELD_FROM, -1:], HORIZON, axis=1).reshape(len(true) - HELD_FROM, -1)
    persistence = definitions.of_hands(true[HELD_FROM:], held, HORIZON)
    same = definitions.of_hands(true[HELD_FROM:], predicted[HELD_FROM:], HORIZON)
    rows = f"{len(held)} rows"
    return Recomputed(
        definitions.of_hands(true, predicted, HORIZON) | {"num_test_windows": len(true), "target_dim": true.shape[1]},
        {key: f"{short(same[key])} on the same {rows}" for key in persistence},
        {key: f"{short(value)} persistence on {rows}" for key, value in persistence.items()},
    )


def _ranks(query: NDArray[np.float32], key: NDArray[np.float32]) -> Recomputed:
    n = len(query)
    _, item = np.unique(query, axis=0, return_inverse=True)
    targets = Targets(np.ones(n, bool), item=item.reshape(-1).astype(np.int32))
    metric = ReciprocalRank(MetricContext())
    ours = metric.value(metric.state(targets, Predictions(all_ok(n), query=query, key=key)))
    closed = metric.chance(targets)
    alone = float((1 / np.arange(1, n + 1)).mean())
    floors = {"one right row": alone} | ({} if closed is None else {"by texts": float(metric.value(closed))})
    return Recomputed(
        definitions.of_ranks(query, key) | {"num_test_windows": n, "target_dim": query.shape[1]},
        {"mrr": f"{short(float(ours))} with half ranks for ties, rows of one text as hits, places counted in texts"},
        {"mrr": "chance: " + _listed(floors)},
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read ({first_line(error)}); give the folder of the published files") from error
    if not rows:
        raise BadInput(f"{path}: has no rows")
    return rows


def _most(labels: Sequence[str]) -> str:
    words, counts = np.unique(np.asarray(labels, np.str_), return_counts=True)
    return str(words[counts.argmax()])


def _sets(cells: Sequence[str], words: Sequence[str]) -> NDArray[np.bool_]:
    """(n, K) sets of names with bars between them."""
    named = [set(cell.split("|")) for cell in cells]
    return np.array([[word in names for word in words] for names in named], bool)


def _best_set(sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(K,) the one set that has the best micro-F1 on these rows when it is answered everywhere."""
    order = np.argsort(-sets.sum(axis=0), kind="stable")
    hits = np.cumsum(sets.sum(axis=0)[order])
    size = np.arange(1, len(order) + 1) * len(sets)
    best = int(np.argmax(2 * hits / (size + sets.sum()))) + 1
    chosen = np.zeros(len(order), bool)
    chosen[order[:best]] = True
    return chosen


def _listed(values: dict[str, float]) -> str:
    return "; ".join(f"{short(value)} {name}" for name, value in values.items())
