"""The GitHub source over real HTTP: nothing is lost, nothing is asked twice without need."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from etl.errors import ConfigurationError, RateLimitError, UnavailableError
from etl.github import GitHubClient
from etl.records import Link, Page, Scope, Stream
from etl.sources.github_issues import GitHubIssues
from tests.integration.github_reader import BEGIN, HOUR, NAME, Reader, fill
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_http import Request


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub() as server:
        server.add_repository(NAME)
        yield server


def _list_requests(github: LoopbackGitHub) -> list[Request]:
    return [request for request in github.requests("/issues?") if "/comments" not in request.path]


def test_the_first_run_loads_everything_and_follows_the_links_verbatim(github: LoopbackGitHub) -> None:
    numbers = fill(github, 250)
    reader = Reader(github)
    reader.run()
    assert sorted(reader.titles()) == numbers
    requests = _list_requests(github)
    assert [request.status for request in requests] == [200, 200, 200]
    assert "since" not in requests[0].query
    assert tuple(requests[0].query[name] for name in ("state", "sort", "direction", "per_page")) == (
        "all",
        "updated",
        "asc",
        "100",
    )
    assert all(request.path.startswith("/repositories/") and "after" in request.query for request in requests[1:])
    assert not [request for request in github.journal if "page" in request.query]


@pytest.mark.parametrize(("age", "back"), [(10 * 60, 900), (25 * 60, 900), (40 * 60, 1)])
def test_the_next_run_asks_from_the_overlap_or_from_the_newest_where_it_is_settled(
    github: LoopbackGitHub, age: int, back: int
) -> None:
    fill(github, 250)
    newest = int(github.now()) - age
    github.edit_issue(NAME, 250, at=newest)
    reader = Reader(github)
    reader.run()
    github.edit_issue(NAME, 7, title="Another title")
    github.close_issue(NAME, 8)
    asked = len(_list_requests(github))
    reader.run()
    since = _list_requests(github)[asked].query["since"]
    assert datetime.fromisoformat(since) == datetime.fromtimestamp(newest - back, UTC)
    assert reader.titles()[7] == "Another title"
    assert reader.items["issue", 8].state == "closed"


def test_a_quiet_repository_answers_304_and_changes_no_cursor(github: LoopbackGitHub) -> None:
    fill(github, 150)
    github.add_comment(NAME, 3)
    reader = Reader(github)
    reader.run()
    reader.run()
    before, cursors = len(github.journal), dict(reader.cursors)
    assert [page for _, page in reader.run()] == [Page(()), Page(())]
    assert [request.status for request in github.journal[before + 1 :]] == [304, 304]
    assert reader.cursors == cursors
    github.edit_issue(NAME, 3, title="Not so quiet")
    reader.run()
    assert reader.titles()[3] == "Not so quiet"


def test_another_token_does_not_send_the_etag_of_the_first(github: LoopbackGitHub) -> None:
    fill(github, 3)
    reader = Reader(github)
    reader.run()
    reader.run()
    reader.token = "ghp_rotated"
    before = len(github.journal)
    reader.run()
    assert [request.status for request in github.journal[before + 1 :]] == [200, 200]
    assert not [request for request in github.journal[before:] if "if-none-match" in request.headers]
    assert "ghp_" not in "".join(reader.cursors.values())


def test_an_etag_is_not_kept_of_a_list_with_more_than_one_page(github: LoopbackGitHub) -> None:
    begin = int(github.now()) - 600
    for i in range(150):
        github.add_issue(NAME, f"Title {i}", created_at=begin + i)
    reader = Reader(github)
    reader.run()
    reader.run()
    assert "etag" not in json.loads(reader.cursors["issues", ""])
    before = len(github.journal)
    reader.run()
    assert len([request for request in github.journal[before:] if request.status == 304]) == 1


def test_a_burst_is_not_read_again_once_it_is_settled(github: LoopbackGitHub) -> None:
    begin = int(github.now()) - 600
    for i in range(550):
        github.add_issue(NAME, f"Title {i}", created_at=begin + i)
    reader = Reader(github)
    reader.run()
    for _ in range(3):
        github.advance(HOUR)
        reader.run()
    assert reader.counters["calls"] == 3


@pytest.mark.parametrize("since_inclusive", [True, False])
def test_issues_edited_while_their_pages_are_read_are_not_lost(github: LoopbackGitHub, since_inclusive: bool) -> None:
    fill(github, 300)
    github.since_inclusive = since_inclusive
    edits = iter(range(1, 300, 30))

    def edit(request: Request) -> None:
        if "/issues" in request.path:
            for _ in range(2):
                number = next(edits, None)
                if number is not None:
                    github.edit_issue(NAME, number, title=f"Edited {number}")

    github.before_response = edit
    reader = Reader(github)
    reader.run()
    github.before_response = None
    reader.run()
    assert reader.titles() == {number: row.title for number, row in github.repository(NAME).issues.items()}


@pytest.mark.parametrize("since_inclusive", [True, False])
@pytest.mark.parametrize("pages", range(9))
def test_a_run_that_breaks_off_after_any_page_loses_nothing(
    github: LoopbackGitHub, pages: int, since_inclusive: bool
) -> None:
    github.since_inclusive = since_inclusive
    fill(github, 420, step=20)
    comments = {github.add_comment(NAME, 1 + i % 420, created_at=BEGIN + i * 40) for i in range(350)}
    reader = Reader(github)
    reader.run(pages=pages)
    github.edit_issue(NAME, 5, title="Edited in between")
    reader.run(pages=pages)
    reader.run()
    assert len(reader.titles()) == 420
    assert reader.titles()[5] == "Edited in between"
    assert reader.comments() == comments


@pytest.mark.parametrize("since_inclusive", [True, False])
def test_more_issues_than_a_page_changed_in_the_same_second(github: LoopbackGitHub, since_inclusive: bool) -> None:
    github.since_inclusive = since_inclusive
    numbers = fill(github, 350, step=0)
    reader = Reader(github)
    reader.run(pages=2)
    reader.run()
    assert sorted(reader.titles()) == numbers


@pytest.mark.parametrize("since_inclusive", [True, False])
@pytest.mark.parametrize("in_one_second", [1, 7, 100, 101, 250])
def test_comments_that_share_a_second_all_come(
    github: LoopbackGitHub, in_one_second: int, since_inclusive: bool
) -> None:
    github.since_inclusive = since_inclusive
    fill(github, 1)
    comments = {github.add_comment(NAME, 1, created_at=BEGIN + i // in_one_second) for i in range(620)}
    reader = Reader(github)
    reader.run()
    assert reader.comments() == comments


def test_comments_edited_and_deleted_while_their_pages_are_read_shift_nothing_away(github: LoopbackGitHub) -> None:
    fill(github, 1)
    comments = [github.add_comment(NAME, 1, f"text {i}", created_at=BEGIN + i) for i in range(500)]
    gone: set[int] = set()

    def disturb(request: Request) -> None:
        if "/issues/comments" in request.path and len(gone) < 9:
            github.edit_comment(NAME, comments[len(gone) * 3 + 1], "edited")
            github.delete_comment(NAME, comments[len(gone) * 3])
            gone.add(comments[len(gone) * 3])

    github.before_response = disturb
    reader = Reader(github)
    reader.run()
    assert gone
    assert reader.comments() >= set(comments) - gone
    assert reader.items["comment", comments[1]].body == "edited"
    assert not [request for request in github.requests("/issues/comments") if "page" in request.query]


def test_an_edited_comment_of_an_unchanged_issue_is_fetched(github: LoopbackGitHub) -> None:
    fill(github, 2)
    identity = github.add_comment(NAME, 1, "before", created_at=BEGIN + HOUR)
    reader = Reader(github)
    reader.run()
    github.edit_comment(NAME, identity, "after")
    reader.run()
    assert reader.items["comment", identity].body == "after"


def test_a_list_that_lags_behind_its_writes_is_caught_up_by_the_overlap(github: LoopbackGitHub) -> None:
    fill(github, 3)
    reader = Reader(github)
    github.list_lag = 480
    github.edit_issue(NAME, 1, title="Late to be seen")
    github.advance(400)
    github.list_lag = 0
    github.edit_issue(NAME, 2, title="Seen at once")
    reader.run()
    assert reader.titles()[1] == "Title 0"
    github.advance(100)
    reader.run()
    assert reader.titles()[1] == "Late to be seen"


def test_a_row_from_the_future_does_not_carry_the_cursor_ahead_of_githubs_clock(github: LoopbackGitHub) -> None:
    fill(github, 3)
    github.edit_issue(NAME, 2, updated_at=int(github.now()) + 10 * HOUR)
    reader = Reader(github)
    reader.run()
    newest = datetime.fromisoformat(json.loads(reader.cursors["issues", ""])["newest"])
    assert newest.timestamp() <= github.now() + 1
    github.edit_issue(NAME, 1, title="Now")
    reader.run()
    assert reader.titles()[1] == "Now"


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "1989-12-31T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_an_issue_of_an_unbelievable_day_is_named_and_the_others_go_on_run_after_run(
    github: LoopbackGitHub, moment: str
) -> None:
    unbelievable = {"created_at": moment, "updated_at": moment}
    github.add_issue(NAME, created_at=BEGIN, extra=unbelievable)
    reader = Reader(github)
    reader.run()
    assert reader.titles() == {}
    assert "acme/rocket: issue 1: created_at" in reader.skipped[0].line
    assert "/issues?" in reader.skipped[0].line
    number = github.add_issue(NAME, "Believable", created_at=BEGIN + HOUR)
    reader.run()
    assert reader.titles() == {number: "Believable"}
    github.edit_issue(NAME, 1, extra={})
    reader.run()
    assert set(reader.titles()) == {1, number}


def test_a_fast_clock_of_github_hides_no_issue(github: LoopbackGitHub) -> None:
    github.advance(72 * HOUR)
    github.add_issue(NAME, "Of the day after tomorrow")
    reader = Reader(github)
    reader.run()
    assert reader.titles() == {1: "Of the day after tomorrow"}


def test_a_slow_clock_of_github_hides_no_issue(github: LoopbackGitHub) -> None:
    github.add_issue(NAME, "Of today")
    github.date_skew = -72 * HOUR
    reader = Reader(github)
    reader.run()
    assert reader.titles() == {1: "Of today"}


def test_a_clock_of_github_that_jumps_back_does_not_pull_the_cursor_back(github: LoopbackGitHub) -> None:
    fill(github, 3)
    github.edit_issue(NAME, 1)
    reader = Reader(github)
    reader.run()
    before = json.loads(reader.cursors["issues", ""])["newest"]
    github.date_skew = -5 * HOUR
    github.edit_issue(NAME, 2)
    reader.run()
    assert json.loads(reader.cursors["issues", ""])["newest"] == before


def test_pull_requests_come_only_when_asked_for_and_then_from_the_beginning(github: LoopbackGitHub) -> None:
    fill(github, 3)
    pull = github.add_issue(NAME, "A change", created_at=BEGIN, is_pull=True)
    on_pull, on_issue = github.add_comment(NAME, pull), github.add_comment(NAME, 1)
    reader = Reader(github)
    reader.run()
    assert sorted(reader.titles()) == [1, 2, 3]
    assert reader.comments() == {on_issue}
    reader.run(Scope((NAME,), kinds=("issue", "pull_request")))
    assert reader.items["pull_request", pull].title == "A change"
    assert reader.comments() == {on_issue, on_pull}


def test_each_label_has_a_list_and_a_cursor_of_its_own(github: LoopbackGitHub) -> None:
    fill(github, 3, labels=("Bug",))
    fill(github, 3, labels=("oncall: pt2", "other"))
    both = github.add_issue(NAME, "Both", created_at=BEGIN, labels=("bug", "oncall: pt2"))
    fill(github, 2)
    scope = Scope((NAME,), labels=("bug", "OnCall: PT2"))
    reader = Reader(github)
    reader.run(scope)
    assert sorted(reader.titles()) == [1, 2, 3, 4, 5, 6, both]
    assert set(reader.cursors) == {
        ("issues", "label=bug"),
        ("issues", "label=oncall: pt2"),
        ("comments", "label=bug,label=oncall: pt2"),
    }
    assert [request.query["labels"] for request in _list_requests(github)] == ["bug", "OnCall: PT2"]


def test_the_comments_of_labelled_issues_begin_with_the_oldest_of_them(github: LoopbackGitHub) -> None:
    fill(github, 50)
    for number in range(1, 51):
        github.add_comment(NAME, number, created_at=BEGIN + number * HOUR)
    github.relabel_issue(NAME, 30, "bug")
    wanted = github.add_comment(NAME, 30)
    reader = Reader(github)
    reader.run(Scope((NAME,), labels=("bug",)))
    request = github.requests("/issues/comments")[0]
    assert datetime.fromisoformat(request.query["since"]) == datetime.fromtimestamp(BEGIN + 29 * 60, UTC)
    assert wanted in reader.comments()
    assert github.requests("/issues/30/comments") == []


def test_where_labelled_comments_begin_survives_a_run_that_broke_off(github: LoopbackGitHub) -> None:
    fill(github, 150, labels=("bug",))
    first = github.add_comment(NAME, 1, created_at=BEGIN + 30, updated_at=BEGIN + 30)
    github.add_comment(NAME, 149, created_at=BEGIN + 150 * 60)
    reader = Reader(github)
    scope = Scope((NAME,), labels=("bug",))
    reader.run(scope, pages=2)
    assert ("comments", "label=bug") not in reader.cursors
    reader.run(scope)
    assert first in reader.comments()


def test_an_issue_that_is_labelled_after_its_comments_brings_them_along(github: LoopbackGitHub) -> None:
    fill(github, 5)
    github.relabel_issue(NAME, 1, "bug")
    late = {github.add_comment(NAME, 4, created_at=BEGIN + 10_000 + i) for i in range(130)}
    scope = Scope((NAME,), labels=("bug", "also"))
    reader = Reader(github)
    reader.run(scope)
    reader.items = {key: item for key, item in reader.items.items() if item.kind != "comment"}
    github.relabel_issue(NAME, 4, "bug", "also")
    reader.run(scope, pages=1)
    assert reader.comments() >= late
    reader.run(scope)
    assert [r.status for r in github.requests("/issues/4/comments")] == [200, 200, 304] * 2


def test_an_issue_that_vanishes_while_its_comments_are_asked_for_stops_nothing(github: LoopbackGitHub) -> None:
    fill(github, 5)
    scope = Scope((NAME,), labels=("bug",))
    reader = Reader(github)
    reader.run(scope)
    github.add_repository("acme/other")
    for number in (1, 2, 3):
        github.add_comment(NAME, number)
        github.relabel_issue(NAME, number, "bug")

    def vanish(request: Request) -> None:
        if request.path.endswith("/issues/1/comments"):
            github.delete_issue(NAME, 1)
        if request.path.endswith("/issues/2/comments"):
            github.transfer_issue(NAME, 2, "acme/other")

    github.before_response = vanish
    reader.run(scope)
    assert sorted(reader.titles()) == [1, 2, 3]
    assert {item.parent_number for item in reader.items.values() if item.kind == "comment"} == {3}


def test_a_limit_takes_the_newest_wanted_issues_and_leaves_every_cursor_alone(github: LoopbackGitHub) -> None:
    fill(github, 150)
    github.add_issue(NAME, "A change", is_pull=True)
    github.edit_issue(NAME, 1)
    old, new = github.add_comment(NAME, 1), github.add_comment(NAME, 150)
    reader = Reader(github)
    pages = reader.run(Scope((NAME,), limit=120))
    assert sorted(reader.titles()) == list(range(31, 151))
    assert reader.cursors == {}
    assert [page.cursor for _, page in pages] == [None] * len(pages)
    assert reader.comments() == {new}
    assert old not in reader.comments()


def test_a_limit_counts_issues_over_all_labels(github: LoopbackGitHub) -> None:
    for number in range(1, 31):
        labels = ("a", "b") if number % 3 == 0 else ("a",) if number % 3 == 1 else ("b",)
        github.add_issue(NAME, f"Title {number}", created_at=BEGIN + number, labels=labels)
    reader = Reader(github)
    reader.run(Scope((NAME,), labels=("a", "b"), limit=7))
    assert sorted(reader.titles()) == list(range(24, 31))


def test_a_limit_above_what_there_is_takes_all(github: LoopbackGitHub) -> None:
    fill(github, 3)
    reader = Reader(github)
    reader.run(Scope((NAME,), limit=500))
    assert len(reader.titles()) == 3
    assert github.requests("/issues/comments") == []


def test_without_comments_none_are_asked_for(github: LoopbackGitHub) -> None:
    fill(github, 3)
    github.add_comment(NAME, 1)
    Reader(github).run(Scope((NAME,), comments=False))
    assert github.requests("comments") == []


def test_a_renamed_repository_keeps_its_key_and_cursor(github: LoopbackGitHub) -> None:
    fill(github, 3)
    reader = Reader(github)
    reader.run()
    key = reader.items["issue", 1].repository.key
    github.rename_repository(NAME, "acme/starship")
    github.edit_issue(NAME, 1, title="After the rename")
    reader.run()
    item = reader.items["issue", 1]
    assert (item.title, item.repository.key, item.repository.full_name) == ("After the rename", key, "acme/starship")
    assert len([r for r in _list_requests(github) if "since" not in r.query]) == 1


def test_a_repository_named_twice_is_read_once(github: LoopbackGitHub) -> None:
    fill(github, 1)
    github.rename_repository(NAME, "acme/starship")
    reader = Reader(github)
    reader.run(Scope((NAME, "acme/starship", "ACME/Starship")))
    assert len(_list_requests(github)) == 1


def test_a_repository_without_issues_is_passed_over_and_the_others_read(github: LoopbackGitHub) -> None:
    github.add_repository("acme/empty", has_issues=False)
    fill(github, 1)
    reader = Reader(github)
    reader.run(Scope(("acme/empty", NAME)))
    assert len(reader.titles()) == 1


def test_issues_that_are_switched_off_in_between_end_the_list_quietly(github: LoopbackGitHub) -> None:
    fill(github, 1)
    reader = Reader(github)
    reader.run()
    cursors = dict(reader.cursors)
    github.fail_next(410, times=2, on="/issues")
    assert reader.run() == []
    assert reader.cursors == cursors


def test_an_unknown_repository_a_malformed_name_and_a_label_with_a_comma_are_refused(github: LoopbackGitHub) -> None:
    reader = Reader(github)
    with pytest.raises(ConfigurationError, match="repository acme/nothing was not found"):
        reader.run(Scope(("acme/nothing",)))
    asked = len(github.journal)
    with pytest.raises(ConfigurationError, match="owner/name"):
        reader.run(Scope((NAME, "acme")))
    with pytest.raises(ConfigurationError, match="without commas"):
        reader.run(Scope((NAME,), labels=("a,b",)))
    assert len(github.journal) == asked


@pytest.mark.parametrize("path", ["/wrong", "/api/v3"])
def test_a_wrong_path_names_the_setting_and_an_unknown_repository_does_not(github: LoopbackGitHub, path: str) -> None:
    with GitHubClient(github.url + path, "ghp_test", time.monotonic() + 60) as client:
        with pytest.raises(ConfigurationError, match=r"set GITHUB_API_URL to https://api\.github\.com") as caught:
            list(GitHubIssues(client).streams(Scope((NAME,))))
        assert f"{github.url}{path} is not the root" in str(caught.value)
        assert client.counters()["calls"] == 2
    with pytest.raises(ConfigurationError, match="check the spelling") as caught:
        Reader(github).run(Scope(("acme/nothing",)))
    assert "GITHUB_API_URL" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_root_that_cannot_be_asked_leaves_what_was_said_of_the_repository(
    github: LoopbackGitHub, status: int
) -> None:
    github.fail_next(status, skip=1)
    with pytest.raises(ConfigurationError, match="repository acme/nothing was not found"):
        Reader(github).run(Scope(("acme/nothing",)))


def test_a_page_of_another_site_at_the_root_names_the_setting(github: LoopbackGitHub) -> None:
    github.fail_next("html", skip=1)
    with pytest.raises(ConfigurationError, match="GITHUB_API_URL"):
        Reader(github).run(Scope(("acme/nothing",)))


def test_a_server_that_is_no_github_is_named(github: LoopbackGitHub) -> None:
    github.fail_next("bytes", body=b'{"hello": "world"}')
    with pytest.raises(ConfigurationError, match=r"does not answer like GitHub: check GITHUB_API_URL"):
        Reader(github).run()


@pytest.mark.parametrize("fault", [502, "close", "truncated", "broken", "html", "secondary", "primary"])
def test_a_fault_in_the_middle_of_the_pages_costs_nothing_but_time(github: LoopbackGitHub, fault: Any) -> None:
    numbers = fill(github, 350)
    comments = {github.add_comment(NAME, 1, created_at=BEGIN + i) for i in range(250)}
    github.fail_next(fault, times=2 if fault != "primary" else 1, on="/issues", skip=2)
    github.fail_next(fault, on="/issues/comments", skip=1)
    reader = Reader(github)
    reader.run()
    assert sorted(reader.titles()) == numbers
    assert reader.comments() == comments
    assert reader.counters["waited_seconds"] > 0


def test_a_list_that_is_no_list_is_asked_for_again(github: LoopbackGitHub) -> None:
    fill(github, 1)
    github.fail_next("bytes", on="/issues?", body=b'{"message": "odd"}')
    reader = Reader(github)
    reader.run()
    assert len(reader.titles()) == 1
    assert reader.counters["retries"] == 1


def test_a_limit_that_outlasts_the_run_stops_it_and_the_next_goes_on(github: LoopbackGitHub) -> None:
    fill(github, 350)
    reader = Reader(github)
    github.fail_next("primary", on="/issues", skip=2, seconds=3 * HOUR)
    with pytest.raises(RateLimitError, match="the issues of acme/rocket"):
        reader.run()
    assert 0 < len(reader.titles()) < 350
    github.advance(3 * HOUR)
    reader.run()
    assert len(reader.titles()) == 350


def test_a_comment_list_that_times_out_at_githubs_side_is_read_in_smaller_pages(github: LoopbackGitHub) -> None:
    fill(github, 1)
    comments = {github.add_comment(NAME, 1, created_at=BEGIN + i) for i in range(250)}
    github.fail_next(502, times=99, on="comments?sort=updated&direction=asc&per_page=100", skip=1)
    reader = Reader(github)
    reader.run(attempts=2)
    assert reader.comments() == comments
    assert github.requests("per_page=30")


def test_an_outage_stops_the_run_and_keeps_what_was_stored(github: LoopbackGitHub) -> None:
    fill(github, 350)
    github.fail_next(503, times=99, on="/issues", skip=2)
    reader = Reader(github)
    with pytest.raises(UnavailableError, match="status 503"):
        reader.run()
    assert 0 < len(reader.titles()) < 350
    github.faults.clear()
    reader.run()
    assert len(reader.titles()) == 350


def test_bad_texts_and_ghosts_pass_and_a_malformed_object_is_named(github: LoopbackGitHub) -> None:
    nul = github.add_issue(NAME, "nul \x00", "body \x00\x00", created_at=BEGIN)
    lone = github.add_issue(NAME, "lone \ud83d", None, created_at=BEGIN + 1)
    ghost = github.add_issue(NAME, "ghost", created_at=BEGIN + 2, author=None)
    broken = github.add_issue(NAME, "broken", created_at=BEGIN + 3, extra={"labels": 5})
    github.add_comment(NAME, ghost, "lone \udc00")
    reader = Reader(github)
    reader.run()
    assert (reader.items["issue", nul].body, reader.items["issue", nul].replaced) == ("body \ufffd\ufffd", 3)
    assert reader.titles()[lone] == "lone \ufffd"
    assert reader.items["issue", lone].body is None
    assert reader.items["issue", ghost].author is None
    assert [item.body for item in reader.items.values() if item.kind == "comment"] == ["lone \ufffd"]
    assert len(reader.skipped) == 1
    assert f"{NAME}: issue {broken}: labels is not a list (in /repos/{NAME}/issues?" in reader.skipped[0].line


def test_a_stored_cursor_that_cannot_be_read_is_named(github: LoopbackGitHub) -> None:
    reader = Reader(github)
    for cursor in ("rubbish", "[]", '{"unknown": 1}', '{"newest": "soon"}', '{"newest": 5}'):
        reader.cursors["issues", ""] = cursor
        with pytest.raises(ConfigurationError, match=r"cursor of issues .*acme/rocket.*delete its row"):
            reader.run()


def test_an_enterprise_server_is_a_host_of_its_own() -> None:
    with LoopbackGitHub(base_path="/api/v3") as github:
        github.add_repository(NAME)
        fill(github, 150)
        reader = Reader(github)
        reader.run()
        assert len(reader.titles()) == 150
        repository = reader.items["issue", 1].repository
        assert (repository.host, repository.key >> 61) == ("127.0.0.1", 1)
        assert {request.target.startswith("/api/v3/") for request in github.journal} == {True}


def test_a_next_link_to_another_host_is_refused_and_what_came_before_kept(github: LoopbackGitHub) -> None:
    fill(github, 350)
    github.fail_next("link", on="/issues", skip=1, location="http://evil.example/next")
    reader = Reader(github)
    with pytest.raises(ConfigurationError, match=r"evil\.example, away from the API"):
        reader.run()
    assert len(reader.titles()) == 100
    reader.run()
    assert len(reader.titles()) == 350


def test_sources_that_share_a_client_count_their_own_calls(github: LoopbackGitHub) -> None:
    fill(github, 1)
    with GitHubClient(github.url, None, time.monotonic() + 60) as client:
        sources = [GitHubIssues(client), GitHubIssues(client)]
        for source in sources:
            streams: list[Stream] = list(source.streams(Scope((NAME,), comments=False)))
            assert len(list(source.fetch(streams[0], Scope((NAME,), comments=False), None))) == 1
        assert [source.counters()["calls"] for source in sources] == [2, 2]
        assert client.counters()["calls"] == 4


def test_a_change_that_the_list_did_not_show_before_a_long_wait_comes_with_the_next_run(github: LoopbackGitHub) -> None:
    fill(github, 150)
    github.list_lag = 480
    github.edit_issue(NAME, 140, title="Shown late")
    github.list_lag = 0
    github.advance(60)
    for number in range(1, 80):
        github.edit_issue(NAME, number)
    github.fail_next("primary", on="after=", seconds=1700)

    def edit(request: Request) -> None:
        if "after=" in request.target:
            github.edit_issue(NAME, 2, title="Changed after the wait")

    github.before_response = edit
    reader = Reader(github)
    reader.run()
    github.before_response = None
    assert reader.counters["waited_seconds"] >= 1690
    github.advance(HOUR)
    reader.run()
    assert reader.titles() == {number: row.title for number, row in github.repository(NAME).issues.items()}


@pytest.mark.parametrize("status", [422, 404, 410])
@pytest.mark.parametrize("labels", [(), ("bug",)])
def test_a_refused_page_is_not_the_end_of_the_list(
    github: LoopbackGitHub, status: int, labels: tuple[str, ...]
) -> None:
    numbers = fill(github, 350, labels=("bug",))
    github.fail_next(status, on="after=", skip=1)
    reader = Reader(github)
    reader.run(Scope((NAME,), labels=labels))
    assert sorted(reader.titles()) == numbers
    asked_anew = next(request for request in _list_requests(github) if "since" in request.query)
    assert datetime.fromisoformat(asked_anew.query["since"]).timestamp() == BEGIN + 199 * 60 - 1


def test_a_refused_first_page_is_asked_for_once_more(github: LoopbackGitHub) -> None:
    numbers = fill(github, 3)
    github.fail_next(422, on="/issues?")
    reader = Reader(github)
    reader.run()
    assert sorted(reader.titles()) == numbers


def test_a_list_that_is_refused_without_any_progress_stops_the_run_and_is_named(github: LoopbackGitHub) -> None:
    fill(github, 350, step=0)
    github.fail_next(422, times=99, on="after=")
    reader = Reader(github)
    with pytest.raises(UnavailableError, match=r"refuses to go on listing the issues of acme/rocket"):
        reader.run()
    assert len(reader.titles()) == 100
    github.faults.clear()
    reader.run()
    assert len(reader.titles()) == 350


def test_a_repository_that_goes_away_between_two_pages_is_an_error_and_not_the_end(github: LoopbackGitHub) -> None:
    fill(github, 350)

    def block(request: Request) -> None:
        if "after=" in request.target:
            github.block_repository(NAME)

    github.before_response = block
    reader = Reader(github)
    with pytest.raises(ConfigurationError, match="not found"):
        reader.run()
    cursor = json.loads(reader.cursors["issues", ""])
    assert "whole" not in cursor
    github.before_response = None
    github.unblock_repository(NAME)
    reader.run()
    assert len(reader.titles()) == 350


@pytest.mark.parametrize("status", [422, 404])
def test_a_limited_run_begins_anew_where_a_page_is_refused(github: LoopbackGitHub, status: int) -> None:
    fill(github, 350)
    github.fail_next(status, on="after=", skip=1)
    reader = Reader(github)
    reader.run(Scope((NAME,), limit=320))
    assert sorted(reader.titles()) == list(range(31, 351))


def test_runs_of_a_page_or_two_get_through_a_burst_that_fills_the_overlap(github: LoopbackGitHub) -> None:
    fill(github, 700)
    begin = int(github.now()) - 600
    for number in range(1, 701):
        github.edit_issue(NAME, number, at=begin + number // 2)
    comments = {github.add_comment(NAME, 7, created_at=begin + i // 2) for i in range(700)}
    reader = Reader(github)
    reader.run(pages=3)
    github.advance(HOUR)
    for _ in range(8):
        reader.run(pages=1)
    assert len(reader.titles()) == 700
    for _ in range(8):
        reader.run(pages=2)
    assert reader.comments() == comments


def test_a_malformed_object_is_kept_with_its_bytes_in_the_page_whose_cursor_passes_it(github: LoopbackGitHub) -> None:
    broken = github.add_issue(NAME, "broken", created_at=BEGIN, extra={"labels": 5}, body="b\x00\ud800")
    pages = Reader(github).run(Scope((NAME,), comments=False))
    rejected = pages[0][1].skipped[0]
    kept = json.loads(rejected.payload)
    assert (kept["number"], kept["labels"], kept["body"]) == (broken, 5, "b\x00\ud800")
    assert pages[0][1].cursor is not None


def test_a_malformed_comment_of_a_newly_labelled_issue_is_kept_too(github: LoopbackGitHub) -> None:
    fill(github, 1, labels=("bug",))
    reader = Reader(github)
    scope = Scope((NAME,), labels=("bug",))
    reader.run(scope)
    late = github.add_issue(NAME, "late", labels=("bug",))
    github.add_comment(NAME, late, body=5)
    pages = reader.run(scope, pages=1)
    assert [rejected.line for rejected in pages[0][1].skipped] == [reader.skipped[0].line]
    assert "body is not a text" in reader.skipped[0].line


def test_a_pull_request_says_when_it_was_merged_and_what_it_settles(github: LoopbackGitHub) -> None:
    fill(github, 2)
    pull = github.add_issue(NAME, "A change", "Fixes #1, closes Other/name#5.", created_at=BEGIN, is_pull=True)
    issue = github.add_issue(NAME, "No pull request", "Fixes #1", created_at=BEGIN)
    scope = Scope((NAME,), kinds=("issue", "pull_request"))
    reader = Reader(github)
    reader.run(scope)
    item = reader.items["pull_request", pull]
    assert item.merged_at is None
    assert item.links == (Link("fixes", NAME, 1), Link("fixes", "Other/name", 5))
    assert reader.items["issue", issue].links == ()
    github.merge_pull(NAME, pull, at=int(github.now()))
    reader.run(scope)
    merged = reader.items["pull_request", pull]
    assert merged.merged_at == merged.closed_at is not None
    assert merged.state == "closed"


def test_the_quiet_hour_takes_three_calls(github: LoopbackGitHub) -> None:
    fill(github, 150)
    github.add_comment(NAME, 3)
    reader = Reader(github)
    reader.run()
    reader.run()
    reader.run()
    assert (reader.counters["calls"], reader.counters["not_modified"]) == (3, 2)
