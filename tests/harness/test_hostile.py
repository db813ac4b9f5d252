"""Ways to a better place in the table that lead nowhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_board import SPEC, TASK, TEST, TRUTH, WORDS, N, board_of, bundle, by_branch, make_held, samples

from harness.answers import Predictions, Status, Targets, all_ok
from harness.bundle import Bundle
from harness.errors import BadInput
from harness.evaluate import FLOOR, evaluate
from harness.held import Held
from harness.ledger import accesses, record
from harness.record import EpisodeRecord
from harness.report.model import tables
from harness.splits import Fold
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return make_held(tmp_path)


def folded(held: Held) -> Held:
    """Every test episode is a fold of its own."""
    folds = tuple(Fold(i, ("train",), (), (episode,)) for i, episode in enumerate(TEST))
    return replace(held, split=replace(held.split, folds=folds))


def by_fold(held: Held, folder: Path, wrong: int = 3, **changes) -> list[Bundle]:
    """One bundle per fold."""
    made = []
    for i, episode in enumerate(TEST):
        one = bundle(held, folder / str(i), wrong=wrong, fold=i, branch=folder.name, **changes)
        for other in TEST:
            if other != episode:
                (one.folder / f"part-{other}-0000000.parquet").unlink()
        made.append(one)
    return made


def answer(held: Held, folder: Path, labels: np.ndarray, status: np.ndarray, probabilities=None, **changes) -> Bundle:
    """A bundle with the same (N,) answers in every episode."""
    made = bundle(held, folder, **changes)
    for episode in TEST:
        rows = Predictions(status, labels, vocabulary=(*WORDS, "juggle"), probabilities=probabilities)
        rows = replace(rows, seen_until=samples(episode).t0)
        part = predictions_table(TASK.id, samples(episode), rows, 0, 0, 0)
        write_atomically([part], folder / f"part-{episode}-0000000.parquet")
    return made


def test_seeds_that_each_answer_one_class_gain_nothing(held: Held, tmp_path: Path) -> None:
    codes = [np.full(N, c, np.int32) for c in (0, 1)]
    seeds = [answer(held, tmp_path / str(s), codes[s], all_ok(N), seed=s, branch="m") for s in (0, 1)]
    [row] = board_of(held, *seeds)["rows"]
    alone = [board_of(held, one)["rows"][0] for one in seeds]
    assert row["value"] == pytest.approx(np.mean([r["value"] for r in alone])) and row["value"] < 0.4
    assert row["detail"]["accuracy"] == pytest.approx(np.mean([r["detail"]["accuracy"] for r in alone]))
    for field in ("complete_case", "seen_value"):
        assert row[field] == pytest.approx(np.mean([r[field] for r in alone]))
    assert row["bounds"]["best"] == pytest.approx(row["value"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"privileged": True, "fitted_on": None}, "another privileged"),
        ({"imported": True, "fitted_on": None}, "another imported"),
        ({"family": "floor"}, "another family"),
        ({"routes": {}}, "another routes"),
        ({"routes": {TASK.id: "probe"}}, "another routes"),
        ({"card": {"weights": "tiny-pretrained"}}, "other weights"),
        ({"card": {"fitted": True}}, "other fitted"),
    ],
)
def test_what_one_bundle_says_does_not_speak_for_the_others(held: Held, tmp_path: Path, changes: dict, said: str) -> None:
    held = folded(held)
    made = by_fold(held, tmp_path / "m")
    made[3] = replace(made[3], **changes)
    with pytest.raises(BadInput, match=said):
        evaluate(held, made)


def test_a_fold_left_out_costs_its_rows(held: Held, tmp_path: Path) -> None:
    held = folded(held)
    whole, short = by_fold(held, tmp_path / "whole"), by_fold(held, tmp_path / "short")[:6]
    rows = by_branch(board_of(held, *whole, *short))
    assert rows["whole"]["coverage"] == 1.0 and rows["whole"]["n_clusters"] == 8
    assert rows["short"]["failures"] == {"missing": 2 * N} and rows["short"]["n_clusters"] == 8
    assert rows["short"]["value"] < rows["whole"]["value"] and rows["short"]["unranked"] == "under 95 % answered"


def test_refitted_folds_widen_the_interval(held: Held, tmp_path: Path) -> None:
    folds = folded(held)
    refit = by_fold(folds, tmp_path / "refit")
    frozen = by_fold(folds, tmp_path / "frozen", fitted_on={}, card={"fitted": False})
    rows = by_branch(board_of(folds, *refit, *frozen))
    width = {name: row["ci_high"] - row["ci_low"] for name, row in rows.items()}
    # Each fold trains on one cluster and tests one: 1 / 8 + 1 instead of 1 / 8.
    assert width["refit"] / width["frozen"] == pytest.approx(3.0)


def test_only_the_harness_has_privileged_branches(held: Held, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="says that it is privileged, which only oracle, copy are"):
        evaluate(held, [bundle(held, tmp_path / "peek", privileged=True, fitted_on=None)])


@pytest.mark.parametrize("name", ["", "  ", FLOOR])
def test_nobody_takes_the_name_of_the_floor(held: Held, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="no name for a branch"):
        evaluate(held, [bundle(held, tmp_path / "m", branch=name)])


@pytest.mark.parametrize("fold", [-1, 7])
@pytest.mark.parametrize("changes", [{}, {"imported": True}, {"privileged": True, "branch": "oracle"}])
def test_a_fold_that_is_not_there_is_refused_for_everybody(held: Held, tmp_path: Path, fold: int, changes: dict) -> None:
    with pytest.raises(BadInput, match=f"there is no fold {fold}"):
        evaluate(held, [bundle(held, tmp_path / "m", fold=fold, **changes)])


def test_no_answer_is_a_failure_whatever_its_status_says(held: Held, tmp_path: Path) -> None:
    codes = np.array([0, 1] * 5, np.int32)
    silent = np.where(np.arange(N) < 5, codes, -1).astype(np.int32)
    refused = all_ok(N)
    refused[5:] = Status.REFUSED.value
    junk = np.where(np.arange(N) < 5, codes, 2).astype(np.int32)
    made = [
        answer(held, tmp_path / "silent", silent, all_ok(N)),
        answer(held, tmp_path / "refused", silent, refused),
        answer(held, tmp_path / "junk", junk, all_ok(N)),
    ]
    rows = by_branch(board_of(held, *made))
    assert rows["silent"]["coverage"] == rows["refused"]["coverage"] == 0.5
    assert rows["silent"]["failures"] == {"schema_error": 5 * len(TEST)}
    assert rows["silent"]["value"] == rows["refused"]["value"] == rows["junk"]["value"]


def test_probabilities_for_some_rows_cost_the_others_the_worst(held: Held, tmp_path: Path) -> None:
    p, codes = np.tile(np.array([0.5, 0.5], np.float32), (N, 1)), np.zeros(N, np.int32)
    classes = {TASK.id: list(WORDS)}
    everywhere = answer(held, tmp_path / "everywhere", codes, all_ok(N), p, classes=classes)
    some = answer(held, tmp_path / "some", codes, all_ok(N), p, classes=classes)
    for episode in TEST[2:]:
        rows = Predictions(all_ok(N), codes, vocabulary=WORDS, seen_until=samples(episode).t0)
        write_atomically(
            [predictions_table(TASK.id, samples(episode), rows, 0, 0, 0)], some.folder / f"part-{episode}-0000000.parquet"
        )
    rows = by_branch(board_of(held, everywhere, some, bundle(held, tmp_path / "none")))
    half, worst = np.log(2), -np.log(1e-4)
    assert rows["everywhere"]["probabilities"]["log_loss"] == pytest.approx(half)
    assert rows["some"]["probabilities"]["log_loss"] == pytest.approx((2 * half + 6 * worst) / 8)
    assert rows["some"]["probabilities"]["ece_share"] == pytest.approx(2 / 8)
    assert rows["none"]["probabilities"] is None


def test_who_is_not_ranked_decides_no_rank(held: Held, tmp_path: Path) -> None:
    six = replace(held, split=replace(held.split, folds=(Fold(0, ("train",), (), TEST[:6]),)))
    made = [bundle(six, tmp_path / "a", wrong=0), bundle(six, tmp_path / "b", wrong=4)]
    extra = [bundle(six, tmp_path / f"x{i}", wrong=i, imported=True, fitted_on=None) for i in range(4)]
    for one in (*made, *extra):
        for episode in TEST[6:]:
            (one.folder / f"part-{episode}-0000000.parquet").unlink()
    alone, among = board_of(six, *made), board_of(six, *made, *extra)
    assert alone["tasks"][0]["ranking"][0]["winner"] == among["tasks"][0]["ranking"][0]["winner"] == "a"
    ours = {name: row for name, row in by_branch(among).items() if name in "ab"}
    assert [ours[n]["p_vs_floor"] for n in "ab"] == [by_branch(alone)[n]["p_vs_floor"] for n in "ab"]
    [pairs] = [section for section in tables(among)[0].sections if section.title.startswith("Best against")]
    assert ("a", "b") in [cells[:2] for cells in pairs.rows] and "max-T over the family" in pairs.title


def test_a_vacuous_task_has_no_skill_no_verdict_and_no_rank(held: Held, tmp_path: Path) -> None:
    for episode in TEST:
        targets = Targets(np.ones(N, bool), labels=np.ones(N, np.int32), vocabulary=WORDS)
        rewrite(held, TASK, episode, targets)
    [row] = board_of(held, answer(held, tmp_path / "m", np.ones(N, np.int32), all_ok(N)))["rows"]
    assert row["value"] == 1.0 and row["unranked"] == "the task is vacuous"
    assert (row["skill"], row["verdict_vs_floor"], row["rank_interval"]) == (None, None, None)


def test_a_gallery_of_one_content_is_vacuous(tmp_path: Path) -> None:
    task = get_task("cross_modal_retrieval")
    held = replace(make_held(tmp_path), tasks=(task,))
    for episode in (*TEST, "train"):
        rewrite(held, task, episode, Targets(np.ones(N, bool), item=np.zeros(N, np.int32)))
    made = bundle(held, tmp_path / "m", routes={task.id: "native"})
    for episode in TEST:
        rows = Predictions(
            all_ok(N), query=np.ones((N, 2), np.float32), key=np.ones((N, 2), np.float32), seen_until=samples(episode).t0
        )
        write_atomically(
            [predictions_table(task.id, samples(episode), rows, 0, 0, 0)], made.folder / f"part-{episode}-0000000.parquet"
        )
    board = board_of(held, made)
    assert board["tasks"][0]["vacuous"] == "the floor is at the ceiling" and board["rows"][0]["rank_interval"] is None


def rewrite(held: Held, task, episode: str, targets: Targets) -> None:
    record_of = EpisodeRecord(episode, "key", SPEC.length * N, {}, {}, {}, {}, [task.id])
    write_atomically([targets_table(task.id, samples(episode), targets)], held.file(episode), record_of.to_metadata())


def test_another_training_side_is_the_same_held_out_set(held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    moved = replace(
        held.split, folds=(Fold(0, ("train",), ("other",), TEST),), clusters={**held.split.clusters, "other": "other"}
    )
    assert moved.hash != held.split.hash and moved.test_hash == held.split.test_hash
    record(held.split.test_hash, [bundle(held, tmp_path / "a")])
    assert "a 1" in accesses(moved.test_hash)
    fewer = replace(held.split, folds=(Fold(0, ("train",), (), TEST[:4]),))
    assert fewer.test_hash != held.split.test_hash


def test_a_margin_wider_than_every_branch_says_so(held: Held, tmp_path: Path) -> None:
    board = board_of(held, answer(held, tmp_path / "m", np.zeros(N, np.int32), all_ok(N)))
    assert "WIDER than any branch's distance from the floor" in tables(board)[0].subtitle
    assert "WIDER" not in tables(board_of(held, bundle(held, tmp_path / "good")))[0].subtitle


def test_the_truth_at_its_best_counts_a_failed_row_as_right(held: Held, tmp_path: Path) -> None:
    [row] = board_of(held, bundle(held, tmp_path / "m", wrong=2, lost=3))["rows"]
    filled = bundle(held, tmp_path / "filled", wrong=2)
    assert row["bounds"]["best"] == pytest.approx(board_of(held, filled)["rows"][0]["value"])
    assert row["complete_case"] != pytest.approx(row["bounds"]["best"])
    assert TRUTH["a"].shape == (N,)


def test_branches_that_answer_alike_are_tied_in_the_table(held: Held, tmp_path: Path) -> None:
    board = board_of(held, bundle(held, tmp_path / "one", wrong=2), bundle(held, tmp_path / "other", wrong=2))
    assert [(c["verdict"], c["difference"], c["margin"]) for c in board["comparisons"]] == [("tied", 0.0, 0.02)]


def test_a_failed_row_may_not_have_seen_the_future_either(held: Held, tmp_path: Path) -> None:
    made = bundle(held, tmp_path / "m", lost=1)
    labels, status = np.where(np.arange(N) < N - 1, TRUTH["a"], -1).astype(np.int32), all_ok(N)
    status[-1] = Status.TIMEOUT.value
    seen = samples("a").t0 + np.where(status == Status.TIMEOUT.value, 1.0, 0.0)
    rows = Predictions(status, labels, vocabulary=WORDS, seen_until=seen)
    write_atomically([predictions_table(TASK.id, samples("a"), rows, 0, 0, 0)], made.folder / "part-a-0000000.parquet")
    with pytest.raises(BadInput, match="show it nothing after t0"):
        evaluate(held, [made])
