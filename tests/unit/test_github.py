"""The GitHub client, over real HTTP, against the loopback GitHub. Waits move the server's clock instead of passing."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from etl.errors import BudgetError, ConfigurationError, RateLimitError, SkipError, UnavailableError
from etl.github import API_VERSION, GitHubClient, TooDeepError
from tests.loopback.github import LoopbackGitHub

REPOSITORY = "acme/rocket"
PATH = f"/repos/{REPOSITORY}"
WHAT = f"repository {REPOSITORY}"
TOKEN = "ghp_" + "s3cr3t" * 5


@dataclass
class Clock:
    """A clock of the client that its own waits move, the server's clock with it."""

    server: LoopbackGitHub
    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Passes without time."""
        self.waits.append(seconds)
        self.now += seconds
        self.server.advance(seconds)

    def __call__(self) -> float:
        """Seconds, as `time.monotonic` gives them."""
        return self.now


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(tokens=[TOKEN]) as server:
        server.add_repository(REPOSITORY)
        yield server


@pytest.fixture
def clock(github: LoopbackGitHub) -> Clock:
    return Clock(github)


def _client(github: LoopbackGitHub, clock: Clock, token: str | None = TOKEN, **options: Any) -> GitHubClient:
    options = {"deadline": clock.now + 7200, "sleep": clock.sleep, "clock": clock, **options}
    return GitHubClient(github.url, token, **options)


@pytest.fixture
def client(github: LoopbackGitHub, clock: Clock) -> Iterator[GitHubClient]:
    with _client(github, clock) as client:
        yield client


def test_an_answer_has_its_body_etag_and_clock(client: GitHubClient, github: LoopbackGitHub) -> None:
    answer = client.get(PATH, WHAT)
    assert answer.status == 200
    assert answer.body["full_name"] == REPOSITORY
    assert answer.etag is not None
    assert answer.etag.endswith('"')
    assert abs(answer.date.timestamp() - github.now()) < 5
    assert client.counters() == {
        "calls": 1,
        "retries": 0,
        "waited_seconds": 0,
        "not_modified": 0,
        "rate_limit_remaining": 4999,
    }


def test_the_version_is_pinned_and_the_token_is_only_in_its_header(
    client: GitHubClient, github: LoopbackGitHub
) -> None:
    client.get(PATH, WHAT, params={"per_page": 5})
    request = github.journal[0]
    assert request.headers["x-github-api-version"] == API_VERSION
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.query == {"per_page": "5"}
    assert [name for name, value in request.headers.items() if TOKEN in value] == ["authorization"]
    assert TOKEN not in repr(client)


def test_netrc_never_wins_over_the_token(
    github: LoopbackGitHub, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with _client(github, clock) as client, _client(github, clock, token=None) as anonymous:
        client.get(PATH, WHAT)
        anonymous.get(PATH, WHAT)
    assert github.journal[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert "authorization" not in github.journal[1].headers


def test_the_proxy_of_the_environment_is_used(
    github: LoopbackGitHub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", github.url)
    monkeypatch.setenv("NO_PROXY", "")
    with GitHubClient("http://github.invalid", TOKEN, clock.now + 60, sleep=clock.sleep, clock=clock) as client:
        assert client.get(PATH, WHAT).body["full_name"] == REPOSITORY


def test_a_token_with_a_line_end_is_trimmed_and_one_with_a_space_inside_refused(
    github: LoopbackGitHub, clock: Clock
) -> None:
    with _client(github, clock, token=f"{TOKEN}\n") as client:
        client.get(PATH, WHAT)
    assert github.journal[0].token == TOKEN
    with pytest.raises(ConfigurationError, match="GITHUB_TOKEN") as caught:
        _client(github, clock, token="ghp_one two")
    assert "ghp_one" not in str(caught.value)


def test_an_unchanged_answer_is_304_for_its_own_token_only(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock
) -> None:
    github.tokens = None
    first = client.get(PATH, WHAT)
    again = client.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
    assert (again.status, again.body, again.etag) == (304, None, first.etag)
    assert client.counters()["not_modified"] == 1
    with _client(github, clock, token="ghp_other") as other:
        fresh = other.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
        assert fresh.status == 200
        assert fresh.token_id != first.token_id
    assert TOKEN not in first.token_id
    with _client(github, clock, token=None) as anonymous:
        unnamed = anonymous.get(PATH, WHAT)
        assert unnamed.token_id == ""
        assert anonymous.get(PATH, WHAT, etag=unnamed.etag).status == 304


@pytest.mark.parametrize("status", [403, 429])
def test_a_primary_limit_is_waited_out_until_its_reset(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock, status: int
) -> None:
    github.spend_all(reset_in=600, status=status)
    assert client.get(PATH, WHAT).status == 200
    assert len(clock.waits) == 1
    assert 598 <= clock.waits[0] <= 602
    assert client.counters()["waited_seconds"] == round(clock.waits[0])


@pytest.mark.parametrize("skew", [-900.0, 900.0])
def test_the_wait_for_a_reset_is_counted_on_githubs_clock_not_ours(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock, skew: float
) -> None:
    github.advance(skew)
    github.spend_all(reset_in=300)
    client.get(PATH, WHAT)
    assert 298 <= clock.waits[0] <= 302


def test_a_limit_beyond_the_deadline_stops_the_run_and_says_until_when(github: LoopbackGitHub, clock: Clock) -> None:
    github.spend_all(reset_in=1800)
    with (
        _client(github, clock, deadline=clock.now + 600) as client,
        pytest.raises(RateLimitError, match=r"acme/rocket.*30 min, until \d\d:\d\d:\d\d UTC.*next run"),
    ):
        client.get(PATH, WHAT)
    assert clock.waits == []


def test_an_anonymous_run_that_hits_the_limit_is_told_of_the_token(github: LoopbackGitHub, clock: Clock) -> None:
    github.spend_all(reset_in=1800)
    with (
        _client(github, clock, token=None, deadline=clock.now + 600) as client,
        pytest.raises(RateLimitError, match="GITHUB_TOKEN"),
    ):
        client.get(PATH, WHAT)


@pytest.mark.parametrize("status", [403, 429])
def test_a_secondary_limit_that_only_its_text_names_is_waited_out_for_a_minute_then_longer(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock, status: int
) -> None:
    github.fail_next("secondary", times=3, status=status)
    assert client.get(PATH, WHAT).status == 200
    assert clock.waits == [60, 120, 240]


def test_a_secondary_limit_waits_at_most_fifteen_minutes_at_a_time(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock
) -> None:
    github.fail_next("secondary", times=6)
    client.get(PATH, WHAT)
    assert clock.waits[-2:] == [900, 900]


def test_retry_after_is_obeyed_and_grows_when_it_was_not_enough(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock
) -> None:
    github.fail_next("secondary", times=3, retry_after=7)
    client.get(PATH, WHAT)
    assert clock.waits == [7, 60, 120]


def test_a_wait_is_announced_before_it_begins(github: LoopbackGitHub, clock: Clock) -> None:
    told: list[tuple[float, str, int]] = []
    github.fail_next("secondary", retry_after=9)
    with _client(github, clock, on_wait=lambda seconds, why: told.append((seconds, why, len(clock.waits)))) as client:
        client.get(PATH, WHAT)
    assert [(seconds, waited) for seconds, _, waited in told] == [(9, 0)]
    assert REPOSITORY in told[0][1]


def test_a_403_for_lack_of_permission_is_not_asked_again(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next(403, message="Resource not accessible by personal access token")
    with pytest.raises(ConfigurationError, match=r"Resource not accessible.*read access") as caught:
        client.get(PATH, WHAT)
    assert len(github.journal) == 1
    assert TOKEN not in str(caught.value)


def test_a_wrong_token_is_named_without_showing_it(github: LoopbackGitHub, clock: Clock) -> None:
    with (
        _client(github, clock, token="ghp_wrong") as client,
        pytest.raises(ConfigurationError, match=r"401.*GITHUB_TOKEN") as caught,
    ):
        client.get(PATH, WHAT)
    assert "ghp_wrong" not in str(caught.value)


def test_an_unknown_repository_is_named(client: GitHubClient) -> None:
    with pytest.raises(ConfigurationError, match=r"repository acme/nothing was not found.*spelling"):
        client.get("/repos/acme/nothing", "repository acme/nothing")


def test_what_may_be_gone_is_skipped_when_it_is_not_found(client: GitHubClient) -> None:
    with pytest.raises(SkipError):
        client.get("/repos/acme/nothing", "issue 3", may_be_gone=True)


@pytest.mark.parametrize(("status", "said"), [(404, "Not Found"), (410, "This issue was deleted")])
def test_a_look_says_that_something_is_gone_instead_of_raising(
    client: GitHubClient, github: LoopbackGitHub, status: int, said: str
) -> None:
    github.fail_next(status, message=said)
    look = client.look(f"{PATH}/issues/3", "issue 3")
    assert (look.status, look.body, look.location, look.said) == (status, None, None, said)
    assert abs(look.date.timestamp() - github.now()) < 5


def test_a_look_gives_what_is_there(client: GitHubClient, github: LoopbackGitHub) -> None:
    number = github.add_issue(REPOSITORY, title="Here it is")
    look = client.look(f"{PATH}/issues/{number}", "the issue", decode=lambda data: len(data) > 10)
    assert (look.status, look.body, look.location) == (200, True, None)


def test_a_look_shows_where_an_issue_went_and_does_not_follow(client: GitHubClient, github: LoopbackGitHub) -> None:
    repository = github.add_repository("acme/orbit")
    number = github.add_issue(REPOSITORY)
    new = github.transfer_issue(REPOSITORY, number, "acme/orbit")
    look = client.look(f"{PATH}/issues/{number}", "the issue")
    assert (look.status, look.body) == (301, None)
    assert look.location == f"{github.url}/repositories/{repository.id}/issues/{new}"
    assert len(github.journal) == 1
    parts = client.look(f"{PATH}/issues/{number}/comments", "its comments")
    assert (parts.status, parts.location) == (301, None)


def test_a_look_never_leaves_the_api_and_believes_no_403(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next("redirect", status=301, location="https://evil.example/x")
    with pytest.raises(ConfigurationError, match="away from the API"):
        client.look(f"{PATH}/issues/1", "issue 1")
    github.fail_next(403, message="Resource not accessible by personal access token")
    with pytest.raises(ConfigurationError, match="read access"):
        client.look(f"{PATH}/issues/1", "issue 1")


def test_a_list_that_is_too_deep_can_be_told_from_a_wrong_option(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next(422, times=2, message="In order to keep the API fast for everyone, pagination is limited")
    with pytest.raises(TooDeepError, match="pagination is limited"):
        client.get(f"{PATH}/issues", "the issues", may_be_too_deep=True)
    with pytest.raises(ConfigurationError, match="pagination is limited"):
        client.get(f"{PATH}/issues", "the issues")


def test_the_call_that_would_exceed_the_budget_is_not_sent(github: LoopbackGitHub, clock: Clock) -> None:
    github.fail_next(502)
    with _client(github, clock, max_calls=3) as client:
        first = client.get(PATH, WHAT)
        client.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
        assert client.counters()["not_modified"] == 1
        assert client.counters()["calls"] == 3  # the one that failed and the 304 count too
        with pytest.raises(BudgetError, match=r"3 calls.*acme/rocket.*ISSUETIDE_MAX_CALLS or --max-calls"):
            client.get(PATH, WHAT)
    assert len(github.journal) == 3


def test_a_gone_list_is_a_skip(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next(410, message="Issues are disabled for this repo")
    with pytest.raises(SkipError, match="Issues are disabled"):
        client.get(PATH, WHAT)
    assert len(github.journal) == 1


def test_a_422_is_never_taken_for_the_end_of_a_list(client: GitHubClient, github: LoopbackGitHub) -> None:
    with pytest.raises(ConfigurationError, match=r"422, Validation Failed"):
        client.get(f"{PATH}/issues", "the issues", params={"state": "bogus"})
    assert len(github.journal) == 1


@pytest.mark.parametrize("fault", [500, 502, 503, "close", "truncated", "broken", "html"])
def test_what_fails_in_passing_is_asked_again_after_growing_waits(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock, fault: Any
) -> None:
    github.fail_next(fault, times=3)
    assert client.get(PATH, WHAT).body["full_name"] == REPOSITORY
    assert client.counters()["retries"] == 3
    assert [0.5 <= clock.waits[0] <= 1, 1 <= clock.waits[1] <= 2, 2 <= clock.waits[2] <= 4] == [True] * 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (502, "status 502"),
        ("html", r"not complete JSON \(text/html\)"),
        ("truncated", "broke off"),
        ("close", "connection failed"),
    ],
)
def test_what_keeps_failing_stops_after_five_attempts_and_says_why(
    client: GitHubClient, github: LoopbackGitHub, clock: Clock, fault: Any, reason: str
) -> None:
    github.fail_next(fault, times=99)
    with pytest.raises(UnavailableError, match=rf"acme/rocket in 5 attempts.*{reason}.*GITHUB_API_URL"):
        client.get(PATH, WHAT)
    assert len(github.journal) == 5
    assert len(clock.waits) == 4


def test_a_server_that_hangs_is_left_after_the_read_timeout(github: LoopbackGitHub, clock: Clock) -> None:
    github.fail_next("hang", seconds=30)
    with _client(github, clock, read_seconds=2.0) as client:  # the second answer must come within them
        assert client.get(PATH, WHAT).status == 200
    assert [request.status for request in github.journal] == [0, 200]


def test_a_slow_answer_is_waited_for(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next("slow", seconds=0.2)
    assert client.get(PATH, WHAT).status == 200
    assert client.counters()["retries"] == 0


def test_a_server_that_is_not_there_is_named_with_the_reason(clock: Clock) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with (
            GitHubClient(url, None, clock.now + 600, sleep=clock.sleep, clock=clock) as client,
            pytest.raises(UnavailableError, match=rf"{url} .*Connection refused.*check the network"),
        ):
            client.get(PATH, WHAT)


def test_nothing_is_sent_after_the_deadline(github: LoopbackGitHub, clock: Clock) -> None:
    with _client(github, clock, deadline=clock.now) as client, pytest.raises(RateLimitError, match="deadline"):
        client.get(PATH, WHAT)
    assert github.journal == []


def test_an_answer_that_the_deadline_cuts_short_is_no_outage(github: LoopbackGitHub, clock: Clock) -> None:
    github.fail_next("close")
    github.before_response = lambda _: clock.sleep(3)
    with (
        _client(github, clock, deadline=clock.now + 2) as client,
        pytest.raises(RateLimitError, match="deadline passed before"),
    ):
        client.get(PATH, WHAT)


def test_a_retry_that_does_not_fit_the_deadline_is_not_begun(github: LoopbackGitHub, clock: Clock) -> None:
    github.fail_next(502, times=99)
    with (
        _client(github, clock, deadline=clock.now + 2) as client,
        pytest.raises(UnavailableError, match="no time is left"),
    ):
        client.get(PATH, WHAT)
    assert clock.now < 1002


def test_a_renamed_repository_is_followed_to_its_new_name(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.rename_repository(REPOSITORY, "acme/starship")
    answer = client.get(PATH, WHAT, params={"per_page": 3})
    assert answer.body["full_name"] == "acme/starship"
    assert [request.status for request in github.journal] == [301, 200]
    assert github.journal[1].query == {"per_page": "3"}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("location", ["http://localhost:1/repos/a/b", "https://127.0.0.1/x", "//evil.example/x"])
def test_a_redirect_away_from_the_api_is_refused(
    client: GitHubClient, github: LoopbackGitHub, status: int, location: str
) -> None:
    github.fail_next("redirect", status=status, location=location)
    with pytest.raises(ConfigurationError, match=r"a redirect for .* away from the API .* not followed"):
        client.get(PATH, WHAT)
    assert len(github.journal) == 1


def test_redirects_in_a_circle_end(client: GitHubClient, github: LoopbackGitHub) -> None:
    github.fail_next("redirect", times=99, location=f"{github.url}{PATH}")
    with pytest.raises(UnavailableError, match="more than 5 times"):
        client.get(PATH, WHAT)


def test_a_redirect_to_nowhere_is_an_error_and_a_skip_where_things_may_be_gone(
    client: GitHubClient, github: LoopbackGitHub
) -> None:
    github.fail_next("redirect", times=2, status=301, location="")
    with pytest.raises(ConfigurationError, match="has moved"):
        client.get(PATH, WHAT)
    with pytest.raises(SkipError, match="has moved"):
        client.get(PATH, WHAT, may_be_gone=True)


def test_the_next_link_is_given_verbatim_and_refused_when_it_leaves_the_api(
    client: GitHubClient, github: LoopbackGitHub
) -> None:
    for _ in range(3):
        github.add_issue(REPOSITORY)
    first = client.get(f"{PATH}/issues?per_page=2", "the issues")
    assert first.next_url is not None
    assert first.next_url.startswith(f"{github.url}/repositories/")
    assert len(client.get(first.next_url, "the issues").body) == 1
    github.fail_next("link", location="https://evil.example/next")
    with pytest.raises(ConfigurationError, match=r"the next page .* https://evil\.example, away from the API"):
        client.get(f"{PATH}/issues", "the issues")


def test_an_absolute_address_elsewhere_is_never_asked(client: GitHubClient) -> None:
    with pytest.raises(ConfigurationError, match="away from the API"):
        client.get("http://evil.example/repos/a/b", WHAT)


def test_an_enterprise_server_is_read_below_its_base_path() -> None:
    with LoopbackGitHub(base_path="/api/v3") as github:
        github.add_repository(REPOSITORY)
        with GitHubClient(f"{github.url}/", TOKEN, time.monotonic() + 60) as client:
            assert client.get(PATH, WHAT).body["full_name"] == REPOSITORY
        assert github.journal[0].target == f"/api/v3{PATH}"


def test_a_proxy_that_is_not_there_is_named_without_its_password(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://someone:pa55word@127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("NO_PROXY", "")
        with (
            GitHubClient("https://github.invalid", TOKEN, clock.now + 60, sleep=clock.sleep, clock=clock) as client,
            pytest.raises(UnavailableError, match="the proxy of HTTP_PROXY or HTTPS_PROXY") as caught,
        ):
            client.get(PATH, WHAT)
    assert "pa55word" not in str(caught.value)


def test_a_server_that_does_not_speak_tls_is_unavailable(github: LoopbackGitHub, clock: Clock) -> None:
    url = github.url.replace("http://", "https://")
    with (
        GitHubClient(url, TOKEN, clock.now + 60, sleep=clock.sleep, clock=clock, attempts=2) as client,
        pytest.raises(UnavailableError, match="the TLS connection failed"),
    ):
        client.get(PATH, WHAT)


@pytest.mark.parametrize("url", ["http://[::1", "ftp://github.invalid", "http://127.0.0.1:notaport"])
def test_an_api_address_that_cannot_be_asked_is_a_setting_to_mend(clock: Clock, url: str) -> None:
    with (
        GitHubClient(url, TOKEN, clock.now + 60, sleep=clock.sleep, clock=clock) as client,
        pytest.raises(ConfigurationError, match="GITHUB_API_URL"),
    ):
        client.get(PATH, WHAT)
