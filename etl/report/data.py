"""What a report shows, collected once and then rendered in any form."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from etl.db.report_queries import (
    AnsweredIssue,
    ClassifierCount,
    DayCost,
    PeriodConfidence,
    PeriodCount,
    Run,
    Step,
    Totals,
    count_asked_issues,
    select_abstained_issues,
    select_classifier_counts,
    select_day_costs,
    select_low_confidence_issues,
    select_period_confidences,
    select_period_counts,
    select_runs,
    select_totals,
)
from etl.report.words import Period
from etl.tasks import ABSTAINED, UNCLASSIFIED, Task

LOW_CONFIDENCE = 0.5
"""Confidences under this are shown as low, as in the words high (>= 0.8), medium (>= 0.5), low."""


@dataclass(frozen=True, slots=True)
class CategoryCount:
    """One category of a task: its issues, how many of them are open, their average confidence (None without any)."""

    category: str
    issues: int
    open: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class RepositoryCount:
    """One category in one repository."""

    repository: str
    category: str
    issues: int
    open: int


@dataclass(frozen=True, slots=True)
class Series:
    """One category's value in every period of a timeline; None where there is none to show."""

    category: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Series over the same periods. starts: the first UTC day (or hour) of each period, oldest first."""

    step: Period
    starts: tuple[date, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One task: its categories in the task's order, over time, per repository, and what needs a look.

    asked: issues with an answer, abstentions included. unclassified: issues that wait for one.
    opened, open, confidence: per period issues opened, issues open at its end, average confidence of those opened.
    """

    name: str
    title: str
    question: str
    many: bool
    asked: int
    unclassified: int
    categories: tuple[CategoryCount, ...]
    opened: Timeline
    open: Timeline
    confidence: Timeline
    repositories: tuple[RepositoryCount, ...]
    classifiers: tuple[ClassifierCount, ...]
    low_confidence: tuple[AnsweredIssue, ...]
    uncertain: tuple[AnsweredIssue, ...]

    @property
    def issues(self) -> int:
        """The issues that the task applies to."""
        return self.asked + self.unclassified

    @property
    def abstained(self) -> int:
        """The issues of which the category could not be told."""
        return sum(count.issues for count in self.categories if count.category == ABSTAINED)

    @property
    def told(self) -> int:
        """The issues that have a category."""
        return self.asked - self.abstained

    def share(self, count: CategoryCount) -> float:
        """The part (0..1) of the task's issues that has this category."""
        return count.issues / self.issues if self.issues else 0.0


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything one report shows. repositories: what it was narrowed to; empty means all. generated_at: UTC."""

    generated_at: datetime
    version: str
    repositories: tuple[str, ...]
    totals: Totals
    tasks: tuple[TaskReport, ...]
    runs: tuple[Run, ...]
    costs: tuple[DayCost, ...] = ()


def collect_report(
    connection: Connection,
    tasks: Sequence[Task],
    *,
    version: str,
    repositories: Sequence[str] = (),
    limit: int = 25,
) -> ReportData:
    """What the database says now of `tasks`, for `repositories` (all if empty); lists hold at most `limit` rows."""
    totals = select_totals(connection, repositories)
    now = datetime.now(UTC)
    first = totals.first_created_at
    step = choose_step(first.astimezone(UTC).date() if first else None, now.date())
    return ReportData(
        generated_at=now,
        version=version,
        repositories=tuple(repositories),
        totals=totals,
        tasks=tuple(_collect_task(connection, task, step, repositories, limit) for task in tasks),
        runs=tuple(select_runs(connection, limit)),
        costs=tuple(select_day_costs(connection)),
    )


def _collect_task(
    connection: Connection, task: Task, step: Step, repositories: Sequence[str], limit: int
) -> TaskReport:
    periods = select_period_counts(connection, task.name, step, repositories)
    confidences = select_period_confidences(connection, task.name, step, repositories)
    counts = {count.category: count for count in count_categories(periods, confidences)}
    order = category_order(task, list(counts))
    waiting = counts.get(UNCLASSIFIED)
    starts = tuple(sorted({period.start for period in periods}))
    return TaskReport(
        name=task.name,
        title=task.title,
        question=task.question,
        many=task.answers == "many_of",
        asked=count_asked_issues(connection, task.name, repositories),
        unclassified=waiting.issues if waiting else 0,
        categories=tuple(counts.get(name, CategoryCount(name, 0, 0, None)) for name in order),
        opened=build_timeline(step, starts, order, [(p.start, p.category, p.opened) for p in periods]),
        open=build_timeline(step, starts, order, [(p.start, p.category, p.open) for p in periods]),
        confidence=build_timeline(step, starts, order, [(c.start, c.category, c.confidence) for c in confidences]),
        repositories=tuple(count_repositories(periods)),
        classifiers=tuple(select_classifier_counts(connection, task.name, repositories)),
        low_confidence=tuple(select_low_confidence_issues(connection, task.name, LOW_CONFIDENCE, repositories, limit)),
        uncertain=tuple(select_abstained_issues(connection, task.name, repositories, limit)),
    )


def count_repositories(periods: Iterable[PeriodCount]) -> list[RepositoryCount]:
    """The issues of every category of every repository, all periods together, by name."""
    opened: Counter[tuple[str, str]] = Counter()
    closed: Counter[tuple[str, str]] = Counter()
    for period in periods:
        opened[period.repository, period.category] += period.opened
        closed[period.repository, period.category] += period.closed
    return [RepositoryCount(*key, opened[key], opened[key] - closed[key]) for key in sorted(opened)]


def count_categories(periods: Iterable[PeriodCount], confidences: Iterable[PeriodConfidence]) -> list[CategoryCount]:
    """The issues of every category, all repositories and periods together, most issues first."""
    issues: Counter[str] = Counter()
    still: Counter[str] = Counter()
    for count in count_repositories(periods):
        issues[count.category] += count.issues
        still[count.category] += count.open
    answered: Counter[str] = Counter()
    sums: defaultdict[str, float] = defaultdict(float)
    for entry in confidences:
        answered[entry.category] += entry.issues
        sums[entry.category] += entry.confidence * entry.issues
    return [
        CategoryCount(name, issues[name], still[name], sums[name] / answered[name] if answered[name] else None)
        for name in sorted(issues, key=lambda name: (-issues[name], name))
    ]


def choose_step(first: date | None, last: date) -> Step:
    """The period that keeps a chart of `first` to `last` at some ten to seventy bars."""
    days = (last - first).days if first is not None else 0
    if days <= 60:
        return "day"
    if days <= 400:
        return "week"
    return "month" if days <= 6 * 366 else "quarter"


def category_order(task: Task, found: Sequence[str]) -> list[str]:
    """The task's categories in its file's order, then others still found in answers, then those without a category.

    A deprecated category, or one without a single issue of a task with many, is left out unless it is found.
    """
    known = [category.id for category in task.categories if not category.deprecated or category.id in found]
    others = [name for name in found if name not in {*known, ABSTAINED, UNCLASSIFIED}]
    return [*known, *sorted(others), *(name for name in (ABSTAINED, UNCLASSIFIED) if name in found)]


def build_timeline(
    step: Step,
    starts: Sequence[date],
    order: Sequence[str],
    values: Iterable[tuple[date, str, float]],
) -> Timeline:
    """The series of `order` over the periods `starts`, values of one period and category added up.

    A series that is nothing but zeros is left out.
    """
    places: Mapping[date, int] = {start: place for place, start in enumerate(starts)}
    rows: dict[str, list[float | None]] = {name: [None] * len(starts) for name in order}
    for start, category, value in values:
        place = places[start]
        rows[category][place] = (rows[category][place] or 0) + value
    series = tuple(Series(name, tuple(found)) for name, found in rows.items() if any(found))
    return Timeline(step, tuple(starts), series)
