"""How far a run is, told on a terminal."""

import io
import signal
import sys

import pytest

from etl.cli import progress
from etl.cli.progress import BarProgress
from etl.interrupts import Interrupts

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    """A terminal that interrupts whoever hides or shows its cursor."""

    def __init__(self, ours: Interrupts, at: str) -> None:
        super().__init__()
        self.ours = ours
        self.at = at

    def isatty(self) -> bool:
        """What rich asks."""
        return True

    def write(self, text: str) -> int:
        """Keeps what is written."""
        if self.at in text:
            self.ours.handle(signal.SIGINT, None)
        return super().write(text)


@pytest.mark.parametrize("at", [HIDDEN, SHOWN])
def test_a_bar_that_is_interrupted_at_its_begin_or_end_gives_the_terminal_back(
    monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    ours = Interrupts()
    terminal = Terminal(ours, at)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "interrupts", ours)
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(KeyboardInterrupt), BarProgress().stage("fetch", 2) as advance:
        advance(1)
    assert sys.stderr is terminal
    told = terminal.getvalue()
    assert told.count(HIDDEN) == told.count(SHOWN) == 1
    assert told.index(HIDDEN) < told.index(SHOWN)
