"""A real robot: commands are smooth, so a forecast without them loses most of what it knew, and persistence everything."""

from pathlib import Path

import pytest
from planted import ablated, cell

from harness.ablate.arms import Arm
from harness.ablate.runs import folder_of
from harness.ablate.text import markdown
from harness.ablate.variants import only, without

SPLIT = ("split.train=0-3", "split.validation=4", "split.test=6-8", "windows.max_per_episode=12")
TASK = "action_chunk"


def test_commands_are_most_of_a_forecast_of_commands(shared_data: Path, tmp_path: Path) -> None:
    variants = [without("command"), without("state"), only("command"), only("video")]
    found = ablated(shared_data / "g1_inspire_v21", tmp_path / "run", variants, ("ridge", "persistence"), (TASK,), *SPLIT)
    blind, state, alone, dark = (cell(found, "ridge", TASK, v.name) for v in variants)
    assert blind["delta"] > 5 * abs(state["delta"]) and blind["value"] > 2 * blind["full"]
    assert alone["value"] < 1.5 * alone["full"]
    # The copy has no frames of these episodes: nothing is left to see.
    assert (dark["status"], dark["value"]) == ("not_answered", None) and dark["reason"]
    assert cell(found, "persistence", TASK, "without_command")["reason"] == "it has no answer without command"
    assert cell(found, "persistence", TASK, "without_state")["status"] == "not_shown"


def test_what_validation_alone_shows_and_what_never_changes_help_nobody(shared_data: Path, tmp_path: Path) -> None:
    """Of these episodes one of validation alone has frames, and all have one instruction; commands are there as ever."""
    words = ("split.train=0-3", "split.validation=10", "split.test=12-14", "windows.max_per_episode=12")
    variants = [without("video"), without("language"), without("command")]
    found = ablated(shared_data / "g1_inspire_v21", tmp_path / "run", variants, ("ridge",), (TASK,), *words)
    dark, same, blind = (cell(found, "ridge", TASK, v.name) for v in variants)
    assert (dark["status"], dark["delta"]) == (same["status"], same["delta"]) == ("not_shown", None)
    assert dark["reason"].count("is measured in no fitted and no tested row") == dark["reason"].count("features/") > 0
    assert same["reason"] == "features/instruction is the same in every fitted and tested row"
    assert blind["status"] == "compared"
    assert [m["left_out"]["not_shown"] for m in found["means"]] == [[TASK], [TASK], []]
    assert "not shown in action\\_chunk: features/instruction is the same" in markdown(found)
    # Beside what tells nothing the head is the same to the last digits.
    values = [Arm("", folder_of(tmp_path / "run", v)).rows["ridge", TASK]["value"] for v in variants[:2]]
    assert values == pytest.approx([dark["full"]] * 2, rel=1e-6)
