"""What stands beside a value: who may be ranked with whom, what failures could have made of it, sensors, seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_board import TASK, TEST, TRUTH, N, board_of, bundle, by_branch, make_held

from harness.evaluate import evaluate
from harness.held import Held
from harness.leaderboard import build
from harness.report.markdown import render_markdown
from harness.report.model import tables
from harness.splits import Fold


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return make_held(tmp_path)


def test_the_best_of_eight_episodes_wins_and_the_rest_have_rank_intervals(held: Held, tmp_path: Path) -> None:
    board = board_of(held, *(bundle(held, tmp_path / f"wrong{n}", wrong=n) for n in (0, 3, 6)))
    rows = by_branch(board)
    assert [rows[f"wrong{n}"]["rank_interval"] for n in (0, 3, 6)] == [[1, 1], [2, 2], [3, 3]]
    assert rows["wrong0"]["verdict_vs_floor"] == "better" and rows["wrong0"]["leaning"] is None
    assert board["tasks"][0]["ranking"] == [
        {"route": "native", "track": "full", "ranked": 3, "leaders": ["wrong0"], "winner": "wrong0"}
    ]
    assert [(c["a"], c["b"], c["verdict"]) for c in board["comparisons"]] == [
        ("wrong0", "wrong3", "better"),
        ("wrong0", "wrong6", "better"),
        ("wrong3", "wrong6", "better"),
    ]
    assert tables(board)[0].conclusions == [
        "G = 8: the best attainable p is 0.007812",
        "ranked: wrong0 is better than each of the other 2",
    ]
    assert [cells[3] for cells in tables(board)[0].main.rows] == ["1 of 3", "2 of 3", "3 of 3"]


def test_five_clusters_have_no_winner(held: Held, tmp_path: Path) -> None:
    few = replace(held, split=replace(held.split, folds=(Fold(0, ("train",), (), TEST[:5]),)))
    made = [bundle(few, tmp_path / f"wrong{n}", wrong=n) for n in (0, 6)]
    for folder in (tmp_path / "wrong0", tmp_path / "wrong6"):
        for episode in TEST[5:]:
            (folder / f"part-{episode}-0000000.parquet").unlink()
    board = board_of(few, *made)
    assert [row["rank_interval"] for row in board["rows"]] == [[1, 2], [1, 2]]
    assert board["tasks"][0]["ranking"][0]["winner"] is None
    assert by_branch(board)["wrong0"]["leaning"] == "better"
    assert "no winner; not told apart at the top: wrong0, wrong6 (2 of 2)" in tables(board)[0].conclusions[1]
    assert "underpowered" in tables(board)[0].conclusions[0]


def test_only_one_route_and_one_input_track_share_a_ranking(held: Held, tmp_path: Path) -> None:
    held = replace(held, common=("video",))
    seen, more = {TASK.id: ["video"]}, {TASK.id: ["hand", "video"]}
    made = [
        bundle(held, tmp_path / "video", inputs=seen),
        bundle(held, tmp_path / "everything", inputs=more),
        bundle(held, tmp_path / "unknown"),
        bundle(held, tmp_path / "probe", inputs=seen, routes={TASK.id: "probe"}),
        bundle(held, tmp_path / "floor", family="floor", inputs={TASK.id: []}),
        bundle(held, tmp_path / "says it is a floor", family="floor", inputs=more),
    ]
    board = board_of(held, *made)
    tracks = {name: (row["route"], row["track"]) for name, row in by_branch(board).items()}
    assert tracks == {
        "video": ("native", "common"),
        "floor": ("native", "common"),
        "says it is a floor": ("native", "full"),
        "everything": ("native", "full"),
        "unknown": ("native", "full"),
        "probe": ("probe", "common"),
    }
    pairs = {frozenset((c["a"], c["b"])) for c in board["comparisons"]}
    full = ("everything", "unknown", "says it is a floor")
    assert pairs == {frozenset(("floor", "video")), *(frozenset((a, b)) for a in full for b in full if a != b)}
    assert [r["rank_interval"] for r in board["rows"] if r["branch"] == "probe"] == [[1, 1]]


def test_failures_have_bounds_and_below_95_per_cent_is_not_ranked(held: Held, tmp_path: Path) -> None:
    board = board_of(held, bundle(held, tmp_path / "whole", wrong=1), bundle(held, tmp_path / "short", lost=2))
    whole, short = by_branch(board)["whole"], by_branch(board)["short"]
    assert whole["complete_case"] == whole["value"] and whole["bounds"] == {"worst": whole["value"], "best": whole["value"]}
    assert short["complete_case"] == 1.0 and short["bounds"]["best"] == 1.0
    assert 0 < short["bounds"]["worst"] < short["value"]  # the failed rows answered as badly as can be
    assert short["value"] < 1.0 and short["coverage"] == 0.8
    assert short["unranked"] == "under 95 % answered" and short["rank_interval"] is None
    assert whole["rank_interval"] == [1, 1] and board["tasks"][0]["ranking"][0]["ranked"] == 1
    assert whole["coverage_ci"] == pytest.approx([1 - 3 / 8, 1.0])
    assert short["coverage_ci"] == pytest.approx([0.8, 0.8])  # as many in every episode
    assert "answered rows alone 1; bounds" in tables(board)[0].main.rows[1][-1]


def test_rows_without_a_sensor_are_shown_apart(held: Held, tmp_path: Path) -> None:
    [row] = board_of(held, bundle(held, tmp_path / "m", wrong=3))["rows"]
    # The first three rows of "a" lack audio and are wrong; all of "b" lacks it, for its recording has none.
    assert {name: s["episodes"] for name, s in row["strata"].items()} == {"audio": 2, "complete": 7}
    truth = np.concatenate([TRUTH["a"][:3], TRUTH["b"]])
    guess = np.concatenate([1 - TRUTH["a"][:3], 1 - TRUTH["b"][:3], TRUTH["b"][3:]])
    f1 = [2 * (truth == guess)[truth == c].sum() / ((truth == c).sum() + (guess == c).sum()) for c in np.unique(truth)]
    assert row["strata"]["audio"]["value"] == pytest.approx(np.mean(f1))


def test_what_was_made_elsewhere_is_scored_and_never_ranked(held: Held, tmp_path: Path) -> None:
    ours, theirs = bundle(held, tmp_path / "ours", wrong=2), bundle(held, tmp_path / "theirs", imported=True, fitted_on=None)
    rows = by_branch(board_of(held, ours, theirs))
    assert rows["theirs"]["value"] == 1.0 and rows["theirs"]["rank_interval"] is None
    assert rows["theirs"]["unranked"] == "imported" and rows["theirs"]["evidence"] == "smoke"
    assert "provenance" in rows["theirs"]["gates"] and rows["ours"]["gates"] == []
    assert rows["ours"]["rank_interval"] == [1, 1] and rows["ours"]["evidence"] == "held_out"


def test_seeds_are_averaged_and_their_spread_is_said(held: Held, tmp_path: Path) -> None:
    made = [bundle(held, tmp_path / str(seed), wrong=seed, seed=seed, branch="m") for seed in (0, 1, 2)]
    [row] = board_of(held, *made)["rows"]
    assert row["n_seeds"] == 3 and row["n_clusters"] == 8 and row["n_samples"] == 8 * N
    alone = [board_of(held, one)["rows"][0]["value"] for one in made]
    assert list(row["detail"]["per_seed"].values()) == pytest.approx(alone)
    assert row["detail"]["seed_sd"] == pytest.approx(np.std(alone, ddof=1))
    assert row["detail"]["se_over_seeds_and_clusters"] > 0


def test_who_answers_what_is_one_table_and_nothing_is_zero(held: Held, tmp_path: Path) -> None:
    other = bundle(held, tmp_path / "silent", routes={}, card={"pretraining": {"Ego4D": "unknown"}, "weights": "some/id"})
    board = board_of(held, bundle(held, tmp_path / "m"), other)
    assert [(b["branch"], b["answers"]) for b in board["branches"]] == [
        ("m", {TASK.id: "native"}),
        ("silent", {TASK.id: None}),
    ]
    text = render_markdown(board)
    assert "| timeline\\_action | native | N/A |" in text
    assert "| silent | some/id | Ego4D: unknown |" in text


def test_text_from_data_cannot_become_markup(held: Held, tmp_path: Path) -> None:
    notes = {"notes": {TASK.id: "<script>alert(1)</script>|\x1b[2J\u202egnp.exe\n# x"}}
    text = render_markdown(board_of(held, bundle(held, tmp_path / "m", details=notes)))
    assert "<script>" not in text and "\x1b" not in text and "\u202e" not in text and "\n# x" not in text


def test_a_margin_of_the_run_comes_first(held: Held, tmp_path: Path) -> None:
    made = [bundle(held, tmp_path / "one", wrong=1), bundle(held, tmp_path / "two", wrong=2)]
    default, wide = (build(evaluate(held, made), "held_out", 0, margins) for margins in (None, {"macro_f1": 0.9}))
    assert (default["tasks"][0]["margin"], wide["tasks"][0]["margin"]) == (0.02, 0.9)
