"""Commands that look: `status`, `doctor`, `explain`, `report`, `tasks`, `dashboards`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy import Connection

from etl.cli import wiring
from etl.cli.output import print_json, stop
from etl.db.migrate import check_schema
from etl.db.queries import exports, inspection, runs
from etl.db.store import Store
from etl.errors import ConfigurationError, IssuetideError
from etl.report.words import plain_line, plain_text
from etl.settings import Settings, read_settings
from etl.tasks import Task, load_tasks, select_tasks

if TYPE_CHECKING:
    from rich.console import Console

tasks_app = typer.Typer(no_args_is_help=True, help="The questions that can be asked (task files).")
dashboards_app = typer.Typer(no_args_is_help=True, help="The dashboards for OpenSearch Dashboards.")

_LONGEST_LINE = 2000

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@stop
def status_command(as_json: Json = False) -> None:
    """Show how everything stands: repositories and their freshness, what waits, the last runs, the sink."""
    settings = read_settings()
    store = wiring.open_store(settings)
    try:
        with store.transaction() as connection:
            check_schema(connection)
            standing: dict[str, Any] = {
                "database": "embedded PostgreSQL" if settings.database_url is None else "DATABASE_URL",
                "repositories": inspection.select_repository_status(connection),
                "totals": inspection.select_totals(connection),
                "unanswered_texts": inspection.select_unanswered(connection),
                "dead_letters": [
                    {"document": document, "reason": reason}
                    for document, reason in exports.select_dead_letters(connection, 5)
                ],
                "runs": runs.select_last_runs(connection, 5),
            }
        standing["sink"] = _sink_standing(settings, store)
    finally:
        store.close()
    if as_json:
        print_json(standing)
    else:
        _print_status(standing)


def _sink_standing(settings: Settings, store: Store) -> dict[str, Any]:
    """Which sink is set and how many documents wait for it, by what PostgreSQL knows: `doctor` asks the sink itself."""
    from etl.stages import count_waiting_documents

    set_up = settings.opensearch_url is not None
    waiting = count_waiting_documents(store, settings.issuetide_index_prefix if set_up else None, refresh=False)
    return {"name": "opensearch" if set_up else None, "waiting_documents": waiting}


def _print_status(standing: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(
        title=f"Repositories ({standing['database']})",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("repository", overflow="fold")
    for heading in ("issues", "open", "comments"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("newest change", "last good run"):
        table.add_column(heading, no_wrap=True)
    for row in standing["repositories"]:
        counts = (f"{row[name]:,}" for name in ("issues", "open", "comments"))
        table.add_row(escape(row["repository"]), *counts, _ago(row["newest_change"]), _ago(row["last_good_run"]))
    console.print(table)
    for task, names in _repositories_by_task(standing["repositories"]).items():
        console.print(f"task {task} is asked of {names}", markup=False, highlight=False)
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
        _echo_line(f"dead letter {letter['document']}: {letter['reason']}")
    _print_runs(console, standing["runs"])


def _print_runs(console: "Console", last_runs: Sequence[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title="Last runs (UTC)", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
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
            _echo_line(f"run {run['run_id']}: {run['error']}")


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


@stop
def doctor_command(as_json: Json = False) -> int:
    """Check every setting, credential, server, version, model and prompt; say how to mend what is wrong."""
    from dataclasses import asdict

    from etl.cli.doctor import run_checks

    checks = run_checks(read_settings())
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        from rich.console import Console

        console = Console()
        marks = {
            "ok": "[green]ok[/]",
            "warning": "[yellow]warning[/]",
            "failed": "[red]failed[/]",
            "skipped": "[dim]skipped[/]",
        }
        for check in checks:
            console.print(f"{marks[check.status]:<18} [bold]{check.name}[/]", end=" ")
            console.print(check.detail, markup=False, highlight=False)
            if check.mend:
                console.print(f"         → {check.mend}", markup=False, highlight=False)
    return ConfigurationError.exit_code if any(check.status == "failed" for check in checks) else 0


@stop
def explain_command(
    item: Annotated[str, typer.Argument(metavar="OWNER/NAME#NUMBER", help="For example pytorch/pytorch#1234.")],
    as_json: Json = False,
) -> None:
    """Explain one issue: its text as read, normalized, its ids, every answer with reason and versions, its document."""
    repository, mark, number = item.partition("#")
    if not mark or not (number.isascii() and number.isdigit()) or repository.count("/") != 1:
        raise ConfigurationError(f"{item!r} names no issue; write OWNER/NAME#NUMBER")
    store = wiring.open_store(read_settings())
    try:
        with store.transaction() as connection:
            check_schema(connection)
            found = inspection.select_explanation(connection, repository, int(number))
    finally:
        store.close()
    if found is None:
        raise ConfigurationError(f"{item} is not stored; `issuetide status` lists what is")
    from etl import dedup

    for text in found.texts:
        text["normalized"] = dedup.normalize(text["body"])
    if as_json:
        print_json({"item": found.item, "texts": found.texts, "answers": found.answers, "documents": found.documents})
    else:
        _print_explanation(found)


def _print_explanation(found: inspection.ItemExplanation) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console, item = Console(), found.item
    _echo_line(f"{item['repository']}#{item['number']} ({item['kind']}, {item['state']}) {item['title']}")
    _echo_line(f"{item['url']}  version {item['row_version']}, content {item['content_hash']}")
    if item["tombstone"]:
        _echo_line(f"no longer at its source: {item['tombstone']}")
    if item["queued"]:
        _echo_line("changed since its texts were made; the next run makes them again")
    for text in found.texts:
        console.print(Panel(Text(_shown(text["body"])), title=f"text `{text['input']}` as a classifier reads it"))
        console.print(Panel(Text(_shown(text["normalized"])), title="normalized (what the ids are made of)"))
        _echo_line(
            f"text_hash {text['text_hash']}  family_hash {text['family_hash']}"
            f"  (shared by {text['items_with_this_text']} items)"
        )
    if not found.answers:
        _echo_line("no answer yet")
    for answer in found.answers:
        pairs = ", ".join(f"{c} {p:.2f}" for c, p in zip(answer["categories"], answer["confidences"], strict=True))
        _echo_line(
            f"{answer['task']} v{answer['task_version']}: {pairs or answer['outcome']}"
            f"  by {answer['classifier']} {answer['model']} prompt {answer['prompt_version']}"
            f" at {answer['created_at']:%Y-%m-%d %H:%M} ${float(answer['cost_usd']):.6f}",
            before="→ " if answer["current"] else "  ",
        )
        _echo_line(str(answer["rationale"]), before="    ")
    for document in found.documents:
        held = document["exported_version"]
        state = "held by no sink" if held is None else "up to date" if held == document["row_version"] else "outdated"
        _echo_line(f"document {document['document_id']} ({state})")
        if document["dead_letter"]:
            _echo_line(f"refused: {document['dead_letter']}", before="    ")
        print_json(document["source"])


def _echo_line(text: str, *, before: str = "") -> None:
    """One line, whatever strangers wrote into `text`: nothing that moves a cursor, no markup, no end of a line."""
    typer.echo(before + plain_line(text, _LONGEST_LINE))


def _shown(text: str, most: int = 3000) -> str:
    shown = text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
    return plain_text(shown)


@stop
def report_command(
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="NAME", help="Several times; default: every task asked so far."),
    ] = None,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", "-r", metavar="OWNER/NAME", help="Several times; default: all.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Every answer of one task as JSON (`results.json` of the user-error categorizer)."),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every answer of one task as CSV.")] = False,
    uncertain: Annotated[bool, typer.Option("--uncertain", help="With --json or --csv: only abstained ones.")] = False,
) -> None:
    """Show the trends: per task the categories with their course, and what needs a look. Or write them as a file."""
    from importlib.metadata import version

    from etl.report.data import collect_report

    if sum((html is not None, as_json, as_csv)) > 1:
        raise ConfigurationError("--html, --json and --csv exclude each other; give one")
    settings = read_settings()
    store = wiring.open_store(settings)
    try:
        with store.transaction() as connection:
            check_schema(connection)
            known = load_tasks(settings.issuetide_tasks_dir)
            asked = [name for name in inspection.select_tracked_tasks(connection) if name in known]
            tasks = select_tasks(known, task or asked or wiring.choose_task_names(settings))
            if as_json or as_csv:
                _print_answers(connection, tasks, repo or (), as_json=as_json, uncertain=uncertain)
                return
            data = collect_report(connection, tasks, version=version("issuetide"), repositories=tuple(repo or ()))
    finally:
        store.close()
    if html is not None:
        from etl.report.html import render_html

        try:
            html.write_text(render_html(data), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"--html {html} cannot be written: {error.strerror}") from None
        typer.echo(f"wrote {html}")
        return
    from rich.console import Console

    from etl.report.terminal import print_report

    print_report(data, Console())


def _print_answers(
    connection: Connection, tasks: Sequence[Task], repositories: Sequence[str], *, as_json: bool, uncertain: bool
) -> None:
    from etl.db.report_queries import select_abstained_issues, select_answered_issues
    from etl.report.results import render_csv, render_json

    if len(tasks) != 1:
        raise ConfigurationError(
            f"--json and --csv are about one task; choose with --task: {', '.join(task.name for task in tasks)}"
        )
    if uncertain:
        issues = select_abstained_issues(connection, tasks[0].name, tuple(repositories), limit=1_000_000)
    else:
        issues = select_answered_issues(connection, tasks[0].name, tuple(repositories))
    typer.echo(render_json(issues, tasks[0]) if as_json else render_csv(issues, tasks[0]), nl=False)


@dashboards_app.command("import")
@stop
def dashboards_import_command(
    url: Annotated[str | None, typer.Option("--url", help="OpenSearch Dashboards; default DASHBOARDS_URL.")] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Tenant of the security plugin; `global` is everyone's.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", "-t", help="The task that is shown first.")] = None,
    as_json: Json = False,
) -> None:
    """Import the dashboards into OpenSearch Dashboards and read every object back. Safe to repeat."""
    from dataclasses import asdict

    from etl.dashboards.importing import import_dashboards
    from etl.resources import resource_folder

    settings = read_settings()
    address = url or (settings.dashboards_url.get_secret_value() if settings.dashboards_url else None)
    if address is None:
        raise ConfigurationError("no address: set DASHBOARDS_URL or give --url, for example http://127.0.0.1:5601")
    imported = import_dashboards(
        address,
        resource_folder("dashboards"),
        tenant=tenant,
        prefix=settings.issuetide_index_prefix,
        ca_file=settings.opensearch_ca_file,
        task=task,
    )
    if as_json:
        print_json([asdict(entry) for entry in imported])
        return
    for entry in imported:
        typer.echo(f"{entry.status:<8} {entry.type:<14} {entry.id:<44} {entry.title}")
    typer.echo(f"{len(imported)} objects imported and read back; open {wiring.shown_host(address)}/app/dashboards")


@tasks_app.command("list")
@stop
def tasks_list_command(as_json: Json = False) -> None:
    """List the tasks: name, version, question, categories."""
    tasks = load_tasks(read_settings().issuetide_tasks_dir).values()
    if as_json:
        print_json([_task_values(task) for task in tasks])
        return
    for task in tasks:
        many = f", up to {task.at_most} of them" if task.answers == "many_of" else ""
        typer.echo(f"{task.name} v{task.version} ({task.input}): {task.question.strip()}")
        typer.echo(f"    {', '.join(category.id for category in task.live_categories)}{many}, or {task.abstain}")


def _task_values(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "version": task.version,
        "title": task.title,
        "question": task.question.strip(),
        "input": task.input,
        "answers": task.answers,
        "at_most": task.at_most,
        "abstain": task.abstain,
        "categories": [category.id for category in task.live_categories],
        "sha256": task.sha256,
        "path": task.path,
    }


@tasks_app.command("check")
@stop
def tasks_check_command(
    files: Annotated[list[Path] | None, typer.Argument(help="Task files; default: all that a run would load.")] = None,
) -> int:
    """Check task files and say what is wrong with each; the exit code says whether all were right."""
    from etl.tasks import parse_task

    if not files:
        typer.echo(f"{len(load_tasks(read_settings().issuetide_tasks_dir))} tasks are right")
        return 0
    wrong = 0
    for path in files:
        try:
            task = parse_task(path.read_bytes(), str(path))
            typer.echo(f"{path}: right ({task.name} v{task.version}, {len(task.categories)} categories)")
        except OSError as error:
            wrong += 1
            typer.echo(f"{path}: cannot be read: {error.strerror}", err=True)
        except IssuetideError as error:
            wrong += 1
            typer.echo(str(error), err=True)
    return ConfigurationError.exit_code if wrong else 0
