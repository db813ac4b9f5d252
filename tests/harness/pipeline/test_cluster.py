"""A cluster of two machines (two Ray nodes): folders are absolute, seen by all, and asked for before work starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import espalier
from pipeline_runs import leaderboard

from harness.errors import BadInput
from harness.pipeline.cluster import check_reachable, pool_shape

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def test_a_run_from_any_folder(address: str, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    words = ("-t", "action_chunk", "-b", "persistence", "-b", "ridge", "split.train=0-1", "split.validation=2", "split.test=3")
    data = shared_data / "g1_inspire_v30"
    done = espalier(tmp_path / "home", "run", data, *words, "--out", "run", "--address", address, cwd=tmp_path / "here")
    assert done.code == 0, done.err
    assert {r["branch"] for r in leaderboard(tmp_path / "here" / "run")["rows"]} == {"persistence", "ridge"}


def test_what_a_machine_does_not_see_or_have_is_one_line(address: str, tmp_path: Path) -> None:
    import ray

    ray.init(address=address, log_to_driver=False)
    try:
        check_reachable([tmp_path])
        with pytest.raises(BadInput, match=r"elsewhere: .* does not see it; give a folder that all its machines share"):
            check_reachable([tmp_path, tmp_path / "elsewhere"])
        with pytest.raises(BadInput, match=r"needs 1 GPU\(s\) per actor and Ray has 0"):
            pool_shape(1.0, 1.0, 4)
        assert pool_shape(1.0, 0.0, 8) == (2, 0.5)
    finally:
        ray.shutdown()
