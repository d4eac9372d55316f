"""What the commands print: a run's outcome, errors in one line, and the exit code that goes with them."""

import functools
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

import typer

from etl.cli import EXIT_INTERRUPTED
from etl.cli.progress import JsonFormatter
from etl.db.store import Store
from etl.demo import SAMPLE_ANNOTATORS
from etl.errors import ConfigurationError, IssuetideError
from etl.interrupts import interrupts
from etl.pipeline import Plan, RunOutcome, status_of
from etl.report.words import count_words, plain_json, plain_line, plain_text
from etl.settings import Settings
from etl.stages.base import Rehashed, Tally

_log = logging.getLogger("issuetide")
_LONGEST_LINE = 2000


def stop(command: Callable[..., int | None]) -> Callable[..., None]:
    """Ends a command with its exit code; our errors become one line on standard error.

    With `--json` they are also an object on standard output, as a run's outcome that failed is: whoever reads it gets
    JSON however the command ends. No command fails once it has printed its own.
    """

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:  # noqa: ANN401  (whatever the command takes)
        try:
            with interrupts.let_in():
                code = command(*arguments, **options)
        except IssuetideError as error:
            status, code, message = status_of(error), error.exit_code, str(error)
        except KeyboardInterrupt:
            status, code = "interrupted", EXIT_INTERRUPTED
            message = "interrupted; what is stored stays, the next run goes on from here"
        else:
            if code:
                raise typer.Exit(code)
            return
        if options.get("as_json"):
            print_json({"status": status, "exit_code": code, "error": message})
        print_error(message)
        raise typer.Exit(code)

    return wrapped


def print_error(message: str) -> None:
    """The reason why a command ends, in one line on standard error: what strangers wrote in it moves no cursor.

    Where the log is JSON, it is a line of the log.
    """
    line = plain_line(message, _LONGEST_LINE)
    if any(isinstance(handler.formatter, JsonFormatter) for handler in logging.getLogger().handlers):
        _log.error(line)
    else:
        typer.echo(f"issuetide: {line}", err=True)


def print_line(text: str, *, before: str = "") -> None:
    """One line, whatever strangers wrote into `text`: nothing that moves a cursor, no markup, no end of a line."""
    typer.echo(before + plain_line(text, _LONGEST_LINE))


def print_row(text: str) -> None:
    """As `print_line`, with the spaces that make columns: for lines whose strangers' words are single ones."""
    typer.echo(plain_text(text).replace("\n", " ").replace("\t", " ")[:_LONGEST_LINE])


def print_json(value: object) -> None:
    """`value` as JSON on standard output, times in ISO 8601."""
    typer.echo(plain_json(value))


def is_standard_output(path: Path | None) -> bool:
    """Whether the file that the user named is `-`."""
    return path is not None and str(path) == "-"


def check_apart(path: Path | None, option: str, *, as_json: bool) -> None:
    """Passes where the file that the user named with `option` and the JSON of `--json` do not get into one another.

    Raises:
        ConfigurationError: both are to go to standard output.
    """
    if as_json and is_standard_output(path):
        raise ConfigurationError(f"{option} - and --json both write to standard output: give {option} a file's name")


@contextmanager
def beside(path: Path | None) -> Iterator[None]:
    """Within, what is printed goes to standard error where `path` is `-`: standard output has the file alone."""
    if is_standard_output(path):
        with redirect_stdout(sys.stderr):
            yield
    else:
        yield


def write_file(path: Path, content: str | bytes, option: str) -> None:
    """Writes what is asked for to the file that the user named with `option`; `-` is standard output. Words are UTF-8.

    Raises:
        ConfigurationError: it cannot be written.
    """
    written = content.encode() if isinstance(content, str) else content
    if is_standard_output(path):
        typer.echo(written, nl=False)
        return
    try:
        path.write_bytes(written)
    except OSError as error:
        raise ConfigurationError(f"{option} {path} cannot be written: {error.strerror}; choose another path") from None


def outcome_values(outcome: RunOutcome) -> dict[str, object]:
    """The outcome of a run as plain values, for `--json`."""
    tally = outcome.tally
    return {
        "run_id": outcome.run_id if outcome.is_recorded else None,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 2),
        **{name: count for name, count in sorted(tally.counts.items()) if name != "notes"},
        "cost_usd": round(tally.cost_usd, 6),
        "model": tally.model,
        "waiting_texts": tally.waiting_texts,
        "executors": tally.executors,
        "in_batches": tally.in_batches,
        "waiting_documents": tally.waiting_documents,
        "estimated_usd": tally.estimated_usd,
        "rehashed": None if tally.rehashed is None else asdict(tally.rehashed),
        "error": outcome.error,
        "notes": tally.notes,
        "remarks": tally.remarks,
    }


def outcome_lines(plan: Plan, outcome: RunOutcome, *, dry_run: bool, is_index_set: bool) -> list[str]:
    """The outcome of a run in a few lines for people. is_index_set: whether OPENSEARCH_URL is."""
    tally, counts = outcome.tally, outcome.tally.counts
    title = (
        f"run {outcome.run_id}: {outcome.status}" if not dry_run else f"dry run: {outcome.status}, nothing was written"
    )
    lines = [f"{title} ({outcome.seconds:.1f} s)"]
    if plan.fetches:
        lines.append(
            f"  fetched     {count_words(counts['items_read'], 'item')} read, {counts['items_new']:,} new,"
            f" {counts['items_changed']:,} changed"
        )
        lines += _github_lines(counts)
    if counts["characters_replaced"]:
        lines.append(f"  cleaned     {count_words(counts['characters_replaced'], 'character')} that PostgreSQL refuses")
    if tally.rehashed is not None:
        lines += _rehash_lines(tally.rehashed)
    lines.append(f"  texts       {counts['texts_new']:,} new")
    if plan.classifier is not None:
        dollars = f", ${tally.cost_usd:.4f}" if tally.cost_usd else ""
        lines.append(
            f"  classified  {count_words(counts['texts_asked'], 'text')} by `{plan.classifier.name}`"
            f"{f' ({tally.model})' if tally.model else ''}{dollars}"
        )
        lines += _asking_lines(counts)
    lines += _batch_lines(tally)
    lines += _kin_lines(counts)
    for task, waiting in tally.waiting_texts.items():
        if waiting:
            lines.append(f"  waiting     {count_words(waiting, 'text')} for task {task}")
    if tally.estimated_usd is not None:
        lines.append(f"  estimate    ${tally.estimated_usd:.4f} for the texts that wait")
    if plan.sink is not None and not dry_run:
        letters = count_words(counts["dead_letters"], "refused (dead letter)", "refused (dead letters)")
        refused = f", {letters}" if counts["dead_letters"] else ""
        lines.append(f"  exported    {count_words(counts['documents_written'], 'document')}{refused}")
    elif tally.waiting_documents is not None:
        documents = count_words(tally.waiting_documents, "document waits", "documents wait")
        what_for = "for `issuetide export`" if is_index_set else "in PostgreSQL (OPENSEARCH_URL is not set)"
        lines.append(f"  to export   {documents} {what_for if plan.sink is None else 'in PostgreSQL'}")
    lines += [f"  left behind {plain_line(note, _LONGEST_LINE)}" for note in tally.notes]
    lines += [f"  remark      {plain_line(remark, _LONGEST_LINE)}" for remark in tally.remarks]
    return lines


def _rehash_lines(found: Rehashed) -> list[str]:
    """What a run did because the rules of ids had changed."""
    asked = sum(found.asked_anew.values())
    versions = f"rules {found.from_version} → {found.to_version}"
    what = f"{count_words(found.texts, 'text')}, {found.merged:,} merged, {found.split:,} split off"
    anew = count_words(asked, "is asked anew", "are asked anew")
    lines = [f"  new ids     {versions}: {what}; answers stay, {anew}"]
    if found.conflicts:
        lines.append(f"  conflicts   {found.conflicts:,} between answers of merged texts: `issuetide dedup decisions`")
    return lines


def _asking_lines(counts: Mapping[str, int]) -> list[str]:
    """What asking met that a person may want to know; nothing where all went plainly."""
    lines = []
    if counts["redactions"]:
        lines.append(f"  replaced    {counts['redactions']:,} secrets and names, before texts were sent")
    if counts["texts_refused"]:
        lines.append(f"  refused     {counts['texts_refused']:,} texts by the model; they are not asked about again")
    return lines


def _batch_lines(tally: Tally) -> list[str]:
    """How Claude was asked and why, and what is in batches; nothing where all was asked at once."""
    lines = [f"  executor    {task}: {why}" for task, why in tally.executors.items() if why.startswith("batch")]
    if tally.counts["texts_collected"]:
        lines.append(f"  collected   {tally.counts['texts_collected']:,} answers from batches")
    if tally.counts["texts_submitted"]:
        lines.append(f"  submitted   {tally.counts['texts_submitted']:,} texts in batches")
    for task, standing in tally.in_batches.items():
        lines.append(f"  in batches  {batch_words(task, standing)}")
    return lines


def batch_words(task: str, standing: Mapping[str, Any]) -> str:
    """How much of a task is in batches, and since when."""
    since = standing["since"].astimezone(UTC)
    return (
        f"{standing['texts']:,} texts of {task} in {standing['batches']} under way,"
        f" the oldest since {since:%Y-%m-%d %H:%M} UTC"
    )


def _kin_lines(counts: Mapping[str, int]) -> list[str]:
    """What a run answered without asking, and what it found by way of likeness; nothing where it did not look."""
    lines = []
    if counts["texts_local"]:
        lines.append(f"  cascade     {counts['texts_local']:,} texts answered by the trained model")
    if counts["texts_inherited"]:
        one, many = "text has the answer of one of its kin", "texts have the answer of one of their kin"
        lines.append(f"  inherited   {count_words(counts['texts_inherited'], one, many)}")
    if counts["texts_compared"]:
        compared = count_words(counts["texts_compared"], "long text")
        lines.append(f"  near        {compared} compared, {count_words(counts['near_pairs'], 'pair')}")
    return lines


def _github_lines(counts: Mapping[str, int]) -> list[str]:
    """What a run asked of GitHub, and what its sweep found; nothing for a run that read a file."""
    if not counts["api_calls"]:
        return []
    left = f", {counts['rate_limit_left']:,} left" if "rate_limit_left" in counts else ""
    waited = f", waited {counts['waited_seconds']:,} s" if counts["waited_seconds"] else ""
    lines = [f"  GitHub      {count_words(counts['api_calls'], 'call')}{left}{waited}"]
    if counts["sweep_calls"]:
        lines.append(
            f"  swept       {counts['sweep_calls']:,} of the calls: {count_words(counts['items_vanished'], 'item')}"
            f" vanished, {count_words(counts['items_returned'], 'is back', 'are back')},"
            f" {count_words(counts['comments_vanished'], 'comment')} deleted"
        )
    return lines


def print_outcome(
    store: Store, plan: Plan, outcome: RunOutcome, *, as_json: bool, chart: bool, is_index_set: bool
) -> None:
    """Prints how a run ended: the outcome on standard output, its error, if any, in one line on standard error.

    chart: also a summary of the run's tasks over everything stored, as people like to see it and logs do not.
    is_index_set: whether OPENSEARCH_URL is.
    """
    if as_json:
        print_json(outcome_values(outcome))
    else:
        if chart and plan.tasks:
            print_chart(store, plan)
        for line in outcome_lines(plan, outcome, dry_run=store.dry_run, is_index_set=is_index_set):
            typer.echo(line)
    if outcome.error:
        print_error(outcome.error)


def print_chart(store: Store, plan: Plan) -> None:
    """The summary of the run's tasks with their small charts."""
    from importlib.metadata import version

    from rich.console import Console

    from etl.report.data import collect_report
    from etl.report.terminal import print_report

    with store.transaction() as connection:
        data = collect_report(connection, plan.tasks, version=version("issuetide"))
    print_report(data, Console(), lists=False)


def print_demo_outcome(
    store: Store, plan: Plan, outcome: RunOutcome, exported: RunOutcome | None, reviews: int, *, as_json: bool
) -> None:
    """Prints how the demo's run ended, and how the export of the reviews that were stored after it did.

    JSON is one object: of the export where that failed, else of the run.
    """
    decides = exported if as_json and exported is not None and exported.error else outcome
    print_outcome(store, plan, decides, as_json=as_json, chart=True, is_index_set=True)
    if exported is None or as_json:
        return
    written = count_words(exported.tally.counts["documents_written"], "document")
    typer.echo(f"  reviewed    {reviews} answers, by invented people; run {exported.run_id} exported {written}")
    if exported.error:
        print_error(exported.error)


def print_demo_end(settings: Settings, issue: str) -> None:
    """Where the demo's data is, and the next commands to try; `issue` is one worth explaining."""
    me = shlex.quote(sys.argv[0])
    people = " and ".join(SAMPLE_ANNOTATORS)
    typer.echo(f"""
The data is in {settings.issuetide_data_dir}: a PostgreSQL and an OpenSearch, which go on running.
The issues are invented, and so are the people who judged some of the answers: {people}.
They are what every command uses where DATABASE_URL is not set and OPENSEARCH_URL=local is: for issues of your own,
delete that folder first (after `servers stop`), or set ISSUETIDE_DATA_DIR to another one.
Next, try:
  {me} report --html report.html
      the trends as one page for your browser
  {me} explain {shlex.quote(issue)}
      everything known of one issue: text, ids, answers, documents
  {me} db shell
      a SQL prompt; docs/sql.md has the views and examples
  OPENSEARCH_URL=local {me} status
      what is stored and what OpenSearch holds of it
And when you are done: {me} servers stop""")
