"""What test runs need: recordings, the stages one after the other in this process, and a look at what is on disk."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factories import write_xperience_episode
from omegaconf import OmegaConf

from harness.bundle import find_bundles
from harness.config import load_config
from harness.dataset import open_dataset
from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.ingest import Quarantined, ingest_episode
from harness.pipeline.plan import Plan
from harness.pipeline.predict import Actor, blocks_of
from harness.pipeline.sights import with_sights
from harness.pipeline.survey import with_widths
from harness.request import Prepared, Request, prepare
from harness.run import _begin, write_bundle
from harness.score import score_run

FRAMES = 60
LAST_BITS = 1e-12
"""Two processes were once seen to differ in the last bit of one sum; what is wrong differs by more."""


def leaderboard(folder: Path) -> dict[str, Any]:
    """Every field but `cost`."""
    body: dict[str, Any] = json.loads((folder / "leaderboard.json").read_text())
    return without_cost(body)


def without_cost(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "rows": [{k: v for k, v in row.items() if k != "cost"} for row in body["rows"]]}


def manifest(folder: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return body


def files(folder: Path, pattern: str = "*") -> dict[str, int]:
    """Path below the folder -> modification time."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob(pattern)) if p.is_file()}


def half_written(folder: Path) -> list[str]:
    """Files that look like a write under way and do not stand under a hidden name."""
    return [name for name in files(folder) if "partial" in name and not is_hidden(name)]


def is_hidden(name: str) -> bool:
    """True for a file that is hidden itself or stands in a hidden folder."""
    return any(part.startswith(".") for part in Path(name).parts)


def differences(one: Any, other: Any, where: str = "", relative: float = LAST_BITS) -> list[str]:
    """Where two JSON values differ (numbers: by more than so much of the larger), one line each."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [line for k in keys for line in differences(one.get(k), other.get(k), f"{where}/{k}", relative)]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}/{i}", relative)]
    if isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=relative):
        return []
    return [] if one == other else [f"{where}: {one} and {other}"]


def write_sessions(root: Path, sessions: int = 3, per_session: int = 2, frames: int = FRAMES, **options: Any) -> Path:
    """Episodes `s0__ep0`, `s0__ep1`, `s1__ep0` ... in the Xperience layout."""
    options = {"cameras": (), "audio": False, **options}
    for i in range(sessions * per_session):
        write_xperience_episode(root / f"s{i // per_session}" / f"ep{i % per_session}", frames, seed=i, **options)
    return root


def prepared(
    root: Path, out: Path, *words: str, branches: tuple[str, ...] = (), tasks: tuple[str, ...] = (), store: Path | None = None
) -> Prepared:
    """What `espalier run` prepares for these words; by default the track store stands beside the run."""
    config, passed = load_config(None, [*words, f"store.uri={store or out.parent / 'store'}"])
    plain = OmegaConf.to_container(passed)
    assert isinstance(plain, dict)
    return prepare(Request(open_dataset(str(root), config, passed), config, plain, branches, tasks, out))


def ingested(ready: Prepared) -> tuple[Plan, list[Quarantined]]:
    """Begin a run and ingest, in this process."""
    _begin(ready)
    results = [ingest_episode(ready.plan, ref) for ref in ready.refs]
    return with_sights(with_widths(ready.plan)), [r for r in results if isinstance(r, Quarantined)]


def jobs_of(plan: Plan) -> list[FitJob]:
    return [FitJob(branch, fold.id, seed) for branch in plan.branches for fold in plan.split.folds for seed in plan.seeds(branch)]


def fitted_and_predicted(plan: Plan) -> None:
    """Fit and predict, in this process."""
    actor = Actor(plan)
    jobs = jobs_of(plan)
    for job in jobs:
        fit_branch(plan, job, actor.bench)
    for job in [*jobs, *(FitJob(name, fold.id, 0) for name in plan.references for fold in plan.split.folds)]:
        write_bundle(plan, job)
        for block in blocks_of(plan, actor.bench, job.branch, job.fold, job.seed):
            actor.run(block)


def scored(ready: Prepared, plan: Plan, quarantined: Sequence[Quarantined] = ()) -> dict[str, Any]:
    """The leaderboard of what the folder holds, as a run ends with it, without costs."""
    written = _begin(ready)
    written.plan = plan
    written.quarantined += quarantined
    written.write("done")
    found = list(find_bundles(plan.out / "bundles"))
    return without_cost(score_run(plan.out, plan.out, found, len(written.quarantined)))


def run_here(ready: Prepared) -> dict[str, Any]:
    """All stages without Ray."""
    plan, quarantined = ingested(ready)
    fitted_and_predicted(plan)
    return scored(ready, plan, quarantined)


def alone(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what depends on who else is in the table: their rank, and the p of the family."""
    return [{k: v for k, v in row.items() if k not in ("rank_interval", "p_vs_floor")} for row in rows]


def row(board: dict[str, Any], branch: str, task: str) -> dict[str, Any]:
    """The one row of a branch on a task."""
    [found] = [r for r in board["rows"] if (r["branch"], r["task"]) == (branch, task)]
    return found
