"""The tree of commands."""

from typing import Annotated

import typer

from etl.cli import pipeline_commands, report_commands, server_commands, task_commands
from etl.cli.batch_commands import batches_app
from etl.cli.compare_command import compare_command
from etl.cli.dashboards_commands import dashboards_app
from etl.cli.dedup_commands import dedup_app
from etl.cli.doctor import doctor_command
from etl.cli.evaluate_command import evaluate_command
from etl.cli.explain_command import explain_command
from etl.cli.index_commands import index_app
from etl.cli.override_command import override_command
from etl.cli.purge_command import purge_command
from etl.cli.reclassify_command import reclassify_command
from etl.cli.review_command import review_command
from etl.cli.status_command import status_command
from etl.cli.train_command import train_command
from etl.cli.verify_command import verify_command

app = typer.Typer(
    name="issuetide",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="GitHub issues into PostgreSQL, classified once per distinct text, exported to OpenSearch for trends.\n\n"
    "Settings come from the environment (GITHUB_TOKEN, ANTHROPIC_API_KEY, DATABASE_URL, OPENSEARCH_URL), `.env` or"
    " `issuetide.toml`; `issuetide doctor` checks them all. Without any of them `issuetide demo` shows"
    " everything on a sample.",
)


def _print_version(wanted: bool) -> None:
    """Answers --version while the arguments are parsed: after that a command would be missing."""
    if wanted:
        from importlib.metadata import version as installed_version

        typer.echo(f"issuetide {installed_version('issuetide')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What stands before the commands; the help of `app` is what people read. `version` has been answered by now."""


app.command("run", epilog=pipeline_commands.EXIT_CODES)(pipeline_commands.run_command)
app.command("fetch")(pipeline_commands.fetch_command)
app.command("classify")(pipeline_commands.classify_command)
app.command("compare", short_help="Compare two prompts, models or classifiers.")(compare_command)
app.command("reclassify", short_help="Give answers anew that are not by today's prompt and model.")(reclassify_command)
app.command("export")(pipeline_commands.export_command)
app.command("demo")(pipeline_commands.demo_command)
app.command("status", short_help="Show how everything stands and how fresh it is.")(status_command)
app.command("doctor")(doctor_command)
app.command("train", short_help="Train the local model from stored answers.")(train_command)
app.command("explain")(explain_command)
app.command("verify", short_help="Compare GitHub, PostgreSQL and OpenSearch.")(verify_command)
app.command("override", short_help="Say what the right answer about an issue is.")(override_command)
app.command("review", short_help="Write the weekly sample that people answer, or read it back.")(review_command)
app.command("evaluate", short_help="Measure answers against known ones.")(evaluate_command)
app.command("purge", short_help="Erase one issue or pull request for good.")(purge_command)
app.command("report")(report_commands.report_command)
app.add_typer(task_commands.tasks_app, name="tasks")
app.add_typer(dedup_app, name="dedup")
app.add_typer(index_app, name="index")
app.add_typer(batches_app, name="batches")
app.add_typer(dashboards_app, name="dashboards")
app.add_typer(server_commands.database_app, name="db")
app.add_typer(server_commands.servers_app, name="servers")
