"""A plain table, Parquet or CSV: one row per sample, each value of the group column an episode.

Rows have an order and no time. So that tables go through the same frame as recordings, the track `row` says 0, 1, 2 ... as
seconds: a nominal 1 Hz that means order only.
"""

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.card import Card, TableOptions, first_line, suggest
from harness.episode import Episode, EpisodeRef, FloatArray, Modality, Track
from harness.errors import BadInput
from harness.readers.table_gaps import cell_lines, column_lines, row_lines
from harness.shared_content import Shared, shared_by_features, shared_by_name

SUFFIXES = (".csv", ".parquet")
# The types of a CSV column are inferred from its first block: take the whole file where it fits.
LARGEST_BLOCK = 1 << 30
FLOAT32_MAX = float(np.finfo(np.float32).max)


class TableReader:
    """Reads one table.

    Args:
        root: A `.parquet` or `.csv` file with a header.
        card: Its `table` options name the columns.
    """

    format: ClassVar[str] = "table"

    def __init__(self, root: Path, card: Card) -> None:
        self.root = root
        self.card = card

    @staticmethod
    def recognises(root: Path) -> bool:
        """True for a `.csv` or `.parquet` file."""
        return root.suffix.lower() in SUFFIXES and root.is_file()

    @staticmethod
    def fingerprint(root: Path) -> dict[str, str]:
        """The names of the columns.

        Raises:
            BadInput: The file is not a table.
        """
        return {"columns": ",".join(_load(root).column_names)}

    def infer(self) -> Card:
        """A card without columns: which one is the group and which the target no file says."""
        return Card(name=self.root.stem, format=self.format, root=str(self.root), title=f"table {self.root.name}")

    def list_episodes(self) -> tuple[list[EpisodeRef], list[tuple[str, str, str]]]:
        """One reference per value of the group column, sorted as text.

        Rows without a group are one entry of the errors, a group without a single target is one too.

        A group is an episode and a session of its own: what comes from one source stays on one side of every split.

        Raises:
            BadInput: The file is not a table, or the options name no group or target, or a column that does not serve, or a cell
                of one that is used is beyond float32.
        """
        table = _load(self.root)
        options = self._options(table)
        group = _text(table[options.group])
        self._refuse_beyond_float32(table, options, group)
        names = sorted(name for name in pc.unique(group).to_pylist() if name is not None)
        posed = set(pc.unique(group.filter(pa.array(_finite(table, options.target)))).to_pylist())
        refs = [EpisodeRef(name, (str(self.root),), index, session=name) for index, name in enumerate(names) if name in posed]
        why = f"none of its rows has a target in column {options.target!r}; fill it or drop the rows"
        errors = [(name, str(self.root), why) for name in names if name not in posed]
        if group.null_count:
            reason = f"{group.null_count} rows have no value in the group column; fill it or drop the rows"
            errors.append(("(no group)", str(self.root), reason))
        return refs, errors

    def remarks(self) -> list[str]:
        """What does not take part, and groups whose names say that they are different and whose rows say that they are not."""
        shared = [f"{' and '.join(one.groups)} share {one.rows} rows ({one.how})" for one in self.shared_content()[0]]
        return [*self.unused(), *shared]

    def unused(self) -> list[str]:
        """Columns that are no features although nobody chose any, rows without a target, empty cells of features.

        A line each, see `table_gaps`.

        Raises:
            BadInput: As `list_episodes`.
        """
        table = _load(self.root)
        options = self._options(table)
        used = {options.group, options.target, options.content, *options.features}
        dropped = [] if self.card.table.features else [name for name in table.column_names if name not in used]
        group = np.array(_text(table[options.group]).to_pylist(), dtype=object)
        rows = row_lines(str(options.target), group, _finite(table, options.target))
        there = np.isfinite(_numbers(table, options.features))
        return [*column_lines(table, dropped), *rows, *cell_lines(options.features, group, there)]

    def read(self, ref: EpisodeRef) -> Episode:
        """The rows of one group: `row` (n, 1) their numbers in the file, `features` (n, D) and `target` (n, 1), float64.

        Raises:
            BadInput: As `list_episodes`.
        """
        table = _load(self.root)
        options = self._options(table)
        rows = np.flatnonzero(pc.equal(_text(table[options.group]), ref.id).fill_null(False).to_numpy())
        part = table.select([str(options.target), *options.features]).take(rows)
        times = np.arange(len(rows), dtype=np.float64)
        tracks = (
            Track("row", Modality.TABLE, rows[:, None], times),
            _track("features", part, options.features, times),
            _track("target", part, [str(options.target)], times),
        )
        return Episode(ref.id, "row", {track.name: track for track in tracks}, ref.session, uris=ref.uris)

    def shared_content(self) -> tuple[list[Shared], str]:
        """Groups that hold the same content, and what says so: the content column, `features`, or `nothing` where none can.

        Raises:
            BadInput: As `list_episodes`.
        """
        table = _load(self.root)
        options = self._options(table)
        group = _text(table[options.group])
        there = pc.is_valid(group)
        groups = group.filter(there).to_pylist()
        if options.content is not None:
            content = _text(table[options.content]).filter(there).to_pylist()
            return shared_by_name(groups, content, options.content), f"column {options.content!r}"
        found = shared_by_features(groups, _numbers(table.select(options.features).filter(there), options.features))
        return (found, "features") if found is not None else ([], "nothing")

    def _refuse_beyond_float32(self, table: pa.Table, options: TableOptions, group: pa.ChunkedArray) -> None:
        """Targets, features and answers are float32: a finite cell beyond it would be an infinite one further on."""
        grouped = pc.is_valid(group).to_numpy()
        for column in (str(options.target), *options.features):
            values = _numbers(table, [column])[:, 0]
            beyond = np.flatnonzero(grouped & np.isfinite(values) & (np.abs(values) > FLOAT32_MAX))
            if len(beyond):
                row = beyond[0]
                raise BadInput(
                    f"{self.root}: column {column!r}, row {row + 1} (1 = the first below the header): {values[row]:g} is beyond "
                    f"float32 ({len(beyond)} such cell(s)); correct it or give the column in another unit"
                )

    def _options(self, table: pa.Table) -> TableOptions:
        """The card's options, checked against the columns; no features means every numeric column that is left."""
        options, columns = self.card.table, table.column_names
        if len(set(columns)) < len(columns):
            raise BadInput(f"{self.root}: two columns have one name; rename one")
        for key, column in (("group", options.group), ("target", options.target)):
            if column is None:
                raise BadInput(f"{self.root}: which column is the {key}? pass table.{key}=COLUMN; known: {', '.join(columns)}")
        for column in (options.group, options.target, *options.features, *filter(None, [options.content])):
            if column not in columns:
                raise BadInput(f"{self.root}: no column {column!r}{suggest(str(column), columns)}")
        special = {options.group, options.target, options.content}
        if len(special) < 3 or special & set(options.features):
            raise BadInput(f"{self.root}: group, target, content and features must be different columns; change table.*")
        for column in (options.target, *options.features):
            if not _is_numeric(table[column]):
                raise BadInput(f"{self.root}: column {column!r} is {table[column].type}, not numeric; name another one")
        for column in filter(None, (options.group, options.content)):
            if not _names_rows(table[column].type):
                raise BadInput(
                    f"{self.root}: column {column!r} is {table[column].type}, not text (in UTF-8), numbers or dates, of which a "
                    "group or content is; save it as one of these or name another column"
                )
        features = options.features or [name for name in columns if name not in special and _is_numeric(table[name])]
        if not features:
            raise BadInput(f"{self.root}: no numeric column is left as a feature; pass table.features=[A,B]")
        return TableOptions(options.group, options.target, list(features), options.content)


def _load(path: Path) -> pa.Table:
    """The table, kept from call to call while the file does not change: a reader is made anew for every group."""
    try:
        stat = path.stat()
        return _read(path, stat.st_size, stat.st_mtime_ns)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: the names of the columns are not UTF-8; save the file as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a readable table ({first_line(error)}); give a Parquet or CSV file with a header") from error


@lru_cache(maxsize=1)
def _read(path: Path, size: int, mtime_ns: int) -> pa.Table:
    if path.suffix.lower() == ".csv":
        table = pcsv.read_csv(path, pcsv.ReadOptions(use_threads=False, block_size=min(size, LARGEST_BLOCK) + 1))
    else:
        table = pq.read_table(path, partitioning=None, use_threads=False)
    table.column_names.sort()  # these are decoded here, and not yet when the file is read
    table.validate(full=True)  # neither is text
    return table


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Group or content of every row as text, null where it has none: an empty or blank cell and NaN say as little as a null."""
    none = pc.is_null(column, nan_is_null=True)
    text = pc.cast(column, pa.string())
    none = pc.or_(none, pc.equal(pc.utf8_trim_whitespace(text), "").fill_null(True))
    return pc.if_else(none, pa.scalar(None, pa.string()), text)


def _names_rows(kind: pa.DataType) -> bool:
    """True where a cell can be said as text: bytes cannot, and text of a CSV file that is not UTF-8 arrives as bytes."""
    if pa.types.is_dictionary(kind):
        return _names_rows(kind.value_type)
    tests = ("string", "large_string", "string_view", "null", "boolean", "integer", "floating", "decimal", "temporal")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests) and not pa.types.is_interval(kind)


def _is_numeric(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _track(name: str, table: pa.Table, columns: list[str], times: FloatArray) -> Track:
    """(n, D) float64; empty and NaN cells are not valid."""
    values = _numbers(table, columns)
    finite = np.isfinite(values)
    return Track(name, Modality.TABLE, values, times, None if finite.all() else finite, names=tuple(columns))


def _finite(table: pa.Table, column: str | None) -> NDArray[np.bool_]:
    """(n,) True where a cell holds a finite number."""
    return np.asarray(np.isfinite(_numbers(table, [str(column)])[:, 0]))


def _numbers(table: pa.Table, columns: list[str]) -> NDArray[np.float64]:
    """(n, D) the columns, NaN where a cell is empty; whole numbers beyond 2^53 (ids, nanoseconds) are rounded."""
    return np.column_stack([pc.cast(table[column], pa.float64(), safe=False).to_numpy() for column in columns])
