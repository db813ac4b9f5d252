"""Windows of demo sessions of reserved seeds, with the truth of all fields: what the tiny base is taught on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.qwen_omni.clips import Clips, clips_of
from branches.qwen_omni.prompt import FIELDS
from branches.qwen_omni.shape import SIZE
from harness.branch import MAIN, FramesWant
from harness.dataset import open_dataset
from harness.demo import write_demo
from harness.demo.script import CHORES
from harness.episode import Episode, Modality, Track, VideoFile
from harness.tasks import get_task
from harness.timeline import frame_codes
from harness.video import decode
from harness.window import View, WindowSpec, make_samples, observe_track, view_times

SPEC = WindowSpec(length=20, stride=7)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows and their truth.

    Attributes:
        clips: Frames and sound.
        truth: Field -> (n,) codes, -1 where there is none; `objects` (n, K) bool.
        words: Field -> what the codes stand for.
        captions: (n,) what the hands do at t0, in the words of the recording.
        chores: (n, 4) bool: the chores of the window's episode.
        sessions: Names.
        episodes: Ids.
    """

    clips: Clips
    truth: dict[str, NDArray]
    words: dict[str, tuple[str, ...]]
    captions: list[str]
    chores: NDArray[np.bool_]
    sessions: list[str]
    episodes: list[str]


def make_windows(folder: Path, episodes: int, seed: int, seconds: float, frames_each: int) -> Windows:
    """Every window of new demo data that has frames, sound and labels."""
    write_demo(folder, episodes, seed, seconds)
    dataset = open_dataset(str(folder))
    refs, _ = dataset.list_episodes()
    vocabulary = vocabulary_of_the_demo()
    found = [part for ref in refs if (part := _windows(dataset.read(ref), frames_each, vocabulary)) is not None]
    frames, sound = (np.concatenate([getattr(p.clips, name) for p in found]) for name in ("frames", "sound"))
    return Windows(
        Clips(frames, sound, found[0].clips.fps),
        {name: np.concatenate([p.truth[name] for p in found]) for name in FIELDS.values()},
        vocabulary,
        [text for p in found for text in p.captions],
        np.concatenate([p.chores for p in found]),
        sorted({str(ref.session) for ref in refs}),
        [p.episodes[0] for p in found],
    )


def vocabulary_of_the_demo() -> dict[str, tuple[str, ...]]:
    """Field -> its labels in the demo."""
    actions = tuple(action for chore in CHORES for action in chore.actions)
    things = tuple(dict.fromkeys(thing for chore in CHORES for slot in range(3) for thing in chore.objects(slot)))
    return {
        "action": actions,
        "next_action": actions,
        "subtask": tuple(chore.subtask for chore in CHORES),
        "objects": things,
        "contact": ("no_contact", "contact"),
        "transition": ("steady", "transition"),
    }


def _windows(episode: Episode, frames: int, vocabulary: dict[str, tuple[str, ...]]) -> Windows | None:
    if "interaction" not in episode.tracks:
        return None
    samples = make_samples("window", episode.id, episode.timeline, SPEC)
    clips, there = _clips(episode, samples.last[:, 0], frames)
    truth: dict[str, NDArray] = {}
    for task_id, name in FIELDS.items():
        targets = get_task(task_id).targets(episode, samples, SPEC)
        place = [vocabulary[name].index(word) for word in targets.vocabulary]
        if targets.label_sets is not None:
            sets = np.zeros((len(samples), len(vocabulary[name])), bool)
            sets[:, place] = targets.label_sets
            truth[name] = sets
        else:
            assert targets.labels is not None
            truth[name] = np.where(targets.valid, np.array([*place, -1])[targets.labels], -1)
    track = episode.tracks["interaction"]
    codes = frame_codes(track, episode.timeline)[samples.last[:, 0]]
    known = truth["action"][truth["action"] >= 0] // 3
    present = np.isin(np.arange(len(CHORES)), known)
    keep = np.flatnonzero(there & (codes >= 0) & (truth["action"] >= 0) & (truth["transition"] >= 0) & (truth["contact"] >= 0))
    return Windows(
        clips.take(keep),
        {name: values[keep] for name, values in truth.items()},
        vocabulary,
        [track.categories[codes[i]] for i in keep],
        np.repeat(present[None], len(keep), axis=0),
        [],
        [episode.id],
    )


def _clips(episode: Episode, last: NDArray[np.int64], frames: int) -> tuple[Clips, NDArray[np.bool_]]:
    """What a view of a run would show of the main camera and its sound."""
    camera = episode.main_camera
    assert camera is not None
    video = episode.tracks[camera]
    assert isinstance(video.data, VideoFile)
    every = np.concatenate([found[0].copy() for _, found in decode(video.data, [(SIZE, SIZE)])])
    want = FramesWant(MAIN, SIZE, SIZE)
    shown = {want.pattern: Track(want.pattern, Modality.VIDEO, every, video.times, sources=(camera,))}
    shown |= {name: track for name, track in episode.tracks.items() if name.startswith("audio/")}
    tracks = {name: observe_track(track, episode.timeline, last, SPEC) for name, track in shown.items()}
    clips, seen, heard = clips_of(View(view_times(episode, last, SPEC), tracks), want, frames, listens=True)
    return clips, seen & heard
