"""What a submitted job does on its cluster: one command into a folder there, and that folder to a storage URI.

    python -P -m harness.job run RESULTS VERB [WORD]...    # on the cluster, started by `ray job submit`
    python -m harness.job fetch RESULTS OUT             # anywhere: tables, manifests and the exit code

RESULTS is any URI that fsspec knows (s3://, gs://, file://) or a path. A job of the same RESULTS goes on where the last ended.
"""

import json
import os
import sys
from pathlib import Path, PurePosixPath
from typing import NoReturn

import fsspec

from harness.dataset import home
from harness.errors import BadInput, WorkFailed

SAID = "job.json"
LEFT_OUT = 3  # done, but something was left out: for Ray that is no failure


def run_job(results: str, words: list[str]) -> int:
    """Run one command of the command line, and copy what it leaves; also where it failed.

    Args:
        results: Storage URI of the run folder.
        words: Verb and its words, without `--out` and `--address`.

    Returns:
        Exit code of the command.

    Raises:
        BadInput: The storage cannot be reached.
    """
    from harness import cli  # noqa: PLC0415

    files, there = _storage(results)
    folder = home() / "jobs" / PurePosixPath(there).name
    if not folder.exists() and files.exists(f"{there}/{SAID}"):
        files.get(f"{there}/", f"{folder}/", recursive=True)
    # Ray puts the driver's folder on the path of its workers: a checkout there would hide the wheel.
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.chdir(folder.parent)
    try:
        sys.argv = ["espalier", *words, "--out", str(folder), "--address", "auto"]
        cli.main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    files.makedirs(there, exist_ok=True)
    if folder.exists():
        files.put(f"{folder}/", f"{there}/", recursive=True)
    files.pipe(f"{there}/{SAID}", json.dumps({"exit_code": code, "words": words}).encode())  # last: the copy is complete
    print(f"exit code {code}; copied to {results}")
    return code


def fetch(results: str, out: Path) -> int:
    """Bring the files that stand directly in a run folder (leaderboard, sheet, manifest) here.

    Returns:
        Exit code of the job's command.

    Raises:
        BadInput: No job has left anything there.
    """
    files, there = _storage(results)
    if not files.exists(f"{there}/{SAID}"):
        raise BadInput(f"{results}: no job has finished there; look at its logs with `ray job logs`, or correct the URI")
    out.mkdir(parents=True, exist_ok=True)
    for entry in files.ls(there, detail=True):
        if entry["type"] == "file":
            files.get(entry["name"], str(out / PurePosixPath(entry["name"]).name))
    return int(json.loads((out / SAID).read_text())["exit_code"])


def _storage(results: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        files, there = fsspec.core.url_to_fs(results)
    except (ValueError, ImportError) as error:
        raise BadInput(
            f"{results}: no storage that can be reached ({error}); give a path or a URI such as s3://bucket/run"
        ) from error
    return files, there.rstrip("/")


def main() -> NoReturn:
    """Entry point."""
    match sys.argv[1:]:
        case ["run", results, verb, *words]:
            code = run_job(results, [verb, *words])
            sys.exit(0 if code == LEFT_OUT else code)
        case ["fetch", results, out]:
            sys.exit(fetch(results, Path(out)))
        case _:
            raise BadInput("usage: python -m harness.job run RESULTS VERB [WORD]... | fetch RESULTS OUT")


if __name__ == "__main__":
    try:
        main()
    except (BadInput, WorkFailed) as problem:
        sys.stderr.write(f"espalier: {problem}\n")
        sys.exit(2)
