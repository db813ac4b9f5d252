"""`make reproduce PUBLISHED=DIR`: every published figure beside what its own rows give, ours, and the floor under it.

DIR is a folder with `qwen/<version>/{predictions.jsonl,metrics.json}`, `single_episode/...`, or both.
"""

import sys
import tempfile
from pathlib import Path

from threadpoolctl import threadpool_limits

from harness.console import plain
from harness.errors import BadInput
from harness.imports.figure import TOLERANCE, Figure, counts, not_reproducible, table
from harness.imports.qwen import qwen, versions
from harness.imports.single_episode import absent, single_episode


def reproduce(folder: Path) -> tuple[list[Figure], list[str]]:
    """All figures below a folder, and the report as Markdown lines.

    Raises:
        BadInput: There is nothing to reproduce, or a file cannot be read.
    """
    figures: list[Figure] = []
    pairs: list[str] = []
    looks: list[str] = []
    rest: list[str] = []
    with tempfile.TemporaryDirectory() as work, threadpool_limits(1):
        if versions(folder / "qwen"):
            found, pairs, looks = qwen(folder / "qwen", Path(work))
            figures += found
    if (folder / "single_episode").is_dir():
        figures += single_episode(folder / "single_episode")
        rest = absent(folder / "single_episode")
    if not figures:
        raise BadInput(f"{folder}: holds neither qwen/*/predictions.jsonl with metrics.json nor single_episode/")
    return figures, _report(figures, pairs, looks, rest)


def _report(figures: list[Figure], pairs: list[str], looks: list[str], rest: list[str]) -> list[str]:
    asked = [figure for figure in figures if figure.reproduced is not None]
    same, close = sum(figure.same for figure in asked), sum(bool(figure.reproduced) and not figure.same for figure in asked)
    lines = [
        "# Published figures, recomputed from their own rows",
        "",
        f"{same} of {len(asked)} published numbers that their rows carry are reproduced to the last digit; of {close} more the "
        f"last digit differs (relative tolerance {TOLERANCE!r}, for figures that are no counts).",
        "",
        *table(figures),
        "",
        "## Counts that are reproduced",
        "",
        *counts(figures),
    ]
    if pairs:
        lines += ["", "## The versions against each other, by the evaluator's definitions, episode by episode", "", *pairs]
    if looks:
        lines += ["", "## How often these rows were scored", "", *looks]
    left = [*not_reproducible(figures), *rest]
    return lines + (["", "## Not reproducible from these files", "", *left] if left else [])


def main(words: list[str]) -> int:
    """0 where every figure that can be recomputed is reproduced, 1 where one is not, 2 for bad usage or input."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m harness.imports.reproduce DIR (the folder of the published files)\n")
        return 2
    try:
        figures, lines = reproduce(Path(words[0]))
    except BadInput as error:
        sys.stderr.write(f"reproduce: {plain(str(error))}\n")
        return 2
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if all(figure.reproduced is not False for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
