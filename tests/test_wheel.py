"""The wheel in an environment without the checkout: cards are there, and nothing shadows Hugging Face's `datasets`."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out], cwd=ROOT, check=True, capture_output=True
    )
    [path] = out.glob("*.whl")
    return path


def test_what_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "harness/_cards/demo/card.yaml" in names and "branches/floors/adapter.py" in names
    top = {name.partition("/")[0] for name in names}
    assert top == {"harness", "branches", "tune", next(t for t in top if t.endswith(".dist-info"))}
    assert not [n for n in names if n.endswith((".mp4", ".hdf5", ".parquet"))]


def test_it_works_where_there_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import datasets, harness, sys; from harness.card import bundled_cards, load_card\n"
        "assert hasattr(datasets, 'load_dataset'), datasets.__path__\n"
        "assert str(harness.__path__[0]).startswith(sys.argv[1]), harness.__path__\n"
        "print(load_card(bundled_cards()['demo']).format)"
    )
    # -S leaves out the .pth file of an editable install; the libraries come back through the path.
    libraries = sysconfig.get_paths()["purelib"]
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{libraries}", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(site)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "xperience10m"
