"""One check per setting, credential, server, version, model and prompt; each says how to mend what it finds.

It stands beside the commands because it looks at every implementation, which only the edge may do. It changes nothing
and starts no server.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from time import monotonic

from etl.cli import wiring
from etl.errors import IssuetideError, StopError
from etl.records import Check
from etl.settings import Settings
from etl.tasks import Task, load_tasks

_OLDEST_PYTHON = (3, 11)
_CALLS_WITHOUT_TOKEN = 60
_RETIREMENT_NOTICE = timedelta(days=60)
_PATIENCE_SECONDS = 20.0


def run_checks(settings: Settings) -> list[Check]:
    """Every check, in the order of the data's path. A check that fails does not keep the others from running."""
    parts: tuple[tuple[str, Callable[[Settings], Iterator[Check]]], ...] = (
        ("installation", _check_installation),
        ("tasks", _check_tasks),
        ("github", _check_github),
        ("database", _check_database),
        ("anthropic", _check_anthropic),
        ("prompt cache", _check_prompts),
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


def _check_tasks(settings: Settings) -> Iterator[Check]:
    tasks = load_tasks(settings.issuetide_tasks_dir)
    wiring.choose_tasks(settings, ())
    yield Check("tasks", "ok", f"{len(tasks)} task files are right: {', '.join(sorted(tasks))}")


def _check_github(settings: Settings) -> Iterator[Check]:
    from etl.github import GitHubClient

    token = settings.github_token.get_secret_value() if settings.github_token else None
    where = wiring.shown_host(settings.github_api_url)
    if token is None and settings.github_api_url == "https://api.github.com":
        yield Check(
            "github token",
            "warning",
            f"GITHUB_TOKEN is not set: only public repositories, {_CALLS_WITHOUT_TOKEN} calls an hour",
            "make a token with read access to issues and set GITHUB_TOKEN",
        )
    with GitHubClient(settings.github_api_url, token, monotonic() + _PATIENCE_SECONDS, attempts=2) as client:
        limits = client.get("/rate_limit", "the rate limit").body
    core = limits.get("resources", {}).get("core", {}) if isinstance(limits, dict) else {}
    yield Check(
        "github",
        "ok",
        f"{where} answers; {core.get('remaining', '?')} of {core.get('limit', '?')} calls left this hour",
    )


def _check_database(settings: Settings) -> Iterator[Check]:
    from sqlalchemy import text

    from etl.db.migrate import check_schema
    from etl.db.store import Store

    if settings.database_url is None:
        from etl.servers.postgres import postgres_status

        status = postgres_status(settings.issuetide_data_dir)
        if status.url is None:
            yield Check(
                "database",
                "ok" if not status.detail else "warning",
                f"DATABASE_URL is not set: the embedded PostgreSQL, which is not running now {status.detail}".rstrip(),
                "it starts with the next run; `issuetide servers start` starts it now",
            )
            return
        url = status.url
    else:
        url = settings.database_url.get_secret_value()
    store = Store(url)
    try:
        with store.transaction() as connection:
            row = connection.execute(
                text(
                    "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
                    " current_setting('server_encoding'), now()"
                )
            ).one()
            kind = "embedded PostgreSQL" if settings.database_url is None else "PostgreSQL"
            yield Check("database", "ok", f"{kind} {row[0]} answers, encoding {row[2]}")
            if row[1] < 150000:
                yield Check("database version", "failed", f"PostgreSQL {row[0]} is too old", "version 15 or newer")
            if row[2] != "UTF8":
                yield Check("database encoding", "failed", f"the encoding is {row[2]}", "create the database with UTF8")
            skew = abs((datetime.now(UTC) - row[3]).total_seconds())
            if skew > 60:
                yield Check(
                    "clock", "warning", f"this machine and PostgreSQL differ by {skew:.0f} s", "set both by NTP"
                )
            try:
                check_schema(connection)
                yield Check("schema", "ok", "the structure fits this release")
            except StopError as problem:
                yield Check("schema", "failed", str(problem), "issuetide db upgrade")
    finally:
        store.close()


def _check_anthropic(settings: Settings) -> Iterator[Check]:
    if settings.anthropic_api_key is None:
        yield Check(
            "anthropic",
            "warning",
            "ANTHROPIC_API_KEY is not set: the offline classifier `rules` answers",
            "set ANTHROPIC_API_KEY to let Claude answer",
        )
        return
    classifier = wiring.make_classifier(settings, "claude", None, None, monotonic() + _PATIENCE_SECONDS)
    status = classifier.check_model()  # type: ignore[attr-defined]  # only claude has models
    detail = f"the key works; model {status.id} is {status.lifecycle}"
    if status.retires_at is not None:
        detail += f", retires {status.retires_at:%Y-%m-%d}"
        if status.retires_at - datetime.now(UTC) < _RETIREMENT_NOTICE:
            yield Check("anthropic", "warning", detail, "choose its successor with ISSUETIDE_MODEL")
            return
    if status.lifecycle != "active":
        yield Check("anthropic", "warning", detail, "choose another model with ISSUETIDE_MODEL")
    elif status.structured_outputs is False:
        yield Check("anthropic", "failed", f"{detail}, but has no structured outputs", "choose another ISSUETIDE_MODEL")
    else:
        yield Check("anthropic", "ok", detail)


def _check_prompts(settings: Settings) -> Iterator[Check]:
    from etl.classifiers.claude import cache_minimum
    from etl.classifiers.prompt import prompt_tokens_estimate

    minimum = cache_minimum(settings.issuetide_model)
    for task in load_tasks(settings.issuetide_tasks_dir).values():
        yield _check_prompt(task, prompt_tokens_estimate(task), minimum, settings.issuetide_model)


def _check_prompt(task: Task, tokens: int, minimum: int, model: str) -> Check:
    name, detail = f"prompt of {task.name}", f"about {tokens:,} tokens; {model} caches from {minimum:,} on"
    if tokens < minimum:
        return Check(
            name, "warning", f"{detail}: never cached, so every request pays all of it", "add examples to the task"
        )
    return Check(name, "ok", detail)


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


def _check_dashboards(settings: Settings) -> Iterator[Check]:
    if settings.dashboards_url is None:
        yield Check("dashboards", "skipped", "DASHBOARDS_URL is not set; only `issuetide dashboards import` needs it")
        return
    from etl.dashboards.importing import check_dashboards

    yield Check("dashboards", "ok", check_dashboards(settings.dashboards_url.get_secret_value()))
