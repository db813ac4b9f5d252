"""`espalier ablate` with a real Ray: one ingest, folders that are runs, and again nothing but what is missing."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Done, espalier
from factories import write_xperience_episode
from pipeline_runs import differences, files, manifest
from planted import cell
from test_killed import Started

TASKS = ("imu_to_hand_pose", "timeline_action")
VARIANTS = ("replace_audio_+_by_logmel_+", "without_audio", "without_imu")

pytestmark = pytest.mark.slow


class Ablation:
    """A data set of six sessions with one camera and its sound, and a folder for its ablation."""

    def __init__(self, home: Path) -> None:
        self.home, self.data, self.out = home, home / "data", home / "run"
        for i in range(6):
            write_xperience_episode(self.data / f"s{i}" / "ep0", 60, seed=i, cameras=("fisheye_cam0",))

    def words(self, out: Path | None = None) -> list[str]:
        tasks = [word for task in TASKS for word in ("-t", task)]
        split = ("split.train=0-2", "split.test=3-5", "windows.stride=10")
        first = ("ablate", str(self.data), "--out", str(out or self.out), "-b", "ridge", "-b", "majority", *tasks, *split)
        return [*first, "--leave-one-out", "-m", "audio", "-m", "imu"]

    def call(self, *words: object) -> Done:
        return espalier(self.home, *self.words(), *words)

    @property
    def found(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((self.out / "ablation.json").read_text())
        return body


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    made = Ablation(tmp_path_factory.mktemp("ablation"))
    done = made.call()
    assert done.code == 0, done.err
    assert "above 0 what was taken away helped" in done.out
    return made


def test_one_ingest_and_runs_in_one_folder(ablation: Ablation) -> None:
    out = ablation.out
    variants = sorted(path.name for path in (out / "variants").iterdir())
    assert variants == ["without_audio", "without_imu"]
    assert sum(sum(cameras.values()) for cameras in manifest(out)["decoded_frames"].values()) == 6 * 60
    for name in variants:
        folder = out / "variants" / name
        assert manifest(folder)["state"] == "done" and manifest(folder)["hidden"] == [name.removeprefix("without_")]
        assert {p["decoded_frames"] for p in manifest(folder)["processes"].values()} == {0}
        mine, full = (sorted((f / "targets").glob("*.parquet")) for f in (folder, out))
        assert len(mine) == 6 and all(a.samefile(b) for a, b in zip(mine, full, strict=True))
        again = ablation.home / "again" / name
        done = espalier(ablation.home, "score", folder, "--out", again)
        assert done.code == 0, done.err
        boards = [json.loads((f / "leaderboard.json").read_text()) for f in (folder, again)]
        assert boards[0]["rows"] == boards[1]["rows"]
    blind = cell(ablation.found, "ridge", "imu_to_hand_pose", "without_imu")
    assert (blind["status"], blind["value"]) == ("not_answered", None)
    assert cell(ablation.found, "ridge", "imu_to_hand_pose", "without_audio")["status"] == "not_shown"
    assert cell(ablation.found, "ridge", "timeline_action", "without_audio")["status"] == "compared"


def test_again_does_only_what_is_missing(ablation: Ablation) -> None:
    lost = next((ablation.out / "variants" / "without_imu" / "bundles" / "ridge").rglob("part-*.parquet"))
    before, body = files(ablation.out, "part-*.parquet"), ablation.found
    lost.unlink()
    assert ablation.call().code == 0
    after = files(ablation.out, "part-*.parquet")
    assert [name for name in before if after[name] != before[name]] == [str(lost.relative_to(ablation.out))]
    assert ablation.found == body


def test_a_killed_ablation_goes_on(ablation: Ablation, tmp_path: Path) -> None:
    out, body = tmp_path / "run", ablation.found
    started = Started(ablation.home, ablation.words(out))
    try:
        started.until(lambda: any((out / "variants").rglob("part-*.parquet")))
    finally:
        started.kill_all()
    kept = files(out, "part-*.parquet")
    assert kept and not (out / "ablation.json").exists()
    done = espalier(ablation.home, *ablation.words(out))
    assert done.code == 0, done.err
    assert {name: files(out, "part-*.parquet")[name] for name in kept} == kept
    assert not differences(json.loads((out / "ablation.json").read_text()), body)


def test_a_replacement_reads_the_sound_and_decodes_no_frame(ablation: Ablation) -> None:
    before = files(ablation.out, "part-*.parquet")
    done = ablation.call("--replace", "audio_*=logmel_*")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (ablation.out / "variants").iterdir()) == sorted(VARIANTS)
    assert not manifest(ablation.out)["decoded_frames"]
    assert {name: files(ablation.out, "part-*.parquet")[name] for name in before} == before  # the arms that were there stay
    swapped = cell(ablation.found, "ridge", "timeline_action", VARIANTS[0])
    assert swapped["status"] == "compared" and swapped["value"] is not None
    views = manifest(ablation.out / "variants" / VARIANTS[0])["sights"]["ridge"]["timeline_action"]["views"][0]
    assert "features/logmel_fisheye_cam0" in views and "features/audio_fisheye_cam0_aac" not in views


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--replace", "table=logmel_*"), "the full arm shows no block 'table'"),
        (("-m", "table"), "no branch is shown it"),
    ],
)
def test_what_cannot_be_is_one_line(ablation: Ablation, words: tuple[str, ...], says: str) -> None:
    before = files(ablation.out, "*.parquet")
    done = ablation.call(*words)
    assert done.code == 2 and says in done.err and done.out == ""
    assert "Traceback" not in done.err
    assert files(ablation.out, "*.parquet") == before
