"""A fitted Qwen3-Omni in memory. One generation answers all tasks of a window: they ask one after the other and see the same."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from branches.qwen_omni.clips import Clips, clips_of
from branches.qwen_omni.omni import Omni, Shots, load
from branches.qwen_omni.prompt import Field, fields_from_json, parse
from branches.torch_training import deterministic, is_out_of_memory
from harness.answers import STATUS_DTYPE, Predictions, Status, failed
from harness.branch import Predictor
from harness.episode import BoolArray
from harness.errors import BadInput
from harness.tasks import get_task
from harness.window import ObservedBatch

if TYPE_CHECKING:
    from branches.qwen_omni.adapter import OmniBranch

ABOUT, SHOTS, LORA = "omni.json", "shots.safetensors", "lora"
THREADS = 1  # actors run side by side, a core each; and the last bit of a sum depends on the threads
REMEMBERED = 16_384  # answers kept, at least those of a block


@dataclass(frozen=True)
class Said:
    """One generation.

    Attributes:
        status: `ok`, or why there is no answer.
        labels: Field -> labels.
        text: All that was written; None where nothing was.
    """

    status: Status
    labels: dict[str, tuple[str, ...]]
    text: str | None = None


class OmniPredictor(Predictor):
    """Answers from text, frames and sound.

    Decoding is greedy, so equal inputs have equal answers: what was generated for one task is the answer to the others.

    Args:
        branch: Whose artifact it is.
        folder: Of the artifact.

    Attributes:
        generations: Windows that went through the model so far.
    """

    def __init__(self, branch: "OmniBranch", folder: Path) -> None:
        body = json.loads((folder / ABOUT).read_text())
        if body["base"] != branch.base():
            raise BadInput(f"{branch.card.name}: its pretrained weights are others than when it was fitted; fit it again")
        self.branch, self.options, self.listens = branch, branch.config, bool(body["listens"])
        self.fields: tuple[Field, ...] = fields_from_json(body["fields"])
        self.omni: Omni = load(branch.folder, branch.card.name, self.options.dtype)
        if (folder / LORA).is_dir():
            from branches.qwen_omni.training import load_lora  # noqa: PLC0415  peft takes seconds to import

            self.omni = load_lora(self.omni, folder / LORA)
        self.shots = _load_shots(folder, body["shots"])
        self.only = self.omni.vocabulary(self.fields) if self.options.constrained else None
        self.remembered: OrderedDict[bytes, Said] = OrderedDict()
        self.generations = 0

    def predict(self, batch: ObservedBatch) -> Predictions:
        """Label or set of labels per window, with all that was written.

        `unsupported` without camera or sound; `parse_error` and `schema_error` by `parse`; `oom` where memory did not do.
        """
        field = next((f for f in self.fields if f.task == batch.task), None)
        if field is None:  # no training window told an answer
            return failed(len(batch), Status.UNSUPPORTED, get_task(batch.task).answer, 1)
        return as_predictions(field, self._said(batch))

    def _said(self, batch: ObservedBatch) -> list[Said]:
        rows = len(batch)
        clips: Clips | None = None
        ok: BoolArray = np.ones(rows, bool)
        if self.branch.sees:
            want = self.branch.frames_want()
            clips, seen, heard = clips_of(batch.views[0], want, self.options.frames, listens=self.listens)
            ok = seen & heard if self.listens else seen
        keys = [_digest(clips, i) for i in range(rows)]
        asked = {key: i for i, key in enumerate(keys) if ok[i] and key not in self.remembered}
        for start in range(0, len(asked), self.options.rows_at_once):
            part = list(asked.items())[start : start + self.options.rows_at_once]
            for (key, _), said in zip(part, self._generate(clips, np.array([i for _, i in part])), strict=True):
                self.remembered[key] = said
        found = [self.remembered[key] if good else Said(Status.UNSUPPORTED, {}) for key, good in zip(keys, ok, strict=True)]
        while len(self.remembered) > REMEMBERED:
            self.remembered.popitem(last=False)
        return found

    def _generate(self, clips: Clips | None, index: NDArray) -> list[Said]:
        """What the model writes about some windows; where memory does not do for all of them, for one after the other."""
        self.generations += len(index)
        try:
            with deterministic(THREADS, 0):
                part = None if clips is None else clips.take(index)
                texts = self.omni.answers(self.fields, part, len(index), self.shots, self.only)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(index) == 1:
                return [Said(Status.OOM, {})]
            self.generations -= len(index)
            return [said for i in index for said in self._generate(clips, np.array([i]))]
        return [Said(*parse(text, self.fields), text) for text in texts]


def as_predictions(field: Field, said: Sequence[Said]) -> Predictions:
    """The rows of one task. Words that are no options follow them in the vocabulary: they are answers, and wrong ones."""
    answers = [row.labels.get(field.name, ()) for row in said]
    strange = sorted({word for words in answers for word in words} - set(field.options))
    vocabulary = (*field.options, *strange)
    code = {word: i for i, word in enumerate(vocabulary)}
    status = np.array([row.status.value for row in said], STATUS_DTYPE)
    raw = tuple(row.text for row in said)
    if not field.many:
        labels = np.array([code[words[0]] if words else -1 for words in answers], np.int32)
        return Predictions(status, labels=labels, vocabulary=vocabulary, raw=raw)
    sets = np.zeros((len(said), len(vocabulary)), bool)
    for row, words in enumerate(answers):
        sets[row, [code[word] for word in words]] = True
    return Predictions(status, label_sets=sets, vocabulary=vocabulary, raw=raw)


def _digest(clips: Clips | None, row: int) -> bytes:
    """Of everything that the model is shown of a window."""
    parts = [] if clips is None else [clips.frames[row].tobytes(), clips.sound[row].tobytes(), repr(clips.fps).encode()]
    return blake2b(b"".join(parts), digest_size=16).digest()


def _load_shots(folder: Path, about: dict | None) -> Shots | None:
    if about is None:
        return None
    arrays = load_file(folder / SHOTS)
    return Shots(Clips(arrays["frames"], arrays["sound"], float(about["fps"])), tuple(about["answers"]))
