"""Requests to GitHub: who sends one, the waits and retries around it, until there is an answer to believe.

`etl.github` is what the rest of the product calls. What an answer means is read in `etl.github_replies`; whom there is
to ask with is in `etl.github_credentials`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import urlencode, urljoin, urlsplit

import orjson
import requests
from requests.auth import AuthBase

from etl.errors import BudgetError, ConfigurationError, IssuetideError, RateLimitError, UnavailableError
from etl.github_credentials import Credential, CredentialPool, dropped_words
from etl.github_replies import CONNECT_SECONDS, backoff_seconds, connection_reason, date_of, limit_seconds, said

_log = logging.getLogger(__name__)

API_VERSION = "2022-11-28"
"""Pinned: every supported GitHub Enterprise Server accepts it too. The newer 2026-03-10 only removes fields that this
product does not read (`assignee`, `merge_commit_sha`, `rate`)."""

_REDIRECTS = frozenset({301, 302, 307, 308})
_REFUSALS = (410, 403, 404)
"""What another token may be answered otherwise; when all are refused, the first of these says most."""
_READ_BYTES = 1 << 20
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Terms:
    """How long and how often GitHub may be asked; as `etl.github.GitHubClient` says."""

    deadline: float
    on_wait: Callable[[float, str], None] | None = None
    max_calls: int | None = None
    attempts: int = 5
    read_seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of GitHub.

    status: 200, or 304 (nothing changed since the ETag that was sent; `body` is None).
    body: what `decode` made of the bytes. next_url: the link rel="next", verbatim. etag: with its quotes, as received.
    date: GitHub's clock when it answered (the local clock where the header is missing).
    token_id: twelve digits that tell whose token was answered without revealing it ('' for none): an ETag is its own.
    """

    status: int
    body: Any
    next_url: str | None
    etag: str | None
    date: datetime
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: of an address, in words for messages, and with which ETag of whose."""

    url: str
    what: str
    scope: str | None = None
    decode: Callable[[bytes], Any] = orjson.loads
    etag: str | None = None
    etag_token: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """A redirect; `location` is None where it leads nowhere."""

    status: int
    location: str | None
    date: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt gave nothing usable.

    reply: None where no answer arrived at all. of_token: it answers the request for a token, not the question.
    """

    reason: str
    reply: requests.Response | None
    of_token: bool = False


class RefusedError(IssuetideError):
    """All tokens were refused; carries the answer that says most. Never leaves the client."""

    def __init__(self, message: str, reply: requests.Response) -> None:
        super().__init__(message)
        self.status = reply.status_code
        self.date = date_of(reply)
        self.said = said(reply)


class _TokenAuth(AuthBase):
    """Puts the token into the Authorization header, and nowhere else.

    A request with an `auth` of its own never looks into ~/.netrc, whose entry would silently win over the token; the
    proxies of the environment stay honoured. So it is set without a token too.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Requester:
    """Sends questions to one API with the credentials of a pool, and counts what it sends."""

    def __init__(self, api_url: str, pool: CredentialPool, terms: Terms) -> None:
        self.api_url = api_url.rstrip("/")
        self.pool = pool
        self._terms = terms
        self._origin = _origin(self.api_url)
        self._clock_offset: float | None = None  # GitHub's clock less ours
        self._calls = 0
        self._retries = 0
        self._waited = 0.0
        self._not_modified = 0
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": "issuetide",
                "X-GitHub-Api-Version": API_VERSION,
            }
        )

    def close(self) -> None:
        """Closes the connections; may be called twice."""
        self._session.close()

    def counters(self) -> Mapping[str, int]:
        """What was used: calls (every request sent), retries, waited_seconds, not_modified (304).

        rate_limit_remaining: the calls left of all tokens whose windows are known; absent where none is.
        """
        counters = {
            "calls": self._calls,
            "retries": self._retries,
            "waited_seconds": round(self._waited),
            "not_modified": self._not_modified,
        }
        remaining = [known.window.remaining for known in self.pool.all_known() if known.window.remaining is not None]
        if remaining:
            counters["rate_limit_remaining"] = sum(remaining)
        return counters

    def url(self, address: str, params: Mapping[str, str | int] | None) -> str:
        """The URL of an address with its query.

        Raises:
            ConfigurationError: it leads away from the API.
        """
        url = address if "://" in address else self.api_url + address
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params)
        return self._checked(url, address.partition("?")[0], "the address")

    def _checked(self, url: str, what: str, origin: str) -> str:
        if _origin(url) != self._origin:
            scheme, host, _ = _origin(url)
            raise ConfigurationError(
                f"{origin} for {what} leads to {scheme}://{host[:100]}, away from the API at {self.api_url}, "
                "and is not followed: check GITHUB_API_URL"
            )
        return url

    def scope(self, url: str) -> str | None:
        """The repository of an address, as `CredentialPool` names it."""
        base = urlsplit(self.api_url).path
        parts = urlsplit(url).path.lower().removeprefix(base.lower()).strip("/").split("/")
        if parts[0] == "repos" and len(parts) > 2:
            return "/".join(parts[:3])
        return "/".join(parts[:2]) if parts[0] == "repositories" and len(parts) > 1 else None

    def _askers(self, scope: str | None) -> list[Credential]:
        """Who may be asked about a repository. An App that cannot be used leaves the tokens to it."""
        installations = self.pool.installations
        if installations is None:
            return self.pool.tokens
        if not installations.itself.dropped:
            try:
                return [
                    *self.pool.tokens,
                    *installations.reaching(scope and self.pool.canonical(scope), self.body_for_app),
                ]
            except ConfigurationError as error:
                if all(token.dropped for token in self.pool.tokens):
                    raise
                installations.itself.dropped = str(error)
                _log.warning("the GitHub App is left out, the tokens go on: %s", error)
        return [*self.pool.tokens, installations.itself]  # dropped: named where the tokens do not reach far enough

    def body(self, path: str, what: str, askers: Sequence[Credential]) -> Any:  # noqa: ANN401  (whatever JSON it is)
        """The JSON at a path, asked by `askers` alone; None for a 404.

        Raises:
            ConfigurationError: they are refused. Else as `ask`.
        """
        try:
            answer = self.ask(Question(self.url(path, None), what), askers)
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise ConfigurationError(str(refused)) from None
        if not isinstance(answer, Response):
            raise ConfigurationError(
                f"GitHub redirected {what} ({answer.status}), which it never does: check GITHUB_API_URL"
            )
        return answer.body

    def body_for_app(self, path: str, what: str) -> Any:  # noqa: ANN401  (whatever JSON it is)
        """As `body`, asked by the App itself."""
        return self.body(path, what, [self.pool.installations.itself] if self.pool.installations else [])

    def ask(self, question: Question, askers: Sequence[Credential] | None = None) -> Response | Moved:
        """One address until it answers.

        Raises:
            RefusedError: nobody is given it.
        """
        askers = self._askers(question.scope) if askers is None else askers
        refused: dict[Credential, requests.Response] = {}
        failures = 0
        while True:
            credential = self._choose(question, askers, refused)
            if credential is None:
                self._refuse(question, askers, refused)
            answer = self._attempt(question, credential)
            if not isinstance(answer, _Failure):
                self._note_answer(question, credential, refused, answer)
                return answer
            if answer.reply is not None and self._is_settled(question, credential, answer, refused):
                continue
            self._time_left(question.what)  # An answer that the deadline cut short is no outage.
            failures += 1
            if failures >= self._terms.attempts:
                raise UnavailableError(
                    f"{self.api_url} gave no usable answer for {question.what} in {failures} attempts, the last: "
                    f"{answer.reason}; check the network and GITHUB_API_URL, the next run goes on from here"
                )
            self._retries += 1
            reason = f"{answer.reason}, asking again for {question.what}"
            self._wait(backoff_seconds(failures, answer.reply), reason, limited=False)

    def _choose(
        self, question: Question, askers: Sequence[Credential], refused: Mapping[Credential, object]
    ) -> Credential | None:
        """Who asks next, after a wait where every window is closed; None where all who could know have been asked.

        Raises:
            ConfigurationError: none is valid any more. RateLimitError: the wait does not fit the deadline.
        """
        if all(credential.dropped for credential in askers):
            raise ConfigurationError(f"GitHub refused to read {question.what} (401): {dropped_words(askers)}")
        now = self._terms.clock()
        etag_token = question.etag_token if question.etag else None
        credential = self.pool.choose(askers, refused, question.scope, etag_token, now)
        if credential is not None and (seconds := credential.window.opens_in(now)):
            self._wait(seconds, f"GitHub's rate limit for {question.what}", limited=True)
        return credential

    def _note_answer(
        self,
        question: Question,
        credential: Credential,
        refused: Mapping[Credential, object],
        answer: Response | Moved,
    ) -> None:
        credential.window.refusals = 0
        credential.renewed = False
        self.pool.note_answer(credential, refused, question.scope)
        if isinstance(answer, Moved):
            return
        self._not_modified += answer.status == 304
        if answer.next_url:
            self.pool.note_same(question.scope, self.scope(answer.next_url))

    def _is_settled(
        self,
        question: Question,
        credential: Credential,
        failure: _Failure,
        refused: dict[Credential, requests.Response],
    ) -> bool:
        """Whether a failed attempt leads to a choice among the others at once, and not to a pause.

        Raises:
            RefusedError: the same would be said to every token.
        """
        reply = failure.reply
        if reply is None or reply.ok or reply.status_code >= 500:
            return False
        window = credential.window
        seconds = limit_seconds(reply, window.refusals)
        if seconds is not None:
            window.refusals += 1
            window.closed_until = max(window.closed_until, self._terms.clock() + seconds)
        elif reply.status_code == 401 and credential.is_renewable and not credential.renewed:
            credential.renewed = True
            credential.forget_token()
            if failure.of_token and self.pool.installations is not None:
                self.pool.installations.itself.forget_token()
        elif failure.of_token or reply.status_code == 401:
            self._drop(credential, reply)
        elif reply.status_code in _REFUSALS:
            refused[credential] = reply
        else:
            raise RefusedError(
                f"GitHub refused the request for {question.what} ({reply.status_code}, {said(reply)}): check "
                "GITHUB_API_URL and the options",
                reply,
            )
        return True

    def _drop(self, credential: Credential, reply: requests.Response) -> None:
        """From now on the others go on without it."""
        if credential.installation is not None:
            credential.dropped = (
                f"{credential.place} gives no token ({reply.status_code}, {said(reply)}): check that the App is still "
                "installed there, and GITHUB_APP_ID and its key"
            )
        elif credential.is_renewable:
            credential.dropped = (
                f"the GitHub App was refused ({said(reply)}): check that GITHUB_APP_ID and its key belong together"
            )
        elif credential.token:
            credential.dropped = f"{credential.place} is wrong, expired or revoked: make a new one"
        else:
            credential.dropped = "this server wants a token: set GITHUB_TOKEN"
        is_app = credential.is_renewable and credential.installation is None
        if not is_app and any(not other.dropped for other in self.pool.all_known()):
            _log.warning("%s (GitHub answered %d); the others go on", credential.dropped, reply.status_code)

    def _attempt(self, question: Question, credential: Credential) -> Response | Moved | _Failure:
        """One request: the response of a 200 or 304, a redirect, or why it was neither."""
        what = question.what
        etag = question.etag if credential.identity == question.etag_token else None
        try:
            token = self._token_of(credential, what)
            if isinstance(token, _Failure):
                return token
            reply = self._send("GET", question.url, what, token, {"If-None-Match": etag} if etag else None)
            # requests' own `content` reads 10 KiB at a time, a third of the CPU that a page costs.
            content = b"".join(reply.iter_content(_READ_BYTES)) if reply.status_code == 200 else reply.content
        except requests.RequestException as error:
            return _Failure(connection_reason(error, self.api_url), None)
        self._learn_window(credential, reply)
        status = reply.status_code
        if status in _REDIRECTS:
            location = reply.headers.get("Location")
            url = self._checked(urljoin(question.url, location), what, "a redirect") if location else None
            return Moved(status, url, date_of(reply))
        if status not in {200, 304}:
            return _Failure(f"status {status}", reply)
        try:
            body = question.decode(content) if status == 200 else None
        except ValueError:
            kind = reply.headers.get("Content-Type", "no Content-Type")[:60]
            return _Failure(f"an answer that is not complete JSON ({kind})", reply)
        next_url = reply.links.get("next", {}).get("url")
        return Response(
            status=status,
            body=body,
            next_url=self._checked(next_url, what, "the next page") if next_url else None,
            etag=reply.headers.get("ETag"),
            date=date_of(reply),
            token_id=credential.identity,
        )

    def _token_of(self, credential: Credential, what: str) -> str | _Failure | None:
        """The token to send; one of an installation is fetched when there is none or it soon expires.

        Raises:
            requests.RequestException: no answer came.
        """
        installations = self.pool.installations
        now = self._server_time()
        if installations is None or now < credential.renew_at:
            return credential.token
        signed = installations.sign(now)
        if credential.installation is None:
            return signed
        url = self.url(f"/app/installations/{credential.installation}/access_tokens", None)
        reply = self._send("POST", url, what, signed, None)
        content = reply.content
        if reply.status_code != 201:
            return _Failure(f"status {reply.status_code} for the token of {credential.place}", reply, of_token=True)
        try:
            body = orjson.loads(content)
            credential.keep_token(body["token"], datetime.fromisoformat(body["expires_at"]).timestamp())
        except (ValueError, TypeError, KeyError):
            return _Failure(f"an answer without a token for {credential.place}", reply)
        return credential.token

    def _server_time(self) -> float:
        """GitHub's clock as of its last answer and the time since, in seconds since 1970; before any, the local one."""
        return time.time() if self._clock_offset is None else self._terms.clock() + self._clock_offset

    def _send(
        self, method: str, url: str, what: str, token: str | None, headers: Mapping[str, str] | None
    ) -> requests.Response:
        left = self._time_left(what)
        if self._terms.max_calls is not None and self._calls >= self._terms.max_calls:
            raise BudgetError(
                f"the {self._terms.max_calls} calls to GitHub that this run may make are used up before reading"
                f" {what}; the next run goes on from here (ISSUETIDE_MAX_CALLS or --max-calls allows more)"
            )
        self._calls += 1
        reply = self._session.request(
            method,
            url,
            headers=headers,
            auth=_TokenAuth(token),
            timeout=(min(CONNECT_SECONDS, left), min(self._terms.read_seconds, left)),
            allow_redirects=False,
            stream=True,
        )
        if "Date" in reply.headers:
            self._clock_offset = date_of(reply).timestamp() - self._terms.clock()
        return reply

    def _time_left(self, what: str) -> float:
        """Seconds until the deadline.

        Raises:
            RateLimitError: there are none.
        """
        left = self._terms.deadline - self._terms.clock()
        if left <= 0:
            raise RateLimitError(
                f"the run's deadline passed before {what} was read; the next run goes on from here "
                "(ISSUETIDE_DEADLINE_MINUTES allows more time)"
            )
        return left

    def _learn_window(self, credential: Credential, reply: requests.Response) -> None:
        remaining, limit, reset = (
            reply.headers.get(f"X-RateLimit-{name}", "") for name in ("Remaining", "Limit", "Reset")
        )
        if remaining.isdecimal():
            # A second more: the reset is given in whole seconds and the budget is back only after it.
            opens = self._terms.clock() + int(reset) - date_of(reply).timestamp() + 1 if reset.isdecimal() else None
            credential.window.learn(int(remaining), int(limit) if limit.isdecimal() else None, opens)

    def _refuse(
        self, question: Question, askers: Sequence[Credential], refused: Mapping[Credential, requests.Response]
    ) -> NoReturn:
        """Raises what it means that everyone who could be asked was refused."""
        what, words = question.what, self.pool.words
        reply = min(refused.values(), key=lambda reply: _REFUSALS.index(reply.status_code))
        status = reply.status_code
        if status == 410:
            raise RefusedError(f"GitHub says that {what} is gone (410): {said(reply)}", reply)
        if status == 403:
            way_out = f"give {words} read access to it" if words else "set GITHUB_TOKEN"
            raise RefusedError(f"GitHub does not allow to read {what} (403, {said(reply)}): {way_out}", reply)
        if dropped_words(askers) and not any(self.pool.sees(credential, question.scope) for credential in refused):
            raise ConfigurationError(
                f"{what} was not found at {self.api_url} (404) by what is left to ask with, and {dropped_words(askers)}"
            )
        way_out = f"that {words} may read it" if words else "set GITHUB_TOKEN if it is private"
        raise RefusedError(f"{what} was not found at {self.api_url} (404): check the spelling, and {way_out}", reply)

    def _wait(self, seconds: float, reason: str, *, limited: bool) -> None:
        left = self._terms.deadline - self._terms.clock()
        if seconds > left:
            if not limited:
                raise UnavailableError(
                    f"no time is left to wait {seconds:.0f} s: {reason}; the next run goes on from here"
                )
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            hint = "" if self.pool.words else "; with GITHUB_TOKEN set GitHub allows 5,000 calls an hour instead of 60"
            raise RateLimitError(
                f"{reason} asks to wait {_words(seconds)}, until {until:%H:%M:%S} UTC, and this run ends in "
                f"{_words(max(left, 0))}: the next run goes on from here{hint}"
            )
        if self._terms.on_wait is not None:
            self._terms.on_wait(seconds, reason)
        self._terms.sleep(seconds)
        self._waited += seconds


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; an address that is none equals no other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "", url, None
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), port or _DEFAULT_PORTS.get(scheme)


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
