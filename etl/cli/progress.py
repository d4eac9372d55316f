"""How far a run is: bars on a terminal, one log line per stage elsewhere."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import gmtime, monotonic
from typing import Any

from etl.interrupts import interrupts
from etl.report.words import plain_line
from etl.stages.base import Advance, Progress

_log = logging.getLogger("issuetide")
_LONGEST_LINE = 2000


class _Counted:
    """Counts a stage's steps and keeps its newest facts."""

    def __init__(self) -> None:
        self.steps = 0
        self.facts: dict[str, object] = {}

    def __call__(self, steps: int, **facts: object) -> None:
        self.steps += steps
        self.facts.update(facts)


def _log_stage(title: str, counted: _Counted, started: float) -> None:
    facts = {"done": counted.steps, **counted.facts, "seconds": round(monotonic() - started, 2)}
    _log.info(
        "%s %s",
        title,
        " ".join(f"{name}={value}" for name, value in facts.items()),
        extra={"stage": title, "facts": facts},
    )


class LoggedProgress:
    """One log line at the end of each stage, for cron and pipes."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:  # noqa: ARG002  (a bar needs it)
        """A stage that is logged when it ends, however it ends."""
        counted, started = _Counted(), monotonic()
        try:
            yield counted
        finally:
            _log_stage(title, counted, started)


class BarProgress:
    """A bar per stage on the terminal (standard error), which stays there with the stage's numbers."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """A stage shown as a bar; without `total` as a running count."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        bars = Bars(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[facts]}"),
            console=Console(stderr=True),
        )
        counted = _Counted()
        try:
            with interrupts.put_off():  # half begun, its thread would go on drawing over what the command says
                bars.start()
            row = bars.add_task(title, total=total, facts="")

            def advance(steps: int, **facts: object) -> None:
                counted(steps, **facts)
                shown = " ".join(f"{name.replace('_', ' ')} {value}" for name, value in counted.facts.items())
                bars.update(row, advance=steps, facts=shown)

            yield advance
            bars.update(row, total=max(counted.steps, 1) if total is None else total)
            if total is None and not counted.steps:
                bars.update(row, completed=1)
        finally:
            with interrupts.put_off():
                bars.stop()


def make_progress() -> Progress:
    """Bars if a person is looking at standard error, else log lines."""
    return BarProgress() if sys.stderr.isatty() else LoggedProgress()


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and a stage's numbers as fields of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        import json
        from datetime import UTC, datetime

        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if hasattr(record, "facts"):
            entry["message"] = record.__dict__["stage"]
            entry.update(record.__dict__["facts"])
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class LineFormatter(logging.Formatter):
    """One line per record, a UTC time in front: what strangers wrote starts no line of its own and moves no cursor."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (the standard library's name)
        """The record in one line; a traceback, if any, follows it."""
        record.message = plain_line(record.message, _LONGEST_LINE)
        return super().formatMessage(record)


def set_up_logging(log_format: str, *, verbose: bool) -> None:
    """Logs to standard error: `text` with a UTC time in front, or `json`; libraries only from warnings on."""
    handler = logging.StreamHandler()
    if log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        formatter = LineFormatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = gmtime
        handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("issuetide", "etl"):
        # Bars already say on a terminal what the log lines would repeat.
        quiet = sys.stderr.isatty() and log_format == "text" and not verbose
        logging.getLogger(name).setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
