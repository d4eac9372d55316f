"""Interruptions that are raised at once, put off, let in, or wait for nothing any more."""

import importlib
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from etl.interrupts import Interrupts
from tests.fakes import Clock


class Left(Exception):  # noqa: N818  (an end, no error)
    """Stands for the end of the process."""


class Thing:
    """What a weak reference can lead to."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ours(clock: Clock) -> Iterator[Interrupts]:
    """Interruptions of their own, which SIGUSR1 brings."""
    ours = Interrupts(clock)

    def leave() -> NoReturn:
        ours.waiting = False  # no block ends any more
        raise Left

    ours.leave = leave
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGALRM)}
    signal.signal(signal.SIGUSR1, ours.handle)
    yield ours
    for number, handler in before.items():
        signal.signal(number, handler)


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


def let_in(ours: Interrupts, *deeds: Callable[[], object]) -> None:
    with ours.let_in():
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


def test_without_a_signal_nothing_is_raised(ours: Interrupts) -> None:
    put_off(ours, lambda: let_in(ours))
    with pytest.raises(ValueError, match="none"):
        put_off(ours, lambda: int("none"))


def test_let_in_it_is_raised_where_it_arrives_and_put_off_again_afterwards(ours: Interrupts) -> None:
    done: list[str] = []
    ours.put_off_for_good()
    with pytest.raises(KeyboardInterrupt):
        put_off(ours, lambda: let_in(ours, interrupt, lambda: done.append("after")))
    assert done == []


@pytest.mark.parametrize("outside", ["before", "after"])
def test_outside_of_what_lets_it_in_it_waits(ours: Interrupts, outside: str) -> None:
    done: list[str] = []
    ours.put_off_for_good()
    if outside == "after":
        let_in(ours, lambda: done.append("done"))
        interrupt()  # what is over cannot be interrupted
        assert (done, ours.waiting) == (["done"], True)
        return
    interrupt()
    with pytest.raises(KeyboardInterrupt):
        let_in(ours, lambda: done.append("done"))
    assert done == []


def test_two_signals_at_once_are_one_interruption(ours: Interrupts, clock: Clock) -> None:
    # As `timeout` sends them: to its command, and to the process group that the command is in.
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        put_off(ours, interrupt, interrupt, lambda: done.append("first"))
    clock.now += 0.9
    interrupt()
    assert done == ["first"]


@pytest.mark.parametrize("is_put_off", [True, False])
def test_a_second_interruption_waits_for_nothing(ours: Interrupts, clock: Clock, is_put_off: bool) -> None:
    done: list[str] = []

    def again() -> None:
        clock.now += 1.1
        interrupt()
        done.append("again")

    if is_put_off:
        with pytest.raises(Left):
            put_off(ours, interrupt, again)
        return
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with pytest.raises(Left):
        again()
    assert done == []


def await_it_after(deed: Callable[[], object]) -> None:
    """Does it; an interruption that waits is raised in here."""
    deed()
    time.sleep(60)


def test_an_import_is_not_broken_off(ours: Interrupts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "import os, signal",
        "try:",
        "    os.kill(os.getpid(), signal.SIGUSR1)",
        "except:",
        "    pass  # as libraries do around what they can do without",
        "whole = True",
    )
    (tmp_path / "h_interrupted.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        await_it_after(lambda: importlib.import_module("h_interrupted"))
    assert sys.modules.pop("h_interrupted").whole
    assert not ours.waiting


def test_an_interruption_that_a_callback_swallows_is_raised_after_it(
    ours: Interrupts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", ours.raise_again)
    things = [Thing()]
    watched = weakref.ref(things[0], lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt):
        await_it_after(things.clear)
    assert watched() is None
    assert capsys.readouterr().err == ""


def test_one_that_was_raised_comes_back_where_it_was_lost(ours: Interrupts) -> None:
    def lose() -> None:
        with suppress(KeyboardInterrupt):
            interrupt()
        ours.check()

    ours.check()
    with pytest.raises(KeyboardInterrupt):
        lose()
    with pytest.raises(KeyboardInterrupt):
        let_in(ours)


def test_other_errors_of_callbacks_are_told_as_ever(
    ours: Interrupts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", ours.raise_again)
    things = [Thing()]
    watched = weakref.ref(things[0], lambda _: int("none"))
    things.clear()
    assert watched() is None
    assert not ours.waiting
    assert "ValueError" in capsys.readouterr().err
