"""Rows that answer a run of several folds: which fold they are of, and that they are one branch in all of them."""

from pathlib import Path
from typing import Any

from qa_rows import imported, qa_row, scored, write_lines
from small_run import TEST, TRAIN, TWO_FOLDS, make_run, right_rows

from harness.splits import Fold, Split

LEFT_OUT = tuple(Fold(i, (TRAIN, *(e for e in TEST if e != episode)), (), (episode,)) for i, episode in enumerate(TEST))


def taken(run: Path, folder: Path, rows: list[Any], *words: Any) -> dict[str, dict[str, Any]]:
    """Task -> row of the leaderboard of an import, which is the same bound at either end."""
    write_lines(folder / "rows.jsonl", rows)
    found = []
    for name, targets in (("now", ("--targets", run)), ("later", ())):
        done = imported(folder / "rows.jsonl", folder / name / "mine", *targets, *words, kind="jsonl")
        assert done.code == 0, done.err
        found.append(scored(folder / f"scores {name}", folder / name / "mine", "--targets", run)["mine"])
    assert found[0] == found[1]
    return found[0]


def test_an_import_has_its_tasks_in_folds_that_do_not_pose_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LEFT_OUT, lacking=("c", "object_relevance"))
    fold = {episode: i for i, episode in enumerate(TEST)}
    rows = [row | {"fold": fold[row["episode"]]} for row in right_rows()]
    rows = [row for row in rows if (row["episode"], row["task"]) != ("c", "object_relevance")]
    found = taken(run, tmp_path, rows)
    assert {task: (row["coverage"], row["n_folds"]) for task, row in found.items()} == dict.fromkeys(found, (1.0, 3))
    assert (found["object_relevance"]["n_samples"], found["timeline_action"]["n_samples"]) == (10, 14)
    rest = [row for row in rows if (row["episode"], row["task"]) != ("b", "object_relevance")]
    done = imported(write_lines(tmp_path / "rest.jsonl", rest), tmp_path / "rest", "--targets", run, kind="jsonl")
    assert done.code == 2 and "5 of 5 samples of object_relevance have no row (fold 1, seed 0)" in done.err
    row = taken(run, tmp_path / "partial", rest, "--allow-partial")["object_relevance"]
    assert (row["failures"], row["coverage"]) == ({"missing": 5}, 0.5)


def test_a_seed_answers_what_another_answers(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = [row | {"seed": seed} for seed in (0, 1) for row in right_rows() if seed == 0 or row["task"] != "object_relevance"]
    done = imported(write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "made", "--targets", run, kind="jsonl")
    assert done.code == 2 and "15 of 15 samples of object_relevance have no row (fold 0, seed 1)" in done.err
    row = taken(run, tmp_path / "partial", rows, "--allow-partial")["object_relevance"]
    assert (row["failures"], row["n_seeds"]) == ({"missing": 15}, 2)


def test_a_row_without_a_fold_is_of_the_one_that_tests_its_episode(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TWO_FOLDS)
    told = [row | {"fold": int(row["episode"] == "c")} for row in right_rows()]
    assert taken(run, tmp_path / "open", right_rows()) == taken(run, tmp_path / "told", told)
    both = write_lines(tmp_path / "both.jsonl", [*right_rows(), told[-1]])
    done = imported(both, tmp_path / "both", "--targets", run, kind="jsonl")
    assert done.code == 2 and "with a fold and without" in done.err and done.err.count("\n") == 1


def test_a_fold_that_is_missing_is_what_the_error_names(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", (Fold(0, (TRAIN,), (), TEST), Fold(1, (TRAIN,), (), ("a", "b"))))
    done = imported(write_lines(tmp_path / "rows.jsonl", right_rows()), tmp_path / "made", "--targets", run, kind="jsonl")
    assert done.code == 2 and done.err.count("\n") == 1, done
    assert "folds 0, 1 test it; say which in `fold`" in done.err and "another data set" not in done.err


def test_published_rows_find_their_fold(tmp_path: Path) -> None:
    episodes = [f"s{i}__ep1" for i in range(3)]
    rows = write_lines(tmp_path / "rows.jsonl", [qa_row(episode, i) for episode in episodes for i in range(4)])
    assert imported(rows, tmp_path / "run").code == 0
    split = Split.load(tmp_path / "run" / "split.json")
    folds = tuple(Fold(i, tuple(e for e in episodes if e != episode), (), (episode,)) for i, episode in enumerate(episodes))
    Split(split.kind, split.unit, split.clusters, split.sessions, folds, split.windows).save(tmp_path / "run" / "split.json")
    done = imported(rows, tmp_path / "again", "--targets", tmp_path / "run")
    assert done.code == 0, done.err
    found = scored(tmp_path / "scores", tmp_path / "again", "--targets", tmp_path / "run")["again"]
    assert (found["qa_contact"]["n_folds"], found["qa_contact"]["coverage"]) == (3, 1.0)
