"""Tables on narrow and wide terminals."""

import io

import pytest
from rich.console import Console

from etl.cli.tables import make_table, print_table

NAMES = ("kubernetes/kubernetes", "kubernetes-sigs/cluster-api-provider-openstack")
HEADINGS = ("repository", "issues", "open", "pulls", "comments", "vanished", "newest change", "last good run")
NUMBERS = ("123,456", "12,345", "234,567", "1,234,567", "1,234")


def printed(width: int, *names: str) -> list[str]:
    table = make_table("Repositories", *HEADINGS)
    for name in names:
        table.add_row(name, *NUMBERS, "59 min ago", "100 d ago")
    stream = io.StringIO()
    print_table(Console(file=stream, width=width, no_color=True), table)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return lines


def cells(lines: list[str], start: int, end: int) -> str:
    """What stands between two columns of the terminal, from the first row on."""
    (rule,) = [place for place, line in enumerate(lines) if "──" in line]
    return "".join(line[start:end].strip() for line in lines[rule + 1 :])


def test_at_80_columns_an_ordinary_name_stays_in_one_line() -> None:
    (line,) = [line for line in printed(80, NAMES[0]) if NAMES[0] in line]
    assert line.split()[1:6] == list(NUMBERS)


@pytest.mark.parametrize("width", [60, 70, 80, 90, 110])
def test_a_name_that_is_too_long_is_folded_and_never_cut(width: int) -> None:
    lines = printed(width, *NAMES)
    (heading,) = [line for line in lines if "repository" in line]
    end = next(place for place in range(11, width) if all(line[place : place + 1] in {" ", "", "─"} for line in lines))
    assert "…" not in "".join(lines)
    assert heading.startswith(" repository")
    assert cells(lines, 0, end) == "".join(NAMES)


def test_where_there_is_room_nothing_is_folded() -> None:
    lines = printed(160, *NAMES)
    assert len(lines) == 2 + 2 + len(NAMES) + 1
    assert f" {NAMES[1]}  123,456  12,345  234,567  1,234,567     1,234     59 min ago      100 d ago " in lines
