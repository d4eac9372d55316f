"""Which scopes of a repository are mirrored, by the lists that it is read by."""

from datetime import UTC, datetime, timedelta

import pytest

from etl.cli.mirrored import mirrored_scopes
from etl.db.queries.verification import StoredList
from etl.records import Kind, Scope
from etl.sources.github_json import list_filter, read_list_filter
from etl.stages.compare_github import ListedScope

HOUR = timedelta(hours=1)
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
TEN = NINE + HOUR
BOTH: tuple[Kind, ...] = ("issue", "pull_request")


def listed(*lists: tuple[str, str, datetime | None]) -> list[StoredList]:
    return [StoredList(*each) for each in lists]


def scopes(found: tuple[ListedScope, ...]) -> list[Scope]:
    return [each.scope for each in found]


@pytest.mark.parametrize("labels", [(), ("bug",), ("bug", "kind=odd", "oncall: pt2")])
@pytest.mark.parametrize("kinds", [("issue",), ("pull_request",), BOTH])
def test_a_filter_says_its_labels_and_kinds(labels: tuple[str, ...], kinds: tuple[Kind, ...]) -> None:
    assert read_list_filter(list_filter(labels, kinds)) == (labels, kinds)


def test_a_repository_read_whole_is_one_scope_known_up_to_its_last_reading() -> None:
    found = mirrored_scopes(listed(("issues", "", TEN), ("comments", "", NINE)), HOUR)
    assert found == (ListedScope(Scope(), TEN - HOUR, NINE - HOUR),)


def test_without_a_list_of_comments_none_are_mirrored() -> None:
    assert scopes(mirrored_scopes(listed(("issues", "", TEN)), HOUR)) == [Scope(comments=False)]


def test_lists_of_labels_with_their_comments_are_one_scope() -> None:
    lists = listed(("comments", "label=a,label=b", TEN), ("issues", "label=a", TEN), ("issues", "label=b", NINE))
    assert mirrored_scopes(lists, HOUR) == (ListedScope(Scope(labels=("a", "b")), NINE - HOUR, NINE - HOUR),)


def test_a_scope_within_another_is_left_out_with_its_times() -> None:
    lists = listed(
        ("comments", "", TEN),
        ("issues", "", TEN),
        ("issues", "label=a", NINE - 1000 * HOUR),
        ("comments", "label=a", NINE - 1000 * HOUR),
    )
    assert mirrored_scopes(lists, HOUR) == (ListedScope(Scope(), TEN - HOUR, TEN - HOUR),)


def test_issues_with_comments_and_all_kinds_without_are_two_scopes() -> None:
    lists = listed(("comments", "", TEN), ("issues", "", TEN), ("issues", "kind=issue,kind=pull_request", NINE))
    assert scopes(mirrored_scopes(lists, HOUR)) == [Scope(), Scope(kinds=BOTH, comments=False)]


def test_a_list_that_was_never_read_to_its_end_is_known_up_to_no_change() -> None:
    (found,) = mirrored_scopes(listed(("issues", "", None), ("comments", "", TEN)), HOUR)
    assert (found.items_until, found.comments_until) == (None, None)


def test_labels_narrow_a_scope_in_any_case_of_letters() -> None:
    lists = listed(("comments", "label=a,label=b", TEN), ("issues", "label=a", TEN), ("issues", "label=b", TEN))
    assert scopes(mirrored_scopes(lists, HOUR, labels=["B"])) == [Scope(labels=("b",))]
    whole = listed(("comments", "", TEN), ("issues", "", TEN))
    assert scopes(mirrored_scopes(whole, HOUR, labels=["B"])) == [Scope(labels=("b",))]


def test_kinds_narrow_a_scope() -> None:
    lists = listed(("comments", "kind=issue,kind=pull_request", TEN), ("issues", "kind=issue,kind=pull_request", TEN))
    assert scopes(mirrored_scopes(lists, HOUR, kinds=["pull_request"])) == [Scope(kinds=("pull_request",))]


def test_what_is_named_but_not_mirrored_is_a_scope_that_nothing_is_known_of() -> None:
    lists = listed(("comments", "label=a", TEN), ("issues", "label=a", TEN))
    unknown = ListedScope(Scope(labels=("c",), comments=False))
    assert mirrored_scopes(lists, HOUR, labels=["C"]) == (unknown,)
    assert scopes(mirrored_scopes(lists, HOUR, kinds=["pull_request"])) == [
        Scope(kinds=("pull_request",), comments=False)
    ]


def test_a_repository_without_lists_is_no_mirror() -> None:
    assert mirrored_scopes([], HOUR) == ()
