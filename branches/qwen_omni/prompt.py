"""The question, and what counts as an answer: one JSON object with one field per task, nothing before it and nothing after it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.answers import Status
from harness.tasks.base import Task

FIELDS = {
    "timeline_action": "action",
    "timeline_subtask": "subtask",
    "next_action": "next_action",
    "object_relevance": "objects",
    "contact_prediction": "contact",
    "transition_detection": "transition",
}
"""Task without its horizon -> its field in the answer, in the order of the fields."""

OPENING = "Each video is one window of a recording by a camera worn on the head. Answer with one JSON object and nothing else."
ASK = "This window?"
ASK_BLIND = "A window that you cannot see."

Answer = Mapping[str, str | Sequence[str]]
"""Field -> its label, or its labels where the field is a list."""


@dataclass(frozen=True)
class Field:
    """One field of the answer.

    Attributes:
        task: Task id.
        name: Key in the JSON object.
        question: What is asked.
        options: The label space: words that training windows have.
        many: True where the value is a list.
    """

    task: str
    name: str
    question: str
    options: tuple[str, ...]
    many: bool


def field_name(task_id: str) -> str | None:
    """The field that answers a task; None where there is none."""
    base, at, horizon = task_id.partition("@")
    name = FIELDS.get(base)
    return None if name is None else name + at + horizon


def make_field(task: Task, options: Sequence[str]) -> Field:
    """The field of a task with a label space."""
    name, ahead = field_name(task.id), getattr(task, "horizon", None)
    assert name is not None, task.id
    question = task.title.rstrip("?") + (f", {ahead} frames later" if ahead else "")
    return Field(task.id, name, question, tuple(options), task.answer == "label_set")


def in_order(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Fields in the order of `FIELDS`, whatever the order of the run's tasks."""
    position = list(FIELDS)
    return tuple(sorted(fields, key=lambda f: (position.index(f.task.partition("@")[0]), f.name)))


def fields_to_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Plain values."""
    return [asdict(field) for field in fields]


def fields_from_json(body: Sequence[dict[str, Any]]) -> tuple[Field, ...]:
    """What `fields_to_json` gave."""
    return tuple(Field(**{**entry, "options": tuple(entry["options"])}) for entry in body)


def instructions(fields: Sequence[Field]) -> str:
    """The system turn: what is asked, and the label space of every field."""
    said: dict[tuple[str, ...], str] = {}
    lines = [OPENING]
    for field in fields:
        kind = "list of those that apply, from" if field.many else "one of"
        same = said.setdefault(field.options, field.name)
        where = json.dumps(field.options, ensure_ascii=False) if same == field.name else f"the options of {same}"
        lines.append(f'"{field.name}" ({field.question}): {kind} {where}')
    return "\n".join(lines)


def answer_text(fields: Sequence[Field], answer: Answer) -> str:
    """The one way in which a right answer is written."""
    body = {f.name: list(answer[f.name]) if f.many else answer[f.name] for f in fields}
    return json.dumps(body, ensure_ascii=False)


def without_truth(fields: Sequence[Field], text: str, unknown: Sequence[str]) -> list[tuple[int, int]]:
    """Characters [start, stop) of the values of some fields in an answer that `answer_text` wrote."""
    body, spans = json.loads(text), []
    at = 1
    for i, field in enumerate(fields):
        key = json.dumps(field.name, ensure_ascii=False) + ": "
        value = json.dumps(body[field.name], ensure_ascii=False)
        start = at + (2 if i else 0) + len(key)
        at = start + len(value)
        if field.name in unknown:
            spans.append((start, at))
    return spans


def messages(
    fields: Sequence[Field], shots: Sequence[str] = (), *, sees: bool = True, system: str | None = None
) -> list[dict[str, Any]]:
    """The turns of a conversation up to the last question.

    Args:
        fields: What is asked.
        shots: Answers of earlier turns, each after a video of its own.
        sees: False asks with text only.
        system: Another system turn.
    """
    ask = [{"type": "video"}, {"type": "text", "text": ASK}] if sees else [{"type": "text", "text": ASK_BLIND}]
    system = instructions(fields) if system is None else system
    turns: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": system}]}]
    for shot in shots:
        turns += [{"role": "user", "content": ask}, {"role": "assistant", "content": [{"type": "text", "text": shot}]}]
    return [*turns, {"role": "user", "content": ask}]


def parse(text: str, fields: Sequence[Field]) -> tuple[Status, dict[str, tuple[str, ...]]]:
    """Read an answer strictly.

    Args:
        text: All that the model wrote, without the token that ends the turn.
        fields: What was asked.

    Returns:
        `parse_error` where it is no JSON object alone, `schema_error` where its keys are others or a value is no label (or list
        of labels), else `ok` and field -> labels. Labels need not be options: an unknown word is an answer, and a wrong one.
    """
    try:
        body = json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return Status.PARSE_ERROR, {}
    if not isinstance(body, _Pairs):
        return Status.PARSE_ERROR, {}
    found = dict(body)
    if len(found) != len(body) or set(found) != {field.name for field in fields}:
        return Status.SCHEMA_ERROR, {}
    answer = {}
    for field in fields:
        value = found[field.name]
        words = value if field.many and isinstance(value, list) and not isinstance(value, _Pairs) else [value]
        if field.many != (words is value) or not all(isinstance(word, str) and word for word in words):
            return Status.SCHEMA_ERROR, {}
        answer[field.name] = tuple(words)
    return Status.OK, answer


def schema(fields: Sequence[Field]) -> dict[str, Any]:
    """JSON schema of the answers that consist of options alone."""
    properties: dict[str, Any] = {}
    for field in fields:
        one = {"enum": list(field.options)}
        properties[field.name] = {"type": "array", "items": one, "maxItems": len(field.options)} if field.many else one
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, doubles among them."""


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")
