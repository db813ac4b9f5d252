"""The three stages in one process: what they keep, what they lose, and that cutting the work up changes nothing."""

import csv
import errno
import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from factories import write_xperience_episode
from pipeline_runs import (
    FRAMES,
    files,
    fitted_and_predicted,
    half_written,
    ingested,
    jobs_of,
    prepared,
    row,
    run_here,
    scored,
    write_sessions,
)

from harness.answers import Status
from harness.bundle import find_bundles
from harness.episode import Episode
from harness.errors import BadInput, WorkFailed
from harness.pipeline.fit import FitJob, fit_branch, is_fitted
from harness.pipeline.ingest import Quarantined, ingest_episode, is_ingested
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, Block, blocks_of
from harness.pipeline.survey import check_posed, with_widths
from harness.pipeline.workbench import Workbench
from harness.readers.xperience10m import XperienceReader
from harness.request import Prepared
from harness.splits import ROLES
from harness.store import TrackStore

TASKS = ("timeline_action", "hand_trajectory_forecast", "imu_to_hand_pose")
BRANCHES = ("majority", "prior", "persistence", "oracle")
WINDOWS = (FRAMES - 20) // 5 + 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes in three sessions, without video."""
    return write_sessions(tmp_path_factory.mktemp("sessions"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track store that the runs of this module share."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def ready(data: Path, store: Path, tmp_path: Path) -> Prepared:
    """Sessions 0 and 1 train, one episode of session 2 validates, the other tests."""
    words = ("split.train=0-3", "split.validation=4", "split.test=5")
    return prepared(data, tmp_path / "run", *words, branches=BRANCHES, tasks=TASKS, store=store)


def only(root: Path, out: Path, *words: str, **options) -> Prepared:
    """A request with one cheap branch and one task."""
    return prepared(root, out, *words, branches=("prior",), tasks=("timeline_action",), **options)


# --- ingest


def test_a_second_ingest_reads_nothing_and_gives_the_same(
    ready: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, quarantined = ingested(ready)
    assert quarantined == [] and set(files(plan.out / "targets")) == {f"s{i // 2}__ep{i % 2}.parquet" for i in range(6)}
    first = {name: (plan.out / "targets" / name).read_bytes() for name in files(plan.out / "targets")}
    track_store = TrackStore(plan.store_uri)
    assert all(is_ingested(plan, ref, track_store) for ref in ready.refs)

    def refuse(self: XperienceReader, ref: object) -> Episode:
        raise AssertionError("read again")

    monkeypatch.setattr(XperienceReader, "read", refuse)
    (plan.out / "targets" / "s0__ep0.parquet").unlink()
    again = ingest_episode(plan, ready.refs[0])
    assert not isinstance(again, Quarantined) and again.decoded_frames == {}
    rows = [row for row in first if row != "s0__ep0.parquet"]
    assert all((plan.out / "targets" / name).read_bytes() == first[name] for name in rows)


def test_an_unforeseen_fault_costs_one_episode_and_bad_input_is_for_all(
    ready: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read = XperienceReader.read
    plan = replace(ready.plan, store_uri=str(tmp_path / "own"))

    def broken(self: XperienceReader, ref: object) -> Episode:
        if ref == ready.refs[0]:
            raise ZeroDivisionError("a reader's blind spot\nwith a second line")
        return read(self, ref)  # type: ignore[arg-type]

    monkeypatch.setattr(XperienceReader, "read", broken)
    lost, kept = (ingest_episode(plan, ref) for ref in ready.refs[:2])
    assert isinstance(lost, Quarantined) and not isinstance(kept, Quarantined)
    assert lost.episode == "s0__ep0" and lost.path.endswith("annotation.hdf5")
    assert "ZeroDivisionError: a reader's blind spot" in lost.reason and "\n" not in lost.reason
    assert list(files(plan.out / "targets")) == ["s0__ep1.parquet"]

    def wrong_card(self: XperienceReader, ref: object) -> Episode:
        raise BadInput("the card names a track that no episode has")

    monkeypatch.setattr(XperienceReader, "read", wrong_card)
    with pytest.raises(BadInput, match="the card names"):
        ingest_episode(plan, ready.refs[2])


def test_a_full_disk_is_nobodys_episode(ready: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TrackStore, "write", full)
    with pytest.raises(WorkFailed, match="No space left on device; make room"):
        ingest_episode(replace(ready.plan, store_uri=str(tmp_path / "own")), ready.refs[0])


def test_a_fault_while_targets_are_made_costs_one_episode(ready: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.tasks.labels import TimelineAction

    def broken(*_: object) -> None:
        raise IndexError("frame 61 of 60")

    monkeypatch.setattr(TimelineAction, "targets", broken)
    lost = ingest_episode(ready.plan, ready.refs[0])
    assert isinstance(lost, Quarantined) and "frame 61 of 60" in lost.reason
    assert files(ready.plan.out) == {}


def test_an_episode_shorter_than_a_window_poses_no_sample_and_stops_nobody(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data")
    shutil.rmtree(root / "s2" / "ep0")
    write_xperience_episode(root / "s2" / "ep0", 12, cameras=(), seed=4)
    ready = prepared(root, tmp_path / "run", "split.train=0-3", "split.test=4-5", branches=("prior", "oracle"), tasks=TASKS)
    board = run_here(ready)
    assert board["tasks"][0]["n_samples"] == row(board, "oracle", "timeline_action")["n_samples"] == WINDOWS - 1
    assert list(row(board, "prior", "imu_to_hand_pose")["detail"]["per_episode"]) == ["s2__ep1"]
    # Its blocks are done nevertheless: the next run finds nothing to do.
    plan = with_widths(ready.plan)
    bench = Workbench(plan)
    blocks = [b for name in ("prior", "oracle") for b in blocks_of(plan, bench, name, 0, 0)]
    assert {b.episode for b in blocks} == {"s2__ep0", "s2__ep1"} and all(b.part(plan).is_file() for b in blocks)


def test_what_is_asked_for_and_lacking_is_counted_and_neither_trained_nor_tested_on(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data", cameras=("fisheye_cam0",))
    for name in ("s0/ep0", "s2/ep1"):
        (root / name / "fisheye_cam0.mp4").unlink()
    words = ("split.train=0-3", "split.test=4-5", "modalities=[video]")
    ready = prepared(root, tmp_path / "run", *words, branches=("prior",), tasks=("timeline_action",))
    board = run_here(ready)
    assert board["split"]["lacking"] == 2 and board["split"]["quarantined"] == 0
    found = row(board, "prior", "timeline_action")
    assert list(found["detail"]["per_episode"]) == ["s2__ep0"] and found["coverage"] == 1.0
    [bundle] = find_bundles(tmp_path / "run" / "bundles")
    assert bundle.fitted_on == {"statistics": ["s0__ep1", "s1__ep0", "s1__ep1"]}


# --- fit


def test_a_fit_is_done_once_and_again_when_an_episode_comes_back(data: Path, tmp_path: Path) -> None:
    ready = only(data, tmp_path / "run", "split.train=0-3", "split.test=5")
    plan, _ = ingested(ready)
    lost = plan.targets_file("s0__ep1")
    aside = lost.rename(tmp_path / "aside")
    fitted_and_predicted(plan)
    [job] = jobs_of(plan)
    assert is_fitted(plan, job, Workbench(plan))
    parts = files(plan.out, "part-*.parquet")
    assert len(parts) == 1
    aside.rename(lost)
    assert not is_fitted(plan, job, Workbench(plan))
    fit_branch(plan, job)
    assert is_fitted(plan, job, Workbench(plan))
    assert files(plan.out, "part-*.parquet") == {}  # what the older fit predicted is gone with it


def test_a_killed_fit_leaves_nothing_under_a_final_name(ready: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    from branches.floors.adapter import Prior

    plan, _ = ingested(ready)
    fit = Prior.fit

    def killed(self: Prior, *arguments):
        fit(self, *arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Prior, "fit", killed)
    job = FitJob("prior", 0, 0)
    with pytest.raises(KeyboardInterrupt):
        fit_branch(plan, job)
    seen = [name for name in files(plan.out / "bundles") if ".partial" not in name]
    assert seen == [] and half_written(plan.out / "targets") == []
    assert not is_fitted(plan, job, Workbench(plan))
    monkeypatch.undo()
    fit_branch(plan, job)
    assert is_fitted(plan, job, Workbench(plan)) and not [n for n in files(plan.out / "bundles") if ".partial" in n]


# --- predict


def test_however_the_work_is_cut_the_leaderboard_is_the_same(data: Path, store: Path, tmp_path: Path) -> None:
    boards = []
    for size in (4096, 4):
        words = ("split.train=0-2", "split.validation=3", "split.test=4-5", f"block_samples={size}")
        ready = prepared(data, tmp_path / str(size), *words, branches=BRANCHES, tasks=TASKS, store=store)
        boards.append(run_here(ready))
    assert boards[0] == boards[1]
    whole, cut = (list(find_bundles(tmp_path / str(size) / "bundles")) for size in (4096, 4))
    assert len(whole[0].parts()) == 2 and len(cut[0].parts()) == 2 * math.ceil(2 * WINDOWS / 4)


def test_a_part_carries_its_cost_and_a_branch_that_answers_nothing_is_done(ready: Prepared) -> None:
    plan, _ = ingested(ready)
    plan = replace(plan, tasks=("imu_to_hand_pose",))
    actor = Actor(plan)
    fit_branch(plan, FitJob("majority", 0, 0), actor.bench)  # answers labels only
    [block] = blocks_of(plan, actor.bench, "majority", 0, 0)
    cost = actor.run(block)
    assert cost["rows"] == 0 and block.part(plan).is_file()
    fit_branch(plan, FitJob("prior", 0, 0), actor.bench)
    [block] = blocks_of(plan, actor.bench, "prior", 0, 0)
    seconds = actor.run(block)["seconds"]
    fitted_and_predicted(replace(plan, branches=("prior",), references=()))
    [bundle] = [b for b in find_bundles(plan.out / "bundles") if b.branch == "prior"]
    assert seconds > 0 and bundle.predict_cost()["predict_s"] > 0 and bundle.predict_cost()["peak_gib"] > 0


def test_a_task_that_train_does_not_pose_fails_and_does_not_vanish(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data")
    for i in range(4):
        write_xperience_episode(root / f"s{i // 2}" / f"ep{i % 2}", FRAMES, cameras=(), seed=i, caption=None)
    ready = prepared(root, tmp_path / "run", "split.train=0-3", "split.test=4-5", branches=BRANCHES, tasks=TASKS)
    board = run_here(ready)
    found = row(board, "majority", "timeline_action")
    assert found["coverage"] == 0.0 and found["failures"] == {Status.UNSUPPORTED.value: 2 * (WINDOWS - 1)}
    assert row(board, "oracle", "timeline_action")["value"] == 1.0
    assert row(board, "prior", "imu_to_hand_pose")["coverage"] == 1.0


@pytest.mark.parametrize("head", ["ridge", "mlp"])
def test_a_head_with_nothing_to_fit_fails_its_rows_and_no_other_branch(head: str, tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data", 2, 1)
    write_xperience_episode(root / "s0" / "ep0", FRAMES, cameras=(), caption=None)
    ready = prepared(root, tmp_path / "run", "split.train=0", "split.test=1", branches=("majority", head), tasks=TASKS[:1])
    board = run_here(ready)
    assert row(board, head, "timeline_action")["failures"] == {Status.UNSUPPORTED.value: WINDOWS - 1}


def test_a_task_that_no_test_episode_poses_is_vacuous(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data")
    for i in (4, 5):
        write_xperience_episode(root / "s2" / f"ep{i % 2}", FRAMES, cameras=(), seed=i, caption=None)
    ready = prepared(root, tmp_path / "run", "split.train=0-3", "split.test=4-5", branches=BRANCHES, tasks=TASKS)
    board = run_here(ready)
    [task] = [t for t in board["tasks"] if t["id"] == "timeline_action"]
    assert task["vacuous"] == "no test sample has a target" and task["n_samples"] == 0
    assert [r for r in board["rows"] if r["task"] == "timeline_action"] == []


# --- splits, through all stages


def test_leave_one_session_out_tests_every_session_once(data: Path, store: Path, tmp_path: Path) -> None:
    ready = prepared(data, tmp_path / "run", "split.kind=leave_one_session_out", branches=BRANCHES, tasks=TASKS, store=store)
    board = run_here(ready)
    assert board["split"]["folds"] == 3 and board["split"]["unit"] == "session" and board["split"]["clusters"] == 3
    found = row(board, "prior", "imu_to_hand_pose")
    assert found["n_folds"] == 3 and found["n_clusters"] == 3 and found["n_samples"] == 6 * WINDOWS
    assert set(found["detail"]["per_fold"]) == {"0", "1", "2"} and len(found["detail"]["per_episode"]) == 6
    assert row(board, "oracle", "imu_to_hand_pose")["value"] == 0.0
    for bundle in find_bundles(tmp_path / "run" / "bundles"):
        if not bundle.privileged:
            fold = ready.plan.split.folds[bundle.fold]
            assert bundle.fitted_on and not set(bundle.fitted_on["statistics"]) & set(fold.test), bundle.folder


def test_chronological_parts_keep_a_window_apart(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data", 2, 1, frames=200)
    words = ("split.kind=chronological", "split.test_share=0.3", "split.validation_share=0.2")
    ready = prepared(root, tmp_path / "run", *words, branches=BRANCHES, tasks=TASKS)
    board = run_here(ready)
    assert board["evidence"] == "dry_run" and board["split"]["unit"] == "interval"
    plan = with_widths(ready.plan)
    bench, fold = Workbench(plan), plan.split.folds[0]
    starts = {role: bench.samples(plan.task("timeline_action"), "s0__ep0", fold, role).starts[:, 0] for role in ROLES}
    # 100 of 200 frames train, 40 validate, 60 test; a part begins one window of 20 frames after its border.
    assert (starts["train"].min(), starts["train"].max() + 20) == (0, 100)
    assert (starts["validation"].min(), starts["validation"].max() + 20) == (120, 140)
    assert (starts["test"].min(), starts["test"].max() + 20) == (160, 200)
    found = row(board, "prior", "imu_to_hand_pose")
    assert found["n_samples"] == 2 * len(starts["test"]) and found["n_clusters"] == 2
    assert row(board, "oracle", "timeline_action")["value"] == 1.0


def test_a_limit_makes_it_smoke(data: Path, store: Path, tmp_path: Path) -> None:
    words = ("split.train=0-3", "split.test=4-5", "limit.episodes=1", "limit.windows=3")
    ready = only(data, tmp_path / "run", *words, store=store)
    assert ready.plan.split.episodes == ("s0__ep0", "s2__ep0")
    plan, _ = ingested(ready)
    fitted_and_predicted(plan)
    board = scored(ready, plan)
    assert board["evidence"] == "smoke" and {r["evidence"] for r in board["rows"]} == {"smoke"}
    assert board["tasks"][0]["n_samples"] <= 3


# --- what cannot be read


def damaged(tmp_path: Path, *episodes: int) -> Path:
    root = write_sessions(tmp_path / "data")
    for i in episodes:
        file = root / f"s{i // 2}" / f"ep{i % 2}" / "annotation.hdf5"
        file.write_bytes(file.read_bytes()[:4096])
    return root


def test_quarantine_in_train_or_in_test_leaves_the_rest(tmp_path: Path) -> None:
    root = damaged(tmp_path, 1, 4)
    ready = only(root, tmp_path / "run", "split.train=0-2", "split.validation=3", "split.test=4-5")
    board = run_here(ready)
    assert board["split"]["quarantined"] == 2 and board["split"]["clusters"] == 1
    assert list(row(board, "prior", "timeline_action")["detail"]["per_episode"]) == ["s2__ep1"]


def test_without_validation_the_run_goes_on_and_without_train_or_test_it_cannot(tmp_path: Path) -> None:
    root = damaged(tmp_path, 4, 5)
    for validation, test, ends in (("4-5", "2-3", False), ("2-3", "4-5", True)):
        words = ("split.train=0-1", f"split.validation={validation}", f"split.test={test}")
        ready = only(root, tmp_path / f"run{ends}", *words)
        plan, quarantined = ingested(ready)
        assert [q.episode for q in quarantined] == ["s2__ep0", "s2__ep1"]
        if not ends:
            check_posed(plan, quarantined)
            fitted_and_predicted(plan)
            assert row(scored(ready, plan), "prior", "timeline_action")["coverage"] == 1.0
            continue
        with pytest.raises(BadInput, match=r"split\.test: none of its 2 .*annotation\.hdf5") as error:
            check_posed(plan, quarantined)
        assert "\n" not in str(error.value)


def test_a_session_that_is_wholly_lost_costs_its_fold_alone(tmp_path: Path) -> None:
    root = damaged(tmp_path, 0, 1)
    ready = only(root, tmp_path / "run", "split.kind=leave_one_session_out")
    plan, quarantined = ingested(ready)
    check_posed(plan, quarantined)
    fitted_and_predicted(plan)
    board = scored(ready, plan, quarantined)
    found = row(board, "prior", "timeline_action")
    # Of three folds one tests the lost session, and one would train on it alone: its rows fail.
    assert found["n_clusters"] == 2 and found["coverage"] == 0.5


def test_a_frozen_split_goes_on_without_an_episode_that_cannot_be_listed(tmp_path: Path) -> None:
    root = write_sessions(tmp_path / "data")
    (root / "s0" / "ep1" / "annotation.hdf5").unlink()
    card = tmp_path / "card.yaml"
    card.write_text("name: bench\nformat: xperience10m\nroot: data\nsplit: {train: 0-3, test: [4, 5]}\n")
    ready = only(card, tmp_path / "run")
    assert [q.episode for q in ready.quarantined] == ["s0__ep1"]
    assert ready.plan.split.episodes == ("s0__ep0", "s1__ep0", "s1__ep1", "s2__ep0", "s2__ep1")
    with pytest.raises(BadInput, match=r"split\.seed: the card freezes its split"):
        only(card, tmp_path / "run", "split.seed=3")
    # A split that names others is not concerned, and one absent number is not excused by another.
    assert only(card, tmp_path / "run", "split.train=0,2-3", "split.test=4-5").quarantined == []
    with pytest.raises(BadInput, match="no episode number 6"):
        only(card, tmp_path / "run", "split.train=0-3", "split.test=4-7")
    with pytest.raises(BadInput, match="s9__ep0"):
        only(card, tmp_path / "run", "split.train=0-3", "split.test=[s9__ep0]")
    named = only(card, tmp_path / "run", "split.train=[s0__ep0,s0__ep1]", "split.test=4-5")
    assert [q.episode for q in named.quarantined] == ["s0__ep1"]
    assert [q.episode for q in only(card, tmp_path / "run", "split.kind=held_out_session").quarantined] == ["s0__ep1"]


# --- a plain table


def test_windows_longer_than_every_episode_are_refused(data: Path, tmp_path: Path) -> None:
    ready = only(data, tmp_path / "run", "split.train=0-3", "split.test=5", "windows.length=500")
    plan, _ = ingested(ready)
    with pytest.raises(BadInput, match=f"windows.length=500: the longest episode has {FRAMES} samples"):
        check_posed(plan, [])


def test_what_was_fetched_again_joins_the_run(tmp_path: Path) -> None:
    root = damaged(tmp_path, 1)
    words = ("split.train=0-2", "split.test=4-5")
    ready = only(root, tmp_path / "run", *words)
    assert run_here(ready)["split"]["quarantined"] == 1
    write_xperience_episode(root / "s0" / "ep1", FRAMES, cameras=(), seed=1)
    again = only(root, tmp_path / "run", *words)
    assert run_here(again)["split"]["quarantined"] == 0
    write_xperience_episode(root / "s0" / "ep0", FRAMES, cameras=(), seed=9)
    with pytest.raises(BadInput, match="another data_hash"):
        only(root, tmp_path / "run", *words)


def test_a_table_needs_no_word_about_windows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    groups = ["lab/1", "lab/2", "../x", "Höhe 4", "5", "a*b"]
    rows = [(g, x, y, 3 * x - y + 0.01 * rng.normal()) for g in groups for x, y in rng.normal(size=(12, 2))]
    file = tmp_path / "scores.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("source", "sharpness", "noise", "quality"), *rows])
    words = ["table.group=source", "table.target=quality", "table.features=[sharpness,noise]"]
    words += ["split.kind=leave_one_session_out"]
    ready = prepared(file, tmp_path / "run", *words, branches=("prior", "ridge"))
    assert (ready.plan.spec.length, ready.plan.spec.stride) == (1, 1)
    # Every other group trains: no group is set aside unless asked for.
    assert all(len(fold.train) == len(groups) - 1 and not fold.validation for fold in ready.plan.split.folds)
    board = run_here(ready)
    assert [task["id"] for task in board["tasks"]] == ["quality_score"]
    assert set(files(tmp_path / "run" / "targets")) == {
        "lab%2F1.parquet",
        "lab%2F2.parquet",
        "..%2Fx.parquet",
        "H%C3%B6he 4.parquet",
        "5.parquet",
        "a%2Ab.parquet",
    }
    prior, ridge = (row(board, name, "quality_score") for name in ("prior", "ridge"))
    assert prior["n_samples"] == ridge["n_samples"] == 72 and prior["n_clusters"] == 6 and prior["n_folds"] == 6
    assert set(ridge["detail"]["per_episode"]) == set(groups)
    assert ridge["coverage"] == 1.0 and ridge["value"] < 0.2 < prior["value"]
    # The prior by hand: the mean of the four groups that train in each fold.
    values = {g: np.array([r[3] for r in rows if r[0] == g]) for g in groups}
    for fold in ready.plan.split.folds:
        [test] = fold.test
        mean = np.mean(np.concatenate([values[g] for g in fold.train]))
        rmse = math.sqrt(np.mean((values[test] - mean) ** 2))
        assert prior["detail"]["per_episode"][test] == pytest.approx(rmse, rel=1e-5)


# --- the plan


def test_a_plan_travels_between_processes(ready: Prepared) -> None:
    plan: Plan = pickle.loads(pickle.dumps(ready.plan))
    assert plan == ready.plan and plan.split.hash == ready.plan.split.hash
    assert pickle.loads(pickle.dumps(Block("prior", 0, 0, "s0__ep0", 0, 9))) == Block("prior", 0, 0, "s0__ep0", 0, 9)


def test_preparing_writes_nothing(ready: Prepared) -> None:
    assert not ready.plan.out.exists() and ready.previous == {}
    assert json.loads(json.dumps(ready.request.passed))["split"]["test"] == "5"
