"""`batches list`, `batches collect`, `batches cancel`: what was handed over to Anthropic in batches, and what of it."""

from contextlib import closing
from datetime import UTC
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.options import Json
from etl.cli.output import print_json, print_line, print_outcome, stop
from etl.cli.pipeline_commands import Session, begin, command_line, recorded
from etl.cli.progress import make_progress
from etl.db.queries import batches
from etl.errors import ConfigurationError
from etl.pipeline import Plan, run
from etl.settings import read_settings
from etl.stages.batches import Batching

batches_app = typer.Typer(name="batches", no_args_is_help=True, help="Batches at Anthropic: what is under way.")


@batches_app.command("list", short_help="Show batches, the newest first.")
@stop
def list_command(
    only_open: Annotated[bool, typer.Option("--open", help="Only those under way.")] = False,
    limit: options.Newest = 20,
    as_json: Json = False,
) -> None:
    """Show batches, the newest first: state, texts, what came back, cost. Asks PostgreSQL only."""
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        found = batches.select_batches(connection, limit, only_open=only_open)
    if as_json:
        print_json(found)
        return
    if not found:
        print_line("no batch is under way" if only_open else "no batch was ever submitted")
    for batch in found:
        print_line(_words(batch))


def _words(batch: dict[str, Any]) -> str:
    since = (batch["submitted_at"] or batch["created_at"]).astimezone(UTC)
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(batch["outcomes"].items()))
    cost = f"${float(batch['cost_usd']):.4f}" if batch["settled_at"] else f"at most ${float(batch['reserved_usd']):.4f}"
    error = f": {batch['error']}" if batch["error"] else ""
    return (
        f"batch {batch['id']} {batch['state']} since {since:%Y-%m-%d %H:%M} UTC, {batch['task']}"
        f" {batch['task_version']} by {batch['model']}: {batch['texts']:,} texts in {batch['requests']:,} requests"
        f" ({outcomes}), {cost}, at Anthropic {batch['vendor_id'] or 'unknown'}{error}"
    )


def _batching(session: Session) -> Batching:
    if session.settings.anthropic_api_key is None:
        raise ConfigurationError(
            "batches need ANTHROPIC_API_KEY; set it to a key of the workspace in which they were submitted"
        )
    chosen = wiring.make_classifier(session.settings, "claude", None, None, session.deadline)
    batching = wiring.plan_batching(session.settings, chosen, None, session.deadline)
    if batching is None:
        raise ConfigurationError("the classifier claude has no batches")
    return batching


@batches_app.command("collect", short_help="Collect now what has ended.")
@stop
def collect_command(
    deadline: options.Deadline = None,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Collect now what has ended, as every run does first; nothing is asked or submitted."""
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    with recorded(session, (), dry_run=False):
        plan = Plan(
            command=command_line(),
            batching=_batching(session),
            only_collect=True,
            index_prefix=session.settings.issuetide_index_prefix,
            deadline=session.deadline,
        )
    with closing(wiring.open_store(session.settings)) as store:
        outcome = run(store, plan, make_progress())
        is_index_set = session.settings.opensearch_url is not None
        print_outcome(store, plan, outcome, as_json=as_json, chart=False, is_index_set=is_index_set)
    return outcome.exit_code


@batches_app.command("cancel", short_help="Ask Anthropic to end a batch early.")
@stop
def cancel_command(
    batch: Annotated[int, typer.Argument(metavar="ID", help="The number that `batches list` shows.")],
) -> None:
    """Ask Anthropic to end a batch early. What it has done by then is paid and collected, the rest is asked again."""
    session = begin("text", as_json=False, verbose=False)
    with wiring.opened_store(session.settings) as store:
        with store.transaction() as connection:
            found = batches.select_open_batch(connection, batch)
        if found is None:
            raise ConfigurationError(f"no batch {batch} is under way; `issuetide batches list` shows them")
        if found.vendor_id is None:
            raise ConfigurationError(
                f"of batch {batch} it is not known yet whether Anthropic has it; the next run finds out"
            )
        _batching(session).batches.cancel(found.vendor_id)
    print_line(f"batch {batch} is being canceled; the next run, or `issuetide batches collect`, takes what it has")
