"""Several tokens and a GitHub App, over real HTTP against the loopback GitHub. Waits move the clocks, none passes."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from etl.cli.doctor import run_checks
from etl.errors import ConfigurationError, RateLimitError, SkipError, UnavailableError
from etl.github import GitHubClient
from etl.github_credentials import App, Credentials
from etl.settings import read_settings
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_app import make_keys

REPOSITORY = "acme/rocket"
PATH = f"/repos/{REPOSITORY}"
WHAT = f"repository {REPOSITORY}"
ONE, TWO, THREE = (f"ghp_{name}{'s3cr3t' * 5}" for name in ("one", "two", "three"))
APP_ID = 4711


@dataclass
class Clock:
    """A clock of the client that its own waits move, the server's clock with it."""

    server: LoopbackGitHub
    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Passes without time."""
        self.waits.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Time goes by at both ends."""
        self.now += seconds
        self.server.advance(seconds)

    def __call__(self) -> float:
        """Seconds, as `time.monotonic` gives them."""
        return self.now


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(tokens=[ONE, TWO, THREE]) as server:
        server.add_repository(REPOSITORY)
        for token in (ONE, TWO, THREE):
            server.set_window(token)
        yield server


@pytest.fixture
def clock(github: LoopbackGitHub) -> Clock:
    return Clock(github)


@pytest.fixture
def clients(github: LoopbackGitHub, clock: Clock) -> Iterator[Any]:
    """Makes clients with given tokens, or `Credentials`, and closes them."""
    made: list[GitHubClient] = []

    def make(*tokens: str | Credentials, **options: Any) -> GitHubClient:
        token = tokens[0] if isinstance(tokens[0], Credentials) else ",".join(map(str, tokens))
        given = {"deadline": clock.now + 7200, "sleep": clock.sleep, "clock": clock, **options}
        made.append(GitHubClient(github.url, token, **given))
        return made[-1]

    yield make
    for client in made:
        client.close()


def used(github: LoopbackGitHub, start: int = 0) -> list[str]:
    """The tokens of the requests, in order."""
    return [request.token for request in github.journal[start:]]


def secrets_in(text: str) -> list[str]:
    """What must never show and does."""
    private, _ = make_keys()
    return [secret for secret in (ONE, TWO, THREE, "ghs_", "eyJ", private.splitlines()[1]) if secret in text]


# Several tokens ------------------------------------------------------------------------------------------------------


def test_the_token_with_most_calls_left_is_asked(github: LoopbackGitHub, clients: Any) -> None:
    github.set_window(ONE, remaining=10)
    github.set_window(TWO, remaining=3000)
    client = clients(ONE, f" {TWO}")
    client.get(PATH, WHAT)  # nothing is known yet: the first
    client.get(PATH, WHAT)  # the second is not known yet, which counts as full
    client.get(PATH, WHAT)
    assert used(github) == [ONE, TWO, TWO]
    assert client.counters()["rate_limit_remaining"] == 9 + 2998


@pytest.mark.parametrize("status", [403, 429])
def test_the_next_token_takes_over_at_once_when_one_is_spent(
    github: LoopbackGitHub, clients: Any, clock: Clock, status: int
) -> None:
    github.spend_all(600, status, token=ONE)
    client = clients(ONE, TWO)
    for _ in range(3):
        assert client.get(PATH, WHAT).status == 200
    assert used(github) == [ONE, TWO, TWO, TWO]
    assert clock.waits == []


def test_a_window_that_is_used_up_is_not_asked_in_vain(github: LoopbackGitHub, clients: Any, clock: Clock) -> None:
    github.set_window(ONE, remaining=1, reset_in=600)
    client = clients(ONE)
    client.get(PATH, WHAT)
    client.get(PATH, WHAT)
    assert [request.status for request in github.journal] == [200, 200]
    assert len(clock.waits) == 1
    assert 598 <= clock.waits[0] <= 602


@pytest.mark.parametrize("form", ["text", "retry-after", "limited-by"])
def test_a_secondary_limit_closes_the_window_of_its_token_alone(
    github: LoopbackGitHub, clients: Any, clock: Clock, form: Any
) -> None:
    github.limit_secondary(ONE, 50, form)
    client = clients(ONE, TWO)
    client.get(PATH, WHAT)
    client.get(PATH, WHAT)
    assert used(github) == [ONE, TWO, TWO]
    clock.advance(61)
    github.spend_all(600, token=TWO)
    client.get(PATH, WHAT)
    assert used(github, 3)[-1] == ONE
    assert clock.waits == []


def test_when_every_window_is_closed_the_earliest_to_open_is_waited_for(
    github: LoopbackGitHub, clients: Any, clock: Clock
) -> None:
    github.spend_all(900, token=ONE)
    github.spend_all(300, token=TWO)
    client = clients(ONE, TWO)
    assert client.get(PATH, WHAT).status == 200
    assert used(github) == [ONE, TWO, TWO]
    assert len(clock.waits) == 1
    assert 298 <= clock.waits[0] <= 302
    assert client.counters()["waited_seconds"] == round(clock.waits[0])


def test_a_wait_beyond_the_deadline_ends_the_run_only_when_all_are_closed(
    github: LoopbackGitHub, clients: Any, clock: Clock
) -> None:
    client = clients(ONE, TWO, deadline=clock.now + 100)
    github.spend_all(3000, token=ONE)
    assert client.get(PATH, WHAT).status == 200
    github.spend_all(2000, token=TWO)
    with pytest.raises(RateLimitError, match="33 min"):
        client.get(PATH, WHAT)
    assert clock.waits == []


def test_an_etag_goes_out_with_the_token_it_belongs_to(github: LoopbackGitHub, clients: Any) -> None:
    github.set_window(ONE, remaining=10)
    client = clients(ONE, TWO)
    first = client.get(PATH, WHAT)
    client.get(PATH, WHAT)
    again = client.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
    assert (again.status, again.token_id) == (304, first.token_id)
    assert used(github) == [ONE, TWO, ONE]
    assert not secrets_in(first.token_id)


def test_without_budget_of_its_token_an_etag_is_left_out(github: LoopbackGitHub, clients: Any) -> None:
    client = clients(ONE, TWO)
    first = client.get(PATH, WHAT)
    github.spend_all(600, token=ONE)
    again = client.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
    assert again.status == 200
    assert again.token_id != first.token_id
    assert used(github) == [ONE, ONE, TWO]
    assert "if-none-match" in github.journal[1].headers
    assert "if-none-match" not in github.journal[2].headers


def test_an_etag_of_a_token_that_is_no_longer_set_is_left_out(github: LoopbackGitHub, clients: Any) -> None:
    first = clients(ONE).get(PATH, WHAT)
    assert clients(TWO).get(PATH, WHAT, etag=first.etag, etag_token=first.token_id).status == 200
    assert "if-none-match" not in github.journal[-1].headers


def test_a_revoked_token_is_dropped_with_one_warning_that_names_its_place(
    github: LoopbackGitHub, clients: Any, caplog: pytest.LogCaptureFixture
) -> None:
    github.revoke_token(TWO)
    client = clients(ONE, TWO, THREE)
    for _ in range(5):
        client.get(PATH, WHAT)
    assert used(github).count(TWO) == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "token 2 of 3" in caplog.text
    assert not secrets_in(caplog.text)


def test_the_run_ends_when_every_token_is_refused(github: LoopbackGitHub, clients: Any) -> None:
    github.revoke_token(ONE)
    github.revoke_token(TWO)
    with pytest.raises(ConfigurationError, match=r"401.*token 1 of 2 is wrong.*token 2 of 2 is wrong") as caught:
        clients(ONE, TWO).get(PATH, WHAT)
    assert not secrets_in(str(caught.value))


@pytest.mark.parametrize("status", [404, 403])
def test_what_one_token_may_not_read_another_one_reads(github: LoopbackGitHub, clients: Any, status: Any) -> None:
    github.token_scopes[ONE] = {"acme/other"}
    github.out_of_scope_status = status
    number = github.add_issue(REPOSITORY)
    client = clients(ONE, TWO)
    for _ in range(4):
        assert client.look(f"{PATH}/issues/{number}", "the issue").status == 200
    # Once refused where the other was not, the first is left alone in this repository.
    assert used(github) == [ONE, TWO, TWO, TWO, TWO]


@pytest.mark.parametrize("status", [404, 403])
def test_the_whole_list_is_read_by_the_token_that_may(github: LoopbackGitHub, clients: Any, status: Any) -> None:
    github.token_scopes[ONE] = {"acme/other"}
    github.out_of_scope_status = status
    for _ in range(5):
        github.add_issue(REPOSITORY)
    client = clients(ONE, TWO)
    address, count = f"{PATH}/issues?per_page=2", 0
    while address:
        page = client.get(address, "the issues")
        count += len(page.body)
        address = page.next_url
    assert count == 5
    assert used(github) == [ONE, TWO, TWO, TWO]


def test_an_issue_is_gone_only_when_every_token_was_told_so(github: LoopbackGitHub, clients: Any) -> None:
    number = github.add_issue(REPOSITORY)
    github.delete_issue(REPOSITORY, number)
    client = clients(ONE, TWO, THREE)
    assert client.look(f"{PATH}/issues/{number}", "the issue").status == 410
    assert sorted(used(github)) == sorted([ONE, TWO, THREE])
    with pytest.raises(SkipError, match="was deleted"):
        client.get(f"{PATH}/issues/{number}", "the issue")


def test_a_410_says_more_than_the_404_of_a_token_without_access(github: LoopbackGitHub, clients: Any) -> None:
    github.token_scopes[TWO] = set()
    number = github.add_issue(REPOSITORY)
    github.delete_issue(REPOSITORY, number)
    assert clients(ONE, TWO).look(f"{PATH}/issues/{number}", "the issue").status == 410
    assert clients(TWO, ONE).look(f"{PATH}/issues/{number}", "the issue").status == 410


def test_a_missing_permission_is_not_believed_to_be_a_missing_issue(github: LoopbackGitHub, clients: Any) -> None:
    github.fail_next(403, token=ONE, message="Resource not accessible by personal access token")
    client = clients(ONE, TWO)
    with pytest.raises(ConfigurationError, match=r"not accessible.*GITHUB_TOKEN read access"):
        client.look(f"{PATH}/issues/77", "issue 77")
    assert used(github) == [ONE, TWO]


def test_a_404_waits_for_the_word_of_a_token_that_rests(github: LoopbackGitHub, clients: Any, clock: Clock) -> None:
    github.token_scopes[ONE] = set()
    github.spend_all(300, token=TWO)
    number = github.add_issue(REPOSITORY)
    assert clients(ONE, TWO).look(f"{PATH}/issues/{number}", "the issue").status == 200
    assert used(github) == [ONE, TWO, TWO]
    assert len(clock.waits) == 1


def test_a_404_of_a_token_that_read_the_repository_needs_no_wait_for_another(
    github: LoopbackGitHub, clients: Any, clock: Clock
) -> None:
    client = clients(ONE, TWO)
    client.get(PATH, WHAT)
    github.spend_all(300, token=TWO)
    assert client.look(f"{PATH}/issues/77", "issue 77").status == 404
    assert client.look(f"{PATH}/issues/78", "issue 78").status == 404
    assert clock.waits == []


def test_a_404_is_not_believed_when_the_token_that_could_see_was_revoked(github: LoopbackGitHub, clients: Any) -> None:
    github.token_scopes[ONE] = set()
    github.revoke_token(TWO)
    number = github.add_issue(REPOSITORY)
    client = clients(ONE, TWO)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"not found.*token 2 of 2 is wrong"):
            client.look(f"{PATH}/issues/{number}", "the issue")


def test_a_token_that_sees_the_repository_is_believed_though_another_one_was_revoked(
    github: LoopbackGitHub, clients: Any
) -> None:
    github.revoke_token(TWO)
    client = clients(ONE, TWO)
    client.get(PATH, WHAT)
    assert client.look(f"{PATH}/issues/77", "issue 77").status == 404


def test_a_failing_server_is_asked_no_oftener_for_having_several_tokens(github: LoopbackGitHub, clients: Any) -> None:
    github.fail_next(502, times=99)
    with pytest.raises(UnavailableError, match="in 5 attempts"):
        clients(ONE, TWO, THREE).get(PATH, WHAT)
    assert len(github.journal) == 5


def test_the_same_token_given_twice_is_one(github: LoopbackGitHub, clients: Any) -> None:
    client = clients(ONE, ONE, "")
    assert client.look(f"{PATH}/issues/77", "issue 77").status == 404
    assert used(github) == [ONE]


# A GitHub App --------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(github: LoopbackGitHub) -> App:
    private, public = make_keys()
    github.add_app(APP_ID, public)
    return App(str(APP_ID), private)


def paths(github: LoopbackGitHub) -> list[str]:
    """Method and address of the requests, in order."""
    return [f"{request.method} {request.path}" for request in github.journal]


def test_an_installation_is_found_by_the_repository_and_its_token_fetched_once(
    github: LoopbackGitHub, clients: Any, app: App
) -> None:
    assert github.app is not None
    installation = github.app.install(REPOSITORY)
    client = clients(Credentials(app=app))
    for _ in range(3):
        assert client.get(PATH, WHAT).body["full_name"] == REPOSITORY
    assert paths(github) == [
        f"GET {PATH}/installation",
        f"POST /app/installations/{installation}/access_tokens",
        *[f"GET {PATH}"] * 3,
    ]
    assert client.counters()["calls"] == 5
    assert client.counters()["rate_limit_remaining"] == 4997


def test_an_installation_of_the_settings_is_not_looked_for(github: LoopbackGitHub, clients: Any, app: App) -> None:
    assert github.app is not None
    installation = github.app.install(REPOSITORY)
    clients(Credentials(app=App(app.app_id, app.private_key, installation))).get(PATH, WHAT)
    assert paths(github) == [f"POST /app/installations/{installation}/access_tokens", f"GET {PATH}"]


def test_each_owner_has_its_installation(github: LoopbackGitHub, clients: Any, app: App) -> None:
    assert github.app is not None
    github.add_repository("other/thing", private=True)
    github.app.install(REPOSITORY, account="acme")
    github.app.install("other/thing", account="other")
    client = clients(Credentials(app=app))
    one = client.get(PATH, WHAT)
    other = client.get("/repos/other/thing", "repository other/thing")
    client.get(PATH, WHAT)
    client.get("/repos/other/thing", "repository other/thing")
    assert one.token_id != other.token_id
    assert [request.status for request in github.journal] == [200, 201, 200, 200, 201, 200, 200, 200]


def test_a_next_page_is_read_by_the_installation_of_its_list(github: LoopbackGitHub, clients: Any, app: App) -> None:
    assert github.app is not None
    github.add_repository("other/thing")
    github.app.install("other/thing", account="other")
    github.app.install(REPOSITORY)
    for _ in range(3):
        github.add_issue(REPOSITORY)
    client = clients(Credentials(app=app))
    client.get("/repos/other/thing", "repository other/thing")
    first = client.get(f"{PATH}/issues?per_page=2", "the issues")
    calls = len(github.journal)
    assert len(client.get(first.next_url, "the issues").body) == 1
    assert len(github.journal) == calls + 1


def test_a_public_repository_without_an_installation_is_read_by_another_one(
    github: LoopbackGitHub, clients: Any, app: App
) -> None:
    assert github.app is not None
    github.add_repository("other/thing")
    github.app.install("acme/rocket")
    github.token_scopes["ghs_70000x0"] = {REPOSITORY, "other/thing"}  # public things are open to any token
    client = clients(Credentials(app=app))
    assert client.get("/repos/other/thing", "repository other/thing").status == 200
    client.get("/repos/other/thing", "repository other/thing")
    assert paths(github)[:2] == ["GET /repos/other/thing/installation", "GET /app/installations"]
    assert paths(github).count("GET /repos/other/thing/installation") == 1


def test_an_installation_token_is_renewed_before_it_expires_by_githubs_clock(
    github: LoopbackGitHub, clients: Any, app: App, clock: Clock
) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY)
    github.advance(5000)  # this machine's clock is behind
    client = clients(Credentials(app=app), deadline=clock.now + 20_000)
    first = client.get(PATH, WHAT)
    clock.advance(3600 - 310)
    client.get(PATH, WHAT)
    assert len(github.app.tokens) == 1
    clock.advance(20)
    renewed = client.get(PATH, WHAT, etag=first.etag, etag_token=first.token_id)
    assert len(github.app.tokens) == 2
    assert renewed.token_id == first.token_id
    assert 401 not in [request.status for request in github.journal[3:]]


@pytest.mark.parametrize("skew", [-5000.0, 5000.0])
def test_a_clock_that_is_wrong_is_set_by_githubs_answer(
    github: LoopbackGitHub, clients: Any, app: App, skew: float
) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY)
    github.advance(skew)
    assert clients(Credentials(app=app)).get(PATH, WHAT).status == 200
    assert [request.status for request in github.journal] == [401, 200, 201, 200]


def test_a_token_that_was_revoked_is_renewed_once(github: LoopbackGitHub, clients: Any, app: App) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY)
    client = clients(Credentials(app=app))
    client.get(PATH, WHAT)
    for _ in range(2):
        github.revoke_token(github.journal[-1].token)
        assert client.get(PATH, WHAT).status == 200
    assert len(github.app.tokens) == 3
    github.fail_next(401, times=2, on=PATH, message="Bad credentials")
    with pytest.raises(ConfigurationError, match=r"401.*installation 70000 of the GitHub App gives no token") as caught:
        client.get(PATH, WHAT)
    assert not secrets_in(str(caught.value))


def test_app_and_tokens_rotate_alike(github: LoopbackGitHub, clients: Any, app: App, clock: Clock) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY)
    github.spend_all(600, token=ONE)
    client = clients(Credentials((ONE,), app))
    assert client.get(PATH, WHAT).status == 200
    assert used(github)[-1].startswith("ghs_")
    github.limit_secondary(used(github)[-1], 300)
    clock.advance(601)
    github.set_window(ONE)
    assert client.get(PATH, WHAT).status == 200
    assert client.get(PATH, WHAT).status == 200
    assert used(github)[-1] == ONE
    assert clock.waits == []


def test_a_limit_on_fetching_a_token_leaves_the_others_to_go_on(
    github: LoopbackGitHub, clients: Any, app: App, clock: Clock
) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY)
    github.set_window(ONE, remaining=5)
    client = clients(Credentials((ONE,), app))
    client.get(PATH, WHAT)
    github.fail_next("secondary", on="access_tokens")
    assert client.get(PATH, WHAT).status == 200
    assert [request.status for request in github.journal] == [200, 200, 403, 200]
    assert clock.waits == []


def test_a_wrong_key_is_named_and_leaves_the_tokens_to_go_on(
    github: LoopbackGitHub, clients: Any, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    github.add_app(APP_ID + 1, make_keys()[1])
    with pytest.raises(ConfigurationError, match=r"GITHUB_APP_ID and its key belong together") as caught:
        clients(Credentials(app=app)).get(PATH, WHAT)
    assert caplog.records == []
    client = clients(Credentials((ONE,), app))
    client.get(PATH, WHAT)
    client.get(PATH, WHAT)
    assert len(caplog.records) == 1
    assert "the tokens go on" in caplog.text
    assert not secrets_in(str(caught.value) + caplog.text)


def test_a_404_is_not_believed_when_the_app_that_could_see_was_refused(
    github: LoopbackGitHub, clients: Any, app: App
) -> None:
    github.add_app(APP_ID + 1, make_keys()[1])
    github.token_scopes[ONE] = set()
    with pytest.raises(ConfigurationError, match=r"not found.*the GitHub App was refused"):
        clients(Credentials((ONE,), app)).look(f"{PATH}/issues/1", "issue 1")


def test_an_app_that_was_removed_is_said_to_be(github: LoopbackGitHub, clients: Any, app: App) -> None:
    assert github.app is not None
    installation = github.app.install(REPOSITORY)
    github.app.installations[installation].suspended = True
    with pytest.raises(ConfigurationError, match=r"gives no token \(403, This installation has been suspended\)"):
        clients(Credentials(app=app)).get(PATH, WHAT)
    github.app.installations.clear()
    with pytest.raises(ConfigurationError, match="installed nowhere"):
        clients(Credentials(app=app)).get(PATH, WHAT)


def test_a_key_that_is_none_is_refused_without_showing_it(github: LoopbackGitHub, clients: Any) -> None:
    broken = "-----BEGIN RSA PRIVATE KEY-----\nnotbase64s3cr3t\n-----END RSA PRIVATE KEY-----\n"
    with pytest.raises(ConfigurationError, match="cannot sign: GITHUB_APP_PRIVATE_KEY must be") as caught:
        clients(Credentials(app=App("1", broken))).get(PATH, WHAT)
    assert "s3cr3t" not in str(caught.value)
    assert github.journal == []


def test_a_missing_package_is_one_line_with_the_way_out(
    clients: Any, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[app\]'"):
        clients(Credentials(app=app)).get(PATH, WHAT)


def test_no_repr_shows_a_secret(clients: Any, app: App) -> None:
    credentials = Credentials((ONE, TWO), app)
    client = clients(credentials)
    requester = client._requester  # the object graph is what could leak
    shown = repr([credentials, app, client, requester, requester.pool, requester.pool.tokens, vars(requester)])
    assert not secrets_in(shown)


# doctor --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(github: LoopbackGitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment that knows the loopback GitHub alone."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "DATABASE_URL", "OPENSEARCH_URL", "DASHBOARDS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_API_URL", github.url)
    monkeypatch.setenv("ISSUETIDE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def github_checks() -> dict[str, tuple[str, str]]:
    """Status and detail of doctor's checks of GitHub, by name."""
    found = run_checks(read_settings())
    return {check.name: (check.status, check.detail) for check in found if check.name.startswith("github")}


@pytest.mark.usefixtures("workplace")
def test_doctor_shows_every_token_by_its_place(github: LoopbackGitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", f"{ONE},{TWO},{THREE}")
    github.set_window(ONE, remaining=4321)
    github.revoke_token(TWO)
    github.spend_all(600, token=THREE)
    checks = github_checks()
    status, detail = checks["github: token 1 of 3"]
    assert status == "ok"
    assert "as user tester; 4,32" in detail
    assert "of 5,000 calls left this hour, all of them again at " in detail
    assert checks["github: token 2 of 3"][0] == "failed"
    assert "token 2 of 3 is wrong" in checks["github: token 2 of 3"][1]
    assert checks["github: token 3 of 3"][0] == "warning"
    assert "; 0 of 5,000 calls" in checks["github: token 3 of 3"][1]
    assert not secrets_in(str(checks))


def test_doctor_shows_the_app_and_what_it_may_not_read(
    github: LoopbackGitHub, workplace: Path, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    assert github.app is not None
    installation = github.app.install(REPOSITORY, account="acme")
    (workplace / "key.pem").write_text(app.private_key)
    monkeypatch.setenv("GITHUB_APP_ID", app.app_id)
    monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY_FILE", "key.pem")
    name = f"github: installation {installation} of the GitHub App"
    github.app.permissions = {"issues": "read", "metadata": "read", "pull_requests": "read"}
    status, detail = github_checks()[name]
    assert status == "ok"
    assert "as App installation acme; " in detail
    github.app.permissions = {"metadata": "read"}
    status, detail = github_checks()[name]
    assert status == "warning"
    assert "may not read issues, pull_requests" in detail


@pytest.mark.usefixtures("workplace")
def test_doctor_takes_a_key_from_the_environment_with_real_or_written_line_ends(
    github: LoopbackGitHub, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    assert github.app is not None
    github.app.install(REPOSITORY, account="acme")
    monkeypatch.setenv("GITHUB_APP_ID", app.app_id)
    for key in (app.private_key, app.private_key.replace("\n", "\\n")):
        monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", key)
        assert "failed" not in [status for status, _ in github_checks().values()]
