"""`report`: the trends, on the terminal or as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection

from etl.cli import options, wiring
from etl.cli.output import is_standard_output, print_error, stop, write_file
from etl.db.queries import inspection
from etl.errors import ConfigurationError
from etl.settings import read_settings
from etl.tasks import Task, load_tasks, select_tasks

if TYPE_CHECKING:
    from etl.report.data import ReportData


@stop
def report_command(
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="NAME", help="Several times; default: every task asked so far."),
    ] = None,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", "-r", metavar="OWNER/NAME", help="Several times; default: all.")
    ] = None,
    html: options.Html = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Every answer of one task as JSON (`results.json` of the user-error categorizer)."),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every answer of one task as CSV.")] = False,
    uncertain: Annotated[bool, typer.Option("--uncertain", help="With --json or --csv: only abstained ones.")] = False,
) -> None:
    """Show the trends, or write them as a file.

    Per task the categories with their course, and what needs a look.
    """
    from importlib.metadata import version

    from etl.report.data import collect_report

    if sum((html is not None, as_json, as_csv)) > 1:
        raise ConfigurationError("--html, --json and --csv exclude each other; give one")
    settings = read_settings()
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        known = load_tasks(settings.issuetide_tasks_dir)
        asked = [name for name in inspection.select_tracked_tasks(connection) if name in known]
        tasks = select_tasks(known, task or asked or wiring.choose_task_names(settings))
        if as_json or as_csv:
            _print_answers(connection, tasks, repo or (), as_json=as_json, uncertain=uncertain)
            return
        collected = collect_report(connection, tasks, version=version("issuetide"), repositories=tuple(repo or ()))
        shared = inspection.select_shared_names(connection)
    for name, hosts in shared.items():
        if name in (repo or [name]):
            print_error(f"{name} is stored of {' and '.join(hosts)}: their issues are counted as one repository's")
    if html is not None:
        _write_page(html, collected)
        return
    from rich.console import Console

    from etl.report.terminal import print_report

    print_report(collected, Console())


def _write_page(path: Path, collected: "ReportData") -> None:
    from etl.report.html import render_html

    write_file(path, render_html(collected), "--html")
    if not is_standard_output(path):
        typer.echo(f"wrote {path}")


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
