"""The command `issuetide`: parses, wires, prints, exits. Nobody imports it."""

import atexit
import gc
import io
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from etl.errors import EXIT_FAILED
from etl.interrupts import interrupts

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """The console script. SIGTERM ends a run as Ctrl-C does: its record is closed, the next run goes on.

    What is before and after the command itself is short and cannot be interrupted (`output.stop` lets it in).
    """
    interrupts.put_off_for_good()
    interrupts.leave = _leave_at_once
    atexit.register(interrupts.end)
    sys.unraisablehook = interrupts.raise_again
    signal.signal(signal.SIGTERM, interrupts.handle)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # in a shell's background it is ignored, and stays so
        signal.signal(signal.SIGINT, interrupts.handle)
    _prepare_streams()
    _check_arguments()
    _run()


def _run() -> None:
    # Start-up is most of an hour without changes: what imports make stays for good, there is nothing to collect yet.
    gc.disable()
    from etl.cli.app import app

    gc.freeze()
    gc.enable()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `issuetide report | head`: whoever reads has what they wanted
        _discard_output()
        _leave(EXIT_FAILED)
    except OSError as error:
        _discard_output()
        _leave(EXIT_FAILED, f"the system refuses: {error}; mend that, then run again: what is stored stays")


def _prepare_streams() -> None:
    """Streams that can be written, whatever was handed over.

    Closed ones (`>&-`) lead nowhere, and letters that the terminal's encoding lacks are shown as `?`: a title with an
    emoji must not end a run under cron or in a C locale.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  (open to the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _check_arguments() -> None:
    """Neither PostgreSQL nor a URL takes bytes that are no text."""
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            _leave(EXIT_USAGE, f"the argument {argument!a} is no text in this locale's encoding; write UTF-8")


def _discard_output() -> None:
    """What is still buffered goes nowhere; else the interpreter tries it once more at its end, and complains."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _leave_at_once() -> NoReturn:
    """The end after a second interruption, as by kill -9: the next run closes the record. No bar hides the cursor."""
    cursor = "\x1b[?25h" if os.isatty(2) else ""
    with suppress(OSError):
        os.write(2, f"{cursor}issuetide: interrupted again, so nothing was waited for; the next run goes on\n".encode())
    os._exit(EXIT_INTERRUPTED)


def _leave(code: int, message: str = "") -> NoReturn:
    if message:
        sys.stderr.write(f"issuetide: {message}\n")
    sys.exit(code)
