"""One command on a plain table, with a real Ray: every number of the report against scipy and scikit-learn."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import espalier
from pipeline_runs import prepared, row, run_here
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LinearRegression

from harness.branch import branch_names
from harness.errors import BadInput
from harness.report.model import headline
from harness.request import default_branches, every_branch
from harness.run import _Manifest

FEATURES = ["sharpness", "noise", "contrast", "blur", "motion", "light"]
SOURCES = ["attic", "barn", "cellar", "dock", "hall", "loft", "yard"]
UNUSED = "not used: 1 column(s) are no features: 'clip' (168 of 168 cells are no number, first in row 1)"
MODELS = {"linear": 7, "ridge": 7, "mlp_small": 257, "mlp_medium": 2561}


def columns(odd: float = 25.0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Source -> (24, 6) features and (24,) scores; the scores of the last source follow another rule."""
    rng = np.random.default_rng(0)
    out = {}
    for source in SOURCES:
        x = rng.normal(size=(24, 6)).round(5)
        y = 50 + x @ [8, -6, 4, 0, 2, 1] + rng.normal(size=24) + (odd * rng.normal(size=24) if source == SOURCES[-1] else 0)
        out[source] = (x, y.round(3))
    return out


def write(path: Path, data: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", *FEATURES, "mos"])
        for source, (xs, ys) in data.items():
            writer.writerows([source, *x, y] for x, y in zip(xs.tolist(), ys.tolist(), strict=True))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@pytest.fixture(scope="module")
def out(folder: Path) -> str:
    """What one command prints."""
    data = write(folder / "scores.csv", columns())
    head, *lines = data.read_text().splitlines()
    data.write_text("\n".join([f"{head},clip", *(f"{line},clip {i}" for i, line in enumerate(lines))]))
    done = espalier(folder / "home", "run", data, "table.group=source", "table.target=mos", "--out", folder / "run")
    assert done.code == 0, done.err
    assert UNUSED in done.err
    return done.out


@pytest.fixture(scope="module")
def board(out: str, folder: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / "run" / "leaderboard.json").read_text())
    return body


def answers(folder: Path, branch: str) -> dict[str, np.ndarray]:
    """Source -> (24,) what the branch said, in the order of the rows."""
    found = {}
    for path in (folder / "run" / "bundles" / branch).rglob("part-*.parquet"):
        table: pa.Table = pq.read_table(path)
        order = np.argsort([int(sample.partition("#w")[2]) for sample in table["sample"].to_pylist()])
        found[table["episode"][0].as_py()] = np.array(table["values"].to_pylist())[order, 0]
    return found


def test_every_source_is_left_out_once_and_every_model_runs(board: dict[str, Any]) -> None:
    assert board["split"]["kind"] == "leave_one_session_out" and board["split"]["folds"] == len(SOURCES)
    assert {r["branch"] for r in board["rows"]} == {*MODELS, "prior", "oracle"}
    assert {r["branch"]: r["cost"]["params"] for r in board["rows"] if r["branch"] in MODELS} == MODELS
    assert board["split"]["shared_content"] == [] and board["split"]["content_by"] == "features"


@pytest.mark.parametrize("branch", MODELS)
def test_numbers_are_those_of_scipy(board: dict[str, Any], folder: Path, branch: str) -> None:
    detail, said, data = row(board, branch, "quality_score")["detail"], answers(folder, branch), columns()
    per_fold = []
    for i, source in enumerate(SOURCES):
        y = data[source][1]
        fold = detail["per_fold"][str(i)]
        assert (fold["group"], fold["n"]) == (source, 24)
        expected = [np.sqrt(np.mean((said[source] - y) ** 2)), pearsonr(said[source], y)[0], spearmanr(said[source], y)[0]]
        assert [fold[name] for name in ("rmse", "plcc", "srocc")] == pytest.approx(expected, rel=1e-5)
        per_fold.append(expected)
    mean, sd = np.mean(per_fold, axis=0), np.std(per_fold, axis=0, ddof=1)
    for name, m, s in zip(("rmse", "plcc", "srocc"), mean, sd, strict=True):
        assert (detail[f"{name}_mean"], detail[f"{name}_sd"]) == pytest.approx((m, s), rel=1e-5)
        assert detail[f"{name}_folds"] == 7
    guess, truth = (np.concatenate(parts) for parts in ([said[s] for s in SOURCES], [data[s][1] for s in SOURCES]))
    assert detail["pooled_rmse"] == pytest.approx(np.sqrt(np.mean((guess - truth) ** 2)), rel=1e-5)
    assert detail["pooled_plcc"] == pytest.approx(pearsonr(guess, truth)[0], rel=1e-5)
    assert detail["pooled_srocc"] == pytest.approx(spearmanr(guess, truth)[0], rel=1e-5)
    assert row(board, branch, "quality_score")["value"] == pytest.approx(detail["pooled_rmse"])


def test_linear_is_what_scikit_learn_fits(folder: Path, board: dict[str, Any]) -> None:
    said, data = answers(folder, "linear"), columns()
    for source in SOURCES:
        x, y = (np.concatenate([data[s][i] for s in SOURCES if s != source]) for i in (0, 1))
        np.testing.assert_allclose(said[source], LinearRegression().fit(x, y).predict(data[source][0]), rtol=1e-5)


def test_the_odd_source_is_named_and_is_the_same_for_every_model(out: str, board: dict[str, Any]) -> None:
    [task] = board["tasks"]
    assert task["outlier_fold"]["same"] is True and task["outlier_fold"]["group"] == "yard"
    for branch in MODELS:
        odd = row(board, branch, "quality_score")["detail"]["outlier_fold"]
        assert (odd["fold"], odd["group"]) == ("6", "yard") and odd["distance"] > odd["threshold"]
    assert "yard, the same for every model" in out
    assert UNUSED in " ".join(out.split())


def test_the_command_prints_it_all(out: str, folder: Path) -> None:
    markdown = (folder / "run" / "leaderboard.md").read_text()
    for text in (out, markdown.replace("\\", "")):
        assert "2,561" in text and "257" in text and "cellar" in text
        assert "undefined / undefined" in text  # the prior answers one number in every fold
        assert "srocc mean (sd)" in text and "rmse / plcc / srocc" in text


def test_the_prior_has_no_correlation_within_a_fold(board: dict[str, Any]) -> None:
    detail = row(board, "prior", "quality_score")["detail"]
    assert {fold["srocc"] for fold in detail["per_fold"].values()} == {None}
    assert detail["srocc_mean"] is None and detail["srocc_folds"] == 0 and detail["rmse_folds"] == 7
    # Over all rows there is one, and it is negative: a source far above the others lowers none but its own prior.
    assert detail["pooled_plcc"] < 0


# --- stages in this process


WORDS = ("table.group=source", "table.target=mos")
CHEAP = ("prior", "linear")


def test_a_source_under_two_names_caps_the_evidence(tmp_path: Path) -> None:
    data = columns()
    x, y = data["attic"]
    data["dock"] = (np.concatenate([data["dock"][0], x[:7]]), np.concatenate([data["dock"][1], y[:7] + 0.2]))
    file = write(tmp_path / "scores.csv", data)
    board = run_here(prepared(file, tmp_path / "run", *WORDS, branches=CHEAP))
    how = "near-duplicate features (within 0.001 of a column's spread in all but at most 2 of 6 columns)"
    assert board["split"]["shared_content"] == [{"groups": ["attic", "dock"], "rows": 7, "how": how}]
    assert board["evidence"] == "dry_run" and {r["evidence"] for r in board["rows"]} == {"dry_run"}
    assert "attic and dock: 7 rows" in (tmp_path / "run" / "leaderboard.md").read_text()
    # Where both names train, nothing is tested that was trained on.
    words = ("split.train=[attic,dock,barn]", "split.test=[cellar,yard]")
    board = run_here(prepared(file, tmp_path / "apart", *WORDS, *words, branches=CHEAP))
    assert board["split"]["shared_content"] == [] and board["evidence"] == "held_out"


def test_a_content_column_decides_where_one_is_named(tmp_path: Path) -> None:
    data = columns()
    with write(tmp_path / "plain.csv", data).open() as file:
        head, *rows = csv.reader(file)
    for i, line in enumerate(rows):
        line.append(i % 148)  # 168 rows: the last twenty, of the yard, are about what the first of the attic are about
    with (tmp_path / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*head, "clip"], *rows])
    ready = prepared(tmp_path / "scores.csv", tmp_path / "run", *WORDS, "table.content=clip", branches=CHEAP)
    board = run_here(ready)
    assert board["split"]["content_by"] == "column 'clip'"
    assert board["split"]["shared_content"] == [{"groups": ["attic", "yard"], "rows": 20, "how": "equal values of column 'clip'"}]
    # It is a number and yet no feature.
    bundle = json.loads((ready.plan.bundle("linear", 0, 0) / "manifest.json").read_text())
    assert bundle["cost"]["params"] == 7


def test_features_that_cannot_tell_say_so(tmp_path: Path) -> None:
    data = {source: (x.round(0).clip(-2, 2), y) for source, (x, y) in columns().items()}
    board = run_here(prepared(write(tmp_path / "scores.csv", data), tmp_path / "run", *WORDS, branches=CHEAP))
    assert board["split"]["content_by"] == "nothing" and board["evidence"] == "held_out"
    assert "too few or too coarse to tell" in (tmp_path / "run" / "leaderboard.md").read_text()


def test_what_is_not_used_stands_above_every_number(tmp_path: Path) -> None:
    data = columns()
    for source, count in (("attic", 3), ("hall", 24)):
        data[source][1][:count] = np.nan
    file = write(tmp_path / "scores.csv", data)
    head, first, *rest = file.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("blur")] = "n. a."
    file.write_text("\n".join([head, ",".join(cells), *rest]))
    ready = prepared(file, tmp_path / "run", *WORDS, branches=CHEAP)
    board = run_here(ready)
    rows = "27 of 168 rows have no target"
    column = "1 column(s) are no features: 'blur' (1 of 168 cells are no number, first in row 1)"
    [said_column, said_rows] = board["split"]["remarks"]
    assert (
        said_column.startswith(f"not used: {column}")
        and said_rows.startswith(f"not used: {rows}")
        and said_rows.endswith("attic 3 of 24, hall 24 of 24")
    )
    markdown = (tmp_path / "run" / "leaderboard.md").read_text()
    assert f"not used: {rows}" in markdown and "not used: 1 column(s) are no features: 'blur'" in markdown
    # The source without any target has no fold: the head and the table count the same.
    found = row(board, "linear", "quality_score")
    assert board["split"]["folds"] == board["split"]["clusters"] == found["n_clusters"] == len(found["detail"]["per_fold"]) == 6
    assert [lost.episode for lost in ready.quarantined] == ["hall"] and board["split"]["quarantined"] == 1


def sources(file: Path, count: int) -> Path:
    rng = np.random.default_rng(1)
    return write(file, {f"s{i:03d}": (rng.normal(size=(4, 6)), rng.normal(size=4)) for i in range(count)})


def test_up_to_a_hundred_sources_are_left_out_in_turn_and_more_are_drawn(tmp_path: Path) -> None:
    for count, kind in ((2, "leave_one_session_out"), (100, "leave_one_session_out"), (101, "held_out_session")):
        file = sources(tmp_path / f"{count}.csv", count)
        split = prepared(file, tmp_path / f"run{count}", *WORDS, branches=CHEAP).plan.split
        assert split.kind == kind and len(split.folds) == (count if count <= 100 else 1)
        words = (*WORDS, "split.episodes=[s000,s001]")
        split = prepared(file, tmp_path / "all", *words, branches=CHEAP).plan.split
        assert [(fold.train, fold.test) for fold in split.folds] == [(("s001",), ("s000",)), (("s000",), ("s001",))]


def test_two_sources_have_two_folds_and_no_interval(tmp_path: Path) -> None:
    board = run_here(prepared(sources(tmp_path / "2.csv", 2), tmp_path / "run", *WORDS, branches=CHEAP))
    found = row(board, "linear", "quality_score")
    assert {fold["group"]: fold["n"] for fold in found["detail"]["per_fold"].values()} == {"s000": 4, "s001": 4}
    assert found["ci_low"] is None and found["detail"]["outlier_fold"] is None and board["split"]["remarks"] == []
    said = (tmp_path / "run" / "leaderboard.md").read_text()
    assert "outlier fold: not judged with fewer than 3 folds" in said and "none, for any model" not in said


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (
            101,
            (),
            "groups are not left out in turn (more than 100 groups): 30 of 101 are tested, drawn once (held_out_session); ask "
            "for all in turn with split.kind=leave_one_session_out",
        ),
        (
            2,
            ("split.validation_share=0.1",),
            "groups are not left out in turn (one of two groups cannot validate as well): 1 of 2 are tested, drawn once "
            "(held_out_episode); ask for all in turn with split.validation_share=0",
        ),
    ],
)
def test_sources_that_are_drawn_are_said_to_be(tmp_path: Path, count: int, words: tuple[str, ...], said: str) -> None:
    file = sources(tmp_path / "scores.csv", count)
    board = run_here(prepared(file, tmp_path / "run", *WORDS, *words, branches=("prior",)))
    assert board["split"]["remarks"] == [said] and said in headline(board)
    # What it says to ask for does it, and who asks for another split is told nothing.
    in_turn = prepared(file, tmp_path / "asked", *WORDS, said.rpartition(" ")[2], branches=("prior",)).plan.split
    assert len(in_turn.folds) == count
    other = prepared(file, tmp_path / "other", *WORDS, "split.test_share=0.5", branches=("prior",))
    assert _Manifest(other).remarks == []


@pytest.mark.parametrize("words", [(), ("split.validation_share=0.1",)])
def test_one_source_alone_is_said_to_be_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = sources(tmp_path / "one.csv", 1)
    with pytest.raises(BadInput, match=r"one\.csv: one group alone \(table\.group=source\) cannot be split .*chronological"):
        prepared(file, tmp_path / "run", *WORDS, *words, branches=CHEAP)
    with pytest.raises(BadInput, match=r"^the split needs 2 sessions, the data set has 1$"):
        prepared(file, tmp_path / "run", *WORDS, "split.kind=held_out_session", branches=CHEAP)
    ready = prepared(file, tmp_path / "run", *WORDS, "split.kind=chronological", branches=CHEAP)
    assert ready.plan.split.kind == "chronological"


def test_heads_for_tables_run_on_tables_and_on_nothing_else() -> None:
    heads = {"linear", "mlp_small", "mlp_medium"}
    assert heads < set(branch_names()) and heads < set(default_branches("table")) == set(every_branch("table"))
    for form in ("lerobot", "xperience10m"):
        assert not heads & set(default_branches(form)) and not heads & set(every_branch(form))
        assert set(every_branch(form)) == set(branch_names()) - heads | {"oracle", "copy"}


def test_one_held_out_part_has_the_numbers_of_its_rows_together(tmp_path: Path) -> None:
    ready = prepared(write(tmp_path / "scores.csv", columns()), tmp_path / "run", *WORDS, "split.test_share=0.3", branches=CHEAP)
    board = run_here(ready)
    assert ready.plan.split.kind == "held_out_session" and len(ready.plan.split.folds) == 1
    detail = row(board, "linear", "quality_score")["detail"]
    assert "per_fold" not in detail and detail["pooled_plcc"] > 0.5
    markdown = (tmp_path / "run" / "leaderboard.md").read_text()
    assert "All test rows together" in markdown and "Every fold" not in markdown


def test_several_seeds_are_averaged(tmp_path: Path) -> None:
    words = (*WORDS, "seeds=[0,1]", "branch.mlp_small.steps=100")
    ready = prepared(write(tmp_path / "scores.csv", columns()), tmp_path / "run", *words, branches=("mlp_small", "prior"))
    board = run_here(ready)
    found = row(board, "mlp_small", "quality_score")
    assert found["n_seeds"] == 2 and found["detail"]["per_fold"]["0"]["n"] == 24
    by_seed = []
    for seed in (0, 1):
        one = prepared(
            tmp_path / "scores.csv", tmp_path / f"run{seed}", *WORDS, f"seeds=[{seed}]", *words[-1:], branches=("mlp_small",)
        )
        by_seed.append(row(run_here(one), "mlp_small", "quality_score")["detail"])
    for name in ("pooled_srocc", "rmse_mean", "plcc_mean"):
        assert found["detail"][name] == pytest.approx(np.mean([detail[name] for detail in by_seed]))
    assert by_seed[0]["pooled_srocc"] != by_seed[1]["pooled_srocc"]


def test_validation_groups_are_set_aside_when_asked_for(tmp_path: Path) -> None:
    words = (*WORDS, "split.validation_share=0.1", "branch.mlp_small.steps=100")
    ready = prepared(write(tmp_path / "scores.csv", columns()), tmp_path / "run", *words, branches=("mlp_small",))
    run_here(ready)
    for fold in ready.plan.split.folds:
        bundle = json.loads((ready.plan.bundle("mlp_small", fold.id, 0) / "manifest.json").read_text())
        assert tuple(bundle["fitted_on"]["early_stopping"]) == fold.validation
        assert not set(fold.test) & {e for ids in bundle["fitted_on"].values() for e in ids}
