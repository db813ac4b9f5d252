"""The reproduction table: everything that the published files carry, and a loud word where a figure is not what they give."""

import csv
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.imports import definitions
from harness.imports.figure import Figure, table
from harness.imports.reproduce import main, reproduce
from harness.imports.single_episode import single_episode


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Path:
    folder = shared_data / "xperience_published"
    if not folder.is_dir():
        pytest.skip("the published predictions are not part of the repository")
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def made(published: Path, own_home: None):
    return reproduce(published)


def test_every_figure_that_the_rows_carry_is_reproduced(made) -> None:
    asked = {(f.place, f.name): f for f in made[0] if f.recomputed is not None}
    assert all(figure.reproduced for figure in asked.values())
    assert "of 1 more the last digit differs" in "\n".join(made[1])
    # To the last digit; but one is a mean whose last digit hangs on the order of its sum.
    differ = [key for key, figure in asked.items() if figure.published != figure.recomputed]
    assert differ == [("single_episode/minimal/timeline_subtask", "balanced_accuracy")]
    heads = {"macro_f1", "f1", "micro_f1", "boundary_f1", "mpjpe", "final_frame_mpjpe", "r2", "mrr", "json_validity_rate"}
    assert heads <= {name for _, name in asked}
    assert len([key for key in asked if key[0].startswith("qwen")]) == 4 * (11 + 4)


def test_what_cannot_be_recomputed_says_why(made) -> None:
    rest = [figure for figure in made[0] if figure.recomputed is None]
    assert {f.name for f in rest} >= {"train_final_loss", "num_train_windows", "neural_epochs"} and all(f.reason for f in rest)
    text = "\n".join(made[1])
    assert "cross_modal_retrieval, modality_reconstruction: no predictions" in text


def test_what_costs_nothing_stands_beside(made) -> None:
    cells = {(f.place, f.name): f for f in made[0]}
    assert cells["single_episode/mlp/hand_trajectory_forecast", "mpjpe"].floor == "0.0276 persistence on 346 rows"
    # Copying the current label: 0.931 and 0.807 by the recomputation of the fact sheet.
    assert "0.9310 copy of the current action" in cells["single_episode/minimal/next_action", "accuracy"].floor
    assert "0.8068 copy of the current action" in cells["single_episode/minimal/next_action", "macro_f1"].floor
    assert "0.9732" in cells["qwen/v3", "transition_accuracy"].floor
    assert "0.9866" in cells["qwen/v3", "next_action_accuracy"].floor
    assert cells["single_episode/mlp/contact_prediction", "macro_f1"].ours == "vacuous: one class"
    assert cells["qwen/v1", "macro_f1"].ours == "macro-F1 0.0170"


def test_a_margin_beyond_every_branch_is_named_beside_the_verdicts(made) -> None:
    told = {line.split()[1]: line for line in made[1] if "count as tied" in line}
    assert all("(v1, v2, v3, v4): differences within 0.02 count as tied" in line for line in told.values()) and len(told) == 7
    wide = {task for task, line in told.items() if "WIDER than any branch's distance from the floor" in line}
    assert wide == {"qa_action", "qa_subtask", "qa_next_action"}


def test_every_look_at_the_rows_is_in_the_ledger(made, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = "scored 4 time(s) on this machine: v1 1, v2 1, v3 1, v4 1"
    assert sum(looks in line for line in made[1]) == 1
    shutil.copytree(published / "qwen" / "v4", tmp_path / "qwen" / "v4", copy_function=shutil.copyfile)
    assert sum(looks in line for line in reproduce(tmp_path)[1]) == 1  # the same predictions are no other look
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    assert sum("scored 1 time(s) on this machine: v4 1" in line for line in reproduce(tmp_path)[1]) == 1


def test_versions_of_other_rows_and_of_fewer_columns_stand_beside(published: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (published / "qwen" / "v1" / "predictions.jsonl").open()]
    for name in ("whole", "bare"):
        (tmp_path / "qwen" / name).mkdir(parents=True)
        shutil.copyfile(published / "qwen" / "v1" / "metrics.json", tmp_path / "qwen" / name / "metrics.json")
    shutil.copyfile(published / "qwen" / "v1" / "predictions.jsonl", tmp_path / "qwen" / "whole" / "predictions.jsonl")
    with (tmp_path / "qwen" / "bare" / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in ("true_json", "pred_json")], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    figures, lines = reproduce(tmp_path)
    found = {(f.place, f.name): f for f in figures}
    assert all(figure.reproduced is not False for figure in figures)
    for name in ("accuracy", "macro_f1", "json_validity_rate", "unseen_label_accuracy"):
        assert found["qwen/bare", name].recomputed == found["qwen/whole", name].recomputed == found["qwen/whole", name].published
    assert found["qwen/bare", "contact_accuracy"].recomputed is None
    assert any("contact_accuracy" in line and "do not carry" in line for line in lines)


def test_a_figure_that_is_not_reproduced_is_told(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(published / "single_episode", tmp_path / "single_episode", copy_function=shutil.copyfile)
    assert main([str(tmp_path)]) == 0
    path = tmp_path / "single_episode" / "minimal" / "timeline_action" / "metrics.json"
    path.unlink()
    body = json.loads((published / "single_episode" / "minimal" / "timeline_action" / "metrics.json").read_text())
    path.write_text(json.dumps(body | {"macro_f1": 0.05001}))
    capsys.readouterr()
    assert main([str(tmp_path)]) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if "**differs**" in line]
    assert "0.05001" in line and "0.05 |" in line


def test_the_last_digit_is_told_and_counts_where_nothing_can_move_it() -> None:
    near = math.nextafter(0.05, 1)
    marks = {
        "reproduced": Figure("a", "f", 0.05, 0.05, exact=True),
        "last digit differs": Figure("a", "f", 0.05, near),
        "**differs**": Figure("a", "f", 0.05, near, exact=True),
    }
    for mark, figure in marks.items():
        assert f"| {mark} |" in table([figure])[-1]
        assert figure.reproduced is (mark != "**differs**")
    # A small figure is not reproduced by one that is near in absolute terms.
    assert Figure("a", "f", 1e-14, 1.05e-14).reproduced is False


DAMAGE = {
    "other header": ("windows.csv", lambda data: b"a,b\n1,2\n"),
    "a cell": ("windows.csv", lambda data: data.replace(data.split(b"\n")[1].split(b",")[0], b"x", 1)),
    "short rows": ("windows.csv", lambda data: data + b"7\n"),
    "objects": ("window_object_labels.csv", lambda data: data.replace(b"objects", b"things")),
    "no vocabulary": ("object_vocab.json", lambda data: b"{}"),
    "a number": ("object_vocab.json", lambda data: b'{"vocab": 3}'),
    "cut arrays": ("mlp/hand_trajectory_forecast/predictions.npz", lambda data: data[: len(data) // 2]),
    "torn arrays": ("mlp/hand_trajectory_forecast/predictions.npz", lambda data: data[:400] + bytes(400) + data[800:]),
    "no arrays": ("mlp/caption_grounding/predictions.npz", lambda data: b""),
    "other rows": ("minimal/timeline_action/predictions.csv", lambda data: b"window_index,true_label\n1,a\n"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_one_line(what: str, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, damage = DAMAGE[what]
    skip = shutil.ignore_patterns("raw_*")
    shutil.copytree(published / "single_episode", tmp_path / "single_episode", ignore=skip, copy_function=shutil.copyfile)
    path = tmp_path / "single_episode" / name
    data = path.read_bytes()
    path.write_bytes(damage(data))
    assert path.read_bytes() != data
    assert main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    place = path if path.parent == tmp_path / "single_episode" else path.parent
    assert said.out == "" and said.err.count("\n") == 1 and str(place) in said.err, said.err


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2 and main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    (tmp_path / "single_episode").mkdir()
    with pytest.raises(Exception, match=r"windows\.csv"):
        single_episode(tmp_path / "single_episode")


def test_definitions_by_hand() -> None:
    # a: 1 of 2 right, 1 wrongly said; b: 0 of 1; c is said once and true nowhere.
    found = definitions.of_classes(["a", "a", "b"], ["a", "c", "a"])
    assert found == {
        "accuracy": pytest.approx(1 / 3),
        "balanced_accuracy": 0.25,
        "macro_f1": 0.25,
        "weighted_f1": pytest.approx(1 / 3),
    }
    sets = definitions.of_sets(np.array([[1, 1, 0], [0, 0, 0]], bool), np.array([[1, 0, 0], [0, 0, 0]], bool))
    assert sets["micro_f1"] == pytest.approx(2 / 3) and sets["macro_f1"] == pytest.approx(1 / 3) and sets["exact_match"] == 0.5
    bounds = definitions.of_boundaries(np.array([10, 12, 50]), np.array([15, 100]), 10)
    assert (bounds["matched_boundaries"], bounds["mean_abs_timing_error_frames"]) == (1, 5.0)
    assert bounds["boundary_f1"] == pytest.approx(2 / 5)
    hands = definitions.of_hands(np.zeros((1, 6), np.float32), np.array([[3, 0, 4, 0, 0, 1]], np.float32), 2)
    assert hands["mpjpe"] == 3.0 and hands["final_frame_mpjpe"] == 1.0
