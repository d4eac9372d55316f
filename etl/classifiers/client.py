"""The connection to the Anthropic API: one place that knows how the SDK's client is made."""

import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from etl.classifiers.attempts import REQUEST_SECONDS, AttemptGate

if TYPE_CHECKING:
    from anthropic import Anthropic

CONNECT_SECONDS = 5.0


def make_client(api_key: str, base_url: str | None, gate: AttemptGate, max_retries: int) -> "Anthropic":
    """A client whose attempts all pass `gate`. Importing the SDK takes about a second and 80 MB: call it when needed.

    The environment's proxies are honoured (HTTPS_PROXY, NO_PROXY), except for an address on this machine.
    """
    import anthropic

    # The model guard says so once, with a successor; a Python that is set to show warnings would say it per request.
    warnings.filterwarnings("ignore", r"The model '.*' is deprecated", DeprecationWarning)
    host = urlsplit(base_url or "").hostname or ""
    local = host in {"localhost", "::1"} or host.startswith("127.")
    return anthropic.Anthropic(
        api_key=api_key,
        base_url=base_url,
        max_retries=max_retries,
        timeout=anthropic.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
        open_telemetry=False,
        middleware=[gate],
        http_client=anthropic.DefaultHttpxClient(trust_env=False) if local else None,
    )


def address_of(client: "Anthropic") -> str:
    """The root of the API, for messages: without credentials."""
    return str(client.base_url.copy_with(userinfo=b"", query=None)).rstrip("/")
