"""What comes from data and is printed moves no cursor, breaks no line and turns no text round."""

import io
import unicodedata
from pathlib import Path

import pytest
from commands import call
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from harness.console import PlainConsole, plain

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c"


def printed(*what: object) -> str:
    file = io.StringIO()
    PlainConsole(file=file, width=60).print(*what)
    return file.getvalue()


def test_no_control_separator_direction_or_surrogate_is_left() -> None:
    every = "".join(map(chr, range(0x110000)))
    left = [c for c in plain(every) if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
    turned = [
        c for c in plain(every) if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
    assert left == [] and turned == []
    assert plain("Gr\u00fc\u00dfe \U0001f469\u200d\U0001f52c") == "Gr\u00fc\u00dfe \U0001f469\u200d\U0001f52c"


@pytest.mark.parametrize("character", [*SEPARATORS, "\x1b", "\u202e", "\ud800"])
def test_a_text_and_a_cell_stay_on_their_line(character: str) -> None:
    table = Table(box=None)
    table.add_column("name")
    table.add_row(Text(f"one{character}two"))
    assert character not in printed(table)
    one = printed(Text(f"one{character}two\nthree"))
    assert one.replace("onetwo", "one two") == "one two\nthree\n"  # rich leaves a few of them out itself


def test_bars_are_still_drawn() -> None:
    file = io.StringIO()
    with Progress(console=PlainConsole(file=file, width=60, force_terminal=True)) as bar:
        bar.update(bar.add_task("fit", total=1), advance=1)
    assert "\x1b[" in file.getvalue() and "100%" in file.getvalue()


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\u202e"])
def test_a_group_of_a_table_stays_on_its_line(tmp_path: Path, character: str) -> None:
    """Inspection names groups that have no target, as they stand in the file."""
    group, file = f"b{character}forged", tmp_path / "scores.csv"
    file.write_text(
        "source,x,mos\n" + "".join(f"{name},1,{mos}\n" for name, mos in (("a", 1), (group, ""), ("c", 2))), newline=""
    )
    done = call("inspect", file, "table.group=source", "table.target=mos")
    lines = [line for line in done.out.splitlines() if "forged" in line]
    assert done.code == 3 and character not in done.out + done.err
    assert [line.partition("forged")[0][-2:] for line in lines] == ["b ", "b "] and lines[1].startswith("quarantined b forged")
