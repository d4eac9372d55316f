"""`override`: a person's answer about an issue, which wins over every classification."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.decision_commands import read_signature
from etl.cli.output import print_json, print_line, stop
from etl.cli.purge_command import find_item, parse_item
from etl.db.queries.annotations import select_overrides
from etl.errors import ConfigurationError
from etl.settings import Settings, read_settings
from etl.stages import annotations
from etl.stages.annotations import Overridden
from etl.stages.decisions import Named, Signed
from etl.tasks import Task


@stop
def override_command(
    item: Annotated[
        str | None, typer.Argument(metavar="OWNER/NAME#NUMBER", help="The issue; none with --list.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", "-t", metavar="NAME", help="The question; with --list several, default all."),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(
            "--category", "-c", metavar="NAME", help="The right answer; several times where the task allows it."
        ),
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so; kept with it.")] = "",
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept with it.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the override back; it stays on record.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the overrides that hold.")] = False,
    every: Annotated[bool, typer.Option("--all", help="With --list: also those that were withdrawn.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say what the right answer about an issue is. It wins for ever over every classifier.

    It survives edits of the issue, new versions of the task and renames, shows in views at once and in OpenSearch with
    the next export, and joins the golden set of `issuetide evaluate`. Where the text does not decide the question, give
    the task's abstain word (`issuetide tasks show NAME`).

    Example: issuetide override octo/demo#12 --task issue_kind --category bug --by ana --why "the trace is ours"
    """
    settings = read_settings()
    if list_all:
        if item is not None or category or withdraw:
            raise ConfigurationError("--list takes no issue, no --category and no --withdraw")
        _print_overrides(settings, task or (), every=every, as_json=as_json)
        return
    if item is None or len(task or ()) != 1 or every:
        raise ConfigurationError("name one issue (OWNER/NAME#NUMBER) and one --task; --list shows what there is")
    (chosen,) = wiring.choose_tasks(settings, task or ())
    if withdraw and category:
        raise ConfigurationError("--withdraw takes back what holds, whatever its category: leave --category out")
    result = _decide(settings, item, chosen, category or (), read_signature(by, why), withdraw=withdraw)
    if as_json:
        print_json(asdict(result))
    else:
        _print_result(item, chosen, result, withdrawn=withdraw)


def _decide(
    settings: Settings, item: str, task: Task, words: Sequence[str], signed: Signed, *, withdraw: bool
) -> Overridden:
    categories = () if withdraw else annotations.read_categories(task, words)
    with wiring.opened_store(settings) as store:
        named = Named(item, find_item(store, *parse_item(item)).ids)
        if withdraw:
            return annotations.withdraw_override(store, named, task, signed)
        return annotations.override_item(store, named, task, categories, signed)


def _print_result(item: str, task: Task, result: Overridden, *, withdrawn: bool) -> None:
    what = ", ".join(result.categories) or task.abstain
    if withdrawn:
        print_line(
            f"override {result.annotation_id} ({what}) is withdrawn: the classifier's answer on {item} counts again"
        )
    elif result.annotation_id is None:
        print_line(f"{item} is {what} for {task.name} already, by the same person for the same reason")
    else:
        before = "" if result.replaced is None else f"; override {result.replaced} is withdrawn"
        print_line(f"override {result.annotation_id}: {item} is {what} for {task.name}{before}")
    if not result.applies:
        print_line(
            f"task {task.name} is not asked of {item} as it is now: no view and no document shows it until it is"
        )
    else:
        print_line("views show it now, OpenSearch with the next export")


def _print_overrides(settings: Settings, tasks: Sequence[str], *, every: bool, as_json: bool) -> None:
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        found = select_overrides(connection, tasks, withdrawn=every)
    if as_json:
        print_json(found)
        return
    for entry in found:
        print_line(annotation_line(entry))
    if not found:
        print_line("no overrides" if every else "no overrides hold (--all also lists those that were withdrawn)")


def annotation_line(entry: Mapping[str, Any]) -> str:
    """One annotation in one line."""
    what = ", ".join(entry["categories"]) or "abstained"
    formerly = f" (given as {', '.join(entry['as_given'])})" if entry["as_given"] != entry["categories"] else ""
    reason = f": {entry['reason']}" if entry["reason"] else ""
    line = (
        f"{entry['role']} {entry['id']}: {entry['issue']} is {what}{formerly} for {entry['task']}, by"
        f" {entry['annotator']} at {entry['created_at']:%Y-%m-%d %H:%M}{reason}"
    )
    if entry["withdrawn_at"] is None:
        return line
    return (
        f"{line}; withdrawn by {entry['withdrawn_by']} at {entry['withdrawn_at']:%Y-%m-%d %H:%M}:"
        f" {entry['withdrawn_reason']}"
    )
