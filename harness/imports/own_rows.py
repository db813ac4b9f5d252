"""`espalier import jsonl` and `parquet`: rows of our own schema, which answer the samples of a run that is there already.

With `--targets RUN` they become bundles at once. Without it they are checked row by row and put away, and `espalier score BUNDLE
--targets RUN` holds them against the run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.answers import Status
from harness.bundle import Bundle
from harness.card import first_line
from harness.errors import BadInput
from harness.held import Held
from harness.imports.bind import About, Binder
from harness.imports.first_pass import Entry, FirstPass
from harness.imports.folder import appearing, held_at
from harness.imports.mark import MARK, read_mark, write_mark
from harness.imports.own_row import read_row
from harness.imports.problems import Problems
from harness.imports.request import ImportRequest
from harness.imports.source import read_object
from harness.imports.spill import Spill
from harness.record import file_stem
from harness.tables import PREDICTION_SCHEMA

AGAIN = "correct the rows and import them again, with --allow-partial if the table shall print what they lack"


def import_rows(request: ImportRequest) -> dict[str, Any]:
    """Write bundles, or rows that wait for their run.

    Returns:
        What was done, for the command line.

    Raises:
        BadInput: No rows, rows that cannot be used, ids twice, missing or of other data.
    """
    problems, about, files = Problems(request.allow_partial), _about(request.files), _row_files(request)
    held = None if request.targets is None else held_at(request.targets)
    with appearing(request.out) as folder:
        (folder / "spill").mkdir()
        spill, read = Spill(folder / "spill"), FirstPass(folder)
        try:
            read.read(files, _entry, spill, problems)
            problems.settle()
            episodes = (
                (episode, [_failing(body) if index in read.conflicting else body for index, body in rows])
                for episode, rows in spill.episodes()
            )
            if held is None or request.targets is None:
                done = _put_away(folder, request, episodes, about, problems)
            else:
                binder = Binder(held, request.name, folder, about, problems)
                done = _bind(binder, episodes, files[0])
                write_mark(folder, {"name": request.name, "targets": str(request.targets.resolve())})
        finally:
            spill.close()
        (folder / "spill").rmdir()
    return {"name": request.name, "published": {}, **done}


def bind_loose(path: Path, held: Held, folder: Path) -> list[Bundle]:
    """Hold rows that were put away against a run.

    Args:
        path: What `espalier import` wrote.
        held: The run.
        folder: Bundles go below it.

    Raises:
        BadInput: Rows are missing, or of samples that the run does not test.
    """
    said = read_mark(path)
    try:
        problems = Problems(said["allow_partial"], AGAIN, dict(said["counts"]), dict(said["first"]))
        binder = Binder(held, said["name"], folder, About(**said["about"]), problems)
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path / MARK}: not what `espalier import` writes ({error}); import again") from error
    done = _bind(binder, _loose_rows(path), path)
    return list(done["bundles"])


def _bind(binder: Binder, episodes: Iterator[tuple[str, list[dict[str, Any]]]], where: Path) -> dict[str, Any]:
    binder.where = str(where)
    for episode, rows in episodes:
        binder.add(episode, rows)
    bundles = binder.finish({})
    tasks = sorted({task for bundle in bundles for task in bundle.routes})
    note = binder.problems.note()
    return {"rows": binder.rows, "episodes": len(binder.episodes), "tasks": tasks, "note": note, "bundles": bundles}


def _row_files(request: ImportRequest) -> list[Path]:
    ending = {"jsonl": ".jsonl", "parquet": ".parquet"}[request.format]
    rows = [file for file in request.files if file.suffix != ".json"]
    for file in rows:
        if file.suffix != ending:
            raise BadInput(f"{file}: {request.format} rows stand in {ending} files; rename it, or name its format")
    if not rows:
        raise BadInput(f"{request.files[0]}: says something about rows and holds none; give a {ending} file too")
    return rows


def _about(files: Sequence[Path]) -> About:
    """`classes`, `fitted_on` and `inputs` of the JSON files."""
    found: dict[str, Any] = {}
    for file in (f for f in files if f.suffix == ".json"):
        body = read_object(file)
        known = {name: body[name] for name in ("classes", "fitted_on", "inputs") if body.get(name) is not None}
        if not known:
            raise BadInput(f"{file}: says nothing of classes, fitted_on or inputs; beside rows, a JSON file says these")
        for name, lists in known.items():
            listed = isinstance(lists, dict) and all(isinstance(words, list) for words in lists.values())
            if not listed or not all(isinstance(word, str) for words in lists.values() for word in words):
                raise BadInput(f"{file}: {name} is no object of lists of texts")
        for task, words in known.get("classes", {}).items():
            if len(set(words)) < len(words):
                raise BadInput(f"{file}: classes of {task} name one twice")
        found |= known
    return About(**found)


def _entry(body: dict[str, Any]) -> Entry:
    row = read_row(body)
    key = [row["task"], row["sample"], row["fold"], row["seed"]]
    return Entry(key, row["episode"], None, row, row, row["task"])


def _failing(body: dict[str, Any]) -> dict[str, Any]:
    """A row of which two versions stand in the file: neither counts."""
    return body | {"status": Status.SCHEMA_ERROR.value, "probabilities": None}


def _put_away(
    folder: Path, request: ImportRequest, episodes: Iterator[tuple[str, list[dict[str, Any]]]], about: About, problems: Problems
) -> dict[str, Any]:
    """One Parquet file of rows per episode, in the bundle's own schema; nothing is known of their widths yet."""
    count, names, tasks = 0, 0, set()
    for episode, rows in episodes:
        (folder / "rows").mkdir(exist_ok=True)
        table = pa.Table.from_pylist([_stored(row) for row in rows], schema=PREDICTION_SCHEMA)
        pq.write_table(table, folder / "rows" / f"{file_stem(episode)}.parquet", compression="zstd")
        count, names = count + len(rows), names + 1
        tasks |= {row["task"] for row in rows}
    if not count:
        raise BadInput(f"{request.files[0]}: no row is left ({problems.summary()})")
    said = {"name": request.name, "allow_partial": request.allow_partial, "about": asdict(about)}
    write_mark(folder, said | {"counts": problems.counts, "first": problems.first})
    return {"rows": count, "episodes": names, "tasks": sorted(tasks), "note": problems.note()}


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in PREDICTION_SCHEMA.names}


def _loose_rows(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for file in sorted((path / "rows").glob("*.parquet")):
        try:
            rows = pq.read_table(file).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BadInput(f"{file}: damaged ({first_line(error)}); import again") from error
        yield rows[0]["episode"], rows
