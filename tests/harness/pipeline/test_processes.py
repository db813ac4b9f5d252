"""Marks of the processes that held a branch, and what they decoded."""

from pathlib import Path

import pytest
from commands import FAULTY
from factories import CAMERAS
from pipeline_runs import ingested, prepared, write_sessions

from harness.pipeline.fit import FitJob, fit_branch
from harness.pipeline.predict import Actor, blocks_of
from harness.pipeline.processes import processes_of

DECODES = "faulty.branches:Decodes"


def test_a_branch_that_decodes_video_for_itself_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FAULTY))
    data = write_sessions(tmp_path / "data", 2, 1, frames=40, cameras=CAMERAS[:1])
    monkeypatch.setenv("FAULTY_VIDEO", str(data / "s0" / "ep0" / f"{CAMERAS[0]}.mp4"))
    words = ("split.train=0", "split.test=1")
    plan, lost = ingested(prepared(data, tmp_path / "run", *words, branches=("prior", DECODES), tasks=("timeline_action",)))
    assert not lost
    actor = Actor(plan)
    for name in plan.branches:
        fit_branch(plan, FitJob(name, 0, 0), actor.bench)
        for block in blocks_of(plan, actor.bench, name, 0, 0):
            actor.run(block)
    held = {"processes": 1, "fit": 1, "predict": 1}
    assert processes_of(plan.home) == {"prior": held | {"decoded_frames": 0}, DECODES: held | {"decoded_frames": 80}}
