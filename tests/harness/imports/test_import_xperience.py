"""Rows of the published form: what fails is counted, what is wrong with a file is one line that names the row."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import call
from factories import write_xperience_episode
from qa_rows import ANSWER, imported, qa_row, scored, write_lines

from harness.bundle import find_bundles
from harness.tasks import IMPORTED_TASKS, task_ids


def rows() -> list[dict[str, Any]]:
    """Three episodes of four windows; the second half has another action and no contact."""
    later = {"action": "stir", "next_action": "stir", "contact": "no", "objects": ["pan"]}
    return [qa_row(f"s{e}__ep0", i, true=later if i > 1 else {}) for e in range(3) for i in range(4)]


def refused(tmp_path: Path, lines: list[Any], *said: str, words: tuple[Any, ...] = ()) -> None:
    done = imported(write_lines(tmp_path / "rows.jsonl", lines), tmp_path / "made", *words)
    assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1, done
    assert all(word in done.err for word in said), done.err
    assert not (tmp_path / "made").exists() and not list(tmp_path.glob(".made*"))


def made(tmp_path: Path, lines: list[Any], *words: Any) -> dict[str, dict[str, Any]]:
    """Task -> row of the leaderboard."""
    done = imported(write_lines(tmp_path / "rows.jsonl", lines), tmp_path / "m", *words)
    assert done.code == 0, done.err
    return scored(tmp_path / "scores", tmp_path / "m")["m"]


def test_the_truth_has_everything(tmp_path: Path) -> None:
    found = made(tmp_path, rows())
    assert {task: row["value"] for task, row in found.items()} == dict.fromkeys(
        ("qa_action", "qa_subtask", "qa_transition", "qa_next_action", "qa_contact", "qa_objects", "qa_json"), 1.0
    )
    board = json.loads((tmp_path / "scores" / "leaderboard.json").read_text())
    vacuous = {task["id"]: task["vacuous"] for task in board["tasks"] if task["vacuous"]}
    assert vacuous == {"qa_subtask": "one class in test: make tea", "qa_transition": "one class in test: no"}
    assert board["split"]["clusters"] == 3 and board["split"]["kind"] == "imported"


ANSWERS = [
    ("no JSON at all {", {}, "parse_error", ("qa_contact", "qa_objects", "qa_subtask", "qa_json", "qa_action")),
    ("garbage", {}, "parse_error", ("qa_contact", "qa_json", "qa_action")),
    (json.dumps(ANSWER)[:-30], {}, "parse_error", ("qa_contact", "qa_json", "qa_action")),
    ("", {}, "parse_error", ("qa_contact", "qa_json")),
    ({**ANSWER, "contact": "maybe"}, None, "schema_error", ("qa_contact", "qa_json")),
    ({**ANSWER, "contact": True}, None, "schema_error", ("qa_contact", "qa_json")),
    ({**ANSWER, "objects": "cup"}, None, "schema_error", ("qa_objects", "qa_json")),
    ({**ANSWER, "objects": ["cup", None]}, None, "schema_error", ("qa_objects", "qa_json")),
    ({**ANSWER, "objects": [f"cup {i}" for i in range(9)]}, None, "schema_error", ("qa_json",)),
    ({**ANSWER, "subtask": "x" * 10_000_000}, None, "schema_error", ("qa_subtask", "qa_json")),
    ({**ANSWER, "evidence_window": {"start_frame": 3, "end_frame": 2}}, None, "schema_error", ("qa_json",)),
    ({**ANSWER, "more": 1}, None, "schema_error", ("qa_json",)),
    ({k: v for k, v in ANSWER.items() if k != "transition"}, None, "schema_error", ("qa_transition", "qa_json")),
]


@pytest.mark.parametrize(("answer", "parsed", "status", "tasks"), ANSWERS, ids=[str(a)[:40] for a, *_ in ANSWERS])
def test_a_bad_answer_is_a_counted_failure(answer: Any, parsed: Any, status: str, tasks: tuple[str, ...], tmp_path: Path) -> None:
    lines = rows()
    lines[1] = qa_row("s0__ep0", 1, answer)
    found = made(tmp_path, lines)
    assert {task for task, row in found.items() if row["failures"]} >= set(tasks)
    for task in tasks:
        assert found[task]["failures"] == {status: 1}, task
        assert found[task]["coverage"] == pytest.approx(11 / 12)
    assert found["qa_json"]["value"] == pytest.approx(11 / 12)
    if parsed == {}:
        parts = [pq.read_table(p) for p in (tmp_path / "m" / "bundles" / "m").rglob("part-s0__ep0*.parquet")]
        kept = [row["raw"] for part in parts for row in part.to_pylist() if row["task"] == "qa_contact" and row["status"] != "ok"]
        assert kept == [answer]


def test_bare_text_answers_where_it_is_a_label_of_the_rows(tmp_path: Path) -> None:
    lines = rows()
    lines[0] = qa_row("s0__ep0", 0, "pour")
    lines[1] = qa_row("s0__ep0", 1, "boil.", predicted_label="boil")
    found = made(tmp_path, lines)
    assert (found["qa_action"]["failures"], found["qa_contact"]["failures"]) == ({"parse_error": 1}, {"parse_error": 2})
    # Published option lists hold every text in which no option was found: they make no answer of it.
    options = tmp_path / "metrics.json"
    options.write_text(json.dumps({"labels": ["boil", "pour", "stir"]}))
    assert made(tmp_path / "offered", lines, options)["qa_action"]["failures"] == {"parse_error": 1}
    assert imported(tmp_path / "rows.jsonl", tmp_path / "again", "--targets", tmp_path / "m").code == 0
    again = scored(tmp_path / "s", tmp_path / "again", "--targets", tmp_path / "m")["again"]
    assert again["qa_action"]["failures"] == {"parse_error": 1} and again["qa_action"]["value"] == found["qa_action"]["value"]


def test_text_in_a_fence_and_without_a_parsed_column_is_read(tmp_path: Path) -> None:
    lines = rows()
    lines[0] = qa_row("s0__ep0", 0, raw_prediction=f"```json\n{json.dumps(ANSWER)}\n```")
    lines[1] = qa_row("s0__ep0", 1, raw_prediction=f"Sure! {json.dumps(ANSWER)} as asked")
    for row in lines[:2]:
        del row["pred_json"]
    assert all(row["failures"] == {} and row["value"] == 1.0 for row in made(tmp_path, lines).values())


def test_cells_that_spell_json_are_read(tmp_path: Path) -> None:
    names = ("id", "episode_id", "true_label", "raw_prediction", "predicted_label", "true_json", "pred_json")
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in rows())
    assert imported(tmp_path / "rows.csv", tmp_path / "m").code == 0
    found = scored(tmp_path / "scores", tmp_path / "m")["m"]
    assert len(found) == 7 and all(row["value"] == 1.0 for row in found.values())


def test_truth_that_is_unknown_is_not_scored(tmp_path: Path) -> None:
    lines = rows()
    lines[0]["true_json"] = {**lines[0]["true_json"], "subtask": "unknown", "contact": "unknown"}
    lines[1]["true_json"] = {k: v for k, v in lines[1]["true_json"].items() if k != "contact"}
    refused(tmp_path, lines, "id 's0__ep0:qa:1' says nothing of contact", "--allow-partial")
    found = made(tmp_path, lines, "--allow-partial")
    assert found["qa_contact"]["detail"]["notes"] == ["partial: 1 row(s) without a truth for contact"]
    assert not found["qa_subtask"]["detail"].get("notes")
    assert (found["qa_subtask"]["n_samples"], found["qa_contact"]["n_samples"], found["qa_action"]["n_samples"]) == (11, 10, 12)


def test_rows_without_the_truth_that_others_have_are_counted(tmp_path: Path) -> None:
    lines = rows()
    for row in lines[:5]:
        row["true_json"] = None
    refused(tmp_path, lines, "5 row(s) without a truth for subtask", "5 row(s) without a truth for objects")
    found = made(tmp_path, lines, "--allow-partial")
    assert found["qa_objects"]["n_samples"] == 7
    assert found["qa_objects"]["detail"]["notes"] == ["partial: 5 row(s) without a truth for objects"]
    assert found["qa_action"]["n_samples"] == 12 and not found["qa_action"]["detail"].get("notes")


USELESS = [
    ({"id": None}, ("id is no id", "missing")),
    ({"id": 7}, ("id is no id", "7")),
    ({"episode_id": ""}, ("episode_id",)),
    ({"id": "s0__ep0:qa:0\0"}, (r"id 's0__ep0:qa:0\x00'", "NUL character")),
    ({"episode_id": "s0__ep0\0"}, ("episode_id", "NUL character")),
    ({"true_label": 3}, ("true_label",)),
    ({"true_label": "stir"}, ("true_label 'stir'", "'pour'", "differ")),
    ({"true_json": [1]}, ("true_json",)),
    ({"true_json": {**ANSWER, "contact": "often"}}, ("true_json.contact", "often")),
    ({"true_json": {**ANSWER, "objects": "cup"}}, ("true_json.objects",)),
    ({"true_label_seen_in_train": "perhaps"}, ("true_label_seen_in_train", "perhaps")),
]


@pytest.mark.parametrize(("change", "said"), USELESS, ids=[str(c)[:50] for c, _ in USELESS])
def test_a_row_without_id_or_truth_is_named_with_its_line(change: Any, said: tuple[str, ...], tmp_path: Path) -> None:
    lines = rows()
    lines[4] |= change
    refused(tmp_path, lines, "rows.jsonl:5", "--allow-partial", *said)
    found = made(tmp_path, lines, "--allow-partial")["qa_action"]
    assert found["n_samples"] == 11 and found["detail"]["notes"] == ["partial: 1 row(s) without a usable id or truth left out"]


DAMAGED = [
    ('{"id": "s0', ("not JSON", "cut off")),
    ("[1, 2]", ("JSON object", "list")),
    ("[" * 100_000, ("nested",)),
    ('{"id": 1' + "0" * 5000 + "}", ("not JSON",)),
    (json.dumps(qa_row("s9__ep0", 0))[:-1] + ', "id": "other"}', ("the key 'id' stands twice",)),
    (json.dumps(qa_row("s9__ep0", 0, true={"other": 1})).replace('"other"', '"contact"'), ("the key 'contact' stands twice",)),
]


@pytest.mark.parametrize(("line", "said"), DAMAGED, ids=["cut", "list", "nested", "digits", "twice", "twice inside"])
def test_a_line_that_is_no_row(line: str, said: tuple[str, ...], tmp_path: Path) -> None:
    file = write_lines(tmp_path / "rows.jsonl", [*rows(), line])
    file.write_bytes(file.read_bytes()[:-1])
    done = imported(file, tmp_path / "made")
    assert done.code == 2 and done.err.count("\n") == 1 and "rows.jsonl:13" in done.err, done
    assert all(word in done.err for word in said if word != "cut off"), done.err
    file.write_bytes(file.read_bytes() + b"\n\xff\xfe\n")
    done = imported(file, tmp_path / "made", "--allow-partial")
    assert done.code == 0 and "2 damaged" in done.out, done


def test_duplicates_and_conflicts(tmp_path: Path) -> None:
    lines = rows()
    refused(tmp_path, [*lines, lines[0]], "rows.jsonl:13", "id 's0__ep0:qa:0' again")
    other = qa_row("s0__ep0", 0, {**ANSWER, "contact": "no"})
    refused(tmp_path, [*lines, other], "rows.jsonl:13", "another answer")
    truth = qa_row("s0__ep0", 0, true={"contact": "no"})
    refused(tmp_path, [*lines, truth], "rows.jsonl:13", "another truth")
    found = made(tmp_path, [*lines, lines[1], other, qa_row("s1__ep0", 0, true={"contact": "no"})], "--allow-partial")
    assert found["qa_contact"]["failures"] == {"schema_error": 1} and found["qa_contact"]["n_samples"] == 11
    [note] = found["qa_contact"]["detail"]["notes"]
    assert "1 duplicate" in note and "1 conflicting" in note and "1 row(s) whose truth contradicts" in note
    kept = [json.loads(line) for line in (tmp_path / "m" / "left_out.jsonl").read_text().splitlines()]
    assert [(row["id"], json.loads(row["raw_prediction"])["contact"]) for row in kept] == [
        ("s0__ep0:qa:0", "no"),
        ("s1__ep0:qa:0", "no"),
    ]


def published(tmp_path: Path, lines: list[Any], *words: Any) -> tuple[str, dict[str, dict[str, float]]]:
    """What the import says, and task -> published figures."""
    out = tmp_path / f"m{len(list(tmp_path.iterdir()))}"
    done = imported(write_lines(tmp_path / "rows.jsonl", lines), out, "--name", "m", *words)
    assert done.code == 0, done.err
    [bundle] = [bundle for bundle in find_bundles(out / "bundles") if bundle.branch == "m"]
    return done.out, bundle.details["published"]


def test_published_figures_of_what_the_rows_carry(tmp_path: Path) -> None:
    whole = published(tmp_path, rows())[1]
    bare = published(tmp_path, [{k: v for k, v in row.items() if k != "predicted_label"} for row in rows()])[1]
    assert "qa_action" not in bare and {k: v for k, v in whole.items() if k != "qa_action"} == bare
    lines = rows()
    lines[0]["predicted_label"] = None
    assert published(tmp_path, lines)[1]["qa_action"]["accuracy"] == 11 / 12
    lines[0]["true_json"] = {**ANSWER, "objects": "unknown"}
    assert published(tmp_path, lines)[1]["qa_objects"]["object_micro_f1"] == 1.0
    lines[1] |= {"raw_prediction": None, "pred_json": {"action": "pour"}}
    assert published(tmp_path, lines)[1]["qa_json"]["json_validity_rate"] == 11 / 12


def test_published_figures_count_neither_version_of_a_conflict_nor_rows_that_were_left_out(tmp_path: Path) -> None:
    lines, other = rows(), qa_row("s0__ep0", 0, {**ANSWER, "action": "stir", "contact": "no"})
    for both in ([*lines, other], [other, *lines]):
        said, found = published(tmp_path, both, "--allow-partial")
        assert "accuracy, 11 rows: 1.0" in said and "m: 12 rows" in said
        assert found["qa_action"]["accuracy"] == found["qa_contact"]["contact_accuracy"] == 1.0
    assert imported(write_lines(tmp_path / "one.jsonl", lines), tmp_path / "one").code == 0
    elsewhere = qa_row("s0__ep0", 77, "{")
    otherwise = qa_row("s0__ep0", 1, "{", true={"contact": "no"})
    late = [*lines[:1], otherwise, *lines[2:], elsewhere]
    said, found = published(tmp_path, late, "--targets", tmp_path / "one", "--allow-partial")
    assert "accuracy, 11 rows: 1.0" in said and "m: 11 rows" in said
    assert found["qa_action"]["accuracy"] == found["qa_json"]["json_validity_rate"] == 1.0


def test_rows_that_a_metrics_file_counts_and_the_option_list(tmp_path: Path) -> None:
    about = tmp_path / "metrics.json"
    about.write_text(json.dumps({"labels": ["pour", "stir", "wait", "walk"], "num_samples": 13}))
    refused(tmp_path, rows(), "metrics.json", "counts 13 rows", "12", words=(about,))
    found = made(tmp_path, rows(), about, "--allow-partial")["qa_action"]
    assert found["detail"]["published"]["macro_f1"] == 0.5  # two of four options are ever true
    assert found["detail"]["notes"] == ["partial: 1 row(s) missing"]
    about.write_text(json.dumps({"labels": ["pour", "stir"], "num_samples": 10}))
    refused(tmp_path, rows(), "counts 10 rows", "12", words=(about,))
    refused(tmp_path, rows(), "metrics.json", "a second", words=(about, about))
    for number in (-1, True, "12", 12.0):
        about.write_text(json.dumps({"labels": ["pour", "stir"], "num_samples": number}))
        refused(tmp_path, rows(), "metrics.json", "num_samples", repr(number), words=(about,))
    about.write_text(json.dumps({"labels": ["pour", "y"]}))
    refused(tmp_path, rows(), "no option 'stir'", "in all: 6 row(s)", words=(about,))
    about.write_text('{"labels": [1]}')
    refused(tmp_path, rows(), "metrics.json", "labels", words=(about,))
    about.write_text("{")
    refused(tmp_path, rows(), "metrics.json", "not JSON", words=(about,))


def test_an_accuracy_that_is_not_that_of_the_rows_is_told(tmp_path: Path) -> None:
    about = tmp_path / "metrics.json"
    body = {"labels": ["pour", "stir"], "num_samples": 12, "accuracy": 1.0}
    about.write_text(json.dumps(body))
    assert imported(write_lines(tmp_path / "rows.jsonl", rows()), tmp_path / "one", about).code == 0
    assert "states" not in published(tmp_path, rows(), about)[0]
    about.write_text(json.dumps(body | {"accuracy": 0.25}))
    said = "metrics.json states accuracy 0.25, these rows give 1.0: is it of other rows?"
    assert said in published(tmp_path, rows(), about)[0]
    found = made(tmp_path, rows(), about)
    assert found["qa_action"]["detail"]["notes"] == [said] and not found["qa_contact"]["detail"].get("notes")
    done = imported(tmp_path / "rows.jsonl", tmp_path / "late", about, "--targets", tmp_path / "one")
    assert done.code == 0 and said in done.out
    late = scored(tmp_path / "s", tmp_path / "one", tmp_path / "late")["late"]
    assert late["qa_action"]["detail"]["notes"] == [said] and not late["qa_contact"]["detail"].get("notes")
    about.write_text(json.dumps(body | {"accuracy": "high"}))
    refused(tmp_path, rows(), "accuracy", "'high'", words=(about,))


def test_no_run_poses_these_questions(tmp_path: Path) -> None:
    for i in range(3):
        write_xperience_episode(tmp_path / "data" / f"s{i}" / "ep0", 24, cameras=(), seed=i)
    done = call("run", tmp_path / "data", "-t", "qa_action", "--out", tmp_path / "run")
    assert done.code == 2 and "qa_action" in done.err and "espalier import" in done.err
    assert imported(write_lines(tmp_path / "rows.jsonl", rows()), tmp_path / "m").code == 0
    done = call("run", tmp_path / "data", "--out", tmp_path / "m")
    assert done.code == 2 and "imported rows" in done.err and done.err.count("\n") == 1
    assert not set(IMPORTED_TASKS) & set(task_ids())


def test_a_label_seen_and_not_seen_in_train_is_refused(tmp_path: Path) -> None:
    lines = rows()
    lines[0]["true_label_seen_in_train"] = 0
    refused(tmp_path, lines, "pour", "both")


def test_several_imports_stand_in_one_table_where_their_rows_are_the_same(tmp_path: Path) -> None:
    one, other = rows(), rows()[::-1]  # the order of the file is nothing
    other[0] = qa_row(
        "s2__ep0", 3, "garbage {", true={"action": "stir", "next_action": "stir", "contact": "no", "objects": ["pan"]}
    )
    for name, lines in (("one", one), ("other", other), ("short", one[1:])):
        assert imported(write_lines(tmp_path / f"{name}.jsonl", lines), tmp_path / name).code == 0
    found = scored(tmp_path / "scores", tmp_path / "one", tmp_path / "other")
    assert set(found) == {"one", "other", "copy"} and found["other"]["qa_contact"]["coverage"] == pytest.approx(11 / 12)
    done = call("score", tmp_path / "one", tmp_path / "short", "--out", tmp_path / "s")
    assert done.code == 2 and "short (11 rows)" in done.err and "one (12 rows)" in done.err and done.err.count("\n") == 1
    # The short one answers the rows of the first: what it lacks is missing, and that has to be said.
    words = (tmp_path / "short.jsonl", tmp_path / "late", "--targets", tmp_path / "one")
    done = imported(*words)
    assert done.code == 2 and "have no row" in done.err and "--allow-partial" in done.err
    assert imported(*words, "--allow-partial").code == 0
    late = scored(tmp_path / "s", tmp_path / "one", tmp_path / "late")["late"]
    assert all(row["failures"] == {"missing": 1} and row["n_samples"] == 12 for row in late.values())
    assert late["qa_json"]["detail"]["published"]["json_validity_rate"] == 1.0


def test_rows_of_another_truth_do_not_answer_a_run(tmp_path: Path) -> None:
    lines = rows()
    assert imported(write_lines(tmp_path / "one.jsonl", lines), tmp_path / "one").code == 0
    lines[0] = qa_row("s0__ep0", 0, true={"contact": "no"})
    done = imported(write_lines(tmp_path / "two.jsonl", lines), tmp_path / "two", "--targets", tmp_path / "one")
    assert done.code == 2 and "another truth" in done.err and "s0__ep0:qa:0" in done.err
    other = [qa_row("elsewhere__ep0", i) for i in range(2)]
    done = imported(write_lines(tmp_path / "two.jsonl", other), tmp_path / "two", "--targets", tmp_path / "one")
    assert done.code == 2 and "another data set" in done.err and done.err.count("\n") == 1


def test_a_csv_that_is_cut_off(tmp_path: Path) -> None:
    head = "id,episode_id,center_window,true_label,raw_prediction,predicted_label,true_label_seen_in_train\n"
    lines = [f"s0__ep0:qa:{i},s0__ep0,\"{{'start_frame': {i}, 'end_frame': {i + 9}}}\",pour,pour,pour,1\n" for i in range(3)]
    file = tmp_path / "rows.csv"
    file.write_text(head + "".join(lines))
    assert imported(file, tmp_path / "whole").code == 0
    assert scored(tmp_path / "s", tmp_path / "whole")["whole"]["qa_action"]["value"] == 1.0
    file.write_text((head + "".join(lines))[:-12])
    done = imported(file, tmp_path / "made")
    assert done.code == 2 and "rows.csv:4" in done.err and "columns" in done.err and done.err.count("\n") == 1
    file.write_text("id,id\n1,2\n")
    assert "rows.csv:1" in imported(file, tmp_path / "made").err


CSV_HEAD = "id,episode_id,true_label,raw_prediction,predicted_label\n"


def csv_lines(count: int) -> list[str]:
    return [f's0__ep0:qa:{i},s0__ep0,pour,"pour, ""now""\n{i}",pour\n' for i in range(count)]


@pytest.mark.parametrize(
    ("old", "new"),
    [('now""', 'now" x'), ("ep0,pour", 'ep0,"pour'), ('\n3"', "\n3")],
    ids=["within", "opening", "closing"],
)
def test_a_broken_quote_in_a_csv_takes_no_row_along(old: str, new: str, tmp_path: Path) -> None:
    """What follows it cannot be told row by row, so nothing is left out as if it were one row."""
    lines = csv_lines(8)
    file = tmp_path / "rows.csv"
    file.write_text(CSV_HEAD + "".join(lines))
    assert imported(file, tmp_path / "whole").code == 0
    lines[3] = lines[3].replace(old, new, 1)
    file.write_text(CSV_HEAD + "".join(lines))
    for words in ((), ("--allow-partial",)):
        done = imported(file, tmp_path / "made", *words)
        assert (done.code, done.out) == (2, "") and done.err.count("\n") == 1, done
        assert "rows.csv:" in done.err and "quotes" in done.err and "--allow-partial" not in done.err
        assert not (tmp_path / "made").exists()


def test_a_csv_row_that_is_no_utf8_is_damaged(tmp_path: Path) -> None:
    lines = [line.encode() for line in csv_lines(4)]
    lines[2] = lines[2].replace(b"pour", b"r\xfchren")
    file = tmp_path / "rows.csv"
    file.write_bytes(CSV_HEAD.encode() + b"".join(lines))
    done = imported(file, tmp_path / "made")
    assert done.code == 2 and "rows.csv:7" in done.err and "not UTF-8" in done.err and done.err.count("\n") == 1
    done = imported(file, tmp_path / "made", "--allow-partial")
    assert done.code == 0 and "3 rows" in done.out and "1 damaged" in done.out
    file.write_bytes(CSV_HEAD.replace("true", "tr\u00fce").encode("latin-1") + b"".join(lines))
    assert "rows.csv:1" in imported(file, tmp_path / "again").err


def test_a_file_name_with_control_characters_stays_on_its_line(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a\n\x1b[31mb.jsonl", [*rows(), "{"])
    done = imported(file, tmp_path / "made")
    assert done.code == 2 and done.err.count("\n") == 1 and "\x1b" not in done.err and "a  [31mb.jsonl:13" in done.err
    done = imported(file, tmp_path / "x\n\x1by", "--allow-partial", "--name", "x")
    assert done.code == 0 and "\x1b" not in done.out and "x  y; `espalier" in done.out


def test_markup_and_control_characters_stay_text(tmp_path: Path) -> None:
    lines = rows()
    label = "<img src=x onerror=alert(1)>\x1b[31m\x00 | a"
    lines[0] = qa_row("s0__ep0", 0, {**ANSWER, "action": label, "next_action": label, "objects": ["a|b", "<b>"]})
    found = made(tmp_path, lines)
    assert found["qa_action"]["failures"] == {} and found["qa_action"]["value"] < 1
    # A single class is named in the table's head; what it is called comes from the data as well.
    one = [qa_row("<b>s\x1b0__ep0", i, true={"action": label, "next_action": label}) for i in range(3)]
    assert imported(write_lines(tmp_path / "one.jsonl", one), tmp_path / "one").code == 0
    assert set(scored(tmp_path / "scores one", tmp_path / "one")) == {"one", "copy"}
    shown = call("score", tmp_path / "one", "--out", tmp_path / "scores one").out
    assert "\x1b" not in shown and "\x00" not in shown and "one class in test" in shown
    for path in [*(tmp_path / "scores").glob("leaderboard.*"), *(tmp_path / "scores one").glob("leaderboard.[!j]*")]:
        text = path.read_text()
        assert "<img" not in text and "\x1b" not in text and "\x00" not in text, path
