"""Left-out sessions and several seeds: seeds are averaged inside an episode, and folds that share training data widen."""

from pathlib import Path

import numpy as np
import pytest
from planted import ablated, cell, write_planted
from scipy.stats import t as student_t

from harness.ablate.arms import Arm
from harness.ablate.runs import folder_of
from harness.ablate.variants import without
from harness.evaluate import evaluate
from harness.score import held_of, read_manifest

TASK = "hand_trajectory_forecast"


def test_seeds_and_folds_by_hand(tmp_path: Path) -> None:
    root, out, variant = write_planted(tmp_path / "data", episodes=4, frames=80), tmp_path / "run", without("imu")
    words = ("split.kind=leave_one_session_out", "seeds=[0,1]", "branch.mlp.epochs=2", "windows.stride=10")
    ablation = ablated(root, out, [variant], ("mlp",), (TASK,), *words)
    found = cell(ablation, "mlp", TASK, variant.name)
    metric = evaluate(held_of(out, read_manifest(out)), []).metrics[TASK, 0]
    arms = [Arm("", folder).states("mlp", TASK) for folder in (out, folder_of(out, variant))]
    episodes = sorted({episode for _, _, episode in arms[0]})
    assert len(arms[0]) == 2 * len(episodes) == 8
    parts = []
    for episode in episodes:
        full, other = (np.mean([state for (_, _, of), state in states.items() if of == episode], axis=0) for states in arms)
        parts.append(float(metric.value(other)) - float(metric.value(full)))  # an error: lower is better
    assert metric.mean_over_rows and metric.direction == "down" and np.ptp(parts) > 0
    # Nadeau and Bengio: one session tests what two were fitted on; the fourth validates.
    half = student_t.ppf(0.975, 3) * np.std(parts, ddof=1) * np.sqrt(1 / 4 + 1 / 2)
    assert found["delta"] == pytest.approx(np.mean(parts))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((np.mean(parts) - half, np.mean(parts) + half))
    assert found["n_clusters"] == 4 and found["verdict"] in ("inconclusive", "tied")  # so few tell nothing apart
    assert ablation["seeds"] == [0, 1]
