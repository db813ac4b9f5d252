"""The journal of finished trials."""

from pathlib import Path

import pytest

from harness.errors import BadInput
from tune.journal import Journal


def test_a_write_that_was_cut_off_is_left_out_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trials" / "journal.jsonl"
    Journal(path).add({"branch": "a", "number": 0, "objective": 1.0})
    with path.open("ab") as file:
        file.write(b'{"branch": "a", "num')
    again = Journal(path)
    assert again.trials == [{"branch": "a", "number": 0, "objective": 1.0}]
    again.add({"branch": "a", "number": 1, "objective": None})
    assert len(Journal(path).trials) == 2
    assert Journal(path).find({"branch": "a", "number": 1}) == {"branch": "a", "number": 1, "objective": None}
    assert Journal(path).find({"branch": "b", "number": 1}) is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text('{"branch": "a"}\nnonsense\n{"branch": "b"}\n')
    with pytest.raises(BadInput, match=r"line 2: damaged"):
        Journal(tmp_path / "journal.jsonl")
