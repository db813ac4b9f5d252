"""Folders of stored episodes on this machine: how large they are, which are in use, which were used least recently."""

import contextlib
import os
import re
import weakref
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any
from uuid import uuid4

import fsspec

from harness.errors import UnreadableEpisode

GIB = 2**30
MARKER = ".part.json"
KEY = re.compile(r"[0-9a-f]{32}")
TOKEN = re.compile(r"\d{20}-[0-9a-f]{12}")  # nanoseconds since the epoch, and what tells writers of one instant apart

_in_use: Counter[Path] = Counter()
_guard = RLock()  # a collected episode is released from wherever the collector runs, even from inside `hold`


def is_key(folder: str) -> bool:
    """True for the folder name of a stored episode: nothing else in a store is ever removed."""
    return KEY.fullmatch(folder) is not None


def token_of(file: str) -> str | None:
    """The writer of a file, from the file's name; None where it is no file of a part."""
    match = TOKEN.match(file)
    return match[0] if match else None


def written_at(file: str) -> float:
    """Seconds since the epoch at which the writer of a part's file began, from the file's name."""
    return int(file.partition("-")[0]) / 1e9


@dataclass
class Usage:
    """One stored episode: the files of its parts (name -> bytes) and its last use, in seconds since the epoch."""

    files: dict[str, int] = field(default_factory=dict)
    used: float = 0.0

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self.files.values())


def hold(folder: Path) -> None:
    """Mark a folder as being read or written by this process."""
    with _guard:
        _in_use[folder] += 1


def release(folder: Path) -> None:
    """Undo one `hold`."""
    with _guard:
        _in_use[folder] -= 1


def hold_while(owner: object, folder: Path) -> None:
    """Mark a folder as in use for as long as `owner` lives."""
    hold(folder)
    weakref.finalize(owner, release, folder)


def in_use(folder: Path) -> bool:
    """True where this process reads or writes the folder."""
    return _in_use[folder] > 0


def touch(folder: Path) -> None:
    """Note that the folder was used now."""
    with contextlib.suppress(PermissionError):  # a store that may only be read is not pruned from here either
        os.utime(folder)


def local_usage(root: Path) -> dict[str, Usage]:
    """Key -> files and last use of every stored episode in `root`; what vanishes meanwhile is left out."""
    found: dict[str, Usage] = {}
    for folder in root.iterdir() if root.is_dir() else ():
        if not is_key(folder.name):
            continue
        with contextlib.suppress(FileNotFoundError):
            usage = Usage(used=folder.stat().st_mtime)
            for entry in os.scandir(folder):
                if token_of(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        usage.files[entry.name] = entry.stat().st_size
            found[folder.name] = usage
    return found


def to_remove(usage: dict[str, Usage], root: Path, limit: float) -> list[str]:
    """Keys of the least recently used episodes whose removal brings the total to `limit` bytes, those in use left out."""
    total = sum(u.size for u in usage.values())
    chosen = []
    for name in sorted(usage, key=lambda n: (usage[n].used, n)):
        if total <= limit:
            break
        if usage[name].files and not in_use(root / name):
            chosen.append(name)
            total -= usage[name].size
    return chosen


class NodeCache:
    """Copies of parts of a remote store on this machine, least recently used out.

    What this process has open stays, even where that is more than the limit. What another process has mapped stays readable
    for it: its files lose their names, not their bytes.

    Args:
        root: Folder of the copies.
        max_gib: Bound; None = no bound.
    """

    def __init__(self, root: Path, max_gib: float | None) -> None:
        self.root = root
        self.max_gib = max_gib

    def make_room(self, needed: int) -> None:
        """Remove episodes until `needed` more bytes fit."""
        if self.max_gib is None:
            return
        usage = local_usage(self.root)
        for key in to_remove(usage, self.root, self.max_gib * GIB - needed):
            remove(self.root / key, usage[key])

    def fetch(self, filesystem: Any, source: str, key: str, files: dict[str, int]) -> None:
        """Bring the files of an episode here, those that are here already excepted.

        Args:
            filesystem: Of the remote store.
            source: The episode's folder there.
            key: The episode's folder here.
            files: Name -> bytes.

        Raises:
            UnreadableEpisode: A file is damaged in the store.
            FileNotFoundError: A file is gone: from the store, or from here because another process needed the room.
        """
        folder = self.root / key
        absent = {name: size for name, size in files.items() if not (folder / name).is_file()}
        if not absent:
            return
        self.make_room(sum(absent.values()))
        folder.mkdir(parents=True, exist_ok=True)
        for name, size in absent.items():
            partial = folder / f"{name}.{uuid4().hex[:8]}.partial"
            try:
                filesystem.get_file(f"{source}/{name}", str(partial))
                if partial.stat().st_size != size:
                    reason = f"damaged: {partial.stat().st_size} of {size} bytes; remove its folder and run again"
                    raise UnreadableEpisode(f"{source}/{name}", reason)
                partial.replace(folder / name)
            finally:
                partial.unlink(missing_ok=True)


def remove(folder: Path, usage: Usage) -> None:
    """Remove a stored episode from this machine. One that another process is adding to is left standing with what was added."""
    for name in markers_first(usage):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def markers_first(usage: Usage) -> list[str]:
    """The files in the order of removal: one that is cut off leaves abandoned files, never half an episode."""
    return sorted(usage.files, key=lambda name: not name.endswith(MARKER))


def open_filesystem(uri: str, options: dict[str, Any]) -> tuple[Any, str]:
    """The fsspec file system of a URI and the path in it, without a slash at the end."""
    filesystem, path = fsspec.core.url_to_fs(uri, **options)
    return filesystem, str(path).rstrip("/")
