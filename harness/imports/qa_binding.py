"""Published answers against the rows of an earlier import: what these lack is missing, and both must say the same truth."""

from pathlib import Path
from typing import Any

from harness.answers import Status
from harness.errors import BadInput
from harness.held import Held
from harness.imports.bind import About, Binder
from harness.imports.problems import Problems
from harness.imports.published import UNKNOWN, PublishedFigures
from harness.imports.qa_row import Answer, QaRow
from harness.imports.source import shown
from harness.tasks.qa import QaTask

OTHER_TRUTH = "row(s) whose truth is not that of the run, left out"


class QaBinder(Binder):
    """Writes a bundle of published answers that answer an imported run.

    Attributes:
        published: Figures of the rows that were bound.
        bound: How many those are.
        remarks: Task -> what its row of the table shall say besides.
    """

    def __init__(self, held: Held, name: str, folder: Path, about: About, problems: Problems) -> None:
        super().__init__(held, name, folder, about, problems)
        self.published, self.bound = PublishedFigures(), 0
        self.remarks: dict[str, str] = {}

    def add_rows(self, episode: str, rows: list[QaRow]) -> None:
        """Write the answers of one episode; published figures count those that are samples of the run and of its truth."""
        known = self._truths(episode)
        kept: list[dict[str, Any]] = []
        for row in rows:
            wrong = next((task for task, truth in known.get(row.id, {}).items() if _says(row, task) not in (None, truth)), None)
            if wrong is not None:
                self.problems.add(OTHER_TRUTH, self.where, f"sample {shown(row.id)} of {wrong}: the run has another truth")
                continue
            if row.id in known:
                self.published.add(row)
                self.bound += 1
            kept += [_plain(row, name, answer) for name, answer in row.answers.items() if f"qa_{name}" in self.tasks]
            if not any(f"qa_{name}" in self.tasks for name in row.answers):
                raise BadInput(f"{self.where}: answers nothing that the run asks ({', '.join(self.tasks)})")
        self.add(episode, kept)

    def _truths(self, episode: str) -> dict[str, dict[str, Any]]:
        """Sample -> task -> what the run says is true; None where it says nothing."""
        found: dict[str, dict[str, Any]] = {}
        for task, samples, targets in self.held.rows(episode) if self.held.present([episode]) else ():
            for i, sample in enumerate(samples.ids.tolist()):
                value: Any = None
                if targets.valid[i] and targets.labels is not None:
                    value = targets.vocabulary[targets.labels[i]]
                elif targets.valid[i] and targets.label_sets is not None:
                    value = frozenset(targets.vocabulary[k] for k in targets.label_sets[i].nonzero()[0].tolist())
                found.setdefault(sample, {})[task.id] = value
        return found

    def _note(self, task: str) -> str:
        return "; ".join(filter(None, (super()._note(task), self.remarks.get(task, ""))))


def make_binder(held: Held, name: str, folder: Path, problems: Problems) -> QaBinder:
    """For rows without words about them.

    Raises:
        BadInput: The run is no import of such rows.
    """
    if not any(isinstance(task, QaTask) for task in held.tasks):
        raise BadInput(f"--targets {held.targets.parent}: poses none of these questions; give an earlier import of such rows")
    return QaBinder(held, name, folder, About(), problems)


def _says(row: QaRow, task: str) -> Any:
    """What a row says is true of a task; None where it says nothing."""
    value = row.truth.get(task.removeprefix("qa_"))
    if value is None or value == UNKNOWN:
        return None
    return frozenset(value) if isinstance(value, list) else value


def _plain(row: QaRow, name: str, answer: Answer) -> dict[str, Any]:
    """A row of our own schema."""
    failed = answer.status != Status.OK.value
    return {
        "task": f"qa_{name}", "sample": row.id, "episode": row.episode, "fold": None, "seed": 0, "status": answer.status,
        "label": answer.value, "labels": answer.value, "probabilities": None, "seen_until": None,
        "raw": row.raw if failed or name == "json" else None,
    }  # fmt: skip
