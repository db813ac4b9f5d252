"""Runs that are killed, interrupted or lose a worker: they go on, and the leaderboard is that of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import TIMEOUT_S, command, environment, espalier
from factories import CAMERAS
from pipeline_runs import differences, files, half_written, is_hidden, leaderboard, manifest, write_sessions

from harness.record import file_stem

pytestmark = pytest.mark.slow

TASKS = ("timeline_action", "hand_trajectory_forecast", "cross_modal_retrieval", "misalignment_detection", "object_relevance")
BRANCHES = ("faulty.branches:Slow", "chance", "persistence", "ridge", "mlp", "oracle", "copy")
FOLDER = file_stem("faulty.branches:Slow")


def words(data: Path, out: Path, *branches: str) -> list[str]:
    """A run with a frozen split, blocks of a few samples and a branch that takes its time."""
    named = [word for name in branches or BRANCHES for word in ("-b", name)]
    named += [word for name in TASKS for word in ("-t", name)]
    options = ["split.train=0-3", "split.validation=4", "split.test=5-7", "block_samples=16", "branch.mlp.epochs=2"]
    return ["run", str(data), *named, *(o for o in options if "mlp" not in o or "mlp" in named), "--out", str(out)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight episodes of four sessions with two cameras; one of them lacks one."""
    root = write_sessions(tmp_path_factory.mktemp("data"), 4, 2, frames=100, cameras=CAMERAS[:2], audio=True)
    (root / "s0" / "ep0" / f"{CAMERAS[1]}.mp4").unlink()
    return root


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from beginning to end. Lacking a camera is no fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = espalier(folder / "home", *words(data, folder / "run"))
    assert done.code == 0, done.err
    assert f"video/{CAMERAS[1]}" in manifest(folder / "run")["lacking"]["s0__ep0"]
    return folder / "run"


def lasting(folder: Path) -> set[str]:
    """Files of a run, but for the marks of its processes: a run that was killed had others."""
    return {name for name in files(folder) if not is_hidden(name) and not name.startswith("processes/")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


class Started:
    """A command in a session of its own, which is killed with all its processes where the test fails."""

    def __init__(self, home: Path, arguments: list[str], **more: Path) -> None:
        self.process = subprocess.Popen(
            command(*arguments),
            env=environment(home, **more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def until(self, seen: Callable[[], bool]) -> None:
        """Wait until the run has come so far."""
        deadline = time.monotonic() + TIMEOUT_S
        while not seen():
            assert self.process.poll() is None, f"it ended first: {self.process.stderr.read() if self.process.stderr else ''}"
            assert time.monotonic() < deadline, "it never came so far"
            time.sleep(0.01)

    def pids(self) -> list[int]:
        """Every process of the session: Ray gives its workers groups of their own."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, session = _state_and_session((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
            if session == self.process.pid and state != "Z":
                found.append(int(folder.name))
        return found

    def kill_all(self) -> None:
        """kill -9 of everything at once, until nothing is left."""
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
            self.process.poll()

    def finished(self) -> str:
        """Wait for its end; what it said on stderr."""
        return self.process.communicate(timeout=TIMEOUT_S)[1]


def _state_and_session(stat: str) -> tuple[str, int]:
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[3])


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(arguments: list[str], **more: Path) -> Started:
        started.append(Started(home, arguments, **more))
        return started[-1]

    yield begin
    for one in started:
        one.kill_all()


def some(out: Path, pattern: str, least: int = 1) -> Callable[[], bool]:
    """True once that many files of this pattern are there."""
    return lambda: len(list(out.rglob(pattern))) >= least


MOMENTS = {
    "before anything is ingested": ("manifest.json", 1),
    "in the middle of ingest": ("targets/*.parquet", 3),
    "in the middle of a fit": (f"{FOLDER}/fold=0/seed=0/.artifact.*.partial", 1),
    "between the fits": ("artifact/artifact.json", 3),
    "at the first block": ("part-*.parquet", 1),
    "in the middle of the blocks": (f"{FOLDER}/fold=0/seed=0/part-*.parquet", 4),
    "at the last blocks": ("part-*.parquet", 60),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_run_again_the_leaderboard_is_the_same(
    moment: str, data: Path, undisturbed: Path, home: Path, start: Callable[..., Started], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = start(words(data, out))
    run.until(some(out, *MOMENTS[moment]))
    run.kill_all()
    assert not run.pids() and not (out / "leaderboard.json").exists()
    parts, artifacts = files(out, "part-*.parquet"), files(out, "artifact.json")
    whole_under_their_names(out)
    again = espalier(home, *words(data, out))
    assert again.code == 0, again.err
    assert not differences(leaderboard(out), leaderboard(undisturbed))
    kept = files(out, "part-*.parquet")
    assert {name: kept[name] for name in parts} == parts  # what was finished is not done again
    assert {name: files(out, "artifact.json")[name] for name in artifacts} == artifacts
    assert manifest(out)["state"] == "done"
    # Nothing is left to do, and nothing else stands in the folder than in that of the undisturbed run.
    assert not [
        line for line in espalier(home, *words(data, out)).err.splitlines() if line.startswith(("ingest", "fit", "predict"))
    ]
    assert lasting(out) == lasting(undisturbed)


def whole_under_their_names(out: Path) -> None:
    """No file is half written but hidden ones."""
    assert half_written(out) == []
    for name in files(out):
        path = out / name
        if is_hidden(name):
            assert ".partial" in name
        elif path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())


def test_a_lost_prediction_worker_is_survived(
    data: Path, undisturbed: Path, start: Callable[..., Started], tmp_path: Path
) -> None:
    pids, out = tmp_path / "pids", tmp_path / "run"
    pids.mkdir()
    run = start(words(data, out), FAULTY_PIDS=pids)
    run.until(some(pids, "*"))
    os.kill(int(next(pids.iterdir()).name), signal.SIGKILL)
    said = run.finished()
    assert run.process.returncode == 0, said
    assert not differences(leaderboard(out), leaderboard(undisturbed)) and manifest(out)["failed"] == []
    assert len(list(pids.iterdir())) > 1  # another process took over


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(
    number: signal.Signals, data: Path, undisturbed: Path, home: Path, start: Callable[..., Started], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = start(words(data, out))
    run.until(some(out, f"{FOLDER}/fold=0/seed=0/part-*.parquet"))
    run.process.send_signal(number)
    said = run.finished()
    assert manifest(out)["state"] == "interrupted" and "Traceback" not in said
    if number == signal.SIGINT:
        assert run.process.returncode == 130 and said.splitlines()[-1].startswith("espalier: stopped")
    else:
        assert run.process.returncode != 0
    whole_under_their_names(out)
    assert espalier(home, *words(data, out)).code == 0
    assert not differences(leaderboard(out), leaderboard(undisturbed))


def test_the_same_seed_gives_the_same_leaderboard_from_nothing(data: Path, undisturbed: Path, home: Path, tmp_path: Path) -> None:
    """Also from a store and a home of its own, and for branches named in another order."""
    done = espalier(home, *words(data, tmp_path / "run", *BRANCHES[::-1]))
    assert done.code == 0, done.err
    assert not differences(leaderboard(tmp_path / "run"), leaderboard(undisturbed))


READS_DEADLY = """
import sys
from pathlib import Path
from faulty.datasets import Deadly
from rich.console import Console
from harness.config import load_config
from harness.request import Request
from harness.run import run
root, out = map(Path, sys.argv[1:])
config, passed = load_config(None, ["split.train=0-3", "split.validation=4", "split.test=5-7"])
card = Deadly(root).card
outcome = run(Request(Deadly(root), config, {"split": {}}, ("prior",), ("timeline_action",), out), Console(stderr=True))
sys.exit(outcome.exit_code)
"""


def test_an_episode_that_kills_whoever_reads_it_is_quarantined(data: Path, home: Path, tmp_path: Path) -> None:
    """A crash in a decoder, or memory without end: Ray alone would try for ever."""
    words = [command()[0].replace("espalier", "python"), "-c", READS_DEADLY, str(data), str(tmp_path / "run")]
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 3, done.stderr
    [lost] = manifest(tmp_path / "run")["quarantined"]
    assert lost["episode"] == "s1__ep1" and "died" in lost["reason"]
    assert len(files(tmp_path / "run" / "targets")) == 7


def test_a_cluster_that_is_not_there_is_one_line(data: Path, home: Path, tmp_path: Path) -> None:
    done = espalier(home, *words(data, tmp_path / "run"), "--address", "127.0.0.1:9")
    assert done.code == 2 and "--address 127.0.0.1:9" in done.err.splitlines()[-1] and "Traceback" not in done.err
    shutil.rmtree(tmp_path / "run")
