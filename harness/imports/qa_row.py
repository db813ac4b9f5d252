"""One row of the published predictions: what it says is true, what it answers, and why an answer is none."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from harness.answers import Status
from harness.imports.answer_text import has_all_keys, is_label, is_object_list, is_strict, is_yes_no, read_answer
from harness.imports.published import UNKNOWN
from harness.imports.source import LONGEST_ID, parse, read_id, shown, storable

FIELDS = ("action", "subtask", "transition", "next_action", "contact", "objects")
_NUMBER = r"['\"]?{}['\"]?\s*:\s*(\d{{1,15}})\b"  # of a window that a CSV cell spells as Python or as JSON


@dataclass(frozen=True)
class Answer:
    """What a row answers to one question.

    Attributes:
        status: `Status` value.
        value: A label, or a tuple of names; None where the row failed.
    """

    status: str
    value: str | tuple[str, ...] | None = None


@dataclass(frozen=True)
class QaRow:
    """A row whose truth can be scored against.

    Attributes:
        id: Sample id.
        episode: Episode id.
        window: First and last frame of the window; None where the row does not say.
        truth: Field -> what is true; fields that the row does not carry are absent.
        seen: Whether the true action occurs in train; None where the row does not say.
        predicted: The published label match, a label or the raw text.
        parsed: JSON value that the row carries, or that its text gives.
        raw: Text of the answer.
        conflicting: True where another row of this id answers otherwise.
        answers: Field -> answer, for the fields of `truth`; `json` -> whether the text is of the strict schema.
    """

    id: str
    episode: str
    window: tuple[int, int] | None
    truth: dict[str, Any]
    seen: bool | None
    predicted: Any
    parsed: Any
    raw: str | None
    conflicting: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)


def read_row(body: dict[str, Any], labels: Collection[str] = ()) -> QaRow:
    """The row of these fields; others are ignored.

    Args:
        body: The fields.
        labels: Actions that are true of any row: bare text that is none of them answers nothing. The published option list
            cannot tell, as it holds the texts in which no option was found.

    Raises:
        ValueError: One line on what makes the row useless: no id, no truth, a truth that contradicts itself. What is wrong with
            the answer makes the row fail instead, with a status.
    """
    ident, episode = (read_id(body, name) for name in ("id", "episode_id"))
    truth = _truth(body)
    raw = body.get("raw_prediction")
    text = raw if isinstance(raw, str) else None
    parsed = _value(body["pred_json"]) if body.get("pred_json") not in (None, "") else read_answer(text or "")
    row = QaRow(
        id=ident,
        episode=episode,
        window=_window(body.get("center_window")),
        truth=truth,
        seen=_seen(body.get("true_label_seen_in_train")),
        predicted=body.get("predicted_label"),
        parsed=parsed,
        raw=None if text is None else storable(text),
    )
    read = read_answer(text) if text is not None else parsed
    row.answers["action"] = _action(row, body, labels)
    row.answers["json"] = _json(text, read)
    row.answers.update({name: _field(row, name) for name in truth if name != "action"})
    return row


def _value(value: Any) -> Any:
    """The JSON value of a cell that spells one, as a CSV file must; any other value is what it is."""
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except ValueError:
        return value


def _truth(body: dict[str, Any]) -> dict[str, Any]:
    label = body.get("true_label")
    if not is_label(label):
        raise ValueError(f"true_label is no label ({shown(label)})")
    assert isinstance(label, str)
    truth: dict[str, Any] = {"action": storable(label)}
    stated = _value(body.get("true_json"))
    if stated in (None, ""):
        return truth
    if not isinstance(stated, dict):
        raise ValueError(f"true_json is no object ({shown(stated)})")
    if stated.get("action", label) != label:
        raise ValueError(f"true_label {shown(label)} and true_json.action {shown(stated['action'])} differ")
    for name in FIELDS[1:]:
        value = stated.get(name)
        if value is None:
            continue
        if not _fits(name, value) and value != UNKNOWN:
            raise ValueError(f"true_json.{name} is not of its kind ({shown(value)})")
        truth[name] = [storable(item) for item in value] if isinstance(value, list) else storable(value)
    return truth


def _fits(name: str, value: Any) -> bool:
    if name == "objects":
        return is_object_list(value)
    return is_yes_no(value) if name in ("contact", "transition") else is_label(value)


def _seen(value: Any) -> bool | None:
    if value is None or value == "":
        return None
    known = {0: False, 1: True, "0": False, "1": True, "False": False, "True": True, "false": False, "true": True}
    if not isinstance(value, (str, int, float)) or value not in known:
        raise ValueError(f"true_label_seen_in_train is neither 0 nor 1 ({shown(value)})")
    return known[value]  # type: ignore[index]


def _window(value: Any) -> tuple[int, int] | None:
    """Frames of the window: an object, or a CSV cell that spells one; None where they are not said. They score nothing."""
    ends: list[int] = []
    for name in ("start_frame", "end_frame"):
        if isinstance(value, dict):
            end = value.get(name)
        else:
            found = re.search(_NUMBER.format(name), value) if isinstance(value, str) and len(value) < LONGEST_ID else None
            end = int(found[1]) if found else None
        if not isinstance(end, int) or isinstance(end, bool) or not 0 <= end < 2**53:
            return None
        ends.append(end)
    return (ends[0], ends[1]) if ends[0] <= ends[1] else None


def _action(row: QaRow, body: dict[str, Any], labels: Collection[str]) -> Answer:
    """The published label match. Text in which it found no label stands there as a class of its own: that row failed."""
    value = body.get("predicted_label", row.parsed.get("action") if isinstance(row.parsed, dict) else None)
    if not isinstance(value, str):
        return Answer(_why(row))
    matched = isinstance(row.parsed, dict) and "action" in row.parsed
    if not matched and row.raw is not None and _bare(value) == _bare(row.raw) and value not in labels:
        return Answer(Status.PARSE_ERROR.value)
    return Answer(Status.OK.value, storable(value)) if is_label(value) else Answer(Status.SCHEMA_ERROR.value)


def _bare(text: str) -> str:
    return " ".join(text.split()).strip("'\"`. ")


def _field(row: QaRow, name: str) -> Answer:
    if not isinstance(row.parsed, dict) or not row.parsed:
        return Answer(_why(row))
    value = row.parsed.get(name)
    if not _fits(name, value):
        return Answer(Status.SCHEMA_ERROR.value)
    if isinstance(value, list):
        return Answer(Status.OK.value, tuple(dict.fromkeys(storable(item) for item in value)))
    return Answer(Status.OK.value, storable(str(value)))


def _why(row: QaRow) -> str:
    """Nothing that can be read is a parse error; something else than an object is of the wrong schema."""
    return (Status.PARSE_ERROR if row.parsed in (None, {}, "") else Status.SCHEMA_ERROR).value


def _json(text: str | None, read: Any) -> Answer:
    if is_strict(read):
        return Answer(Status.OK.value, "valid")
    if read is None or (text is None and not has_all_keys(read)):
        return Answer(Status.PARSE_ERROR.value)
    return Answer(Status.SCHEMA_ERROR.value)
