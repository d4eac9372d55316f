"""The command `issuetide`: parses, wires, prints, exits. Nobody imports it."""

import gc
import signal
import sys
from types import FrameType

from etl.errors import EXIT_FAILED


def _interrupt(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the signal module's form)
    raise KeyboardInterrupt


def main() -> None:
    """The console script. SIGTERM ends a run as Ctrl-C does: its record is closed, the next run goes on."""
    signal.signal(signal.SIGTERM, _interrupt)
    # Start-up is most of an hour without changes: what imports make stays for good, there is nothing to collect yet.
    gc.disable()
    from etl.cli.app import app

    gc.freeze()
    gc.enable()
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
