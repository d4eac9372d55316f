"""Ctrl-C and SIGTERM: raised where they arrive, or put off while that would do harm.

An exception that a signal raises at any line of the main thread can leave a lock taken for good: `concurrent.futures`,
`queue` and `logging` take theirs in Python code. A thread that needs it then waits for ever, and the run with it. An
import that it breaks off may swallow it, as callbacks of the interpreter do.
Source: https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SAME_SECONDS = 1.0
"""`timeout` signals its command and then the command's process group: two signals that are one interruption."""
_AGAIN_SECONDS = 0.01


class Interrupts:
    """Whether an interruption is raised at once, or waits. For the main thread: it is the one that gets signals."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = False
        """Whether one was put off: who put it off looks here, and comes to an end."""
        self.leave: Callable[[], NoReturn] = _leave
        """What a second interruption does. No exception: that could wait for a lock which the first one left taken."""
        self._clock = clock
        self._first: float | None = None
        self._is_raised = False
        self._blocks = 0

    def handle(self, signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (the signal module's form)
        """The handler of the signals that end a run. Only the first is an exception: a second waits for nothing.

        Raises:
            KeyboardInterrupt: nothing puts it off.
        """
        now = self._clock()
        if self._first is None:
            self._first = now
            self._raise_or_wait(frame)
        elif now - self._first > _SAME_SECONDS:
            self.leave()

    def raise_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """The hook of `sys` for what a callback of the interpreter raised: an interruption is not lost there."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._look_again_soon()
        else:
            sys.__unraisablehook__(unraisable)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Puts an interruption off to the end of the block, however that ends; blocks may be nested.

        Raises:
            KeyboardInterrupt: at the end of the block, where one waits.
        """
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            self._raise_if_waiting()

    def put_off_for_good(self) -> None:
        """Puts interruptions off from now on, but for the blocks of `let_in`."""
        self._blocks += 1

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Raises interruptions in the block, whatever puts them off around it.

        Raises:
            KeyboardInterrupt: also at the beginning of the block, where one waits, and as `check` at its end.
        """
        blocks, self._blocks = self._blocks, 0
        try:
            self._raise_if_waiting()
            yield
        finally:
            self._blocks = blocks
            self.check()

    def check(self) -> None:
        """For whoever meets another error: it may come of an interruption, as a library may put it in its place.

        Raises:
            KeyboardInterrupt: one was raised before.
        """
        if self._is_raised:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Ignores signals from now on: nothing is left to interrupt, and the interpreter's own end would be by them."""
        for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _raise(self) -> NoReturn:
        self.waiting, self._is_raised = False, True
        raise KeyboardInterrupt

    def _raise_if_waiting(self) -> None:
        if self.waiting and not self._blocks:
            self._raise()

    def _raise_or_wait(self, frame: FrameType | None) -> None:
        if self._blocks:
            self.waiting = True
        elif _is_importing(frame):
            self._look_again_soon()
        else:
            self._raise()

    def _look_again_soon(self) -> None:
        """Puts it off to the end of something that is short, and cannot be interrupted."""
        self.waiting = True
        signal.signal(signal.SIGALRM, self._look_again)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def _look_again(self, signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (likewise)
        if self.waiting:
            self._raise_or_wait(frame)


def _leave() -> NoReturn:
    os._exit(128 + signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


interrupts = Interrupts()
"""Those of this process."""
