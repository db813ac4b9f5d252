"""The command line for tests: in this process, or as a process of its own."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import cli

FAULTY = Path(__file__).resolve().parent / "harness" / "pipeline"  # holds the package `faulty`: branches that go wrong
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def call(*words: Any) -> Done:
    """`espalier WORDS` in this process. What the command line does not turn into an exit code comes through as it is."""
    out, err, arguments = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["espalier", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as stopped:
        assert isinstance(stopped.code, int), stopped.code
        return Done(stopped.code, out.getvalue(), err.getvalue())
    finally:
        sys.argv = arguments
    raise AssertionError("the command line ends with an exit code")


def command(*words: Any) -> list[str]:
    """`espalier WORDS` as the words of a process."""
    return [str(Path(sys.executable).with_name("espalier")), *map(str, words)]


def environment(home: Path, **more: Path | str) -> dict[str, str]:
    """Of a process with a home of its own, in which the branches of `faulty` can be imported."""
    paths = os.pathsep.join(filter(None, (str(FAULTY), os.environ.get("PYTHONPATH"))))
    own = {"ESPALIER_HOME": home, "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **more}
    return os.environ | {name: str(value) for name, value in own.items()}


def espalier(home: Path, *words: Any, cwd: Path | None = None, **more: Path | str) -> Done:
    """Run a command to its end in a process of its own."""
    own = environment(home, **more)
    done = subprocess.run(command(*words), capture_output=True, text=True, env=own, timeout=TIMEOUT_S, check=False, cwd=cwd)
    return Done(done.returncode, done.stdout, done.stderr)
