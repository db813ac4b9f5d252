"""The command line: whatever is wrong with the input is one line that says what, where and what to do, and exit code 2."""

import json
from pathlib import Path

import pytest
from commands import Done, call, espalier
from factories import write_xperience_episode


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of three sessions, without video."""
    root = tmp_path_factory.mktemp("data")
    for i in range(3):
        write_xperience_episode(root / f"s{i}" / "ep0", 24, cameras=(), seed=i)
    return root


def is_one_line(done: Done, *words: str) -> None:
    """Bad input: one line on stderr with all of these words, nothing on stdout."""
    assert (done.code, done.out) == (2, ""), done
    assert done.err.count("\n") == 1 and done.err.endswith("\n") and done.err.startswith("espalier: "), done.err
    missing = [word for word in words if word not in done.err]
    assert not missing, (missing, done.err)


OPTIONS = [
    (("windows.strid=3",), ("windows.strid", "windows.stride")),
    (("windows.stride=often",), ("windows.stride", "often")),
    (("windows.stride=0",), ("windows.stride=0", "at least 1")),
    (("windows.context=5",), ("windows.context=5", "windows.length=20")),
    (("windows.resampling=holt",), ("holt", "hold")),
    (("windows.max_per_episode=0",), ("windows.max_per_episode=0", "at least 1")),
    (("limit.episodes=0",), ("limit.episodes=0", "at least 1")),
    (("limit.windows=-3",), ("limit.windows=-3", "at least 1")),
    (("block_samples=0",), ("block_samples=0",)),
    (("threads=0",), ("threads=0",)),
    (("seeds=[]",), ("seeds",)),
    (("modalities=[vidoe]",), ("vidoe", "video")),
    (("encoders.vjepa2-larg=/x",), ("encoders.vjepa2-larg", "vjepa2-large")),
    (("features=[imu_acel]",), ("imu_acel", "imu_accel_gyro")),
    (("stride",), ("'stride'", "key=value")),
    (("store.uri=nowhere://x",), ("nowhere",)),
    (("-b", "ridg"), ("ridg", "ridge")),
    (("-b", "prior@mlp"), ("prior", "mlp")),
    (("-b", "no.such.module:Branch"), ("no.such.module:Branch", "package.module:Class")),
    (("-b", "prior", "branch.prior.depth=3"), ("branch.prior", "depth")),
    (("-b", "prior", "branch.mlp.epochs=3"), ("branch.mlp", "does not run")),
    (("-b", "ridge", "branch.ridge.penalties=3"), ("ridge.penalties", "penalty")),
    (("-b", "ridge", "branch.ridge=3"), ("branch.ridge",)),
    (("-t", "timeline_acton"), ("timeline_acton", "timeline_action")),
    (("-t", "timeline_action@3"), ("timeline_action@3", "horizon")),
    (("split.kind=held_out_sesion",), ("held_out_sesion", "held_out_session")),
    (("split.train=0-1",), ("test", "split.test=")),
    (("split.train=0", "split.test="), ("test", "split.test=")),
    (("split.train=0", "split.test=7"), ("split.test=7", "3 from 0 to 2")),
    (("split.train=0", "split.test=s9__ep0"), ("s9__ep0", "s2__ep0")),
    (("split.train=0-1", "split.test=1-2"), ("split.train", "split.test", "s1__ep0")),
    (("split.kind=chronological", "split.test_share=1.5"), ("split.test_share",)),
    (("--config", "absent.yaml"), ("absent.yaml", "no such file")),
    (("--branches", "prior"), ("--branches", "espalier run --help")),
]


@pytest.mark.parametrize(("words", "said"), OPTIONS, ids=[" ".join(words) for words, _ in OPTIONS])
def test_a_bad_option_is_one_line_and_touches_nothing(
    words: tuple[str, ...], said: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    is_one_line(call("run", data, *words, "--out", tmp_path / "run"), *said)
    assert not (tmp_path / "run").exists()


def test_a_bad_config_file_is_one_line(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    for text, word in (("windows: [", "config"), ("windows:\n  strid: 3\n", "windows.stride"), ("- 3\n", "config")):
        file.write_text(text)
        is_one_line(call("run", data, "--config", file, "--out", tmp_path / "run"), word)


def test_what_is_no_data_set_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    is_one_line(call("run", "dmeo", "--out", out), "dmeo", "demo")
    is_one_line(call("inspect", tmp_path / "absent"), "absent")
    is_one_line(call("run", "g1_inspire_v21", "--out", out), "g1_inspire_v21", "path of your copy")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").touch()
    for verb in (("inspect", tmp_path / "notes"), ("run", tmp_path / "notes", "--out", out)):
        is_one_line(call(*verb), "notes", "not a data set in a known format", "xperience10m, lerobot, table")
    card = tmp_path / "card.yaml"
    for text, word in (
        ("format: lerobot\nroot: nowhere\n", "nowhere"),
        ("fromat: lerobot\n", "fromat"),
        ("format: [", "card.yaml"),
    ):
        card.write_text(text)
        is_one_line(call("run", card, "--out", out), word)
    assert not out.exists()


def test_a_table_says_which_columns_it_has(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("source,quality\na,1\nb,2\n")
    is_one_line(call("run", file, "--out", tmp_path / "run"), "table.group=COLUMN", "source, quality")
    words = ("table.group=source", "table.target=qualty")
    is_one_line(call("run", file, *words, "--out", tmp_path / "run"), "qualty", "quality")
    file.write_bytes(b"PAR1 and then nothing")
    is_one_line(call("inspect", file.rename(tmp_path / "scores.parquet")), "scores.parquet", "not a readable table")


def test_a_data_set_without_a_readable_episode_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data" / "s0" / "ep0").mkdir(parents=True)
    (tmp_path / "data" / "s0" / "ep1").mkdir()
    write_xperience_episode(tmp_path / "data" / "s0" / "ep2", 24, cameras=())
    (tmp_path / "data" / "s0" / "ep2" / "annotation.hdf5").rename(tmp_path / "aside")
    is_one_line(call("run", tmp_path / "data", "--out", tmp_path / "run"), "data")


def test_usage_is_one_line_that_names_the_help() -> None:
    is_one_line(call("run"), "DATASET", "espalier run --help")
    is_one_line(call("run", "demo"), "--out", "espalier run --help")
    is_one_line(call("rum", "demo"), "rum", "run", "espalier --help")
    is_one_line(call("list", "branchs"), "branchs", "branches")
    is_one_line(call("demo-data", "somewhere", "--episodes", "many"), "--episodes", "integer")


def test_demo_data_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    is_one_line(call("demo-data", tmp_path / "demo", "--mute", "colour"), "colour")
    is_one_line(call("demo-data", tmp_path / "demo", "--episodes", "0"), "episodes")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    is_one_line(call("demo-data", tmp_path / "full"), "thesis.tex")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_an_out_that_is_something_else_is_left_alone(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    is_one_line(call("run", data, "--out", out), "thesis", "something else")
    is_one_line(call("run", data, "--out", out / "thesis.tex"), "thesis.tex")
    (out / "manifest.json").write_text('{"schema": "espalier.bundle/2"}')
    is_one_line(call("run", data, "--out", out), "manifest.json", "not the manifest of a run")
    (out / "manifest.json").write_text("{")
    is_one_line(call("run", data, "--out", out), "manifest.json", "not JSON")
    assert (out / "thesis.tex").read_text() == "mine" and len(list(out.iterdir())) == 2


def test_scoring_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    out = tmp_path / "scored"
    is_one_line(call("score", tmp_path / "absent", "--out", out), "absent", "--targets")
    folder = tmp_path / "folder"
    folder.mkdir()
    is_one_line(call("score", folder, "--out", out), "folder", "not a run folder")
    (folder / "split.json").write_text("{}")
    is_one_line(call("score", folder, "--out", out), "no bundle")
    bundle = folder / "bundles" / "m" / "fold=0" / "seed=0"
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text(json.dumps({"schema": "espalier.bundle/0"}))
    is_one_line(call("score", folder, "--out", out), "seed=0", "espalier.bundle/2")
    assert not out.exists()


def test_the_same_holds_for_the_installed_command(data: Path, tmp_path: Path) -> None:
    """As a process of its own, with nobody watching on a terminal."""
    is_one_line(espalier(tmp_path / "home", "run", data, "-b", "ridg", "--out", tmp_path / "run"), "ridg", "ridge")


def test_listings_and_inspection_are_tables_or_json(data: Path) -> None:
    for what in ("branches", "tasks", "cards", "metrics", "features", "formats"):
        shown, told = call("list", what), call("list", what, "--json")
        assert (shown.code, shown.err, told.code, told.err) == (0, "", 0, "")
        assert len(json.loads(told.out)) > 1 and what in shown.out
    told = call("inspect", data, "--json")
    found = json.loads(told.out)
    assert told.code == 0 and found["episodes"] == 3 and found["sessions"] == 3
    shown = call("inspect", data)
    assert shown.code == 0 and "hand_left" in shown.out and "timeline_action" in shown.out
    assert "inferred from its metadata" in shown.err


def test_inspection_goes_on_behind_a_damaged_episode(data: Path, tmp_path: Path) -> None:
    for i in range(2):
        write_xperience_episode(tmp_path / "data" / "s0" / f"ep{i}", 24, cameras=(), seed=i)
    file = tmp_path / "data" / "s0" / "ep1" / "annotation.hdf5"
    file.write_bytes(file.read_bytes()[:2000])
    done = call("inspect", tmp_path / "data", "--json")
    found = json.loads(done.out)
    assert done.code == 3 and found["episodes"] == 1
    assert [q["episode"] for q in found["quarantined"]] == ["s0__ep1"] and found["quarantined"][0]["path"] == str(file)
