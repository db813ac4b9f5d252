"""Fitted heads on disk and in memory: from raw rows to scores, from scores to answers. NumPy alone; linear and MLP alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import NDArray

from branches.heads.config import InputOptions
from branches.heads.inputs import Embed, InputMaker, Layout, RawRows
from branches.heads.pairs import CrossPrediction
from branches.heads.prepare import FittedHead, Prepared
from branches.heads.relu import relu_forward
from branches.heads.scaler import Scaler
from harness.answers import AnswerKind, Predictions, Status, all_ok, failed
from harness.branch import Predictor
from harness.tasks.base import Task
from harness.window import ObservedBatch

FILE = "heads.json"
PROJECTIONS = ("projection", "left_projection", "right_projection")  # these stand on rotated coordinates


@dataclass
class HeadWriter:
    """Writes the heads of one branch into a folder: `.npz` arrays (no pickles), and `heads.json` last.

    Attributes:
        folder: Where to write.
        history_steps: Of the raw rows.
    """

    folder: Path
    history_steps: int
    parameters: int = 0
    _inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, name: str, layout: Layout, prepared: Prepared, heads: dict[str, FittedHead], role: str = "") -> None:
        """Write the heads that stand on one input set. Sets of different names may be written from several threads.

        Args:
            name: Of the input set.
            layout: Of its raw rows.
            prepared: Its scaler and rotation.
            heads: Task id -> head.
            role: Retrieval role.
        """
        scaler, rotation = prepared.scaler, prepared.rotation
        arrays: dict[str, NDArray] = {"mean": scaler.mean, "std": scaler.std, "weight": scaler.weight}
        # Whichever is smaller: the rotation once, or every head's weights on the columns themselves.
        rotated = sum(h.arrays[k].shape[1] for h in heads.values() for k in PROJECTIONS if k in h.arrays) > rotation.rank
        if rotated:
            arrays["rotation"] = rotation.expand(np.eye(rotation.rank))
        np.savez(self.folder / f"inputs-{name}.npz", **arrays)  # type: ignore[arg-type]
        self._inputs[name] = {"layout": layout.to_json(), "clip": scaler.clip, "layer_norm": scaler.layer_norm}
        for position, (task, head) in enumerate(heads.items()):
            stored = dict(head.arrays)
            if not rotated:
                stored |= {k: rotation.expand(stored[k]) for k in PROJECTIONS if k in stored}
            stored = {k: a.astype(np.float32) if a.dtype == np.float64 else a for k, a in stored.items()}
            entry = self._tasks.setdefault(task, {"roles": {}})
            entry["roles"][role] = {"inputs": name, "file": f"head-{name}-{position}.npz"}
            np.savez(self.folder / entry["roles"][role]["file"], **stored)  # type: ignore[arg-type]
        with self._lock:
            arrays_of = (item for head in heads.values() for item in head.arrays.items())
            self.parameters += sum(a.size for key, a in arrays_of if a.ndim == 2 or key.endswith("bias"))

    def describe(self, task: Task, vocabulary: tuple[str, ...], width: int, unsupported: str = "") -> None:
        """What an answer of a task looks like, and why there is none where there is none."""
        entry = self._tasks.setdefault(task.id, {"roles": {}})
        entry |= {"kind": task.answer, "vocabulary": list(vocabulary), "width": width, "unsupported": unsupported}

    def close(self) -> None:
        """Write `heads.json`."""
        body = {"history_steps": self.history_steps, "inputs": self._inputs, "tasks": self._tasks}
        (self.folder / FILE).write_text(json.dumps(body, indent=1, sort_keys=True))


@dataclass(frozen=True, eq=False)
class _Inputs:
    layout: Layout
    scaler: Scaler
    rotation: NDArray[np.float32] | None


class HeadPredictor(Predictor):
    """Heads in memory.

    Args:
        folder: What a `HeadWriter` left.
        get_task: Task of an id.
        embed: Stands in for the features (probes).
    """

    def __init__(self, folder: Path, get_task: Callable[[str], Task], embed: Embed | None = None) -> None:
        body = json.loads((folder / FILE).read_text())
        self.folder = folder
        self.get_task = get_task
        self.embed_batch = embed
        self.options = InputOptions(history_steps=body["history_steps"])
        self.tasks: dict[str, dict[str, Any]] = body["tasks"]
        self.inputs = {name: _load_inputs(folder / f"inputs-{name}.npz", entry) for name, entry in body["inputs"].items()}
        self.arrays: dict[str, dict[str, NDArray]] = {}
        self.makers: dict[tuple[str, str], InputMaker] = {}

    def predict(self, batch: ObservedBatch) -> Predictions:
        """See `Predictor`; rows with nothing measured are unsupported and say so."""
        entry = self.tasks.get(batch.task, {"kind": self.get_task(batch.task).answer, "vocabulary": [], "width": 0})
        reason = entry.get("unsupported", "the head was not fitted on this task")
        if reason:
            return _unsupported(len(batch), entry, reason)
        role = entry["roles"][batch.role]
        inputs = self.inputs[role["inputs"]]
        if (batch.task, batch.role) not in self.makers:
            maker = InputMaker(self.get_task(batch.task), self.options, self.embed_batch, inputs.layout)
            self.makers[batch.task, batch.role] = maker
            self.arrays[role["file"]] = _load(self.folder / role["file"])
        arrays = self.arrays[role["file"]]
        raw = self.makers[batch.task, batch.role](batch)
        return answer(entry, arrays, scores(arrays, inputs.scaler, inputs.rotation, raw), raw)


def scores(arrays: dict[str, NDArray], scaler: Scaler, rotation: NDArray | None, raw: RawRows) -> NDArray[np.float64]:
    """(B, m) what a head says of raw rows."""
    x = scaler(raw.values)
    # In float32 a row's last bit depends on its place in the batch: matrix kernels treat the last rows otherwise.
    z = x.astype(np.float64) if rotation is None else x.astype(np.float64) @ rotation
    out = forward(arrays, z)
    if "cross_projection" in arrays:
        names = set(CrossPrediction.__dataclass_fields__)
        cross = CrossPrediction(**{name: arrays[f"cross_{name}"] for name in names})
        first, second = raw.layout.view_columns(0), raw.layout.view_columns(1)
        evidence = cross(x[:, first], x[:, second], raw.values[:, second]) - arrays["cross_offset"]
        out += evidence @ arrays["cross_projection"]
    return out


def forward(arrays: dict[str, NDArray], z: NDArray) -> NDArray[np.float64]:
    """(m, outputs) of a linear head, or of a network where there are hidden layers, with linear outputs beside it."""
    if "dense0_weight" in arrays:
        return relu_forward(arrays, z)
    out: NDArray[np.float64] = (z @ arrays["projection"] + arrays["bias"]).astype(np.float64)
    if "hidden_weight" in arrays:
        out = gelu(gelu(out) @ arrays["hidden_weight"] + arrays["hidden_bias"]) @ arrays["out_weight"] + arrays["out_bias"]
    if "left_projection" in arrays:
        out = np.concatenate([z @ arrays["left_projection"] + arrays["left_bias"], out], axis=1)
    if "right_projection" in arrays:
        out = np.concatenate([out, z @ arrays["right_projection"] + arrays["right_bias"]], axis=1)
    return out


def gelu(x: NDArray) -> NDArray:
    """The exact Gaussian error linear unit."""
    return np.asarray(x * scipy.special.ndtr(x))


def answer(entry: dict[str, Any], arrays: dict[str, NDArray], found: NDArray[np.float64], raw: RawRows) -> Predictions:
    """Scores as an answer of the task's kind, in physical units."""
    vocabulary = tuple(entry["vocabulary"])
    status = np.where(raw.usable, all_ok(len(found)), Status.UNSUPPORTED.value)
    reason = None if raw.usable.all() else tuple(None if ok else "nothing is measured in a view" for ok in raw.usable.tolist())
    if entry["kind"] == "label":
        labels = np.where(raw.usable, found.argmax(axis=1), -1).astype(np.int32)
        probabilities = scipy.special.softmax(found, axis=1).astype(np.float32)
        return Predictions(status, labels=labels, vocabulary=vocabulary, probabilities=probabilities, raw=reason)
    if entry["kind"] == "label_set":
        chosen = found > arrays["threshold"]
        chosen[np.arange(len(found)), found.argmax(axis=1)] = True
        share = scipy.special.expit(found) if "hidden_weight" in arrays else np.clip(found, 0, 1)
        chosen &= raw.usable[:, None]
        return Predictions(status, label_sets=chosen, vocabulary=vocabulary, probabilities=share.astype(np.float32), raw=reason)
    if entry["kind"] == "vector":
        found = found * arrays["target_std"] + arrays["target_mean"]
        if raw.base is not None:
            found = found + np.tile(raw.base, (1, found.shape[1] // max(raw.base.shape[1], 1)))
    return Predictions(status, values=np.where(raw.usable[:, None], found, np.nan).astype(np.float32), raw=reason)


def _unsupported(n: int, entry: dict[str, Any], reason: str) -> Predictions:
    # A retrieval batch has one role, whose vector stands in `values`.
    kind: AnswerKind = "vector" if entry["kind"] == "retrieval" else entry["kind"]
    none = failed(n, Status.UNSUPPORTED, kind, entry["width"], entry["vocabulary"])
    return Predictions(none.status, none.labels, none.label_sets, none.vocabulary, values=none.values, raw=(reason,) * n)


def _load(path: Path) -> dict[str, NDArray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _load_inputs(path: Path, entry: dict[str, Any]) -> _Inputs:
    arrays = _load(path)
    scaler = Scaler(arrays["mean"], arrays["std"], arrays["weight"], entry["clip"], entry["layer_norm"])
    return _Inputs(Layout.from_json(entry["layout"]), scaler, arrays.get("rotation"))
