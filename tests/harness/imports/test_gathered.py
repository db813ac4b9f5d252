"""What `score` and `compare` are given: each import in a place of its own, and nothing of the user's removed."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import call
from qa_rows import imported, scored, write_lines
from small_run import right_rows

from harness.bundle import bundle_folder

LABELS = "timeline_action"


def put_away(out: Path, *words: Any, wrong: int = 0) -> Path:
    """An import that waits for its run; so many of its labels are wrong."""
    rows = right_rows()
    for row in [row for row in rows if row["task"] == LABELS][:wrong]:
        row["label"] = "pour" if row["label"] == "stir" else "stir"
    done = imported(write_lines(out.parent / f"{out.name}.jsonl", rows), out, *words, kind="jsonl")
    assert done.code == 0, done.err
    return out


def test_imports_whose_names_only_look_alike_are_scored_apart(run: Path, tmp_path: Path) -> None:
    names = ("m:a", "m_a", "m%3Aa", "m@a", "m_at_a")
    alone = {}
    for i, name in enumerate(n for n in names if "%" not in n):
        folder = put_away(tmp_path / f"i{i}", "--name", name, wrong=i)
        alone[name] = scored(tmp_path / f"s{i}", folder, "--targets", run)[name][LABELS]["value"]
    assert len(set(alone.values())) == 4
    together = scored(tmp_path / "s", *(tmp_path / f"i{i}" for i in range(4)), "--targets", run)
    assert {name: rows[LABELS]["value"] for name, rows in together.items()} == alone
    assert all(rows[LABELS]["n_samples"] == 14 for rows in together.values())
    assert len({bundle_folder(run, name) for name in names}) == len(names)


@pytest.mark.parametrize("words", [("--targets",), ()], ids=["bound at import", "put away"])
def test_two_imports_of_one_name_are_refused(words: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    one, other = (put_away(tmp_path / where / "mine", *words, *([run] if words else []), wrong=2) for where in ("x", "y"))
    done = call("score", one, other, "--targets", run, "--out", tmp_path / "s")
    assert done.code == 2 and done.err.count("\n") == 1, done
    assert all(said in done.err for said in (str(one), str(other), "both named mine", "--name")), done.err
    again = scored(tmp_path / "again", one, one, "--targets", run)  # the same one twice is the same one
    assert again["mine"][LABELS]["n_samples"] == 14
    seeds = [row | {"seed": 1} for row in right_rows()]
    write_lines(tmp_path / "seeds.jsonl", seeds)
    assert imported(tmp_path / "seeds.jsonl", tmp_path / "z" / "mine", "--targets", run, kind="jsonl").code == 0
    assert "both named mine" in call("score", one, tmp_path / "z" / "mine", "--targets", run, "--out", tmp_path / "s").err


def test_nothing_of_the_user_is_removed_where_a_score_goes(run: Path, tmp_path: Path) -> None:
    mine = put_away(tmp_path / "out" / "imported" / "mine")
    (tmp_path / "out" / "imported" / "notes.txt").write_text("keep")
    before = sorted(path for path in (tmp_path / "out" / "imported").rglob("*"))
    boards = []
    for _ in range(2):  # into the same folder again
        scored(tmp_path / "out", mine, "--targets", run)
        boards.append((tmp_path / "out" / "leaderboard.json").read_bytes())
        assert sorted(path for path in (tmp_path / "out" / "imported").rglob("*")) == before
    assert boards[0] == boards[1]


def test_a_folder_of_imports_and_a_folder_of_nothing(run: Path, tmp_path: Path) -> None:
    put_away(tmp_path / "all" / "a")
    put_away(tmp_path / "all" / "b", "--targets", run, wrong=2)
    assert set(scored(tmp_path / "s", tmp_path / "all", "--targets", run)) == {"a", "b"}
    done = call("score", tmp_path / "all", tmp_path / "typo", "--targets", run, "--out", tmp_path / "s")
    assert done.code == 2 and f"{tmp_path / 'typo'}: no bundle below it" in done.err


def test_compare_takes_what_score_takes(run: Path, tmp_path: Path) -> None:
    a, b = put_away(tmp_path / "a"), put_away(tmp_path / "b", wrong=3)
    done = call("compare", a, b, "--targets", run, "--json")
    assert done.code == 0, done.err
    body = json.loads(done.out)
    [pair] = next(task for task in body["tasks"] if task["id"] == LABELS)["comparisons"]
    rows = scored(tmp_path / "s", a, b, "--targets", run)
    assert (pair["value_a"], pair["value_b"]) == (rows["a"][LABELS]["value"], rows["b"][LABELS]["value"])
    assert pair["difference"] > 0 and body["evidence"] == ["smoke at most (imported)"] * 2
    assert "not a run folder" in call("compare", a, b).err
