"""`status`: how everything stands, by what PostgreSQL knows."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli import wiring
from etl.cli.doctor_cascade import cascade_lines, collect_cascade
from etl.cli.freshness import ago, find_stale, is_followed, only_named, parse_age, reach_words
from etl.cli.options import Json, Repositories
from etl.cli.output import batch_words, print_json, print_line, stop
from etl.cli.spending import collect_spending, spending_lines
from etl.cli.tables import make_table, print_table
from etl.db.queries import batches, exports, inspection, rehash, runs
from etl.db.queries.classifications import count_unanswered
from etl.db.store import Store
from etl.errors import EXIT_STALE
from etl.report.words import count_words
from etl.settings import Settings, read_settings
from etl.stages.export import count_waiting_documents
from etl.stages.item_texts import CURRENT_RULES

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN = 5
"""How many dead letters, rejected items and runs are shown, the newest."""


@stop
def status_command(
    repo: Repositories = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age",
            metavar="TIME",
            help="Only check: say what was last read longer ago than this (2h, 90m, 1d), and end with code 10 if any.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Show how everything stands: repositories, how fresh each list is, the sweep, what waits, the last runs.

    For monitoring: issuetide status --max-age 2h
    """
    age = None if max_age is None else parse_age(max_age)
    named = tuple(repo or ())
    settings = read_settings()
    with wiring.opened_store(settings) as store:
        if age is not None and not as_json:
            with store.transaction() as connection:
                streams = only_named(inspection.select_freshness(connection), named)
            return _print_stale(streams, find_stale(streams, age, named), str(max_age))
        standing = _collect_standing(settings, store, named)
    stale = [] if age is None else find_stale(standing["streams"], age, named)
    if as_json:
        print_json({**standing, **({} if age is None else {"max_age_seconds": age, "stale": stale})})
    else:
        _print_status(standing)
    return EXIT_STALE if stale else 0


def _print_stale(streams: Sequence[dict[str, Any]], stale: Sequence[str], max_age: str) -> int:
    for line in stale:
        print_line(f"stale: {line}")
    if stale:
        return EXIT_STALE
    followed = [stream for stream in streams if is_followed(stream)]
    what = count_words(len({stream["repository"] for stream in followed}), "repository", "repositories")
    oldest = ago(min(stream["read_at"] for stream in followed))
    rest = len({stream["repository"] for stream in streams}) - len({stream["repository"] for stream in followed})
    aside = count_words(rest, "repository", "repositories") + " from files, or with --limit, left out"
    print_line(f"fresh: {what} read within {max_age}, the oldest reading {oldest}{f'; {aside}' if rest else ''}")
    return 0


def _collect_standing(settings: Settings, store: Store, named: Sequence[str]) -> dict[str, Any]:
    with store.transaction() as connection:
        standing: dict[str, Any] = {
            "database": "embedded PostgreSQL" if settings.database_url is None else "DATABASE_URL",
            "repositories": only_named(inspection.select_repository_status(connection), named),
            "streams": only_named(inspection.select_freshness(connection), named),
            "sweeps": only_named(inspection.select_sweeps(connection), named),
            "totals": inspection.select_totals(connection),
            "ids": asdict(rehash.select_rules_standing(connection, CURRENT_RULES.version)),
            "unanswered_texts": count_unanswered(connection),
            "in_batches": batches.select_under_way(connection),
            "dead_letters": [
                {"document": document, "reason": reason}
                for document, reason in exports.select_dead_letters(connection, _SHOWN)
            ],
            "rejected_items": inspection.select_rejected_lines(connection, _SHOWN),
            "cascade": collect_cascade(connection),
            "runs": runs.select_last_runs(connection, _SHOWN),
            "spending": collect_spending(connection, settings),
        }
    return {**standing, "sink": _sink_standing(settings, store)}


def _sink_standing(settings: Settings, store: Store) -> dict[str, Any]:
    """Which sink is set and how many documents it lacks, by what PostgreSQL knows: `doctor` asks the sink itself.

    Where none is set, that of the same index prefix that was last written to is looked at, as the demo's is.
    """
    waiting = count_waiting_documents(store, settings.issuetide_index_prefix, refresh=False)
    return {"name": None if settings.opensearch_url is None else "opensearch", "waiting_documents": waiting}


def _print_status(standing: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    _print_repositories(console, standing["repositories"], standing["database"])
    _print_streams(console, standing["streams"])
    _print_sweeps(console, standing["sweeps"])
    totals, sink = standing["totals"], standing["sink"]
    console.print(
        f"{count_words(totals['texts'], 'distinct text')}, {count_words(totals['answers'], 'answer')} in the ledger,"
        f" ${float(totals['cost_usd']):.4f} spent;"
        f" {count_words(totals['items_to_fingerprint'], 'item waits for its texts', 'items wait for their texts')}"
    )
    if totals["redactions"]:
        print_line(f"{totals['redactions']:,} secrets and names replaced in what was sent to classifiers")
    for line in spending_lines(standing["spending"]):
        print_line(line)
    _print_ids(standing["ids"], totals["answer_conflicts"])
    for task, waiting in standing["unanswered_texts"].items():
        console.print(f"{count_words(waiting, 'text has', 'texts have')} no answer to {task} yet")
    for task, under_way in standing["in_batches"].items():
        print_line(batch_words(task, under_way))
    for line in cascade_lines(standing["cascade"]):
        print_line(line)
    documents = count_words(sink["waiting_documents"], "document waits", "documents wait")
    if sink["name"] is None:
        console.print(f"OPENSEARCH_URL is not set: {documents} in PostgreSQL")
    else:
        console.print(f"sink {sink['name']}: {documents}")
    for letter in standing["dead_letters"]:
        print_line(f"dead letter {letter['document']}: {letter['reason']}")
    if totals["rejected_items"]:
        kept = count_words(
            totals["rejected_items"],
            "item could not be used and is kept",
            "items could not be used and are kept, the newest",
        )
        print_line(f"{kept}:")
    for rejected in standing["rejected_items"]:
        print_line(f"rejected item: {rejected['line']}")
    _print_runs(console, standing["runs"])


def _print_ids(ids: dict[str, Any], conflicts: int) -> None:
    """What waits because the rules of ids have changed; nothing otherwise."""
    if ids["outdated"]:
        print_line(
            f"{count_words(ids['outdated'], 'text has', 'texts have')} ids of version {ids['oldest']} of the rules,"
            f" this release has {CURRENT_RULES.version}: the next run makes them anew"
            " (see `issuetide dedup rehash --plan`)"
        )
    if conflicts:
        print_line(f"conflicts between answers of merged texts: {conflicts:,}; `issuetide dedup decisions` lists them")


def _print_repositories(console: "Console", repositories: Sequence[dict[str, Any]], database: str) -> None:
    from rich.markup import escape

    numbers = ("issues", "open", "pull_requests", "comments", "vanished")
    table = make_table(
        f"Repositories ({database})",
        "repository",
        *("pulls" if name == "pull_requests" else name for name in numbers),
        "newest change",
        "last good run",
    )
    for row in repositories:
        counts = (f"{row[name]:,}" for name in numbers)
        table.add_row(escape(row["repository"]), *counts, ago(row["newest_change"]), ago(row["last_good_run"]))
    print_table(console, table)
    for row in repositories:
        if words := reach_words(row):
            print_line(f"{row['repository']}: {words}")
        if row["purged"]:
            print_line(f"{row['repository']}: {row['purged']:,} purged")
    for task, names in _repositories_by_task(repositories).items():
        console.print(f"task {task} is asked of {names}", markup=False, highlight=False)


def _print_streams(console: "Console", streams: Sequence[dict[str, Any]]) -> None:
    from rich.markup import escape

    table = make_table("Freshness", "repository", "list", "only", "read to its end", left=3)
    for stream in streams:
        if stream["stream"] is None:
            what, read = ("", "never") if is_followed(stream) else ("from files", "")
        else:
            what, read = stream["stream"], ago(stream["read_at"])
        table.add_row(escape(stream["repository"]), what, escape(stream["filter"] or ""), read)
    print_table(console, table)


def _print_sweeps(console: "Console", sweeps: Sequence[dict[str, Any]]) -> None:
    from rich.markup import escape

    if not sweeps:
        return
    table = make_table("Sweep", "repository", "of", "round began", "checked", "finished", left=2)
    for sweep in sweeps:
        share = 100 * sweep["checked"] // sweep["items"] if sweep["items"] else 100
        finished = ago(sweep["finished_at"]) if sweep["finished_at"] is not None else "under way"
        table.add_row(
            escape(sweep["repository"]), escape(sweep["filter"]), ago(sweep["started_at"]), f"{share} %", finished
        )
    print_table(console, table)


def _print_runs(console: "Console", last_runs: Sequence[dict[str, Any]]) -> None:
    headings = ("run", "started", "status", "read", "new", "changed", "asked", "documents", "calls", "dollars")
    table = make_table("Last runs (UTC)", *headings, left=0)
    for column in table.columns[1:3]:
        column.justify = "left"
    numbers = ("items_read", "items_new", "items_changed", "texts_asked", "documents_written", "api_calls")
    for run in last_runs:
        started = run["started_at"].astimezone(UTC).strftime("%m-%d %H:%M")
        counts = (f"{run[name]:,}" for name in numbers)
        table.add_row(str(run["run_id"]), started, run["status"], *counts, f"{float(run['cost_usd']):.2f}")
    print_table(console, table)
    for run in last_runs:
        if run["error"]:
            print_line(f"run {run['run_id']}: {run['error']}")
    _print_calls(next((run for run in last_runs if run["api_calls"]), None))


def _print_calls(run: dict[str, Any] | None) -> None:
    """What the last run that asked GitHub used of it."""
    if run is None:
        return
    words = [
        f"{count_words(run['api_calls'], 'call')} to GitHub, {run['sweep_calls']:,} of them by the sweep",
        f"{run['waited_seconds']:,} s waited",
    ]
    if run["rate_limit_left"] is not None:
        words.append(f"{count_words(run['rate_limit_left'], 'call was', 'calls were')} left this hour")
    print_line(f"run {run['run_id']}: {'; '.join(words)}")


def _repositories_by_task(repositories: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By task: the repositories it is asked of, in words."""
    found: dict[str, list[str]] = {}
    for row in repositories:
        for task in row["tasks"]:
            found.setdefault(task, []).append(row["repository"])
    return {
        task: ", ".join(names) if len(names) <= 5 else f"{len(names)} repositories" for task, names in found.items()
    }
