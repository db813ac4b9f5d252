"""Targets and predictions survive the way through Parquet."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.answers import Predictions, Status, Targets, all_ok, recode, recode_sets
from harness.boundaries import Boundaries
from harness.tables import (
    by_task,
    predictions_table,
    read_predictions,
    read_samples,
    read_targets,
    sample_ids,
    targets_table,
    write_atomically,
)
from harness.window import Samples, WindowSpec, make_samples

SPEC = WindowSpec(length=4, stride=2)


def samples(n: int = 5, kind: str = "window") -> Samples:
    return make_samples(kind, "ep-1", np.arange(2 * n + 2) / 20, SPEC).take(np.arange(n))


def test_targets_round_trip(tmp_path: Path) -> None:
    rows, rng = samples(), np.random.default_rng(0)
    labels = Targets(np.array([1, 1, 0, 1, 1], bool), labels=np.array([0, 1, -1, 1, 0], np.int32), vocabulary=("a", "b"))
    sets = Targets(np.ones(5, bool), label_sets=rng.random((5, 3)) < 0.5, vocabulary=("x", "y", "z"))
    values = rng.normal(size=(5, 6)).astype(np.float32)
    vectors = Targets(np.ones(5, bool), values=values, mask=rng.random((5, 6)) < 0.5, reference=values + 1)
    path = tmp_path / "e.parquet"
    tables = [targets_table("l", rows, labels), targets_table("s", rows, sets), targets_table("v", rows, vectors)]
    write_atomically(tables, path, {b"k": b"1"})
    assert [p.name for p in tmp_path.iterdir()] == ["e.parquet"]
    assert pq.read_schema(path).metadata[b"k"] == b"1"
    found = dict(by_task(path))
    assert list(found) == ["l", "s", "v"]
    back = read_samples(found["l"], "window", 4)
    assert (back.ids == rows.ids).all() and (back.starts == rows.starts).all() and (back.t0 == rows.t0).all()
    got = read_targets(found["l"], "label")
    assert (got.valid == labels.valid).all()
    assert [got.vocabulary[c] if c >= 0 else None for c in got.labels] == ["a", "b", None, "b", "a"]
    got = read_targets(found["s"], "label_set")
    assert (recode_sets(got.label_sets, got.vocabulary, ("x", "y", "z")) == sets.label_sets).all()
    got = read_targets(found["v"], "vector")
    for name in ("values", "mask", "reference"):
        assert (getattr(got, name) == getattr(vectors, name)).all(), name
    assert dict(by_task(path, ["v"])).keys() == {"v"}


@pytest.mark.parametrize("near", [np.zeros((5, 0)), np.array([[0.1, 0.3], [0.1, np.nan], *[[np.nan, np.nan]] * 3])])
def test_boundaries_round_trip_and_older_files_have_none(tmp_path: Path, near: np.ndarray) -> None:
    rows, labels = samples(), np.zeros(5, np.int32)
    about = Boundaries(np.arange(5) / 3, near, np.arange(5, dtype=np.int32))
    targets = Targets(np.ones(5, bool), labels=labels, vocabulary=("a",), boundaries=about)
    write_atomically(
        [targets_table("t", rows, targets), targets_table("u", rows, replace(targets, boundaries=None))], tmp_path / "e"
    )
    found = dict(by_task(tmp_path / "e"))
    got = read_targets(found["t"], "label").boundaries
    for name in ("centre", "near", "unreached"):
        np.testing.assert_array_equal(getattr(got, name), getattr(about, name))
        assert getattr(got, name).dtype == getattr(about, name).dtype
    assert read_targets(found["u"], "label").boundaries is None
    older = found["t"].drop_columns(["centre", "near", "unreached"])
    assert read_targets(older, "label").boundaries is None and read_targets(older, "label").valid.all()


def test_predictions_round_trip_with_words_beyond_the_classes(tmp_path: Path) -> None:
    rows = samples()
    status = all_ok(5)
    status[2] = Status.PARSE_ERROR.value
    given_rows = Predictions(
        status,
        labels=np.array([2, 0, -1, 3, 1], np.int32),
        vocabulary=("a", "b", "c", "new"),
        probabilities=np.full((5, 3), 1 / 3, np.float32),
        raw=("c", "a", "<b>garbage", "new", "b"),
    )
    write_atomically([predictions_table("t", rows, given_rows, 1, 7, 0)], tmp_path / "p.parquet")
    [(task, table)] = list(by_task(tmp_path / "p.parquet"))
    got = read_predictions(table, ("a", "b", "c"))
    assert task == "t" and (sample_ids(table) == rows.ids).all()
    assert [got.vocabulary[c] if c >= 0 else None for c in got.labels] == ["c", "a", None, "new", "b"]
    assert got.probabilities.shape == (5, 3) and got.raw == given_rows.raw
    assert got.status.tolist() == status.tolist()


def test_rows_of_a_wrong_length_become_nan_not_a_crash(tmp_path: Path) -> None:
    one = predictions_table("t", samples(3), Predictions(all_ok(3), values=np.ones((3, 4), np.float32)), 0, 0, 0)
    odd = predictions_table("t", samples(3), Predictions(all_ok(3), values=np.ones((3, 2), np.float32)), 0, 0, 0)
    import pyarrow as pa

    got = read_predictions(pa.concat_tables([one, odd]).combine_chunks(), ())
    assert got.values.shape == (6, 4) and np.isnan(got.values[3:]).all() and (got.values[:3] == 1).all()


def test_an_unknown_status_is_named() -> None:
    table = predictions_table("t", samples(2), Predictions(np.array(["ok", "fine"])), 0, 0, 0)
    with pytest.raises(ValueError, match="fine"):
        read_predictions(table, ())


@given(st.lists(st.integers(-1, 3), max_size=20), st.permutations(list("abcd")), st.sets(st.sampled_from("abcd")))
def test_recoding_keeps_words(codes: list[int], new: list[str], dropped: set[str]) -> None:
    old = tuple("abcd")
    kept = tuple(w for w in new if w not in dropped)
    got = recode(np.array(codes, np.int32), old, kept)
    words = [kept[c] if c >= 0 else None for c in got]
    assert words == [old[c] if c >= 0 and old[c] in kept else None for c in codes]
