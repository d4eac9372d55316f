"""Imports saved objects into OpenSearch Dashboards and reads them back, over its saved objects API (2.19 and 3.x).

HTTP 200 does not mean imported: the answer's `success` and `errors` say so per object, and only reading back shows
what is really there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import requests

from etl.dashboards.saved_objects import (
    SavedObject,
    compact_json,
    find_problems,
    read_saved_objects,
    with_prefix,
    with_task,
)
from etl.errors import ConfigurationError, IssuetideError, UnavailableError

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ImportedObject:
    """One object as it was read back. status: 'written' (as sent), or 'default' (also made the default index)."""

    type: str
    id: str
    title: str
    status: Literal["written", "default"] = "written"


def import_dashboards(
    url: str,
    folder: Path,
    *,
    auth: tuple[str, str] | None = None,
    tenant: str | None = None,
    prefix: str = "issuetide",
    ca_file: Path | None = None,
    task: str | None = None,
) -> list[ImportedObject]:
    """Imports every object of `folder` into the Dashboards at `url`; gives each one as it was read back.

    Running it again writes the same objects over themselves. `url` may hold a base path and 'user:password@'; `auth`
    wins over that. `tenant` is for the security plugin ('global' is everyone's). `prefix` is the indices' prefix and
    `task` the task that is shown first. The default index is set only where there is none.

    Raises:
        ConfigurationError: the files are wrong, the address is no Dashboards, it refuses the login or an object.
        UnavailableError: no answer.
    """
    objects = with_prefix(read_saved_objects(folder), prefix)
    if task is not None:
        objects = with_task(objects, task)
    problems = find_problems(objects)
    if problems:
        raise ConfigurationError(
            f"{folder}: {len(problems)} problem(s), nothing was imported; the first: {problems[0]}"
        )
    with _Dashboards(url, auth=auth, tenant=tenant, ca_file=ca_file) as server:
        server.check()
        server.write(objects)
        server.read_back(objects)
        default = server.set_default_index(f"{prefix}-classifications")
    return [
        ImportedObject(
            item["type"],
            item["id"],
            item["attributes"]["title"],
            "default" if (item["type"], item["id"]) == ("index-pattern", default) else "written",
        )
        for item in objects
    ]


def check_dashboards(
    url: str, *, auth: tuple[str, str] | None = None, tenant: str | None = None, ca_file: Path | None = None
) -> str:
    """What answers at `url`, in words with its version; nothing is written.

    Raises:
        ConfigurationError: the address is no Dashboards, or it refuses the login.
        UnavailableError: no answer.
    """
    with _Dashboards(url, auth=auth, tenant=tenant, ca_file=ca_file) as server:
        return f"OpenSearch Dashboards {server.check()} at {server.url}"


class _Dashboards:
    """The few calls of the Dashboards API that an import needs."""

    def __init__(self, url: str, *, auth: tuple[str, str] | None, tenant: str | None, ca_file: Path | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError("DASHBOARDS_URL must be an absolute http:// or https:// URL")
        if ca_file is not None and not ca_file.is_file():
            raise ConfigurationError(f"the certificate file {ca_file} does not exist")
        if auth is None and parts.username is not None:
            auth = (unquote(parts.username), unquote(parts.password or ""))
        self.url = _without_login(parts)
        self.session = requests.Session()
        # Neither ~/.netrc nor a proxy of the environment may decide who is asked, or as whom.
        self.session.trust_env = False
        self.session.auth = auth
        self.session.verify = str(ca_file) if ca_file else True
        self.session.headers["osd-xsrf"] = "true"
        if tenant is not None:
            self.session.headers["securitytenant"] = tenant

    def __enter__(self) -> "_Dashboards":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def check(self) -> str:
        """The version; passes only if this is a Dashboards that lets us in."""
        answer = self._send("GET", "/api/status")
        self._check_login(answer)
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
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise ConfigurationError(f"Dashboards {self.url} refused the file: {_message(answer, found)}")
        errors = found.get("errors") or []
        if errors or not found.get("success"):
            said = _error_words(errors[0]) if errors else "no reason given"
            raise ConfigurationError(
                f"Dashboards {self.url} refused {max(len(errors), 1)} of {len(objects)} objects; the first: {said}"
            )

    def read_back(self, objects: Sequence[SavedObject]) -> None:
        """Passes if every object is there as sent."""
        wanted = [{"type": item["type"], "id": item["id"]} for item in objects]
        answer = self._send("POST", "/api/saved_objects/_bulk_get", json=wanted)
        self._check_login(answer)
        found = _json(answer)
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise ConfigurationError(f"Dashboards {self.url} cannot be read back: {_message(answer, found)}")
        held = {(item["type"], item["id"]): item for item in found.get("saved_objects", [])}
        for item in objects:
            difference = _difference(item, held.get((item["type"], item["id"])))
            if difference:
                raise IssuetideError(
                    f"Dashboards {self.url} said the import went well, but {item['type']} {item['id']} {difference}; "
                    "look at its log, then import again"
                )

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
        except requests.exceptions.SSLError:
            raise ConfigurationError(
                f"Dashboards {self.url}: the certificate is not trusted; set OPENSEARCH_CA_FILE to its authority"
            ) from None
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
                "set DASHBOARDS_URL to https://USER:PASSWORD@HOST with a user who may write saved objects"
            )
        if answer.is_redirect:
            raise ConfigurationError(
                f"Dashboards {self.url} sends on to {_without_login(urlsplit(answer.headers['location']))}; "
                "set DASHBOARDS_URL to its final address, past any login page"
            )


def _without_login(parts: SplitResult) -> str:
    """The address without user, password, query and the slash at its end."""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if host else parts.path


def _json(answer: requests.Response) -> object:
    try:
        return answer.json()
    except requests.exceptions.JSONDecodeError:
        return None


def _message(answer: requests.Response, found: object) -> str:
    words = found.get("message") if isinstance(found, dict) else None
    return f"{str(words)[:300]} (HTTP {answer.status_code})" if words else f"HTTP {answer.status_code}"


def _error_words(error: Mapping[str, Any]) -> str:
    reason = error.get("error", {})
    words = f"{error.get('type')} {error.get('id')}: {reason.get('type', 'unknown')}"
    missing = [f"{reference['type']} {reference['id']}" for reference in reason.get("references", [])]
    return f"{words} ({', '.join(missing)})" if missing else words


def _difference(sent: SavedObject, held: Mapping[str, Any] | None) -> str:
    """How `held` differs from what was sent, '' if it does not; what the server adds of its own does not count."""
    if held is None or "error" in held:
        return "is not there"
    for name, value in sent["attributes"].items():
        if _decoded(held.get("attributes", {}).get(name)) != _decoded(value):
            return f"holds another {name!r}"
    if _named(held.get("references", [])) != _named(sent["references"]):
        return "holds other references"
    return ""


def _decoded(value: object) -> object:
    """Values that hold JSON text are compared by what it says, not by its spelling."""
    if not isinstance(value, str) or value[:1] not in {"{", "["}:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _named(references: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    return {reference["name"]: (reference["type"], reference["id"]) for reference in references}
