"""A loopback HTTP stub for what a real OpenSearch cannot be brought to say at will: 401, 413, a proxy's pages, 503."""

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Reply = tuple[int, Any]
"""Status and body: a str goes as text/html, anything else as JSON."""


@dataclass
class Loopback:
    """The stub's side of the test: `reply` makes each answer, `requests` keeps what was asked."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    reply: Callable[[Request], Reply] = lambda _: (200, {})

    @property
    def url(self) -> str:
        """Where the stub listens."""
        return f"http://127.0.0.1:{self.port}"


OPENSEARCH = {
    "cluster_uuid": "c1",
    "version": {"distribution": "opensearch", "number": "3.8.0"},
    "tagline": "The OpenSearch Project: https://opensearch.org/",
}
"""What the stub answers at / to be taken for an OpenSearch."""


def make_server(loopback: Loopback, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    """The stub's server, over TLS where a context is given; the caller serves and closes it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, or the client's delayed acknowledgement costs 40 ms each time

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            loopback.requests.append(request)
            status, answer = loopback.reply(request)
            told = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("content-type", "text/html" if isinstance(answer, str) else "application/json")
            self.send_header("content-length", str(len(told.encode())))
            self.end_headers()
            self.wfile.write(told.encode())

        do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  (names that http.server asks for)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            del request, client_address  # a client that leaves in the middle is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    loopback.port = server.server_address[1]
    return server


def serve(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A running stub; set its `reply`."""
    stub = Loopback()
    for _ in serve(make_server(stub)):
        yield stub


@dataclass
class Clock:
    """A clock that only its own `sleep` moves."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Moves the clock instead of waiting."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()
