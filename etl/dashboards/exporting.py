"""Takes dashboards out of OpenSearch Dashboards into files, in the form that the builder writes.

What a person changed by clicking becomes a difference that a reviewer can read.
"""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from etl.dashboards.api import DashboardsApi
from etl.dashboards.normal_form import file_text, normalize
from etl.dashboards.saved_objects import SHIPPED_PREFIX, SavedObject, with_prefix
from etl.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One dashboard's file. status: 'written', 'same' (as it was), or of a dry run 'new' or 'changed'."""

    path: Path
    dashboard: str
    objects: int
    status: Literal["written", "same", "new", "changed"]


def export_dashboards(
    server: DashboardsApi,
    folder: Path,
    *,
    prefix: str = SHIPPED_PREFIX,
    identifiers: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
) -> list[ExportedFile]:
    """Writes each of our dashboards, with all that it refers to, to FOLDER/ID.ndjson; gives what became of each file.

    Ours are those whose ids begin with `prefix` and a dash; `identifiers` names others instead. In the files the prefix
    is the shipped one, so that they can be imported under any. All are fetched before the first file is written.

    Raises:
        ConfigurationError: there is none, one refers to something that is gone, the login is refused, or a file holds
            changes that would be lost (git does not have them) and `force` is not given: then no file is written.
        UnavailableError: no answer.
    """
    server.check()
    wanted = list(identifiers) or sorted(
        identifier for identifier in server.find("dashboard") if identifier.startswith(f"{prefix}-")
    )
    if not wanted:
        raise ConfigurationError(
            f"Dashboards {server.url} holds no dashboard whose id begins with {prefix}-; `issuetide dashboards import` "
            "brings ours, --id names another"
        )
    texts: dict[Path, tuple[str, list[SavedObject]]] = {}
    for identifier in wanted:
        objects = _taken(server, identifier, prefix)
        own = next(item["id"] for item in objects if item["type"] == "dashboard")
        _check_name(own)
        path = folder / f"{own}.ndjson"
        if path in texts and texts[path][0] != identifier:
            raise ConfigurationError(f"{texts[path][0]} and {identifier} would both be {path}; export one at a time")
        texts[path] = (identifier, objects)
    changed = [path for path, (_, objects) in texts.items() if _read(path) != file_text(objects)]
    lost = [path for path in changed if path.exists() and not force and has_local_changes(path)]
    if lost and not dry_run:
        raise ConfigurationError(
            f"{', '.join(str(path) for path in lost)}: changed here, and git has not got it; nothing was written. "
            "Commit it, name another --folder, or give --force to write over it"
        )
    exported = []
    for path, (identifier, objects) in texts.items():
        status: Literal["written", "same", "new", "changed"] = "same"
        if path in changed:
            status = ("changed" if path.exists() else "new") if dry_run else "written"
        if status == "written":
            _write(path, file_text(objects))
        exported.append(ExportedFile(path, identifier, len(objects), status))
    return exported


def _taken(server: DashboardsApi, identifier: str, prefix: str) -> list[SavedObject]:
    """A dashboard with all that it refers to, in the form of the files."""
    found = server.export([("dashboard", identifier)])
    try:
        objects = normalize(_unprefixed(found, prefix))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the dashboard {identifier} is not as Dashboards writes it ({type(error).__name__} {error}); open and "
            "save it there, or leave it out by naming others with --id"
        ) from None
    if not any(item["type"] == "dashboard" for item in objects):
        raise ConfigurationError(f"Dashboards {server.url} exported no dashboard {identifier}")
    return objects


def has_local_changes(path: Path) -> bool:
    """Whether a file holds something that git has not got: changed, never added, or not in a repository at all."""
    try:
        found = subprocess.run(  # noqa: S603  (nothing of it is anybody's words but the file's name)
            ["git", "status", "--porcelain", "--ignored", "--", path.name],  # noqa: S607  (git is found by PATH)
            cwd=path.parent,
            capture_output=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return found.returncode != 0 or bool(found.stdout.strip())


def _unprefixed(objects: Iterable[SavedObject], prefix: str) -> list[SavedObject]:
    """The objects as they are shipped: with the shipped prefix, and without the prefix in a dashboard's title."""
    found = []
    for item in with_prefix(objects, SHIPPED_PREFIX, shipped=prefix):
        attributes = dict(item["attributes"])
        if item["type"] == "dashboard" and prefix != SHIPPED_PREFIX:
            attributes["title"] = attributes["title"].removesuffix(f" ({prefix})")
        found.append({**item, "attributes": attributes})
    return found


def _check_name(identifier: str) -> None:
    """Passes if an id can be a file's name."""
    if not identifier.replace("-", "").replace("_", "").replace(".", "").isalnum() or identifier.startswith("."):
        raise ConfigurationError(f"the dashboard's id {identifier!r} cannot be a file's name; save it under another id")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}; choose another --folder") from None
