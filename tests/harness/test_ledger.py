"""How often a held-out set was looked at."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bundle import Bundle
from harness.errors import BadInput
from harness.ledger import accesses, entries, ledger_file, record


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))


def bundle(folder: Path, branch: str, content: bytes) -> Bundle:
    folder.mkdir(parents=True)
    (folder / "part-e-0000000.parquet").write_bytes(content)
    return Bundle(folder, branch, "test", 0, 0, "abc", {}, {})


def test_the_same_predictions_count_once_and_others_every_time(tmp_path: Path) -> None:
    assert accesses("abc") == "this held-out set has been scored 0 time(s) on this machine: never"
    ridge, mlp = bundle(tmp_path / "a", "ridge", b"1"), bundle(tmp_path / "b", "mlp", b"1")
    record("abc", [ridge, mlp])
    record("abc", [ridge, mlp])
    record("abc", [bundle(tmp_path / "copied elsewhere", "ridge", b"1")])
    assert accesses("abc").endswith("scored 2 time(s) on this machine: ridge 1, mlp 1")
    record("abc", [bundle(tmp_path / "c", "ridge", b"2"), replace(ridge, seed=1)])
    assert accesses("abc").endswith("scored 4 time(s) on this machine: ridge 3, mlp 1")
    assert accesses("another split").endswith("never")


def test_all_folds_of_a_branch_are_one_look(tmp_path: Path) -> None:
    folds = [replace(bundle(tmp_path / str(i), "linear", bytes([i])), fold=i) for i in range(5)]
    record("abc", folds)
    record("abc", folds[::-1])
    assert accesses("abc").endswith("scored 1 time(s) on this machine: linear 1")


def test_privileged_rows_decide_nothing_and_do_not_count(tmp_path: Path) -> None:
    record("abc", [replace(bundle(tmp_path / "a", "oracle", b"1"), privileged=True)])
    assert entries("abc") == [] and not ledger_file("abc").exists()


@pytest.mark.parametrize("line", ["{", "[]", '{"branch": "x"}', json.dumps("x")])
def test_a_damaged_ledger_is_not_a_short_one(tmp_path: Path, line: str) -> None:
    record("abc", [bundle(tmp_path / "a", "ridge", b"1")])
    with ledger_file("abc").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(BadInput, match="line 2: not an entry"):
        accesses("abc")
