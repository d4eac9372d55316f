"""A relay on loopback in front of a real HTTP server, with a hook before and after each request.

It is how a test ends a process in the middle of an export: exactly before or after the real OpenSearch took a chunk.
"""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Hook = Callable[[str, str], None]
"""Takes the method and the path of a request."""


def _nothing(method: str, path: str) -> None: ...


class Relay:
    """Passes every request on to `target`. before, after: called around it; they may raise to drop the connection."""

    def __init__(self, target: str, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.target = urlsplit(target)
        self.before = before
        self.after = after
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.relay = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where the relay listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the standard library's name)
        """Says nothing."""

    def _pass_on(self) -> None:
        relay: Relay = self.server.relay  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            relay.before(self.command, self.path)
            status, headers, answer = self._ask(relay, body)
            relay.after(self.command, self.path)
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)
        except (ConnectionError, http.client.HTTPException):
            self.close_connection = True

    def _ask(self, relay: Relay, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        onward = http.client.HTTPConnection(relay.target.hostname or "", relay.target.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            onward.request(self.command, self.path, body or None, headers)
            reply = onward.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            onward.close()

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _pass_on  # noqa: N815  (the standard library's names)
