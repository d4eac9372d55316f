"""A stateful loopback GitHub over real HTTP: lists, paging links, ETags, limits, renames, faults, a journal.

By hand, to try the whole product offline:

    python -m tests.loopback.github --issues dump.jsonl.gz --port 8081

prints the lines to export. `--shape plain` takes objects that have little more than a title, a body and a repository.
Nothing here is imported by the product.
"""

import argparse
import gzip
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.loopback.github_access import Access, Clock
from tests.loopback.github_answers import answered
from tests.loopback.github_edits import World
from tests.loopback.github_faults import Fault, FaultKind, faulty
from tests.loopback.github_http import Answer, Request
from tests.loopback.github_truth import seen_at
from tests.loopback.github_world import Event, Issue, Renderer, Repo

_REASONS = {
    200: "OK",
    201: "Created",
    301: "Moved Permanently",
    304: "Not Modified",
    403: "Forbidden",
    404: "Not Found",
}


class LoopbackGitHub(World, Access):
    """A GitHub on 127.0.0.1; a context manager, or `start` and `stop`. Safe to edit from any thread while it serves.

    What happens there is in `World`, who may ask in `Access`; this serves it, with the faults it is told to.

    base_path: '' as api.github.com, '/api/v3' as an Enterprise server. tokens: the valid ones; None takes any.
    since_inclusive: whether `since` gives rows of that very second (GitHub's documents and users differ).
    keep_pages: rendered pages are kept until something changes, for benchmarks that read them again.
    clock: seconds since 1970; one that stands still and is moved by `advance` makes a run repeatable.
    date_skew: seconds that the Date header is ahead of the clock.
    deepest_row: page-numbered requests beyond that row are answered 422.
    comment_window_rows: a repository-wide comment list of more rows than that is answered 502, whatever its page;
        comment_window_per_page: likewise where more rows are asked for at once.
    transferred_parts_status: what comments, events and timeline of a transferred issue answer: 301 to nowhere, or 404.
    """

    def __init__(
        self,
        *,
        base_path: str = "",
        port: int = 0,
        tokens: Iterable[str] | None = None,
        web: str = "https://github.com",
        since_inclusive: bool = True,
        keep_pages: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        World.__init__(self, Clock(clock))
        Access.__init__(self, self.clock, tokens)
        self.base_path = base_path
        self.since_inclusive = since_inclusive
        self.date_skew = 0.0
        self.deepest_row = 10_000
        self.comment_window_rows: int | None = None
        self.comment_window_per_page: int | None = None
        self.transferred_parts_status: Literal[301, 404] = 301
        self.journal: list[Request] = []
        self.before_response: Callable[[Request], None] | None = None
        self.stopping = threading.Event()
        self.faults: list[Fault] = []
        self.kept_pages: dict[tuple[int, int, str], Answer] | None = {} if keep_pages else None
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.github = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.render = Renderer(self.url, web.rstrip("/"))

    @property
    def url(self) -> str:
        """The API root, for GITHUB_API_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.base_path}"

    def start(self) -> Self:
        """Serves on a thread of its own until `stop`."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends every connection, hanging ones too."""
        self.stopping.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def fail_next(
        self,
        fault: FaultKind | int,
        times: int = 1,
        *,
        on: str = "",
        skip: int = 0,
        token: str | None = None,
        **options: Any,
    ) -> None:
        """Lets the next `times` requests whose target contains `on` go wrong, after `skip` of them.

        token: only those with this token.

        fault: a status; or
            'primary' (403, or `status`, no calls of the token remaining until `seconds` from now),
            'secondary' (403, or `status`; only the text says so, unless `retry_after`, or `limited_by` without text),
            'hang' (no answer for `seconds`), 'slow' (the right answer after `seconds`), 'close' (no answer at all),
            'truncated' (half of the announced bytes), 'broken' (half of the JSON, well announced), 'html',
            'bytes' (200 with `body`), 'redirect' (`status`, to `location`),
            'link' (the right answer, its rel="next" being `location`).
        """
        kind: FaultKind = "status" if isinstance(fault, int) else fault
        if isinstance(fault, int):
            options["status"] = fault
        with self.lock:
            self.faults.append(Fault(kind, on, times, skip, token, options))

    def requests(self, containing: str = "") -> list[Request]:
        """The journal's requests whose target contains a text, in order."""
        return [request for request in list(self.journal) if containing in request.target]

    def take_fault(self, request: Request) -> Fault | None:
        """The first fault that is due for a request, counted down."""
        with self.lock:
            return next((fault for fault in self.faults if fault.strikes(request)), None)

    def reaches(self, token: str, repo: Repo) -> bool:
        """Whether a token may read a repository, under any of its names."""
        made = self.app.tokens.get(token) if self.app is not None else None
        names: Iterable[str] | None = self.token_scopes.get(token)
        if made is not None and names is None:
            names = made.repositories
        return names is None or any(self._names.get(name.lower()) == repo.id for name in names)

    def mentioned_at(self, event: Event) -> tuple[Repo, Issue] | None:
        """The issue that mentions another, wherever it is today; None if it is out of sight."""
        return seen_at(event.about, self._repos)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    github: LoopbackGitHub

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # The client was faster.

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        github = self.server.github
        request = self._read(github)
        with github.lock:
            github.journal.append(request)
        if github.before_response is not None:
            github.before_response(request)
        fault = github.take_fault(request)
        answer = faulty(github, request, fault) if fault else answered(github, request)
        if answer is None:
            self.close_connection = True
            return
        request.status = answer.status
        self._send(github, answer, request.token)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the standard library's name)
        """Says nothing: the journal has it."""

    def _read(self, github: LoopbackGitHub) -> Request:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.get("authorization", "").rpartition(" ")[2]
        path = path[len(github.base_path) :] if path.startswith(f"{github.base_path}/") else "/outside"
        body = self.rfile.read(int(headers.get("content-length", "0")))
        return Request(self.command, path, dict(parse_qsl(parts.query)), self.path, headers, token, body=body)

    def _send(self, github: LoopbackGitHub, answer: Answer, token: str) -> None:
        self.send_response_only(answer.status, _REASONS.get(answer.status))
        # The wrong ones are counted by address, like requests without a token.
        window = github.window_of(token if github.allows(token) else "")
        headers = {
            "Date": formatdate(github.now() + github.date_skew, usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(answer.body)),
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Used": str(window.limit - window.remaining),
            "X-RateLimit-Reset": str(int(window.reset_at)),
            "X-RateLimit-Resource": "core",
            **answer.headers,
        }
        if answer.status == 304:
            del headers["Content-Length"], headers["Content-Type"]
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        if answer.cut:
            self.wfile.flush()
            self.close_connection = True


def read_json_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a .json (one array) or .jsonl file, gzip or not."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if data.lstrip().startswith(b"["):
        yield from json.loads(data)
    else:
        yield from (json.loads(line) for line in data.splitlines() if line.strip())


def repository_name(record: Mapping[str, Any], shape: str, default: str) -> str:
    """Which repository an object of a file belongs to; plain ones say it in `repo`, or by a page's address in `url`."""
    given = record.get("repository")
    if isinstance(given, dict) and "full_name" in given:
        return str(given["full_name"])
    if shape == "plain" and record.get("repo"):
        return str(record["repo"])
    for key in ("repository_url", "issue_url", "html_url", "url"):
        parts = urlsplit(str(record.get(key) or "")).path.removeprefix("/repos").strip("/").split("/")
        if len(parts) >= 2:
            return f"{parts[0]}/{parts[1]}"
    return default


def load_file(github: LoopbackGitHub, path: Path, shape: str, default: str) -> int:
    """Puts a file's objects into the server; gives how many. Plain ones keep the number that their `url` ends in."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for record in read_json_objects(path):
        if shape == "plain" and "number" not in record and "issue_number" not in record:
            end = str(record.get("url", "")).rpartition("/")[2]
            record = record | ({"number": int(end)} if end.isdecimal() else {})
        by_name.setdefault(repository_name(record, shape, default), []).append(record)
    return sum(github.load(records, name) for name, records in by_name.items())


@contextmanager
def _until_told(github: LoopbackGitHub) -> Iterator[None]:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: github.stopping.set())
    with github:
        yield
        github.stopping.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves files of issues until interrupted."""
    parser = argparse.ArgumentParser(description="A loopback GitHub that serves the issues of files.")
    parser.add_argument("--issues", action="append", type=Path, required=True, metavar="FILE", help="may be repeated")
    parser.add_argument(
        "--shape", choices=("github", "plain"), default="github", help="plain: title, body, repo or url"
    )
    parser.add_argument("--repo", default="example/issues", help="for objects that name no repository")
    parser.add_argument("--port", type=int, default=8081, help="0: any free one")
    options = parser.parse_args(arguments)
    github = LoopbackGitHub(port=options.port)
    count = sum(load_file(github, path, options.shape, options.repo) for path in options.issues)
    with _until_told(github):
        print(f"# {count} objects in: {' '.join(github.repository_names())}")  # noqa: T201
        print(f"export GITHUB_API_URL={github.url}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
