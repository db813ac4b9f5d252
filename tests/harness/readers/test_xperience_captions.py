"""Frame references and forward filling of captions."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.readers.xperience_captions import NONE, UNSET, FrameIndex, caption_tracks, fill_forward, load_caption

COUNT = 30
STAMPS = 75_294_505_147_569 + np.arange(COUNT, dtype=np.int64) * 50_000_000
NAMES = [f"{stamp}.jpg" for stamp in STAMPS]


def index(numbers_from: int = 1, names: list[str] = NAMES, stamps: np.ndarray | None = STAMPS) -> FrameIndex:
    return FrameIndex(names, stamps, COUNT, numbers_from, 100_000_000)


@given(st.integers(0, COUNT - 1), st.integers(0, 1), st.integers(-24_000_000, 24_000_000))
def test_every_form_of_reference_finds_its_frame(frame: int, first: int, off: int) -> None:
    frames = index(first)
    number, stamp = frame + first, int(STAMPS[frame])
    forms = [NAMES[frame], str(stamp), stamp, f"images/{NAMES[frame]}", stamp + off, str(stamp + off)]
    forms += [f"frame_{number:06d}", f"frame_{number:06d}.png", number, str(number), f" {number} ", float(number)]
    assert [frames.resolve(form) for form in forms] == [frame] * len(forms)
    assert frames.unresolved == 0


def test_numbers_beyond_the_recording_mean_its_ends() -> None:
    frames = index()
    assert [frames.resolve(r) for r in (0, -3, 999, "frame_000999", 10**18, 10**30, 100_000_000)] == [0, 0, 29, 29, 29, 29, 0]


def test_what_is_no_reference_is_counted() -> None:
    frames = index()
    assert [frames.resolve(r) for r in ("start", None, "", 1.5, [3], True)] == [None] * 6
    assert frames.unresolved == 6
    assert index(stamps=None, names=[]).resolve(int(STAMPS[3])) is None


def test_an_image_name_wins_over_a_number() -> None:
    assert index(names=[f"{i}.jpg" for i in range(COUNT)]).resolve("7") == 7


def segment(start: int, end: int, actions: list[tuple[int, int, str]] = (), theme: str = "s", **sampled: dict) -> dict:
    listed = [{"label": label, "start_frame": a, "end_frame": b} for a, b, label in actions]
    return {"start_frame": start, "end_frame": end, "Sub Task": theme, "Current Action": listed, **sampled}


def texts(caption: dict, name: str) -> list[str | None]:
    """One text per frame; frame numbers of the caption are 0-based here."""
    labels = fill_forward(caption, FrameIndex([], None, 12, 0, 100_000_000))[name]
    values = [", ".join(value) for value in labels.values]
    return [values[code] if code >= 0 else None for code in labels.codes]


def test_actions_cover_their_ends_and_gaps_take_the_previous_else_the_first() -> None:
    caption = {"segments": [segment(0, 9, [(2, 3, "a"), (6, 7, "b")])]}
    assert texts(caption, "action") == list("aaaaaabbbbbb")
    assert texts(caption, "subtask") == ["s"] * 12


def test_action_and_subtask_carry_over_segment_gaps_but_objects_and_interaction_do_not() -> None:
    first = segment(1, 4, [(1, 4, "a")], "one", objects={"2": ["cup"]}, interaction={"3": "holds"})
    second = segment(8, 9, [(8, 9, "b")], "two", objects={"9": ["pan", "cup"]})
    caption = {"segments": [first, second]}
    assert texts(caption, "action") == [None, *"aaaaaaabbbb"]
    assert texts(caption, "subtask") == [None, *["one"] * 7, *["two"] * 4]
    assert texts(caption, "objects") == [None, None, *["cup"] * 3, *[None] * 4, "cup, pan", None, None]
    assert texts(caption, "interaction") == [None] * 3 + ["holds"] * 2 + [None] * 7


@pytest.mark.parametrize("empty", ["", "N/A", " n/a ", None])
def test_empty_or_na_is_no_label(empty: str | None) -> None:
    caption = {"segments": [segment(0, 11, [(0, 5, "a"), (6, 11, empty)], empty)]}
    assert texts(caption, "action") == ["a"] * 6 + [None] * 6
    assert texts(caption, "subtask") == [None] * 12


def test_a_failed_segment_is_a_gap() -> None:
    failed = {"segment_id": 1, "start_frame": 4, "end_frame": 7, "Sub Task": "", "Current Action": [], "objects": None}
    caption = {"segments": [segment(0, 3, [(0, 3, "a")]), failed]}
    assert texts(caption, "action") == ["a"] * 12
    assert texts(caption, "subtask") == ["s"] * 12


def test_a_subtask_needs_no_action() -> None:
    caption = {"segments": [segment(0, 3, [(0, 3, "a")], "one"), segment(4, 7, theme="two")]}
    assert texts(caption, "subtask") == ["one"] * 4 + ["two"] * 8


def test_a_segment_without_bounds_spans_what_it_names() -> None:
    caption = {"segments": [{"Sub Task": "s", "objects": {"3": ["cup"], "6": ["pan"]}}]}
    assert texts(caption, "objects") == [None] * 3 + ["cup"] * 3 + ["pan"] + [None] * 5


frames_in = st.integers(0, 11)
names = st.sampled_from(["a", "b", "c", "N/A", ""])
segments_in = st.builds(
    lambda a, b, acts, theme, objects, hands: segment(
        min(a, b),
        max(a, b),
        [(min(x, y), max(x, y), label) for x, y, label in acts],
        theme,
        objects={str(k): v for k, v in objects.items()},
        interaction={f"frame_{k:06d}": v for k, v in hands.items()},
    ),
    frames_in,
    frames_in,
    st.lists(st.tuples(frames_in, frames_in, names), max_size=3),
    names,
    st.dictionaries(frames_in, st.lists(names, max_size=2), max_size=3),
    st.dictionaries(frames_in, names, max_size=3),
)


@given(st.lists(segments_in, max_size=4))
def test_fill_equals_the_rules_applied_frame_by_frame(segments: list[dict]) -> None:
    for name, slow in slow_fill(segments, 12).items():
        fast = fill_forward({"segments": segments}, FrameIndex([], None, 12, 0, 100_000_000))[name]
        values = list(fast.values)
        assert [None if c == UNSET else () if c == NONE else values[c] for c in fast.codes] == slow, name


def slow_fill(segments: list[dict], count: int) -> dict[str, list[tuple[str, ...] | None]]:
    """The rules, one frame and one segment at a time; None = nothing said, () = explicitly no label."""

    def said(value: str | list[str]) -> tuple[str, ...]:
        items = value if isinstance(value, list) else [value]
        return tuple(sorted({item for item in items if item not in ("", "N/A")}))

    out: dict[str, list] = {name: [None] * count for name in ("action", "subtask", "objects", "interaction")}
    for seg in segments:
        actions = sorted(seg["Current Action"], key=lambda act: act["start_frame"])
        theme = said(seg["Sub Task"])
        sampled = {
            name: {int(ref.removeprefix("frame_")): said(value) for ref, value in seg[name].items()}
            for name in ("objects", "interaction")
        }
        if not (actions or sampled["objects"] or sampled["interaction"] or theme):
            continue
        for t in range(count):
            inside = seg["start_frame"] <= t <= seg["end_frame"]
            covering = [act for act in actions if act["start_frame"] <= t <= act["end_frame"]]
            started = [act for act in actions if act["start_frame"] <= t]
            if covering:
                out["action"][t], out["subtask"][t] = said(covering[-1]["label"]), theme
            elif inside and actions and out["action"][t] is None:
                out["action"][t] = said((started or actions)[-1 if started else 0]["label"])
            if out["subtask"][t] is None and (inside or t in sampled["objects"] or t in sampled["interaction"]):
                out["subtask"][t] = theme
            for name, at in sampled.items():
                if t in at:
                    out[name][t] = at[t]
        for name, at in sampled.items():
            for t in range(seg["start_frame"], seg["end_frame"] + 1):
                earlier = [frame for frame in at if frame <= t]
                if out[name][t] is None and earlier:
                    out[name][t] = at[max(earlier)]
    for name in ("action", "subtask"):
        for t in range(1, count):
            if out[name][t] is None:
                out[name][t] = out[name][t - 1]
    # An empty interaction is no label; an empty list of objects is a list.
    return out


def test_tracks_have_sorted_categories_and_masks() -> None:
    caption = {
        "config": {"Main Task": "cook"},
        "segments": [
            segment(0, 5, [(0, 2, "stir"), (3, 5, "cut")], objects={"2": ["pan"], "4": []}),
            segment(8, 9, [(8, 9, "N/A")]),
        ],
    }
    times = np.arange(12) / 20
    tracks, lacking = caption_tracks(caption, FrameIndex([], None, 12, 0, 100_000_000), times)
    action, objects = tracks["action"], tracks["objects"]
    assert action.categories == ("cut", "stir")
    assert action.data.dtype == np.int32
    assert action.data.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, -1, -1, -1, -1]
    assert np.array_equal(action.mask(), action.data >= 0)
    assert objects.names == ("pan",)
    assert objects.data.dtype == np.uint8
    assert objects.data[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert objects.mask().tolist() == [False] * 2 + [True] * 4 + [False] * 6
    assert tracks["main_task"].categories == ("cook",)
    assert not tracks["main_task"].data.any()
    assert set(lacking) == {"interaction"}


def test_a_caption_without_labels_is_lacking_and_says_how_many_references_failed() -> None:
    caption = {"segments": [segment("begin", "end", [("x", "y", "a")])]}
    tracks, lacking = caption_tracks(caption, FrameIndex([], None, 12, 0, 100_000_000), np.arange(12.0))
    assert tracks == {}
    assert set(lacking) == {"action", "subtask", "interaction", "objects", "main_task"}
    assert "4 frame references match no frame" in lacking["action"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'segments': []}", "caption is not JSON"),
        ("no caption here", "caption is not JSON"),
        ('{"segments": [', "caption is not JSON"),
        ("[1, 2]", "a JSON list, not an object"),
        ("../other/caption.json", "outside the episode folder"),
        ("/etc/caption.json", "outside the episode folder"),
        ("link.json", "outside the episode folder"),
        ("absent.json", "no such file"),
        ("broken.json", "caption file broken.json is not JSON"),
    ],
)
def test_a_bad_caption_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "ep0"
    folder.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "secret.json")
    (folder / "broken.json").write_text("{")
    with pytest.raises(ValueError, match=message):
        load_caption(text, folder)


def test_a_caption_may_stand_in_a_file_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "caption.json").write_text(json.dumps({"segments": []}))
    assert load_caption(" texts/caption.json\n", tmp_path) == {"segments": []}
    assert load_caption(str(tmp_path / "texts" / "caption.json"), tmp_path) == {"segments": []}


@pytest.mark.parametrize(
    "caption", [{"segments": {}}, {"segments": ["x"]}, {"segments": [{"Current Action": ["x"]}]}, {"segments": [{"objects": []}]}]
)
def test_a_caption_of_another_form_is_named(caption: dict) -> None:
    with pytest.raises(ValueError, match="caption: "):
        fill_forward(caption, index())
