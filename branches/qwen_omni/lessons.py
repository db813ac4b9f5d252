"""What the tiny base is taught on: windows of demo sessions of reserved seeds, described and asked about in other people's words.

No answer of an evaluation is in it: actions, subtasks, contacts and transitions go by other names here, drawn anew for every
conversation, and the option list is the only place where they can be read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from branches.qwen_omni.clips import Clips, clips_of
from branches.qwen_omni.prompt import FIELDS, Field, answer_text, field_name, instructions, make_field
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
DESCRIBE = "Say for each video what the hands do, what is in use, and what comes next."
TAKE = ("take the {}", "grab the {}", "lift the {}", "fetch the {}", "get the {}", "reach for the {}")
LEAVE = ("leave the {}", "return the {}", "set back the {}", "drop the {}", "release the {}", "park the {}")
USE: tuple[tuple[str, ...], ...] = (
    ("tip the bottle", "fill the cup", "serve water", "empty the bottle"),
    ("mix the drink", "swirl the spoon", "turn the spoon", "blend the drink"),
    ("scrub the plate", "clean the plate", "rub the plate", "dry the plate"),
    ("salt the soup", "spice the bowl", "tap the shaker", "sprinkle salt"),
)
CHORE_NAMES: tuple[tuple[str, ...], ...] = (
    ("make a drink", "drinks", "bottle work", "serve"),
    ("mixing", "sweeten", "spoon work", "prepare the cup"),
    ("cleaning", "plate work", "tidy up", "dishes"),
    ("cooking", "soup work", "taste", "salt work"),
)
CONTACT = (("no", "yes"), ("free", "touching"), ("empty", "holding"), ("apart", "joined"))
CHANGE = (("no", "yes"), ("same", "change"), ("stays", "switches"), ("calm", "new"))
OTHER_NAMES = (("table", "tray"), ("cup", "mug"), ("bowl", "pot"), ("plate", "dish"))


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
    vocabulary = _vocabulary()
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


def _vocabulary() -> dict[str, tuple[str, ...]]:
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


def caption(windows: Windows, i: int) -> str:
    """What the hands do at t0, which of three steps it is, objects, the next tool; whether something is touched or changes."""
    things = np.array(windows.words["objects"])[windows.truth["objects"][i]]
    coming = int(windows.truth["next_action"][i])
    what_next = f" Next: {CHORES[coming // 3].tool}." if coming >= 0 else ""
    said = " ".join(word for word, flag in (("touched", "contact"), ("changed", "transition")) if windows.truth[flag][i] == 1)
    step = ("first", "second", "third")[int(windows.truth["action"][i]) % 3]
    return f"{windows.captions[i]} {step} {', '.join(things)}.{what_next} {said or 'nothing'}"


class Dialect:
    """Other words for everything that is asked, for one conversation.

    Args:
        windows: The truth in the words of the recording.
        chores: (4,) bool: chores whose actions are options.
        rng: Draws the words and their order.
    """

    def __init__(self, windows: Windows, chores: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self.windows = windows
        self.names: dict[str, list[str]] = {}
        take, leave = (rng.integers(len(pool), size=len(CHORES) if rng.random() < 0.3 else 1) for pool in (TAKE, LEAVE))
        actions: list[str] = []
        for i, chore in enumerate(CHORES):
            first, last = TAKE[take[i % len(take)]], LEAVE[leave[i % len(leave)]]
            actions += [first.format(chore.tool), USE[i][rng.integers(len(USE[i]))], last.format(chore.tool)]
        things = dict(zip(windows.words["objects"], windows.words["objects"], strict=True))
        for old, new in OTHER_NAMES:
            if old in things and rng.random() < 0.3:
                things[old] = new
        self.names = {
            "action": actions,
            "next_action": actions,
            "subtask": [names[rng.integers(len(names))] for names in CHORE_NAMES],
            "objects": list(things.values()),
            "contact": list(CONTACT[rng.integers(len(CONTACT))]),
            "transition": list(CHANGE[rng.integers(len(CHANGE))]),
        }
        offered: dict[str, NDArray] = {name: np.arange(len(words)) for name, words in self.names.items()}
        offered["action"] = offered["next_action"] = np.flatnonzero(np.repeat(chores, 3))
        offered["subtask"] = np.flatnonzero(chores)
        self.fields: list[Field] = []
        shuffled = {name: rng.permutation(index) for name, index in offered.items()}
        shuffled["next_action"] = shuffled["action"]
        for task_id, name in FIELDS.items():
            self.fields.append(make_field(get_task(task_id), [self.names[name][k] for k in shuffled[name]]))

    def answer(self, i: int) -> str:
        """The right answer for window `i`, in this dialect; where the recording ends too early the action goes on."""
        truth = self.windows.truth
        found: dict[str, str | list[str]] = {}
        for field in self.fields:
            name = field_name(field.task)
            assert name is not None
            if field.many:
                found[name] = [word for word, true in zip(self.names[name], truth[name][i], strict=True) if true]
            else:
                code = int(truth[name][i])
                found[name] = self.names[name][code if code >= 0 else int(truth["action"][i])]
        return answer_text(self.fields, found)


def corpus(windows: Windows, seed: int) -> list[str]:
    """Texts for the tokenizer: conversations, captions, and plain words of kitchens and tables."""
    rng = np.random.default_rng(seed)
    texts = [caption(windows, i) for i in range(0, len(windows.captions), 3)]
    for i in rng.integers(len(windows.captions), size=300).tolist():
        dialect = Dialect(windows, np.ones(len(CHORES), bool), rng)
        texts += [instructions(dialect.fields), dialect.answer(i)]
    plain = json.dumps([word for words in windows.words.values() for word in words])
    return [*texts, *[plain] * 100]


def conversations(
    windows: Windows, count: int, turns: Sequence[int], asking: float, rng: np.random.Generator
) -> list[tuple[str, list[int], list[str]]]:
    """`count` conversations: system turn, windows, answers.

    Args:
        windows: To draw from.
        count: How many.
        turns: Windows of a conversation that describes, and of one that answers in JSON.
        asking: Share of the latter.
        rng: All randomness.
    """
    out: list[tuple[str, list[int], list[str]]] = []
    n = len(windows.captions)
    for _ in range(count):
        describes = rng.random() >= asking
        chosen = rng.integers(n, size=turns[0] if describes else turns[1]).tolist()
        if describes:
            out.append((DESCRIBE, chosen, [caption(windows, i) for i in chosen]))
            continue
        chores = windows.chores[chosen].any(axis=0) | (rng.random(len(CHORES)) < 0.5)
        dialect = Dialect(windows, chores, rng)
        out.append((instructions(dialect.fields), chosen, [dialect.answer(i) for i in chosen]))
    return out
