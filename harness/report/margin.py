"""The margin of a task in words, and a loud one where nothing gets outside of it."""

from collections.abc import Iterable

from harness.report.section import number


def margin_line(margin: float | None, floor: float | None, values: Iterable[float | None]) -> str:
    """What counts as tied; a margin that no branch gets away from the floor by makes everything so.

    Args:
        margin: In the metric's unit; None: nothing can be tied, and there is nothing to say.
        floor: Value of the task's floor.
        values: Of the branches, without privileged ones.
    """
    if margin is None:
        return ""
    line = f"differences within {number(margin)} count as tied"
    known = [value for value in values if value is not None]
    if floor is None or not known or max(abs(value - floor) for value in known) > margin:
        return line
    remark = "WIDER than any branch's distance from the floor: tied says nothing here, score or compare with a smaller --margin"
    return f"{line} ({remark})"
