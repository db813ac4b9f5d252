"""What a published text answers: how the published evaluator reads JSON out of it, and the strict schema."""

from typing import Any

from harness.imports.source import parse

KEYS = ("action", "subtask", "objects", "contact", "transition", "next_action", "evidence_window")
MOST_OBJECTS = 8  # that the published prompt allows
LONGEST_LABEL = 1000  # characters; longer text is no label
YES_NO = ("yes", "no")


def read_answer(text: str) -> Any:
    """The JSON value of a text as the published evaluator finds it; None where there is none.

    The whole text, without a fence of backticks around it, else from its first `{` to its last `}`. Objects alone count.
    """
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.strip("`").strip().removeprefix("json").strip()
    for candidate in (inner, inner[inner.find("{") : inner.rfind("}") + 1]):
        try:
            found = parse(candidate)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def has_all_keys(answer: Any) -> bool:
    """Published JSON validity: an object with the seven keys, whatever stands under them."""
    return isinstance(answer, dict) and all(key in answer for key in KEYS)


def is_strict(answer: Any) -> bool:
    """Strict schema: exactly the seven keys, each of its type and within what the prompt allows."""
    return isinstance(answer, dict) and set(answer) == set(KEYS) and all(_CHECKS[key](answer[key]) for key in KEYS)


def is_label(value: Any) -> bool:
    """A text that can be a label."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= LONGEST_LABEL


def is_yes_no(value: Any) -> bool:
    """One of the two words."""
    return isinstance(value, str) and value in YES_NO


def is_object_list(value: Any) -> bool:
    """A list of names, of any length."""
    return isinstance(value, list) and all(is_label(item) for item in value)


def _is_window(value: Any) -> bool:
    ends = ("start_frame", "end_frame")
    if not isinstance(value, dict) or set(value) != set(ends):
        return False
    return all(isinstance(value[k], int) and not isinstance(value[k], bool) for k in ends) and value[ends[0]] <= value[ends[1]]


_CHECKS = {
    "action": is_label,
    "subtask": is_label,
    "next_action": is_label,
    "objects": lambda value: is_object_list(value) and len(value) <= MOST_OBJECTS,
    "contact": is_yes_no,
    "transition": is_yes_no,
    "evidence_window": _is_window,
}
