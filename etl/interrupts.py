"""Ctrl-C and SIGTERM: raised where they arrive, or put off while other threads work.

An exception that a signal raises at any line of the main thread can leave a lock taken for good: `concurrent.futures`,
`queue` and `logging` take theirs in Python code. A thread that needs it then waits for ever, and the run with it.
Source: https://docs.python.org/3/library/signal.html#note-on-signal-handlers-and-exceptions
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Whether an interruption is raised at once, or waits. For the main thread: it is the one that gets signals."""

    def __init__(self) -> None:
        self.waiting = False
        """Whether one was put off: who put it off looks here, and comes to an end."""
        self._blocks = 0

    def handle(self, signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (the signal module's form)
        """The handler of the signals that end a run. The first of a `put_off` waits, a second no longer.

        Raises:
            KeyboardInterrupt: nothing puts it off, or it was put off once before.
        """
        if self._blocks and not self.waiting:
            self.waiting = True
            return
        self.waiting = False
        raise KeyboardInterrupt

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
            if self.waiting and not self._blocks:
                self.waiting = False
                raise KeyboardInterrupt


interrupts = Interrupts()
"""Those of this process."""
