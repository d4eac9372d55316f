"""Interruptions that are raised at once, put off, or no longer put off."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from etl.interrupts import Interrupts


@pytest.fixture
def ours() -> Iterator[Interrupts]:
    """Interruptions of their own, which SIGUSR1 brings."""
    ours = Interrupts()
    before = signal.signal(signal.SIGUSR1, ours.handle)
    yield ours
    signal.signal(signal.SIGUSR1, before)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_signal_is_raised_where_it_arrives(ours: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not ours.waiting


def put_off(ours: Interrupts, *deeds: Callable[[], object]) -> None:
    with ours.put_off():
        for deed in deeds:
            deed()


def test_put_off_it_is_raised_at_the_end_of_the_outermost_block(ours: Interrupts) -> None:
    seen: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        put_off(ours, lambda: put_off(ours, interrupt), lambda: seen.append(ours.waiting))
    assert seen == [True]
    assert not ours.waiting
    put_off(ours)  # it is raised once


def test_it_is_raised_also_where_the_block_ends_with_an_error(ours: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        put_off(ours, interrupt, lambda: int("none"))
    assert isinstance(caught.value.__context__, ValueError)


def test_a_second_signal_is_not_put_off(ours: Interrupts) -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        put_off(ours, interrupt, lambda: done.append("first"), interrupt, lambda: done.append("second"))
    assert done == ["first"]
    put_off(ours)


def test_without_a_signal_nothing_is_raised(ours: Interrupts) -> None:
    put_off(ours, lambda: None)
    with pytest.raises(ValueError, match="none"):
        put_off(ours, lambda: int("none"))
