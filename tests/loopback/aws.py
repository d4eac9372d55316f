"""A loopback Amazon OpenSearch Service: it lets in only requests whose signature (SigV4) it can compute itself.

What was signed is taken from the request as it came in: its raw path and query, the headers that it says are signed,
the bytes of its body. A key, region, service, path, header or body other than those gives another signature.
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.unit.sinks.conftest import OPENSEARCH, Reply, Request

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIALOOPBACK", "loopback-Secret/Key+1", "loopback-session-token"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request"
    f" should have been\n'GET\n/\n\nx-amz-security-token:{TOKEN}\n'"
)


@dataclass
class LoopbackAws:
    """One domain. indices: those made so far. documents: what was written, by id. signed: the requests let in."""

    region: str = "eu-west-1"
    service: str = "es"
    indices: dict[str, Any] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:
        """What the domain answers."""
        wrong = self.complaint(request)
        if wrong:
            return 403, {"message": wrong}
        self.signed.append(f"{request.method} {request.path}")
        path = request.path.partition("?")[0]
        if path == "/":
            return 200, OPENSEARCH
        if path.endswith("/_bulk"):
            return 200, self._write(request.body)
        if path.endswith("/_refresh"):
            return 200, {}
        if request.method == "PUT":
            self.indices[path[1:]] = request.body
            return 200, {"acknowledged": True}
        return 200, {
            name: {"aliases": {}, "mappings": {}, "settings": {"index": {"uuid": name}}} for name in self.indices
        }

    def _write(self, body: bytes) -> dict[str, Any]:
        lines = body.splitlines()
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            self.documents[json.loads(action)["index"]["_id"]] = json.loads(source)
        return {"errors": False, "items": [{"index": {"status": 201}} for _ in lines[::2]]}

    def complaint(self, request: Request) -> str:
        """Why AWS would refuse the request; '' if its signature is right."""
        kind, _, rest = request.headers.get("authorization", "").partition(" ")
        if kind != "AWS4-HMAC-SHA256":
            return "Missing Authentication Token"
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key, date, region, service, end = parts["Credential"].split("/")
        if key != ACCESS_KEY or request.headers.get("x-amz-security-token") != TOKEN:
            return "The security token included in the request is invalid."
        if (region, end) != (self.region, "aws4_request"):
            return f"Credential should be scoped to a valid region, not '{region}'. "
        if service != self.service:
            return f"Credential should be scoped to correct service: '{self.service}'. "
        if request.headers["x-amz-content-sha256"] != hashlib.sha256(request.body).hexdigest():
            return MISMATCH
        names = parts["SignedHeaders"].split(";")
        if not {"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} <= set(names):
            return MISMATCH
        signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, TOKEN), service, region)
        seen = AWSRequest(
            method=request.method,
            url=f"http://{request.headers['host']}{request.path}",
            data=request.body,
            headers={name: request.headers[name] for name in names},
        )
        seen.context["timestamp"] = request.headers["x-amz-date"]
        expected = signer.signature(signer.string_to_sign(seen, signer.canonical_request(seen)), seen)
        return "" if date == request.headers["x-amz-date"][:8] and parts["Signature"] == expected else MISMATCH
