"""What a long run shows while it works: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S = 10.0


@contextmanager
def progress(title: str, total: int, console: Console) -> Iterator[Callable[[str], None]]:
    """Yields a function to call with what has just been done."""
    if not total:
        yield lambda _: None
        return
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda what: bar.update(task, advance=1, description=f"{title} {what}")
        return
    yield _plain(title, total, console)


def _plain(title: str, total: int, console: Console) -> Callable[[str], None]:
    began = last = time.monotonic()
    done = 0

    def tick(what: str) -> None:
        nonlocal done, last
        done += 1
        if done == total or time.monotonic() - last > PLAIN_EVERY_S:
            last = time.monotonic()
            console.print(f"{title}: {done}/{total} ({last - began:.0f} s) {what}", markup=False, highlight=False)

    return tick
