"""How often each held-out set was looked at, and by what: an append-only file per held-out set.

Every look at a held-out set makes the next choice a little less independent of it (Dwork et al. 2015). The counts stand beside a
table and not in it, so that scoring again gives the same leaderboard.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from harness.bundle import Bundle
from harness.dataset import home
from harness.errors import BadInput
from harness.manifest import now


def ledger_file(test: str) -> Path:
    """Where the looks at a held-out set (`Split.test_hash`) are written down: another training side is the same set."""
    return home() / "ledger" / f"{test}.jsonl"


def record(test: str, bundles: Sequence[Bundle]) -> None:
    """Write down that these bundles were scored: one look per branch and seed, whatever its folds.

    One whose very predictions were scored before is not counted again.
    """
    path = ledger_file(test)
    known = {entry["bundle"] for entry in entries(test)}
    looks: dict[tuple[str, int], list[Bundle]] = {}
    for bundle in bundles:
        if not bundle.privileged:
            looks.setdefault((bundle.branch, bundle.seed), []).append(bundle)
    lines = []
    for (branch, seed), folds in looks.items():
        content = _content(folds)
        if content not in known:
            body = {"bundle": content, "branch": branch, "seed": seed, "folds": len(folds), "scored_at": now()}
            lines.append(json.dumps(body, sort_keys=True) + "\n")
    if lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: two runs that end together do not tear each other's lines.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, "".join(lines).encode())
        finally:
            os.close(handle)


def entries(test: str) -> list[dict[str, str]]:
    """Everything that was scored on a held-out set, oldest first.

    Raises:
        BadInput: The file is damaged: a count that is not known must not look like a small one.
    """
    path = ledger_file(test)
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            found.append({"bundle": str(entry["bundle"]), "branch": str(entry["branch"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise BadInput(f"{path}, line {number}: not an entry of the ledger; put the line right or take it out") from error
    return found


def accesses(test: str) -> str:
    """One line for a table's head."""
    counts = Counter(entry["branch"] for entry in entries(test))
    by = ", ".join(f"{branch} {n}" for branch, n in counts.most_common())
    return f"this held-out set has been scored {sum(counts.values())} time(s) on this machine: {by or 'never'}"


def _content(folds: Sequence[Bundle]) -> str:
    """Of the predictions alone: scoring a copy in another folder is the same look."""
    digest = blake2b(digest_size=16)
    for bundle in sorted(folds, key=lambda bundle: bundle.fold):
        digest.update(f"{bundle.branch}/{bundle.fold}/{bundle.seed}".encode())
        for part in bundle.parts():
            digest.update(part.name.encode())
            with part.open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
