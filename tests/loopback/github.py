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
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.loopback.github_answers import Answer, Fault, FaultKind, Request, answered, faulty
from tests.loopback.github_world import (
    Comment,
    Issue,
    Renderer,
    Repo,
    issue_of,
    replaced,
    seconds_of,
)

_REASONS = {200: "OK", 301: "Moved Permanently", 304: "Not Modified", 403: "Forbidden", 404: "Not Found"}


class LoopbackGitHub:
    """A GitHub on 127.0.0.1; a context manager, or `start` and `stop`. Safe to edit from any thread while it serves.

    base_path: '' as api.github.com, '/api/v3' as an Enterprise server. tokens: the valid ones; None takes any.
    since_inclusive: whether `since` gives rows of that very second (GitHub's documents and users differ).
    list_lag: seconds until a list shows an edit. date_skew: seconds that the Date header is ahead of the clock.
    keep_pages: rendered pages are kept until something changes, for benchmarks that read them again.
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
    ) -> None:
        self.base_path = base_path
        self.tokens = None if tokens is None else set(tokens)
        self.since_inclusive = since_inclusive
        self.list_lag = 0.0
        self.date_skew = 0.0
        self.limit = 5000
        self.remaining = 5000
        self.reset_at = 0.0
        self.limit_status = 403
        self.journal: list[Request] = []
        self.before_response: Callable[[Request], None] | None = None
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.faults: list[Fault] = []
        self.kept_pages: dict[tuple[int, int, str], Answer] | None = {} if keep_pages else None
        self._offset = 0.0
        self._repos: dict[int, Repo] = {}
        self._names: dict[str, int] = {}
        self._ids = 1_000_000
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

    def now(self) -> float:
        """The server's clock, seconds since 1970."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Moves the server's clock; tests give it as the client's `sleep`, so that waits cost no time."""
        self._offset += seconds

    def add_repository(self, full_name: str, *, has_issues: bool = True, private: bool = False) -> Repo:
        """A new, empty repository. A private one is not there for requests without a valid token."""
        with self.lock:
            repo = Repo(10_000 + len(self._repos), full_name, has_issues=has_issues, private=private)
            self._repos[repo.id] = repo
            self._names[full_name.lower()] = repo.id
            return repo

    def repository(self, full_name: str) -> Repo:
        """The repository of that name or former name; KeyError if there is none."""
        return self._repos[self._names[full_name.lower()]]

    def repository_names(self) -> list[str]:
        """The names of today, in the order in which the repositories came."""
        return [repo.full_name for repo in self._repos.values()]

    def remove_repository(self, full_name: str) -> None:
        """From now on GitHub answers 404 for it."""
        with self.lock:
            repo = self.repository(full_name)
            del self._repos[repo.id]
            self._names = {name: key for name, key in self._names.items() if key != repo.id}

    def rename_repository(self, old: str, new: str) -> None:
        """The old name answers 301 from now on."""
        with self.lock:
            repo = self.repository(old)
            repo.full_name = new
            self._names[new.lower()] = repo.id
            repo.touch()

    def load(self, records: Iterable[dict[str, Any]], full_name: str) -> int:
        """Adds issues and comments made of JSON objects (GitHub's, or plain ones); gives how many."""
        with self.lock:
            if full_name.lower() not in self._names:
                self.add_repository(full_name)
            repo = self.repository(full_name)
            count = 0
            for count, record in enumerate(records, 1):  # noqa: B007  (the number of the last is the result)
                if "issue_url" in record:
                    self._load_comment(repo, record)
                    continue
                number = record.get("number") or record.get("issue_number")
                if number is None or number in repo.issues:
                    number = repo.next_number
                self._put(repo, issue_of(record, number, self._next_id()))
            repo.touch()
            return count

    def add_issue(self, full_name: str, title: str = "A title", body: Any = "A body", **fields: Any) -> int:
        """A new issue, opened now unless `created_at` (seconds, or ISO text) says otherwise; gives its number.

        fields: those of `Issue`, and any of the JSON object in `extra`.
        """
        with self.lock:
            repo = self.repository(full_name)
            for name in ("created_at", "updated_at", "closed_at"):
                if isinstance(fields.get(name), str):
                    fields[name] = seconds_of(fields[name])
            created = fields.pop("created_at", int(self.now()))
            fields.setdefault("updated_at", created)
            number = fields.pop("number", repo.next_number)
            issue = Issue(number, self._next_id(), title, body, created, **fields)
            issue.visible_at = self.now() + self.list_lag if self.list_lag else 0.0
            self._put(repo, issue)
            repo.touch()
            return number  # type: ignore[no-any-return]

    def edit_issue(self, full_name: str, number: int, **changes: Any) -> None:
        """Changes fields of `Issue`; `updated_at` becomes now unless it is among them."""
        with self.lock:
            repo = self.repository(full_name)
            changes.setdefault("updated_at", int(self.now()))
            repo.issues[number] = replaced(repo.issues[number], self.now(), self.list_lag, changes)
            repo.touch()

    def close_issue(self, full_name: str, number: int, reason: str = "completed") -> None:
        """Closes it now."""
        self.edit_issue(full_name, number, state="closed", state_reason=reason, closed_at=int(self.now()))

    def relabel_issue(self, full_name: str, number: int, *labels: str) -> None:
        """Replaces its labels."""
        self.edit_issue(full_name, number, labels=labels)

    def delete_issue(self, full_name: str, number: int) -> None:
        """Gone from lists; asked for by number it answers 410."""
        with self.lock:
            repo = self.repository(full_name)
            del repo.issues[number]
            repo.comments = {key: row for key, row in repo.comments.items() if row.number != number}
            repo.gone[number] = (410, "")
            repo.touch()

    def transfer_issue(self, full_name: str, number: int, target: str) -> int:
        """Moves it to another repository, under a new number; the old one answers 301."""
        with self.lock:
            source, there = self.repository(full_name), self.repository(target)
            issue = source.issues.pop(number)
            new = there.next_number
            self._put(there, replace(issue, number=new, updated_at=int(self.now())))
            for key, row in list(source.comments.items()):
                if row.number == number:
                    there.comments[key] = replace(source.comments.pop(key), number=new)
            source.gone[number] = (301, f"/repositories/{there.id}/issues/{new}")
            source.touch()
            there.touch()
            return new

    def add_comment(self, full_name: str, number: int, body: Any = "A comment", **fields: Any) -> int:
        """A comment, written now unless `created_at` (seconds) says otherwise; changes the issue too. Gives its id."""
        with self.lock:
            repo = self.repository(full_name)
            created = fields.pop("created_at", int(self.now()))
            fields.setdefault("updated_at", created)
            comment = Comment(self._next_id(), number, body, created, **fields)
            repo.comments[comment.id] = comment
            issue = repo.issues[number]
            changes = {"comments": issue.comments + 1, "updated_at": max(issue.updated_at, comment.updated_at)}
            repo.issues[number] = replaced(issue, self.now(), self.list_lag, changes)
            repo.touch()
            return comment.id

    def edit_comment(self, full_name: str, identity: int, body: Any) -> None:
        """Changes its text now; the issue's own `updated_at` stays."""
        with self.lock:
            repo = self.repository(full_name)
            repo.comments[identity] = replace(repo.comments[identity], body=body, updated_at=int(self.now()))
            repo.touch()

    def delete_comment(self, full_name: str, identity: int) -> None:
        """Gone from lists; the issue's own `updated_at` stays, as at GitHub."""
        with self.lock:
            repo = self.repository(full_name)
            number = repo.comments.pop(identity).number
            repo.issues[number] = replace(repo.issues[number], comments=repo.issues[number].comments - 1)
            repo.touch()

    def fail_next(self, fault: FaultKind | int, times: int = 1, *, on: str = "", skip: int = 0, **options: Any) -> None:
        """Lets the next `times` requests whose target contains `on` go wrong, after `skip` of them.

        fault: a status; or
            'primary' (403, or `status`, no calls remaining until `seconds` from now),
            'secondary' (403, or `status`; only the text says so, unless `retry_after`),
            'hang' (no answer for `seconds`), 'slow' (the right answer after `seconds`), 'close' (no answer at all),
            'truncated' (half of the announced bytes), 'broken' (half of the JSON, well announced), 'html',
            'bytes' (200 with `body`), 'redirect' (`status`, to `location`),
            'link' (the right answer, its rel="next" being `location`).
        """
        kind: FaultKind = "status" if isinstance(fault, int) else fault
        if isinstance(fault, int):
            options["status"] = fault
        with self.lock:
            self.faults.append(Fault(kind, on, times, skip, options))

    def requests(self, containing: str = "") -> list[Request]:
        """The journal's requests whose target contains a text, in order."""
        return [request for request in list(self.journal) if containing in request.target]

    def take_fault(self, request: Request) -> Fault | None:
        """The first fault that is due for a request, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.on in request.target:
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def spend(self) -> bool:
        """Takes one call of the primary budget; False when it is spent."""
        with self.lock:
            if self.now() >= self.reset_at:
                self.reset_at, self.remaining = self.now() + 3600, self.limit
            if self.remaining <= 0:
                return False
            self.remaining -= 1
            return True

    def spend_all(self, reset_in: float, status: int = 403) -> None:
        """The budget is spent until `reset_in` seconds from now."""
        with self.lock:
            self.remaining, self.reset_at, self.limit_status = 0, self.now() + reset_in, status

    def find(self, path: str) -> tuple[Repo | None, str, str | None]:
        """The repository of a path, what of it is asked for, and where it has moved to."""
        parts = path.strip("/").split("/")
        if parts[0] == "repositories" and len(parts) > 1 and parts[1].isdecimal():
            return self._repos.get(int(parts[1])), "/".join(parts[2:]), None
        if parts[0] != "repos" or len(parts) < 3:
            return None, "", None
        name = f"{parts[1]}/{parts[2]}"
        repo = self._repos.get(self._names.get(name.lower(), 0))
        rest = "/".join(parts[3:])
        if repo is not None and repo.full_name.lower() != name.lower():
            return repo, rest, f"/repositories/{repo.id}" + (f"/{rest}" if rest else "")
        return repo, rest, None

    def _put(self, repo: Repo, issue: Issue) -> None:
        repo.issues[issue.number] = issue
        repo.next_number = max(repo.next_number, issue.number + 1)

    def _load_comment(self, repo: Repo, record: dict[str, Any]) -> None:
        number = int(record["issue_url"].rpartition("/")[2])
        user = record.get("user") or {}
        created = seconds_of(record["created_at"])
        updated = seconds_of(record.get("updated_at") or record["created_at"])
        repo.comments[record["id"]] = Comment(record["id"], number, record["body"], created, updated, user.get("login"))
        if number in repo.issues:
            repo.issues[number].comments += 1

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


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
        self._send(github, answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the standard library's name)
        """Says nothing: the journal has it."""

    def _read(self, github: LoopbackGitHub) -> Request:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        token = headers.get("authorization", "").rpartition(" ")[2]
        path = path[len(github.base_path) :] if path.startswith(f"{github.base_path}/") else "/outside"
        return Request(self.command, path, dict(parse_qsl(parts.query)), self.path, headers, token)

    def _send(self, github: LoopbackGitHub, answer: Answer) -> None:
        self.send_response_only(answer.status, _REASONS.get(answer.status))
        headers = {
            "Date": formatdate(github.now() + github.date_skew, usegmt=True),
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(answer.body)),
            "X-RateLimit-Limit": str(github.limit),
            "X-RateLimit-Remaining": str(github.remaining),
            "X-RateLimit-Reset": str(int(github.reset_at)),
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
