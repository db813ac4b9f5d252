"""Rows of our own schema from elsewhere: scored as they are, counted where they fail, refused where they are of other data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import call
from qa_rows import imported, write_lines
from small_run import TASKS, TWO_FOLDS, make_run, right_rows

from harness.tables import PREDICTION_SCHEMA


def bound(run: Path, tmp_path: Path, rows: list[Any], *words: Any) -> dict[str, dict[str, Any]]:
    """Task -> leaderboard row of an import that must go well."""
    done = imported(write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "made", "--targets", run, *words, kind="jsonl")
    assert done.code == 0, done.err
    found = call("score", tmp_path / "made", "--targets", run, "--out", tmp_path / "scores")
    assert found.code == 0, found.err
    return {row["task"]: row for row in json.loads((tmp_path / "scores" / "leaderboard.json").read_text())["rows"]}


def refused(run: Path | None, tmp_path: Path, rows: list[Any], *words: str, kind: str = "jsonl") -> None:
    """One line with these words, exit code 2, and no folder."""
    target = () if run is None else ("--targets", run)
    done = imported(write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "made", *target, kind=kind)
    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1, done
    assert all(word in done.err for word in words), done.err
    assert not (tmp_path / "made").exists() and not list(tmp_path.glob(".made*"))


def changed(index: int, **changes: Any) -> list[dict[str, Any]]:
    rows = right_rows()
    rows[index] |= changes
    return rows


def index_of(task: str, rank: int = 0) -> int:
    return [i for i, row in enumerate(right_rows()) if row["task"] == task][rank]


def test_the_truth_is_at_the_ceiling_from_every_format_and_bound_at_either_end(run: Path, tmp_path: Path) -> None:
    now = bound(run, tmp_path / "now", right_rows())
    assert call("score", tmp_path / "now" / "made", "--out", tmp_path / "remembered").code == 0  # the run named at import
    assert set(now) == set(TASKS)
    ceilings = {"imu_to_hand_pose": 0.0}
    for task, row in now.items():
        assert row["value"] == pytest.approx(ceilings.get(task, 1.0), abs=1e-6) and row["coverage"] == 1.0, task
        assert row["evidence"] == "smoke" and row["unranked"] == "imported" and row["gates"]
    columns = ("task", "sample", "episode", "label", "labels", "values", "query", "key")
    table = pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in right_rows()])
    pq.write_table(table, tmp_path / "rows.parquet")
    assert imported(tmp_path / "rows.parquet", tmp_path / "later", kind="parquet").code == 0
    assert imported(tmp_path / "now" / "rows.jsonl", tmp_path / "lines", kind="jsonl").code == 0
    for name in ("later", "lines"):
        assert "--targets" in call("score", tmp_path / name, "--out", tmp_path / "s").err
        for _ in range(2):  # into the same folder again
            done = call("score", tmp_path / name, "--targets", run, "--out", tmp_path / f"scores {name}")
            assert done.code == 0, done.err
        board = json.loads((tmp_path / f"scores {name}" / "leaderboard.json").read_text())
        assert {r["task"]: (r["branch"], r["value"], r["ci_low"]) for r in board["rows"]} == {
            task: (name, row["value"], row["ci_low"]) for task, row in now.items()
        }


FAILING = [
    ("timeline_action", {"label": 7}, "schema_error"),
    ("timeline_action", {"label": None}, "schema_error"),
    ("timeline_action", {"label": ""}, "schema_error"),
    ("timeline_action", {"label": "x" * 10_000_000}, "schema_error"),
    ("timeline_action", {"label": "pour", "status": "timeout"}, "timeout"),
    ("timeline_action", {"label": None, "status": "parse_error", "raw": "<b>\x00\x1b[31m" + "y" * 10_000_000}, "parse_error"),
    ("object_relevance", {"labels": "cup"}, "schema_error"),
    ("object_relevance", {"labels": ["cup", 3]}, "schema_error"),
    ("imu_to_hand_pose", {"values": [0.0, float("nan"), 1.0]}, "decode_error"),
    ("imu_to_hand_pose", {"values": [0.0, float("inf"), 1.0]}, "decode_error"),
    ("imu_to_hand_pose", {"values": [0.0, 1e300, 1.0]}, "decode_error"),
    ("imu_to_hand_pose", {"values": [0.0, None, 1.0]}, "decode_error"),
    ("imu_to_hand_pose", {"values": [0.0] * 500}, "schema_error"),
    ("imu_to_hand_pose", {"values": [0.0]}, "schema_error"),
    ("imu_to_hand_pose", {"values": []}, "schema_error"),
    ("imu_to_hand_pose", {"values": [[0.0, 1.0, 2.0]]}, "schema_error"),
    ("imu_to_hand_pose", {"values": ["0", "1", "2"]}, "schema_error"),
    ("imu_to_hand_pose", {"values": {"0": 1}}, "schema_error"),
    ("cross_modal_retrieval", {"query": [1.0, 0.0]}, "schema_error"),
    ("cross_modal_retrieval", {"key": None}, "schema_error"),
    ("cross_modal_retrieval", {"key": [float("nan")] * 5}, "decode_error"),
]


@pytest.mark.parametrize(("task", "change", "status"), FAILING, ids=[f"{t} {str(c)[:40]}" for t, c, _ in FAILING])
def test_a_bad_answer_fails_alone_and_is_counted(task: str, change: Any, status: str, run: Path, tmp_path: Path) -> None:
    found = bound(run, tmp_path, changed(index_of(task, 1), **change))
    for name, row in found.items():
        assert row["failures"] == ({status: 1} if name == task else {}), name
        assert row["coverage"] == pytest.approx(1 - (name == task) / row["n_samples"])
    assert found[task]["value"] != found[task]["complete_case"] or task == "imu_to_hand_pose"


def test_a_word_that_no_target_has_is_wrong_and_no_failure(run: Path, tmp_path: Path) -> None:
    row = bound(run, tmp_path, changed(index_of("timeline_action"), label="juggle <script>"))["timeline_action"]
    assert row["failures"] == {} and row["coverage"] == 1.0 and row["value"] < 1
    assert row["detail"]["notes"] == ["1 answer(s) with words that no target has"]


def test_the_text_of_a_failed_row_is_kept(run: Path, tmp_path: Path) -> None:
    raw = "no JSON at all \x07 <img src=x> \ud800"
    bound(run, tmp_path, changed(0, label=None, status="parse_error", raw=raw))
    parts = [pq.read_table(path) for path in (tmp_path / "made").rglob("part-a-*.parquet")]
    kept = [text for part in parts for text in part.column("raw").to_pylist() if text]
    assert kept == [raw.encode("utf-8", "backslashreplace").decode()]


def test_both_texts_of_a_conflict_are_kept(run: Path, tmp_path: Path) -> None:
    first, second = (changed(0, raw=text, label=text)[0] for text in ("pour, I think", "stir, \x07 <b>I think</b>"))
    bound(run, tmp_path, [*right_rows()[1:], first, second], "--allow-partial")
    parts = [pq.read_table(path) for path in (tmp_path / "made").rglob("part-a-*.parquet")]
    assert [text for part in parts for text in part.column("raw").to_pylist() if text] == [first["raw"]]
    [kept] = map(json.loads, (tmp_path / "made" / "left_out.jsonl").read_text().splitlines())
    assert kept["raw"] == second["raw"] and kept["sample"] == "a#w0" and kept["where"].endswith("rows.jsonl:60")


REFUSED = [
    ({"sample": "z#w0", "episode": "z"}, ("z#w0", "another data set")),
    ({"sample": "a#w3"}, ("a#w3", "no such sample")),
    ({"episode": "b"}, ("no such sample",)),
    ({"sample": "t#w0", "episode": "t"}, ("t#w0", "not tested")),
    ({"task": "timeline_acton"}, ("timeline_acton", "timeline_action")),
    ({"task": "hand_trajectory_forecast"}, ("does not pose",)),
    ({"task": 3}, ("task",)),
    ({"sample": None}, ("sample",)),
    ({"sample": "a#w0\0"}, (r"sample 'a#w0\x00'", "NUL character")),
    ({"sample": "free text", "episode": None}, ("episode",)),
    ({"fold": 2}, ("fold 2",)),
    ({"fold": "x"}, ("fold",)),
    ({"seed": -1}, ("seed",)),
    ({"draw": 1}, ("draw",)),
    ({"status": "fine"}, ("fine", "parse_error")),
    ({"status": "missing"}, ("missing", "parse_error")),
    ({"seen_until": "noon"}, ("seen_until", "noon")),
    ({"probabilities": [0.5, 0.5]}, ("classes",)),
]


@pytest.mark.parametrize(("change", "said"), REFUSED, ids=[str(c) for c, _ in REFUSED])
def test_what_belongs_to_nobody_is_one_line(change: Any, said: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    refused(run, tmp_path, changed(0, **change), *said)


def test_missing_duplicate_and_conflicting_ids(run: Path, tmp_path: Path) -> None:
    rows = right_rows()
    refused(run, tmp_path, rows[1:], "1 of 14 samples of timeline_action have no row", "--allow-partial")
    refused(run, tmp_path, [*rows, rows[0]], "rows.jsonl:60", "a#w0", "again")
    refused(run, tmp_path, [*rows, rows[0] | {"label": "other"}], "rows.jsonl:60", "another answer")
    refused(run, tmp_path, [*rows[:-1], json.dumps(rows[-1])[:-9]], "rows.jsonl:59", "not JSON")
    partial = [*rows[2:], rows[2], rows[3] | {"label": "other"}, '{"task": ', changed(0, sample="z#w0", episode="z")[0]]
    found = bound(run, tmp_path, partial, "--allow-partial")["timeline_action"]
    assert found["failures"] == {"missing": 2, "schema_error": 1}
    [note] = found["detail"]["notes"]
    for said in (
        "1 duplicate",
        "1 conflicting",
        "1 damaged",
        "1 row(s) of samples that the run does not test",
        "2 sample(s) without",
    ):
        assert said in note, note


def test_what_is_left_out_is_noted_where_it_was_left_out(run: Path, tmp_path: Path) -> None:
    rows = right_rows()
    again = rows[index_of("object_relevance")]
    found = bound(run, tmp_path, [*rows[3:], again], "--allow-partial")
    notes = {task: row["detail"].get("notes", []) for task, row in found.items()}
    assert notes == {
        "timeline_action": ["partial: 3 sample(s) without a row, which count as missing"],
        "object_relevance": ["partial: 1 duplicate row(s) left out"],
        "imu_to_hand_pose": [],
        "cross_modal_retrieval": [],
    }
    # The same, where the run is named when they are scored.
    words = (tmp_path / "rows.jsonl", tmp_path / "loose", "--allow-partial")
    assert imported(*words, kind="jsonl").code == 0
    done = call("score", tmp_path / "loose", "--targets", run, "--out", tmp_path / "late")
    assert done.code == 0, done.err
    board = json.loads((tmp_path / "late" / "leaderboard.json").read_text())
    assert {row["task"]: row["detail"].get("notes", []) for row in board["rows"]} == notes


def test_a_score_of_loose_rows_says_what_it_can_be_told(run: Path, tmp_path: Path) -> None:
    assert imported(write_lines(tmp_path / "rows.jsonl", right_rows()[1:]), tmp_path / "loose", kind="jsonl").code == 0
    done = call("score", tmp_path / "loose", "--targets", run, "--out", tmp_path / "scores")
    assert done.code == 2 and done.err.count("\n") == 1 and "have no row" in done.err
    assert "import them again, with --allow-partial" in done.err and "say --allow-partial" not in done.err


def test_every_fold_and_seed_is_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TWO_FOLDS)
    rows = [row | {"fold": int(row["episode"] == "c"), "seed": seed} for row in right_rows() for seed in (0, 7)]
    found = bound(run, tmp_path / "all", rows)["timeline_action"]
    assert (found["n_folds"], found["n_seeds"], found["n_samples"], found["failures"]) == (2, 2, 14, {})
    rest = [row for row in rows if (row["fold"], row["seed"]) != (1, 7)]
    refused(run, tmp_path, rest, "have no row (fold 1, seed 7)", "in all: 20 sample(s)")
    refused(run, tmp_path, [row | {"fold": 0} for row in rows], "'c#w0'", "not tested in fold 0")


def test_classes_of_probabilities_come_in_a_file_beside(run: Path, tmp_path: Path) -> None:
    rows = [row | ({"probabilities": [0.75, 0.25]} if row["task"] == "timeline_action" else {}) for row in right_rows()]
    odd = ([0.2], [-1.0, 2.0], [5.0, 5.0], [float("nan"), 1.0], [0.0, 0.0], "0.5", [])
    for rank, numbers in enumerate(odd):
        rows[index_of("timeline_action", rank)]["probabilities"] = numbers
    sets = index_of("object_relevance")
    rows[sets]["probabilities"], rows[sets + 1]["probabilities"] = [0.9, 0.9, 0.0], [1.5, 0.0, 0.0]
    about = tmp_path / "about.json"
    about.write_text(
        json.dumps(
            {
                "classes": {"timeline_action": ["pour", "stir"], "object_relevance": ["cup", "kettle", "pan"]},
                "inputs": {"timeline_action": ["imu"]},
            }
        )
    )
    found = bound(run, tmp_path, rows, about)
    row = found["timeline_action"]
    assert row["probabilities"]["log_loss"] > 0 and row["value"] == 1.0
    assert row["detail"]["notes"] == ["7 row(s) whose probabilities are none over the classes, which count as the worst"]
    assert found["object_relevance"]["detail"]["notes"][0].startswith("1 row(s) whose probabilities are none")
    about.write_text('{"classes": [3]}')
    done = imported(tmp_path / "rows.jsonl", tmp_path / "again", about, "--targets", run, kind="jsonl")
    assert done.code == 2 and "about.json" in done.err and done.err.count("\n") == 1


def test_files_that_are_none(run: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "empty.jsonl").write_text("\n")
    for file, kind, said in (
        (tmp_path / "rows.parquet", "parquet", "Parquet"),
        (tmp_path / "empty.jsonl", "jsonl", "no rows"),
        (tmp_path / "empty.jsonl", "parquet", ".parquet"),
        (tmp_path / "absent.jsonl", "jsonl", "no such file"),
        (tmp_path / "empty.jsonl", "xperience-jsn", "xperience-json"),
    ):
        done = imported(file, tmp_path / "made", "--targets", run, kind=kind)
        assert done.code == 2 and said in done.err and done.err.count("\n") == 1, done
    assert list(PREDICTION_SCHEMA.names)[:2] == ["task", "sample"]
    write_lines(tmp_path / "rows.jsonl", right_rows())
    for words, said in (
        (("--name", "oracle"), "oracle"),
        (("--name", "majority"), "the evaluator's own rows"),
        (("--name", "prior_of_test"), "the evaluator's own rows"),
        ((tmp_path,), "a folder; give the files in it"),
        (("--name", "a b"), "a b"),
        (("--targets", tmp_path / "nowhere"), "not a run folder"),
    ):
        done = imported(tmp_path / "rows.jsonl", tmp_path / "made", *words, kind="jsonl")
        assert done.code == 2 and said in done.err and done.err.count("\n") == 1, done
    assert "not empty" in imported(tmp_path / "rows.jsonl", tmp_path, "--name", "x", kind="jsonl").err


def test_a_bundle_written_by_hand_loses_its_odd_rows_alone(run: Path, tmp_path: Path) -> None:
    """Another language may write parts with vectors of any width; one of them must not take the others along."""
    bound(run, tmp_path, right_rows())
    [part] = (tmp_path / "made").rglob("part-b-*.parquet")
    rows = pq.read_table(part).to_pylist()
    odd = [row for row in rows if row["task"] == "imu_to_hand_pose"]
    odd[0]["values"] = [0.0] * 50
    tables = [pa.Table.from_pylist([r for r in rows if r["task"] == t], schema=PREDICTION_SCHEMA) for t in TASKS]
    second = part.with_name(part.name.replace("0000000", "0000001"))
    with pq.ParquetWriter(part, PREDICTION_SCHEMA) as writer, pq.ParquetWriter(second, PREDICTION_SCHEMA) as apart:
        apart.write_table(pa.Table.from_pylist([odd[1] | {"values": [1.0]}], schema=PREDICTION_SCHEMA))
        for task, table in zip(TASKS, tables, strict=True):
            vectors = pa.Table.from_pylist([odd[0], *odd[2:]], schema=PREDICTION_SCHEMA)
            writer.write_table(vectors if task == "imu_to_hand_pose" else table)
    done = call("score", tmp_path / "made", "--targets", run, "--out", tmp_path / "again")
    assert done.code == 0, done.err
    found = {row["task"]: row for row in json.loads((tmp_path / "again" / "leaderboard.json").read_text())["rows"]}
    assert found["imu_to_hand_pose"]["failures"] == {"decode_error": 1, "schema_error": 1}
    assert found["timeline_action"]["failures"] == {}
