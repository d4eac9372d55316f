"""Processes of ours: recognized by what they were started with, never by a number alone.

After a reboot a process id in a file may belong to any program. A process counts as ours only if its command line names
the server's folder.
"""

import os
import signal
import time
from typing import TYPE_CHECKING

from etl.errors import ConfigurationError
from etl.servers import INSTALL_HINT

if TYPE_CHECKING:
    import psutil


def own_process(pid: int, mark: str) -> "psutil.Process | None":
    """The running process `pid` if one of its arguments is `mark`; None for anything else, a zombie included.

    Raises:
        ConfigurationError: psutil, which comes with the extra `servers`, is missing.
    """
    _check_psutil()
    import psutil

    try:
        process = psutil.Process(pid)
        return process if mark in process.cmdline() else None
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return None


def find_process(mark: str) -> "psutil.Process | None":
    """A running process with the argument `mark`, wherever it is; for one whose id was never written down.

    Raises:
        ConfigurationError: as `own_process`.
    """
    _check_psutil()
    import psutil

    for candidate in psutil.process_iter():
        process = own_process(candidate.pid, mark)
        if process is not None:
            return process
    return None


def _check_psutil() -> None:
    try:
        import psutil  # noqa: F401
    except ImportError:
        raise ConfigurationError(f"local servers need more packages: {INSTALL_HINT}") from None


def end_process(process: "psutil.Process", *signals_and_seconds: tuple[signal.Signals, float]) -> bool:
    """Send each signal in turn, waiting its seconds; True as soon as the process is gone.

    Raises:
        ConfigurationError: the process belongs to another user.
    """
    import psutil

    for number, seconds in signals_and_seconds:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            raise ConfigurationError(
                f"process {process.pid} belongs to another user and cannot be stopped: run this as that user or as root"
            ) from None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_gone(process):
                return True
            time.sleep(0.05)
    return False


def is_gone(process: "psutil.Process") -> bool:
    """Has the process ended? One that ended but was never waited for by its parent (a zombie) has."""
    import psutil

    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def server_environment() -> dict[str, str]:
    """The environment of a server: none of the caller's variables, for it outlives the command.

    So no token stays readable in it, and PGPORT, PGDATA, JAVA_TOOL_OPTIONS and the like cannot bend it.
    """
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
