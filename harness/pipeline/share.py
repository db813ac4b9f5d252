"""Targets that several runs on the same recordings have in common."""

import os
import shutil
from pathlib import Path

from harness.pipeline.plan import Plan


def share_targets(run: Path, plan: Plan) -> None:
    """Give a run the targets of another one: hard links, or copies where the file system has none."""
    found = {file.name: file for file in (run / "targets").glob("*.parquet")}
    folder = plan.home / "targets"
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.parquet"):
        if file.name not in found:
            file.unlink()
    for name, file in found.items():
        mine = folder / name
        if mine.is_file() and (mine.samefile(file) or mine.stat().st_mtime_ns == file.stat().st_mtime_ns):
            continue
        partial = mine.with_name(f".{name}.partial")
        partial.unlink(missing_ok=True)
        try:
            os.link(file, partial)
        except OSError:
            shutil.copy2(file, partial)
        partial.replace(mine)
