"""Whatever stands in a file of rows: it becomes rows that score, or one line that says what is wrong. Nothing else."""

import json
import math
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qa_rows import ANSWER, qa_row
from small_run import right_rows

from harness.bundle import find_bundles
from harness.errors import BadInput
from harness.evaluate import evaluate
from harness.imports.folder import held_at
from harness.imports.own_rows import import_rows
from harness.imports.request import ImportRequest
from harness.imports.xperience import import_xperience
from harness.leaderboard import build

FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
WORDS = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates and control characters too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.just("x" * 3000) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
QA_FIELDS = (*qa_row("s0__ep0", 0), "extra")
YEARS = timedelta(days=9000)
MOMENTS = st.datetimes() | st.dates() | st.times() | st.timedeltas(-YEARS, YEARS)
CELLS = st.binary(max_size=6) | MOMENTS | st.decimals("-1e9", "1e9", places=3)
TYPED = CELLS | CELLS.map(lambda cell: [cell, cell]) | CELLS.map(lambda cell: {"action": cell, "objects": [cell]})
OWN_FIELDS = ("task", "sample", "episode", "fold", "seed", "draw", "status", "label", "labels", "values", "query", "key",
              "probabilities", "raw", "seen_until", "extra")  # fmt: skip


def qa_rows() -> list[dict[str, Any]]:
    return [qa_row(f"s{e}__ep0", i) for e in range(2) for i in range(2)]


def outcome(request: ImportRequest, run: Callable[[ImportRequest], Any], targets: Path | None) -> dict[str, Any] | None:
    """The leaderboard; None where the import, or the score, ends in one line."""
    try:
        run(request)
        held = held_at(targets or request.out)
        with np.errstate(all="ignore"):
            board = build(evaluate(held, list(find_bundles(request.out / "bundles"))), "smoke")
    except BadInput as error:
        assert "\n" not in str(error) and str(error).count("--allow-partial") <= 1, error
        assert not request.out.exists() or request.allow_partial or targets is not None
        return None
    json.dumps(board, allow_nan=False)
    return board


def write(folder: Path, rows: list[Any], cut: int = 0) -> Path:
    file = folder / "rows.jsonl"
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file.write_bytes(text[: len(text) - cut])
    return file


@FEW
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(QA_FIELDS), VALUES), max_size=3), st.integers(0, 40), st.booleans())
def test_published_rows(changes: list[tuple[int, str, Any]], cut: int, partial: bool) -> None:
    rows = qa_rows()
    for index, name, value in changes:
        rows[index][name] = value
    with TemporaryDirectory() as work:
        folder = Path(work)
        request = ImportRequest("xperience-json", (write(folder, rows, cut),), folder / "m", "m", allow_partial=partial)
        board = outcome(request, import_xperience, None)
    if board is not None:
        notes = " ".join(note for row in board["rows"] for note in row["detail"].get("notes", []))
        rows_scored = [row for row in board["rows"] if row["task"] == "qa_action"]
        assert all(row["n_samples"] == 4 or "partial" in notes for row in rows_scored), "a row was dropped without a word"


def write_typed(folder: Path, rows: list[dict[str, Any]], cells: dict[str, Any], one: bool) -> Path:
    """Parquet, in which columns hold values that JSON does not have: in each row, or in the first alone."""
    table = pa.Table.from_pylist([{name: row.get(name) for name in {**rows[0], **rows[-1]}} for row in rows])
    for name, cell in cells.items():
        column = pa.array([cell] + [None if one else cell] * (len(rows) - 1))
        there = table.schema.get_field_index(name)
        table = table.append_column(name, column) if there < 0 else table.set_column(there, name, column)
    pq.write_table(table, folder / "rows.parquet")
    return folder / "rows.parquet"


@FEW
@given(st.dictionaries(st.sampled_from(QA_FIELDS), TYPED, max_size=2), st.booleans(), st.booleans())
def test_published_rows_of_typed_cells(cells: dict[str, Any], one: bool, partial: bool) -> None:
    with TemporaryDirectory() as work:
        folder = Path(work)
        file = write_typed(folder, qa_rows(), cells, one)
        request = ImportRequest("xperience-json", (file,), folder / "m", "m", allow_partial=partial)
        board = outcome(request, import_xperience, None)
    if board is not None and not partial:
        assert all(row["n_samples"] == 4 for row in board["rows"] if row["task"] == "qa_action")


@FEW
@given(st.dictionaries(st.sampled_from(["predicted_label", "raw_prediction", "pred_json", "center_window", "extra"]), TYPED))
def test_published_answers_of_typed_cells(cells: dict[str, Any]) -> None:
    """Whatever type an answer is of, every row counts."""
    with TemporaryDirectory() as work:
        request = ImportRequest("xperience-json", (write_typed(Path(work), qa_rows(), cells, False),), Path(work) / "m", "m")
        board = outcome(request, import_xperience, None)
    assert board is not None and {row["n_samples"] for row in board["rows"]} == {4}


@FEW
@given(st.dictionaries(st.sampled_from([*ANSWER, "extra"]), VALUES, max_size=8) | VALUES, st.text(max_size=20))
def test_answers_of_published_rows(answer: Any, raw: str) -> None:
    """Whatever a model says, every row counts."""
    rows = qa_rows()
    rows[0] |= {"pred_json": answer, "raw_prediction": raw}
    rows[1] |= {"pred_json": {**ANSWER, **answer} if isinstance(answer, dict) else answer, "predicted_label": answer}
    with TemporaryDirectory() as work:
        request = ImportRequest("xperience-json", (write(Path(work), rows),), Path(work) / "m", "m")
        board = outcome(request, import_xperience, None)
    assert board is not None
    for row in board["rows"]:
        assert row["n_samples"] == 4
        assert row["coverage"] == pytest.approx(1 - sum(row["failures"].values()) / 4)


@FEW
@given(
    changes=st.lists(st.tuples(st.integers(0, 58), st.sampled_from(OWN_FIELDS), VALUES), max_size=3),
    cut=st.integers(0, 40),
    partial=st.booleans(),
    bound=st.booleans(),
)
def test_own_rows(run: Path, changes: list[tuple[int, str, Any]], cut: int, partial: bool, bound: bool) -> None:
    rows = right_rows()
    for index, name, value in changes:
        rows[index][name] = value
    with TemporaryDirectory() as work:
        folder = Path(work)
        targets = run if bound else None
        request = ImportRequest("jsonl", (write(folder, rows, cut),), folder / "m", "m", targets, allow_partial=partial)
        if not bound:
            unbound(request)
            return
        board = outcome(request, import_rows, run)
    if board is not None:
        samples = Counter({row["task"]: row["n_samples"] for row in board["rows"]})
        expected = {"timeline_action": 14, **dict.fromkeys(set(samples) - {"timeline_action"}, 15)}
        assert samples == Counter(expected)


@FEW
@given(st.dictionaries(st.sampled_from(OWN_FIELDS), TYPED, max_size=2), st.booleans(), st.booleans())
def test_own_rows_of_typed_cells(run: Path, cells: dict[str, Any], one: bool, partial: bool) -> None:
    rows = right_rows()
    of_task = [row for row in rows if row["task"] == rows[0]["task"]]
    with TemporaryDirectory() as work:
        folder = Path(work)
        file = write_typed(folder, of_task, cells, one)
        outcome(ImportRequest("parquet", (file,), folder / "m", "m", run, allow_partial=partial), import_rows, run)


def unbound(request: ImportRequest) -> None:
    """Without a run the rows are put away whole, or there is one line."""
    try:
        done = import_rows(request)
    except BadInput as error:
        assert "\n" not in str(error)
        return
    stored = sum(pq.read_metadata(path).num_rows for path in (request.out / "rows").glob("*.parquet"))
    assert stored == done["rows"] and (stored == 59 or done["note"])


@FEW
@given(
    values=st.lists(st.floats(width=64) | st.none() | st.integers(-(10**400), 10**400), max_size=5),
    kind=st.sampled_from(["values", "query", "key"]),
)
def test_numbers(run: Path, values: list[Any], kind: str) -> None:
    """A vector that is not finite or not of the width asked for fails alone."""
    rows = right_rows()
    index = next(i for i, row in enumerate(rows) if kind in row)
    rows[index][kind] = values
    with TemporaryDirectory() as work:
        request = ImportRequest("jsonl", (write(Path(work), rows),), Path(work) / "m", "m", run)
        board = outcome(request, import_rows, run)
    assert board is not None
    width = len(right_rows()[index][kind])
    fits = len(values) == width and all(v is not None and math.isfinite(_float32(v)) for v in values)
    zero = kind != "values" and fits and not any(_float32(v) for v in values)
    failures = {row["task"]: row["failures"] for row in board["rows"]}
    task = rows[index]["task"]
    assert sum(failures[task].values()) == (0 if fits else 1) or zero
    assert all(found == {} for name, found in failures.items() if name != task)


def _float32(value: float) -> float:
    try:
        with np.errstate(over="ignore"):
            return float(np.float32(float(value)))
    except OverflowError:
        return math.inf


@FEW
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    with TemporaryDirectory() as work:
        for kind, run, ending in (("xperience-json", import_xperience, "jsonl"), ("xperience-json", import_xperience, "csv"),
                                  ("jsonl", import_rows, "jsonl"), ("parquet", import_rows, "parquet")):  # fmt: skip
            file = Path(work) / f"rows.{ending}"
            file.write_bytes(data)
            with pytest.raises(BadInput) as raised:
                run(ImportRequest(kind, (file,), Path(work) / "m", "m"))
            assert "\n" not in str(raised.value)


@FEW
@given(st.integers(1, 3000))
def test_a_cut_parquet_file(keep: int) -> None:
    with TemporaryDirectory() as work:
        file = Path(work) / "rows.parquet"
        rows = [{name: row.get(name) for name in ("task", "sample", "episode", "label")} for row in right_rows()[:4]]
        pq.write_table(pa.Table.from_pylist(rows), file)
        whole = file.read_bytes()
        file.write_bytes(whole[: min(keep, len(whole) - 1)])
        with pytest.raises(BadInput):
            import_rows(ImportRequest("parquet", (file,), Path(work) / "m", "m"))
