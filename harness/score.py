"""`espalier score`: from bundles, split and targets on disk to the leaderboard. A run ends with exactly this."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from harness.bundle import Bundle, find_bundles
from harness.card import Card, first_line
from harness.dataset import Dataset
from harness.errors import BadInput
from harness.evaluate import FLOOR, Cell, Evaluation, evaluate
from harness.evidence import evidence_grade
from harness.gather import gathered
from harness.held import Held
from harness.imports.mark import run_named
from harness.leaderboard import build
from harness.ledger import accesses, record
from harness.manifest import write_json
from harness.pipeline.plan import make_task
from harness.record import EpisodeRecord
from harness.report import write_reports
from harness.report.examples import write_examples
from harness.shared_content import Shared, on_both_sides
from harness.splits import Split
from harness.tables import write_atomically
from harness.window import WindowSpec

SCORE_SCHEMA = pa.schema(
    [
        ("branch", pa.string()),
        ("task", pa.string()),
        ("fold", pa.int32()),
        ("seed", pa.int32()),
        ("episode", pa.string()),
        ("cluster", pa.string()),
        ("value", pa.float64()),
        ("state", pa.list_(pa.float64())),
    ]
)


def score_run(
    run: Path,
    out: Path,
    bundles: Sequence[Bundle] | None = None,
    quarantined: int | None = None,
    margins: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Score bundles against the targets of a run, and write scores and leaderboard.

    Args:
        run: Folder with `manifest.json`, `split.json` and `targets/`.
        out: Where `scores.parquet` and `leaderboard.*` go.
        bundles: What to score; None = all of the run, at least one.
        quarantined: Episodes that could not be read; None = as the manifest has it.
        margins: As `score_paths`.

    Raises:
        BadInput: Not a run folder, or a bundle that may not be scored.
    """
    manifest = read_manifest(run)
    held = held_of(run, manifest)
    found = list(find_bundles(run / "bundles")) if bundles is None else list(bundles)
    if bundles is None and not found:
        raise BadInput(f"{run}: no bundle to score; run `espalier run` to its end first")
    shared = _shared_content(manifest, held.split)
    evidence = run_evidence(manifest, held.split)
    lost = len(manifest["quarantined"]) if quarantined is None else quarantined
    with threadpool_limits(1):  # the last bit of a sum depends on the threads, and a score must not depend on the machine
        evaluation = evaluate(held, found)
        leaderboard = build(evaluation, evidence, lost, {**(manifest["config"].get("margins") or {}), **(margins or {})})
    leaderboard["split"] |= {
        "shared_content": [one.as_json() for one in shared],
        "content_by": manifest.get("content_by"),
        "remarks": manifest.get("remarks", []),
    }
    leaderboard["kept_from_view"] = {name: manifest.get(name, []) for name in ("hidden", "only")}
    record(held.split.test_hash, found)
    out.mkdir(parents=True, exist_ok=True)
    write_scores(evaluation, out / "scores.parquet")
    write_json(out / "leaderboard.json", leaderboard)
    write_reports(leaderboard, out, accesses(held.split.test_hash))
    write_examples(held, found, out / "examples")
    return leaderboard


def run_evidence(manifest: dict[str, Any], split: Split) -> str:
    """The grade of a run, see `harness.evidence`."""
    return evidence_grade(
        simulated=manifest["simulated"],
        limited=manifest["limited"] or "imported" in manifest,  # nobody here can check the truth that came with rows
        split=split,
        selected=bool(manifest.get("selection")),
        shared_content=bool(_shared_content(manifest, split)),
    )


def _shared_content(manifest: dict[str, Any], split: Split) -> list[Shared]:
    return on_both_sides(map(Shared.from_json, manifest.get("shared_content", ())), split)


def read_manifest(run: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        BadInput: It has none.
    """
    path = run / "manifest.json"
    try:
        body: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise BadInput(f"{run}: not a run folder (no manifest.json); give the --out of `espalier run`") from error
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    if body.get("schema") != "espalier.run/1":
        raise BadInput(f"{path}: not the manifest of a run; give the --out of `espalier run`, or --targets with a bundle")
    return body


def held_of(run: Path, manifest: dict[str, Any]) -> Held:
    """Targets, split and tasks of a run, from its folder alone."""
    from omegaconf import OmegaConf  # noqa: PLC0415

    card = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Card), manifest["dataset"]["card"]))
    assert isinstance(card, Card)
    dataset = Dataset(Path(manifest["dataset"]["root"]), card)
    tasks = tuple(make_task(task, dataset, manifest["config"].get("encoders")) for task in manifest["tasks"])
    split_file = run / "split.json"
    if not split_file.is_file():
        raise BadInput(f"{split_file}: missing; run `espalier run` to its end first")
    try:
        split = Split.load(split_file)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{split_file}: no split ({type(error).__name__}: {first_line(error)}); copy the run again") from error
    common = tuple(manifest["config"].get("modalities", ()))
    held = Held(run / "targets", split, tasks, WindowSpec(**manifest["windows"]), common=common)
    posed = {task for e in held.present(split.episodes) for task in EpisodeRecord.from_file(held.file(e)).tasks}
    seen = {task: tuple(words) for task, words in manifest.get("seen", {}).items()}
    return replace(held, tasks=tuple(t for t in tasks if t.id in posed), seen=seen)


def score_paths(
    paths: Sequence[Path], targets: Path | None, out: Path, margins: dict[str, float] | None = None
) -> dict[str, Any]:
    """Score run folders, bundles or imports.

    Args:
        paths: As `harness.gather.gathered` takes them.
        targets: The run whose targets and split to score against; None = the run folder itself.
        out: Where the result goes.
        margins: Metric -> difference that counts as none; they come before those of the run.

    Raises:
        BadInput: No run to score against, no bundle, or see `gathered`.
    """
    run = run_of(paths, targets)
    if targets is None:
        _refuse_other_rows(run, paths)
    with gathered(paths, run) as bundles:
        return score_run(run, out, bundles, margins=margins)


def _refuse_other_rows(run: Path, paths: Sequence[Path]) -> None:
    """Imports that brought their targets stand in one table only where these are the same, which their splits' hashes say."""
    for path in (p for p in paths if p != run and (p / "split.json").is_file()):
        said, other = read_manifest(run), read_manifest(path)
        if "imported" in said and "imported" in other and other["split_hash"] != said["split_hash"]:
            these, those = said["imported"]["rows"], other["imported"]["rows"]
            raise BadInput(
                f"{path} ({those} rows) does not carry the targets of {run} ({these} rows): score them apart, or import its rows "
                f"with --targets {run}"
            )


def run_of(paths: Sequence[Path], targets: Path | None = None) -> Path:
    """The run whose targets are answered: as named, else the first of the paths that is a run folder, or was imported for one.

    Raises:
        BadInput: None is.
    """
    run = targets or next((p for p in paths if (p / "split.json").is_file()), None)
    run = run or next((named for path in paths if (named := run_named(path)) is not None), None)
    if run is None:
        raise BadInput(f"{paths[0]}: not a run folder; name the run whose targets it answers with --targets")
    return run


def write_scores(evaluation: Evaluation, path: Path) -> None:
    """Per-episode states and values, one row per branch, task, fold, seed and episode; the evaluator's floor is `(floor)`."""
    tables = [_scores(evaluation, branch, task, cell) for (branch, task), cell in evaluation.cells.items() if cell.states]
    write_atomically(tables or [SCORE_SCHEMA.empty_table()], path)


def _scores(evaluation: Evaluation, branch: str, task: str, cell: Cell) -> pa.Table:
    """The states of one branch on one task."""
    folds, seeds, episodes = zip(*cell.states, strict=True)
    states = np.stack(list(cell.states.values()))
    values = [float(evaluation.metrics[task, fold].value(state)) for fold, state in zip(folds, states, strict=True)]
    offsets = pa.array(np.arange(len(states) + 1, dtype=np.int32) * states.shape[1])
    columns = [
        pa.array([branch if branch != FLOOR else "(floor)"] * len(states)),
        pa.array([task] * len(states)),
        pa.array(folds, pa.int32()),
        pa.array(seeds, pa.int32()),
        pa.array(episodes),
        pa.array([evaluation.held.split.clusters[episode] for episode in episodes]),
        pa.array(values),
        pa.ListArray.from_arrays(offsets, pa.array(states.reshape(-1))),
    ]
    return pa.Table.from_arrays(columns, schema=SCORE_SCHEMA)
