"""Rows on disk, their scaler, and their singular vectors in both forms."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import Ridge as Reference

from branches.heads import rotation as rotation_module
from branches.heads.ridge import factorise, ridge_problem
from branches.heads.rotation import fit_rotation
from branches.heads.scaler import ScaledRows, column_moments, fit_scaler
from harness import row_file as rows_module
from harness.row_file import RowFile


@pytest.fixture
def row_file(tmp_path):
    def make(values, name="x.rows"):
        file = RowFile(tmp_path / name)
        for part in np.array_split(values.astype(np.float32), 3):
            file.append(part)
        return file

    return make


def scaled(file, keep=None, clip=10.0, **more):
    keep = np.ones(len(file), bool) if keep is None else keep
    return ScaledRows(file, fit_scaler(file, keep, clip, **more))


def test_rows_come_back_as_they_were(row_file, monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    file = row_file(values)
    np.testing.assert_array_equal(file.read(np.array([3, 3, 40])), values[[3, 3, 40]])
    np.testing.assert_array_equal(file.read(slice(5, 9), slice(2, 4)), values[5:9, 2:4])
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 4 * 7 * 8)
    parts = list(file.chunks())
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in parts]), values)


def test_rows_of_another_width_are_refused(row_file):
    with pytest.raises(ValueError, match="rows of 3 columns after rows of 7"):
        row_file(np.zeros((4, 7))).append(np.zeros((1, 3), np.float32))


@given(
    values=arrays(np.float32, (12, 3), elements=st.floats(-1e3, 1e3, width=32)),
    missing=arrays(bool, (12, 3)),
    kept=arrays(bool, 12),
)
@settings(max_examples=40, deadline=None)
def test_moments_are_over_measured_entries_of_kept_rows(tmp_path_factory, values, missing, kept):
    file = RowFile(tmp_path_factory.mktemp("rows") / "x")
    raw = np.where(missing, np.nan, values).astype(np.float32)
    file.append(raw)
    mean, std, varies = column_moments(file, kept)
    for column in range(3):
        measured = raw[kept, column].astype(np.float64)
        measured = measured[np.isfinite(measured)]
        assert mean[column] == pytest.approx(measured.mean() if len(measured) else 0, abs=1e-3, rel=1e-5)
        expected = measured.std() if len(measured) else 0
        assert std[column] == pytest.approx(expected if expected >= 1e-6 else 1, abs=1e-3, rel=1e-4)
        assert varies[column] or expected < 1e-3
        assert not varies[column] or len(measured) > 1


def test_a_large_mean_costs_no_digits(row_file):
    values = 1e6 + np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 100.0]
    mean, std, _ = column_moments(row_file(values), np.ones(400, bool))
    stored = values.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(mean, stored.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, stored.std(axis=0), rtol=1e-6)


def test_scaled_rows_are_cut_weighted_and_filled_with_the_mean(row_file):
    values = np.random.default_rng(0).normal(size=(100, 5)) * 3 + 2
    values[:, 4] = 7.0  # a constant
    values = np.column_stack([values, values[:, 0] ** 2])
    rows = scaled(row_file(values), clip=2.5, groups=[slice(0, 5), slice(5, 6)])
    np.testing.assert_allclose(rows.scaler.weight, [1, 1, 1, 1, 1, 2])  # four columns of the first group vary
    raw = np.array([[1e9, -1e9, np.nan, 2, 7, 0]], np.float32)
    found = rows.scaler(raw)[0]
    np.testing.assert_allclose(found[:3], [2.5, -2.5, 0])
    assert found[4] == 0
    np.testing.assert_array_equal(rows.take(slice(1, 3)).read(slice(None)), rows.read(slice(None))[:, 1:3])


def test_columns_that_never_vary_change_the_weight_of_no_other(row_file):
    rng = np.random.default_rng(0)
    shown, recent = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    dark, same = np.full((40, 30), np.nan), np.full((40, 20), 0.3)  # nothing of one sensor is measured, another says one word
    alone = scaled(row_file(np.column_stack([shown, recent])), groups=[slice(0, 6), slice(6, 8)])
    among = scaled(row_file(np.column_stack([shown, dark, same, recent]), "y.rows"), groups=[slice(0, 56), slice(56, 58)])
    kept = [*range(6), 56, 57]
    np.testing.assert_array_equal(among.scaler.weight[kept], alone.scaler.weight)
    np.testing.assert_allclose(alone.scaler.weight[-2:], np.sqrt(3))
    np.testing.assert_array_equal(among.read(slice(None))[:, kept], alone.read(slice(None)))
    assert not among.read(slice(None))[:, 6:56].any()


def test_layer_norm_brings_every_row_to_mean_0_and_variance_1(row_file):
    rows = scaled(row_file(np.random.default_rng(0).normal(size=(30, 40))), layer_norm=True).read(slice(None))
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(rows.var(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("shape", [(30, 12), (30, 30), (20, 55)])
def test_both_forms_answer_as_ridge_on_the_columns(row_file, monkeypatch, shape):
    """Fewer columns than rows: from the columns' Gram matrix. More: from the rows'. Either way what scikit-learn says."""
    rng = np.random.default_rng(5)
    rows = scaled(row_file(rng.normal(size=shape)), clip=100.0)
    x, y = rows.read(slice(None)).astype(np.float64), rng.normal(size=(shape[0], 2))
    new = rng.normal(size=(6, shape[1])).astype(np.float32)
    rotation = fit_rotation(rows, np.ones(shape[0], bool), 1024, 4096)
    assert (rotation.vectors is not None) == (shape[1] < shape[0])
    file = RowFile(rows.file.path.with_suffix(".z"))
    rotation.write_coordinates(file, shape[0])
    z = file.read(slice(None)).astype(np.float64)
    np.testing.assert_allclose(rotation.rotate(x.astype(np.float32)), z, atol=1e-4)
    for penalty in (0.1, 10.0, 1e3):
        problem = ridge_problem(factorise(lambda i: z[i], np.ones(len(z))), lambda i: z[i], lambda i: y[i])
        weights, intercept = problem.solve(np.full(2, penalty))
        expected = Reference(alpha=penalty).fit(x, y).predict(new)
        np.testing.assert_allclose(new @ rotation.expand(weights) + intercept, expected, atol=2e-4)
        np.testing.assert_allclose(rotation.rotate(new) @ weights + intercept, expected, atol=2e-4)


def test_rows_and_columns_forms_agree(row_file):
    rng = np.random.default_rng(6)
    rows = scaled(row_file(rng.normal(size=(40, 25))))
    columns = fit_rotation(rows, np.ones(40, bool), 1024, 4096)
    dual = rotation_module._from_rows(rows, np.arange(40), 1024, 4096)
    np.testing.assert_allclose(columns.values, dual.values, rtol=1e-6)
    one, other = columns.expand(np.eye(25)), dual.expand(np.eye(25))
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-4)


def test_rank_and_gram_are_bounded(row_file):
    """Where both rows and columns are many, evenly spaced rows stand for all; every row still has coordinates."""
    rng = np.random.default_rng(7)
    low = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 90)) + 0.01 * rng.normal(size=(200, 90))
    rows = scaled(row_file(low))
    rotation = fit_rotation(rows, np.ones(200, bool), max_rank=4, max_gram=50)
    assert rotation.rank == 4 and rotation.vectors is not None
    x = rows.read(slice(None))
    rebuilt = rotation.rotate(x) @ rotation.expand(np.eye(4)).T
    assert np.square(x - rebuilt).sum() < 1e-3 * np.square(x).sum()


def test_memory_of_the_streamed_form_does_not_grow_with_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 2**18)

    def peak(n):
        file, targets = RowFile(tmp_path / f"{n}.x"), RowFile(tmp_path / f"{n}.y")
        rng = np.random.default_rng(0)
        for _ in range(n // 1000):
            block = rng.normal(size=(1000, 64)).astype(np.float32)
            file.append(block)
            targets.append(block[:, :8] * 2)
        keep, groups = np.ones(n, bool), np.arange(n) // 1000
        tracemalloc.start()
        rows = scaled(file, keep)
        rotation = fit_rotation(rows, keep, 1024, 4096)
        z = RowFile(tmp_path / f"{n}.z")
        rotation.write_coordinates(z, n)
        factors = factorise(lambda i: z.read(i).astype(np.float64), keep.astype(float))
        problem = ridge_problem(factors, lambda i: z.read(i).astype(np.float64), lambda i: targets.read(i).astype(np.float64))
        errors = problem.left_out_errors(groups, factors.grid())
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert errors.min() < 1e-3 * n
        return top

    few, many = peak(6_000), peak(48_000)
    assert many < few + 60 * 42_000  # flags and group codes per row, not its 64 columns
