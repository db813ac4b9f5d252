"""Rows of a file, one at a time: JSON lines, CSV, Parquet. A row that is none says why, and the next one follows."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from harness.card import first_line
from harness.errors import BadInput

LONGEST_LINE = 256 * 2**20  # bytes: what one row may hold in memory
LONGEST_ID = 1000  # characters
BATCH_ROWS = 1024  # of a Parquet file


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        where: `file:line`; Parquet: `file: row N`.
        body: Its fields; None where it is no row.
        fault: Why it is none.
    """

    where: str
    body: dict[str, Any] | None
    fault: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a file by its ending: `.jsonl`, `.csv` or `.parquet`.

    Raises:
        BadInput: There is no such file, it is of another kind, or where its rows begin and end cannot be told.
    """
    readers: dict[str, Callable[[Path], Iterator[Row]]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise BadInput(f"{path}: rows come as {', '.join(readers)}; give one of these")
    check_file(path)
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({first_line(error)})") from error


def check_file(path: Path) -> None:
    """Refuse what cannot be opened.

    Raises:
        BadInput: There is no such file, or it is a folder.
    """
    if path.is_dir():
        raise BadInput(f"{path}: a folder; give the files in it")
    if not path.is_file():
        raise BadInput(f"{path}: no such file")


def read_object(path: Path) -> dict[str, Any]:
    """A file that is one JSON object.

    Raises:
        BadInput: It is not.
    """
    try:
        body = parse(path.read_bytes(), keys_once=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({first_line(error)})") from error
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({first_line(error)})") from error
    if not isinstance(body, dict):
        raise BadInput(f"{path}: a JSON object is wanted, this is a {type(body).__name__}")
    return body


def parse(text: str | bytes, *, keys_once: bool = False) -> Any:
    """A JSON value; `NaN` and infinities become floats.

    Args:
        text: UTF-8 where it is bytes.
        keys_once: Refuse an object that has a key twice; else the last one counts, as in most readers.

    Raises:
        ValueError: Not JSON, or nested too deeply, or a number of more digits than Python reads, or a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object if keys_once else None)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(key)} stands twice in an object")
    return found


def read_id(body: dict[str, Any], name: str) -> str:
    """The field of a row that names a sample or an episode.

    Raises:
        ValueError: It is no text, blank, too long, or holds a NUL, at which fixed-width arrays of text end.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_ID:
        raise ValueError(f"{name} is no id ({shown(value)})")
    if "\0" in value:
        raise ValueError(f"{name} {shown(value)} holds a NUL character, which an id cannot")
    return storable(value)


def shown(value: Any) -> str:
    """A value of a row for one line of a message, whatever stands in it: quoted, escaped and cut."""
    if value is None:
        return "it is missing"
    text = repr(value) if isinstance(value, (str, bool, int, float)) else type(value).__name__
    return text if len(text) <= 60 else f"{text[:60]}..."


def storable(text: str) -> str:
    """The text in valid Unicode: lone surrogates, which JSON can spell and no file can hold, are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file, path), 1):
            text = line.strip()
            if number == 1:
                text = text.removeprefix(b"\xef\xbb\xbf")
            if not text:
                continue
            where = f"{path}:{number}"
            try:
                body = parse(text, keys_once=True)
            except ValueError as error:
                cut = "" if line.endswith(b"\n") else ", and the file ends in it: was it cut off?"
                yield Row(where, None, f"not JSON ({first_line(error)}){cut}")
                continue
            if isinstance(body, dict):
                yield Row(where, body)
            else:
                yield Row(where, None, f"a row is a JSON object, this is a {type(body).__name__}")


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            raise BadInput(f"{path}: a line is longer than {LONGEST_LINE >> 20} MiB; is it JSON lines, one row a line?")
        yield line


def _csv(path: Path) -> Iterator[Row]:
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            try:
                names = list(reader.fieldnames or [])
            except csv.Error:
                names = []
            if len(set(names)) < len(names) or not names or not all(map(_is_text, names)):
                raise BadInput(f"{path}:1: a CSV file begins with the names of its columns, each once, in UTF-8")
            while True:
                first = reader.line_num + 1
                try:
                    body: dict[Any, Any] | None = next(reader, None)
                except csv.Error as error:
                    raise _lost(path, reader.line_num, first_line(error)) from error
                if body is None:
                    return
                yield _csv_row(path, first, reader.line_num, body, len(names))
    finally:
        csv.field_size_limit(before)


def _csv_row(path: Path, first: int, last: int, body: dict[Any, Any], width: int) -> Row:
    where = f"{path}:{last}"
    if None in body or any(value is None for value in body.values()):
        fault = f"the row has not the {width} columns of the header"
        if last > first:  # a stray quote may have taken any number of rows into one
            raise _lost(path, last, f"{fault}, and began on line {first}")
        return Row(where, None, f"{fault}: was it cut off?")
    if not all(map(_is_text, body.values())):
        return Row(where, None, "not UTF-8")
    return Row(where, body)


def _lost(path: Path, line: int, fault: str) -> BadInput:
    """Where the next row begins is not known after a broken quote: what follows cannot be left out row by row and counted."""
    return BadInput(
        f"{path}:{line}: not CSV ({fault}), and where the next row begins is not known; correct the quotes, or write it anew"
    )


def _is_text(value: str) -> bool:
    """False where the bytes were no UTF-8 and `surrogateescape` stands for them."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parquet(path: Path) -> Iterator[Row]:
    number = 0
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if len(set(names)) < len(names):
            raise BadInput(f"{path}: two columns have one name; rename one")
        odd = [field.name for field in file.schema_arrow if not _is_json(field.type)]
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for body in batch.to_pylist():
                yield Row(f"{path}: row {number}", body | {name: _as_json(body[name]) for name in odd})
                number += 1
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(f"{path}: no Parquet file, or a damaged one, at row {number} ({first_line(error)})") from error


def _is_json(kind: pa.DataType) -> bool:
    """True where every cell of a type is a JSON value as it comes."""
    if pa.types.is_struct(kind):
        return all(_is_json(kind.field(i).type) for i in range(kind.num_fields))
    if (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_dictionary(kind)
    ):
        return _is_json(kind.value_type)
    tests = ("null", "boolean", "integer", "floating", "string", "large_string", "string_view")
    return any(getattr(pa.types, f"is_{test}")(kind) for test in tests)


def _as_json(value: Any) -> Any:
    """The cell as a JSON value. Bytes in UTF-8 are text, as some writers leave it.

    A date, a decimal or other bytes become `[{TYPE: TEXT}]`, which is no label, number, text, object or list of names: the row
    fails, or is refused, as with any other value of the wrong kind.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return [{type(value).__name__: str(value)}]
