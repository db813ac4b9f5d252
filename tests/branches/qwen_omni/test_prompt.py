"""The question and the strict reading of the answer."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branches.qwen_omni.prompt import (
    FIELDS,
    Answer,
    Field,
    answer_text,
    field_name,
    in_order,
    instructions,
    make_field,
    parse,
    without_truth,
)
from harness.answers import Status
from harness.leakage.vocabulary import labels_in
from harness.tasks import get_task

ACTION = Field("timeline_action", "action", "?", ("pour", 'say "hi"'), many=False)
OBJECTS = Field("object_relevance", "objects", "?", ("cup", "Größe"), many=True)
FIELDS_HERE = (ACTION, OBJECTS)
RIGHT = '{"action": "pour", "objects": ["cup"]}'
words = st.text(min_size=1, max_size=12)


@given(words, st.lists(words, max_size=4))
def test_what_is_written_is_read_back(action: str, objects: list[str]) -> None:
    status, found = parse(answer_text(FIELDS_HERE, {"action": action, "objects": objects}), FIELDS_HERE)
    assert status is Status.OK and found == {"action": (action,), "objects": tuple(objects)}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (RIGHT, Status.OK),
        (f" \n{RIGHT} ", Status.OK),
        ('{"objects": [], "action": "fly"}', Status.OK),  # an unknown word is an answer
        (f"```json\n{RIGHT}\n```", Status.PARSE_ERROR),
        (f"Sure: {RIGHT}", Status.PARSE_ERROR),
        (f"{RIGHT}{RIGHT}", Status.PARSE_ERROR),
        (RIGHT[:-1], Status.PARSE_ERROR),
        (f"{RIGHT}<|im_start|>", Status.PARSE_ERROR),
        (f"[{RIGHT}]", Status.PARSE_ERROR),
        ("", Status.PARSE_ERROR),
        ("[" * 100_000, Status.PARSE_ERROR),
        ('{"action": NaN, "objects": []}', Status.PARSE_ERROR),
        ('{"action": "pour"}', Status.SCHEMA_ERROR),
        ('{"action": "pour", "objects": [], "why": "x"}', Status.SCHEMA_ERROR),
        ('{"action": "pour", "action": "stir", "objects": []}', Status.SCHEMA_ERROR),
        ('{"action": ["pour"], "objects": []}', Status.SCHEMA_ERROR),
        ('{"action": "pour", "objects": "cup"}', Status.SCHEMA_ERROR),
        ('{"action": "pour", "objects": [1]}', Status.SCHEMA_ERROR),
        ('{"action": "pour", "objects": {"cup": 1}}', Status.SCHEMA_ERROR),
        ('{"action": "", "objects": []}', Status.SCHEMA_ERROR),
        ('{"action": null, "objects": []}', Status.SCHEMA_ERROR),
    ],
)
def test_only_one_object_with_the_right_fields_is_an_answer(text: str, status: Status) -> None:
    found, labels = parse(text, FIELDS_HERE)
    assert found is status and bool(labels) == (status is Status.OK)


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    parse(text, FIELDS_HERE)


@given(words, st.lists(words, max_size=3))
def test_values_without_a_truth_are_found_in_the_text(action: str, objects: list[str]) -> None:
    answer: Answer = {"action": action, "objects": objects}
    text = answer_text(FIELDS_HERE, answer)
    for field in FIELDS_HERE:
        ((start, stop),) = without_truth(FIELDS_HERE, text, [field.name])
        assert json.loads(text[start:stop]) == answer[field.name]
    assert without_truth(FIELDS_HERE, text, []) == []


def test_the_six_tasks_are_asked_by_their_titles_with_the_label_space() -> None:
    fields = in_order([make_field(get_task(task), ("one", "two")) for task in reversed(FIELDS)])
    assert [f.name for f in fields] == ["action", "subtask", "next_action", "objects", "contact", "transition"]
    said = instructions(fields)
    assert all(f'"{name}"' in said for name in FIELDS.values()) and '["one", "two"]' in said
    assert get_task("contact_prediction").title.rstrip("?") in said and "20 frames later" in said
    assert said.count('["one", "two"]') == 1  # the same label space is not listed twice


def test_another_horizon_is_another_field() -> None:
    assert field_name("next_action@40") == "next_action@40" and field_name("next_action") == "next_action"
    assert field_name("hand_trajectory_forecast") is None


def test_no_word_of_the_question_itself_counts_as_a_label_that_leaked() -> None:
    fields = in_order([make_field(get_task(task), ("pour water",)) for task in FIELDS])
    asked = instructions(fields)
    names = {word for field in fields for word in field.name.split("_")}  # its keys stand in quotes, as an option would
    words = {word for word in re.findall(r"[A-Za-z]+", asked) if word.lower() not in names}
    known = ["pour water", *(get_task(task).title for task in FIELDS)]
    assert "window" in words and labels_in(asked, words, known) == []
    assert labels_in(asked.replace('["pour water"]', '["pour water", "window"]'), ["window"], known) == ["window"]
