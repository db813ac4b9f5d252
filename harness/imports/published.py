"""The figures of the published JSON evaluator, by its own definitions, whatever one thinks of them.

- `accuracy`, `SUBTASK_accuracy`, ...: exact equality of the raw JSON values; rows whose truth is "unknown" are dropped.
- `macro_f1`: mean F1 over the whole option list, and over every label beyond it that is true or predicted, text that is no label
  included; classes without any support count as 0. Needs the option list.
- `object_micro_f1`: of sets of raw strings.
- `json_validity_rate`: an object with the seven keys can be read out of the text; types are not looked at.

A figure stands where any row carries what it takes. A row that answers twice and otherwise counts in none.

Ours stand beside them as tasks of the leaderboard; these are in `detail.published` and rank nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from math import fsum
from typing import Any, Protocol

from harness.imports.answer_text import has_all_keys, read_answer

FIELDS = ("subtask", "transition", "next_action", "contact")
UNKNOWN = "unknown"
_LONGEST_KEY = 256  # characters of a label that is kept as it is; text as long as that stands as its hash


class Row(Protocol):
    """What the figures need of a row, see `harness.imports.qa_row.QaRow`."""

    @property
    def truth(self) -> dict[str, Any]: ...
    @property
    def predicted(self) -> Any: ...
    @property
    def seen(self) -> bool | None: ...
    @property
    def parsed(self) -> Any: ...
    @property
    def raw(self) -> str | None: ...
    @property
    def conflicting(self) -> bool: ...


class PublishedFigures:
    """Counts over rows, added one at a time; memory grows with the labels and not with the rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.labelled = False
        self.with_text = False
        self.hits: Counter[str] = Counter()
        self.true: Counter[str] = Counter()
        self.predicted: Counter[str] = Counter()
        self.strata: dict[bool, list[int]] = {True: [0, 0], False: [0, 0]}
        self.texts = [0, 0]
        self.fields = {field: [0, 0] for field in FIELDS}
        self.objects = [0, 0, 0]
        self.with_objects = 0

    def add(self, row: Row) -> None:
        """One row, with all that it carries."""
        if row.conflicting:
            return
        self.add_action(row.truth["action"], row.predicted, row.seen)
        self.add_fields(row.truth, row.parsed)
        self.add_text(row.raw, row.parsed)

    def add_action(self, true: str, predicted: Any, seen: bool | None) -> None:
        """One row's label, as the published label match gave it; None, which is no label, is a miss."""
        self.rows += 1
        t, hit = _key(true), predicted == true
        self.true[t] += 1
        if predicted is not None:
            self.labelled = True
            self.predicted[_key(str(predicted))] += 1
        self.hits[t] += hit
        if seen is not None:
            _count(self.strata[seen], hit)

    def add_text(self, text: str | None, parsed: Any) -> None:
        """One row's raw text, else the value that it carries instead."""
        self.with_text |= text is not None
        _count(self.texts, has_all_keys(parsed if text is None else read_answer(text)))

    def add_fields(self, true: dict[str, Any], answer: Any) -> None:
        """One row's JSON values beside the action."""
        given = answer if isinstance(answer, dict) else {}
        for field, counts in self.fields.items():
            if field in true and true[field] != UNKNOWN:
                _count(counts, field in given and type(given[field]) is str and given[field] == true[field])
        if true.get("objects", UNKNOWN) != UNKNOWN:
            wanted, named = set(true["objects"]), _names(given.get("objects"))
            self.with_objects += 1
            for i, n in enumerate((len(wanted & named), len(named - wanted), len(wanted - named))):
                self.objects[i] += n

    def by_task(self, options: Sequence[str] | None) -> dict[str, dict[str, float]]:
        """Task -> published name -> figure; only what the rows carry.

        Args:
            options: The option list; None where it is not known, and then there is no macro-F1.
        """
        found: dict[str, dict[str, float]] = {}
        if self.labelled:
            found["qa_action"] = {"accuracy": sum(self.hits.values()) / self.rows}
            if options is not None:
                found["qa_action"]["macro_f1"] = self.macro_f1(options)
            for seen, name in ((True, "seen_label_accuracy"), (False, "unseen_label_accuracy")):
                hits, rows = self.strata[seen]
                if rows:
                    found["qa_action"][name] = hits / rows
        for field, (hits, rows) in self.fields.items():
            if rows:
                found[f"qa_{field}"] = {f"{field}_accuracy": hits / rows}
        if self.with_objects and any(self.objects):
            found["qa_objects"] = {"object_micro_f1": _f1(*self.objects)}
        if self.with_text:
            found["qa_json"] = {"json_validity_rate": self.texts[0] / self.texts[1]}
        return found

    def macro_f1(self, options: Sequence[str]) -> float:
        """Mean F1 over the options and every label beyond them."""
        labels = {_key(option) for option in options} | set(self.true) | set(self.predicted)
        scores = [_f1(self.hits[k], self.predicted[k] - self.hits[k], self.true[k] - self.hits[k]) for k in self.true]
        return fsum(scores) / len(labels)


def _f1(hits: int, wrong: int, missed: int) -> float:
    """By way of precision and recall, as published: the last digit depends on it."""
    precision = hits / (hits + wrong) if hits + wrong else 0.0
    recall = hits / (hits + missed) if hits + missed else 0.0
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0


def _count(counts: list[int], hit: bool) -> None:
    counts[0] += hit
    counts[1] += 1


def _names(value: Any) -> set[str]:
    return {item for item in value if isinstance(item, str)} if isinstance(value, list) else set()


def _key(label: str) -> str:
    if len(label) <= _LONGEST_KEY:
        return label
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
