"""`review`: the weekly sample that people answer themselves, and how far they agree."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer

from etl.cli import options, wiring
from etl.cli.decision_commands import read_name
from etl.cli.output import print_json, print_line, stop
from etl.db.queries.annotations import ReviewedItem, select_answer_weeks, select_reviewed_items, select_week_answers
from etl.errors import ConfigurationError
from etl.evaluate.agreement import Agreement, compare_pairs
from etl.evaluate.sheet import Form, read_sheet, write_sheet
from etl.report.quality import figure_words
from etl.settings import Settings, read_settings
from etl.stages.annotations import store_reviews
from etl.tasks import Task

CLASSIFIER = "the classifier"


@stop
def review_command(
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="The question that is reviewed.")],
    week: Annotated[
        str | None,
        typer.Option("--week", metavar="WEEK", help="ISO week as 2026-W47; default: the last full one with answers."),
    ] = None,
    size: options.SampleSize = 20,
    lowest: options.LowestSize = 20,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it; - is standard output, the default."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORM", help="csv or jsonl; default: by the file's name, else csv."),
    ] = None,
    show_answers: Annotated[
        bool, typer.Option("--show-answers", help="Also the classifier's answers, which sway whoever sees them.")
    ] = False,
    read: Annotated[
        Path | None,
        typer.Option("--read", metavar="FILE", help="Read a sheet that was filled in (- for standard input)."),
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="With --read: who filled it in.")] = "",
    agreement: Annotated[bool, typer.Option("--agreement", help="Show how far those who reviewed agree.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write the week's sample as a sheet to fill in, read it back, or show how far people agree.

    Everybody who asks for one week gets the same sample. Fill in `category` (several with semicolons between, or the
    task's abstain word) and `why`; what is left blank is skipped.

    Example: issuetide review --task issue_kind --output week.csv, then issuetide review --task issue_kind --read
    week.csv --by ana
    """
    if read is not None and agreement:
        raise ConfigurationError("--read and --agreement exclude each other; give one")
    if as_json and read is None and not agreement:
        raise ConfigurationError("--json is for --read and --agreement: a sheet is written as --format csv or jsonl")
    settings = read_settings()
    (chosen,) = wiring.choose_tasks(settings, [task])
    if agreement:
        _print_agreement(settings, chosen, as_json=as_json)
    elif read is not None:
        _read(settings, chosen, read, read_name(by), as_json=as_json)
    else:
        _write(settings, chosen, week, (size, lowest), output, _form_of(form, output), show_answers=show_answers)


def _form_of(form: str | None, output: Path | None) -> Form:
    if form is None:
        return "jsonl" if output is not None and output.suffix == ".jsonl" else "csv"
    if form == "csv":
        return "csv"
    if form == "jsonl":
        return "jsonl"
    raise ConfigurationError(f"--format {form[:80]} is unknown; use csv or jsonl")


def week_begin(week: str) -> datetime:
    """The Monday, in UTC, that an ISO week begins with.

    Raises:
        ConfigurationError: it is no week of any year.
    """
    try:
        return datetime.strptime(f"{week}-1", "%G-W%V-%u").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigurationError(f"--week {week[:80]!r} is no ISO week; write it as 2026-W47") from None


def choose_week(weeks: Sequence[str], now: datetime) -> str | None:
    """Of the weeks with answers (newest first) the newest that is over; else the one that is not; None of none."""
    over = [week for week in weeks if week_begin(week) + timedelta(days=7) <= now]
    return (over or [*weeks])[0] if weeks else None


def _write(
    settings: Settings,
    task: Task,
    week: str | None,
    sizes: tuple[int, int],
    output: Path | None,
    form: Form,
    *,
    show_answers: bool,
) -> None:
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        weeks = select_answer_weeks(connection, task.name)
        named = week or choose_week(weeks, datetime.now(UTC))
        if named is None:
            raise ConfigurationError(f"task {task.name} has no answers yet; `issuetide classify --task {task.name}`")
        begin = week_begin(named)
        found = select_week_answers(connection, task, named, begin, size=sizes[0], lowest=sizes[1])
    if not found and any(sizes):
        known = f"; weeks with answers: {', '.join(weeks)}" if weeks else ""
        raise ConfigurationError(f"no answers to task {task.name} came in {named}{known}")
    rows = [replace(entry, categories=entry.categories or (task.abstain,)) for entry in found]
    content = write_sheet(rows, form, show_answers=show_answers)
    if output is None or str(output) == "-":
        typer.echo(content, nl=False)
        return
    sheet = content.encode("utf-8-sig" if form == "csv" else "utf-8")
    try:
        if output.is_file() and output.stat().st_size and output.read_bytes() != sheet:
            raise ConfigurationError(
                f"--output {output} is there already and may hold answers of people: choose another name, or remove it"
            )
        output.write_bytes(sheet)
    except OSError as error:
        raise ConfigurationError(
            f"--output {output} cannot be written: {error.strerror}; choose another path"
        ) from None
    drawn = sum(entry.chosen_as == "random" for entry in found)
    print_line(
        f"wrote {output}: {len(rows)} texts of {named}, {drawn} drawn by lot, {len(rows) - drawn} least confident"
    )


def _read(settings: Settings, task: Task, path: Path, by: str, *, as_json: bool) -> None:
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"--read {path} is not UTF-8; save it as CSV UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"--read {path} cannot be read: {error.strerror}; check the path") from None
    rows = read_sheet(content, task)
    with wiring.opened_store(settings) as store:
        stored = store_reviews(store, task, rows, by)
    if as_json:
        print_json(asdict(stored))
    else:
        print_line(
            f"{len(rows)} answers by {by}: {stored.new} new, {stored.replaced} changed, {stored.unchanged} known before"
        )


def measure_agreement(rows: Sequence[ReviewedItem]) -> list[Agreement]:
    """The agreement of every two who reviewed, then of each with the classifier.

    Overrides are left out: they are made in sight of an answer.
    """
    said: dict[str, dict[int, frozenset[str]]] = {}
    answered: dict[int, frozenset[str]] = {}
    for row in rows:
        if row.role == "review":
            said.setdefault(row.annotator, {})[row.item_id] = frozenset(row.categories)
            if row.answered is not None:
                answered[row.item_id] = frozenset(row.answered)
    sides = [*combinations(sorted(said), 2), *((name, CLASSIFIER) for name in sorted(said))]
    said[CLASSIFIER] = answered
    return [
        compare_pairs(
            first,
            second,
            [(said[first][item], said[second][item]) for item in sorted(said[first]) if item in said[second]],
        )
        for first, second in sides
    ]


def _print_agreement(settings: Settings, task: Task, *, as_json: bool) -> None:
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        rows = select_reviewed_items(connection, task)
    found = measure_agreement(rows)
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    for entry in found:
        print_line(
            f"{entry.first} and {entry.second}: {entry.size} in common, equal"
            f" {figure_words(entry.raw, entry.raw_interval)}, kappa {figure_words(entry.kappa, entry.kappa_interval)}"
        )
        for category in entry.categories:
            print_line(
                f"{category.category}: {category.first} and {category.second} times, both {category.both}, kappa"
                f" {figure_words(category.kappa)}",
                before="    ",
            )
    if not found:
        print_line(f"nobody has reviewed task {task.name} yet; `issuetide review --task {task.name}` writes a sheet")
