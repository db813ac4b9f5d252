"""What is wrong with the words of `espalier ablate` is one line, said before Ray starts and before anything is written."""

from pathlib import Path

import pytest
from commands import call
from factories import write_xperience_episode

WRONG = [
    (("--replace", "audio"), "OLD=NEW"),
    (("--replace", "imu_acel=logmel_*"), "did you mean 'imu_accel_gyro'"),
    (("--replace", "imu_*=logmel_*", "-m", "imu"), "--modality imu beside --replace: say --leave-one-out, --only or both too"),
    (("--modality", "adio"), "did you mean 'audio'"),
    (("-b", "oracle"), "-b oracle: it answers from the targets"),
    (("hidden=[vidoe]",), "hidden: 'vidoe' is not known; did you mean 'video'"),
    (("only=[vidoe]",), "only: 'vidoe' is not known; did you mean 'video'"),
    (("features=[default,-imu_acel]",), "did you mean 'imu_accel_gyro'"),
    (("-t", "timeline_acton"), "timeline_action"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("words")
    for i in range(3):
        write_xperience_episode(root / f"s{i}" / "ep0", 24, cameras=(), seed=i)
    return root


@pytest.mark.parametrize(("words", "says"), WRONG)
def test_a_wrong_word_is_one_line(
    words: tuple[str, ...], says: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    done = call("ablate", data, "--out", tmp_path / "run", *words)
    assert (done.code, done.out) == (2, "") and says in done.err, done
    assert done.err.count("\n") == 1 and done.err.startswith("espalier: ")
    assert not (tmp_path / "run").exists()
