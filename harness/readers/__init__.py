"""One file per on-disk format, each yielding the same `Episode`.

A reader lists episodes without opening their recordings (`list_episodes`) and reads one (`read`). What a data set should have
and an episode lacks goes into `Episode.lacking`; what cannot be read raises `UnreadableEpisode`.
"""

from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol, cast

from harness.card import Card, suggest
from harness.episode import Episode, EpisodeRef
from harness.errors import BadInput


class Reader(Protocol):
    """Reads one data set. It is made in every worker from (root, card), so it holds no open files."""

    format: ClassVar[str]

    def __init__(self, root: Path, card: Card) -> None: ...

    @staticmethod
    def recognises(root: Path) -> bool:
        """True where the folder or file looks like this format; never raises."""

    @staticmethod
    def fingerprint(root: Path) -> dict[str, str]:
        """Metadata that tell data sets of this format apart, to find the bundled card."""

    def infer(self) -> Card:
        """A card made from the metadata alone, for a data set that has none."""

    def list_episodes(self) -> tuple[list[EpisodeRef], list[tuple[str, str, str]]]:
        """References sorted by id, and (episode, path, reason) of those that cannot even be listed."""

    def remarks(self) -> list[str]:
        """Where the metadata contradict the files, one line each; the files win."""

    def read(self, ref: EpisodeRef) -> Episode:
        """One episode.

        Raises:
            UnreadableEpisode: A file is missing, truncated or lacks a required part.
        """


# Resolved by string so that listing formats imports none of them.
READERS = {
    "xperience10m": "harness.readers.xperience10m:XperienceReader",
    "lerobot": "harness.readers.lerobot:LeRobotReader",
    "table": "harness.readers.table:TableReader",
}


def reader_class(name: str) -> type[Reader]:
    """The reader of a format.

    Raises:
        BadInput: No such format.
    """
    if name not in READERS:
        raise BadInput(f"format {name!r} is not known{suggest(name, list(READERS))}")
    module, _, attribute = READERS[name].partition(":")
    return cast(type[Reader], getattr(import_module(module), attribute))


def recognise(root: Path) -> str:
    """The format of a folder or file.

    Raises:
        BadInput: It looks like none of them.
    """
    if not root.exists():
        raise BadInput(f"{root}: no such file or folder; give a card name, a card file or a data set")
    for name in READERS:
        if reader_class(name).recognises(root):
            return name
    raise BadInput(
        f"{root}: not a data set in a known format ({', '.join(READERS)}); give a card file with `format:` and `root:`"
    )
