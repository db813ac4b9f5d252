"""Options: defaults, a file, words; and what is said of bad ones."""

from pathlib import Path

import pytest

from harness.config import load_config
from harness.errors import BadInput


def test_words_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("windows: {stride: 10, length: 16}\nseeds: [0, 1]\n")
    config, passed = load_config(file, ["windows.stride=4", "split.train=0-49,52", "split.test=60", "branch.mlp.epochs=3"])
    assert (config.windows.length, config.windows.stride, config.seeds) == (16, 4, [0, 1])
    assert config.split.train == "0-49,52" and config.split.test == "60"
    assert config.branch == {"mlp": {"epochs": 3}}
    assert "threads" not in passed and passed.windows.stride == 4


def test_lists_stay_lists() -> None:
    config, _ = load_config(None, ["split.train=[a,b]", "modalities=[video]", "table.features=[A,B]"])
    assert config.split.train == ["a", "b"] and config.modalities == ["video"] and config.table.features == ["A", "B"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("windows.strid=4", "windows.stride"),
        ("window.stride=4", "windows"),
        ("windows.stride=many", "windows.stride"),
        ("stride", "key=value"),
        ("=3", "key=value"),
    ],
)
def test_a_bad_word_is_one_clear_line(word: str, expected: str) -> None:
    with pytest.raises(BadInput) as error:
        load_config(None, [word])
    assert expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["windows.stride=0", "windows.length=0", "windows.context=5", "windows.resampling=cubic"])
def test_windows_that_make_no_sense_are_refused(word: str) -> None:
    config, _ = load_config(None, [word])
    with pytest.raises(BadInput, match=word.split("=", maxsplit=1)[0]):
        config.windows.spec()


def test_a_file_that_is_missing_or_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_config(tmp_path / "none.yaml", [])
    (tmp_path / "bad.yaml").write_text("a: [1,\nb: }")
    with pytest.raises(BadInput, match=r"bad\.yaml, line 2: not YAML"):
        load_config(tmp_path / "bad.yaml", [])


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.yaml").write_text(f"seeds: !!python/object/apply:pathlib.Path.touch [{marker}]\n")
    with pytest.raises(BadInput):
        load_config(tmp_path / "evil.yaml", [])
    assert not marker.exists()
