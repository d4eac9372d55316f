"""What an answer of GitHub means, or its absence: limits, waits, its own words, why a connection failed.

What is believed here (docs.github.com, "Rate limits for the REST API", and what other tools measured): a primary limit
answers 403 or 429 with `X-RateLimit-Remaining: 0`; a secondary one answers 403 or 429 with `Retry-After`, or with
nothing but the words "secondary rate limit" in its body; any other 403 is a missing permission.
"""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import orjson
import requests

from etl.errors import ConfigurationError

CONNECT_SECONDS = 10.0
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 60.0
_SECONDARY_SECONDS = 60.0
_LONGEST_SECONDARY_SECONDS = 900.0
_LIMIT_WORDS = ("rate limit", "abuse detection")


def date_of(reply: requests.Response) -> datetime:
    """GitHub's clock when it answered; the local one where the header is missing or broken."""
    try:
        return parsedate_to_datetime(reply.headers["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def said(reply: requests.Response) -> str:
    """GitHub's own words, cut short: they go into an error message."""
    try:
        body = orjson.loads(reply.content)
    except (ValueError, requests.RequestException):
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(message.split())[:200] if isinstance(message, str) and message else "no reason given"


def limit_seconds(reply: requests.Response, waited_before: int) -> float | None:
    """How many seconds a limit asks to wait; None if this answer is no limit.

    A header that names the time is obeyed once. When the same token is limited again before it was answered, or no
    header names a time, at least 60 seconds pass, doubling up to 15 minutes.
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
        asked = max(asked, int(reset) - date_of(reply).timestamp() + 1.0, 1.0)
    if asked:
        return max(asked, doubled) if waited_before else asked
    text = said(reply).lower()
    is_limit = (
        reply.status_code == 429 or "gh-limited-by" in reply.headers or any(word in text for word in _LIMIT_WORDS)
    )
    return min(_SECONDARY_SECONDS * 2**waited_before, _LONGEST_SECONDARY_SECONDS) if is_limit else None


def backoff_seconds(failures: int, reply: requests.Response | None) -> float:
    """1, 2, 4 … up to 60 seconds, each shortened at random by up to half so that clients do not march in step."""
    longest = min(_FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1), _LONGEST_BACKOFF_SECONDS)
    retry_after = reply.headers.get("Retry-After", "") if reply is not None else ""
    asked = float(retry_after) if retry_after.isdecimal() else 0.0
    return max(asked, longest * random.uniform(0.5, 1.0))  # noqa: S311  (spreads load, guards nothing)


def connection_reason(error: requests.RequestException, api_url: str) -> str:
    """Why no answer came, in words of ours: the library's text may name a proxy with its password.

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
        return f"no connection within {CONNECT_SECONDS:.0f} s"
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
