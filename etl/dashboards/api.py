"""The API of OpenSearch Dashboards, as far as saved objects need it (2.19 and 3.x): one address, one login, one tenant.

HTTP 200 does not mean imported: the answer's `success` and `errors` say so per object.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from etl.dashboards.saved_objects import SavedObject, compact_json, json_lines
from etl.errors import ConfigurationError, UnavailableError
from etl.sinks.opensearch_access import check_ca_file, tls_complaint

TIMEOUT_SECONDS = 60.0


class DashboardsApi:
    """The few calls that an import and an export need.

    Args:
        url: may hold a base path and 'user:password@'; `auth` wins over that.
        tenant: for the security plugin; 'global' is everyone's.
        ca_file: the only certificate authorities to trust (PEM).

    Raises:
        ConfigurationError: the address, the file or the tenant's name cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: tuple[str, str] | None = None,
        tenant: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        parts = _parse(url)
        if ca_file is not None and parts.scheme == "https":
            check_ca_file(ca_file)
        if auth is None and parts.username is not None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        self.url = _without_login(parts)
        self.session = requests.Session()
        # Neither ~/.netrc nor a proxy of the environment may decide who is asked, or as whom.
        self.session.trust_env = False
        # As bytes: requests would encode text as Latin-1, and Dashboards decodes UTF-8.
        self.session.auth = HTTPBasicAuth(auth[0].encode(), auth[1].encode()) if auth else None
        self.session.verify = str(ca_file) if ca_file else True
        self.session.headers["osd-xsrf"] = "true"
        if tenant is not None:
            if not tenant.isascii() or not tenant.isprintable():
                raise ConfigurationError(f"--tenant {tenant!r} cannot be sent: only plain ASCII can")
            self.session.headers["securitytenant"] = tenant

    def __enter__(self) -> "DashboardsApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def check(self) -> str:
        """The version; passes only if this is a Dashboards that lets us in."""
        answer = self._send("GET", "/api/status")
        self._check_login(answer)
        self._check_up(answer)
        found = _json(answer)
        if (
            answer.status_code == requests.codes.ok
            and isinstance(found, dict)
            and "version" in found
            and "status" in found
        ):
            return str(found["version"].get("number")) if isinstance(found["version"], dict) else str(found["version"])
        root = _json(self._send("GET", "/"))
        if isinstance(root, dict) and ("cluster_name" in root or "tagline" in root):
            raise ConfigurationError(
                f"{self.url} is OpenSearch itself, not Dashboards; set DASHBOARDS_URL to the address of OpenSearch "
                "Dashboards (usually port 5601)"
            )
        raise ConfigurationError(
            f"{self.url} answered HTTP {answer.status_code} to /api/status and is no OpenSearch Dashboards; "
            "set DASHBOARDS_URL to its address, its base path included"
        )

    def write(self, objects: Sequence[SavedObject]) -> None:
        """Sends the objects in one import, over what is there; all of them must be taken."""
        body = "".join(compact_json(item) + "\n" for item in objects).encode()
        files = {"file": ("issuetide.ndjson", body, "application/ndjson")}
        answer = self._send("POST", "/api/saved_objects/_import?overwrite=true", files=files)
        self._check_login(answer)
        self._check_up(answer)
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise ConfigurationError(f"Dashboards {self.url} refused the file: {_refusal(answer, found)}")
        errors = found.get("errors") or []
        if errors or not found.get("success"):
            said = _error_words(errors[0]) if errors else "no reason given"
            raise ConfigurationError(
                f"Dashboards {self.url} refused {max(len(errors), 1)} of {len(objects)} objects; the first: {said}"
            )

    def read(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
        """The objects of these types and ids, as far as they are there."""
        answer = self._send(
            "POST",
            "/api/saved_objects/_bulk_get",
            json=[{"type": kind, "id": identifier} for kind, identifier in wanted],
        )
        self._check_login(answer)
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise ConfigurationError(f"Dashboards {self.url} cannot be read back: {_refusal(answer, found)}")
        held = {(str(item.get("type")), str(item.get("id"))): item for item in _saved(found)}
        return {key: item for key, item in held.items() if "error" not in item}

    def export(self, wanted: Sequence[tuple[str, str]]) -> list[SavedObject]:
        """The objects of these types and ids with all that they refer to.

        Raises:
            ConfigurationError: one of them is not there, or something that it refers to is not.
        """
        objects = [{"type": kind, "id": identifier} for kind, identifier in wanted]
        body = {"objects": objects, "includeReferencesDeep": True}
        answer = self._send("POST", "/api/saved_objects/_export", json=body)
        self._check_login(answer)
        if answer.status_code != requests.codes.ok:
            raise ConfigurationError(f"Dashboards {self.url} exports nothing: {_refusal(answer, _json(answer))}")
        try:
            lines = [json.loads(line) for line in json_lines(answer.content.decode()) if line.strip()]
        except ValueError:
            raise ConfigurationError(f"Dashboards {self.url} exported something that is no JSON lines") from None
        missing = [entry for line in lines for entry in line.get("missingReferences", ())]
        if missing:
            names = ", ".join(f"{entry['type']} {entry['id']}" for entry in missing[:3])
            raise ConfigurationError(
                f"Dashboards {self.url} holds {len(missing)} reference(s) to objects that are gone ({names}); take the "
                "panels out, or import the dashboards again"
            )
        return [line for line in lines if "type" in line]

    def find(self, kind: str) -> list[str]:
        """The ids of all objects of a type."""
        answer = self._send("GET", f"/api/saved_objects/_find?type={kind}&per_page=10000&fields=title")
        self._check_login(answer)
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise ConfigurationError(f"Dashboards {self.url} cannot be asked: {_message(answer, found)}")
        return [str(item.get("id")) for item in _saved(found)]

    def set_default_index(self, identifier: str) -> str | None:
        """Makes the index pattern the default where there is none; gives its id if it did.

        Without a default index, Dashboards greets its users with a page that asks for one.
        """
        answer = self._send("GET", "/api/opensearch-dashboards/settings")
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            return None
        if found.get("settings", {}).get("defaultIndex", {}).get("userValue"):
            return None
        changes = {"changes": {"defaultIndex": identifier}}
        answer = self._send("POST", "/api/opensearch-dashboards/settings", json=changes)
        # A user without the right to change settings still has the dashboards.
        return identifier if answer.status_code == requests.codes.ok else None

    def _send(self, method: str, path: str, **body: Any) -> requests.Response:  # noqa: ANN401  (requests' own arguments)
        try:
            return self.session.request(method, self.url + path, timeout=TIMEOUT_SECONDS, allow_redirects=False, **body)
        except requests.exceptions.SSLError as error:
            complaint = tls_complaint(error, "DASHBOARDS_URL") or "TLS does not work with it; check DASHBOARDS_URL"
            raise ConfigurationError(f"Dashboards {self.url}: {complaint}") from None
        except (requests.exceptions.InvalidURL, UnicodeError):
            raise ConfigurationError(f"DASHBOARDS_URL {self.url} is no usable URL") from None
        except requests.exceptions.RequestException as error:
            reason = "no answer in time" if isinstance(error, requests.exceptions.Timeout) else "no connection"
            raise UnavailableError(
                f"Dashboards {self.url} cannot be reached ({reason}); start it or mend DASHBOARDS_URL"
            ) from None

    def _check_login(self, answer: requests.Response) -> None:
        if answer.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise ConfigurationError(
                f"Dashboards {self.url} refused the login (HTTP {answer.status_code}); "
                "set DASHBOARDS_USERNAME and DASHBOARDS_PASSWORD to those of a user who may write saved objects"
            )
        if answer.is_redirect:
            raise ConfigurationError(
                f"Dashboards {self.url} sends on to {_target(answer.headers['location'])}; "
                "set DASHBOARDS_URL to its final address, past any login page"
            )

    def _check_up(self, answer: requests.Response) -> None:
        """Passes unless the server says that it cannot answer now, as one does that is just starting."""
        if answer.status_code in {429, 502, 503, 504}:
            raise UnavailableError(
                f"Dashboards {self.url} cannot answer now (HTTP {answer.status_code}); look whether it and its "
                "OpenSearch are up, then run again"
            )


def shown_address(url: str) -> str:
    """An address for people: without its login, with its base path."""
    return _without_login(_parse(url))


def _target(location: str) -> str:
    try:
        return _without_login(urlsplit(location))
    except ValueError:
        return "nowhere"


def _saved(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    objects = found.get("saved_objects")
    return [item for item in objects if isinstance(item, dict)] if isinstance(objects, list) else []


def _parse(url: str) -> SplitResult:
    """The parts of an address.

    Raises:
        ConfigurationError: it is none; the message shows no part of it, since any part may be a password's.
    """
    complaint = "DASHBOARDS_URL must be an absolute http:// or https:// URL"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(complaint)
    if "@" in parts.path or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{complaint} without query, fragment or @ in its path: set DASHBOARDS_USERNAME and DASHBOARDS_PASSWORD, "
            "or percent-encode / ? # @ in its password"
        )
    return parts


def _without_login(parts: SplitResult) -> str:
    """The address without user, password, query and the slash at its end."""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if host else parts.path


def _json(answer: requests.Response) -> object:
    try:
        return answer.json()
    except (requests.exceptions.JSONDecodeError, RecursionError):
        return None


def _message(answer: requests.Response, found: object) -> str:
    words = found.get("message") if isinstance(found, dict) else None
    return f"{str(words)[:300]} (HTTP {answer.status_code})" if words else f"HTTP {answer.status_code}"


def _refusal(answer: requests.Response, found: object) -> str:
    """Why a request was refused, and, where it was too large, which limits there are.

    A file that is imported has a limit of its own, 25 MiB unless set; everything else that of the server, 1 MiB.
    """
    words = _message(answer, found)
    if answer.status_code != requests.codes.request_entity_too_large:
        return words
    return (
        f"{words}; raise savedObjects.maxImportPayloadBytes and server.maxPayloadBytes in opensearch_dashboards.yml, or"
        " the limit of a proxy in front of it (nginx: client_max_body_size), then run again"
    )


def _error_words(error: object) -> str:
    if not isinstance(error, dict) or not isinstance(error.get("error"), dict):
        return str(error)[:300]
    reason = error["error"]
    words = f"{error.get('type')} {error.get('id')}: {reason.get('type', 'unknown')}"
    missing = [f"{reference['type']} {reference['id']}" for reference in reason.get("references", [])]
    return f"{words} ({', '.join(missing)})" if missing else words
