"""The gate that every HTTP attempt passes; the rest of it is tested over real HTTP."""

import signal
from typing import Any

import pytest

from etl.classifiers import attempts
from etl.classifiers.attempts import AttemptGate
from etl.classifiers.prices import Spending, load_prices
from etl.errors import BudgetError, RateLimitError
from etl.interrupts import Interrupts

BODY = {"max_tokens": 1_000, "system": [], "tools": [], "messages": []}


class Request:
    """As much of the SDK's request as the gate touches."""

    json = BODY
    stream = False

    def copy(self, *, timeout: float) -> "Request":
        """The same request; the gate bounds its time."""
        assert timeout > 0
        return self


class ConnectError(Exception):
    """Named like the HTTP library's error for a connection that was never made."""


def gate(spending: Spending) -> AttemptGate:
    return AttemptGate(load_prices().facts("claude-haiku-5-5"), spending, None, 120.0)


def test_an_attempt_whose_answer_was_lost_counts_as_paid_in_full() -> None:
    sent: list[Any] = []

    def lose(request: Any) -> Any:
        sent.append(request)
        raise OSError("the connection broke")

    spending = Spending(0.001)
    opened = gate(spending)
    with pytest.raises(OSError, match="broke"):
        opened(Request(), lose)
    assert spending.spent >= 1_000 * 0.50 / 1e6
    with pytest.raises(BudgetError):
        opened(Request(), lose)
    assert len(sent) == 1


def test_a_connection_that_was_never_made_costs_nothing() -> None:
    def refuse(_: Any) -> Any:
        raise OSError("no connection") from ConnectError()

    spending = Spending(0.001)
    opened = gate(spending)
    for _ in range(3):
        with pytest.raises(OSError, match="no connection"):
            opened(Request(), refuse)
    assert spending.spent == 0.0


class Limited:
    """The answer of a service that wants two minutes of rest."""

    status_code = 429
    content = b"{}"
    headers = {"retry-after": "120"}  # noqa: RUF012  (a constant)

    @property
    def http_response(self) -> "Limited":
        """The HTTP library's own, as far as the gate reads it."""
        return self

    def read(self) -> bytes:
        """Its body."""
        return self.content


def test_an_interruption_that_is_put_off_does_not_wait_for_the_end_of_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else ends the wait where the main thread asks, as it does about a batch."""
    ours = Interrupts()
    monkeypatch.setattr(attempts, "interrupts", ours)

    def limit(_: Any) -> Limited:
        ours.handle(signal.SIGTERM, None)
        return Limited()

    def ask() -> None:
        with ours.put_off():
            gate(Spending(None))(Request(), limit)

    with pytest.raises(KeyboardInterrupt) as caught:
        ask()
    assert isinstance(caught.value.__context__, RateLimitError)
    assert "the run is ending" in str(caught.value.__context__)
