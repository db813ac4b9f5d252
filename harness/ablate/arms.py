"""One arm of an ablation as its run folder has it: states by episode, rows of the table, and what its branches were shown."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.answers import Status
from harness.bundle import find_bundles
from harness.card import first_line
from harness.errors import BadInput
from harness.metrics.base import State
from harness.score import read_manifest
from harness.seeds import Key


@dataclass(frozen=True)
class Arm:
    """A scored run.

    Attributes:
        name: `full`, or that of the variant.
        folder: Its run folder.
    """

    name: str
    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Of the run."""
        return read_manifest(self.folder)

    @cached_property
    def board(self) -> dict[str, Any]:
        """Its leaderboard.

        Raises:
            BadInput: It is not there.
        """
        path = self.folder / "leaderboard.json"
        try:
            body: dict[str, Any] = json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise BadInput(f"{path}: no leaderboard ({first_line(error)}); run `espalier ablate` again") from error
        return body

    @cached_property
    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(branch, task) -> row of the leaderboard."""
        return {(row["branch"], row["task"]): row for row in self.board["rows"]}

    def episodes(self) -> set[str]:
        """Every episode that has a state."""
        return set(self._scores(columns=["episode"])["episode"].to_pylist())

    def states(self, branch: str, task: str) -> dict[Key, State]:
        """(fold, seed, episode) -> (S,) state, read anew each time: those of all tasks together may be large.

        Raises:
            BadInput: The scores are not there or are damaged.
        """
        table = self._scores(filters=[("branch", "==", branch), ("task", "==", task)])
        if not table.num_rows:
            return {}
        states = table["state"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        keys = zip(*(table[name].to_pylist() for name in ("fold", "seed", "episode")), strict=True)
        return dict(zip(keys, states, strict=True))

    def _scores(self, **how: Any) -> pa.Table:
        path = self.folder / "scores.parquet"
        try:
            return pq.read_table(path, **how)
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path}: no scores ({first_line(error)}); run `espalier ablate` again") from error

    def sight(self, branch: str, task: str) -> dict[str, Any]:
        """What the branch was shown, see `harness.hiding.Sight`."""
        return dict(self.manifest["sights"].get(branch, {}).get(task, {}))

    def why_not(self, branch: str, task: str) -> tuple[str, str] | None:
        """Status of the cell (`failed`: its fit ended with an error) and why the branch has no answer; None where it has one."""
        if blind := self.sight(branch, task).get("blind"):
            return "not_answered", str(blind)
        row = self.rows.get((branch, task))
        if row is None:
            fits = (line for line in self.manifest["failed"] if line.startswith(f"fit {branch} fold "))
            why = next((line.partition(": ")[2] for line in fits), None)
            return ("not_answered", "it was not fitted") if why is None else ("failed", why)
        if set(row["failures"]) == {Status.UNSUPPORTED.value} and not row["coverage"]:
            return "not_answered", self._unsupported(branch, task) or "none of its rows can be answered with what is left"
        return None

    def _unsupported(self, branch: str, task: str) -> str:
        """What the fit had to say of a task that it could not learn; empty where it said nothing."""
        bundles = (bundle for bundle in find_bundles(self.folder / "bundles") if bundle.branch == branch)
        said = (bundle.details.get(task) for bundle in bundles)
        return next((str(one["unsupported"]) for one in said if isinstance(one, dict) and one.get("unsupported")), "")
