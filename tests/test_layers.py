"""The arrows of the house: cli -> tune -> branches -> harness, and datasets/ is no package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {"harness": {"harness"}, "branches": {"branches", "harness"}, "tune": {"tune", "branches", "harness"}}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_arrows_point_down(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): bad for f in files if (bad := (imported(f) & set(ALLOWED)) - ALLOWED[package])}
    assert not wrong


def test_no_family_imports_another() -> None:
    families = {path.name for path in (ROOT / "branches").iterdir() if (path / "adapter.py").is_file()}
    assert {"floors", "heads", "policy"} <= families
    for family in families:
        for file in (ROOT / "branches" / family).rglob("*.py"):
            modules = [node.module or "" for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
            others = {m for m in modules if m.startswith("branches.") and m.split(".")[1] in families - {family}}
            assert not others, (file, others)


def test_the_evaluator_knows_neither_models_nor_ray() -> None:
    for name in ("evaluate", "leaderboard", "stats", "bundle", "tables", "answers"):
        assert not imported(ROOT / "harness" / f"{name}.py") & {"ray", "torch", "transformers", "lerobot"}, name


def test_datasets_holds_no_python() -> None:
    assert list((ROOT / "datasets").rglob("card.yaml"))
    assert not list((ROOT / "datasets").rglob("*.py"))


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, harness.cli; print([m for m in ('ray', 'torch', 'pyarrow', 'sklearn', 'av', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_tracked_file_names_a_package_index() -> None:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        text = (ROOT / name).read_bytes()
        assert b"--index" + b"-url" not in text and b"/sim" + b"ple/" not in text, name
