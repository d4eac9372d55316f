"""The way to an OpenSearch server: its address, a client for it, patience with outages, and its errors in our words.

opensearch-py's own retries are switched off: they come at once, without a pause, so no setting of them outlives a
server that restarts (measured; see docs/architecture.md). Here a failing call is repeated with growing pauses until
the server is back, the patience is used up, or the run's deadline comes.
"""

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.sinks.opensearch_access import (
    Access,
    Login,
    aws_complaint,
    aws_refusal,
    aws_signer,
    causes_of,
    check_access,
    tls_complaint,
    tls_context,
)

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

FIRST_ACTION = "asking for its version"
FIRST_CONTACT_SECONDS = 15.0
"""How long a call that begins something waits for a server that does not answer: long enough for a short hiccup."""
OUTAGE_SECONDS = 180.0
"""How long a server that answered before may be away: a restart under load takes half a minute, a big one longer."""
TOO_LARGE = (
    "raise http.max_content_length in opensearch.yml, or the limit of a proxy in front of it (nginx:"
    " client_max_body_size)"
)
"""What to do where a request is answered with 413."""
_REQUEST_SECONDS = 30.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_DEFAULT_PORTS = {"http": 9200, "https": 443}
_HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?|[0-9a-f:.]*:[0-9a-f:.]*(%[\w.-]+)?")
_CONTENT = re.compile(r"\.? *(Preview of field's value|The prefix of the first immense term).*", re.DOTALL)
_USER = re.compile(r" and User \[.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """One server of OPENSEARCH_URL. Only `name` is ever shown; the credentials stay out of every repr and message."""

    scheme: str
    host: str
    port: int
    path: str
    auth: Login | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The address as shown to people: without path and credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_addresses(url: str) -> tuple[Address, ...]:
    """The servers in `url`: one http:// or https:// URL, or several of one cluster with commas between.

    User name and password may be in it, percent-encoded. Without a port it is 9200 for http and 443 for https, as
    opensearch-py has it.

    Raises:
        ConfigurationError: it is no such URL; the message shows no part of it, since any part may be a password's.
    """
    return tuple(_parse_address(part.strip()) for part in re.split(r",\s*(?=https?://)", url.strip()))


def _parse_address(url: str) -> Address:
    complaint = "OPENSEARCH_URL must look like https://USER:PASSWORD@HOST:PORT; "
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(
            complaint + "a port is a number up to 65535, and the special characters of a password are percent-encoded"
        ) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(complaint + "it has no http:// or https:// with a host behind it")
    if not _HOST.fullmatch(parts.hostname) or port == 0:
        raise ConfigurationError(complaint + "what stands for its host or its port cannot be one")
    if "@" in parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            complaint + "it has a query, a fragment or an @ in its path: percent-encode / ? # @ in its password"
        )
    return Address(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        path=parts.path.strip("/"),
        auth=_credentials(parts),
    )


def _credentials(parts: SplitResult) -> Login | None:
    if parts.username is None and parts.password is None:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


class Outage:
    """One stretch of failures of one piece of work, waited out with growing pauses.

    Made by `Connection.outage`. `wait` pauses after a failure or gives up; `end` says that something succeeded.
    """

    def __init__(self, connection: "Connection", action: str, patience: float) -> None:
        self._connection = connection
        self.action = action
        self._patience = patience
        self._since: float | None = None
        self._pauses = 0

    def wait(self, cause: str, mend: str = "") -> None:
        """Pauses before the next try.

        Raises:
            UnavailableError: the patience is used up or the run's deadline is near; says `cause` and how to mend it.
        """
        connection = self._connection
        now = connection.clock()
        if self._since is None:
            self._since = now
            _log.warning("opensearch fails host=%s action=%r cause=%r", connection.name, self.action, cause)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._pauses)
        end = self._since + self._patience
        if connection.deadline is not None:
            end = min(end, connection.deadline)
        if now + pause > end:
            mend = mend or "check OPENSEARCH_URL and that the server runs, then run again: nothing is lost"
            raise UnavailableError(f"OpenSearch at {connection.name}, {self.action}: {cause}; {mend}")
        self._pauses += 1
        connection.sleep(pause)

    def end(self) -> None:
        """Forgets the failures so far: the server works again."""
        if self._since is not None:
            _log.info("opensearch works again host=%s pauses=%d", self._connection.name, self._pauses)
        self._since = None
        self._pauses = 0


class Connection:
    """A client for the servers of one URL, made when it is first used.

    Args:
        url: as `parse_addresses` takes it.
        access: whom to trust, and as whom to ask; None: the authorities of the machine, and the URL's login.
        deadline: when to stop waiting, in seconds of `clock`; None means that only the patience counts.
        sleep, clock: `time.sleep` and `time.monotonic`, unless a test brings its own.

    Raises:
        ConfigurationError: the URL cannot be used, or does not go with `access`, or a file of that is not there.
    """

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        deadline: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = parse_addresses(url)
        schemes = {address.scheme for address in self.addresses}
        self._access = access or Access()
        check_access(self._access, schemes, has_login=any(address.auth for address in self.addresses))
        self._context = tls_context(self._access) if "https" in schemes else None
        self.deadline = deadline
        self.sleep = sleep
        self.clock = clock
        self._client: OpenSearch | None = None

    @property
    def name(self) -> str:
        """The servers as shown to people, without credentials."""
        return ", ".join(address.name for address in self.addresses)

    @property
    def client(self) -> "OpenSearch":
        """opensearch-py's client, with its own retries, compression and logging off."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def _make_client(self) -> "OpenSearch":
        from opensearchpy import OpenSearch

        # Its loggers write a traceback for every failed request, and whole bodies, among them what a service that
        # refuses a signature quotes of the request. Ours says what matters.
        for name in ("opensearch", "opensearchpy.trace"):
            library = logging.getLogger(name)
            if library.level == logging.NOTSET:
                library.setLevel(logging.ERROR)
        signer = aws_signer(self._access) if self._access.aws_region is not None else None
        hosts = []
        for address in self.addresses:
            host: dict[str, Any] = {"host": address.host, "port": address.port, "use_ssl": address.scheme == "https"}
            if address.path:
                host["url_prefix"] = address.path
            login = address.auth or self._login()
            if login:
                # urllib3 encodes credentials as Latin-1, OpenSearch decodes them as UTF-8: this makes both ends agree.
                host["http_auth"] = tuple(part.encode().decode("latin-1") for part in login)
            elif signer:
                host["http_auth"] = signer
            hosts.append(host)
        return OpenSearch(
            hosts=hosts,
            ssl_context=self._context,
            http_compress=False,
            max_retries=0,
            timeout=int(_REQUEST_SECONDS),
        )

    def _login(self) -> Login | None:
        if self._access.username is None or self._access.password is None:
            return None
        return self._access.username, self._access.password

    def seconds_for(self, longest: float) -> float:
        """How long a request may take: `longest`, less where the deadline is nearer, never below one second."""
        if self.deadline is None:
            return longest
        return max(1.0, min(longest, self.deadline - self.clock()))

    def outage(self, action: str, patience: float) -> Outage:
        """A fresh account of failures while `action` (a clause such as 'writing NAME') is done."""
        return Outage(self, action, patience)

    def call(self, action: str, request: Callable[["OpenSearch"], _T], patience: float = FIRST_CONTACT_SECONDS) -> _T:
        """What `request` gives, repeated while the server does not answer or is overloaded.

        Raises:
            ConfigurationError: credentials, certificates, rights or the server itself are wrong.
            UnavailableError: it kept failing for `patience` seconds or until the deadline.
        """
        from opensearchpy.exceptions import OpenSearchException

        outage = self.outage(action, patience)
        while True:
            try:
                answer = request(self.client)
            except OpenSearchException as error:
                self.wait_or_raise(error, outage)
                continue
            outage.end()
            return answer

    def wait_or_raise(self, error: Exception, outage: Outage) -> None:
        """Pauses where the same request may succeed later.

        Raises:
            StopError: it cannot (in our words), or the outage lasts too long.
        """
        if not is_transient(error):
            raise self._translate(error, outage.action) from None
        outage.wait(describe(error), self._mend(error))

    def _mend(self, error: Exception) -> str:
        cause = _innermost(error)
        # What a server that speaks TLS does with plain HTTP; RemoteDisconnected is a ConnectionResetError, too.
        if isinstance(cause, ConnectionResetError) and self.addresses[0].scheme == "http":
            return "if the server speaks TLS, write https:// in OPENSEARCH_URL; otherwise see its log, and run again"
        # With TLS 1.3 a server refuses a client certificate after the client took the handshake for done. Its reason
        # is then lost whenever the end of the connection is noticed first.
        if self._context is not None and isinstance(cause, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
            return (
                "if the server wants a client certificate, or another one than it got, set OPENSEARCH_CLIENT_CERT_FILE;"
                " otherwise see its log, and run again"
            )
        return ""

    def _translate(self, error: Exception, action: str) -> StopError:
        """Our error for one of opensearch-py's that no repetition mends."""
        about = f"OpenSearch at {self.name}, {action}: "
        settings = _settings_complaint(error)
        if settings:
            return ConfigurationError(about + settings)
        status = status_of(error)
        if status == 401:
            return ConfigurationError(about + self._credentials_complaint())
        kind, reason = _reported(error)
        refusal = aws_refusal(_told(error)) if self._access.aws_region is not None and not kind else ""
        if refusal:
            return ConfigurationError(
                f"{about}AWS refuses the request ({refusal}); check the credentials, OPENSEARCH_AWS_REGION and "
                "OPENSEARCH_AWS_SERVICE, and the access policy"
            )
        if status == 403:
            return _forbidden(about, kind, reason)
        if kind == "index_not_found_exception" and action == FIRST_ACTION:
            return ConfigurationError(f"{about}behind the path of this address is no OpenSearch; check OPENSEARCH_URL")
        if kind == "index_not_found_exception":
            return UnavailableError(f"{about}an index was deleted meanwhile; run again: it is made and filled anew")
        if kind:
            return ConfigurationError(f"{about}the server refuses it: {kind}: {shorten(reason)}")
        if status == 413:
            return ConfigurationError(f"{about}the request is too large (413); {TOO_LARGE}, then run again")
        if status is not None:
            detail = "a redirect" if 300 <= status < 400 else f"status {status}"
            return ConfigurationError(f"{about}the answer is {detail} and not OpenSearch's; check OPENSEARCH_URL")
        return ConfigurationError(f"{about}the answer is not OpenSearch's; check OPENSEARCH_URL")

    def _credentials_complaint(self) -> str:
        if self._access.username is not None:
            return "user name or password are wrong (401); correct OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD"
        if any(address.auth for address in self.addresses):
            return "user name or password are wrong (401); correct them in OPENSEARCH_URL, special characters as %XX"
        if self._access.client_cert_file is not None:
            return "it takes nobody for the name in OPENSEARCH_CLIENT_CERT_FILE (401); let it log in by certificates"
        if self._access.aws_region is not None:
            return "it takes no AWS signature (401); unset OPENSEARCH_AWS_REGION, or correct OPENSEARCH_URL"
        return (
            "it wants a user name and password (401); set OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD, or write "
            "OPENSEARCH_URL as https://USER:PASSWORD@HOST:PORT"
        )


def _forbidden(about: str, kind: str, reason: str) -> StopError:
    """Our error for a 403: a block by the server, whose disk is full, or by a person; a right that is missing."""
    if kind == "index_create_block_exception":
        mend = "free disk space on the server or lift the block, then run again"
        return UnavailableError(f"{about}{shorten(reason)}; {mend}")
    if kind.endswith("block_exception"):
        return ConfigurationError(f"{about}{shorten(reason)}; lift the block, and run again")
    return ConfigurationError(
        f"{about}the user lacks a right ({reason or 'status 403'}); docs/operations.md lists those it needs"
    )


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later: no connection, no answer in time, overloaded, a gateway's 5xx."""
    from opensearchpy.exceptions import ConnectionError as ConnectionFailure

    if isinstance(error, ConnectionFailure):
        return not _settings_complaint(error)
    return status_of(error) in _TRANSIENT


def describe(error: Exception) -> str:
    """What went wrong in a few words, without addresses, bodies or credentials."""
    from opensearchpy.exceptions import ConnectionTimeout

    status = status_of(error)
    if status is not None:
        kind, reason = _reported(error)
        return f"status {status}" + (f", {kind}: {shorten(reason)}" if kind else "")
    if isinstance(error, ConnectionTimeout):
        return "no answer in time"
    cause = _innermost(error)
    if isinstance(cause, socket.gaierror):
        return f"the host name is unknown ({cause.strerror})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return shorten(re.sub(r"^\w+\(.*?\): ", "", str(cause))) or type(cause).__name__


def shorten(reason: str, most: int = 300) -> str:
    """`reason` in one line of at most `most` characters, without the values of documents that the server quotes."""
    line = " ".join(_CONTENT.sub("", reason).split()).rstrip(";")
    half = most // 2 - 1
    return line if len(line) <= most else f"{line[:half]} … {line[-half:]}"


def status_of(error: Exception) -> int | None:
    """The HTTP status of one of opensearch-py's errors; None where no answer came."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _reported(error: Exception) -> tuple[str, str]:
    """The type and reason in the server's JSON; two empty strings where it said none."""
    told = _told(error)
    inner = told.get("error") if isinstance(told, dict) else None
    if not isinstance(inner, dict):
        return "", ""
    causes = inner.get("root_cause")
    if inner.get("type") == "search_phase_execution_exception" and causes and isinstance(causes[0], dict):
        # 'all shards failed' says nothing; what each of them complained of does.
        inner = causes[0]
    return str(inner.get("type", "")), _USER.sub("", str(inner.get("reason", "")))


def _told(error: Exception) -> object:
    """The server's answer, its JSON read."""
    return error.args[2] if len(error.args) > 2 else None


def _innermost(error: Exception) -> BaseException:
    found: BaseException = error
    for cause in causes_of(error):
        found = cause
        if isinstance(cause, OSError) and cause.strerror:
            break
    return found


def _settings_complaint(error: Exception) -> str:
    """What is wrong with TLS or with AWS's credentials, where that is a matter of settings; '' for anything else."""
    if "plain HTTP request was sent to HTTPS port" in str(error.args[1:2]):
        return "it speaks TLS; write https:// in OPENSEARCH_URL"
    return tls_complaint(error) or aws_complaint(error)
