"""One row of our own schema as it comes from elsewhere: whose it is, what it answers, and why an answer is none."""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from harness.answers import Status
from harness.errors import BadInput
from harness.imports.answer_text import is_label, is_object_list
from harness.imports.source import read_id, shown, storable
from harness.tasks import get_task
from harness.tasks.base import Task

OUR_MARK = re.compile(r"[a-z]\d+(-\d+)?")  # behind the `#` of a sample id, see `harness.window.make_samples`
STATUSES = {status.value for status in Status} - {Status.MISSING.value}
NUMBERS = ("values", "query", "key", "probabilities")


@lru_cache(maxsize=256)
def task_of(task_id: str) -> Task:
    """The task of an id.

    Raises:
        ValueError: There is none.
    """
    try:
        return get_task(task_id)
    except BadInput as error:
        raise ValueError(str(error)) from error


def read_row(body: dict[str, Any]) -> dict[str, Any]:
    """A row of `harness.tables.PREDICTION_SCHEMA` as plain values; fields of other names are ignored.

    Without a status a row is `ok`; without a fold that stays open (None) until its run says; without an episode it is that of the
    sample id, where that is one of ours (`EPISODE#w0`).

    Raises:
        ValueError: One line on what makes the row nobody's: no task, sample, episode, fold or seed. What is wrong with the answer
            makes the row fail instead, with a status.
    """
    task = body.get("task")
    if not isinstance(task, str):
        raise ValueError(f"task is no text ({shown(task)})")
    kind = task_of(task).answer
    row: dict[str, Any] = {"task": task, "sample": read_id(body, "sample")}
    row["episode"] = read_id(body, "episode") if body.get("episode") is not None else _episode_of(row["sample"])
    row["fold"] = None if body.get("fold") is None else _count(body, "fold")
    for name in ("seed", "draw"):
        row[name] = _count(body, name)
    if row["draw"]:
        raise ValueError(f"draw is {row['draw']}; one draw of a sample is scored, give the rows of draw 0")
    row["status"] = _status(body)
    raw = body.get("raw")
    row["raw"] = storable(raw) if isinstance(raw, str) else None
    seen = body.get("seen_until")
    if seen is not None and not _is_number(seen):
        raise ValueError(f"seen_until is no number of seconds ({shown(seen)})")
    row["seen_until"] = None if seen is None else _float(seen)
    return row | _answer(row["status"], kind, body)


def _answer(status: str, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """The fields that an answer of this kind has; where one is not what it should be the row fails."""
    wanted = {"label": ("label",), "label_set": ("labels",), "vector": ("values",), "retrieval": ("query", "key")}[kind]
    checks: dict[str, Callable[[Any], Any]] = {"label": _label, "labels": _labels, **dict.fromkeys(NUMBERS, _numbers)}
    found = {name: checks[name](body.get(name)) for name in wanted} if status == Status.OK.value else dict.fromkeys(wanted)
    if status == Status.OK.value and any(value is None for value in found.values()):
        status, found = Status.SCHEMA_ERROR.value, dict.fromkeys(wanted)
    odd = body.get("probabilities")
    probabilities = None if odd is None or status != Status.OK.value else _numbers(odd) or []  # empty: given, and no numbers
    return found | {"status": status, "probabilities": probabilities}


def _label(value: Any) -> str | None:
    return storable(value) if is_label(value) else None


def _labels(value: Any) -> list[str] | None:
    return list(dict.fromkeys(storable(word) for word in value)) if is_object_list(value) else None


def _numbers(value: Any) -> list[float] | None:
    """Numbers, NaN and infinities too (the evaluator counts them as `decode_error`); a null among them is NaN."""
    if not isinstance(value, (list, tuple)) or not value:
        return None
    array = np.asarray(value) if not any(v is None or isinstance(v, (bool, int)) for v in value) else None
    if array is not None and array.ndim == 1 and array.dtype.kind == "f":
        return [float(v) for v in value]
    if not all(v is None or _is_number(v) for v in value):
        return None
    return [math.nan if v is None else _float(v) for v in value]


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _episode_of(sample: str) -> str:
    episode, mark, rest = sample.rpartition("#")
    if not mark or not OUR_MARK.fullmatch(rest):
        raise ValueError(f"no episode, and the sample id {shown(sample)} does not begin with one")
    return episode


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(f"{name} is no number from 0 up ({shown(value)})")
    return value


def _status(body: dict[str, Any]) -> str:
    value = body.get("status")
    if value is None:
        return Status.OK.value
    if not isinstance(value, str) or value not in STATUSES:
        raise ValueError(f"status {shown(value)} is not known; there are {', '.join(sorted(STATUSES))}")
    return value
