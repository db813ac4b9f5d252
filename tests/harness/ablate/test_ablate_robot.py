"""A real robot: commands are smooth, so a forecast without them loses most of what it knew, and persistence everything."""

from pathlib import Path

from planted import ablated, cell

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
