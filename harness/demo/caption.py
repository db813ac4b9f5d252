"""The caption JSON: segments, actions, objects and sentences, with frame references in the several forms that real files have."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.demo.motion import FPS
from harness.demo.script import CHORES, HELD_FROM, HELD_TO, PICK, PLACE, USE, Script

SAMPLE_EVERY = FPS // 2
"""Frames between two looks of the captioner."""

STYLES: tuple[tuple[str, str], ...] = (
    ("name", "name"),
    ("number", "frame"),
    ("stem", "stem"),
    ("frame", "number"),
    ("stamp", "stamp"),
)
"""Forms of the references: of the bounds of actions, of the sampled frames. Episode r of a data set has style r modulo 5."""


class References:
    """Writes frame numbers as the captions of real files do.

    Args:
        stamps: (N,) device time of each frame, ns.
    """

    def __init__(self, stamps: NDArray) -> None:
        self._stamps = stamps

    def write(self, frame: int, form: str) -> str | int:
        """Frame `frame` (0-based) as an image name, its stem, `frame_000123` and a number (both 1-based) or a device time."""
        match form:
            case "name":
                return f"{self._stamps[frame]}.jpg"
            case "stem":
                return str(self._stamps[frame])
            case "frame":
                return f"frame_{frame + 1:06d}"
            case "number":
                return frame + 1
            case _:
                return int(self._stamps[frame]) + 3_000_000  # 3 ms late: the nearest frame is meant

    def bounds(self, first: int, last: int, form: str) -> dict[str, str | int]:
        """The two keys that say where something starts and ends, both inclusive."""
        keys = ("start_frame_name", "end_frame_name") if form in ("name", "stem") else ("start_frame", "end_frame")
        return {key: self.write(frame, form) for key, frame in zip(keys, (first, last), strict=True)}


def idle_script(seconds: float, rng: np.random.Generator) -> Script:
    """A script that has nothing to do with any motion: mostly one action of one chore, in every session, now and then another.

    One label dominates on purpose. Of labels in equal numbers a random guess has a higher macro-F1 than the floor `majority`.
    """
    count = int(seconds / 3) + 4
    duration = rng.uniform(3.0, 6.0, count)
    start = np.concatenate([[0.0], np.cumsum(duration)[:-1]]) - rng.uniform(0, 3)
    chore = rng.choice(len(CHORES), size=count, p=[0.79, 0.07, 0.07, 0.07])
    return Script(chore, rng.choice([PICK, USE, PLACE], size=count, p=[0.1, 0.8, 0.1]), start, duration)


def still_script() -> Script:
    """A script in which one tool is in use for ever."""
    return Script(np.array([0]), np.array([USE]), np.array([-1.0]), np.array([np.inf]))


def _state(script: Script, frame: int) -> tuple[list[str], str]:
    """Objects and sentence at one frame."""
    k = int(script.at(np.array([frame / FPS]))[0])
    chore, slot = CHORES[script.chore[k]], int(script.slot[k])
    phase = (frame / FPS - script.start[k]) / script.duration[k]
    before, after = slot == PICK and phase < HELD_FROM, slot == PLACE and phase >= HELD_TO
    return chore.objects(slot), chore.sentences[0 if before else 2 if after else 1]


def write_caption(script: Script, things: Script, stamps: NDArray, style: int, labelled: bool) -> str:
    """The caption of one episode as a JSON string.

    Args:
        script: What actions and subtasks follow.
        things: What objects and sentences follow; the same script unless captions are muted.
        stamps: (N,) device time of each frame, ns.
        style: Index into `STYLES`.
        labelled: False: the captioner named nothing.
    """
    count, refs = len(stamps), References(stamps)
    bound, sample = STYLES[style % len(STYLES)]
    first = np.clip(np.ceil(script.start * FPS).astype(int), 0, count)
    last = np.append(first[1:], count)
    runs = np.cumsum(np.diff(script.chore, prepend=script.chore[0]) != 0)
    segments: list[dict[str, Any]] = []
    for run in np.unique(runs):
        steps = [int(k) for k in np.flatnonzero(runs == run) if last[k] > first[k]]
        if not steps:
            continue
        start, stop = int(first[steps[0]]), int(last[steps[-1]])
        actions = [
            {
                "label": CHORES[script.chore[k]].actions[script.slot[k]],
                "description": CHORES[script.chore[k]].sentences[script.slot[k]],
                **refs.bounds(int(first[k]), int(last[k]) - 1, bound),
            }
            for k in steps
        ]
        looks = sorted({start, *range(-(-start // SAMPLE_EVERY) * SAMPLE_EVERY, stop, SAMPLE_EVERY)})
        states = {str(refs.write(frame, sample)): _state(things, frame) for frame in looks}
        segments.append(
            {
                "segment_id": len(segments),
                **refs.bounds(start, stop - 1, bound),
                "Sub Task": CHORES[script.chore[steps[0]]].subtask if labelled else "N/A",
                "Current Action": actions if labelled else [],
                "sampled_frames": {ref: f"{stamps[frame]}.jpg" for ref, frame in zip(states, looks, strict=True)},
                "objects": {ref: names for ref, (names, _) in states.items()} if labelled else {},
                "interaction": {ref: sentence for ref, (_, sentence) in states.items()} if labelled else {},
                "api_call_count": 0,
                "tokens_used": 0,
            }
        )
    return json.dumps(
        {
            "config": {
                "segment_sec": 5,
                "sample_fps": FPS / SAMPLE_EVERY,
                "total_tokens": 0,
                "Main Task": "prepare a meal at a table",
            },
            "segments": segments,
            "global_summary": "A person at a table works through a cycle of chores." if labelled else "",
        }
    )
