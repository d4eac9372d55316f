"""Whom OpenSearch is taken for and who we are to it; the other side is a loopback server with certificates of its own.

Whatever goes wrong: one line that names the setting and the way out, and the secret is nowhere.
"""

import base64
import logging
import ssl
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.sinks.opensearch import OpenSearchSink
from etl.sinks.opensearch_access import Access
from tests.unit.sinks.conftest import OPENSEARCH, Clock, Loopback, Request, make_server, serve

SECRET = "s3cret/Wört:d@€"


@dataclass
class Authority:
    """A certificate authority, its own certificate in a file, and one that nobody knows."""

    ca: trustme.CA
    ca_file: Path
    strange_ca_file: Path
    folder: Path

    def client(self, *, strange: bool = False) -> tuple[Path, Path]:
        """A client's certificate and key as files."""
        made = (trustme.CA() if strange else self.ca).issue_cert("hourly.example", common_name="hourly")
        certificate, key = self.folder / "client.pem", self.folder / "client.key"
        made.cert_chain_pems[0].write_to_path(certificate)
        made.private_key_pem.write_to_path(key)
        return certificate, key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "strange.pem")
    return Authority(ca, tmp_path / "ca.pem", tmp_path / "strange.pem", tmp_path)


def wants_login(request: Request) -> tuple[int, object]:
    """A server that lets in whoever shows the password."""
    told = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
    if told != f"hourly:{SECRET}":
        return 401, "Unauthorized"
    return (200, {**OPENSEARCH, "cluster_uuid": "_na_"}) if request.path == "/" else (404, {})


@contextmanager
def tls_server(authority: Authority, *names: str, expired: bool = False, mutual: bool = False) -> Iterator[Loopback]:
    """A server with a certificate for `names`; mutual: it wants one of its clients, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.now(UTC) - timedelta(days=2)
    made = authority.ca.issue_cert(*(names or ("localhost",)), not_after=past if expired else None)
    made.configure_cert(context)
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.ca.configure_trust(context)
    stub = Loopback(reply=wants_login)
    running = serve(make_server(stub, context))
    next(running)
    try:
        yield stub
    finally:
        for _ in running:
            pass


def refusal(url: str, access: Access, clock: Clock, caplog: pytest.LogCaptureFixture) -> StopError:
    """The error that a run would end with, after looking for the secret everywhere it could show."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StopError) as caught:
        OpenSearchSink(url, "t", access=access, sleep=clock.sleep, clock=clock).prepare()
    error = caught.value
    assert "\n" not in str(error)
    seen: list[str] = [str(error), repr(error), repr(access), caplog.text]
    chain: BaseException | None = error
    while chain is not None:
        seen += [repr(chain.args), *traceback.format_exception(chain, chain=True)]
        chain = chain.__context__
    for secret in (SECRET, quote(SECRET, safe=""), base64.b64encode(f"hourly:{SECRET}".encode()).decode()):
        assert secret not in "\n".join(seen)
    return error


LOGIN: dict[str, Any] = {"username": "hourly", "password": SECRET}


def test_a_login_outside_the_url_arrives_as_it_is_written(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = wants_login
    with pytest.raises(UnavailableError, match="has not formed its cluster yet"):
        OpenSearchSink(loopback.url, "t", access=Access(**LOGIN), sleep=clock.sleep, clock=clock).prepare()
    assert loopback.requests


def test_over_tls_with_the_right_authority_the_server_is_believed(
    authority: Authority, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with tls_server(authority) as server:
        access = Access(ca_file=authority.ca_file, **LOGIN)
        error = refusal(f"https://localhost:{server.port}", access, clock, caplog)
        assert "has not formed its cluster yet" in str(error)
        assert server.requests


@pytest.mark.parametrize("in_url", [True, False])
def test_a_wrong_password_is_told_by_the_setting_that_holds_it(
    loopback: Loopback, clock: Clock, caplog: pytest.LogCaptureFixture, in_url: bool
) -> None:
    loopback.reply = lambda _: (401, "Unauthorized")
    login = f"hourly:{quote(SECRET, safe='')}@" if in_url else ""
    access = Access() if in_url else Access(**LOGIN)
    error = refusal(loopback.url.replace("//", f"//{login}"), access, clock, caplog)
    assert isinstance(error, ConfigurationError)
    wanted = "them in OPENSEARCH_URL, special" if in_url else "OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD"
    assert f"user name or password are wrong (401); correct {wanted}" in str(error)


@pytest.mark.parametrize(
    ("ca", "names", "expired", "host", "message"),
    [
        ("strange.pem", ("localhost",), False, "localhost", "name its authority's PEM file in OPENSEARCH_CA_FILE"),
        (None, ("localhost",), False, "localhost", "name its authority's PEM file in OPENSEARCH_CA_FILE"),
        ("ca.pem", ("other.example",), False, "localhost", "write the host in OPENSEARCH_URL as the certificate has"),
        ("ca.pem", ("localhost",), False, "127.0.0.1", "write the host in OPENSEARCH_URL as the certificate has it"),
        ("ca.pem", ("localhost",), True, "localhost", "(certificate has expired); renew the server's certificate"),
    ],
)
def test_a_certificate_that_does_not_prove_the_server_ends_the_run_before_the_password_is_sent(
    authority: Authority,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    ca: str | None,
    names: tuple[str, ...],
    expired: bool,
    host: str,
    message: str,
) -> None:
    with tls_server(authority, *names, expired=expired) as server:
        access = Access(ca_file=authority.folder / ca if ca else None, **LOGIN)
        error = refusal(f"https://{host}:{server.port}", access, clock, caplog)
        assert server.requests == []
    assert isinstance(error, ConfigurationError)
    assert message in str(error)
    assert clock.pauses == []


def test_http_to_a_server_with_tls_says_what_to_try(
    authority: Authority, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with tls_server(authority) as server:
        error = refusal(server.url, Access(**LOGIN), clock, caplog)
    assert isinstance(error, UnavailableError)
    assert "write https:// in OPENSEARCH_URL" in str(error)


def test_https_to_a_server_without_tls_says_so(
    loopback: Loopback, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    error = refusal(loopback.url.replace("http:", "https:"), Access(**LOGIN), clock, caplog)
    assert isinstance(error, ConfigurationError)
    assert "it speaks plain HTTP, not TLS; write http:// in OPENSEARCH_URL" in str(error)


def test_a_client_certificate_opens_what_is_closed_without(
    authority: Authority, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.client()
    both = authority.folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with tls_server(authority, mutual=True) as server:
        url = f"https://localhost:{server.port}"
        for shown in (
            Access(authority.ca_file, client_cert_file=certificate, client_key_file=key, **LOGIN),
            Access(authority.ca_file, client_cert_file=both, **LOGIN),
        ):
            assert "has not formed its cluster yet" in str(refusal(url, shown, clock, caplog))
        shown = Access(authority.ca_file, client_cert_file=certificate, client_key_file=key)
        assert "takes nobody for the name in OPENSEARCH_CLIENT_CERT_FILE (401)" in str(
            refusal(url, shown, clock, caplog)
        )


@pytest.mark.parametrize("shown", ["none", "strange"])
def test_a_client_certificate_that_is_missing_or_not_trusted_is_told(
    authority: Authority, clock: Clock, caplog: pytest.LogCaptureFixture, shown: str
) -> None:
    certificate, key = authority.client(strange=True)
    with tls_server(authority, mutual=True) as server:
        access = Access(authority.ca_file, **LOGIN)
        if shown == "strange":
            access = Access(authority.ca_file, client_cert_file=certificate, client_key_file=key, **LOGIN)
        error = refusal(f"https://localhost:{server.port}", access, clock, caplog)
        assert server.requests == []
    assert "OPENSEARCH_CLIENT_CERT_FILE" in str(error)
    # Whether the server's reason is read before the end of the connection is up to the network.
    if isinstance(error, ConfigurationError):
        assert "refuses the client certificate, or the lack of one" in str(error)
    else:
        assert "if the server wants a client certificate" in str(error)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ca_file": "nowhere"}, r"OPENSEARCH_CA_FILE .*nowhere is no file"),
        ({"ca_file": "."}, r"OPENSEARCH_CA_FILE .* is no file"),
        ({"ca_file": "text"}, r"OPENSEARCH_CA_FILE .*text: it holds no usable PEM"),
        ({"ca_file": "empty"}, r"OPENSEARCH_CA_FILE .*empty: it holds no usable PEM"),
        ({"client_cert_file": "nowhere"}, r"OPENSEARCH_CLIENT_CERT_FILE .*nowhere is no file"),
        ({"client_cert_file": "client.pem", "client_key_file": "nowhere"}, r"OPENSEARCH_CLIENT_KEY_FILE .* is no file"),
        ({"client_cert_file": "client.pem"}, r"OPENSEARCH_CLIENT_CERT_FILE .*client\.pem: it holds no usable PEM"),
        (
            {"client_cert_file": "client.pem", "client_key_file": "text"},
            r"OPENSEARCH_CLIENT_CERT_FILE or …_KEY_FILE .*client\.pem, .*text: it holds no usable PEM",
        ),
        (
            {"client_cert_file": "client.pem", "client_key_file": "other.key"},
            r"OPENSEARCH_CLIENT_KEY_FILE .*other\.key: the key is not that of OPENSEARCH_CLIENT_CERT_FILE",
        ),
        (
            {"client_cert_file": "client.pem", "client_key_file": "locked.key"},
            r"OPENSEARCH_CLIENT_KEY_FILE .*locked\.key: the key is encrypted; decrypt it",
        ),
        ({"client_key_file": "client.key"}, "OPENSEARCH_CLIENT_KEY_FILE is set without OPENSEARCH_CLIENT_CERT_FILE"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_before_anything_is_asked(
    authority: Authority, files: dict[str, str], message: str
) -> None:
    _, key = authority.client()
    folder = authority.folder
    (folder / "text").write_text("not a certificate")
    (folder / "empty").write_text("")
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(folder / "other.key")
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"locked"),
    )
    (folder / "locked.key").write_bytes(locked)
    paths: dict[str, Any] = {name: folder / file for name, file in files.items()}
    with pytest.raises(ConfigurationError, match=message) as caught:
        OpenSearchSink("https://localhost:1", "t", access=Access(**paths))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "settings", "message"),
    [
        ("https://h", {"username": "hourly"}, "OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD belong together"),
        ("https://h", {"password": SECRET}, "OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD belong together"),
        ("https://a:b@h", LOGIN, "OPENSEARCH_URL holds a user name and OPENSEARCH_USERNAME is set as well"),
        ("https://h", {"username": "a:b", "password": SECRET}, "OPENSEARCH_USERNAME must hold no colon"),
        ("https://h", {"aws_region": "eu-west-1", **LOGIN}, "OPENSEARCH_AWS_REGION signs requests instead"),
        ("https://a:b@h", {"aws_region": "eu-west-1"}, "OPENSEARCH_AWS_REGION signs requests instead"),
        ("http://h", {"client_cert_file": Path("c")}, "OPENSEARCH_CLIENT_CERT_FILE needs TLS"),
    ],
)
def test_settings_that_contradict_each_other_are_named(url: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        OpenSearchSink(url, "t", access=Access(**settings))
    assert SECRET not in str(caught.value)
