"""The gate that every HTTP attempt passes; the rest of it is tested over real HTTP."""

from typing import Any

import pytest

from etl.classifiers.attempts import AttemptGate
from etl.classifiers.prices import Spending, load_prices
from etl.errors import BudgetError

BODY = {"max_tokens": 1_000, "system": [], "tools": [], "messages": []}


class Request:
    """As much of the SDK's request as the gate touches."""

    json = BODY

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
