"""What is wrong with imported rows: an error, or with `--allow-partial` a line in the table. Never nothing."""

from dataclasses import dataclass, field

from harness.errors import BadInput


@dataclass
class Problems:
    """Faults, counted by kind, with the place of the first.

    Attributes:
        allowed: True with `--allow-partial`.
        counts: Kind (a plural, e.g. `duplicate rows left out`) -> how many.
        first: Kind -> where and what the first was.
    """

    allowed: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, where: str, what: str, count: int = 1) -> None:
        """One more fault, or several.

        Args:
            kind: What is done about it under `--allow-partial`, as it is printed behind the count.
            where: File and line, or file.
            what: What is wrong there.
            count: How many.
        """
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.first.setdefault(kind, f"{where}: {what}")

    def settle(self) -> None:
        """Go on only if nothing is wrong or what is wrong is allowed.

        Raises:
            BadInput: The first fault, how many there are, and what to do.
        """
        if not self.counts or self.allowed:
            return
        line = next(iter(self.first.values()))
        every = f" (in all: {self.summary()})" if sum(self.counts.values()) > 1 else ""
        raise BadInput(f"{line}{every}; correct the file, or say --allow-partial, which the table then prints")

    def summary(self) -> str:
        """E.g. `2 duplicate rows left out, 1 damaged row left out`; empty where nothing is wrong."""
        return ", ".join(f"{n} {kind}" for kind, n in self.counts.items())

    def note(self) -> str:
        """The line for the table; empty where nothing is wrong."""
        return f"partial: {self.summary()}" if self.counts else ""
