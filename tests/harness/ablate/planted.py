"""Recordings in which one sensor tells the truth and the others are noise, and an ablation of them in this process."""

from pathlib import Path
from typing import Any

import numpy as np
from factories import write_xperience_episode
from pipeline_runs import prepared, run_here

from harness.ablate.deltas import build
from harness.ablate.runs import folder_of
from harness.ablate.still import still_of
from harness.ablate.variants import Variant
from harness.pipeline.sights import with_sights
from harness.pipeline.survey import with_widths

SPLIT = ("split.train=0-4", "split.validation=5", "split.test=6-11")


def write_planted(root: Path, episodes: int = 12, frames: int = 160) -> Path:
    """One episode per session. While a body joint touches something the left hand is raised by half a metre."""
    for i in range(episodes):
        write_xperience_episode(root / f"s{i:02d}" / "ep0", frames, seed=i, cameras=(), audio=False, edit=_plant(i, frames))
    return root


def _plant(seed: int, frames: int) -> Any:
    def edit(arrays: dict[str, Any]) -> None:
        rng = np.random.default_rng(1000 + seed)
        touching = np.repeat(rng.uniform(size=frames // 40 + 1) > 0.5, 40)[:frames]
        touching[:40], touching[40:80] = True, False
        contacts = np.zeros((frames, 21), np.float32)
        contacts[:, 20] = touching
        arrays["full_body_mocap/contacts"] = contacts
        arrays["hand_mocap/left_joints_3d"] += 0.5 * touching[:, None, None].astype(np.float32)

    return edit


def words_of(variant: Variant) -> list[str]:
    """The variant as `key=value`."""
    changed = {"without": f"hidden=[{variant.old}]", "only": f"only=[{variant.old}]"}
    return [changed.get(variant.kind, f"features=[default,'-{variant.old}','{variant.new}']")]


def ablated(
    root: Path, out: Path, variants: list[Variant], branches: tuple[str, ...], tasks: tuple[str, ...], *words: str
) -> dict[str, Any]:
    """Full arm and variants without Ray, and what comes of them."""
    store = out.parent / "store"
    ready = prepared(root, out, *words, branches=branches, tasks=tasks, store=store)
    run_here(ready)
    for variant in variants:
        arm = [*words, *words_of(variant)]
        run_here(prepared(root, folder_of(out, variant), *arm, branches=branches, tasks=tasks, store=store))
    return build(out, {variant: folder_of(out, variant) for variant in variants}, still_of(with_sights(with_widths(ready.plan))))


def cell(ablation: dict[str, Any], branch: str, task: str, variant: str) -> dict[str, Any]:
    """The one cell."""
    [found] = [c for c in ablation["cells"] if (c["branch"], c["task"], c["variant"]) == (branch, task, variant)]
    return found
