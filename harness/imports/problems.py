"""What is wrong with imported rows: an error, or with `--allow-partial` a line in the table. Never nothing."""

from dataclasses import dataclass, field

from harness.errors import BadInput


@dataclass
class Problems:
    """Faults, counted by kind, with the place of the first.

    Attributes:
        allowed: True with `--allow-partial`.
        remedy: What to do about it, for the error.
        counts: Kind (a plural, e.g. `duplicate rows left out`) -> task (empty: all of them) -> how many.
        first: Kind -> where and what the first was.
    """

    allowed: bool = False
    remedy: str = "correct the file, or say --allow-partial, which the table then prints"
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, where: str, what: str, count: int = 1, task: str = "") -> None:
        """One more fault, or several.

        Args:
            kind: What is done about it under `--allow-partial`, as it is printed behind the count.
            where: File and line, or file.
            what: What is wrong there.
            count: How many.
            task: The one task that it concerns; empty: all of them.
        """
        by_task = self.counts.setdefault(kind, {})
        by_task[task] = by_task.get(task, 0) + count
        self.first.setdefault(kind, f"{where}: {what}")

    def settle(self) -> None:
        """Go on only if nothing is wrong or what is wrong is allowed.

        Raises:
            BadInput: The first fault, how many there are, and what to do.
        """
        if not self.counts or self.allowed:
            return
        line = next(iter(self.first.values()))
        every = f" (in all: {self.summary()})" if sum(sum(by_task.values()) for by_task in self.counts.values()) > 1 else ""
        raise BadInput(f"{line}{every}; {self.remedy}")

    def summary(self) -> str:
        """E.g. `2 duplicate rows left out, 1 damaged row left out`, of all tasks; empty where nothing is wrong."""
        return ", ".join(f"{sum(by_task.values())} {kind}" for kind, by_task in self.counts.items())

    def note(self, task: str | None = None) -> str:
        """The line for the table; empty where nothing is wrong.

        Args:
            task: What is wrong with this one alone; None: with any.
        """
        if task is None:
            said = self.summary()
        else:
            found = {kind: by_task.get(task, 0) + by_task.get("", 0) for kind, by_task in self.counts.items()}
            said = ", ".join(f"{n} {kind}" for kind, n in found.items() if n)
        return f"partial: {said}" if said else ""
