"""`status`: how everything stands, by what PostgreSQL knows."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from etl.cli import wiring
from etl.cli.options import Json
from etl.cli.output import print_json, print_line, stop
from etl.db.queries import exports, inspection, runs
from etl.db.queries.classifications import count_unanswered
from etl.db.store import Store
from etl.settings import Settings, read_settings
from etl.stages.export import count_waiting_documents

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN = 5
"""How many dead letters and runs are shown, the newest."""


@stop
def status_command(as_json: Json = False) -> None:
    """Show how everything stands: repositories and their freshness, what waits, the last runs, the sink."""
    settings = read_settings()
    with wiring.opened_store(settings) as store:
        standing = _collect_standing(settings, store)
    if as_json:
        print_json(standing)
    else:
        _print_status(standing)


def _collect_standing(settings: Settings, store: Store) -> dict[str, Any]:
    with store.transaction() as connection:
        standing: dict[str, Any] = {
            "database": "embedded PostgreSQL" if settings.database_url is None else "DATABASE_URL",
            "repositories": inspection.select_repository_status(connection),
            "totals": inspection.select_totals(connection),
            "unanswered_texts": count_unanswered(connection),
            "dead_letters": [
                {"document": document, "reason": reason}
                for document, reason in exports.select_dead_letters(connection, _SHOWN)
            ],
            "runs": runs.select_last_runs(connection, _SHOWN),
        }
    return {**standing, "sink": _sink_standing(settings, store)}


def _sink_standing(settings: Settings, store: Store) -> dict[str, Any]:
    """Which sink is set and how many documents wait for it, by what PostgreSQL knows: `doctor` asks the sink itself."""
    set_up = settings.opensearch_url is not None
    waiting = count_waiting_documents(store, settings.issuetide_index_prefix if set_up else None, refresh=False)
    return {"name": "opensearch" if set_up else None, "waiting_documents": waiting}


def _print_status(standing: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    _print_repositories(console, standing["repositories"], standing["database"])
    totals, sink = standing["totals"], standing["sink"]
    console.print(
        f"{totals['texts']:,} distinct texts, {totals['answers']:,} answers in the ledger,"
        f" ${float(totals['cost_usd']):.4f} spent; {totals['items_to_fingerprint']:,} items wait for their texts"
    )
    for task, waiting in standing["unanswered_texts"].items():
        console.print(f"{waiting:,} texts have no answer to {task} yet")
    if sink["name"] is None:
        console.print(f"no sink: OPENSEARCH_URL is not set; {sink['waiting_documents']:,} documents wait in PostgreSQL")
    else:
        console.print(f"sink {sink['name']}: {sink['waiting_documents']:,} documents wait")
    for letter in standing["dead_letters"]:
        print_line(f"dead letter {letter['document']}: {letter['reason']}")
    _print_runs(console, standing["runs"])


def _make_table(title: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _print_repositories(console: "Console", repositories: Sequence[dict[str, Any]], database: str) -> None:
    from rich.markup import escape

    table = _make_table(f"Repositories ({database})")
    table.add_column("repository", overflow="fold")
    for heading in ("issues", "open", "comments"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("newest change", "last good run"):
        table.add_column(heading, no_wrap=True)
    for row in repositories:
        counts = (f"{row[name]:,}" for name in ("issues", "open", "comments"))
        table.add_row(escape(row["repository"]), *counts, _ago(row["newest_change"]), _ago(row["last_good_run"]))
    console.print(table)
    for task, names in _repositories_by_task(repositories).items():
        console.print(f"task {task} is asked of {names}", markup=False, highlight=False)


def _print_runs(console: "Console", last_runs: Sequence[dict[str, Any]]) -> None:
    table = _make_table("Last runs (UTC)")
    for heading in ("run", "started", "status", "read", "new", "changed", "asked", "documents", "dollars"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in {"started", "status"} else "right")
    numbers = ("items_read", "items_new", "items_changed", "texts_asked", "documents_written")
    for run in last_runs:
        started = run["started_at"].astimezone(UTC).strftime("%m-%d %H:%M")
        counts = (f"{run[name]:,}" for name in numbers)
        table.add_row(str(run["run_id"]), started, run["status"], *counts, f"{float(run['cost_usd']):.2f}")
    console.print(table)
    for run in last_runs:
        if run["error"]:
            print_line(f"run {run['run_id']}: {run['error']}")


def _repositories_by_task(repositories: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By task: the repositories it is asked of, in words."""
    found: dict[str, list[str]] = {}
    for row in repositories:
        for task in row["tasks"]:
            found.setdefault(task, []).append(row["repository"])
    return {
        task: ", ".join(names) if len(names) <= 5 else f"{len(names)} repositories" for task, names in found.items()
    }


def _ago(moment: datetime | None) -> str:
    """How long ago `moment` was, in the largest unit that fits."""
    if moment is None:
        return "never"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
