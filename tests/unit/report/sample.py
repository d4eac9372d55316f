"""Report data made by hand: eighteen months, three repositories, two tasks, with what strangers write in between."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from etl.db.report_queries import (
    AnsweredIssue,
    ClassifierCount,
    DayCost,
    Run,
    Totals,
)
from etl.report.data import CategoryCount, ReportData, RepositoryCount, Series, TaskReport, Timeline

NOW = datetime(2026, 6, 30, 12, 5, tzinfo=UTC)
REPOSITORIES = ("northwind/engine", "northwind/site", "northwind/command-line-tools")
MONTHS = tuple(date(2025 + month // 12, month % 12 + 1, 1) for month in range(18))

TITLES = (
    "Segmentation fault when the cache folder is on a network drive",
    "Please support reading settings from a TOML file",
    "How do I pass a proxy with a password?",
    "Build fails with CMake 4.1 on Windows, but only in Release mode and only when the path holds a space",
    "The second page of results repeats the last row of the first",
    "Docs: the example for `load()` still uses the old argument names",
)
REASONS = (
    "A crash in ordinary use with a stack trace inside the library.",
    "Asks for something that is not there yet; names no defect.",
    "Could be a question about use as well as a missing feature; the report names no version.",
)


def issue(number: int, categories: tuple[str, ...], confidence: float | None) -> AnsweredIssue:
    """An answered issue; the lower its number, the newer."""
    return AnsweredIssue(
        repository=REPOSITORIES[number % 3],
        number=4200 - number,
        title=TITLES[number % len(TITLES)],
        url=f"https://github.com/{REPOSITORIES[number % 3]}/issues/{4200 - number}",
        state="closed" if number % 3 == 0 else "open",
        labels=("triaged", "module: cache") if number % 2 else (),
        created_at=NOW - timedelta(days=3 * number, hours=5),
        categories=categories,
        confidence=confidence,
        rationale=REASONS[number % len(REASONS)] if categories else REASONS[2],
        classifier="claude",
        model="claude-haiku-5-5",
        task_version=1,
        classified_at=NOW - timedelta(days=3 * number),
        overridden=False,
    )


def timelines(names: tuple[str, ...]) -> tuple[Timeline, Timeline, Timeline]:
    """Opened, open and confidence, wavy and growing; the last two names have no confidence."""
    opened, still, sure = [], [], []
    for place, name in enumerate(names):
        weight = (34, 17, 13, 5, 9, 7, 4, 3, 2, 2)[place % 10]
        values = tuple(
            float(round(weight * (0.6 + month / 18) * (1 + ((month * 7 + place * 5) % 6) / 9))) for month in range(18)
        )
        opened.append(Series(name, values))
        total = 20.0 - place * 2
        running = []
        for month, value in enumerate(values):
            total += round(value * (0.34 if month < 11 else 0.12))
            running.append(max(total, 0.0))
        still.append(Series(name, tuple(running)))
        if name not in {"abstained", "unclassified"}:
            sure.append(
                Series(
                    name,
                    tuple(
                        None if (month + place) % 11 == 10 else 0.9 - place * 0.05 + (month % 5) / 50
                        for month in range(18)
                    ),
                )
            )
    return (
        Timeline("month", MONTHS, tuple(opened)),
        Timeline("month", MONTHS, tuple(still)),
        Timeline("month", MONTHS, tuple(sure)),
    )


def task_report(
    name: str = "issue_kind",
    title: str = "Kind of issue",
    categories: tuple[str, ...] = ("bug", "feature", "question", "abstained", "unclassified"),
    *,
    many: bool = False,
) -> TaskReport:
    """One task's report with `categories`, the last ones without confidence where they are none."""
    opened, still, sure = timelines(categories)
    counts = tuple(
        CategoryCount(
            series.category,
            int(sum(value or 0 for value in series.values)),
            int(still.series[place].values[-1] or 0),
            None if series.category in {"abstained", "unclassified"} else 0.91 - place * 0.06,
        )
        for place, series in enumerate(opened.series)
    )
    waiting = sum(count.issues for count in counts if count.category == "unclassified")
    asked = sum(count.issues for count in counts) - waiting
    return TaskReport(
        name=name,
        title=title,
        question="What does the author ask for: a repair, something new, or help?",
        many=many,
        asked=asked,
        unclassified=waiting,
        categories=counts,
        opened=opened,
        open=still,
        confidence=sure,
        repositories=tuple(
            RepositoryCount(repository, count.category, count.issues * part // 10, count.open * part // 10)
            for repository, part in zip(REPOSITORIES, (6, 3, 1), strict=True)
            for count in counts
        ),
        classifiers=(
            ClassifierCount("claude", "claude-haiku-5-5", 1, asked - 37),
            ClassifierCount("rules", "rules-1", 1, 35),
            ClassifierCount("person", None, None, 2),
        ),
        low_confidence=tuple(
            issue(number, (categories[number % min(3, len(categories))],), 0.31 + number % 4 / 25)
            for number in range(1, 8)
        ),
        uncertain=tuple(issue(number, (), None) for number in range(9, 13)),
    )


def run(number: int, status: str = "ok") -> Run:
    """A run, `number` hours before now."""
    started = NOW - timedelta(hours=number, minutes=4)
    return Run(
        run_id=400 - number,
        command="run",
        status=status,
        started_at=started,
        ended_at=None if status == "running" else started + timedelta(minutes=1),
        classifier="claude",
        model="claude-haiku-5-5",
        items_read=12 + number * 3,
        items_new=number % 5,
        items_changed=3 + number % 7,
        texts_asked=number % 5 + 1,
        documents_written=9 + number,
        dead_letters=0 if status == "ok" else 1,
        input_tokens=2100 * number,
        output_tokens=90 * number,
        cost_usd=0.0021 * (number % 5 + 1),
        error=None
        if status == "ok"
        else "OpenSearch refused 1 document: mapper_parsing_exception; see `issuetide status`",
    )


def report_data(*, many: bool = True) -> ReportData:
    """Data for a whole report, with one task of one category and, if `many`, one of several."""
    one = task_report()
    several = task_report(
        "labels",
        "Labels",
        (
            "bug",
            "enhancement",
            "documentation",
            "question",
            "performance",
            "security",
            "build_ci",
            "dependency",
            "test",
            "ux",
        ),
        many=True,
    )
    several = replace(several, question="Which of the repository's labels fit?", asked=one.asked, unclassified=0)
    return ReportData(
        generated_at=NOW,
        version="0.1.0",
        repositories=(),
        totals=Totals(one.issues, 611, 3, datetime(2025, 1, 3, 8, tzinfo=UTC), NOW - timedelta(minutes=31)),
        tasks=(one, several) if many else (one,),
        runs=(*(run(number) for number in range(1, 9)), run(9, "partial"), *(run(number) for number in range(10, 14))),
        costs=tuple(
            DayCost(NOW.date() - timedelta(days=89 - day), 24, round(0.02 + (day * 13 % 17) / 170, 4))
            for day in range(90)
        ),
    )
