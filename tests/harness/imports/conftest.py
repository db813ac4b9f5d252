"""A home and a small run for every test of imports."""

from pathlib import Path

import pytest
from small_run import make_run


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A ledger of its own."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose targets rows may answer."""
    return make_run(tmp_path_factory.mktemp("small") / "run")
