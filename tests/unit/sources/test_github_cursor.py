"""Where a list of GitHub was left off."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.errors import ConfigurationError
from etl.records import Repository, Stream
from etl.sources.github_cursor import (
    OVERLAP,
    SECOND,
    Position,
    WalkPosition,
    begun_by_issue,
    ended_by_issue,
    moved,
    moved_by_issue,
    parse_time,
    read_cursor,
    read_walk_position,
    since_by_issue,
    since_of,
    write_cursor,
    write_time,
    write_walk_position,
)
from etl.sources.github_json import Decoded

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
STREAM = Stream("github_issues", Repository(7, "github.com", 7, "acme/rocket"), "issues", "label=bug")


def _page(*times: datetime | str | None) -> Decoded:
    shown = [write_time(time) if isinstance(time, datetime) else time for time in times]
    return Decoded([{"updated_at": time} for time in shown], doubtful=False)


def _at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_cursor_reads_as_it_was_written() -> None:
    position = Position(
        newest=write_time(NOON), whole=True, etag='W/"x"', url="/a", token="t", by_issue=write_time(NOON)
    )
    assert read_cursor(write_cursor(position), STREAM) == position
    assert read_cursor(None, STREAM) == Position()
    assert write_cursor(Position()) == "{}"


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "[]",
        '{"other": 1}',
        '{"newest": "soon"}',
        '{"newest": 5}',
        '{"resume": "x"}',
        '{"by_issue": 1}',
        '{"began": []}',
    ],
)
def test_a_cursor_that_is_not_ours_is_named(cursor: str) -> None:
    with pytest.raises(ConfigurationError, match=r"issues label=bug of acme/rocket .*delete its row"):
        read_cursor(cursor, STREAM)


def test_a_position_moves_to_the_newest_change_and_never_back() -> None:
    position = moved(Position(), _page(_at(-90), _at(-60), _at(-80)), NOON)
    assert parse_time(position.newest) == _at(-60)
    again = moved(position, _page(_at(-70)), NOON)
    assert parse_time(again.newest) == _at(-60)


def test_a_position_never_moves_ahead_of_githubs_clock_when_the_walk_began() -> None:
    assert parse_time(moved(Position(), _page(_at(600)), NOON).newest) == NOON


@pytest.mark.parametrize(
    ("last", "since"),
    [
        (_at(-90), _at(-90) - SECOND),
        (_at(-30), _at(-30) - SECOND),
        (_at(-29), _at(-44)),
        (_at(0), _at(-15)),
        (_at(5), _at(-15)),
    ],
)
def test_the_next_run_asks_from_the_newest_only_where_it_is_settled(last: datetime, since: datetime) -> None:
    assert since_of(moved(Position(), _page(last), NOON)) == since


def test_a_page_of_the_overlap_is_gone_on_from_though_the_newest_is_known() -> None:
    known = Position(newest=write_time(_at(-60)))
    position = moved(known, _page(_at(-74), _at(-70)), NOON)
    assert (parse_time(position.newest), since_of(position)) == (_at(-60), _at(-70) - SECOND)


def test_a_page_without_any_time_leaves_the_newest_and_the_start_and_drops_the_etag() -> None:
    known = Position(newest="2024-05-01T11:00:00Z", resume="2024-05-01T10:59:59Z", etag="e", url="u", token="t")
    for page in (_page(), _page("soon", None)):
        position = moved(known, page, NOON)
        assert position == Position(newest=known.newest, resume=known.resume)


def test_the_beginning_of_a_list_is_asked_for_without_since() -> None:
    assert since_of(Position()) is None
    assert since_by_issue(Position()) is None


def test_reading_by_issue_leaves_the_lists_own_position() -> None:
    position = moved_by_issue(Position(newest=write_time(_at(-600))), _at(-60), NOON)
    assert (position.newest, parse_time(position.by_issue)) == (write_time(_at(-600)), _at(-60))
    assert since_of(position) == _at(-600) - OVERLAP
    assert since_by_issue(position) == _at(-60) - SECOND
    assert moved_by_issue(position, _at(-90), NOON) == position


def test_reading_by_issue_stays_behind_the_clock_by_the_overlap() -> None:
    assert parse_time(moved_by_issue(Position(), _at(-1), NOON).by_issue) == _at(-15)


def test_what_the_list_gave_since_is_not_read_by_issue_again() -> None:
    position = Position(newest=write_time(_at(-10)), by_issue=write_time(_at(-600)))
    assert since_by_issue(position) == _at(-25)


def test_a_reading_of_all_issues_stands_for_the_list_from_when_it_began() -> None:
    begun = begun_by_issue(Position(oldest="2020-01-01T00:00:00Z"), NOON)
    halfway = begun_by_issue(moved_by_issue(begun, _at(-60), NOON), _at(60))
    assert ended_by_issue(halfway) == Position(newest=write_time(_at(-15)), oldest="2020-01-01T00:00:00Z")


def test_a_reading_that_left_issues_out_does_not_stand_for_the_list() -> None:
    known = Position(newest=write_time(_at(-600)))
    position = moved_by_issue(begun_by_issue(known, NOON), _at(-60), NOON)
    assert ended_by_issue(position) == position
    # Neither does one in whose midst the list answered again, and moved on.
    begun = moved_by_issue(begun_by_issue(Position(), NOON), _at(-600), NOON)
    assert ended_by_issue(moved(begun, _page(_at(-300)), _at(60))).newest == write_time(_at(-300))


@pytest.mark.parametrize(
    "position", [WalkPosition(), WalkPosition("Bug"), WalkPosition("a", "/x?y=1"), WalkPosition(None, "/x")]
)
def test_the_position_of_a_walk_reads_as_it_was_written(position: WalkPosition) -> None:
    text = write_walk_position(position)
    assert text
    assert read_walk_position(text) == position


@pytest.mark.parametrize("text", [None, "", "x", "[]", "5", '{"next": 1}', '{"label": []}', '{"other": "x"}'])
def test_the_position_of_a_walk_that_is_not_ours_is_the_beginning(text: Any) -> None:
    assert read_walk_position(text) == WalkPosition()
