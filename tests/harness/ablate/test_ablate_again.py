"""A second call into the same folder adds to the tables: what was there stays, in one order."""

import io
import json
from pathlib import Path

from planted import ablated, write_planted
from rich.console import Console

from harness.ablate.runs import folder_of, tabulate
from harness.ablate.variants import only, parse_replacement, without
from harness.manifest import write_json
from harness.score import read_manifest

TASK = "contact_prediction"


def test_what_an_earlier_call_ran_stays_in_the_tables(tmp_path: Path) -> None:
    root, out = write_planted(tmp_path / "data", 9, 80), tmp_path / "run"
    split = ("split.train=0-4", "split.validation=5", "split.test=6-8")
    variants = [only("imu"), parse_replacement("hand_*=logmel_*"), without("hand")]
    ablated(root, out, variants, ("ridge",), (TASK,), *split)
    said = io.StringIO()
    first = tabulate(out, variants, {}, Console(file=said))
    assert [v["name"] for v in first["variants"]] == ["without_hand", "only_imu", variants[1].name]
    assert said.getvalue() == ""
    for asked in ([variants[1]], [variants[0]]):
        assert tabulate(out, asked, {}, Console(file=said)) == first
        assert json.loads((out / "ablation.json").read_text()) == first
        assert all(f"ridge, {v.name}: takes away" in (out / "ablation.md").read_text().replace("\\", "") for v in variants)
    # What was stopped half way has no numbers yet, and is named.
    folder = folder_of(out, without("hand"))
    write_json(folder / "manifest.json", read_manifest(folder) | {"state": "interrupted"})
    left = tabulate(out, [variants[0]], {}, Console(file=said, width=1000))
    assert [v["name"] for v in left["variants"]] == ["only_imu", variants[1].name]
    assert "without_hand is not in the tables: interrupted, ask for it again" in said.getvalue()
