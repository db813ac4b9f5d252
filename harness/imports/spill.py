"""Rows on disk between two passes: a file of rows in any order comes back one group of episodes at a time."""

import json
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

BUCKETS = 64


class Spill:
    """Rows by episode. Of all rows only one bucket's are in memory, once they are read back.

    Args:
        folder: An empty folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[int, IO[str]] = {}

    def add(self, episode: str, index: int, body: dict[str, Any]) -> None:
        """Put one row away.

        Args:
            episode: Where it belongs.
            index: Its place among all rows.
            body: JSON values.
        """
        bucket = int.from_bytes(blake2b(episode.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") % BUCKETS
        if bucket not in self.files:
            self.files[bucket] = (self.folder / f"{bucket}.jsonl").open("w")
        self.files[bucket].write(json.dumps([episode, index, body]) + "\n")

    def episodes(self) -> Iterator[tuple[str, list[tuple[int, dict[str, Any]]]]]:
        """Every episode with its rows in the order in which they came; call it once, when all are in."""
        for file in self.files.values():
            file.close()
        for bucket in sorted(self.files):
            path = self.folder / f"{bucket}.jsonl"
            found: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
            with path.open() as file:
                for line in file:
                    episode, index, body = json.loads(line)
                    found[episode].append((index, body))
            path.unlink()
            for episode in sorted(found):
                yield episode, found.pop(episode)

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files.values():
            file.close()
