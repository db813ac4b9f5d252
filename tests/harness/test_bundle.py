"""What stands in a bundle is checked where it is read: any manifest, any part is scored, or one line says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_board import TASK, TEST, board_of, bundle, make_held

from harness.bundle import COST, Bundle
from harness.errors import BadInput
from harness.held import Held

FIELDS = [name for name in Bundle.__dataclass_fields__ if name != "folder"]
NAMES = ("notes", "published", "weights", "pretraining", "fitted", "train_s", "params", TASK.id)
WORDS = st.sampled_from(NAMES) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return make_held(tmp_path_factory.mktemp("held"))


def loaded(held: Held, folder: Path, changes: dict[str, Any]) -> Bundle:
    bundle(held, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return Bundle.load(folder)


WRONG = [
    ("fitted_on", ["train"]),
    ("fitted_on", {"weights": ["train"], "scaler": [1, "train"]}),
    ("routes", [TASK.id]),
    ("classes", ["pour"]),
    ("classes", {TASK.id: "pour"}),
    ("fold", "0"),
    ("fold", True),
    ("seed", 2**40),
    ("card", None),
    ("card", {"weights": 3}),
    ("prompts", "wipe"),
    ("prompts", [{"a": "wipe"}]),
    ("spans", {"train": [0]}),
    ("imported", 0),
    ("cost", {"params": "many"}),
    ("cost", {"train_s": float("nan")}),
    ("details", {"published": {TASK.id: {"accuracy": float("inf")}}}),
    ("details", {"notes": ["a"]}),
    ("inputs", {TASK.id: "video"}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}={value}" for name, value in WRONG])
def test_a_field_of_another_type_is_named(held: Held, tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(BadInput, match=rf"manifest\.json: not a bundle manifest of schema .* \({name}"):
        loaded(held, tmp_path / "m", {name: value})


@pytest.mark.parametrize("text", ["", "[1]", "\xff", "[" * 100_000, '{"schema": "other"}'])
def test_a_file_that_is_no_manifest_is_one_line(held: Held, tmp_path: Path, text: str) -> None:
    bundle(held, tmp_path / "m")
    (tmp_path / "m" / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match="not a bundle manifest of schema") as raised:
        Bundle.load(tmp_path / "m")
    assert "\n" not in str(raised.value)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=2))
def test_any_manifest_is_scored_or_one_line(held: Held, changes: dict[str, Any]) -> None:
    with TemporaryDirectory() as work:
        try:
            board = board_of(held, loaded(held, Path(work) / "m", changes))
        except BadInput as error:
            assert "\n" not in str(error)
            return
    json.dumps(board, allow_nan=False)
    assert board["rows"] or not changes.get("routes", True)


def rewritten(held: Held, folder: Path, change: Callable[[pa.Table], pa.Table]) -> Bundle:
    made = bundle(held, folder)
    part = folder / f"part-{TEST[0]}-0000000.parquet"
    pq.write_table(change(pq.read_table(part)), part)
    return made


def column(name: str, kind: pa.DataType, value: Any) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        cells = pa.array([value] * len(table), kind)
        return table.set_column(table.schema.get_field_index(name), name, cells)

    return change


def with_another_task(table: pa.Table) -> pa.Table:
    other = table.set_column(0, "task", pa.array(["next_action"] * len(table)).dictionary_encode())
    return pa.concat_tables([table, other]).unify_dictionaries()


BROKEN = [
    (column("label", pa.string(), "pour"), "column 'label' is string, not dictionary"),
    (column("label", pa.int64(), 1), "column 'label' is int64, not dictionary"),
    (column("labels", pa.list_(pa.string()), ["cup", None]), "column 'labels' has nulls within its lists"),
    (column("seen_until", pa.string(), "noon"), "column 'seen_until' is string, not double"),
    (column("sample", pa.string(), None), "column 'sample' has 10 nulls"),
    (column("task", pa.dictionary(pa.int32(), pa.string()), None), "rows of several tasks or of none"),
    (with_another_task, "rows of several tasks or of none"),
    (lambda table: table.drop(["status"]), "no column 'status'"),
    (lambda table: table.replace_schema_metadata({COST: b'{"seconds": "two"}'}), "its cost: seconds is no float"),
    (lambda table: table.replace_schema_metadata({COST: b"3"}), "its cost: it is no object"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_part_of_other_columns_is_named(held: Held, tmp_path: Path, change: Any, said: str) -> None:
    made = rewritten(held, tmp_path / "m", change)
    with np.errstate(all="ignore"), pytest.raises(BadInput, match=said) as raised:
        board_of(held, made)
    assert f"part-{TEST[0]}-0000000.parquet: no bundle part" in str(raised.value)
