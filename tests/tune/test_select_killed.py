"""A selection that is killed or interrupted goes on with `--resume`, and no finished trial runs again."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import espalier
from pipeline_runs import differences, leaderboard, manifest, write_sessions
from test_killed import Started

pytestmark = pytest.mark.slow

ARMS = ("majority", "ridge", "mlp")


def words(data: Path, out: Path) -> list[str]:
    named = [word for name in ARMS for word in ("-b", name)]
    tasks = ["-t", "timeline_action", "-t", "contact_prediction"]
    return ["select", str(data), "--episodes", "6", "--out", str(out), *named, *tasks, "budget=trials:4", "branch.mlp.epochs=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sessions(tmp_path_factory.mktemp("data"), 3, 2, frames=80)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = espalier(folder / "home", *words(data, folder / "run"))
    assert done.code == 0, done.err
    return folder / "run"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[list[str]], Started]]:
    started: list[Started] = []

    def begin(arguments: list[str]) -> Started:
        started.append(Started(tmp_path / "home", arguments))
        return started[-1]

    yield begin
    for one in started:
        one.kill_all()


def journal(out: Path) -> list[dict[str, Any]]:
    path = out / "trials" / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def key(trial: dict[str, Any]) -> str:
    return json.dumps([trial[name] for name in ("branch", "number", "rung", "refit")])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_resumed_it_gives_the_undisturbed_sheet(
    how: signal.Signals, data: Path, undisturbed: Path, start: Callable[[list[str]], Started], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = start(words(data, out))
    run.until(lambda: len(journal(out)) >= 3)
    if how == signal.SIGKILL:
        run.kill_all()
    else:
        os.kill(run.process.pid, signal.SIGINT)
        said = run.finished()
        assert run.process.returncode == 130 and "Traceback" not in said, said
    before = journal(out)
    assert 3 <= len(before) < 10 and not any(trial["failed"] for trial in before)
    done = espalier(tmp_path / "home", "select", "--resume", out)
    assert done.code == 0, done.err
    after = journal(out)
    assert (
        after[: len(before)] == before and len({key(trial) for trial in after}) == len(after) == len(journal(undisturbed)) == 10
    )
    assert not differences(leaderboard(out), leaderboard(undisturbed))
    assert manifest(out)["chosen"] == manifest(undisturbed)["chosen"] and manifest(out)["state"] == "done"


def test_resumed_when_done_nothing_runs(undisturbed: Path, tmp_path: Path) -> None:
    before = (undisturbed / "trials" / "journal.jsonl").read_bytes()
    sheet = json.loads((undisturbed / "sheet.json").read_text())
    done = espalier(undisturbed.parent / "home", "select", "--resume", undisturbed)
    assert done.code == 0, done.err
    assert (undisturbed / "trials" / "journal.jsonl").read_bytes() == before
    again = json.loads((undisturbed / "sheet.json").read_text())
    assert not differences({**again, "preparation": None}, {**sheet, "preparation": None})


@pytest.mark.parametrize(("word", "said"), [("seed=5", "another seeds"), ("budget=trials:5", "another selection")])
def test_another_selection_into_the_folder_is_refused(word: str, said: str, data: Path, undisturbed: Path) -> None:
    before = (undisturbed / "sheet.json").read_bytes()
    done = espalier(undisturbed.parent / "home", *words(data, undisturbed), word)
    assert done.code == 2 and said in done.err, done
    assert (undisturbed / "sheet.json").read_bytes() == before
