"""What the command line calls for `espalier select`."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from harness.config import load_options
from harness.dataset import open_dataset
from harness.errors import BadInput
from tune.config import SelectConfig
from tune.select import Asked, said_before
from tune.select import select as execute
from tune.sheet_text import print_sheet


def begin(
    name: str | None,
    options: list[str],
    file: Path | None,
    episodes: int | None,
    out: Path | None,
    branches: tuple[str, ...],
    tasks: tuple[str, ...],
    address: str | None,
) -> Asked:
    """The words of the command line, checked.

    Raises:
        BadInput: One is missing or unknown.
    """
    if name is None or episodes is None or out is None:
        missing = next(word for word, value in (("DATASET", name), ("--episodes", episodes), ("--out", out)) if value is None)
        raise BadInput(f"{missing} is missing: espalier select DATASET --episodes 3..8 --out RUN, or --resume RUN")
    return _asked(name, load_options(SelectConfig, file, options), episodes, branches, tasks, out, address)


def resume(folder: Path, address: str | None) -> Asked:
    """What the selection in a folder was asked for.

    Raises:
        BadInput: It holds none.
    """
    said = said_before(folder)
    options = load_options(SelectConfig, None, [], said["options"])
    return _asked(said["dataset"], options, said["episodes"], tuple(said["branches"]), tuple(said["tasks"]), folder, address)


def _asked(
    name: str,
    options: tuple[SelectConfig, Any],
    episodes: int,
    branches: tuple[str, ...],
    tasks: tuple[str, ...],
    out: Path,
    address: str | None,
) -> Asked:
    config, passed = options
    plain = OmegaConf.to_container(passed, resolve=True)
    assert isinstance(plain, dict)
    dataset = open_dataset(name, config, passed)
    return Asked(name, dataset, config, plain, episodes, branches, tasks, out, address)  # type: ignore[arg-type]


def select(asked: Asked, result: Console, progress: Console) -> int:
    """Do it, print the sheet; the exit code."""
    selected = execute(asked, progress)
    print_sheet(selected.sheet, result)
    for line in selected.sheet["failures"]:
        progress.print(Text(f"failed {line}", style="red"), soft_wrap=True)
    result.print(Text(f"\nwritten to {asked.out}"))
    return selected.exit_code
