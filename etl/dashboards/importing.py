"""Imports saved objects into OpenSearch Dashboards and reads them back, over its saved objects API (2.19 and 3.x).

HTTP 200 does not mean imported: the answer's `success` and `errors` say so per object, and only reading back shows
what is really there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from etl.dashboards.api import DashboardsApi
from etl.dashboards.checking import require_sound
from etl.dashboards.saved_objects import (
    SavedObject,
    read_saved_objects,
    with_prefix,
    with_task,
)
from etl.errors import IssuetideError


@dataclass(frozen=True, slots=True)
class ImportedObject:
    """One object as it was read back.

    status: 'written' (as sent), 'default' (also made the default index); of a dry run 'new', 'changed' (what is there
    is another and would be written over) or 'same'.
    """

    type: str
    id: str
    title: str
    status: Literal["written", "default", "new", "changed", "same"] = "written"


def import_dashboards(
    url: str,
    folder: Path,
    *,
    auth: tuple[str, str] | None = None,
    tenant: str | None = None,
    prefix: str = "issuetide",
    ca_file: Path | None = None,
    task: str | None = None,
    dry_run: bool = False,
) -> list[ImportedObject]:
    """Imports every object of `folder` into the Dashboards at `url`; gives each one as it was read back.

    Running it again writes the same objects over themselves. `url` may hold a base path and 'user:password@'; `auth`
    wins over that. `tenant` is for the security plugin ('global' is everyone's). `prefix` is the indices' prefix and
    `task` the task that is shown first. The default index is set only where there is none, to that of classifications
    if it is among the objects. dry_run: everything is checked and compared with what is there, nothing is written.

    Raises:
        ConfigurationError: the files are wrong, the address is no Dashboards, it refuses the login or an object.
        UnavailableError: no answer.
    """
    objects = with_prefix(read_saved_objects(folder), prefix)
    require_sound(objects, folder)
    if task is not None:
        objects = with_task(objects, task)
    with DashboardsApi(url, auth=auth, tenant=tenant, ca_file=ca_file) as server:
        server.check()
        if dry_run:
            return _compare(server, objects)
        server.write(objects)
        _check_written(server, objects)
        pattern = f"{prefix}-classifications"
        is_there = any((item["type"], item["id"]) == ("index-pattern", pattern) for item in objects)
        default = server.set_default_index(pattern) if is_there else None
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
    with DashboardsApi(url, auth=auth, tenant=tenant, ca_file=ca_file) as server:
        return f"OpenSearch Dashboards {server.check()} at {server.url}"


def _compare(server: DashboardsApi, objects: Sequence[SavedObject]) -> list[ImportedObject]:
    """What an import would do to each object."""
    held = server.read([(item["type"], item["id"]) for item in objects])
    compared = []
    for item in objects:
        there = held.get((item["type"], item["id"]))
        status: Literal["new", "changed", "same"] = "new"
        if there is not None:
            status = "changed" if _difference(item, there) else "same"
        compared.append(ImportedObject(item["type"], item["id"], item["attributes"]["title"], status))
    return compared


def _check_written(server: DashboardsApi, objects: Sequence[SavedObject]) -> None:
    """Passes if every object is there as sent."""
    held = server.read([(item["type"], item["id"]) for item in objects])
    for item in objects:
        difference = _difference(item, held.get((item["type"], item["id"])))
        if difference:
            raise IssuetideError(
                f"Dashboards {server.url} said the import went well, but {item['type']} {item['id']} {difference}; "
                "look at its log, then import again"
            )


def _difference(sent: SavedObject, held: Mapping[str, Any] | None) -> str:
    """How `held` differs from what was sent, '' if it does not; what the server adds of its own does not count."""
    if held is None:
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
