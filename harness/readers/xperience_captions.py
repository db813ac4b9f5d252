"""Captions of Xperience-10M: which label stands on which frame.

A caption is machine generated JSON: segments of about 20 s, each with a subtask, actions over ranges of frames, and objects and
an interaction at a few sampled frames. Between those, labels are filled forward by the rules of the data set's own toolkit.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.episode import FloatArray, Modality, Track

UNSET, NONE = -2, -1  # not said yet; said, but empty or "N/A"

_SEQUENTIAL = re.compile(r"frame_(\d+)")
_INTEGER = re.compile(r"-?\d+")


class FrameIndex:
    """Turns a frame reference of a caption into a frame.

    A reference is tried as an image name or its stem, as `frame_000123`, as a frame number, and as a device timestamp (nearest
    frame). Numbers before the first or after the last frame mean that frame.

    Args:
        names: Image names of the frames, in order; empty where the recording names none.
        timestamps: (N,) int64 device timestamps, strictly increasing; None where the recording has none.
        count: N.
        numbers_from: Number of the first frame.
        timestamps_from: Integers from here up are timestamps.

    Attributes:
        unresolved: References so far that matched no frame.
    """

    def __init__(
        self, names: list[str], timestamps: NDArray[np.int64] | None, count: int, numbers_from: int, timestamps_from: int
    ) -> None:
        self.names = {_stem(name): i for i, name in enumerate(names)} | {name: i for i, name in enumerate(names)}
        self.timestamps = timestamps
        self.count = count
        self.numbers_from = numbers_from
        self.timestamps_from = timestamps_from
        self.unresolved = 0

    def resolve(self, reference: object) -> int | None:
        """The frame a reference means, None (and counted) where it means none."""
        frame = self._resolve(reference)
        self.unresolved += frame is None
        return frame

    def _resolve(self, reference: object) -> int | None:
        if isinstance(reference, float):
            if not reference.is_integer():
                return None
            reference = int(reference)
        text = str(reference).strip().rsplit("/", 1)[-1]
        stem = _stem(text)
        for known in (text, stem):
            if known in self.names:
                return self.names[known]
        if sequential := _SEQUENTIAL.search(text):
            return self._clip(int(sequential[1]) - self.numbers_from)
        if not _INTEGER.fullmatch(stem):
            return None
        number = int(stem)
        return self._nearest(number) if number >= self.timestamps_from else self._clip(number - self.numbers_from)

    def _clip(self, frame: int) -> int:
        return min(max(frame, 0), self.count - 1)

    def _nearest(self, timestamp: int) -> int | None:
        if self.timestamps is None:
            return None
        after = self._clip(int(np.searchsorted(self.timestamps, min(timestamp, 2**63 - 1))))
        before = max(after - 1, 0)
        return before if timestamp - int(self.timestamps[before]) <= int(self.timestamps[after]) - timestamp else after


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if "." in name else name


class Labels:
    """One kind of label on every frame, while it is being filled in.

    Attributes:
        codes: (N,) int32 codes into `values`, NONE or UNSET.
        values: What the codes stand for, in order of appearance. A value is a tuple of names: one for texts, any number for sets.
    """

    def __init__(self, count: int) -> None:
        self.codes: NDArray[np.int32] = np.full(count, UNSET, np.int32)
        self.values: dict[tuple[str, ...], int] = {}

    def text(self, value: object) -> int:
        """Code of a text; NONE where it is empty or "N/A"."""
        names = _names(value)
        return self.values.setdefault((", ".join(names),), len(self.values)) if names else NONE

    def set_of(self, value: object) -> int:
        """Code of a list of names; an empty list is a value too: nothing is there."""
        return self.values.setdefault(tuple(sorted(set(_names(value)))), len(self.values))

    def fill(self, start: int, codes: NDArray[np.int32] | int, stop: int) -> None:
        """Write codes into [start, stop) where nothing stands yet."""
        part = self.codes[start:stop]
        np.copyto(part, codes, where=part == UNSET)

    def carry(self) -> None:
        """Frames that nothing was said of take the last code before them."""
        said = np.where(self.codes != UNSET, np.arange(len(self.codes)), -1)
        last = np.maximum.accumulate(said)
        self.codes = np.where(last >= 0, self.codes[last], UNSET).astype(np.int32)


def _names(value: object) -> list[str]:
    """The names in a caption value: a text, a list of texts or null; without empty ones and "N/A"."""
    texts = (
        [str(item).strip() for item in value] if isinstance(value, list) else [str(value).strip()] if value is not None else []
    )
    return [text for text in texts if text and text.casefold() != "n/a"]


def load_caption(text: str, folder: Path) -> dict[str, Any]:
    """The caption as JSON: the text itself, or the file in the episode's folder that it names.

    Raises:
        ValueError: It is neither, it is no JSON object, or the file is outside the folder.
    """
    text = text.strip()
    where = "caption"
    if not text.startswith(("{", "[")):
        path = _caption_file(text, folder)
        if path is not None:
            where, text = f"caption file {path.name}", path.read_text(encoding="utf-8")
    try:
        caption = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error})") from error
    if not isinstance(caption, dict):
        raise ValueError(f"{where} is a JSON {type(caption).__name__}, not an object with `segments`")
    return caption


def _caption_file(text: str, folder: Path) -> Path | None:
    """The file that a caption names, None where the text is no path."""
    if "\n" in text or "\0" in text or not text.lower().endswith(".json"):
        return None
    path = (folder / text).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"caption names {text!r}, outside the episode folder: put the file into the folder")
    if not path.is_file():
        raise ValueError(f"caption names {text!r}, but there is no such file in the episode folder")
    return path


def caption_tracks(caption: dict[str, Any], frames: FrameIndex, times: FloatArray) -> tuple[dict[str, Track], dict[str, str]]:
    """Label tracks of a caption and what it lacks.

    `action`, `subtask`, `interaction`: (N,) int32 codes into sorted `categories`, -1 = no label. `objects`: (N, K) uint8 over
    sorted `names`, not valid where the caption says nothing. `main_task`: the main task, constant.

    Args:
        caption: As `load_caption` gives it.
        frames: Resolves frame references.
        times: (N,) seconds of the frames.

    Returns:
        Tracks by name, and name -> why for those without any label.

    Raises:
        ValueError: The caption's parts are not of the form they must have.
    """
    labels = fill_forward(caption, frames)
    said = f"; {frames.unresolved} frame references match no frame" if frames.unresolved else ""
    tracks: dict[str, Track] = {}
    lacking: dict[str, str] = {}
    for name in ("action", "subtask", "interaction"):
        track = _label_track(name, labels[name], times)
        if track is None:
            lacking[name] = f"the caption labels no frame{said}"
        else:
            tracks[name] = track
    objects = _set_track("objects", labels["objects"], times)
    if objects is None:
        lacking["objects"] = f"the caption lists no objects{said}"
    else:
        tracks["objects"] = objects
    main_task = Labels(len(times))
    main_task.codes[:] = main_task.text(_part(caption, "config", dict).get("Main Task"))
    if (track := _label_track("main_task", main_task, times)) is None:
        lacking["main_task"] = "the caption has no `Main Task`"
    else:
        tracks["main_task"] = track
    return tracks, lacking


def _label_track(name: str, labels: Labels, times: FloatArray) -> Track | None:
    values = list(labels.values)
    used = sorted(set(labels.codes[labels.codes >= 0].tolist()), key=lambda code: values[code])
    if not used:
        return None
    recode = np.full(len(values) + 2, NONE, np.int32)  # the last two serve the codes -2 and -1
    recode[used] = np.arange(len(used))
    codes = recode[labels.codes]
    categories = tuple(values[code][0] for code in used)
    return Track(name, Modality.LANGUAGE, codes, times, codes >= 0, categories=categories)


def _set_track(name: str, labels: Labels, times: FloatArray) -> Track | None:
    values = list(labels.values)
    used = np.unique(labels.codes[labels.codes >= 0])
    names = sorted({item for code in used.tolist() for item in values[code]})
    if not names:
        return None
    column = {item: k for k, item in enumerate(names)}
    table = np.zeros((len(values) + 2, len(names)), np.uint8)
    for code in used.tolist():
        table[code, [column[item] for item in values[code]]] = 1
    return Track(name, Modality.LANGUAGE, table[labels.codes], times, labels.codes >= 0, names=tuple(names))


def fill_forward(caption: dict[str, Any], frames: FrameIndex) -> dict[str, Labels]:
    """Labels of every frame: `action`, `subtask`, `objects`, `interaction`.

    An action covers [start, end] inclusive; later starts win. Gaps in a segment take the action that started last before them,
    else the segment's first. Objects and interaction take the last sampled frame at or before, inside the segment. Action and
    subtask carry over frames that no segment covers. A segment without frames or labels (a failed call) is such a gap.

    Raises:
        ValueError: The caption's parts are not of the form they must have.
    """
    labels = {name: Labels(frames.count) for name in ("action", "subtask", "objects", "interaction")}
    for segment in _part(caption, "segments", list):
        if not isinstance(segment, dict):
            raise ValueError(f"caption: a segment is a JSON {type(segment).__name__}, not an object")
        _fill_segment(segment, frames, labels)
    labels["action"].carry()
    labels["subtask"].carry()
    return labels


def _fill_segment(segment: dict[str, Any], frames: FrameIndex, labels: dict[str, Labels]) -> None:
    action, subtask = labels["action"], labels["subtask"]
    theme = subtask.text(segment.get("Sub Task"))
    ranges = sorted(_action_ranges(segment, frames, action), key=lambda item: item[0])
    for start, last, code in ranges:
        action.codes[start : last + 1] = code
        subtask.codes[start : last + 1] = theme
    sampled = {name: _sampled(segment, name, frames, labels[name]) for name in ("objects", "interaction")}
    named = [frame for start, last, _ in ranges for frame in (start, last)]
    for name, (at, codes) in sampled.items():
        labels[name].codes[at] = codes
        subtask.codes[at] = np.where(subtask.codes[at] == UNSET, theme, subtask.codes[at])
        named.extend(at.tolist())
    span = _span(segment, frames)
    if not named and (theme == NONE or None in span):
        return
    start = min(named) if span[0] is None else span[0]
    last = max(named) if span[1] is None else span[1]
    start, stop = min(start, last), max(start, last) + 1
    subtask.fill(start, theme, stop)
    if ranges:
        action.fill(start, _held([r[0] for r in ranges], [r[2] for r in ranges], start, stop, before_first=ranges[0][2]), stop)
    for name, (at, codes) in sampled.items():
        labels[name].fill(start, _held(at, codes, start, stop, before_first=UNSET), stop)


def _held(at: NDArray | list[int], codes: NDArray | list[int], start: int, stop: int, before_first: int) -> NDArray[np.int32]:
    """(stop - start,) the code of the last of the sorted frames `at` that is not after each frame."""
    last = np.searchsorted(np.asarray(at, np.int64), np.arange(start, stop), side="right")
    held: NDArray[np.int32] = np.array([before_first, *codes], np.int32)[last]
    return held


def _action_ranges(segment: dict[str, Any], frames: FrameIndex, action: Labels) -> Iterator[tuple[int, int, int]]:
    """First frame, last frame and code of the segment's actions whose frames are known."""
    for item in _part(segment, "Current Action", list):
        if not isinstance(item, dict):
            raise ValueError(f"caption: an action is a JSON {type(item).__name__}, not an object")
        first, last = _span(item, frames)
        if first is not None and last is not None:
            yield min(first, last), max(first, last), action.text(item.get("label"))


def _span(item: dict[str, Any], frames: FrameIndex) -> tuple[int | None, int | None]:
    """First and last frame of a segment or an action, by name where it has names, else by number; None where not known."""
    references = (item.get(f"{end}_frame_name") or item.get(f"{end}_frame") for end in ("start", "end"))
    first, last = (None if reference in (None, "") else frames.resolve(reference) for reference in references)
    return first, last


def _sampled(
    segment: dict[str, Any], name: str, frames: FrameIndex, labels: Labels
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The sampled frames of a segment, sorted, and the code on each."""
    code_of = labels.set_of if name == "objects" else labels.text
    known = {frames.resolve(reference): code_of(value) for reference, value in _part(segment, name, dict).items()}
    found = sorted((frame, code) for frame, code in known.items() if frame is not None)
    return np.array([f for f, _ in found], np.int64), np.array([c for _, c in found], np.int32)


def _part(parent: dict[str, Any], key: str, kind: type) -> Any:
    """A list or an object of the caption; empty where it is absent or null.

    Raises:
        ValueError: It is something else.
    """
    part = parent.get(key)
    if part is None:
        return kind()
    if not isinstance(part, kind):
        raise ValueError(f"caption: `{key}` is a JSON {type(part).__name__}, not a {kind.__name__}")
    return part
