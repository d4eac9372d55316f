"""The report on a terminal: readable at 80 columns, without colour, and where only ASCII can be shown."""

from collections.abc import Sequence

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from etl.db.report_queries import AnsweredIssue, Run
from etl.report.data import LOW_CONFIDENCE, ReportData, TaskReport, Timeline
from etl.report.words import (
    PER,
    age_words,
    confidence_words,
    count_words,
    money_words,
    number_words,
    period_words,
    plain_line,
    safe_url,
    share_words,
)
from etl.tasks import ABSTAINED, UNCLASSIFIED

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " .:-=+*#@"
_SPARK_WIDTH = 20
_NARROWEST = 80
_STYLES = ("blue", "yellow", "green", "magenta", "cyan", "red")
_STATUS_STYLES = {"ok": "green", "failed": "red", "interrupted": "red"}


def print_report(data: ReportData, console: Console, *, lists: bool = True) -> None:
    """Prints the summary of every task; with `lists` also the issues that need a look and the newest runs."""
    ascii_only = console.options.ascii_only
    console.print(summary(data, ascii_only=ascii_only))
    if not lists:
        return
    for task in data.tasks:
        low = f"Newest low confidence (below {LOW_CONFIDENCE:g}): {plain_line(task.title)}"
        for title, issues in (
            (low, task.low_confidence),
            (f"Newest abstained: {plain_line(task.title)}", task.uncertain),
        ):
            if issues:
                console.print(_issue_list(title, issues[:10]))
    if data.runs:
        console.print(_run_table(data, data.runs[:10], ascii_only=ascii_only))


def summary(data: ReportData, *, ascii_only: bool = False) -> RenderableType:
    """The totals in a line, then a table with a small chart for every task; what `run` ends with."""
    totals = data.totals
    if not totals.issues:
        return Text("No issues are stored yet. Load some: issuetide run --repo OWNER/NAME")
    line = Text()
    line.append(count_words(totals.issues, "issue"), style="bold")
    line.append(f" in {count_words(totals.repositories, 'repository', 'repositories')}, ")
    line.append(f"{number_words(totals.open)} open ({share_words(totals.open / totals.issues)})")
    return Group(line, *(_task_part(task, ascii_only=ascii_only) for task in data.tasks))


def sparkline(values: Sequence[float | None], width: int = _SPARK_WIDTH, *, ascii_only: bool = False) -> str:
    """The last `width` values as blocks of a height between the lowest (nothing) and the highest of them."""
    shown = [value or 0.0 for value in values[-width:]]
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    highest = max(shown, default=0.0)
    if highest <= 0:
        return blocks[0] * len(shown)
    # Whatever is more than nothing gets a mark.
    return "".join(blocks[max(round(value / highest * (len(blocks) - 1)), 1 if value else 0)] for value in shown)


def _task_part(task: TaskReport, *, ascii_only: bool) -> RenderableType:
    head = Text(f"\n{plain_line(task.title)}", style="bold")
    if not task.issues:
        return Group(head, Text("No stored issue is asked this yet."))
    waiting = f", {number_words(task.unclassified)} not asked yet" if task.unclassified else ""
    issues = count_words(task.issues, "issue has", "issues have")
    head.append(f"  {share_words(task.told / task.issues)} of {issues} a category{waiting}", style="not bold")
    table = Table(box=ASCII if ascii_only else SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Category", min_width=12, max_width=26, overflow="ellipsis", no_wrap=True)
    for name in ("Issues", "Share", "Open", "Conf."):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"Opened {PER[task.opened.step]}", no_wrap=True)
    lines = {series.category: series.values for series in task.opened.series}
    for place, count in enumerate(task.categories):
        style = "dim" if count.category in {ABSTAINED, UNCLASSIFIED} else _STYLES[place % len(_STYLES)]
        table.add_row(
            Text(count.category),
            number_words(count.issues),
            share_words(task.share(count)),
            number_words(count.open),
            confidence_words(count.confidence) if not ascii_only or count.confidence is not None else "-",
            Text(sparkline(lines.get(count.category, ()), ascii_only=ascii_only), style=style),
        )
    return Group(head, table, *_notes(task))


def _notes(task: TaskReport) -> list[Text]:
    notes = []
    span = _span(task.opened)
    if span:
        notes.append(Text(f"Chart: {span}; each row has a scale of its own.", style="dim"))
    who = ", ".join(
        f"{number_words(count.issues)} by {plain_line(count.classifier)}"
        + (f" ({plain_line(count.model)})" if count.model else "")
        + (", confidence calibrated" if count.calibrated else "")
        for count in task.classifiers
    )
    if who:
        notes.append(Text(f"Answers: {who}.", style="dim"))
    return notes


def _span(timeline: Timeline) -> str:
    starts = timeline.starts[-_SPARK_WIDTH:]
    return f"{period_words(starts[0], timeline.step)} to {period_words(starts[-1], timeline.step)}" if starts else ""


def _issue_list(title: str, issues: Sequence[AnsweredIssue]) -> RenderableType:
    """Two lines an issue, so that titles and links stay whole and can be copied at 80 columns."""
    lines = [Text(f"\n{title}", style="bold")]
    for issue in issues:
        answer = ", ".join(issue.categories) or ABSTAINED
        if issue.confidence is not None:
            answer += f" {confidence_words(issue.confidence)}{' calibrated' if issue.calibrated else ''}"
        lines.append(
            Text(f"{issue.created_at:%Y-%m-%d} {plain_line(issue.title, 67) or '(no title)'}", overflow="fold")
        )
        where = safe_url(issue.url) or f"{issue.repository}#{issue.number}"
        second = f"           {plain_line(answer)}  {where}"
        if len(second) > _NARROWEST:
            second = f"           {plain_line(answer)}\n           {where}"
        lines.append(Text(second, style="dim", overflow="fold"))
    return Group(*lines)


def _run_table(data: ReportData, runs: Sequence[Run], *, ascii_only: bool) -> RenderableType:
    table = Table(box=ASCII if ascii_only else SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("Run", "Started", "Status"):
        table.add_column(name, no_wrap=True)
    for name in ("Read", "New", "Changed", "Asked", "Written", "Cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        numbers = (run.items_read, run.items_new, run.items_changed, run.texts_asked, run.documents_written)
        table.add_row(
            str(run.run_id),
            age_words(run.started_at, data.generated_at),
            Text(run.status, style=_STATUS_STYLES.get(run.status, "yellow")),
            *(number_words(number) for number in numbers),
            money_words(run.cost_usd),
        )
    return Group(Text("\nRuns", style="bold"), table)
