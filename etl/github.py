"""The GitHub REST client: one request at a time, paging links, limits, ETags. The only importer of `requests`.

What is believed here of GitHub (docs.github.com, "Rate limits for the REST API" and "Using pagination", and what other
tools measured): a primary limit answers 403 or 429 with `X-RateLimit-Remaining: 0`; a secondary one answers 403 or 429
with `Retry-After`, or with nothing but the words "secondary rate limit" in its body; any other 403 is a missing
permission.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import urlencode, urljoin, urlsplit

import orjson
import requests
from requests.auth import AuthBase

from etl.errors import ConfigurationError, IssuetideError, RateLimitError, SkipError, UnavailableError

API_VERSION = "2022-11-28"
"""Pinned: every supported GitHub Enterprise Server accepts it too. The newer 2026-03-10 only removes fields that this
product does not read (`assignee`, `merge_commit_sha`, `rate`)."""

_REDIRECTS = frozenset({301, 302, 307, 308})
_READ_BYTES = 1 << 20
_MAX_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 60.0
_SECONDARY_SECONDS = 60.0
_LONGEST_SECONDARY_SECONDS = 900.0
_LIMIT_WORDS = ("rate limit", "abuse detection")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of GitHub.

    status: 200, or 304 (nothing changed since the ETag that was sent; `body` is None).
    body: what `decode` made of the bytes. next_url: the link rel="next", verbatim. etag: with its quotes, as received.
    date: GitHub's clock when it answered (the local clock where the header is missing).
    """

    status: int
    body: Any
    next_url: str | None
    etag: str | None
    date: datetime


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt gave nothing usable; `reply` is None where no answer arrived at all."""

    reason: str
    reply: requests.Response | None


class _MissingError(IssuetideError):
    """What was asked for is not there, or not for this token; never leaves `GitHubClient.get`."""


class _TokenAuth(AuthBase):
    """Puts the token into the Authorization header, and nowhere else.

    A session with an `auth` of its own never looks into ~/.netrc, whose entry would silently win over the token; the
    proxies of the environment stay honoured. So it is set without a token too.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class GitHubClient:
    """Reads GitHub's REST API (github.com, GitHub Enterprise, a loopback server) within a deadline.

    api_url: the REST root, without a trailing slash needed ('https://api.github.com', 'https://HOST/api/v3').
    token: None reads anonymously. deadline: a value of `clock` (`time.monotonic`) after which nothing is sent and into
    which every wait must fit. on_wait: told (seconds, reason) before a wait. attempts: how often one request is sent
    when servers or connections fail. read_seconds: the longest silence of the server within an answer.

    Not for several threads at once. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        api_url: str,
        token: str | None,
        deadline: float,
        *,
        on_wait: Callable[[float, str], None] | None = None,
        attempts: int = 5,
        read_seconds: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        token = token.strip() if token else None
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError("GITHUB_TOKEN holds spaces or unprintable characters: copy it again")
        self.api_url = api_url.rstrip("/")
        self._origin = _origin(self.api_url)
        self._token = token
        self._deadline = deadline
        self._on_wait = on_wait
        self._attempts = attempts
        self._read_seconds = read_seconds
        self._sleep = sleep
        self._clock = clock
        self._calls = 0
        self._retries = 0
        self._waited = 0.0
        self._remaining: int | None = None
        self._session = requests.Session()
        self._session.auth = _TokenAuth(token)
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": "issuetide",
                "X-GitHub-Api-Version": API_VERSION,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; may be called twice."""
        self._session.close()

    @property
    def token_id(self) -> str:
        """Twelve digits that tell tokens apart without revealing them ('' for none): ETags differ per token."""
        return blake2b(self._token.encode(), digest_size=6, person=b"issuetide").hexdigest() if self._token else ""

    def counters(self) -> Mapping[str, int]:
        """Requests sent, retries among them, seconds waited for limits and failures, the last known budget left."""
        counters = {"calls": self._calls, "retries": self._retries, "waited_seconds": round(self._waited)}
        if self._remaining is not None:
            counters["rate_limit_remaining"] = self._remaining
        return counters

    def get(
        self,
        address: str,
        what: str,
        params: Mapping[str, str | int] | None = None,
        etag: str | None = None,
        decode: Callable[[bytes], Any] = orjson.loads,
        *,
        may_be_gone: bool = False,
    ) -> Response:
        """GETs one page or object, waiting out limits and retrying failures.

        Args:
            address: a path below the API root ('/repos/o/n'), or an absolute URL on the API's origin.
            what: what is asked for, in words, for messages ('repository o/n').
            params: the query, unless `address` has it already.
            etag: the ETag of the copy that the caller holds; GitHub then may answer 304.
            decode: makes the value of a body; raises ValueError for a broken one, which is then asked for again.
            may_be_gone: one thing of many, deleted or transferred at any time: its 404 is a SkipError too.

        Raises:
            ConfigurationError: 401, 403 for lack of permission, 404, 422, a redirect to nowhere or to another origin,
                a link to another origin.
            RateLimitError: a limit lasts longer than the deadline, or the deadline has passed.
            SkipError: 410, what was asked for is gone (deleted, or issues are switched off).
            UnavailableError: no usable answer within the retries.
        """
        url = self._url(address, params)
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                answer = self._ask(url, what, etag, decode)
            except _MissingError as error:
                raise (SkipError if may_be_gone else ConfigurationError)(str(error)) from None
            if isinstance(answer, Response):
                return answer
            url = self._checked(urljoin(url, answer), what, "a redirect")
        raise UnavailableError(f"GitHub redirected more than {_MAX_REDIRECTS} times for {what}: check GITHUB_API_URL")

    def _url(self, address: str, params: Mapping[str, str | int] | None) -> str:
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

    def _ask(self, url: str, what: str, etag: str | None, decode: Callable[[bytes], Any]) -> Response | str:
        """One address until it answers: the response, or the address of a redirect."""
        failures = limits = 0
        while True:
            answer = self._attempt(url, what, etag, decode)
            if not isinstance(answer, _Failure):
                return answer
            reply = answer.reply
            if reply is not None and (seconds := _limit_seconds(reply, limits)) is not None:
                limits += 1
                self._wait(seconds, f"GitHub's rate limit for {what}", limited=True)
                continue
            if reply is not None and not reply.ok and reply.status_code < 500:
                self._refuse(reply, what)
            failures += 1
            if failures >= self._attempts:
                raise UnavailableError(
                    f"{self.api_url} gave no usable answer for {what} in {failures} attempts, the last: "
                    f"{answer.reason}; check the network and GITHUB_API_URL, the next run goes on from here"
                )
            self._retries += 1
            self._wait(_backoff_seconds(failures, reply), f"{answer.reason}, asking again for {what}", limited=False)

    def _attempt(
        self, url: str, what: str, etag: str | None, decode: Callable[[bytes], Any]
    ) -> "Response | str | _Failure":
        """One request: the response of a 200 or 304, the address of a redirect, or why it was neither."""
        try:
            reply = self._send(url, what, etag)
            # requests' own `content` reads 10 KiB at a time, a third of the CPU that a page costs.
            content = b"".join(reply.iter_content(_READ_BYTES)) if reply.status_code == 200 else reply.content
        except requests.RequestException as error:
            return _Failure(_connection_reason(error, self.api_url), None)
        status = reply.status_code
        if status in _REDIRECTS:
            if location := reply.headers.get("Location"):
                return location
            raise _MissingError(f"GitHub says that {what} has moved ({status}), but not where to: look for it there")
        if status not in {200, 304}:
            return _Failure(f"status {status}", reply)
        try:
            body = decode(content) if status == 200 else None
        except ValueError:
            kind = reply.headers.get("Content-Type", "no Content-Type")[:60]
            return _Failure(f"an answer that is not complete JSON ({kind})", reply)
        next_url = reply.links.get("next", {}).get("url")
        return Response(
            status=status,
            body=body,
            next_url=self._checked(next_url, what, "the next page") if next_url else None,
            etag=reply.headers.get("ETag"),
            date=_date(reply),
        )

    def _send(self, url: str, what: str, etag: str | None) -> requests.Response:
        left = self._deadline - self._clock()
        if left <= 0:
            raise RateLimitError(
                f"the run's deadline passed before {what} was read; the next run goes on from here "
                "(ISSUETIDE_DEADLINE_MINUTES allows more time)"
            )
        self._calls += 1
        reply = self._session.get(
            url,
            headers={"If-None-Match": etag} if etag else None,
            timeout=(min(_CONNECT_SECONDS, left), min(self._read_seconds, left)),
            allow_redirects=False,
            stream=True,
        )
        remaining = reply.headers.get("X-RateLimit-Remaining", "")
        if remaining.isdecimal():
            self._remaining = int(remaining)
        return reply

    def _refuse(self, reply: requests.Response, what: str) -> NoReturn:
        """Raises what a status below 500 that is no limit means."""
        status = reply.status_code
        if status == 410:
            raise SkipError(f"GitHub says that {what} is gone (410): {_said(reply)}")
        if status == 401:
            way_out = (
                "GITHUB_TOKEN is wrong, expired or revoked: make a new one"
                if self._token
                else "this server wants a token: set GITHUB_TOKEN"
            )
            raise ConfigurationError(f"GitHub refused to read {what} (401): {way_out}")
        if status == 403:
            way_out = "give GITHUB_TOKEN read access to it" if self._token else "set GITHUB_TOKEN"
            raise ConfigurationError(f"GitHub does not allow to read {what} (403, {_said(reply)}): {way_out}")
        if status == 404:
            way_out = "that GITHUB_TOKEN may read it" if self._token else "set GITHUB_TOKEN if it is private"
            raise _MissingError(f"{what} was not found at {self.api_url} (404): check the spelling, and {way_out}")
        raise ConfigurationError(
            f"GitHub refused the request for {what} ({status}, {_said(reply)}): check GITHUB_API_URL and the options"
        )

    def _wait(self, seconds: float, reason: str, *, limited: bool) -> None:
        left = self._deadline - self._clock()
        if seconds > left:
            if not limited:
                raise UnavailableError(
                    f"no time is left to wait {seconds:.0f} s: {reason}; the next run goes on from here"
                )
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            hint = "" if self._token else "; with GITHUB_TOKEN set GitHub allows 5,000 calls an hour instead of 60"
            raise RateLimitError(
                f"{reason} asks to wait {_words(seconds)}, until {until:%H:%M:%S} UTC, and this run ends in "
                f"{_words(max(left, 0))}: the next run goes on from here{hint}"
            )
        if self._on_wait is not None:
            self._on_wait(seconds, reason)
        self._sleep(seconds)
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


def _date(reply: requests.Response) -> datetime:
    try:
        return parsedate_to_datetime(reply.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _said(reply: requests.Response) -> str:
    """GitHub's own words, cut short: they go into an error message."""
    try:
        body = orjson.loads(reply.content)
    except (ValueError, requests.RequestException):
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(message.split())[:200] if isinstance(message, str) and message else "no reason given"


def _limit_seconds(reply: requests.Response, waited_before: int) -> float | None:
    """How long a limit asks to wait; None if this answer is no limit.

    A header that names the time is obeyed once. When the same request is limited again, or no header names a time, at
    least 60 seconds pass, doubling up to 15 minutes.
    """
    if reply.status_code not in {403, 429}:
        return None
    doubled = min(_SECONDARY_SECONDS * 2 ** max(waited_before - 1, 0), _LONGEST_SECONDARY_SECONDS)
    asked = 0.0
    retry_after = reply.headers.get("Retry-After", "")
    reset = reply.headers.get("X-RateLimit-Reset", "")
    if retry_after.isdecimal():
        asked = max(float(retry_after), 1.0)
    if reply.headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        # A second more: the reset is given in whole seconds and the budget is back only after it.
        asked = max(asked, int(reset) - _date(reply).timestamp() + 1.0, 1.0)
    if asked:
        return max(asked, doubled) if waited_before else asked
    said = _said(reply).lower()
    is_limit = (
        reply.status_code == 429 or "gh-limited-by" in reply.headers or any(word in said for word in _LIMIT_WORDS)
    )
    return min(_SECONDARY_SECONDS * 2**waited_before, _LONGEST_SECONDARY_SECONDS) if is_limit else None


def _backoff_seconds(failures: int, reply: requests.Response | None) -> float:
    """1, 2, 4 … up to 60 seconds, each shortened at random by up to half so that clients do not march in step."""
    longest = min(_FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1), _LONGEST_BACKOFF_SECONDS)
    retry_after = reply.headers.get("Retry-After", "") if reply is not None else ""
    asked = float(retry_after) if retry_after.isdecimal() else 0.0
    return max(asked, longest * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load, guards nothing)


def _connection_reason(error: requests.RequestException, api_url: str) -> str:
    """What broke, in words of ours: the library's text may name a proxy with its password.

    Raises:
        ConfigurationError: repeating cannot help.
    """
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy of HTTP_PROXY or HTTPS_PROXY could not be used"
    if isinstance(error, requests.exceptions.SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ConfigurationError(
                f"the certificate of {api_url} is not trusted: name its authority in REQUESTS_CA_BUNDLE"
            ) from None
        return "the TLS connection failed"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {_CONNECT_SECONDS:.0f} s"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return "the answer broke off"
    if isinstance(error, requests.ConnectionError):
        return f"the connection failed ({_os_reason(error)})"
    raise ConfigurationError(f"{api_url} cannot be asked ({type(error).__name__}): check GITHUB_API_URL and the proxy")


def _os_reason(error: BaseException) -> str:
    """The operating system's words for a failed connection, from wherever in the chain of causes they are."""
    reason: BaseException | None = error
    for _ in range(10):
        if isinstance(reason, OSError) and reason.strerror:
            return reason.strerror
        first = reason.args[0] if reason is not None and reason.args else None
        inner = getattr(first, "reason", None) or getattr(reason, "reason", None) or first
        outer = reason.__cause__ or reason.__context__ if reason is not None else None
        reason = inner if isinstance(inner, BaseException) else outer
        if reason is None:
            break
    return "it was closed or refused"


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
