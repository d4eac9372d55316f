"""`doctor`: one check per setting, credential, server, version, model and prompt; each says how to mend what it finds.

It stands beside the commands because it looks at every implementation, which only the edge may do. It changes nothing
and starts no server.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from tempfile import TemporaryFile
from time import monotonic
from typing import TYPE_CHECKING

from etl.cli import wiring
from etl.cli.doctor_anthropic import (
    check_anthropic,
    check_cache_use,
    check_model_record,
    check_prompt_bytes,
    check_prompts,
)
from etl.cli.doctor_cascade import check_cascade
from etl.cli.options import Json
from etl.cli.output import print_json, stop
from etl.db.migrate import check_schema
from etl.errors import ConfigurationError, IssuetideError, StopError
from etl.records import Check
from etl.report.words import count_words
from etl.settings import Settings, read_settings
from etl.tasks import load_tasks

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.github import CredentialStatus


_OLDEST_POSTGRESQL = 150_000  # as server_version_num counts
_CLOCK_SKEW_SECONDS = 60
_CALLS_WITHOUT_TOKEN = 60
_PATIENCE_SECONDS = 20.0
_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


@stop
def doctor_command(as_json: Json = False) -> int:
    """Check everything and say how to mend what is wrong.

    That is every setting, credential, server, version, model and prompt.
    """
    checks = run_checks(read_settings())
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        _print_checks(checks)
    return ConfigurationError.exit_code if any(check.status == "failed" for check in checks) else 0


def _print_checks(checks: Sequence[Check]) -> None:
    from rich.console import Console

    console = Console()
    for check in checks:
        # Soft wrap: a terminal breaks the line where it must, and a path or URL can still be copied from a log.
        console.print(f"[{_COLOURS[check.status]}]{check.status:<8}[/] [bold]{check.name}[/]:", end=" ")
        console.print(check.detail, markup=False, highlight=False, soft_wrap=True)
        if check.mend:
            console.print(f"         → {check.mend}", markup=False, highlight=False, soft_wrap=True)


def run_checks(settings: Settings) -> list[Check]:
    """Every check, in the order of the data's path. A check that fails does not keep the others from running."""
    parts: tuple[tuple[str, Callable[[Settings], Iterator[Check]]], ...] = (
        ("installation", _check_installation),
        ("data folder", _check_data_folder),
        ("tasks", _check_tasks),
        ("github", _check_github),
        ("database", _check_database),
        ("inheritance", _check_inheritance),
        ("near-duplicates", _check_near),
        ("cascade", check_cascade),
        ("anthropic", check_anthropic),
        ("model guard", check_model_record),
        ("prompt cache", check_prompts),
        ("prompt bytes", check_prompt_bytes),
        ("cache use", check_cache_use),
        ("opensearch", _check_opensearch),
        ("dashboards", _check_dashboards),
    )
    checks: list[Check] = []
    for name, part in parts:
        try:
            checks.extend(part(settings))
        except IssuetideError as problem:
            checks.append(Check(name, "failed", str(problem), ""))
    return checks


def _check_installation(settings: Settings) -> Iterator[Check]:
    python = sys.version.split()[0]
    yield Check(
        "installation",
        "ok",
        f"issuetide {version('issuetide')}, Python {python}, data in {settings.issuetide_data_dir}",
    )


def _check_data_folder(settings: Settings) -> Iterator[Check]:
    local = settings.opensearch_url is not None and settings.opensearch_url.get_secret_value() == wiring.LOCAL
    if settings.database_url is not None and not local:
        return  # nothing is kept there
    folder = settings.issuetide_data_dir.expanduser()
    nearest = next(place for place in (folder, *folder.parents) if os.access(place, os.F_OK))
    try:
        with TemporaryFile(dir=nearest):  # it has no name: nobody sees it, and nothing stays
            yield Check("data folder", "ok", f"{folder} can be written to")
    except OSError as error:
        yield Check(
            "data folder",
            "failed",
            f"{folder} cannot be written to ({nearest}: {error.strerror}): no local server can keep its data there",
            "give that folder to the user who runs issuetide, or set ISSUETIDE_DATA_DIR to another one",
        )


def _check_tasks(settings: Settings) -> Iterator[Check]:
    tasks = load_tasks(settings.issuetide_tasks_dir)
    wiring.choose_tasks(settings, ())
    files = count_words(len(tasks), "task file is", "task files are")
    yield Check("tasks", "ok", f"{files} right: {', '.join(sorted(tasks))}")


def _check_github(settings: Settings) -> Iterator[Check]:
    from etl.github import GitHubClient

    credentials = wiring.read_credentials(settings)
    where = wiring.shown_host(settings.github_api_url)
    if not credentials.tokens and credentials.app is None and settings.github_api_url == "https://api.github.com":
        yield Check(
            "github token",
            "warning",
            f"GITHUB_TOKEN is not set: only public repositories, {_CALLS_WITHOUT_TOKEN} calls an hour",
            "make a token with read access to issues and set GITHUB_TOKEN",
        )
    deadline = monotonic() + _PATIENCE_SECONDS
    with GitHubClient(settings.github_api_url, credentials, deadline, attempts=2) as client:
        for status in client.check_credentials():
            yield _check_credential(where, status)


def _check_credential(where: str, status: "CredentialStatus") -> Check:
    name = "github" if status.kind == "anonymous" else f"github: {status.place}"
    who = f" as {status.kind} {status.account or 'unknown'}" if status.kind != "anonymous" else ""
    if status.remaining is None:
        budget = "no limit is known" if not status.problem else ""
    else:
        budget = f"{status.remaining:,} of {status.limit or 0:,} calls left this hour"
        budget += f", all of them again at {status.resets_at:%H:%M} UTC" if status.resets_at is not None else ""
    if status.problem:
        is_usable = status.remaining is not None
        detail = f"{where} answers{who}; {budget}; but {status.problem}" if is_usable else status.problem
        return Check(name, "warning" if is_usable else "failed", detail, 'see docs/operations.md, "GitHub limits"')
    return Check(name, "ok" if status.remaining != 0 else "warning", f"{where} answers{who}; {budget}")


def _check_database(settings: Settings) -> Iterator[Check]:
    if settings.database_url is not None:
        yield from _check_server(settings.database_url.get_secret_value(), "PostgreSQL")
        return
    from etl.servers.postgres import postgres_status

    status = postgres_status(settings.issuetide_data_dir)
    if status.url is not None:
        yield from _check_server(status.url, "embedded PostgreSQL")
        return
    yield Check(
        "database",
        "ok" if not status.detail else "warning",
        "DATABASE_URL is not set: the embedded PostgreSQL, which is not running now"
        + (f" ({status.detail})" if status.detail else ""),
        "it starts with the next run; `issuetide servers start` starts it now",
    )


def _check_server(url: str, kind: str) -> Iterator[Check]:
    from etl.db.queries.inspection import select_server
    from etl.db.store import Store

    store = Store(url)
    try:
        with store.transaction() as connection:
            server = select_server(connection)
            yield Check("database", "ok", f"{kind} {server.version} answers, encoding {server.encoding}")
            if server.version_number < _OLDEST_POSTGRESQL:
                yield Check("database version", "failed", f"{kind} {server.version} is too old", "version 15 or newer")
            if server.encoding != "UTF8":
                yield Check(
                    "database encoding", "failed", f"the encoding is {server.encoding}", "create the database with UTF8"
                )
            skew = abs((datetime.now(UTC) - server.now).total_seconds())
            if skew > _CLOCK_SKEW_SECONDS:
                yield Check(
                    "clock", "warning", f"this machine and PostgreSQL differ by {skew:.0f} s", "set both by NTP"
                )
            try:
                check_schema(connection)
            except StopError as problem:
                yield Check("schema", "failed", str(problem), "issuetide db upgrade")
                return
            yield Check("schema", "ok", "the structure fits this release")
            yield from _check_ids(connection)
    finally:
        store.close()


def _check_ids(connection: "Connection") -> Iterator[Check]:
    from etl.db.queries.rehash import count_open_conflicts, select_rules_standing
    from etl.stages.item_texts import CURRENT_RULES

    standing = select_rules_standing(connection, CURRENT_RULES.version)
    if (standing.newest or 0) > CURRENT_RULES.version:
        yield Check(
            "text ids",
            "failed",
            f"made with version {standing.newest} of the rules; this release has {CURRENT_RULES.version}",
            "use the newer release everywhere that writes into this database",
        )
    elif standing.outdated:
        yield Check(
            "text ids",
            "warning",
            f"{count_words(standing.outdated, 'is', 'are')} of version {standing.oldest} of the rules; this release has"
            f" {CURRENT_RULES.version}",
            "the next run makes them anew, and answers stay; `issuetide dedup rehash --plan` shows what changes",
        )
    else:
        yield Check("text ids", "ok", f"all are of version {CURRENT_RULES.version} of the rules")
    conflicts = count_open_conflicts(connection)
    if conflicts:
        yield Check(
            "answers",
            "warning",
            f"{count_words(conflicts, 'differs', 'differ')} from the one that counts for their merged text",
            "`issuetide dedup decisions` lists them; split the issue, or settle the conflict",
        )


def _check_inheritance(settings: Settings) -> Iterator[Check]:
    if settings.issuetide_inherit != "on":
        return
    from etl.db.queries.inheritance import select_agreement
    from etl.stages.inherit import standing_of, standing_words

    with wiring.running_database(settings) as connection:
        if connection is None:
            return
        agreements = select_agreement(connection)
    if not agreements:
        yield Check("inheritance", "ok", "on; no text could have inherited an answer yet")
    for agreement in agreements:
        is_refused = standing_of(agreement) == "refused"
        yield Check(
            f"inheritance of {agreement.task}",
            "failed" if is_refused else "ok",
            standing_words(agreement),
            "look at `issuetide dedup agreement`; ISSUETIDE_INHERIT=off stops the comparing" if is_refused else "",
        )


def _check_near(settings: Settings) -> Iterator[Check]:
    if wiring.wants_near(settings):
        yield Check("near-duplicates", "ok", "on; datasketch is installed")


def _check_opensearch(settings: Settings) -> Iterator[Check]:
    if settings.opensearch_url is None:
        yield Check(
            "opensearch",
            "warning",
            "OPENSEARCH_URL is not set: documents wait in PostgreSQL",
            "set OPENSEARCH_URL, or `issuetide servers start` and OPENSEARCH_URL=local",
        )
        return
    sink = wiring.make_sink(settings, monotonic() + _PATIENCE_SECONDS)
    yield from sink.check()  # type: ignore[union-attr]  # set, as checked above; every sink of a URL has it
    yield from _check_password_is_hidden(settings)


def _check_password_is_hidden(settings: Settings) -> Iterator[Check]:
    from etl.sinks.opensearch_connection import parse_addresses

    for address in parse_addresses(wiring.opensearch_address(settings) or ""):
        is_here = address.host in {"localhost", "::1"} or address.host.startswith("127.")
        has_password = address.auth is not None or settings.opensearch_password is not None
        if address.scheme == "http" and has_password and not is_here:
            yield Check(
                "opensearch password",
                "warning",
                f"it goes to {address.name} unencrypted: whoever is on the way can read it",
                "let the server speak TLS, and write https:// in OPENSEARCH_URL",
            )


def _check_dashboards(settings: Settings) -> Iterator[Check]:
    if settings.dashboards_url is None:
        yield Check("dashboards", "skipped", "DASHBOARDS_URL is not set; only `issuetide dashboards import` needs it")
        return
    from etl.dashboards.importing import check_dashboards

    found = check_dashboards(
        settings.dashboards_url.get_secret_value(),
        auth=wiring.dashboards_login(settings),
        ca_file=settings.opensearch_ca_file,
    )
    yield Check("dashboards", "ok", found)
