"""A plain table: each value of the group column is an episode; what the options do not say or say wrongly is one clear line."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.card import Card, TableOptions
from harness.episode import Modality
from harness.errors import BadInput
from harness.readers import recognise
from harness.readers.table import TableReader

COLUMNS = {
    "source": ["b", "a", "b", "a", "c"],
    "sharpness": [1.0, 2.0, None, 4.0, float("nan")],
    "frames": [10, 20, 30, 40, 50],
    "note": ["x", "y", "z", "x", "y"],
    "score": [0.1, 0.2, 0.3, None, 0.5],
}


def write(path: Path, columns: dict = COLUMNS) -> Path:
    table = pa.table(columns)
    pcsv.write_csv(table, path) if path.suffix == ".csv" else pq.write_table(table, path)
    return path


def reader(path: Path, group: str | None = "source", target: str | None = "score", features=()) -> TableReader:
    return TableReader(path, Card(format="table", table=TableOptions(group, target, list(features))))


@pytest.fixture(params=["scores.csv", "scores.parquet"])
def path(request, tmp_path) -> Path:
    return write(tmp_path / request.param)


def test_each_group_is_an_episode_of_its_rows_in_order(path):
    found = reader(path)
    refs, errors = found.list_episodes()
    assert errors == [] and [(ref.id, ref.index, ref.uris) for ref in refs] == [(g, i, (str(path),)) for i, g in enumerate("abc")]
    episode = found.read(refs[1])
    assert episode.cluster == "b" and episode.reference == "row"
    assert episode.timeline.tolist() == [0.0, 1.0]
    assert episode.tracks["row"].data.tolist() == [[0], [2]]
    features, target = episode.tracks["features"], episode.tracks["target"]
    assert {track.modality for track in episode.tracks.values()} == {Modality.TABLE}
    assert features.names == ("sharpness", "frames") and target.names == ("score",)
    assert features.data[:, 1].tolist() == [10.0, 30.0]
    assert target.data.tolist() == [[0.1], [0.3]] and target.valid is None


def test_empty_cells_and_nan_are_masked(path):
    found = reader(path)
    read = {ref.id: found.read(ref) for ref in found.list_episodes()[0]}
    assert read["b"].tracks["features"].valid.tolist() == [[True, True], [False, True]]
    assert read["c"].tracks["features"].valid.tolist() == [[False, True]]
    assert read["a"].tracks["target"].mask().tolist() == [True, False]


def test_named_features_come_in_the_order_named(path):
    found = reader(path, features=["frames", "sharpness"])
    track = found.read(found.list_episodes()[0][0]).tracks["features"]
    assert track.names == ("frames", "sharpness") and track.data[:, 0].tolist() == [20.0, 40.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": None}, r"which column is the group\? pass table\.group=COLUMN; known: source, sharpness"),
        ({"target": None}, r"pass table\.target=COLUMN"),
        ({"group": "sourse"}, r"no column 'sourse'; did you mean 'source'\?"),
        ({"features": ["frame"]}, r"no column 'frame'; did you mean 'frames'\?"),
        ({"target": "note"}, r"column 'note' is string, not numeric"),
        ({"features": ["note"]}, r"column 'note' is string, not numeric"),
        ({"features": ["score"]}, r"must be different columns"),
        ({"group": "score"}, r"must be different columns"),
    ],
)
def test_wrong_options_are_bad_input_that_says_what_to_do(path, options, message):
    with pytest.raises(BadInput, match=message):
        reader(path, **options).list_episodes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    "source",
    [["a", None, "a", None, "b"], ["a", "", "a", None, "b"], ["a", " ", "a", "", "b"], [1.5, None, 1.5, float("nan"), 2.5]],
)
def test_rows_without_a_group_are_counted_not_dropped_in_silence(tmp_path, suffix, source):
    path = write(tmp_path / f"t{suffix}", COLUMNS | {"source": source})
    found = reader(path)
    refs, [(name, where, reason)] = found.list_episodes()
    assert [ref.id for ref in refs] == [str(source[0]), str(source[-1])]
    assert found.read(refs[0]).tracks["row"].data.ravel().tolist() == [0, 2]
    assert (name, where) == ("(no group)", str(path)) and reason.startswith("2 rows")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clp", r"no column 'clp'; did you mean 'clip'"),
        ("score", "must be different columns"),
        ("source", "must be different columns"),
    ],
)
def test_a_content_column_that_cannot_be_is_one_line(tmp_path, content, message):
    path = write(tmp_path / "t.csv", COLUMNS | {"clip": [1, 2, 3, 4, 5]})
    options = TableOptions("source", "score", [], content)
    with pytest.raises(BadInput, match=message):
        TableReader(path, Card(format="table", table=options)).list_episodes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_content_column_is_no_feature_and_names_who_shares(tmp_path, suffix):
    # b: 1 and 2, a: 1 and none, c: 2; a row without a group is nobody's.
    columns = COLUMNS | {"source": ["b", "a", "b", "a", "c"], "clip": [1, 1, 2, None, 2]}
    columns = {name: [*values, values[0]] for name, values in columns.items()} | {"source": ["b", "a", "b", "a", "c", None]}
    path = write(tmp_path / f"t{suffix}", columns)
    found = TableReader(path, Card(format="table", table=TableOptions("source", "score", [], "clip")))
    shared, by = found.shared_content()
    assert by == "column 'clip'" and [(one.groups, one.rows) for one in shared] == [(("a", "b"), 1), (("b", "c"), 1)]
    assert found.read(found.list_episodes()[0][0]).tracks["features"].names == ("sharpness", "frames")
    assert "a and b share 1 rows (equal values of column 'clip')" in found.remarks()


@pytest.mark.parametrize("column", ["score", "sharpness"])
@pytest.mark.parametrize("value", [1e39, -1e200])
def test_a_cell_beyond_float32_is_refused_by_row_and_column(path, column, value):
    cells = [*COLUMNS[column][:4], value]
    write(path, COLUMNS | {column: cells})
    with pytest.raises(BadInput, match=rf"column '{column}', row 5 \(1 = .*{re.escape(f'{value:g}')} is beyond float32 \(1 such"):
        reader(path).list_episodes()
    # What is not used, or belongs to no group, hinders nobody; the largest float32 is one.
    write(path, COLUMNS | {"unused": [value] * 5})
    assert len(reader(path, features=["frames"]).list_episodes()[0]) == 3
    write(path, COLUMNS | {column: cells, "source": ["a", "b", "a", "b", None]})
    assert len(reader(path).list_episodes()[0]) == 2
    write(path, COLUMNS | {column: [*cells[:4], float(np.finfo(np.float32).max)]})
    assert len(reader(path).list_episodes()[0]) == 3


def test_a_table_that_is_used_whole_says_nothing(tmp_path):
    columns = {"source": ["a", "a", "b"], "x": [1.0, 2.0, 3.0], "score": [1, 2, 3]}
    assert reader(write(tmp_path / "t.csv", columns)).remarks() == []


@pytest.mark.parametrize("none", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_empty_cells_of_features_are_counted_by_column(tmp_path, suffix, none):
    columns = {"source": ["a", "a", "b", None], "x": [1.5, none, none, none], "y": [1.5, 2, 3, 4], "score": [1, 2, 3, 4]}
    assert reader(write(tmp_path / f"t{suffix}", columns)).remarks() == [
        "2 cell(s) of features are empty, NaN or infinite and read as 0: 'x' 2 of 3"
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("column", ["score", "frames"])
def test_whole_numbers_beyond_two_to_the_53_are_rounded(tmp_path, suffix, column):
    """Nanoseconds since 1970, or an id: every numeric column is a feature unless features are named."""
    cells = [1_700_000_000_000_000_001 + i for i in range(5)]
    found = reader(write(tmp_path / f"t{suffix}", COLUMNS | {column: cells}))
    episode = found.read(found.list_episodes()[0][0])
    assert episode.tracks["target" if column == "score" else "features"].data[0, -1] == float(cells[1])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_text_that_is_not_utf8_is_one_line(tmp_path, suffix):
    path = write(tmp_path / f"t{suffix}")
    damaged = tmp_path / f"damaged{suffix}"
    damaged.write_bytes(path.read_bytes().replace(b"sharpness", b"sharpnes\xe9"))
    with pytest.raises(BadInput, match=r"names of the columns are not UTF-8; save the file as UTF-8|not a readable table"):
        TableReader.fingerprint(damaged)


def test_a_group_that_is_not_utf8_is_one_line(tmp_path):
    text = "source,x,score\nk\xf6ln,1,2\nbonn,2,3\n"
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"column 'source' is binary, not text \(in UTF-8\).*save it as one of these or name"):
        reader(tmp_path / "t.csv").list_episodes()
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8"))
    assert [ref.id for ref in reader(tmp_path / "t.csv").list_episodes()[0]] == ["bonn", "k\xf6ln"]


@pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"\xff", b"a"]])
@pytest.mark.parametrize("content", [None, "source"])
def test_a_group_or_content_that_is_no_name_is_one_line(tmp_path, cells, content):
    path = write(tmp_path / "t.parquet", {"source": cells, "place": ["a", "b"], "x": [1, 2], "score": [1, 2]})
    options = TableOptions("place" if content else "source", "score", [], content)
    with pytest.raises(BadInput, match=r"column 'source' is .*, not text \(in UTF-8\), numbers or dates"):
        TableReader(path, Card(format="table", table=options)).list_episodes()


@pytest.mark.parametrize(
    "cells",
    [pa.array([1, 2], pa.timestamp("ns", "UTC")), pa.array([1, 2], pa.time64("us")), pa.array([1, 2], pa.duration("s")),
     pa.array(["a", "b"]).dictionary_encode(), pa.array([1, 2]).dictionary_encode(), pa.array([True, False]),
     pa.array([1, 2], pa.decimal128(5, 2)), pa.array([1.5, 2.5], pa.float16()), pa.array(["a", "b"], pa.string_view())],
)  # fmt: skip
def test_a_group_may_be_of_many_types(tmp_path, cells):
    found = reader(write(tmp_path / "t.parquet", {"source": cells, "x": [1, 2], "score": [1, 2]}))
    assert len(found.list_episodes()[0]) == 2 and len(found.read(found.list_episodes()[0][0]).timeline) == 1


def test_columns_that_are_no_features_are_named_with_what_stands_in_them(tmp_path):
    """One text cell makes a CSV column text, and the feature is gone: not without a word."""
    columns = {
        "source": ["a", "a", "b"],
        "sharpness": ["1.5", "2.5", "about 3"],
        "empty": [None, None, None],
        "day": pa.array([1, 2, 3], pa.date32()),
        "x": [1.0, 2.0, 3.0],
        "score": [1.0, 2.0, 3.0],
    }
    found = reader(write(tmp_path / "t.csv", columns))
    assert found.read(found.list_episodes()[0][0]).tracks["features"].names == ("x",)
    assert found.remarks() == [
        "3 column(s) are no features: 'sharpness' (1 of 3 cells are no number, first in row 3), 'empty' (empty), 'day' "
        "(date32[day]); correct the cells, or name table.features=[A,B]"
    ]
    assert reader(tmp_path / "t.csv", features=["x"]).remarks() == []  # that was a choice


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.decimal128(5, 2)])
def test_numbers_of_another_type_are_named_too(tmp_path, kind):
    table = pa.table({"source": ["a", "b"], "noise": pa.array(["1", "2"]).cast(kind), "x": [1, 2], "score": [1, 2]})
    pq.write_table(table, tmp_path / "t.parquet")
    [line] = reader(tmp_path / "t.parquet").remarks()
    assert line.startswith(f"1 column(s) are no features: 'noise' ({'decimal128' if kind == pa.decimal128(5, 2) else ''}")


@pytest.mark.parametrize("none", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_without_a_target_are_counted_by_group(tmp_path, suffix, none):
    columns = {"source": ["a", "a", "b", "b", "b", None], "x": [1, 2, 3, 4, 5, 6], "score": [1.5, none, none, 2.5, none, none]}
    found = reader(write(tmp_path / f"t{suffix}", columns))
    assert [ref.id for ref in found.list_episodes()[0]] == ["a", "b"]
    assert found.remarks() == [
        "3 of 5 rows have no target (column 'score' is empty, NaN or infinite) and are neither trained on nor scored: a 1 of 2, "
        "b 2 of 3"
    ]


def test_a_group_without_any_target_cannot_be_listed(tmp_path):
    columns = {"source": ["a", "b", "b", "c"], "x": [1, 2, 3, 4], "score": [1.5, None, float("nan"), 2.5]}
    refs, [(name, where, reason)] = reader(write(tmp_path / "t.csv", columns)).list_episodes()
    assert [(ref.id, ref.index) for ref in refs] == [("a", 0), ("c", 2)]
    assert (name, where) == ("b", str(tmp_path / "t.csv")) and reason.startswith(
        "none of its rows has a target in column 'score'"
    )


def test_features_that_are_few_cannot_tell_who_shares(path):
    assert reader(path).shared_content() == ([], "nothing")


def test_a_group_may_be_called_na(tmp_path):
    path = write(tmp_path / "t.csv", COLUMNS | {"source": ["NA", "EU", "NA", "EU", "null"]})
    refs, errors = reader(path).list_episodes()
    assert [ref.id for ref in refs] == ["EU", "NA", "null"] and errors == []


def test_a_table_without_any_group_has_no_episode(tmp_path):
    refs, [(_, _, reason)] = reader(write(tmp_path / "t.csv", COLUMNS | {"source": [None] * 5})).list_episodes()
    assert refs == [] and reason.startswith("5 rows")


def test_groups_may_be_numbers(tmp_path):
    path = write(tmp_path / "t.csv", COLUMNS | {"source": [10, 2, 10, 2, 3]})
    found = reader(path)
    refs = found.list_episodes()[0]
    assert [ref.id for ref in refs] == ["10", "2", "3"]
    assert found.read(refs[0]).tracks["row"].data.ravel().tolist() == [0, 2]


def test_a_changed_file_is_read_again(tmp_path):
    path = write(tmp_path / "t.csv")
    assert len(reader(path).list_episodes()[0]) == 3
    write(path, {key: values[:2] for key, values in COLUMNS.items()})
    assert len(reader(path).list_episodes()[0]) == 2


def test_types_are_those_of_the_whole_csv_column(tmp_path):
    """A column of a million whole numbers may end in a fraction."""
    count = 200_000
    columns = {"g": ["a"] * count, "x": [1] * count, "y": [*range(count - 1), 0.5]}
    lines = ["g,x,y", *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = reader(tmp_path / "t.csv", "g", "y")
    assert found.read(found.list_episodes()[0][0]).tracks["target"].data[-1, 0] == 0.5


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_text("not a table")
    (tmp_path / "t.csv").write_text("")
    for name in ("t.parquet", "t.csv"):
        with pytest.raises(BadInput, match="not a readable table"):
            reader(tmp_path / name).list_episodes()


def test_tables_are_recognised_by_their_suffix(path, tmp_path):
    assert recognise(path) == "table"
    assert not TableReader.recognises(tmp_path)
    assert TableReader.fingerprint(path) == {"columns": "source,sharpness,frames,note,score"}
    assert TableReader(path, Card()).infer().format == "table"


numbers = st.one_of(st.none(), st.floats(-3e38, 3e38), st.just(float("nan")))


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("pqr"), numbers, numbers), min_size=1, max_size=20))
def test_the_episodes_together_are_the_table(tmp_path_factory, rows):
    groups, x, y = (list(column) for column in zip(*rows, strict=True))
    columns = {"g": groups, "x": pa.array(x, pa.float64()), "y": pa.array(y, pa.float64())}
    found = reader(write(tmp_path_factory.mktemp("t") / "t.parquet", columns), "g", "y")
    read = [found.read(ref) for ref in found.list_episodes()[0]]
    posed = {group for group, value in zip(groups, y, strict=True) if value is not None and np.isfinite(value)}
    order = np.array([row for episode in read for row in episode.tracks["row"].data[:, 0]], int)
    assert sorted(order) == [row for row, group in enumerate(groups) if group in posed]
    if not posed:
        return
    for name, values in (("features", x), ("target", y)):
        expected = np.array(values, float)[order]
        got = np.concatenate([episode.tracks[name].data[:, 0] for episode in read])
        assert np.array_equal(got, expected, equal_nan=True)
        assert np.array_equal(np.concatenate([episode.tracks[name].mask() for episode in read]), np.isfinite(expected))
