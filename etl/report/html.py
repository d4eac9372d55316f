"""The report as one self-contained HTML page: no network, no script, readable on a phone, in print and in the dark.

Titles and reasons are written by strangers. They pass through `words.plain_line` and are escaped, links only lead to
http and https, and the page's own policy forbids scripts and any loading.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from etl.db.report_queries import AnsweredIssue, Run
from etl.report import charts
from etl.report.charts import Frame
from etl.report.data import LOW_CONFIDENCE, CategoryCount, ReportData, Series, TaskReport, Timeline
from etl.report.style import COLOURS, PRINTED_ROWS, STYLE
from etl.report.words import (
    EXPLAINED,
    NOTHING,
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
    time_words,
)
from etl.tasks import ABSTAINED, UNCLASSIFIED

Draw = Callable[[Frame, Timeline, Mapping[str, str], Callable[[float], str]], str]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page of ours may do: show itself, and nothing else."""
_WIDE, _HALF, _NARROW = 1040.0, 500.0, 330.0
_MOST_REPOSITORIES = 15
_MOST_COLUMNS = 6


def render_html(data: ReportData) -> str:
    """The page. The same data give the same bytes."""
    title = "Issuetide report" + (f": {plain_line(', '.join(data.repositories), 600)}" if data.repositories else "")
    sections = "".join(_task_section(task) for task in data.tasks)
    if not data.totals.issues:
        sections = _empty(
            "No issues yet",
            "Nothing is stored"
            + (f" for {_line(', '.join(data.repositories), 600)}" if data.repositories else "")
            + ". Load some with <code>issuetide run --repo OWNER/NAME</code>, then make this report again.",
        )
    elif not data.tasks:
        sections = _empty(
            "No task chosen", "Name one with <code>--task</code>; <code>issuetide tasks list</code> shows them."
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_header(data, title)}\n<main>\n{_tiles(data)}\n{sections}\n{_runs_section(data)}\n</main>\n"
        f"<footer>Made by issuetide {escape(data.version)} at {time_words(data.generated_at)}. "
        "All times are UTC. Hover over a chart, or open its table, for the numbers.</footer>\n</body>\n</html>\n"
    )


def _line(text: str, limit: int = 160) -> str:
    """Text that may come from outside, as one harmless line of HTML."""
    return escape(plain_line(text, limit))


def task_colours(task: TaskReport) -> dict[str, str]:
    """Category -> CSS class, by the task's own order, so that a category keeps its colour from report to report."""
    named = [count.category for count in task.categories if count.category not in {ABSTAINED, UNCLASSIFIED}]
    colours = {name: f"c{place % COLOURS}" for place, name in enumerate(named)}
    return {**colours, ABSTAINED: "ca", UNCLASSIFIED: "cu"}


def _header(data: ReportData, title: str) -> str:
    span = ""
    if data.totals.first_created_at is not None:
        span = (
            f"Issues opened since {data.totals.first_created_at:%Y-%m-%d}, "
            f"last change {time_words(data.totals.last_updated_at)}."
        )
    links = [f'<a href="#task-{escape(task.name)}">{_line(task.title)}</a>' for task in data.tasks]
    nav = f'<nav aria-label="Sections">{"".join(links)}<a href="#runs">Runs</a></nav>' if data.totals.issues else ""
    return f'<header><h1>{escape(title)}</h1><p class="soft">{span}</p>{nav}</header>'


def _tiles(data: ReportData) -> str:
    totals, ended = data.totals, [run for run in data.runs if run.status == "ok" and run.ended_at is not None]
    cost = sum(day.cost_usd for day in data.costs)
    tiles = [
        ("Issues", number_words(totals.issues), f"in {count_words(totals.repositories, 'repository', 'repositories')}"),
        ("Open now", number_words(totals.open), share_words(totals.open / totals.issues) if totals.issues else ""),
    ]
    for task in data.tasks:
        share = share_words(task.told / task.issues) if task.issues else NOTHING
        note = f"have a category; {number_words(task.abstained)} abstained"
        note += f", {number_words(task.unclassified)} not asked yet" if task.unclassified else ""
        tiles.append((plain_line(task.title, 60), share, note))
    last = ended[0].ended_at if ended else None
    # A page is read long after it was made, so the age alone would be wrong by then.
    tiles.append(("Last complete run", age_words(last, data.generated_at), f"at {time_words(last)}" if last else ""))
    tiles.append((f"Cost, last {count_words(len(data.costs), 'day')}" if data.costs else "Cost", money_words(cost), ""))
    columns = len(tiles) if len(tiles) <= _MOST_COLUMNS else min(-(-len(tiles) // 2), _MOST_COLUMNS)
    return (
        f'<dl class="tiles" style="--columns:{columns}">'
        + "".join(
            f'<div class="tile"><dt>{escape(name)}</dt><dd>{escape(value)}'
            f"{f'<small>{escape(note)}</small>' if note else ''}</dd></div>"
            for name, value, note in tiles
        )
        + "</dl>"
    )


def _task_section(task: TaskReport) -> str:
    head = (
        f'<section id="task-{escape(task.name)}"><h2>{_line(task.title)}</h2>'
        f'<p class="soft">{_line(task.question, 600)} {_who(task)}</p>'
    )
    if not task.issues:
        words = (
            f"No stored issue is asked this yet. <code>issuetide classify --task {escape(task.name)}</code> does it."
        )
        return head + _empty("Nothing to show", words) + "</section>"
    colours = task_colours(task)
    per = PER[task.opened.step]
    counts = "An issue may have several categories and then counts in each." if task.many else ""
    cards = [
        _categories_card(task, colours, counts),
        _timeline_card(task, "opened", f"Issues opened {per}", counts, task.opened, charts.stacked_bars, wide=True),
        _timeline_card(task, "open", "Open issues", "At the end of each period.", task.open, charts.stacked_area),
        _timeline_card(
            task,
            "confidence",
            f"Average confidence {per}",
            f"Of issues opened in the period; {_calibrated_words(task)}.",
            task.confidence,
            charts.lines,
            words=confidence_words,
        ),
        _repositories_card(task, colours),
        _issues_card(
            f"Newest low confidence (below {LOW_CONFIDENCE:g})",
            task.low_confidence,
            "No answer had a confidence this low.",
        ),
        _issues_card(
            "Newest where it abstained", task.uncertain, "The classifier told every issue it was asked about."
        ),
    ]
    return f'{head}<div class="cards">{"".join(cards)}</div></section>'


def _calibrated_words(task: TaskReport) -> str:
    """What the confidences of a task are."""
    if any(count.calibrated for count in task.classifiers):
        return "calibrated where a calibration holds, else as the classifier gave it"
    return "as the classifier gave it, not calibrated"


def _who(task: TaskReport) -> str:
    """Which classifiers the answers shown came from: never silent about the offline rules."""
    parts = []
    for count in task.classifiers:
        model = f" ({_line(count.model)})" if count.model else ""
        version = f", version {count.task_version}" if count.task_version is not None else ""
        calibrated = ""
        if count.calibrated:
            of = f" of {number_words(count.calibrated)}" if count.calibrated < count.issues else ""
            calibrated = f", confidence{of} calibrated"
        parts.append(f"{number_words(count.issues)} by {_line(count.classifier)}{model}{version}{calibrated}")
    return f"Answers: {'; '.join(parts)}." if parts else ""


def _categories_card(task: TaskReport, colours: Mapping[str, str], note: str) -> str:
    highest = max((count.issues for count in task.categories), default=0) or 1

    def row(count: CategoryCount) -> str:
        told = EXPLAINED.get(count.category)
        note = f'<span class="where">{told}</span>' if told else ""
        return (
            f'<tr><th scope="row">{_swatch(count.category, colours)}'
            f"{note}</th>"
            f'<td class="number">{number_words(count.issues)}</td>'
            f'<td class="number">{share_words(task.share(count))}</td>'
            f'<td class="number">{number_words(count.open)}</td>'
            f'<td class="number">{confidence_words(count.confidence)}</td>'
            f'<td class="bar"><span class="meter {colours[count.category]}">'
            f'<i style="width:{100 * count.issues / highest:.1f}%"></i></span></td></tr>'
        )

    return (
        f'<div class="card wide-card"><h3>Categories</h3><p class="soft">{note}</p><div class="scroll">'
        '<table class="counts"><thead><tr><th scope="col">Category</th><th scope="col" class="number">Issues</th>'
        '<th scope="col" class="number">Share</th><th scope="col" class="number">Open</th>'
        '<th scope="col" class="number"><abbr title="average confidence">Conf.</abbr></th>'
        '<td class="bar"></td></tr></thead>'
        f"<tbody>{''.join(row(count) for count in task.categories)}</tbody></table></div></div>"
    )


def _swatch(category: str, colours: Mapping[str, str]) -> str:
    return f'<span class="swatch {colours[category]}" aria-hidden="true"></span>{escape(category)}'


def _timeline_card(
    task: TaskReport,
    name: str,
    title: str,
    note: str,
    timeline: Timeline,
    draw: Draw,
    *,
    wide: bool = False,
    words: Callable[[float], str] = number_words,
) -> str:
    """A figure: caption, legend, the chart in two sizes, and its table."""
    colours = task_colours(task)
    caption = f"<figcaption><h3>{escape(title)}</h3>{escape(note)}</figcaption>"
    figure = f'<figure class="card{" wide-card" if wide else ""}">{caption}'
    if not timeline.series:
        return f'{figure}<p class="soft">There is nothing to draw yet.</p></figure>'
    legend = "".join(f"<li>{_swatch(series.category, colours)}</li>" for series in timeline.series)
    described = _describe(title, timeline)
    drawn = []
    for size, width, height in (("wide", _WIDE if wide else _HALF, 260.0), ("narrow", _NARROW, 220.0)):
        frame = Frame(f"{task.name}-{name}-{size}", title, described, width, height)
        drawn.append(f'<div class="{size}">{draw(frame, timeline, colours, words)}</div>')
    return f'{figure}<ul class="legend">{legend}</ul>{"".join(drawn)}{_timeline_table(title, timeline, words)}</figure>'


def _describe(title: str, timeline: Timeline) -> str:
    """The chart in words, for those who hear it."""
    first, last = (period_words(start, timeline.step) for start in (timeline.starts[0], timeline.starts[-1]))
    names = ", ".join(series.category for series in timeline.series)
    return f"{title} from {first} to {last}, for {names}. The numbers are in the table below."


def _timeline_table(title: str, timeline: Timeline, words: Callable[[float], str]) -> str:
    head = "".join(f'<th scope="col" class="number">{escape(series.category)}</th>' for series in timeline.series)
    rows = []
    for place in reversed(range(len(timeline.starts))):
        cells = "".join(f'<td class="number">{_cell(series, place, words)}</td>' for series in timeline.series)
        rows.append(f'<tr><th scope="row">{period_words(timeline.starts[place], timeline.step)}</th>{cells}</tr>')
    return (
        f'<details><summary>Table</summary><div class="scroll" tabindex="0"><table><caption>{escape(title)}</caption>'
        f'<thead><tr><th scope="col">Period</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _cell(series: Series, place: int, words: Callable[[float], str]) -> str:
    value = series.values[place]
    return NOTHING if value is None else escape(words(value))


def _repositories_card(task: TaskReport, colours: Mapping[str, str]) -> str:
    if not task.repositories:
        return ""
    parts: dict[str, list[tuple[str, float]]] = {plain_line(count.repository): [] for count in task.repositories}
    order = {count.category: place for place, count in enumerate(task.categories)}
    for count in sorted(task.repositories, key=lambda count: order.get(count.category, 99)):
        parts[plain_line(count.repository)].append((count.category, count.issues))
    rows = sorted(parts.items(), key=lambda row: (-sum(value for _, value in row[1]), row[0]))
    shown = rows[:_MOST_REPOSITORIES]
    left = len(rows) - len(shown)
    title = "Issues per repository"
    note = f"The {len(shown)} with most issues; {left} more are not shown." if left else ""
    legend = "".join(f"<li>{_swatch(count.category, colours)}</li>" for count in task.categories if count.issues)
    drawn = []
    for size, width in (("wide", _WIDE), ("narrow", _NARROW)):
        words = f"{title}: {'; '.join(f'{name} {number_words(sum(v for _, v in values))}' for name, values in shown)}."
        frame = Frame(f"{task.name}-repositories-{size}", title, words, width, len(shown) * 40.0 + 2)
        drawn.append(f'<div class="{size}">{charts.horizontal_bars(frame, shown, colours)}</div>')
    return (
        f'<figure class="card wide-card"><figcaption><h3>{title}</h3>{escape(note)}</figcaption>'
        f'<ul class="legend">{legend}</ul>{"".join(drawn)}</figure>'
    )


def _issues_card(title: str, issues: Sequence[AnsweredIssue], nothing: str) -> str:
    if not issues:
        return f'<div class="card wide-card"><h3>{escape(title)}</h3><p class="soft">{escape(nothing)}</p></div>'
    rows = "".join(_issue_row(issue) for issue in issues)
    return (
        f'<div class="card wide-card"><h3>{escape(title)}</h3>{_printed(len(issues))}'
        '<table class="issues"><thead><tr>'
        '<th scope="col">Issue</th><th scope="col">Answer</th><th scope="col">Why</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _printed(rows: int) -> str:
    """Says on paper alone that it holds a part of a long table."""
    return f'<p class="soft paper">The first {PRINTED_ROWS} of {rows}.</p>' if rows > PRINTED_ROWS else ""


def _issue_row(issue: AnsweredIssue) -> str:
    title = _line(issue.title) or "(no title)"
    url = safe_url(issue.url)
    shown = f'<a href="{escape(url)}" rel="noopener noreferrer">{title}</a>' if url else title
    answer = ", ".join(escape(category) for category in issue.categories) or "abstained"
    if issue.confidence is not None:
        calibrated = " calibrated" if issue.calibrated else ""
        answer += f' <span class="number">{confidence_words(issue.confidence)}{calibrated}</span>'
    why = _line(issue.rationale or NOTHING, 280)
    return (
        f'<tr><td><bdi dir="auto">{shown}</bdi><span class="where">{_line(issue.repository)}#{issue.number}, '
        f"{_line(issue.state)}, opened {issue.created_at:%Y-%m-%d}</span></td>"
        f'<td data-name="Answer">{answer}</td>'
        f'<td class="reason" data-name="Why"><bdi dir="auto">{why}</bdi></td></tr>'
    )


def _runs_section(data: ReportData) -> str:
    if not data.runs:
        return (
            '<section id="runs"><h2>Runs</h2>'
            + _empty("No run yet", "<code>issuetide run</code> makes one.")
            + "</section>"
        )
    return (
        '<section id="runs"><h2>Runs</h2><p class="soft">What was read, asked and paid, newest first.</p>'
        f'<div class="cards">{_cost_card(data)}'
        f'<div class="card wide-card">{_printed(len(data.runs))}'
        f'<div class="scroll" tabindex="0">{_runs_table(data.runs)}</div></div>'
        "</div></section>"
    )


def _cost_card(data: ReportData) -> str:
    if not any(day.cost_usd for day in data.costs):
        return ""
    series = Series("cost", tuple(day.cost_usd for day in data.costs))
    timeline = Timeline("day", tuple(day.day for day in data.costs), (series,))
    title = "Cost per day, US dollars"
    drawn = []
    for size, width, height in (("wide", _WIDE, 170.0), ("narrow", _NARROW, 170.0)):
        frame = Frame(f"cost-{size}", title, _describe(title, timeline), width, height)
        drawn.append(f'<div class="{size}">{charts.stacked_bars(frame, timeline, {"cost": "c0"}, money_words)}</div>')
    return (
        f'<figure class="card wide-card"><figcaption><h3>{title}</h3></figcaption>{"".join(drawn)}'
        f"{_timeline_table(title, timeline, money_words)}</figure>"
    )


def _runs_table(runs: Iterable[Run]) -> str:
    columns = ("Read", "New", "Changed", "Asked", "Written", "Dead letters", "Cost")
    rows = []
    for run in runs:
        numbers = (
            run.items_read,
            run.items_new,
            run.items_changed,
            run.texts_asked,
            run.documents_written,
            run.dead_letters,
        )
        cells = "".join(f'<td class="number">{number_words(number)}</td>' for number in numbers)
        trouble = f'<span class="where">{_line(run.error, 200)}</span>' if run.error else ""
        rows.append(
            f'<tr><th scope="row">{time_words(run.started_at)}<span class="where">{_line(run.command)}'
            f"{f', {_line(run.classifier)}' if run.classifier else ''}</span></th>"
            f'<td><span class="status-{_line(run.status)}">{_line(run.status)}</span>{trouble}</td>'
            f'{cells}<td class="number">{money_words(run.cost_usd)}</td></tr>'
        )
    head = "".join(f'<th scope="col" class="number">{name}</th>' for name in columns)
    return (
        f'<table class="runs"><thead><tr><th scope="col">Started</th><th scope="col">Status</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _empty(title: str, words: str) -> str:
    """A box that says why there is nothing and what to do; `words` is HTML of ours."""
    return f'<div class="empty"><h3>{escape(title)}</h3><p class="soft">{words}</p></div>'
