"""What branches hold by their cards, what a machine without GPUs leaves out, and who sees a GPU."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_runs import prepared, write_sessions

from harness.branch import branch_names, make_branch
from harness.pipeline.cluster import ray_session
from harness.pipeline.fit import FitJob, fit
from tune.room import without_room


@pytest.mark.parametrize("name", branch_names())
def test_a_model_of_full_size_holds_a_gpu_and_nothing_else_does(name: str) -> None:
    presets = make_branch(name).presets
    for preset in presets or ("tiny", "real"):
        card = make_branch(name, None, preset).card
        gpus = 1.0 if presets and preset == "real" else 0.0
        assert (card.cpus, card.gpus, card.fit_cpus, card.fit_gpus) == (1.0, gpus, 1.0, gpus)
        probe = make_branch(f"ridge@{name}", None, preset).card
        assert (probe.gpus, probe.fit_gpus) == (gpus, gpus)


@pytest.fixture
def ray_without_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
    yield
    ray.shutdown()


def test_without_gpus_models_of_full_size_are_not_run(ray_without_gpus: None, tmp_path: Path) -> None:
    words = ("split.train=0", "split.test=1", "preset=real")
    data = write_sessions(tmp_path / "data", 2, 1, frames=60)
    ready = prepared(data, tmp_path / "run", *words, branches=("majority", "policy:act"), tasks=("hand_action_chunk",))
    [(name, why)] = without_room(ready.request).items()
    assert name == "policy:act" and why.startswith("not_run: needs 1 CPU(s) and 1 GPU(s) on one machine")
    job = FitJob("policy:act", 0, 0)
    assert fit([(ready.plan, job)], lambda *_: None)[0].startswith("needs 1 CPU(s) and 1 GPU(s) on one machine")


def test_only_workers_that_were_given_a_gpu_see_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    for name in ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda **words: start(**words, num_cpus=1, num_gpus=1))

    def seen() -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    with ray_session():
        assert ray.get([ray.remote(num_gpus=n)(seen).remote() for n in (0, 1, 0)]) == ["", "0", ""]
