"""What is wrong with the words of `espalier select` is one line, before Ray starts and before a folder is touched."""

import re
from pathlib import Path

import pytest
from commands import call
from pipeline_runs import write_sessions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sessions(tmp_path_factory.mktemp("data"), 2, 2, frames=60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--episodes", 2), "--episodes 2: give 3 to 8"),
        (("--episodes", 9), "--episodes 9: give 3 to 8"),
        (("--episodes", 5), "--episodes 5: .* has 4"),
        (("--episodes", 4, "budget=4"), "budget=4: give trials:N"),
        (("--episodes", 4, "budget=trials:0"), "budget=trials:0: give trials:N"),
        (("--episodes", 4, "budgt=trials:3"), "unknown option 'budgt'; did you mean 'budget'"),
        (("--episodes", 4, "split.test=0"), "split.test: select freezes its own split"),
        (("--episodes", 4, "-b", "majorty"), "'majorty' is not known; did you mean 'majority'"),
        (("--episodes", 4, "-b", "mlp", "branch.mlp.hiden=3"), "hiden.*did you mean 'hidden'"),
        ((), "--episodes is missing"),
    ],
)
def test_bad_words(words: tuple[object, ...], said: str, data: Path, tmp_path: Path) -> None:
    done = call("select", data, "--out", tmp_path / "run", f"store.uri={tmp_path / 'store'}", *words)
    assert done.code == 2 and len(done.err.strip().splitlines()) == 1
    assert re.search(said, done.err), done.err
    assert not (tmp_path / "run").exists()


def test_resume_of_nothing(tmp_path: Path) -> None:
    done = call("select", "--resume", tmp_path)
    assert done.code == 2 and "no selection has begun there" in done.err


def test_resume_takes_no_other_words(data: Path, tmp_path: Path) -> None:
    done = call("select", data, "--resume", tmp_path)
    assert done.code == 2 and "leave the other words out" in done.err


def test_a_run_is_no_selection(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": "espalier.run/1"}')
    done = call("select", "--resume", tmp_path)
    assert done.code == 2 and "the folder of another run" in done.err
