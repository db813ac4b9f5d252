"""`espalier select` with a real Ray of 1, 2 and 4 CPUs: no deadlock, one sheet, few processes, one decode."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import FAULTY, Done, call
from factories import CAMERAS
from pipeline_runs import differences, leaderboard, manifest, write_sessions

from tune.spaces import SPACES, Among, Space

pytestmark = pytest.mark.slow

TRAINED = "faulty.branches:Trained"
RATES = Space({"rate": Among((0.7, 0.5, 0.3, 0.1))}, steps="steps")
ARMS = ("majority", "ridge", "mlp", TRAINED)
WORDS = (
    "-t",
    "timeline_action",
    "-t",
    "contact_prediction",
    "budget=trials:4",
    "features=[default,video_*]",
)


@contextmanager
def ray_of(cpus: int) -> Iterator[None]:
    """A Ray of so many logical CPUs, whose workers know the branches that go wrong."""
    import ray

    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    try:
        yield
        assert ray.available_resources()["CPU"] == cpus, "something holds a CPU after the command"
    finally:
        ray.shutdown()


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The faulty branches can be imported and have a space; the store is new."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(FAULTY), os.environ.get("PYTHONPATH")))))
    monkeypatch.syspath_prepend(str(FAULTY))
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setitem(SPACES, TRAINED, RATES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of three sessions; one of them lacks a camera."""
    root = write_sessions(tmp_path_factory.mktemp("data"), 3, 2, frames=100, cameras=CAMERAS[:2], audio=False)
    (root / "s1" / "ep0" / f"{CAMERAS[1]}.mp4").unlink()
    return root


@contextmanager
def ray_of_two_machines() -> Iterator[None]:
    """Two nodes of one CPU each, on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert [node["Resources"]["CPU"] for node in ray.nodes()] == [1, 1]
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def selected(data: Path, out: Path, *words: Any, arms: tuple[str, ...] = ARMS, cpus: int | None = 2) -> Done:
    """The selection on a Ray of so many CPUs; None = on two machines."""
    named = [word for name in arms for word in ("-b", name)]
    short = ["branch.mlp.epochs=3"] if "mlp" in arms else []
    with ray_of_two_machines() if cpus is None else ray_of(cpus):
        return call("select", data, "--episodes", 6, "--out", out, *named, *short, *WORDS, *words)


def with_options(folder: Path, branch: str, **options: Any) -> tuple[str, Path]:
    """Options of a branch whose id has dots in it."""
    path = folder / "options.yaml"
    path.write_text(json.dumps({"branch": {branch: options}}))
    return "--config", path


def sheet(out: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((out / "sheet.json").read_text())
    return body


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "trials" / "journal.jsonl").read_text().splitlines()]


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """The sheet without what a clock or a process table says."""
    trials = {name: {k: v for k, v in found.items() if k != "seconds"} for name, found in body["trials"].items()}
    tasks = [{**task, "rows": [{**row, "cost": None} for row in task["rows"]]} for task in body["tasks"]]
    return {**body, "trials": trials, "tasks": tasks, "processes": None, "processes_leave_one_out": None, "decoded_frames": None}


@pytest.fixture(scope="module")
def sheets() -> dict[int, dict[str, Any]]:
    """By CPUs; what the first one gave, the others must give."""
    return {}


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_any_number_of_cpus_gives_the_same_sheet(
    cpus: int, data: Path, tmp_path: Path, sheets: dict[int, dict[str, Any]]
) -> None:
    out = tmp_path / "run"
    done = selected(data, out, cpus=cpus)
    assert done.code == 0, done.err
    body = sheet(out)
    sheets[cpus] = comparable(body)
    assert not differences(sheets[cpus], next(iter(sheets.values())))

    assert body["split"]["test"] == ["s2__ep0", "s2__ep1"] and body["split"]["clusters"] == 1 and not body["split"]["shared"]
    assert list(body["defective"]) == ["s1__ep0"] and "s1__ep0" in body["split"]["train"]
    assert body["evidence"] == "dry_run"
    rows = [row for task in body["tasks"] for row in task["rows"]]
    assert {row["branch"] for row in rows} == set(ARMS) and {row["verdict"] for row in rows} == {"not estimable"}
    assert body["not_run"] == {} and body["failures"] == []

    chosen = body["trials"][TRAINED]
    assert chosen["options"]["rate"] in (0.5, 0.3, 0.7) and chosen["configurations"] == 4 and chosen["trials"] == 6
    steps = [trial["options"].get("steps") for trial in journal(out) if trial["branch"] == TRAINED]
    assert steps == [16, 16, 16, 16, 32, 32, None]
    best = min(trial["objective"] for trial in journal(out) if trial["branch"] == TRAINED and not trial["refit"])
    assert chosen["objective"] == best
    assert (
        manifest(out)["chosen"][TRAINED] == chosen["options"]
        and manifest(out)["chosen"]["mlp"] == body["trials"]["mlp"]["options"]
    )

    # One actor for all trials and the refit, one process of the pool.
    assert {name: found["processes"] for name, found in manifest(out)["processes"].items()} == dict.fromkeys(ARMS, 2)
    videos = {f"video/{camera}": 100 for camera in CAMERAS[:2]}
    frames = manifest(out)["decoded_frames"]
    assert len(frames) == 6 and frames.pop("s1__ep0") == {f"video/{CAMERAS[0]}": 100}
    assert all(found == videos for found in frames.values()), "every frame once, for all arms"
    assert body["decoded_again"] == 0
    assert {row["folds"] for row in body["leave_one_episode_out"]} == {6}
    assert {row["branch"] for row in body["leave_one_episode_out"]} == {"majority", "ridge", "mlp"}
    assert not (out / "trials" / "tune").exists() and not list((out / "trials" / "work").iterdir())
    for text in ("not estimable", "no winner", "Leave one episode out", TRAINED):
        assert text in done.out and text.replace("_", "\\_") in (out / "sheet.md").read_text()


def test_two_machines_give_the_sheet_of_one(data: Path, tmp_path: Path, sheets: dict[int, dict[str, Any]]) -> None:
    if not sheets:
        assert selected(data, tmp_path / "one").code == 0
        sheets[2] = comparable(sheet(tmp_path / "one"))
    done = selected(data, tmp_path / "two", cpus=None)
    assert done.code == 0, done.err
    assert not differences(comparable(sheet(tmp_path / "two")), next(iter(sheets.values())))


@pytest.mark.parametrize("how", ["throws", "dies"])
def test_a_trial_that_fails_costs_itself_alone(how: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = with_options(tmp_path, TRAINED, fails=how)
    done = selected(data, out, *options, "seed=1", arms=("majority", TRAINED))
    failed = [trial for trial in journal(out) if trial["failed"]]
    assert done.code == 3 and failed and all(trial["options"]["rate"] == 0.1 for trial in failed), done.err
    [line] = sheet(out)["failures"]
    assert ("ValueError: no such luck" if how == "throws" else "its worker died") in line and line in done.err
    assert sheet(out)["trials"][TRAINED]["failed"] == 1 and sheet(out)["trials"][TRAINED]["options"]["rate"] != 0.1
    assert {row["branch"] for task in sheet(out)["tasks"] for row in task["rows"]} == {"majority", TRAINED}


def test_a_branch_without_room_is_listed(data: Path, tmp_path: Path) -> None:
    name = "faulty.branches:NeedsGPU"
    done = selected(data, tmp_path / "run", *with_options(tmp_path, name, anything=1), arms=("majority", name))
    assert done.code == 3, done.err
    assert sheet(tmp_path / "run")["not_run"][name].startswith("not_run: needs 1 CPU(s) and 64 GPU(s) on one machine")
    assert f"{name} not_run: needs" in done.out


def test_the_leaderboard_is_that_of_an_ordinary_run_with_the_chosen_options(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out, again = Path("run"), tmp_path / "again"  # a folder may be named from here
    arms = ("majority", "mlp")
    assert selected(data, out, arms=arms).code == 0
    split = sheet(out)["split"]
    chosen = [f"branch.mlp.{key}={value}" for key, value in sheet(out)["trials"]["mlp"]["options"].items()]
    roles = [f"split.{role}=[{','.join(split[role])}]" for role in ("train", "validation", "test")]
    with ray_of(2):
        words = [word for word in WORDS if not word.startswith(("branch.", "budget"))]
        done = call("run", data, "--out", again, *(w for a in arms for w in ("-b", a)), *words, *chosen, *roles)
        scored = call("score", out, "--out", tmp_path / "scored")
    assert done.code == scored.code == 0, done.err + scored.err
    one, other = leaderboard(out), leaderboard(again)
    assert one["evidence"] == "dry_run" and other["evidence"] == "held_out"
    assert not differences(leaderboard(tmp_path / "scored"), one)
    for board in (one, other):
        board.pop("evidence")
        for row in board["rows"]:
            row.pop("evidence")
    assert not differences(one, other)
