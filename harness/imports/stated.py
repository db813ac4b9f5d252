"""What a `metrics.json` beside published rows states of them, held against them: it may be of other rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.console import plain
from harness.errors import BadInput
from harness.imports.problems import Problems
from harness.imports.source import read_object, shown

MISSING = "row(s) missing"
MORE = "row(s) more than the metrics file counts"
NO_OPTION = "row(s) whose true label is no option of the metrics file"


@dataclass(frozen=True)
class Stated:
    """A file with an option list.

    Attributes:
        file: Where it is said.
        options: Labels that could be answered.
        rows: How many rows there are; None where it does not say.
        accuracy: Published accuracy; None where it does not say.
    """

    file: Path
    options: list[str]
    rows: int | None = None
    accuracy: float | None = None

    def check(self, rows: int, labels: dict[str, int], problems: Problems) -> None:
        """Name what cannot be true of both.

        Args:
            rows: Rows that came with an id of their own.
            labels: True label -> rows.
            problems: Faults go here.
        """
        if self.rows is not None and self.rows != rows:
            what = f"counts {self.rows} rows, {rows} came with an id of their own"
            problems.add(MISSING if rows < self.rows else MORE, str(self.file), what, abs(self.rows - rows))
        if beyond := sorted(set(labels) - set(self.options)):
            what = f"has no option {shown(beyond[0])}, which is true of rows; is it of other rows?"
            problems.add(NO_OPTION, str(self.file), what, sum(labels[label] for label in beyond), "qa_action")

    def differs(self, accuracy: float | None) -> str:
        """What to say where the stated accuracy is not that of the rows; empty where it is, or where there is none."""
        if None in (self.accuracy, accuracy) or self.accuracy == accuracy:
            return ""
        return f"{plain(self.file.name)} states accuracy {self.accuracy!r}, these rows give {accuracy!r}: is it of other rows?"


def read_stated(files: Sequence[Path]) -> Stated | None:
    """The one JSON file among the files; None where there is none.

    Raises:
        BadInput: There are two, it has no option list, or it counts what cannot be counted.
    """
    found = [file for file in files if file.suffix == ".json"]
    if len(found) > 1:
        raise BadInput(f"{found[1]}: a second JSON file; give one metrics.json, that of these rows")
    if not found:
        return None
    file, body = found[0], read_object(found[0])
    labels, rows, accuracy = (body.get(name) for name in ("labels", "num_samples", "accuracy"))
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise BadInput(f"{file}: has no list of texts under `labels`; beside rows, give the metrics.json with the option list")
    if rows is not None and (not isinstance(rows, int) or isinstance(rows, bool) or rows < 1):
        raise BadInput(f"{file}: num_samples is no number of rows ({shown(rows)}); give the metrics.json of these rows")
    if accuracy is not None and (not isinstance(accuracy, (int, float)) or isinstance(accuracy, bool)):
        raise BadInput(f"{file}: accuracy is no number ({shown(accuracy)}); give the metrics.json of these rows")
    return Stated(file, labels, rows, accuracy)
