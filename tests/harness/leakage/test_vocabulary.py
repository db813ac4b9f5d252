"""Option lists and prompts: labels that only test windows carry."""

import json
import unicodedata
from pathlib import Path

import pytest
from gate_world import TASK, bundle_of, held_of
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.leakage import VOCABULARY, check
from harness.leakage.vocabulary import labels_in


def test_an_option_that_only_test_windows_carry_is_refused_by_name(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", classes={TASK.id: ["pour", "stir", "wipe"]})
    with pytest.raises(BadInput, match="options of model:x for timeline_action hold 'wipe', which only test windows of fold 0"):
        evaluate(held, [made])
    # A word that nobody carries is odd, and tells nothing of the test.
    evaluate(held, [bundle_of(held, tmp_path / "n", classes={TASK.id: ["pour", "stir", "juggle"]})])


@pytest.mark.parametrize("prompt", ['"action": one of ["pour", "wipe"]', "Say pour, stir or Wipe.", '{"action": "wipe"}'])
def test_a_prompt_that_says_such_a_label_is_refused_by_name(tmp_path: Path, prompt: str) -> None:
    held = held_of(tmp_path / "targets")
    with pytest.raises(BadInput, match="prompt 1 of model:x says 'wipe', which only test windows of fold 0 carry"):
        evaluate(held, [bundle_of(held, tmp_path / "m", prompts=["Which action?", prompt])])


def test_a_prompt_of_training_labels_is_not(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    evaluate(held, [bundle_of(held, tmp_path / "m", prompts=['one of ["pour", "stir"]', "Look at the wipers and swipes."])])


@pytest.mark.parametrize("option", ["Wipe", "wipe ", "WIPE", "_wipe_"])
def test_an_option_in_another_spelling_is_the_label(tmp_path: Path, option: str) -> None:
    held = held_of(tmp_path / "targets")
    with pytest.raises(BadInput, match="options of model:x for timeline_action hold"):
        evaluate(held, [bundle_of(held, tmp_path / "m", classes={TASK.id: ["pour", "stir", option]})])


@pytest.mark.parametrize(
    "text",
    [
        "wipe_table",
        "wipe-table",
        "wipeTable",
        "Wipe Table",
        "pour, wipe\n  table",
        "wipe  table",
        '"wipe\\ntable"',
        "pour_, wipe table_",
    ],
)
def test_formatting_hides_no_label(text: str) -> None:
    assert labels_in(f"options: {text}", ["wipe table"], ["pour"]) == ["wipe table"]


def test_escapes_and_accents_hide_no_label() -> None:
    for label in ("\u00e9mincer", 'say "hi"', "iPhone"):
        said = (label, json.dumps({"options": ["pour", label]}), unicodedata.normalize("NFD", label), label.lower())
        assert [labels_in(f"options: {text}", [label], []) for text in said] == [[label]] * 4


def test_a_word_of_any_instruction_is_said_where_it_stands_apart() -> None:
    assert labels_in("You look at the last seconds. Options: pour, stir", ["look"], []) == []
    for text in ("Options: pour, look, stir", '["look"]', "Options:\n- pour\n- look\n", "1. look", "look"):
        assert labels_in(text, ["look"], []) == ["look"], text


def test_an_imported_bundle_that_does_not_say_its_options_does_not_meet_the_gate(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    assert check(bundle_of(held, tmp_path / "m", classes={}, imported=True), held) == [VOCABULARY]
    assert check(bundle_of(held, tmp_path / "n", imported=True), held) == []


def test_a_label_within_a_known_phrase_is_not_said() -> None:
    assert labels_in("pour water, then stir", ["pour"], ["pour water"]) == []
    assert labels_in("pour, then pour water", ["pour"], ["pour water"]) == ["pour"]
    assert labels_in("pour hot water", ["pour hot water"], ["pour", "water"]) == ["pour hot water"]
    assert labels_in("a.b (c)", ["a.b", "(c)"], []) == ["(c)", "a.b"]


@given(st.lists(st.text("abc (.*", min_size=1, max_size=6).filter(str.strip), max_size=4), st.text("abc (.*\n", max_size=40))
def test_whatever_the_labels_are_they_are_found_quoted(labels: list[str], text: str) -> None:
    assert set(labels_in(text, labels, [])) <= set(labels)
    for label in labels:
        assert label.casefold() in {word.casefold() for word in labels_in(f'"{label}"', [label], [])}
