"""Tables for a terminal: numbers and names stay whole, and what is told in words wraps first where it is narrow."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

_NARROWEST, _WIDEST = 6, 20
"""Between these a column is at least as wide as its longest word; filters of lists have longer ones, and are broken."""
_NARROWEST_NAME = 12


def make_table(title: str, *headings: str, left: int = 1) -> "Table":
    """A table whose first `left` columns are words, and the others numbers or times; `print_table` prints it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, heading in enumerate(headings):
        if place < left:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True, overflow="fold")
    return table


def print_table(console: "Console", table: "Table") -> None:
    """Prints a table of cells that are strings. Nothing of it is cut, however narrow the terminal is.

    Where it is too wide, first its columns move together, then all but the first one wrap between their words as far as
    is needed, and only then the names in the first one are broken.
    """
    if _too_wide(console, table):
        table.padding = 0
    if _too_wide(console, table):
        names, *others = table.columns
        room = [_make_wrap(column) for column in others]
        for _ in range(_too_wide(console, table)):
            roomiest = max(range(len(others)), key=room.__getitem__)
            if not room[roomiest]:
                break
            others[roomiest].max_width = (others[roomiest].max_width or 0) - 1
            room[roomiest] -= 1
        longest = _longest(names, str.splitlines)
        names.width = max(longest - _too_wide(console, table), min(longest, _NARROWEST_NAME))
    console.print(table)


def _make_wrap(column: "Column") -> int:
    """Lets a column wrap between its words; gives by how much it may become narrower."""
    column.no_wrap = False
    column.max_width = _longest(column, str.splitlines)
    return max(column.max_width - min(max(_longest(column, str.split), _NARROWEST), _WIDEST), 0)


def _longest(column: "Column", split: Callable[[str], list[str]]) -> int:
    return max((len(part) for cell in (column.header, *column.cells) for part in split(str(cell))), default=0)


def _too_wide(console: "Console", table: "Table") -> int:
    """How many columns more than it has the terminal would need to show each cell in one line."""
    from rich.measure import Measurement

    unlimited = console.options.update(width=10_000)
    return max(Measurement.get(console, unlimited, table).maximum - console.width, 0)
