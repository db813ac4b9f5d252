"""What exactly ran: versions, hardware, code, data. Everything a reviewer needs to run it again."""

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ENTRY_POINTS = "espalier.branches"
PACKAGES = ("espalier", "ray", "torch", "transformers", "peft", "lerobot", "diffusers", "av", "torchcodec", "numpy", "scipy",
            "scikit-learn", "pyarrow", "h5py", "omegaconf")  # fmt: skip
LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"  # in a checkout


def write_json(path: Path, body: Any) -> None:
    """Write JSON that appears whole or not at all; NaN is refused because JSON has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n")
    partial.replace(path)


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Code, packages and hardware of this process."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        **_code(),
    }


@lru_cache(maxsize=8)
def code_version(*packages: str) -> str:
    """Hash of the Python files of packages, of subpackages too; without names: of everything that makes a prediction.

    That is `harness`, and every package that offers a branch.
    """
    names = packages or ("harness", *sorted({point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINTS)}))
    digest = sha256()
    for name in names:
        found = find_spec(name)
        for folder in (found.submodule_search_locations or ()) if found else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{name}/{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def locked_versions(lock: Path = LOCK) -> dict[str, str]:
    """Package -> version of a lock file; empty where there is none."""
    lines = lock.read_text().splitlines() if lock.is_file() else []
    return {found[1]: found[2] for line in lines if (found := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
    except OSError:
        return []
    return [line.split(" (UUID")[0] for line in listed.stdout.splitlines()] if listed.returncode == 0 else []


def _code() -> dict[str, Any]:
    """Git commit and dirty flag where this is a checkout, and the hash of the lock beside it."""
    root = LOCK.parent
    found: dict[str, Any] = {"git_sha": None, "git_dirty": None, "lock_sha256": None}
    if LOCK.is_file():
        found["lock_sha256"] = sha256(LOCK.read_bytes()).hexdigest()
    if (root / ".git").exists():
        try:
            found["git_sha"] = _git(root, "rev-parse", "HEAD")
            found["git_dirty"] = bool(_git(root, "status", "--porcelain"))
        except (OSError, subprocess.CalledProcessError):
            found["git_sha"] = None
    return found


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603, S607
