"""The GitHub REST client: one request at a time, paging links, limits, ETags, several tokens, a GitHub App.

Every token and every installation of an App has limits and ETags of its own. The one with most calls left is asked; one
that has met a limit rests until its window opens, and the next takes over at once. What one is refused (404, 410, 403)
the others are asked for before it is believed: a token that may not read something is told the same as of something
that was deleted.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NoReturn, Self

import orjson

from etl.errors import ConfigurationError, IssuetideError, SkipError, UnavailableError
from etl.github_credentials import Credential, CredentialPool, Credentials, read_tokens
from etl.github_requests import API_VERSION, Question, RefusedError, Requester, Response, Terms

__all__ = ["API_VERSION", "CredentialStatus", "GitHubClient", "Look", "Response", "TooDeepError"]

_MAX_REDIRECTS = 5


class TooDeepError(SkipError):
    """GitHub refuses (422) to give a list any further: its rest must be asked for in another way."""


@dataclass(frozen=True, slots=True)
class Look:
    """What stands at an address, where everything may: the thing itself, a sign to elsewhere, or nothing.

    status: 200, 301, 302, 307, 308, 404 or 410. body: what `decode` made of a 200, else None. location: of a redirect,
    absolute; None where GitHub does not say where to. date: GitHub's clock. said: GitHub's words of a 404 or 410.
    page: of a 200, the whole response, with its link to the next page.
    """

    status: int
    body: Any
    location: str | None
    date: datetime
    said: str = ""
    page: Response | None = None


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """What GitHub says of one token or installation.

    place: 'GITHUB_TOKEN', 'token 2 of 3', 'installation 7 of the GitHub App'. kind: 'user', 'App installation' or
    'anonymous'. account: the user, or on whose account the App is installed; None where it is not known. remaining,
    limit, resets_at: of the primary limit, None where this server has none. problem: why it cannot be used, '' if it
    can.
    """

    place: str
    kind: str
    account: str | None = None
    remaining: int | None = None
    limit: int | None = None
    resets_at: datetime | None = None
    problem: str = ""


class GitHubClient:
    """Reads GitHub's REST API (github.com, GitHub Enterprise, a loopback server) within a deadline.

    api_url: the REST root, without a trailing slash needed ('https://api.github.com', 'https://HOST/api/v3').
    token: one token, several separated by commas, or `Credentials`; None reads anonymously. deadline: a value of
    `clock` (`time.monotonic`) after which nothing is sent and into which every wait must fit. on_wait: told (seconds,
    reason) before a wait. max_calls: how many requests may be sent; None for any number. attempts: how often one
    request is sent when servers or connections fail. read_seconds: the longest silence of the server within an answer.

    Not for several threads at once. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        api_url: str,
        token: str | Credentials | None,
        deadline: float,
        *,
        on_wait: Callable[[float, str], None] | None = None,
        max_calls: int | None = None,
        attempts: int = 5,
        read_seconds: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        credentials = token if isinstance(token, Credentials) else Credentials(read_tokens(token))
        terms = Terms(deadline, on_wait, max_calls, attempts, read_seconds, sleep, clock)
        self._requester = Requester(api_url, CredentialPool(credentials), terms)

    @property
    def api_url(self) -> str:
        """The REST root, without a trailing slash."""
        return self._requester.api_url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; may be called twice."""
        self._requester.close()

    def counters(self) -> Mapping[str, int]:
        """What was used: calls (every request sent), retries, waited_seconds, not_modified (304).

        rate_limit_remaining: the calls left of all tokens whose windows are known; absent where none is.
        """
        return self._requester.counters()

    def get(
        self,
        address: str,
        what: str,
        params: Mapping[str, str | int] | None = None,
        etag: str | None = None,
        decode: Callable[[bytes], Any] = orjson.loads,
        *,
        etag_token: str = "",
        may_be_gone: bool = False,
        may_be_too_deep: bool = False,
    ) -> Response:
        """GETs one page or object, waiting out limits and retrying failures.

        Args:
            address: a path below the API root ('/repos/o/n'), or an absolute URL on the API's origin.
            what: what is asked for, in words, for messages ('repository o/n').
            params: the query, unless `address` has it already.
            etag: the ETag of the copy that the caller holds; GitHub then may answer 304.
            decode: makes the value of a body; raises ValueError for a broken one, which is then asked for again.
            etag_token: `Response.token_id` of that copy: its ETag goes out with this token only, and where that has no
                budget another one asks without the ETag.
            may_be_gone: one thing of many, deleted or transferred at any time: its 404 is a SkipError too.
            may_be_too_deep: a page of a long list: a 422 is a TooDeepError.

        Raises:
            ConfigurationError: 401, 403 for lack of permission, 404, 422, a redirect to nowhere or to another origin,
                a link to another origin.
            BudgetError: `max_calls` are used.
            RateLimitError: a limit lasts longer than the deadline, or the deadline has passed.
            SkipError: 410, what was asked for is gone (deleted, or issues are switched off).
            UnavailableError: no usable answer within the retries.
        """
        url = self._requester.url(address, params)
        for _ in range(_MAX_REDIRECTS + 1):
            question = Question(url, what, self._requester.scope(url), decode, etag, etag_token)
            try:
                answer = self._requester.ask(question)
            except RefusedError as refused:
                _raise_refusal(refused, may_be_gone=may_be_gone, may_be_too_deep=may_be_too_deep)
            if isinstance(answer, Response):
                return answer
            if answer.location is None:
                raise (SkipError if may_be_gone else ConfigurationError)(
                    f"GitHub says that {what} has moved ({answer.status}), but not where to: look for it there"
                )
            url = answer.location
        raise UnavailableError(f"GitHub redirected more than {_MAX_REDIRECTS} times for {what}: check GITHUB_API_URL")

    def look(self, address: str, what: str, decode: Callable[[bytes], Any] = orjson.loads) -> Look:
        """What stands at an address today, without following a redirect; arguments as of `get`.

        That something is not there (404, 410) is believed only after every token that could see it has been told so.

        Raises:
            ConfigurationError: 401, 403 for lack of permission, or a token that could have seen it is not valid any
                more; a redirect to another origin.
            BudgetError, RateLimitError, UnavailableError: as `get`.
        """
        url = self._requester.url(address, None)
        try:
            answer = self._requester.ask(Question(url, what, self._requester.scope(url), decode))
        except RefusedError as refused:
            if refused.status not in {404, 410}:
                _raise_refusal(refused)
            return Look(refused.status, None, None, refused.date, refused.said)
        if isinstance(answer, Response):
            return Look(answer.status, answer.body, None, answer.date, page=answer)
        return Look(answer.status, None, answer.location, answer.date)

    def check_credentials(self) -> list[CredentialStatus]:
        """What GitHub says of each token and each installation of the App, for `issuetide doctor`.

        Raises:
            ConfigurationError: nothing can be asked with at all. RateLimitError, UnavailableError: as `get`.
        """
        found = list(self._requester.pool.tokens)
        app_problem = None
        if self._requester.pool.installations is not None:
            try:
                found += self._requester.pool.installations.listed(self._requester.body_for_app)
            except ConfigurationError as error:
                app_problem = CredentialStatus("the GitHub App", "App installation", problem=str(error))
        statuses = [self._check(credential) for credential in found]
        return [*statuses, app_problem] if app_problem is not None else statuses

    def _check(self, credential: Credential) -> CredentialStatus:
        kind = "user" if credential.identity else "anonymous"
        status = CredentialStatus(credential.place, "App installation" if credential.installation else kind)
        try:
            limits = self._requester.body("/rate_limit", "the rate limit", [credential])
            core = limits.get("resources", {}).get("core", {}) if isinstance(limits, dict) else {}
            reset = core.get("reset")
            status = replace(
                status,
                remaining=core.get("remaining"),
                limit=core.get("limit"),
                resets_at=datetime.fromtimestamp(reset, UTC) if reset else None,
            )
            if credential.installation is not None:
                return self._check_installation(credential.installation, status)
        except ConfigurationError as error:
            return replace(status, problem=str(error))
        if status.kind == "anonymous" or status.remaining == 0:
            return status
        try:
            return replace(status, account=_login_of(self._requester.body("/user", "the token's user", [credential])))
        except ConfigurationError:
            # The token of a workflow at GitHub is an installation's, which may not ask who it is.
            return replace(status, kind="App installation")

    def _check_installation(self, identity: int, status: CredentialStatus) -> CredentialStatus:
        """With the account that an installation is on, and what it lacks."""
        path, what = f"/app/installations/{identity}", f"installation {identity} of the GitHub App"
        body = self._requester.body_for_app(path, what) or {}
        permissions = body.get("permissions") or {}
        missing = [name for name in ("issues", "metadata", "pull_requests") if not permissions.get(name)]
        problem = f"it may not read {', '.join(missing)}" if missing else ""
        return replace(status, account=_login_of(body.get("account")), problem=problem)


def _raise_refusal(refused: RefusedError, *, may_be_gone: bool = False, may_be_too_deep: bool = False) -> NoReturn:
    kind: type[IssuetideError] = ConfigurationError
    if refused.status == 410 or (refused.status == 404 and may_be_gone):
        kind = SkipError
    elif refused.status == 422 and may_be_too_deep:
        kind = TooDeepError
    raise kind(str(refused)) from None


def _login_of(account: Any) -> str | None:  # noqa: ANN401  (whatever JSON it is)
    login = account.get("login") if isinstance(account, dict) else None
    return login if isinstance(login, str) else None
