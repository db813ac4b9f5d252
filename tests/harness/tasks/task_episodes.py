"""Recordings in memory, small enough to work out targets by hand."""

import numpy as np

from harness.episode import Episode, Modality, Track
from harness.window import WindowSpec, make_samples

FPS = 20.0


def episode_of(n, *tracks):
    """An episode of `n` reference samples at 20 per second, with these tracks beside its clock."""
    clock = Track("clock", Modality.STATE, np.zeros((n, 1)), np.arange(n) / FPS)
    return Episode("e", "clock", {t.name: t for t in (clock, *tracks)})


def label_track(name, codes, categories=("a", "b", "c")):
    codes = np.array(codes, np.int32)
    return Track(name, Modality.LANGUAGE, codes, np.arange(len(codes)) / FPS, codes >= 0, categories=tuple(categories))


def set_track(sets, names, known=None):
    sets = np.array(sets, np.uint8).reshape(-1, len(names))
    known = np.ones(len(sets), bool) if known is None else np.array(known, bool)
    return Track("objects", Modality.LANGUAGE, sets, np.arange(len(sets)) / FPS, known, names=tuple(names))


def track(name, modality, data, valid=None, times=None):
    data = np.asarray(data)
    return Track(name, modality, data, np.arange(len(data)) / FPS if times is None else times, valid)


def targets_of(task, episode, length=4, stride=1, **spec):
    """Targets of all windows of an episode, and the samples."""
    windows = WindowSpec(length, stride, **spec)
    samples = make_samples(task.samples, episode.id, episode.timeline, windows)
    return task.targets(episode, samples, windows), samples


def words(targets):
    """The label of every row, None where not valid."""
    return [targets.vocabulary[c] if ok else None for c, ok in zip(targets.labels, targets.valid, strict=True)]
