"""`espalier compare`, on rows that were made elsewhere and are small enough to count."""

import json
from pathlib import Path

import pytest
from commands import call
from qa_rows import imported, qa_row, write_lines

EPISODES = [f"s{i}__ep1" for i in range(7)]
PER_EPISODE = 8


def run(folder: Path, name: str, wrong: int, broken: int = 0) -> Path:
    """An import in which the first `wrong` contacts of every episode are wrong and the last `broken` rows are no JSON."""
    rows = []
    for e, episode in enumerate(EPISODES):
        for i in range(PER_EPISODE):
            true = {"contact": "yes" if (i + e) % 2 else "no"}
            said = {**qa_row(episode, i, true=true)["true_json"]}
            if i < wrong:
                said["contact"] = "no" if said["contact"] == "yes" else "yes"
            rows.append(qa_row(episode, i, "{" if i >= PER_EPISODE - broken else said, true=true))
    done = imported(write_lines(folder / f"{name}.jsonl", rows), folder / name, "--name", name)
    assert done.code == 0, done.err
    return folder / name


def compared(*words: object) -> dict:
    done = call("compare", *words, "--json")
    assert done.code == 0, done.err
    return {task["id"]: task for task in json.loads(done.out)["tasks"]}


def test_two_runs_are_compared_task_by_task(tmp_path: Path) -> None:
    good, bad = run(tmp_path, "good", 1), run(tmp_path, "bad", 4)
    tasks = compared(good, bad, "--difference", "0.3")
    [pair] = tasks["qa_contact"]["comparisons"]
    assert (pair["a"], pair["b"], pair["verdict"], pair["n_clusters"]) == ("good/good", "bad/bad", "better", 7)
    # Every episode has both answers four times: F1 of a class is 2 tp / (true + said).
    assert pair["value_a"] == pytest.approx(7 / 8, abs=0.01) and pair["value_b"] == pytest.approx(1 / 2, abs=0.01)
    assert pair["p"] == 2 / 2**7 and pair["p_adjusted"] == pair["p"]
    assert pair["clusters_for_asked_difference"] == 6
    assert tasks["qa_json"]["comparisons"][0]["verdict"] == "tied"
    back = compared(bad, good)["qa_contact"]["comparisons"][0]
    assert (back["verdict"], back["difference"]) == ("worse", pytest.approx(-pair["difference"]))


def test_one_branch_in_two_runs_is_compared_with_itself(tmp_path: Path) -> None:
    one, other = run(tmp_path / "x", "model", 1), run(tmp_path / "y", "model", 1, broken=2)
    tasks = compared(one, other)
    [pair] = tasks["qa_json"]["comparisons"]
    assert (pair["a"], pair["b"]) == ("A/model", "B/model")
    assert (pair["value_a"], pair["value_b"], pair["verdict"]) == (1.0, 0.75, "better")
    done = call("compare", one, other, "--difference", "0.1")
    assert done.code == 0 and "A/model" in done.out and "more for 0.1" in done.out and "best attainable p" in done.out


def test_a_margin_makes_a_tie(tmp_path: Path) -> None:
    a, b = run(tmp_path, "a", 0), run(tmp_path, "b", 0, broken=1)
    assert compared(a, b)["qa_json"]["comparisons"][0]["verdict"] == "better"
    wide = compared(a, b, "--margin", "macro_f1=0.9")
    assert wide["qa_contact"]["margin"] == 0.9 and wide["qa_json"]["margin"] == 0.02
    scored = call("score", a, b, "--out", tmp_path / "s", "--margin", "validity=0.5")
    assert scored.code == 0 and "within 0.5 count as tied" in scored.out


def test_a_margin_that_makes_everything_tied_is_called_so_by_score_and_compare(tmp_path: Path) -> None:
    a, b = run(tmp_path, "a", 1), run(tmp_path, "b", 4)
    told: dict[str, set[str]] = {}
    for margin in ("0.9", "0.1"):
        words = ("--margin", f"macro_f1={margin}")
        for done in (call("compare", a, b, *words), call("score", a, b, "--out", tmp_path / "s", *words)):
            said = [line for line in done.out.splitlines() if f"differences within {margin} count as tied" in line]
            [line] = [line for line in said if "VACUOUS" not in line]
            told.setdefault(margin, set()).add(line.partition("differences")[2])
    assert all(len(lines) == 1 for lines in told.values())
    assert ["WIDER than any branch's distance from the floor" in told[margin].pop() for margin in ("0.9", "0.1")] == [True, False]


def test_a_task_that_asks_nothing_has_no_verdict(tmp_path: Path) -> None:
    good, bad = run(tmp_path, "good", 0), run(tmp_path, "bad", 0, broken=4)
    tasks = compared(good, bad)
    assert tasks["qa_subtask"]["vacuous"] == "one class in test: make tea" and tasks["qa_subtask"]["comparisons"] == []
    assert tasks["qa_contact"]["vacuous"] is None and tasks["qa_contact"]["comparisons"][0]["verdict"] == "better"
    told = call("compare", good, bad).out.split("qa_subtask")[1].split("qa_")[0]
    assert "VACUOUS: one class in test: make tea; no verdict" in told and "good/good" not in told


def test_looks_at_the_held_out_set_are_counted(tmp_path: Path) -> None:
    a, b = run(tmp_path, "a", 0), run(tmp_path, "b", 3)
    compared(a, b)
    compared(a, b)
    assert "scored 2 time(s) on this machine: a 1, b 1" in call("score", a, b, "--out", tmp_path / "s").out
    markdown = (tmp_path / "s" / "leaderboard.md").read_text()
    assert "scored 2 time(s) on this machine" in markdown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--difference", "0"), "--difference 0.0: give more than 0"),
        (("--margin", "macro_f2=0.1"), "macro_f2: no such metric"),
        (("--margin", "macro_f1"), "write METRIC=VALUE"),
        (("--margin", "macro_f1=nan"), "macro_f1=nan: give more than 0"),
    ],
)
def test_what_cannot_be_asked_is_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    a, b = run(tmp_path, "a", 0), run(tmp_path, "b", 0)
    done = call("compare", a, b, *words)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1


def test_folders_that_are_no_runs_or_of_other_rows_are_refused(tmp_path: Path) -> None:
    a = run(tmp_path, "a", 0)
    (tmp_path / "empty").mkdir()
    assert "not a run folder" in call("compare", tmp_path / "empty", tmp_path / "empty").err
    assert "no bundle below it" in call("compare", a, tmp_path / "empty").err
    rows = [qa_row(episode, i) for episode in EPISODES[:6] for i in range(3)]
    imported(write_lines(tmp_path / "other.jsonl", rows), tmp_path / "other", "--name", "other")
    done = call("compare", a, tmp_path / "other")
    assert done.code == 2 and "split" in done.err and done.err.count("\n") == 1
