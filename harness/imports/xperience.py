"""`espalier import xperience-json`: rows of the published JSON evaluator, targets and answers in one file.

Two passes. The first reads every row, refuses what is none, finds ids that stand there twice, and puts the rows away by episode;
the second makes targets and answers of one episode at a time. Memory holds the rows of a few episodes and 24 bytes of each row.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.imports.first_pass import Entry, FirstPass
from harness.imports.folder import appearing, held_at
from harness.imports.mark import write_mark
from harness.imports.problems import Problems
from harness.imports.qa_binding import make_binder
from harness.imports.qa_maker import Carried, QaMaker, truth_of, usable
from harness.imports.qa_row import QaRow, read_row
from harness.imports.request import ImportRequest
from harness.imports.spill import Spill
from harness.imports.stated import Stated, read_stated

COLUMNS = (
    "id", "episode_id", "center_window", "true_label", "raw_prediction", "true_json", "pred_json", "predicted_label",
    "true_label_seen_in_train",
)  # fmt: skip


def import_xperience(request: ImportRequest) -> dict[str, Any]:
    """Write the folder.

    Returns:
        What was done, for the command line: rows, episodes, notes, published figures.

    Raises:
        BadInput: No rows, rows that cannot be used, ids twice.
    """
    problems = Problems(request.allow_partial)
    stated, files = read_stated(request.files), [file for file in request.files if file.suffix != ".json"]
    if not files:
        raise BadInput(f"{request.files[0]}: no rows; give a .jsonl or .csv file too")
    with appearing(request.out) as folder:
        (folder / "spill").mkdir()
        spill, read, carried = Spill(folder / "spill"), FirstPass(folder), Carried()

        def entry(body: dict[str, Any]) -> Entry:
            kept = {name: body[name] for name in COLUMNS if name in body}
            row = read_row(kept)
            carried.add(row)
            return Entry(row.id, row.episode, truth_of(row), [row.predicted, row.parsed, row.raw], kept)

        try:
            read.read(files, entry, spill, problems)
            if stated is not None:
                stated.check(len(read.index), carried.labels, problems)
            if request.targets is None:
                carried.report(problems, str(files[0]))
            problems.settle()
            episodes = (
                (episode, [(index, read_row(body, carried.labels)) for index, body in rows]) for episode, rows in spill.episodes()
            )
            if request.targets is None:
                made = QaMaker(folder, request, read, carried)
                for episode, rows in episodes:
                    made.add(episode, rows)
                done = made.finish(stated, problems, files)
            else:
                done = _bind(folder, request, read, episodes, stated, problems)
        finally:
            spill.close()
        (folder / "spill").rmdir()
    return done


def _bind(
    folder: Path,
    request: ImportRequest,
    read: FirstPass,
    episodes: Iterator[tuple[str, list[tuple[int, QaRow]]]],
    stated: Stated | None,
    problems: Problems,
) -> dict[str, Any]:
    """Answers to the rows of an earlier import."""
    assert request.targets is not None
    binder = make_binder(held_at(request.targets), request.name, folder, problems)
    binder.where = str(request.files[0])
    for episode, found in episodes:
        binder.add_rows(episode, usable(found, read))
    figures = binder.published.by_task(None if stated is None else stated.options)
    differs = "" if stated is None else stated.differs(figures.get("qa_action", {}).get("accuracy"))
    binder.remarks["qa_action"] = differs
    bundles = binder.finish({"published": figures})
    write_mark(folder, {"name": request.name, "targets": str(request.targets.resolve())})
    return {
        "name": request.name, "rows": binder.bound, "episodes": len(binder.episodes), "tasks": list(bundles[0].routes),
        "note": "; ".join(filter(None, (problems.note(), differs))), "published": figures, "counted": binder.published.rows,
    }  # fmt: skip
