"""What `score` and `compare` are given: run folders, folders with bundles below, and imports that wait for their run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.bundle import Bundle, find_bundles
from harness.errors import BadInput
from harness.imports.folder import held_at
from harness.imports.mark import loose_below
from harness.imports.own_rows import bind_loose


@contextmanager
def gathered(paths: Sequence[Path], run: Path) -> Iterator[list[Bundle]]:
    """Every bundle of these folders, each once.

    Imports that wait for their run are held against it here, each in a place of its own that is gone afterwards: nothing is
    written beside the user's files, and nothing of theirs is removed.

    Args:
        paths: Run folders, or folders with bundles or imports below them.
        run: The run that is answered.

    Raises:
        BadInput: No bundle is there or below one of the folders, rows do not fit the run, or two things have one name.
    """
    found: dict[Path, tuple[Path, Bundle]] = {}  # a bundle's folder -> where the user finds it, and the bundle
    waiting: dict[Path, Path] = {}
    for path in paths:
        # A run folder may hold runs of its own (those of a selection): its bundles stand in one place.
        is_run = (path / "split.json").is_file()
        bundles = list(find_bundles(path / "bundles" if is_run else path))
        loose = [] if is_run else loose_below(path)
        if not (bundles or loose or is_run):
            raise BadInput(f"{path}: no bundle below it (folders fold=*/seed=* with a manifest.json)")
        found |= {bundle.folder.resolve(): (bundle.folder.parents[1], bundle) for bundle in bundles}
        waiting |= {folder.resolve(): folder for folder in loose}
    if not (found or waiting):
        raise BadInput(f"{paths[0]}: no bundle below it (folders fold=*/seed=* with a manifest.json)")
    with TemporaryDirectory(prefix="espalier-") as work:
        held = held_at(run) if waiting else None
        for i, folder in enumerate(waiting.values()):
            assert held is not None
            for bundle in bind_loose(folder, held, Path(work) / str(i)):
                found[bundle.folder] = folder, bundle
        _refuse_namesakes(list(found.values()))
        yield without_copies([bundle for _, bundle in found.values()])


def _refuse_namesakes(found: Sequence[tuple[Path, Bundle]]) -> None:
    """An import is the whole of its branch: two of one name, or a branch of that name, would be taken for one."""
    first: dict[str, tuple[Path, Bundle]] = {}
    for place, bundle in ((place, bundle) for place, bundle in found if not bundle.privileged):
        there, other = first.setdefault(bundle.branch, (place, bundle))
        if there.resolve() != place.resolve() and (bundle.imported or other.imported):
            raise BadInput(f"{there} and {place} are both named {bundle.branch}; import one of them again with another --name")


def without_copies(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Every import of the same rows brings the privileged rows made of their targets: one of each is enough."""
    kept: list[Bundle] = []
    made: set[tuple[str, str]] = set()
    for bundle in bundles:
        if not (bundle.privileged and bundle.imported):
            kept.append(bundle)
        elif (bundle.branch, bundle.split) not in made:
            made.add((bundle.branch, bundle.split))
            kept.append(bundle)
    return kept
