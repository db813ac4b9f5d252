"""Targets and predictions as Parquet: one schema each, one file per episode or block, rows keyed by sample and task."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.answers import STATUS_DTYPE, AnswerKind, Predictions, Status, Targets, recode, recode_sets
from harness.boundaries import Boundaries
from harness.window import SampleKind, Samples

_WORD = pa.dictionary(pa.int32(), pa.string())
_NUMBERS = pa.list_(pa.float32())
_TIMES = pa.list_(pa.float64())

TARGET_SCHEMA = pa.schema(
    [
        ("task", _WORD),
        ("sample", pa.string()),
        ("episode", _WORD),
        ("t0", pa.float64()),
        ("starts", pa.list_(pa.int64())),
        ("valid", pa.bool_()),
        ("label", _WORD),
        ("labels", pa.list_(pa.string())),
        ("values", _NUMBERS),
        ("mask", pa.list_(pa.bool_())),
        ("reference", _NUMBERS),
        ("item", pa.int32()),
        ("centre", pa.float64()),
        ("near", _TIMES),
        ("unreached", pa.int32()),
        ("lacking", _WORD),
    ]
)

PREDICTION_SCHEMA = pa.schema(
    [
        ("task", _WORD),
        ("sample", pa.string()),
        ("episode", _WORD),
        ("fold", pa.int32()),
        ("seed", pa.int32()),
        ("draw", pa.int32()),
        ("status", _WORD),
        ("label", _WORD),
        ("labels", pa.list_(pa.string())),
        ("probabilities", _NUMBERS),
        ("values", _NUMBERS),
        ("query", _NUMBERS),
        ("key", _NUMBERS),
        ("raw", pa.string()),
        ("seen_until", pa.float64()),
    ]
)


def write_atomically(tables: Sequence[pa.Table], path: Path, metadata: dict[bytes, bytes] | None = None) -> None:
    """Write tables of one schema, one row group each (one per task), to a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        schema = tables[0].schema.with_metadata(metadata)
        words = ["task", "episode", "status", "label"]
        with pq.ParquetWriter(partial, schema, compression="zstd", compression_level=1, use_dictionary=words) as writer:
            for table in tables:
                writer.write_table(table.cast(schema), row_group_size=max(table.num_rows, 1))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _list_column(values: NDArray | None, n: int, kind: pa.DataType) -> pa.Array:
    """(n, D) array as a list column without copying the numbers row by row; None = nulls."""
    if values is None:
        return pa.nulls(n, kind)
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * values.shape[1])
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind.value_type)
    return pa.ListArray.from_arrays(offsets, flat).cast(kind)


def _word_column(codes: NDArray[np.int32] | None, vocabulary: Sequence[str], n: int) -> pa.Array:
    if codes is None:
        return pa.nulls(n, _WORD)
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(vocabulary), pa.string()))


def _set_column(sets: NDArray[np.bool_] | None, vocabulary: Sequence[str], n: int) -> pa.Array:
    if sets is None:
        return pa.nulls(n, pa.list_(pa.string()))
    offsets = np.concatenate([[0], np.cumsum(sets.sum(axis=1))]).astype(np.int32)
    words = np.asarray(list(vocabulary), dtype=object)[np.nonzero(sets)[1]]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(words, pa.string()))


def _constant(word: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word]))


def targets_table(task: str, samples: Samples, targets: Targets) -> pa.Table:
    """The targets of one task in one episode."""
    n = len(samples)
    about = targets.boundaries
    columns = [
        _constant(task, n),
        pa.array(samples.ids.tolist(), pa.string()),
        _constant(samples.episode, n),
        pa.array(samples.t0, pa.float64()),
        _list_column(samples.starts, n, pa.list_(pa.int64())),
        pa.array(targets.valid),
        _word_column(targets.labels, targets.vocabulary, n),
        _set_column(targets.label_sets, targets.vocabulary, n),
        _list_column(targets.values, n, _NUMBERS),
        _list_column(targets.mask, n, pa.list_(pa.bool_())),
        _list_column(targets.reference, n, _NUMBERS),
        pa.nulls(n, pa.int32()) if targets.item is None else pa.array(targets.item, pa.int32()),
        pa.nulls(n, pa.float64()) if about is None else pa.array(about.centre, pa.float64()),
        _list_column(None if about is None else about.near, n, _TIMES),
        pa.nulls(n, pa.int32()) if about is None else pa.array(about.unreached, pa.int32()),
        pa.array([""] * n if targets.lacking is None else targets.lacking.tolist(), pa.string()).dictionary_encode(),
    ]
    return pa.Table.from_arrays(columns, schema=TARGET_SCHEMA)


def predictions_table(task: str, samples: Samples, rows: Predictions, fold: int, seed: int, draw: int) -> pa.Table:
    """The predictions of one task for samples of one episode."""
    n = len(samples)

    def number(value: int) -> pa.Array:
        return pa.array(np.full(n, value, np.int32))

    columns = [
        _constant(task, n),
        pa.array(samples.ids.tolist(), pa.string()),
        _constant(samples.episode, n),
        number(fold),
        number(seed),
        number(draw),
        pa.array(rows.status.tolist(), pa.string()).dictionary_encode(),
        _word_column(rows.labels, rows.vocabulary, n),
        _set_column(rows.label_sets, rows.vocabulary, n),
        _list_column(rows.probabilities, n, _NUMBERS),
        _list_column(rows.values, n, _NUMBERS),
        _list_column(rows.query, n, _NUMBERS),
        _list_column(rows.key, n, _NUMBERS),
        pa.nulls(n, pa.string()) if rows.raw is None else pa.array(rows.raw, pa.string()),
        pa.nulls(n, pa.float64()) if rows.seen_until is None else pa.array(rows.seen_until, pa.float64(), from_pandas=True),
    ]
    return pa.Table.from_arrays(columns, schema=PREDICTION_SCHEMA)


def by_task(path: Path, wanted: Collection[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a file task by task, in the order of the file.

    Args:
        path: A targets file or a bundle part: one row group per task.
        wanted: Read the row groups of these tasks alone.

    Raises:
        ValueError: A row group holds rows of several tasks, or of none.
    """
    file = pq.ParquetFile(path, memory_map=True)
    for i in range(file.num_row_groups):
        statistics = file.metadata.row_group(i).column(0).statistics
        known = (
            statistics is not None and statistics.has_min_max and statistics.min == statistics.max and not statistics.null_count
        )
        task = statistics.min if known else None
        task = task.decode() if isinstance(task, bytes) else task
        if wanted is not None and task is not None and task not in wanted:
            continue
        table = file.read_row_group(i).combine_chunks()
        if table.num_rows:
            tasks = pc.unique(table.column("task")).to_pylist()
            if len(tasks) > 1 or tasks[0] is None:
                raise ValueError(f"row group {i} holds rows of several tasks or of none; each task is a group of its own")
            yield tasks[0], table


def _combined(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _words(table: pa.Table, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]] | None:
    column = _combined(table, name)
    if column.null_count == len(column) and len(column):
        return None
    return np.asarray(column.indices.fill_null(-1), np.int32), tuple(column.dictionary.to_pylist())


def _sets(table: pa.Table) -> tuple[NDArray[np.bool_], tuple[str, ...]] | None:
    column = _combined(table, "labels")
    if column.null_count == len(column):
        return None
    words = column.flatten().dictionary_encode()
    vocabulary = tuple(words.dictionary.to_pylist())
    rows = np.repeat(np.arange(len(column)), np.diff(np.asarray(column.offsets)))
    sets = np.zeros((len(column), len(vocabulary)), bool)
    sets[rows, np.asarray(words.indices)] = True
    return sets, vocabulary


def _matrix(table: pa.Table, name: str) -> NDArray | None:
    """A list column as (n, D). Rows of another length than most are NaN: the metric counts them as failed."""
    column = _combined(table, name)
    n = len(column)
    if not n or column.null_count == n:
        return None
    lengths = np.diff(np.asarray(column.offsets))
    widths = np.bincount(lengths)[:0:-1]  # of no length are rows that failed; of equally frequent widths the longer
    width = len(widths) - int(widths.argmax()) if len(widths) else 0
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if (lengths == width).all():
        return np.asarray(flat).reshape(n, width)
    out = np.full((n, width), np.nan, np.float32)
    fitting = lengths == width
    out[fitting] = np.asarray(flat)[np.repeat(fitting, lengths)].reshape(-1, width)
    return out


def _boundaries(table: pa.Table) -> Boundaries | None:
    """None for other tasks, and in files from before they had these columns."""
    if "near" not in table.column_names or (near := _matrix(table, "near")) is None:
        return None
    centre, unreached = (_combined(table, name).to_numpy(zero_copy_only=False) for name in ("centre", "unreached"))
    return Boundaries(centre, near, unreached)


def read_samples(table: pa.Table, kind: SampleKind, length: int) -> Samples:
    """The samples of one task's slice of a targets file."""
    episode = _combined(table, "episode").to_pylist()[0]
    starts = _matrix(table, "starts")
    assert starts is not None, "every sample has a view"
    return Samples(episode, kind, sample_ids(table), starts, length, _combined(table, "t0").to_numpy(zero_copy_only=False))


def sample_ids(table: pa.Table) -> NDArray[np.str_]:
    """(n,) sample ids of a slice of either table."""
    return np.asarray(_combined(table, "sample").to_pylist(), dtype=np.str_)


def read_targets(table: pa.Table, kind: AnswerKind) -> Targets:
    """One task's slice of a targets file.

    Args:
        table: Rows of one task.
        kind: What the task asks: where no row has a label, the file alone cannot tell.
    """
    words, sets = _words(table, "label"), _sets(table)
    item = _combined(table, "item")
    mask = _matrix(table, "mask")
    codes, vocabulary = words or ((np.full(table.num_rows, -1, np.int32), ()) if kind == "label" else (None, ()))
    multi, set_vocabulary = sets or ((np.zeros((table.num_rows, 0), bool), ()) if kind == "label_set" else (None, ()))
    return Targets(
        valid=np.asarray(_combined(table, "valid").to_numpy(zero_copy_only=False), bool),
        labels=codes,
        label_sets=multi,
        vocabulary=vocabulary or set_vocabulary,
        values=_matrix(table, "values"),
        mask=None if mask is None else mask.astype(bool),
        reference=_matrix(table, "reference"),
        item=None if item.null_count == len(item) else item.to_numpy(zero_copy_only=False).astype(np.int32),
        boundaries=_boundaries(table),
        lacking=np.asarray(_combined(table, "lacking").to_pylist(), dtype=np.str_),
    )


def _check_columns(table: pa.Table) -> None:
    for field in () if table.schema == PREDICTION_SCHEMA else PREDICTION_SCHEMA:
        if field.name not in table.column_names:
            raise ValueError(f"no column {field.name!r}")
        if (kind := table.schema.field(field.name).type) != field.type:
            raise ValueError(f"column {field.name!r} is {kind}, not {field.type}")
    for name in ("task", "sample", "episode", "fold", "seed", "draw", "status"):
        if table.column(name).null_count:
            raise ValueError(f"column {name!r} has {table.column(name).null_count} nulls")
    if _combined(table, "labels").flatten().null_count:
        raise ValueError("column 'labels' has nulls within its lists")


def read_predictions(table: pa.Table, classes: Sequence[str]) -> Predictions:
    """One task's slice of a bundle part.

    Args:
        table: Rows of one task.
        classes: What the probabilities are over, from the bundle's manifest.

    Raises:
        ValueError: A column is missing or of another type than in `PREDICTION_SCHEMA`, or holds nulls where it cannot.
    """
    _check_columns(table)
    words, sets = _words(table, "label"), _sets(table)
    spoken = words[1] if words else sets[1] if sets else ()
    # Probabilities are over `classes`; a branch may answer words beyond them, which come behind.
    vocabulary = (*classes, *(word for word in spoken if word not in set(classes)))
    status = np.asarray(_combined(table, "status").to_pylist(), dtype=STATUS_DTYPE)
    known = {s.value for s in Status}
    unknown = sorted(set(_combined(table, "status").to_pylist()) - known)
    if unknown:
        raise ValueError(f"unknown status {unknown[0]!r}; known: {', '.join(sorted(known))}")
    raw = _combined(table, "raw")
    return Predictions(
        status=status,
        labels=recode(words[0], spoken, vocabulary) if words else None,
        label_sets=recode_sets(sets[0], spoken, vocabulary) if sets and not words else None,
        vocabulary=vocabulary,
        probabilities=_matrix(table, "probabilities"),
        values=_matrix(table, "values"),
        query=_matrix(table, "query"),
        key=_matrix(table, "key"),
        raw=None if raw.null_count == len(raw) else tuple(raw.to_pylist()),
        seen_until=_combined(table, "seen_until").to_numpy(zero_copy_only=False),
    )
