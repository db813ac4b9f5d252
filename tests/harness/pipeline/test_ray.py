"""`espalier run` with a real Ray: once on real robot recordings, once on recordings and branches that go wrong."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import Done, call, espalier
from factories import CAMERAS, write_xperience_episode
from pipeline_runs import alone, differences, files, half_written, leaderboard, manifest, prepared, row, run_here, write_sessions

SPLIT = ("split.train=0-3", "split.validation=4-5", "split.test=6-8")
BRANCHES = ("persistence", "prior", "ridge")
BOTTOM = [f"part-episode_{i:06d}-0000000.parquet" for i in (6, 7, 8)]


@dataclass(frozen=True)
class Run:
    """A finished run: how it ended, its folder, its data, where Ray kept its sessions."""

    done: Done
    out: Path
    data: Path
    home: Path
    ray: Path

    def again(self, *words: object, out: Path | None = None) -> Done:
        """The same data, split and task into the same folder, as a process of its own."""
        first = ("run", self.data, "-t", "action_chunk", *SPLIT, "--out", out or self.out)
        return espalier(self.home, *first, *words, RAY_TMPDIR=self.ray)

    def sessions(self) -> list[str]:
        """One folder per Ray that was ever started."""
        return [p.name for p in (self.ray / "ray").glob("session_2*")]


@pytest.fixture(scope="module")
def ray_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Short, because Ray makes sockets below it."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def robot(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Run:
    """Nine real episodes, floors and ridge."""
    folder = tmp_path_factory.mktemp("robot")
    run = Run(Done(-1, "", ""), folder / "run", shared_data / "g1_inspire_v21", folder / "home", ray_folder)
    done = run.again(*(word for name in BRANCHES for word in ("-b", name)))
    assert done.code == 0, done.err
    return Run(done, run.out, run.data, run.home, run.ray)


def test_a_run_leaves_what_the_design_says_and_nothing_else(robot: Run) -> None:
    expected = {"manifest.json", "split.json", "scores.parquet", "leaderboard.json", "leaderboard.md", "leaderboard.csv"}
    expected |= {f"targets/episode_{i:06d}.parquet" for i in range(9)}
    bundles = {f"bundles/{name}/fold=0/seed=0" for name in BRANCHES}
    expected |= {f"{bundle}/{name}" for bundle in bundles for name in ("manifest.json", *BOTTOM)}
    found = set(files(robot.out))
    assert {name for name in found if "/artifact/" not in name and not name.startswith("processes/")} == expected
    assert {f"{bundle}/artifact/artifact.json" for bundle in bundles} <= found
    said = manifest(robot.out)
    assert said["state"] == "done" and said["quarantined"] == [] and said["failed"] == []
    assert said["branches"] == list(BRANCHES) and said["tasks"] == ["action_chunk"] and said["seeds"] == [0]
    # A branch's three blocks are in one hand: one process fitted it, one predicted with it.
    assert all(said["processes"][name]["fit"] == said["processes"][name]["predict"] == 1 for name in BRANCHES)
    assert said["environment"]["packages"]["ray"] and said["timings"]["wall_s"] > 0
    assert said["config_passed"]["split"] == {"train": "0-3", "validation": "4-5", "test": "6-8"}
    # These nine come without their video: coverage, not a fault.
    assert all("video/cam_high" in lacking for lacking in said["lacking"].values()) and len(said["lacking"]) == 9


def test_it_speaks_plain_lines_where_nobody_watches(robot: Run) -> None:
    assert "action_chunk: The next commands" in robot.done.out and f"written to {robot.out}" in robot.done.out
    said = robot.done.err.splitlines()
    assert said and all(line.startswith(("store: ", "ingest: ", "fit: ", "predict: ")) for line in said), robot.done.err
    assert {"ingest: 9/9", "fit: 3/3", "predict: 9/9"} <= {" ".join(line.split()[:2]) for line in said}
    assert "\x1b" not in robot.done.out + robot.done.err


def test_the_persistence_row_is_what_a_user_of_the_robot_computes(robot: Run) -> None:
    found = row(leaderboard(robot.out), "persistence", "action_chunk")
    errors = []
    for episode in (6, 7, 8):
        table = pq.read_table(robot.data / "data" / "chunk-000" / f"episode_{episode:06d}.parquet", columns=["action"])
        action = np.stack(table["action"].to_numpy()).astype(np.float32)
        t0 = np.arange(19, len(action), 5)
        t0 = t0[t0 + 16 <= len(action)]
        errors.append(np.abs(action[t0[:, None] + np.arange(16)] - action[t0 - 1][:, None]).mean(axis=2))
    per_horizon = np.concatenate(errors).mean(axis=0)
    told = found["detail"]["per_horizon"]
    assert set(told) == {str(h) for h in range(1, 17)}
    np.testing.assert_allclose([told[str(h)] for h in range(1, 17)], per_horizon, rtol=1e-5)
    assert found["n_samples"] == len(np.concatenate(errors)) and found["n_clusters"] == 3
    assert found["ci_low"] < found["value"] < found["ci_high"] and found["skill"] == 0.0


def test_one_process_gives_the_same_leaderboard(robot: Run, tmp_path: Path) -> None:
    ready = prepared(robot.data, tmp_path / "run", *SPLIT, branches=BRANCHES, tasks=("action_chunk",))
    assert not differences(run_here(ready), leaderboard(robot.out))


def test_scoring_again_gives_the_same_leaderboard(robot: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(robot.home))
    before = files(robot.out)
    done = call("score", robot.out, "--out", tmp_path / "scored")
    assert (done.code, done.err) == (0, "") and not differences(leaderboard(tmp_path / "scored"), leaderboard(robot.out))
    assert set(files(tmp_path / "scored")) == {"leaderboard.json", "leaderboard.md", "leaderboard.csv", "scores.parquet"}
    bundle = robot.out / "bundles" / "prior"
    call("score", bundle, "--targets", robot.out, "--out", tmp_path / "one")
    single, all_of_it = leaderboard(tmp_path / "one"), leaderboard(robot.out)
    assert not differences(alone(single["rows"]), alone([row(all_of_it, "prior", "action_chunk")]))
    assert [r["rank_interval"] for r in (*single["rows"], row(all_of_it, "prior", "action_chunk"))] == [[1, 1], [1, 3]]
    [task], [among_all] = single["tasks"], all_of_it["tasks"]
    assert not differences({**task, "ranking": []}, {**among_all, "ranking": []})
    assert files(robot.out) == before


def test_a_damaged_part_or_a_bundle_named_twice_is_one_line(robot: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(robot.out, tmp_path / "copy"))
    part = copy / "bundles" / "prior" / "fold=0" / "seed=0" / BOTTOM[0]
    part.write_bytes(part.read_bytes()[:500])
    done = call("score", copy, "--out", tmp_path / "scored")
    assert done.code == 2 and done.err.count("\n") == 1 and str(part) in done.err
    done = call("score", robot.out, copy, "--out", tmp_path / "scored")
    assert done.code == 2 and done.err.count("\n") == 1 and "persistence" in done.err and str(copy) in done.err
    (copy / "split.json").write_text("{}")
    done = call("score", copy, "--out", tmp_path / "scored")
    assert done.code == 2 and done.err.count("\n") == 1 and "split.json" in done.err
    assert not (tmp_path / "scored").exists()


REFUSED = [
    (("windows.stride=10",), ("windows", '"stride": 5', '"stride": 10')),
    (("split.test=6-7",), ("split_hash",)),
    (("-t", "action_chunk@8"), ("tasks", "action_chunk@8")),
    (("features=[state]",), ("features", "state")),
    (("modalities=[video]",), ("modalities", "video")),
    (("block_samples=100",), ("block_samples", "4096", "100")),
    (("threads=2",), ("threads",)),
    (("branch.ridge.penalty=3",), ("ridge", "other options", "penalty")),
    (("limit.windows=4",), ("windows", '"max_per_episode": 4')),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_another_run_into_the_same_folder_is_refused_by_name(
    words: tuple[str, ...], said: tuple[str, ...], robot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(robot.home))
    before = files(robot.out)
    named = ("-t", "action_chunk") if "-t" not in words else ()
    done = call("run", robot.data, *SPLIT, *named, *words, "--out", robot.out)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done
    assert str(robot.out) in done.err and "give another --out" in done.err and not [w for w in said if w not in done.err], (
        done.err
    )
    assert files(robot.out) == before


def test_a_modality_that_no_episode_has_is_named(robot: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(robot.home))
    words = ("-t", "action_chunk", "-b", "prior", "modalities=[audio]")
    done = call("run", robot.data, *SPLIT, *words, "--out", tmp_path / "run")
    assert done.code == 2 and "modalities=['audio']: no episode has audio" in done.err, done


def test_another_version_into_the_same_folder_is_refused(robot: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(robot.home))
    copy = Path(shutil.copytree(robot.out, tmp_path / "copy"))
    said = manifest(copy)
    (copy / "manifest.json").write_text(json.dumps({**said, "code": "an older one"}))
    done = call("run", robot.data, "-t", "action_chunk", *SPLIT, "--out", copy)
    assert done.code == 2 and 'another code ("an older one"' in done.err and done.err.count("\n") == 1


def test_other_recordings_into_the_same_folder_are_refused(
    robot: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_data: Path
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(robot.home))
    before = files(robot.out)
    done = call("run", shared_data / "g1_inspire_v30", "split.train=0-1", "split.test=2", "--out", robot.out)
    assert done.code == 2 and "g1_inspire_v21" in done.err and "g1_inspire_v30" in done.err
    copy = tmp_path / "copy"
    shutil.copytree(robot.data, copy, ignore=shutil.ignore_patterns("videos"))
    done = call("run", copy, *SPLIT, "--out", robot.out)
    assert done.code == 2 and "data_hash" in done.err and done.err.count("\n") == 1
    assert files(robot.out) == before


def test_a_second_run_does_nothing_and_a_new_branch_is_added(robot: Run) -> None:
    rays, before, parts = robot.sessions(), leaderboard(robot.out), files(robot.out / "bundles", "part-*")
    targets, artifacts = files(robot.out / "targets"), files(robot.out / "bundles", "artifact.json")
    done = robot.again()
    assert done.code == 0 and done.err == "" and "ridge" in done.out
    assert robot.sessions() == rays and len(rays) == 1  # no Ray was started for it
    assert files(robot.out / "bundles", "part-*") == parts and not differences(leaderboard(robot.out), before)
    assert files(robot.out / "targets") == targets and files(robot.out / "bundles", "artifact.json") == artifacts
    done = robot.again("-b", "constant_velocity")
    assert done.code == 0 and "ingest" not in done.err and "fit: 1/1" in done.err and "predict: 3/3" in done.err
    after = files(robot.out / "bundles", "part-*")
    assert {name: after[name] for name in parts} == parts and len(after) == len(parts) + 3
    assert files(robot.out / "bundles", "artifact.json").keys() - artifacts.keys() == {
        "constant_velocity/fold=0/seed=0/artifact/artifact.json"
    }
    board = leaderboard(robot.out)
    assert not differences(alone([r for r in board["rows"] if r["branch"] != "constant_velocity"]), alone(before["rows"]))
    assert manifest(robot.out)["branches"] == [*BRANCHES, "constant_velocity"]


# --- recordings and branches that go wrong

FAULTS = {
    "s1__ep0": ("fisheye_cam0.mp4", "truncated video"),
    "s1__ep1": ("annotation.hdf5", "a group is missing"),
    "s2__ep0": ("annotation.hdf5", "a caption that is not JSON"),
    "s2__ep1": ("ep1", "no annotation"),
    "twin__ep0": ("ep0", "two of one id"),
}
TASKS = ("timeline_action", "imu_to_hand_pose")
WRONG = ("FailsToFit", "FailsToPredict", "Dies")


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Run:
    """Ten episodes of which four can be read, one of them without one of its cameras, and branches that fail."""
    folder = tmp_path_factory.mktemp("wrong")
    root = write_sessions(folder / "data", cameras=CAMERAS[:2], audio=True)
    for i in range(2):
        write_xperience_episode(root / "s3" / f"ep{i}", cameras=(), seed=20 + i)
    (root / "s0" / "ep1" / "fisheye_cam1.mp4").unlink()
    video = root / "s1" / "ep0" / "fisheye_cam0.mp4"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    write_xperience_episode(root / "s1" / "ep1", cameras=(), drop=["hand_mocap"])
    write_xperience_episode(root / "s2" / "ep0", cameras=(), caption='{"segments": [')
    (root / "s2" / "ep1" / "annotation.hdf5").unlink()
    for shard in ("a", "b"):
        write_xperience_episode(root / shard / "twin" / "ep0", cameras=())
    words = ["-b", "prior", "-b", "oracle", *(word for name in WRONG for word in ("-b", f"faulty.branches:{name}"))]
    words += ["-t", *TASKS[:1], "-t", *TASKS[1:], "-t", "action_chunk"]
    train = "s0__ep0,s0__ep1,s1__ep0,s1__ep1,twin__ep0"
    words += [f"split.train=[{train}]", "split.validation=[s2__ep0,s2__ep1]", "split.test=[s3__ep0,s3__ep1]"]
    done = espalier(folder / "home", "run", root, *words, "--out", folder / "run", RAY_TMPDIR=ray_folder)
    return Run(done, folder / "run", root, folder / "home", ray_folder)


def test_what_cannot_be_read_is_quarantined_and_the_others_finish(wrong: Run) -> None:
    assert wrong.done.code == 3, wrong.done.err
    said = manifest(wrong.out)
    assert said["state"] == "done" and [set(q) for q in said["quarantined"]] == [{"episode", "path", "reason"}] * 6
    assert {q["episode"] for q in said["quarantined"]} == set(FAULTS)
    for q in said["quarantined"]:
        assert q["path"].endswith(FAULTS[q["episode"]][0]) and q["reason"] and "\n" not in q["reason"], q
        assert f"quarantined {q['episode']}: {q['path']}: {q['reason']}" in wrong.done.err.splitlines()
    assert set(files(wrong.out / "targets")) == {f"{e}.parquet" for e in ("s0__ep0", "s0__ep1", "s3__ep0", "s3__ep1")}
    board = leaderboard(wrong.out)
    assert board["split"]["quarantined"] == 6 and "quarantined: 6" in wrong.done.out
    prior = row(board, "prior", "imu_to_hand_pose")
    assert prior["coverage"] == 1.0 and set(prior["detail"]["per_episode"]) == {"s3__ep0", "s3__ep1"}
    assert row(board, "oracle", "timeline_action")["value"] == 1.0
    assert half_written(wrong.out) == [] and "Traceback" not in wrong.done.err + wrong.done.out


def test_a_lacking_camera_is_coverage(wrong: Run) -> None:
    lacking = manifest(wrong.out)["lacking"]
    assert "video/fisheye_cam1" in lacking["s0__ep1"] and "video/fisheye_cam1" not in lacking["s0__ep0"]


def test_a_branch_that_fails_costs_itself_alone(wrong: Run) -> None:
    failed = manifest(wrong.out)["failed"]
    assert all(f"failed {line}" in wrong.done.err.splitlines() for line in failed)
    fit, raised, died = (next(line for line in failed if name in line) for name in WRONG)
    assert fit == "fit faulty.branches:FailsToFit fold 0 seed 0: ValueError: no such luck"
    assert raised == "predict faulty.branches:FailsToPredict: RuntimeError: no answer today (s3__ep0, s3__ep1)"
    assert "worker died" in died and "s3__ep0, s3__ep1" in died and len(failed) == 3
    board = leaderboard(wrong.out)
    assert not [r for r in board["rows"] if r["branch"] == "faulty.branches:FailsToFit"]
    for name in WRONG[1:]:
        lost = row(board, f"faulty.branches:{name}", "imu_to_hand_pose")
        assert lost["coverage"] == 0.0 and lost["failures"] == {"missing": lost["n_samples"]}
    assert "task action_chunk: no episode poses it" in wrong.done.err


def test_what_failed_is_scored_the_same_from_disk(wrong: Run, tmp_path: Path) -> None:
    assert call("score", wrong.out, "--out", tmp_path).code == 0
    assert not differences(leaderboard(tmp_path), leaderboard(wrong.out))
