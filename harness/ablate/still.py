"""What is shown and tells nothing: tracks that no fitted and no tested row has, and features that all of these rows have alike.

Taking such a thing away takes away nothing, so there is nothing to compare.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.ablate.variants import BLOCK
from harness.episode import BoolArray, Episode
from harness.features.base import Block
from harness.pipeline.plan import Plan
from harness.pipeline.workbench import Workbench

UNMEASURED = "is measured in no fitted and no tested row"
ALIKE = "is the same in every fitted and tested row"
SAME = 1e-6
"""Numbers this close are the same, as for a column that a head takes for a constant."""


def still_of(plan: Plan) -> dict[str, str]:
    """Name as in `Sight.views` -> why taking it away takes away nothing; the names that tell something are not there.

    Validation alone chooses settings, so what only it shows is not shown. A track is looked at for whether it is measured: the
    words of a constant instruction do change the answers of a branch that reads them. A feature must vary too.

    Args:
        plan: With the widths of its blocks, after ingest.
    """
    bench = Workbench(plan)
    usable = set(filter(bench.usable, plan.split.episodes))
    used = sorted(usable & {e for fold in plan.split.folds for e in (*fold.train, *fold.test)})
    shown = {name for tasks in plan.sights.values() for sight in tasks.values() for view in sight.views for name in view}
    tracks = sorted(name for name in shown if not name.startswith(BLOCK))
    found = {name: UNMEASURED for name in tracks if not any(_is_measured(bench.episode(e), name) for e in used)}
    for block in plan.blocks(sorted({track for name in usable for track in bench.record(name).tracks})):
        if why := _still_block(bench, block, used):
            found[f"{BLOCK}{block.name}"] = why
    return found


def _is_measured(episode: Episode, name: str) -> bool:
    track = episode.tracks.get(name)
    return track is not None and (track.valid is None or bool(np.any(track.valid)))


def _still_block(bench: Workbench, block: Block, episodes: Sequence[str]) -> str:
    """Why the block tells nothing; empty where it tells something, which the first episode shows as a rule."""
    first: NDArray[np.float32] | None = None
    lacking = False
    for values, valid in _rows(bench, block, episodes):
        measured = values[valid]
        lacking |= not valid.all()
        if len(measured):
            first = measured[0] if first is None else first
            if lacking or np.abs(measured - first).max(initial=0) > SAME:
                return ""  # also where it is measured in some rows and not in others
        elif first is not None and lacking:
            return ""
    return UNMEASURED if first is None else ALIKE


def _rows(bench: Workbench, block: Block, episodes: Sequence[str]) -> Iterator[tuple[NDArray[np.float32], BoolArray]]:
    for name in episodes:
        episode = bench.episode(name)
        starts = bench.plan.spec.grid(len(episode.timeline))
        if len(starts):
            yield _computed(block, episode, starts, bench.plan.spec.length)


def _computed(block: Block, episode: Episode, starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.float32], BoolArray]:
    if block.available(episode):
        return block.compute(episode, starts, length)
    return np.zeros((len(starts), 0), np.float32), np.zeros(len(starts), bool)
