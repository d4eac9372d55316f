"""A loopback OpenSearch Dashboards: status, saved objects and settings, answering as 2.19 and 3.x were seen to.

What it keeps from the real one: the header `osd-xsrf`, the file's name, HTTP 200 for a partial failure, missing index
patterns and searches refused while missing visualizations are not, newer migration versions and types refused.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_TYPES = {"visualization": (7, 10, 0), "dashboard": (7, 9, 3), "search": (7, 9, 3), "index-pattern": (7, 6, 0)}

Key = tuple[str, str]


@dataclass
class LoopbackDashboards:
    """A server's state, open to tests.

    objects: what is held, by (type, id), and per tenant. settings: advanced settings by name. login: 'user:password'
    in base64 that every call must carry, or None. lose: objects that an import claims to have written but drops.
    import_answer: what every import is answered instead, status and body.
    """

    url: str
    base_path: str = ""
    login: str | None = None
    tenants: dict[str, dict[Key, dict[str, Any]]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    lose: set[str] = field(default_factory=set)
    import_answer: tuple[int, dict[str, Any]] | None = None
    imports: int = 0

    def objects(self, tenant: str = "") -> dict[Key, dict[str, Any]]:
        """What one tenant holds ('' where nobody names one)."""
        return self.tenants.setdefault(tenant, {})

    def import_file(self, content: bytes, *, overwrite: bool, tenant: str = "") -> tuple[int, dict[str, Any]]:
        """Takes a file; gives the HTTP status and the answer."""
        lines = [json.loads(line) for line in content.decode().split("\n") if line.strip()]
        lines = [line for line in lines if "exportedCount" not in line]
        keys = [(line["type"], line["id"]) for line in lines]
        if len(set(keys)) != len(keys):
            return 400, _failure(400, "Non-unique import objects detected")
        for line in lines:
            for kind, version in line.get("migrationVersion", {}).items():
                if tuple(map(int, version.split("."))) > _TYPES.get(kind, (99, 0, 0)):
                    known = ".".join(map(str, _TYPES[kind]))
                    words = f"Document {line['id']!r} belongs to a more recent version [{version}] when the last known "
                    return 422, _failure(422, f"{words}version is [{known}].")
        held = self.objects(tenant)
        errors = [error for line in lines if (error := self._refusal(line, {*held, *keys}, held, overwrite=overwrite))]
        refused = {(error["type"], error["id"]) for error in errors}
        for line in lines:
            key = (line["type"], line["id"])
            if key not in refused and line["id"] not in self.lose:
                held[key] = line
        answer: dict[str, Any] = {"success": not errors, "successCount": len(lines) - len(errors)}
        return 200, {**answer, "errors": errors} if errors else answer

    def export_file(self, wanted: list[Key], tenant: str = "") -> tuple[int, bytes]:
        """The objects with all they refer to, as lines that end with a summary; gives the HTTP status and the body."""
        held = self.objects(tenant)
        unknown = [key for key in wanted if key not in held]
        if unknown:
            return 400, json.dumps(_failure(400, f"Error fetching objects to export: {unknown[0][1]}")).encode()
        found: dict[Key, dict[str, Any]] = {}
        missing: list[dict[str, str]] = []
        waiting = list(wanted)
        while waiting:
            key = waiting.pop()
            if key in found:
                continue
            if key not in held:
                missing.append({"type": key[0], "id": key[1]})
                continue
            found[key] = {**held[key], "updated_at": "2026-11-20T10:00:00.000Z", "version": "WzQsMV0="}
            waiting += [(entry["type"], entry["id"]) for entry in held[key].get("references", [])]
        # What is referred to comes first, as in the real one; the keys are in another order than ours.
        lines = [dict(sorted(item.items())) for item in reversed(found.values())]
        summary = {"exportedCount": len(lines), "missingRefCount": len(missing), "missingReferences": missing}
        return 200, b"\n".join(json.dumps(line, ensure_ascii=False).encode() for line in [*lines, summary])

    @staticmethod
    def _refusal(
        line: dict[str, Any], known: set[Key], held: dict[Key, dict[str, Any]], *, overwrite: bool
    ) -> dict[str, Any] | None:
        error: dict[str, Any] | None = None
        missing = [
            {"type": reference["type"], "id": reference["id"]}
            for reference in line.get("references", [])
            if reference["type"] in {"index-pattern", "search"} and (reference["type"], reference["id"]) not in known
        ]
        if line["type"] not in _TYPES:
            error = {"type": "unsupported_type"}
        elif missing:
            error = {"type": "missing_references", "references": missing}
        elif not overwrite and (line["type"], line["id"]) in held:
            error = {"type": "conflict"}
        if error is None:
            return None
        return {"type": line["type"], "id": line["id"], "title": line["attributes"].get("title"), "error": error}


def _failure(status: int, message: str) -> dict[str, Any]:
    return {"statusCode": status, "error": "Error", "message": message}


class _Server(ThreadingHTTPServer):
    """An HTTP server that knows the state it serves."""

    state: LoopbackDashboards


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""

    def do_GET(self) -> None:
        self._answer(*self._get() if self._allowed() else (401, _failure(401, "Authentication required")))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._allowed():
            self._answer(401, _failure(401, "Authentication required"))
        elif "osd-xsrf" not in self.headers:
            self._answer(400, _failure(400, "Request must contain a osd-xsrf header."))
        elif self._route() == "/api/saved_objects/_export":
            asked = json.loads(body)
            assert asked["includeReferencesDeep"] is True
            keys = [(entry["type"], entry["id"]) for entry in asked["objects"]]
            self._send(*self.server.state.export_file(keys, self.headers.get("securitytenant", "")))
        else:
            self._answer(*self._post(body))

    def _allowed(self) -> bool:
        return (
            self.server.state.login is None or self.headers.get("Authorization") == f"Basic {self.server.state.login}"
        )

    def _route(self) -> str:
        path = urlsplit(self.path).path
        return (
            path.removeprefix(self.server.state.base_path)
            if path.startswith(self.server.state.base_path)
            else "/nowhere"
        )

    def _get(self) -> tuple[int, dict[str, Any]]:
        if self._route() == "/api/status":
            return 200, {
                "name": "loopback",
                "version": {"number": "3.7.0"},
                "status": {"overall": {"state": "green"}},
            }
        if self._route() == "/api/opensearch-dashboards/settings":
            return 200, {"settings": {name: {"userValue": value} for name, value in self.server.state.settings.items()}}
        if self._route() == "/api/saved_objects/_find":
            kind = parse_qs(urlsplit(self.path).query)["type"][0]
            held = self.server.state.objects(self.headers.get("securitytenant", ""))
            found = [{"type": kind, "id": identifier} for name, identifier in held if name == kind]
            return 200, {"page": 1, "per_page": 1000, "total": len(found), "saved_objects": found}
        return 404, _failure(404, "Not Found")

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        tenant = self.headers.get("securitytenant", "")
        if self._route() == "/api/saved_objects/_import":
            self.server.state.imports += 1
            return self.server.state.import_answer or self._import(body, tenant)
        if self._route() == "/api/saved_objects/_bulk_get":
            held = self.server.state.objects(tenant)
            missing = {"error": {"statusCode": 404, "message": "Not found"}}
            found = [
                held.get((item["type"], item["id"]), {**item, **missing, "attributes": {}}) for item in json.loads(body)
            ]
            return 200, {"saved_objects": found}
        if self._route() == "/api/opensearch-dashboards/settings":
            self.server.state.settings.update(json.loads(body)["changes"])
            return 200, {"settings": {}}
        return 404, _failure(404, "Not Found")

    def _import(self, body: bytes, tenant: str) -> tuple[int, dict[str, Any]]:
        query = parse_qs(urlsplit(self.path).query)
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            if isinstance(part, Message) and part.get_param("name", header="content-disposition") == "file":
                if not str(part.get_filename()).endswith(".ndjson"):
                    return 400, _failure(400, "Invalid file extension")
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                return self.server.state.import_file(
                    content, overwrite=query.get("overwrite") == ["true"], tenant=tenant
                )
        return 400, _failure(400, "[request body.file]: expected value of type [Stream]")

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve_dashboards(
    base_path: str = "", login: str | None = None, context: ssl.SSLContext | None = None
) -> Iterator[LoopbackDashboards]:
    """A running server on a free port of 127.0.0.1; `login` is base64 of 'user:password', with `context` over TLS."""
    state = LoopbackDashboards(url="", base_path=base_path, login=login)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    where = "http://127.0.0.1" if context is None else "https://localhost"
    state.url = f"{where}:{server.server_address[1]}{base_path}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
