"""Text that comes from data, where it is shown: labels, groups and paths are whatever stands in somebody's files."""

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# Control characters, separators of lines and paragraphs, marks that change the direction of text or stand between annotations,
# and lone surrogates, which cannot be written to a terminal at all.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]")


def plain(text: str) -> str:
    """Text that comes from data, without what would move the cursor of whoever prints it."""
    return _CONTROL.sub(" ", text)


class PlainConsole(Console):
    """A console on which a text has the line breaks it was printed with; every other control character is a space."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`."""
        for segment in super().render(renderable, options):
            text = "\n".join(plain(line) for line in segment.text.split("\n"))
            # rich moves the cursor itself, for progress bars
            yield segment if segment.control or text == segment.text else Segment(text, segment.style)
