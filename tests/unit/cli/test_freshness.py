"""What counts as stale, and how people write a length of time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.cli.freshness import find_stale, only_named, parse_age
from etl.errors import ConfigurationError


def stream(repository: str, hours: float | None, **changes: Any) -> dict[str, Any]:
    """A list of a repository as the database tells of it, last read so many hours ago (None: never)."""
    return {
        "repository": repository,
        "source": "github_issues",
        "stream": "issues",
        "filter": "",
        "read_at": None if hours is None else datetime.now(UTC) - timedelta(hours=hours),
        "age_seconds": None if hours is None else hours * 3600,
        "reach": "ok",
        "reach_since": None,
        "has_items": True,
        **changes,
    }


NEVER_BEGUN = {"source": None, "stream": None, "filter": None}


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1d", 86400), ("2h30m", 9000), ("1D2H", 93600), ("45s", 45), (" 1h ", 3600)],
)
def test_a_length_of_time_is_read(words: str, seconds: int) -> None:
    assert parse_age(words) == seconds


@pytest.mark.parametrize("words", ["", "2", "h", "2 hours", "-2h", "1.5h", "2h2h", "30m2h", "nan", "²h", "h" * 999])
def test_what_is_no_length_of_time_is_refused_with_the_way_out(words: str) -> None:
    with pytest.raises(ConfigurationError, match="write 2h, 90m, 1d or 2h30m"):
        parse_age(words)


@pytest.mark.parametrize("words", ["366d", "9" * 400 + "h"])
def test_longer_than_a_year_is_refused(words: str) -> None:
    with pytest.raises(ConfigurationError, match="longer than a year"):
        parse_age(words)


def test_lists_are_stale_one_by_one() -> None:
    streams = [
        stream("octo/a", 1),
        stream("octo/a", 3, stream="comments", filter="label=x"),
        stream("octo/b", None),
        stream("octo/c", 0.1),
    ]
    assert find_stale(streams, 7200, ()) == [
        "octo/a: comments (label=x) last read to their end 3 h ago",
        "octo/b: issues (all) never read to their end",
    ]


def test_how_a_repository_answers_is_said_with_it() -> None:
    since = datetime(2026, 11, 2, 10, 15, tzinfo=UTC)
    gone = stream("octo/a", 30, reach="out_of_reach", reach_since=since)
    assert find_stale([gone], 7200, ()) == [
        "octo/a: issues (all) last read to their end 1 d ago; out of reach since 2026-11-02 10:15 UTC"
    ]


def test_nothing_stored_at_all_is_stale() -> None:
    assert find_stale([], 7200, ()) == ["no repository is read from GitHub yet"]


def test_a_repository_whose_reading_never_began_is_stale() -> None:
    assert find_stale([stream("octo/a", None, has_items=False, **NEVER_BEGUN)], 7200, ()) == [
        "octo/a: never read from GitHub"
    ]


def test_a_repository_that_only_files_told_of_is_stale_only_where_it_is_named() -> None:
    from_files = stream("octo/a", None, **NEVER_BEGUN)
    assert find_stale([from_files, stream("octo/b", 1)], 7200, ()) == []
    assert find_stale([from_files], 7200, ("Octo/A",)) == ["octo/a: never read from GitHub"]


def test_where_only_files_told_of_anything_nothing_is_fresh() -> None:
    assert find_stale([stream("octo/a", None, **NEVER_BEGUN)], 7200, ()) == [
        "no repository is read from GitHub yet; what is stored came from files, or with --limit"
    ]


def test_a_named_repository_that_is_not_stored_is_stale() -> None:
    streams = only_named([stream("octo/a", 1), stream("octo/b", 99)], ("OCTO/A", "octo/x"))
    assert find_stale(streams, 7200, ("OCTO/A", "octo/x")) == ["octo/x: nothing is stored of it"]
