"""Who we are to an OpenSearch server, and whom we take for it: TLS, a login, a client certificate, AWS signatures.

What can be wrong with it is found here, before anything is sent, and named by its setting. No password, key or token is
part of any message or repr.
"""

import logging
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from etl.errors import ConfigurationError, install_words

Login = tuple[str, str]
"""User name and password."""

_AWS_HINT = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them (that they are"
    " needed says OPENSEARCH_AWS_REGION)"
)
_NOT_YET_VALID, _EXPIRED = 9, 10  # OpenSSL's X509_V_ERR_…
_WRONG_NAMES = frozenset({62, 64})  # of a host, of an address


@dataclass(frozen=True, slots=True)
class Access:
    """What the settings OPENSEARCH_… give beside the address.

    ca_file: the only certificate authorities to trust (PEM); None: those of the machine, and Mozilla's by certifi.
    username, password: a login that is not in the URL. client_cert_file, client_key_file: a certificate to show (PEM);
    without a key file the key is in the other one. aws_region: requests are signed (SigV4) for this region and
    aws_service, with what botocore finds: variables, profiles, roles.
    """

    ca_file: Path | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    aws_region: str | None = None
    aws_service: Literal["es", "aoss"] = "es"


def check_access(access: Access, schemes: Iterable[str], *, has_login: bool) -> None:
    """Passes if `access` makes sense for addresses of these `schemes`; has_login: one is in the URL already.

    Raises:
        ConfigurationError: two settings contradict each other, or one lacks another or its file.
    """
    if (access.username is None) != (access.password is None):
        raise ConfigurationError("OPENSEARCH_USERNAME and OPENSEARCH_PASSWORD belong together: set both, or neither")
    if access.username is not None and has_login:
        raise ConfigurationError(
            "OPENSEARCH_URL holds a user name and OPENSEARCH_USERNAME is set as well: write them in one place only"
        )
    if access.username is not None and ":" in access.username:
        raise ConfigurationError("OPENSEARCH_USERNAME must hold no colon: HTTP cannot tell it from the password's")
    if access.aws_region is not None and (has_login or access.username is not None):
        raise ConfigurationError(
            "OPENSEARCH_AWS_REGION signs requests instead of sending a user name and password: take either out"
        )
    if access.client_key_file is not None and access.client_cert_file is None:
        raise ConfigurationError("OPENSEARCH_CLIENT_KEY_FILE is set without OPENSEARCH_CLIENT_CERT_FILE: set both")
    if access.client_cert_file is not None and "http" in schemes:
        raise ConfigurationError("OPENSEARCH_CLIENT_CERT_FILE needs TLS: write https:// in OPENSEARCH_URL")
    for name, path, content in (
        ("OPENSEARCH_CA_FILE", access.ca_file, "the authorities"),
        ("OPENSEARCH_CLIENT_CERT_FILE", access.client_cert_file, "your certificate"),
        ("OPENSEARCH_CLIENT_KEY_FILE", access.client_key_file, "its key"),
    ):
        if path is not None:
            _check_file(name, path, content)


def _check_file(name: str, path: Path, content: str) -> None:
    if not path.is_file():
        raise ConfigurationError(f"{name} {path} is no file: name a PEM file with {content}")


def check_ca_file(path: Path) -> None:
    """Passes if `path`, as OPENSEARCH_CA_FILE names it, holds certificate authorities.

    Raises:
        ConfigurationError: it does not, or cannot be read.
    """
    _check_file("OPENSEARCH_CA_FILE", path, "the authorities")
    tls_context(Access(ca_file=path))


def tls_context(access: Access) -> ssl.SSLContext:
    """TLS 1.2 or newer that trusts and shows what `access` says; the server's certificate and name are verified.

    Raises:
        ConfigurationError: a file cannot be read, is no PEM, or key and certificate do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
        if access.ca_file is None:
            import certifi

            context.load_verify_locations(certifi.where())
    except OSError as error:
        raise _unusable("OPENSEARCH_CA_FILE", access.ca_file, error, "certificate authorities") from None
    if access.client_cert_file is not None:
        _show_certificate(context, access.client_cert_file, access.client_key_file)
    return context


def _show_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    asked = []

    def password() -> str:
        # Without this OpenSSL would ask on the terminal.
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, password)
    except OSError as error:
        name, path = ("OPENSEARCH_CLIENT_KEY_FILE", key) if key else ("OPENSEARCH_CLIENT_CERT_FILE", certificate)
        if asked:
            raise ConfigurationError(
                f"{name} {path}: the key is encrypted; decrypt it (openssl pkey -in … -out …) and chmod 600 the result"
            ) from None
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(f"{name} {path}: the key is not that of OPENSEARCH_CLIENT_CERT_FILE") from None
        both = "OPENSEARCH_CLIENT_CERT_FILE" if key is None else "OPENSEARCH_CLIENT_CERT_FILE or …_KEY_FILE"
        where = certificate if key is None else f"{certificate}, {key}"
        raise _unusable(both, where, error, "a certificate and its key") from None


def _unusable(name: str, path: object, error: OSError, content: str) -> ConfigurationError:
    # What is wrong inside a file OpenSSL says in its own jargon, an unreadable file the system says well.
    reason = "it holds no usable PEM" if isinstance(error, ssl.SSLError) else error.strerror
    return ConfigurationError(f"{name} {path}: {reason}; name a PEM file with {content} that this user may read")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies beneath it: opensearch-py and requests keep it in `args`, urllib3 also in `reason`."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or any(found is other for other in seen):
            continue
        seen.append(found)
        yield found
        waiting += [*found.args, getattr(found, "reason", None), found.__cause__, found.__context__]


def tls_complaint(error: BaseException, setting: str = "OPENSEARCH_URL") -> str:
    """What is wrong with TLS, where that is a matter of settings; '' for anything else, such as a broken connection.

    setting: where the address is written.
    """
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate cannot be trusted ({cause.verify_message}); {_mend(cause.verify_code, setting)}"
        if not isinstance(cause, ssl.SSLError):
            continue
        reason = cause.reason or ""
        if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return f"it speaks plain HTTP, not TLS; write http:// in {setting}"
        if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")):
            return (
                f"it refuses the client certificate, or the lack of one ({reason.lower().replace('_', ' ')}); set "
                "OPENSEARCH_CLIENT_CERT_FILE to one by an authority that the server trusts"
            )
    return ""


def _mend(code: int, setting: str) -> str:
    if code == _EXPIRED:
        return "renew the server's certificate"
    if code == _NOT_YET_VALID:
        return "set the clocks of both machines"
    if code in _WRONG_NAMES:
        return f"write the host in {setting} as the certificate has it"
    return "name its authority's PEM file in OPENSEARCH_CA_FILE"


def aws_signer(access: Access) -> Callable[..., dict[str, str]]:
    """Signs requests for Amazon's service with the credentials that botocore finds, renewed as they expire.

    Raises:
        ConfigurationError: the extra `aws` is missing, or there are no credentials.
    """
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError:
        raise ConfigurationError(
            f"OPENSEARCH_AWS_REGION needs one more package: {install_words('aws')}, or unset it"
        ) from None
    from opensearchpy import Urllib3AWSV4SignerAuth

    # At DEBUG it writes whole requests, the session token among them.
    library = logging.getLogger("botocore")
    if library.level == logging.NOTSET:
        library.setLevel(logging.WARNING)
    try:
        credentials = botocore.session.Session().get_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigurationError(f"AWS gives no credentials ({type(error).__name__}); {_AWS_HINT}") from None
    if credentials is None:
        raise ConfigurationError(f"there are no AWS credentials; {_AWS_HINT}")
    signer: Any = Urllib3AWSV4SignerAuth(credentials, access.aws_region, access.aws_service)
    return signer  # type: ignore[no-any-return]  # opensearch-py has no type for it


def aws_complaint(error: BaseException) -> str:
    """Why a request could not be signed; '' where that is not what failed, or may go by itself."""
    for cause in causes_of(error):
        if not type(cause).__module__.startswith("botocore."):
            continue
        from botocore.exceptions import HTTPClientError

        if not isinstance(cause, HTTPClientError):
            return f"AWS gives no credentials ({type(cause).__name__}); {_AWS_HINT}"
    return ""


def aws_refusal(told: object) -> str:
    """The first sentence of what AWS says when it refuses a request ({'message': …}); '' where it says nothing.

    What may follow is the request as AWS saw it, the session token included.
    """
    if not isinstance(told, dict):
        return ""
    words = str(told.get("message") or told.get("Message") or "")
    return words.split("\n")[0].split(". ")[0].strip().rstrip(".")[:200]
