"""Information set: rows that saw past their t0, or do not say what they saw."""

from pathlib import Path

import numpy as np
import pytest
from gate_world import TASK, bundle_of, held_of, samples

from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.leaderboard import build
from harness.leakage import INFORMATION


def test_a_row_that_saw_past_its_t0_is_refused_by_name(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    t0 = samples("b").t0
    late = bundle_of(held, tmp_path / "m", {"b": [t0[0], t0[1], np.nextafter(t0[2], np.inf), t0[3]]})
    with pytest.raises(BadInput, match=r"model:x was shown .* \(timeline_action: b#w8\); show it nothing after t0"):
        evaluate(held, [late])
    evaluate(held, [bundle_of(held, tmp_path / "n", {"b": [-np.inf, *t0[1:]]})])


def test_a_row_that_does_not_say_what_it_saw_is_refused(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    silent = bundle_of(held, tmp_path / "m", {"a": [np.nan] * 4})
    with pytest.raises(BadInput, match=r"model:x does not say until when its rows saw \(timeline_action: a#w0, a#w4"):
        evaluate(held, [silent])


def test_imported_rows_are_scored_and_the_gate_is_named(tmp_path: Path) -> None:
    held = held_of(tmp_path / "targets")
    made = bundle_of(held, tmp_path / "m", {"a": [np.nan] * 4}, imported=True)
    [row] = build(evaluate(held, [made]), "held_out")["rows"]
    assert row["gates"] == [INFORMATION] and row["task"] == TASK.id
