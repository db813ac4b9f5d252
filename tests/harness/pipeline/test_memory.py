"""Peak memory of a stage is that of one episode, however many there are."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TIMEOUT_S, environment
from factories import CAMERAS
from pipeline_runs import write_sessions

pytestmark = pytest.mark.slow

FRAMES = 400
FEW, MANY = 4, 24
# One episode of this size is 10 to 20 MiB in memory: twenty more of them would show. A process that starts anew varies by this.
BOUND_MIB = 48.0

STAGE = """
import json, resource, sys
from dataclasses import replace
from pathlib import Path
from pipeline_runs import fitted_and_predicted, ingested, prepared, scored
stage, root, out, test = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
branches = ("prior", "persistence", "oracle", "ridge") if stage != "ingest" else ("ridge",)
tasks = ("timeline_action", "hand_trajectory_forecast", "cross_modal_retrieval", "imu_to_hand_pose")
ready = prepared(root, out, "split.train=0-1", f"split.test={test}", branches=branches, tasks=tasks)
if stage == "score":
    assert len(scored(ready, ready.plan)["rows"]) > 4
else:
    plan, quarantined = ingested(ready)
    assert not quarantined
    if stage == "predict":
        fitted_and_predicted(plan)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sessions(tmp_path_factory.mktemp("data"), MANY // 2, frames=FRAMES, cameras=CAMERAS[:1], audio=True)


@pytest.fixture(scope="module")
def peaks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], float]:
    """(stage, episodes) -> MiB at the peak of a process of its own."""
    found = {}
    for episodes in (FEW, MANY):
        folder = tmp_path_factory.mktemp(f"of{episodes}")
        for stage in ("ingest", "predict", "score"):
            words = [sys.executable, "-c", STAGE, stage, str(data), str(folder / "run"), f"2-{episodes - 1}"]
            paths = f"{Path(__file__).parent}:{Path(__file__).parents[2]}"
            env = environment(folder / "home", PYTHONPATH=paths)
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            assert done.returncode == 0, done.stderr
            found[stage, episodes] = float(json.loads(done.stdout.splitlines()[-1]))
    return found


@pytest.mark.parametrize("stage", ["ingest", "predict", "score"])
def test_peak_memory_does_not_grow_with_the_episodes(stage: str, peaks: dict[tuple[str, int], float]) -> None:
    few, many = peaks[stage, FEW], peaks[stage, MANY]
    assert many - few < BOUND_MIB, f"{stage}: {few:.0f} MiB with {FEW} episodes, {many:.0f} with {MANY}"
