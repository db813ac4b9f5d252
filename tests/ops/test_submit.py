"""A real head with token authentication, a real `ray job submit`: the wheel travels, and the table is the local one."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import espalier

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
WORDS = ("-t", "action_chunk", "-b", "persistence", "-b", "ridge", "split.train=0-1", "split.validation=2", "split.test=3")
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "auth_token"
    path.write_text(secrets.token_hex(32))
    return path


@pytest.fixture(scope="module")
def head(token: Path) -> Iterator[str]:
    """Address of the dashboard of a head of its own; ended by its process, never by `ray stop`."""
    port, dashboard = free_port(), free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    # A folder of its own (a short one: sockets stand in it), so that no other Ray of this machine takes this head for its own.
    folder = tempfile.mkdtemp(prefix="ray")
    words = [
        "start",
        "--head",
        "--block",
        f"--port={port}",
        f"--dashboard-port={dashboard}",
        "--num-cpus=2",
        f"--temp-dir={folder}",
    ]
    process = subprocess.Popen(
        [BIN / "ray", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, "the head did not start"
        asked = [BIN / "ray", "job", "list", "--address", f"http://127.0.0.1:{dashboard}"]
        if subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.5)
    yield f"http://127.0.0.1:{dashboard}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def submit(head: str, token: Path, home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_TOKEN_PATH": str(token), "ESPALIER_HOME": str(home), "ESPALIER_VENV": str(BIN.parent)}
    return subprocess.run(
        [ROOT / "ops" / "submit.sh", head, *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )


def test_the_table_of_a_job_is_that_of_a_local_run(head: str, token: Path, shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "g1_inspire_v30"
    results = f"file://{tmp_path}/storage/first"
    done = submit(head, token, tmp_path / "cluster", results, tmp_path / "fetched", "run", data, *WORDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "persistence" in done.stdout  # its log was followed
    local = espalier(tmp_path / "home", "run", data, *WORDS, "--out", tmp_path / "local")
    assert local.code == 0, local.err
    tables = [json.loads((tmp_path / name / "leaderboard.json").read_text()) for name in ("fetched", "local")]
    for table in tables:
        for row in table["rows"]:
            del row["cost"]
    assert tables[0] == tables[1]
    manifest = json.loads((tmp_path / "fetched" / "manifest.json").read_text())
    assert "git_sha" in json.dumps(manifest) and '"git_sha": null' in json.dumps(manifest)  # a wheel is no checkout
    assert (tmp_path / "storage" / "first" / "bundles").is_dir()


def test_a_command_that_cannot_be_ends_with_its_own_code(head: str, token: Path, tmp_path: Path) -> None:
    results = f"file://{tmp_path}/storage/second"
    done = submit(head, token, tmp_path / "cluster", results, tmp_path / "fetched", "run", tmp_path / "nothing", "-b", "ridge")
    assert done.returncode == 2
    assert "nothing" in done.stdout + done.stderr


def test_without_a_token_nothing_is_sent(head: str, tmp_path: Path) -> None:
    done = submit(head, tmp_path / "no-token", tmp_path / "cluster", "file:///tmp/none", tmp_path / "fetched", "list", "tasks")
    assert done.returncode == 2
    assert "no token in" in done.stderr
