"""The first reading of a file of rows: what is no row, what stands there twice, and the rest put away by episode."""

import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.imports.problems import Problems
from harness.imports.source import read_rows, shown
from harness.imports.spill import Spill

DAMAGED = "damaged row(s) left out"
USELESS = "row(s) without a usable id or truth left out"
TWICE = "duplicate row(s) left out"
CONFLICTING = "conflicting row(s), whose ids count as failed"
CONTRADICTED = "row(s) whose truth contradicts another row of their id, left out with it"
LEFT_OUT = "left_out.jsonl"
"""Where rows stand whose id was there already and says otherwise: their text would be gone with them."""


@dataclass(frozen=True)
class Entry:
    """A row that can be used.

    Attributes:
        key: What may stand there once.
        episode: Where it belongs.
        truth: What it says is true; None where that is known from elsewhere.
        answer: What it answers.
        body: What is put away.
        task: The one task that it answers; empty: all of them.
    """

    key: Any
    episode: str
    truth: Any
    answer: Any
    body: dict[str, Any]
    task: str = ""


@dataclass
class FirstPass:
    """What was found; 24 bytes and an entry of a dict for each row.

    Attributes:
        folder: Where `LEFT_OUT` is written, if there is any such row.
        answers: Digest of each row's answer.
        truths: Digest of each row's truth.
        index: Digest of a key -> its row.
        conflicting: Rows whose key answers again and otherwise: which is meant is not known, so it failed.
        contradicted: Rows whose key has another truth elsewhere: they cannot be scored.
    """

    folder: Path
    answers: array = field(default_factory=lambda: array("Q"))
    truths: array = field(default_factory=lambda: array("Q"))
    index: dict[int, int] = field(default_factory=dict)
    conflicting: set[int] = field(default_factory=set)
    contradicted: set[int] = field(default_factory=set)

    def read(self, files: Iterable[Path], entry: Callable[[dict[str, Any]], Entry], spill: Spill, problems: Problems) -> None:
        """Take every row of the files.

        Args:
            files: JSON lines, CSV or Parquet.
            entry: Makes an entry of a row's fields, or raises ValueError.
            spill: Where rows go.
            problems: Where faults go.

        Raises:
            BadInput: There is no row at all.
        """
        names = []
        for file in files:
            names.append(str(file))
            for row in read_rows(file):
                if row.body is None:
                    problems.add(DAMAGED, row.where, row.fault)
                    continue
                try:
                    found = entry(row.body)
                except ValueError as error:
                    problems.add(USELESS, row.where, str(error))
                    continue
                self._take(found, row.where, spill, problems)
        if not self.index and not problems.counts:
            raise BadInput(f"{', '.join(names)}: has no rows")

    def _take(self, found: Entry, where: str, spill: Spill, problems: Problems) -> None:
        key, truth, answer = digest(found.key), digest(found.truth), digest(found.answer)
        first = self.index.get(key)
        again = f"{_named(found.key)} again"
        if first is None:
            index = self.index[key] = len(self.truths)
            self.truths.append(truth)
            self.answers.append(answer)
            spill.add(found.episode, index, {"where": where, **found.body})
        elif self.truths[first] != truth:
            self.contradicted.add(first)
            self._keep(found, where, CONTRADICTED)
            problems.add(CONTRADICTED, where, f"{again}, with another truth", task=found.task)
        elif self.answers[first] != answer:
            self.conflicting.add(first)
            self._keep(found, where, CONFLICTING)
            problems.add(CONFLICTING, where, f"{again}, with another answer", task=found.task)
        else:
            problems.add(TWICE, where, again, task=found.task)

    def _keep(self, found: Entry, where: str, why: str) -> None:
        with (self.folder / LEFT_OUT).open("a") as file:
            file.write(json.dumps({"where": where, "why": why, **found.body}) + "\n")


def digest(value: Any) -> int:
    """64 bits of a JSON value."""
    return int.from_bytes(blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).digest(), "little")


def _named(key: Any) -> str:
    return f"id {shown(key)}" if isinstance(key, str) else f"sample {shown(key[1])} of {key[0]}"
