"""Training windows of all tasks at once: label spaces, answers, and frames and sound on disk."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.qwen_omni.clips import Clips, clips_of
from branches.qwen_omni.config import OmniOptions
from branches.qwen_omni.prompt import Field, answer_text, in_order, make_field
from harness.answers import Targets
from harness.branch import EpisodeBatch, Needs, TrainingSet
from harness.row_file import RowFile
from harness.tasks.base import Task

Words = tuple[str, ...]
SEES_NOTHING = Needs()


def label_space(train: TrainingSet, tasks: tuple[Task, ...]) -> tuple[Field, ...]:
    """The fields, each with the words that a training window has; a task of which no window has any is not asked."""
    fields = []
    for task in tasks:
        words: set[str] = set()
        for batch in train.batches(task, SEES_NOTHING):
            words |= {word for row in _words(batch.targets) if row is not None for word in row}
        if words:
            fields.append(make_field(task, sorted(words)))
    return in_order(fields)


def _words(targets: Targets) -> list[Words | None]:
    """Per row its labels, sorted as options are; None where there is no truth."""
    vocabulary = targets.vocabulary
    if targets.label_sets is not None:
        found = [tuple(sorted(vocabulary[i] for i in np.flatnonzero(row))) for row in targets.label_sets]
    else:
        assert targets.labels is not None
        found = [(vocabulary[code],) if code >= 0 else () for code in targets.labels.tolist()]
    return [row if valid else None for row, valid in zip(found, targets.valid.tolist(), strict=True)]


@dataclass(eq=False)
class Taught:
    """Windows with the answers to all fields.

    Attributes:
        frames: (n, F * size * size * 3) uint8.
        sound: (n, S) float32.
        shape: (F, size, size, 3).
        fps: Of the frames.
        answers: (n,) as `answer_text` writes them.
        unknown: (n,) fields without a truth: their place is taken by the most common answer, which carries no loss.
        episode_of: (n,) ids.
        left_out: Windows without the camera or the sound.
    """

    frames: RowFile
    sound: RowFile
    shape: tuple[int, ...] = ()
    fps: float = 1.0
    answers: list[str] = field(default_factory=list)
    unknown: list[tuple[str, ...]] = field(default_factory=list)
    episode_of: list[str] = field(default_factory=list)
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def episodes(self) -> tuple[str, ...]:
        """Ids they come from."""
        return tuple(dict.fromkeys(self.episode_of))

    def clips(self, index: NDArray) -> Clips | None:
        """Frames and sound of some windows; None where they were not kept."""
        if not self.shape:
            return None
        return Clips(self.frames.read(index).reshape(len(index), *self.shape), self.sound.read(index), self.fps)


def has_sound(train: TrainingSet, task: Task) -> bool:
    """True where most training episodes with the task have a sound that a window shows."""
    found = [any(t.rate for t in batch.observed.views[0].tracks.values()) for batch in train.batches(task, Needs(("audio/*",)))]
    return sum(found) * 2 > len(found)


def gather(
    episodes: TrainingSet,
    tasks: tuple[Task, ...],
    fields: tuple[Field, ...],
    options: OmniOptions,
    needs: dict[str, Needs],
    out: Path,
    *,
    listens: bool,
) -> Taught:
    """The windows of a training set that have any answer and everything that is looked at and listened to.

    Args:
        episodes: Where they come from.
        tasks: Those of the fields.
        fields: Of `label_space`; words that it lacks (in validation) are answers all the same.
        options: Frames per window.
        needs: Task -> what the branch sees.
        out: New folder.
        listens: Windows must have sound.
    """
    out.mkdir(parents=True)
    taught, truth = Taught(RowFile(out / "frames", np.uint8), RowFile(out / "sound")), _truth(episodes, tasks)
    usual = {f.name: _usual(f, truth) for f in fields}
    left = {key for key, words in truth.items() if any(w is not None for w in words.values())}
    for task in tasks:
        if not left:
            break  # one task shows the windows of all; another is asked where an episode does not pose the first
        for batch in episodes.batches(task, needs[task.id]):
            keys = [(batch.episode, i) for i in batch.samples.ids.tolist()]
            kept = _keep(taught, batch, np.array([key in left for key in keys], bool), options, needs[task.id], listens=listens)
            left -= set(keys)
            for i in kept.tolist():
                words = {f.name: truth[keys[i]].get(f.task) for f in fields}
                full = {f.name: found if (found := words[f.name]) is not None else usual[f.name] for f in fields}
                taught.answers.append(answer_text(fields, {f.name: full[f.name] if f.many else full[f.name][0] for f in fields}))
                taught.unknown.append(tuple(name for name, found in words.items() if found is None))
                taught.episode_of.append(batch.episode)
    return taught


def _truth(episodes: TrainingSet, tasks: tuple[Task, ...]) -> dict[tuple[str, str], dict[str, Words | None]]:
    """(episode, sample) -> task -> its labels, None where there is no truth."""
    truth: dict[tuple[str, str], dict[str, Words | None]] = {}
    for task in tasks:
        for batch in episodes.batches(task, SEES_NOTHING):
            for sample, words in zip(batch.samples.ids.tolist(), _words(batch.targets), strict=True):
                truth.setdefault((batch.episode, sample), {})[task.id] = words
    return truth


def _usual(field: Field, truth: dict[tuple[str, str], dict[str, Words | None]]) -> Words:
    """The most common answer of a field; ties: the first in the order of the alphabet."""
    counts = Counter(words for row in truth.values() if (words := row.get(field.task)) is not None)
    return min(counts, key=lambda words: (-counts[words], words), default=() if field.many else field.options[:1])


def _keep(
    taught: Taught, batch: EpisodeBatch, wanted: NDArray[np.bool_], options: OmniOptions, needs: Needs, *, listens: bool
) -> NDArray[np.int64]:
    """Write the frames and the sound of the wanted windows that have both; returns which."""
    if not needs.frames:
        return np.flatnonzero(wanted)
    clips, seen, heard = clips_of(batch.observed.views[0], needs.frames[0], options.frames, listens=listens)
    there = wanted & seen & (heard if listens else True)
    taught.left_out += int((wanted & ~there).sum())
    kept = np.flatnonzero(there)
    if len(kept):
        taught.shape, taught.fps = clips.frames.shape[1:], clips.fps
        taught.frames.append(clips.frames[kept].reshape(len(kept), -1))
        taught.sound.append(clips.sound[kept])
    return kept
