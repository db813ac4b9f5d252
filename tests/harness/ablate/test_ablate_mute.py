"""The demo data with a sensor that is muted: alone it tells nothing, and nobody misses it."""

from pathlib import Path
from typing import Any

import pytest
from planted import ablated, cell

from harness.ablate.variants import only, without
from harness.demo import write_demo

TASKS = ("timeline_action", "imu_to_hand_pose")
SPLIT = ("split.train=0-3", "split.validation=4", "split.test=5-7", "windows.stride=10")


def ablation_of(folder: Path, mute: str | None) -> dict[str, Any]:
    write_demo(folder / "data", episodes=8, seed=5, seconds=20.0, mute=mute)
    variants = [without("audio"), only("audio"), without("hand"), only("hand")]
    return ablated(folder / "data", folder / "run", variants, ("ridge",), TASKS, *SPLIT)


@pytest.mark.slow
def test_a_muted_sensor_tells_nothing_and_is_not_missed(tmp_path: Path) -> None:
    live, muted = (ablation_of(tmp_path / str(mute), mute) for mute in (None, "audio"))
    floors = [next(t["floor"]["value"] for t in a["tasks"] if t["id"] == "timeline_action") for a in (live, muted)]
    told = [
        {v: cell(a, "ridge", "timeline_action", v) for v in ("without_audio", "only_audio", "only_hand")} for a in (live, muted)
    ]
    print([{v: (c["full"], c["value"], c["delta"], c["ci_low"], c["ci_high"]) for v, c in t.items()} for t in told], floors)
    # Each action has its sound, which alone is far above the floor.
    assert told[0]["only_audio"]["value"] > floors[0] + 0.25
    assert told[1]["only_audio"]["value"] < floors[1] + 0.1
    assert told[1]["only_audio"]["delta"] > told[0]["only_audio"]["delta"] + 0.2
    assert abs(told[1]["without_audio"]["delta"]) < 0.03
    assert abs(told[1]["only_hand"]["delta"]) < 0.1  # another sensor alone is as good as ever
    assert cell(muted, "ridge", "imu_to_hand_pose", "without_audio")["status"] == "not_shown"
