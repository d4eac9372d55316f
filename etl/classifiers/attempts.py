"""What each HTTP attempt at Anthropic passes, retries included: deadline, shared waits, cap on dollars.

Knows the Messages API's bodies and headers, but not the SDK: `AttemptGate` is called by it as middleware.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from etl.classifiers.base import Purse
from etl.classifiers.prices import ModelFacts
from etl.errors import BudgetError, RateLimitError
from etl.interrupts import interrupts
from etl.records import Usage

REQUEST_SECONDS = 90.0
"""The longest single attempt; an answer of this size takes one to five seconds."""
LOOK_UP_SECONDS = 0.5
"""How long an interruption that is put off waits at most until it is seen."""

_BYTES_PER_TOKEN_AT_WORST = 1.5
_HIDDEN_TOKENS = 1_000
_LONGEST_WAITING = 900.0
_ENDING = "the run is ending; this text stays pending"
_SPEND_WORDS = ("usage limit", "spend limit", "credit balance")
_NEVER_CONNECTED = frozenset({"ConnectError", "ConnectTimeout"})


def read_usage(body: Mapping[str, Any], facts: ModelFacts, *, batch: bool = False) -> Usage:
    """The tokens that a message was billed for, and their price; zeros where the body has no `usage`."""
    counts = body.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    fresh, written, read, output = (int(counts.get(name) or 0) for name in names)
    return Usage(fresh, written, read, output, facts.cost(fresh, written, read, output, batch=batch))


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`, or an empty one where it is something else (a proxy's error page)."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the service asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date; None if unsaid."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) / unit)
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            continue
    return None


def never_connected(error: Exception) -> bool:
    """Whether the SDK's error says that no connection was made at all, so that nothing can have been billed."""
    return type(error.__cause__).__name__ in _NEVER_CONNECTED


def speaks_of_money(message: str) -> bool:
    """Whether an error's words are about a spend limit or a balance; some such answers carry no code of their own."""
    return any(words in message.lower() for words in _SPEND_WORDS)


def _spend_limit(body: Mapping[str, Any]) -> str:
    """The code or the first words of an error answer that is about money; '' for any other."""
    error = body.get("error")
    if not isinstance(error, dict):
        return ""
    details = error.get("details")
    code = str(details.get("error_code", "")) if isinstance(details, dict) else ""
    if code.endswith("spend_limit_reached"):
        return code
    message = str(error.get("message", ""))
    return message[:100] if speaks_of_money(message) else ""


def worst_case(body: object, facts: ModelFacts, *, batch: bool = False) -> float:
    """The most that a request with this body can cost: all of it written to the cache, every output token used.

    batch: at the prices of a batch. 0.0 for what is no request for an answer.
    """
    if not isinstance(body, dict) or "max_tokens" not in body:
        return 0.0
    words = json.dumps([body.get("system"), body.get("tools"), body.get("messages")], ensure_ascii=False)
    tokens = int(len(words.encode("utf-8", "replace")) / _BYTES_PER_TOKEN_AT_WORST) + _HIDDEN_TOKENS
    return facts.cost(0, tokens, 0, int(body["max_tokens"]), batch=batch)


class AttemptGate:
    """What each HTTP attempt passes, retries included: deadline, shared waits, the cap on dollars.

    It is the SDK's middleware. The SDK alone would sleep for as long as `retry-after` says, an hour if need be, deaf
    to a stop. An ordinary exception raised here ends its retry loop at once.
    """

    def __init__(self, facts: ModelFacts, purse: Purse, deadline: float | None, max_wait_seconds: float) -> None:
        self.facts = facts
        self.purse = purse
        self.deadline = float("inf") if deadline is None else deadline
        self.max_wait_seconds = max_wait_seconds
        self.stopping = threading.Event()
        self._resume_at = 0.0

    def __call__(self, request: Any, call_next: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (the SDK's own types)
        """Sends one attempt; waits out a 429 and sends it again; gives every other answer to the SDK.

        Raises:
            RateLimitError: the deadline has passed, or the service asks for a longer wait than allowed.
            BudgetError: the attempt could exceed the cap, or a spend limit at the vendor is reached.
        """
        waits = 0
        first_sent = time.monotonic()
        while True:
            self._pause()
            response = self._send(request, call_next)
            if response.status_code != 429 and response.status_code < 500:
                return response
            seconds = self._asked_wait(response.http_response, waits)
            if response.status_code != 429:
                return response
            waits += 1
            if time.monotonic() + seconds - first_sent > _LONGEST_WAITING:
                raise RateLimitError(f"Anthropic kept limiting one request (429) for {_LONGEST_WAITING:.0f} s")
            self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def remaining_seconds(self, at_most: float) -> float:
        """Seconds left until the deadline, at most `at_most`.

        Raises:
            RateLimitError: none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise RateLimitError(
                "the run's deadline has passed; the rest stays pending for the next run (ISSUETIDE_DEADLINE_MINUTES)"
            )
        return min(at_most, left)

    def _pause(self) -> None:
        """Waits while a 429 that any thread got is in force, and no longer once the run is ending."""
        while not self.stopping.is_set() and (seconds := self._resume_at - time.monotonic()) > 0:
            if interrupts.waiting:  # nobody sets `stopping` where the main thread itself asks, as about a batch
                raise RateLimitError(_ENDING)
            self.stopping.wait(min(LOOK_UP_SECONDS, self.remaining_seconds(seconds)))
        if self.stopping.is_set():
            raise RateLimitError(_ENDING)

    def _send(self, request: Any, call_next: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (the SDK's own types)
        seconds = self.remaining_seconds(REQUEST_SECONDS)
        if seconds < REQUEST_SECONDS:
            request = request.copy(timeout=seconds)
        reserved = worst_case(request.json, self.facts)
        self.purse.reserve(reserved)
        dollars = reserved
        try:
            response = call_next(request)
            streamed = request.stream and response.status_code < 300  # the results of a batch: paid for long ago
            content = b"" if streamed else response.http_response.read()
            dollars = read_usage(read_object(content), self.facts).cost_usd if response.status_code < 300 else 0.0
        except Exception as error:
            # A connection that breaks may do so after the request was billed; one never made costs nothing.
            if never_connected(error):
                dollars = 0.0
            raise
        finally:
            self.purse.settle(reserved, dollars)
        return response

    def _asked_wait(self, response: Any, waits: int) -> float:  # noqa: ANN401  (likewise)
        """Seconds to wait before the next attempt, by the answer's header or doubling from one second to thirty."""
        if response.status_code == 429 and (reason := _spend_limit(read_object(response.content))):
            raise BudgetError(
                f"Anthropic refuses further requests: a spend limit is reached ({reason}); the rest stays pending "
                "until the limit is raised in the Anthropic console or the month ends"
            )
        seconds = _retry_after(response.headers)
        if seconds is None:
            return min(30.0, 2.0**waits)
        if seconds > self.max_wait_seconds or time.monotonic() + seconds > self.deadline:
            raise RateLimitError(
                f"Anthropic asks to wait {seconds:.0f} s ({response.status_code}), longer than this run may; "
                "the rest stays pending for the next run (ISSUETIDE_MAX_WAIT_SECONDS, "
                "ISSUETIDE_DEADLINE_MINUTES, ISSUETIDE_THREADS)"
            )
        return seconds
