"""Evaluation on tables small enough to check by hand: values, coverage, failures, what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.answers import Predictions, Status, Targets, all_ok
from harness.bundle import Bundle
from harness.episode import Episode, Modality, Track
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.evidence import evidence_grade
from harness.held import Held
from harness.leaderboard import build
from harness.metrics.boundary_f1 import boundary_counts
from harness.record import EpisodeRecord
from harness.report.model import tables
from harness.splits import Fold, Split
from harness.tables import predictions_table, targets_table, write_atomically
from harness.tasks import get_task
from harness.window import WindowSpec, make_samples

SPEC = WindowSpec(length=4, stride=4)
TASK = get_task("timeline_action")
EPISODES = {"a": [0, 0, 1, 1], "b": [0, 1, 1, -1], "c": [1, 1, 0, 0], "train": [0, 0, 0, 1]}
WORDS = ("pour", "stir")
FOLDS = (Fold(0, ("train",), (), ("a", "b", "c")),)


def samples(episode: str):
    return make_samples("window", episode, np.arange(16) / 20, SPEC)


@pytest.fixture
def held(tmp_path: Path) -> Held:
    for episode, codes in EPISODES.items():
        labels = np.array(codes, np.int32)
        targets = Targets(labels >= 0, labels=labels, vocabulary=WORDS)
        record = EpisodeRecord(episode, "key", 16, {}, {}, {}, {}, [TASK.id])
        write_atomically(
            [targets_table(TASK.id, samples(episode), targets)], tmp_path / f"{episode}.parquet", record.to_metadata()
        )
    clusters = {e: e for e in EPISODES}
    split = Split("explicit", "episode", clusters, dict.fromkeys(EPISODES), FOLDS)
    return Held(tmp_path, split, (TASK,), SPEC)


def answers_table(task_id: str, rows_of, rows: Predictions):
    """Answers that saw nothing after their t0."""
    return predictions_table(task_id, rows_of, replace(rows, seen_until=rows_of.t0), 0, 0, 0)


def bundle(held: Held, folder: Path, answers: dict[str, list[int]], **changes) -> Bundle:
    """A bundle with these codes; -1 is a parse error."""
    made = Bundle(folder, "model", "test", 0, 0, held.split.hash, {TASK.id: "native"}, {"weights": ["train"]})
    made = replace(made, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    made.save()
    for episode, codes in answers.items():
        labels = np.array(codes, np.int32)
        status = all_ok(len(codes))
        status[labels < 0] = Status.PARSE_ERROR.value
        rows = Predictions(status, labels=labels, vocabulary=WORDS)
        part = answers_table(TASK.id, samples(episode).take(np.arange(len(codes))), rows)
        write_atomically([part], folder / f"part-{episode}-0000000.parquet")
    return made


PERFECT = {"a": [0, 0, 1, 1], "b": [0, 1, 1, 0], "c": [1, 1, 0, 0]}


def row_of(held: Held, made: Bundle) -> dict:
    board = build(evaluate(held, [made]), "held_out")
    [row] = board["rows"]
    return row


def test_a_perfect_bundle_is_at_the_ceiling(held: Held, tmp_path: Path) -> None:
    row = row_of(held, bundle(held, tmp_path / "m", PERFECT))
    # All three clusters stand at the ceiling: without a spread, 3 / G of the range.
    assert (row["value"], row["ci_low"], row["ci_high"]) == (1.0, 0.0, 1.0)
    assert row["skill"] == 1.0 and row["coverage"] == 1.0 and row["failures"] == {}
    assert row["n_samples"] == 11 and row["n_clusters"] == 3  # one of twelve windows has no label
    # Three clusters: an interval, and no verdict can be reached.
    assert (row["verdict_vs_floor"], row["leaning"]) == ("inconclusive", "better")
    assert row["rank_interval"] == [1, 1] and row["unranked"] is None


def test_the_floor_is_the_majority_of_train(held: Held, tmp_path: Path) -> None:
    board = build(evaluate(held, [bundle(held, tmp_path / "m", PERFECT)]), "held_out")
    # Always "pour": 5 of 11 right; F1(pour) = 10 / 16, F1(stir) = 0.
    floor = board["tasks"][0]["floor"]
    assert (floor["branch"], floor["value"]) == ("majority", pytest.approx(10 / 16 / 2))
    # The prior of train is 3/4, 1/4: log-loss over 5 rows of "pour" and 6 of "stir".
    assert floor["probabilities"]["log_loss"] == pytest.approx(-(5 * np.log(0.75) + 6 * np.log(0.25)) / 11)
    assert floor["probabilities"]["brier"] == pytest.approx((5 * 2 * 0.25**2 + 6 * 2 * 0.75**2) / 11)
    assert floor["probabilities"]["ece"] == pytest.approx(abs(0.75 - 5 / 11))
    assert board["tasks"][0]["vacuous"] is None


def test_failed_and_missing_rows_count_as_wrong(held: Held, tmp_path: Path) -> None:
    row = row_of(held, bundle(held, tmp_path / "m", {"a": [0, -1, 1, 1], "b": [0, 1, 1, 0]}))
    assert row["failures"] == {"missing": 4, "parse_error": 1}
    assert row["coverage"] == pytest.approx(6 / 11)
    # pour, the train majority: tp 2, fn 3, and the two rows of stir that nobody answered; stir: tp 4, fn 2.
    assert row["value"] == pytest.approx((4 / 9 + 8 / 10) / 2)


def test_the_order_of_rows_and_parts_changes_nothing(held: Held, tmp_path: Path) -> None:
    one = row_of(held, bundle(held, tmp_path / "m", {"a": [1, 0, 1, 1], "b": [0, 1, 0, 0], "c": [1, 1, 0, 0]}))
    folder = tmp_path / "shuffled"
    made = bundle(held, folder, {"b": [0, 1, 0, 0]})
    for episode, codes in {"a": [1, 0, 1, 1], "c": [1, 1, 0, 0]}.items():
        rows = Predictions(all_ok(4), labels=np.array(codes, np.int32), vocabulary=WORDS)
        for start, order in ((0, [3, 1]), (2, [2, 0])):
            index = np.array(order)
            part = answers_table(TASK.id, samples(episode).take(index), rows.take(index))
            write_atomically([part], folder / f"part-{episode}-{start:07d}.parquet")
    other = row_of(held, made)
    assert {k: v for k, v in one.items() if k != "cost"} == {k: v for k, v in other.items() if k != "cost"}


def test_boundaries_are_matched_over_all_parts_of_an_episode(tmp_path: Path) -> None:
    # 100 frames a recording, centres at 9, 14, ... 89. One bundle in one part per recording, one in parts of five rows.
    task, spec, rng = get_task("transition_detection"), WindowSpec(), np.random.default_rng(0)
    held = Held(tmp_path, Split("explicit", "episode", {e: e for e in EPISODES}, dict.fromkeys(EPISODES), FOLDS), (task,), spec)
    whole, parts = (
        Bundle(tmp_path / n, n, "test", 0, 0, held.split.hash, {task.id: "native"}, {}, card={"fitted": False})
        for n in ("whole", "parts")
    )
    for made in (whole, parts):
        made.folder.mkdir()
        made.save()
    expected = np.zeros(4)
    for episode in EPISODES:
        rows, targets = _transitions(episode, spec)
        record = EpisodeRecord(episode, "key", 100, {}, {}, {}, {}, [task.id])
        write_atomically([targets_table(task.id, rows, targets)], held.file(episode), record.to_metadata())
        codes = rng.integers(0, 2, len(rows)).astype(np.int32)
        answers = Predictions(all_ok(len(rows)), labels=codes, vocabulary=("steady", "transition"))
        expected += boundary_counts(targets, answers) if episode != "train" else 0.0
        for made, size in ((whole, 100), (parts, 5)) if episode != "train" else ():
            for first in range(0, len(rows), size):
                index = np.arange(first, min(first + size, len(rows)))
                part = answers_table(task.id, rows.take(index), answers.take(index))
                write_atomically([part], made.folder / f"part-{episode}-{first:07d}.parquet")
    one, other = build(evaluate(held, [whole, parts]), "held_out")["rows"]
    assert one["detail"] == other["detail"]
    assert one["detail"]["true_boundaries"] == expected[2] == 6
    assert one["detail"]["boundary_f1"] == pytest.approx(2 * expected[0] / (expected[1] + expected[2]))


def _transitions(episode: str, spec: WindowSpec):
    codes = np.repeat([0, 1, 0, -1], [30, 40, 25, 5]).astype(np.int32)
    clock = np.arange(100) / 20
    action = Track("action", Modality.LANGUAGE, codes, clock, codes >= 0, categories=WORDS)
    recording = Episode(episode, "clock", {"clock": Track("clock", Modality.STATE, np.zeros((100, 1)), clock), "action": action})
    rows = make_samples("window", episode, clock, spec)
    return rows, get_task("transition_detection").targets(recording, rows, spec)


def test_a_word_nobody_knows_is_wrong_and_not_a_crash(held: Held, tmp_path: Path) -> None:
    made = bundle(held, tmp_path / "m", PERFECT)
    rows = Predictions(all_ok(4), labels=np.array([2, 0, 1, 1], np.int32), vocabulary=(*WORDS, "juggle"))
    write_atomically([answers_table(TASK.id, samples("a"), rows)], tmp_path / "m" / "part-a-0000000.parquet")
    row = row_of(held, made)
    assert row["value"] == pytest.approx((8 / 9 + 1) / 2) and row["coverage"] == 1.0


def test_a_fold_that_is_not_there_and_a_row_that_is_there_twice_are_refused(held: Held, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no fold 7; the split has 1"):
        evaluate(held, [bundle(held, tmp_path / "f", PERFECT, fold=7)])
    made = bundle(held, tmp_path / "m", PERFECT)
    shutil.copy(tmp_path / "m" / "part-a-0000000.parquet", tmp_path / "m" / "part-a-0000004.parquet")
    with pytest.raises(BadInput, match="two rows answer a#w0 of timeline_action"):
        evaluate(held, [made])


@pytest.mark.parametrize("size", [0, 100, -40])
def test_damaged_targets_are_named(held: Held, tmp_path: Path, size: int) -> None:
    made = bundle(held, tmp_path / "m", PERFECT)
    path = held.file("b")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInput, match=r"b\.parquet: damaged .* remove it and run again"):
        evaluate(held, [made])


def test_an_answer_to_another_split_is_refused(held: Held, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--targets"):
        evaluate(held, [bundle(held, tmp_path / "m", PERFECT, split="0123456789abcdef")])


def test_one_class_in_test_is_vacuous_and_said_so(held: Held, tmp_path: Path) -> None:
    for episode in "abc":
        targets = Targets(np.ones(4, bool), labels=np.zeros(4, np.int32), vocabulary=WORDS)
        record = EpisodeRecord(episode, "key", 16, {}, {}, {}, {}, [TASK.id])
        table = targets_table(TASK.id, samples(episode), targets)
        write_atomically([table], held.targets / f"{episode}.parquet", record.to_metadata())
    board = build(evaluate(held, [bundle(held, tmp_path / "m", {e: [0] * 4 for e in "abc"})]), "held_out")
    assert board["tasks"][0]["vacuous"] == "one class in test: pour"
    assert board["rows"][0]["value"] == 1.0 and board["rows"][0]["skill"] is None


def test_two_clusters_have_no_interval(held: Held, tmp_path: Path) -> None:
    pair = replace(held.split, clusters={**held.split.clusters, "c": "b"})
    held = replace(held, split=pair)
    row = row_of(held, bundle(held, tmp_path / "m", PERFECT))
    assert row["n_clusters"] == 2 and row["value"] == 1.0 and row["ci_low"] is None and row["mde"] is None


def test_seeds_are_averaged_and_never_counted_as_episodes(held: Held, tmp_path: Path) -> None:
    one = bundle(held, tmp_path / "m" / "0", PERFECT)
    two = bundle(held, tmp_path / "m" / "1", PERFECT, seed=1)
    [row] = build(evaluate(held, [one, two]), "held_out")["rows"]
    assert row["n_seeds"] == 2 and row["n_clusters"] == 3 and row["n_samples"] == 11


def test_evidence_is_as_weak_as_its_weakest_part(held: Held) -> None:
    shared = replace(held.split, sessions={"a": "s", "b": "t", "c": "u", "train": "s"})
    assert evidence_grade(simulated=True, limited=True, split=held.split) == "mock"
    assert evidence_grade(simulated=False, limited=True, split=shared) == "smoke"
    assert evidence_grade(simulated=False, limited=False, split=shared) == "dry_run"
    assert evidence_grade(simulated=False, limited=False, split=held.split) == "held_out"


def test_what_a_fit_has_to_say_of_a_task_stands_in_its_row(held: Held, tmp_path: Path) -> None:
    said = {"notes": {TASK.id: "conditioned on past hands", "next_action": "nothing"}}
    noted, other = bundle(held, tmp_path / "m", PERFECT, details=said), bundle(held, tmp_path / "n", PERFECT, branch="other")
    board = build(evaluate(held, [noted, other]), "held_out")
    assert {row["branch"]: row["detail"].get("notes") for row in board["rows"]} == {
        "model": ["conditioned on past hands"],
        "other": None,
    }
    notes = {row[0]: row[-1] for table in tables(board) for row in table.main.rows}
    assert notes == {"model": "conditioned on past hands", "other": ""}


def test_tiny_weights_cap_the_evidence_of_their_own_rows(held: Held, tmp_path: Path) -> None:
    tiny = bundle(held, tmp_path / "m", PERFECT, card={"weights": "tiny-pretrained"})
    other = bundle(held, tmp_path / "n", PERFECT, branch="other")
    for run, expected in (("held_out", "smoke"), ("dry_run", "smoke"), ("mock", "mock")):
        board = build(evaluate(held, [tiny, other]), run)
        assert {row["branch"]: row["evidence"] for row in board["rows"]} == {"model": expected, "other": run}
        notes = {row[0]: row[-1] for table in tables(board) for row in table.main.rows}
        assert notes == {"model": "evidence: smoke" if expected != run else "", "other": ""}


def test_rows_of_other_data_are_refused_and_not_dropped(held: Held, tmp_path: Path) -> None:
    made = bundle(held, tmp_path / "m", PERFECT)
    rows = Predictions(all_ok(4), labels=np.zeros(4, np.int32), vocabulary=WORDS, seen_until=samples("a").t0)
    other = replace(samples("a"), ids=np.array([f"elsewhere#w{i}" for i in range(4)]))
    path = tmp_path / "m" / "part-a-0000000.parquet"
    kept = path.read_bytes()
    write_atomically([predictions_table(TASK.id, other, rows, 0, 0, 0)], path)
    with pytest.raises(BadInput, match=r"4 rows of timeline_action answer samples that the targets do not have \(elsewhere#w0\)"):
        evaluate(held, [made])
    path.write_bytes(kept)
    shutil.copy(path, tmp_path / "m" / "part-stranger-0000000.parquet")
    with pytest.raises(BadInput, match=r"part-stranger-0000000\.parquet: answers an episode that fold 0"):
        evaluate(held, [made])
