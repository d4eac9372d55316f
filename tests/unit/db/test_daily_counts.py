"""What daily documents say, beside a recount in Python of every issue and every change."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries import exports
from etl.db.store import Store

FREQUENT = 5
KEPT = 31
GITHUB = date(2008, 1, 1)
CATEGORIES = ("bug", "feature", "abstained", "unclassified")
SETUP = (
    "INSERT INTO repositories (key, host, github_id, full_name) VALUES (1, 'github.com', 1, 'octo/demo')",
    """
    INSERT INTO tasks (name, version, sha256, content, input, kinds, repositories_like, labels, titles_except_like,
                       states)
    VALUES ('kind', 1, 'x', '', 'issue', '{issue}', '{}', '{}', '{}', '{}')
    """,
    "INSERT INTO tracked_tasks (repository_key, task) VALUES (1, 'kind')",
)


@dataclass
class _Issue:
    """An issue as the test knows it. changes: closed and reopened in turns."""

    number: int
    created: datetime
    category: str
    family: str
    changes: list[datetime] = field(default_factory=list)
    gone: bool = False

    def events(self) -> Iterator[tuple[date, str]]:
        yield self.created.date(), "opened"
        for place, at in enumerate(self.changes):
            yield at.date(), "reopened" if place % 2 else "closed"


class _Desk:
    """A database with one repository, one task and the issues that a test puts there."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.issues: list[_Issue] = []
        for statement in SETUP:
            self.do(statement)

    def do(self, statement: str, **values: Any) -> list[Any]:
        with self.store.transaction() as connection:
            found = connection.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    def add(self, created: datetime, category: str = "bug", family: str = "") -> _Issue:
        number = len(self.issues) + 1
        issue = _Issue(number, created, category, family or f"alone {number}")
        self.do(
            """
            INSERT INTO items (id, repository_key, kind, external_id, title, state, created_at, updated_at, payload,
                               content_hash, row_version)
            OVERRIDING SYSTEM VALUE VALUES (:n, 1, 'issue', :n, 'title', 'open', :at, :at, '{}', 'h', 1)
            """,
            n=number,
            at=created,
        )
        self.do(
            """
            INSERT INTO texts (id, input, text_hash, family_hash, body, rules_version)
            OVERRIDING SYSTEM VALUE VALUES (:n, 'issue', '1:' || :n, :family, 'body', 1)
            """,
            n=number,
            family=issue.family,
        )
        self.do("INSERT INTO item_texts (item_id, input, text_id) VALUES (:n, 'issue', :n)", n=number)
        self.issues.append(issue)
        self.answer(issue, category)
        return issue

    def answer(self, issue: _Issue, category: str) -> None:
        issue.category = category
        self.do("DELETE FROM classifications WHERE text_id = :n", n=issue.number)
        if category != "unclassified":
            self.do(
                """
                INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier,
                                             model, outcome, categories, confidences, rationale, run_id)
                SELECT :n, 'kind', 1, 'x', 'p', 'claude', 'm', CASE c WHEN '{}' THEN 'abstained' ELSE 'answered' END,
                       c, CASE c WHEN '{}' THEN '{}' ELSE ARRAY[0.9]::float8[] END, '', 1
                FROM (SELECT CAST(:categories AS text[]) AS c) AS w
                """,
                n=issue.number,
                categories=[] if category == "abstained" else [category],
            )

    def change(self, issue: _Issue, at: datetime) -> None:
        kind = "reopened" if len(issue.changes) % 2 else "closed"
        issue.changes.append(at)
        self.do(
            "INSERT INTO item_events (item_id, kind, at, source) VALUES (:n, :kind, :at, 'observed')",
            n=issue.number,
            kind=kind,
            at=at,
        )

    def vanish(self, issue: _Issue, *, gone: bool) -> None:
        issue.gone = gone
        self.do("UPDATE items SET tombstone = :why WHERE id = :n", n=issue.number, why="deleted" if gone else None)

    def move(self, issue: _Issue, family: str) -> None:
        issue.family = family
        self.do("UPDATE texts SET family_hash = :family WHERE id = :n", n=issue.number, family=family)

    def refresh(self) -> int:
        with self.store.transaction() as connection:
            return exports.refresh_daily_counts(connection)

    def rows(self, *, family: bool = False) -> dict[tuple[str, str, date], tuple[int, int, int, int, int]]:
        """By category, family and day: opened, closed, reopened, open, new families; rows of zeros left out."""
        sign = "<>" if family else "="
        found = self.do(f"SELECT * FROM daily_counts WHERE family_hash {sign} ''")
        rows = {
            (row.category, row.family_hash, row.day): (row.opened, row.closed, row.reopened, row.open, row.new_families)
            for row in found
        }
        return {key: value for key, value in rows.items() if any(value)}

    def documents(self) -> list[dict[str, Any]]:
        return [row[0] for row in self.do("SELECT source FROM daily_documents ORDER BY document_id")]


def recount(issues: list[_Issue], today: date, *, family: bool) -> dict[tuple[str, str, date], tuple[int, ...]]:
    """What `_Desk.rows` should give, counted issue by issue."""
    present = [issue for issue in issues if not issue.gone]
    size = Counter(issue.family for issue in present)
    first = {issue.family: issue for issue in sorted(present, key=lambda i: (i.created, i.number), reverse=True)}
    happened: dict[tuple[str, str], dict[date, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for issue in present:
        if family and size[issue.family] < FREQUENT:
            continue
        days = happened[issue.category, issue.family if family else ""]
        for day, kind in issue.events():
            days[day][kind] += 1
        if not family and first[issue.family] is issue:
            days[issue.created.date()]["new"] += 1
    rows: dict[tuple[str, str, date], tuple[int, ...]] = {}
    for (category, name), days in happened.items():
        open_now, day = 0, min(days)
        while day <= today:
            found = days[day] if day in days else Counter[str]()
            open_now += found["opened"] + found["reopened"] - found["closed"]
            row = (found["opened"], found["closed"], found["reopened"], open_now, found["new"])
            if any(row) and (found or (not family and day >= GITHUB)):
                rows[category, name, day] = row
            day += timedelta(days=1)
    return rows


@pytest.fixture
def desk(database_url: str) -> Iterator[_Desk]:
    store = Store(database_url)
    yield _Desk(store)
    store.close()


def at(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(4))
def test_after_any_changes_the_counts_are_those_of_a_recount(desk: _Desk, seed: int) -> None:
    chance = random.Random(seed)
    today = datetime.now(UTC).date()
    begin = datetime.now(UTC) - timedelta(days=200)
    for _ in range(6):
        for _ in range(8):
            created = begin + timedelta(days=chance.randrange(150), seconds=chance.randrange(86_400))
            desk.add(created, chance.choice(CATEGORIES), chance.choice(("f1", "f2", "")))
        for issue in chance.sample(desk.issues, 6):
            last = issue.changes[-1] if issue.changes else issue.created
            later = last + timedelta(hours=chance.randrange(1, 500))
            if later < datetime.now(UTC):
                desk.change(issue, later)
        desk.answer(chance.choice(desk.issues), chance.choice(CATEGORIES))
        issue = chance.choice(desk.issues)
        desk.vanish(issue, gone=not issue.gone)
        desk.move(chance.choice(desk.issues), chance.choice(("f1", "f3")))
        desk.refresh()
        assert desk.rows() == recount(desk.issues, today, family=False)
        assert desk.rows(family=True) == recount(desk.issues, today, family=True)
        assert desk.refresh() == 0, "an hour without changes must write nothing"


def test_a_family_has_rows_while_it_is_frequent_and_zeros_when_it_is_not_any_more(desk: _Desk) -> None:
    issues = [desk.add(at(2025, 3, day), family="9:f") for day in (1, 2, 3, 3)]
    desk.refresh()
    assert desk.rows(family=True) == {}
    issues.append(desk.add(at(2025, 3, 9), family="9:f"))
    desk.change(issues[0], at(2025, 3, 9))
    desk.refresh()
    march = {("bug", "9:f", date(2025, 3, day)): row for day, row in (
        (1, (1, 0, 0, 1, 0)), (2, (1, 0, 0, 2, 0)), (3, (2, 0, 0, 4, 0)), (9, (1, 1, 0, 4, 0)))}  # fmt: skip
    assert desk.rows(family=True) == march
    families = [document for document in desk.documents() if document["level"] == "family"]
    assert {document["family_hash"] for document in families} == {"9:f"}
    assert sum(document["opened"] for document in families) == 5
    assert all("new_families" not in document for document in families)
    held = {row[0]: row[1] for row in desk.do("SELECT document_id, row_version FROM daily_documents")}
    desk.vanish(issues[-1], gone=True)
    desk.refresh()
    assert desk.rows(family=True) == {}
    zeros = [document for document in desk.documents() if document["level"] == "family"]
    assert [document["opened"] + document["closed"] + document["open"] for document in zeros] == [0, 0, 0, 0]
    now = {row[0]: row[1] for row in desk.do("SELECT document_id, row_version FROM daily_documents")}
    assert all(now[key] > held[key] for key in held if key.endswith("-9:f"))


def test_a_family_counts_as_new_once_and_its_older_issue_takes_that_over(desk: _Desk) -> None:
    desk.add(at(2025, 3, 5), family="f")
    desk.add(at(2025, 3, 6), "feature", family="f")
    desk.refresh()
    new = {key[2].day: row[4] for key, row in desk.rows().items() if row[4]}
    assert new == {5: 1}
    desk.add(at(2025, 3, 1), "feature", family="f")
    desk.refresh()
    assert {(key[0], key[2].day): row[4] for key, row in desk.rows().items() if row[4]} == {("feature", 1): 1}


def test_a_long_time_with_nothing_open_has_rows_only_for_a_month_at_both_ends_and_today(desk: _Desk) -> None:
    first, second = desk.add(at(2015)), desk.add(at(2020))
    desk.change(first, at(2015, 1, 3))
    desk.change(second, at(2020, 1, 2))
    desk.refresh()
    days = [row[0] for row in desk.do("SELECT day FROM daily_counts ORDER BY day")]
    today = datetime.now(UTC).date()
    quiet = [date(2015, 1, 3) + timedelta(days=n) for n in range(1, KEPT + 1)]
    before = [date(2020, 1, 1) - timedelta(days=n) for n in range(KEPT, 0, -1)]
    after = [date(2020, 1, 2) + timedelta(days=n) for n in range(1, KEPT + 1)]
    busy = [date(2015, 1, day) for day in (1, 2, 3)]
    assert days == [*busy, *quiet, *before, date(2020, 1, 1), date(2020, 1, 2), *after, today]
    held = desk.do("SELECT count(*) FROM category_daily")[0][0]
    assert held == (today - date(2015, 1, 1)).days + 1, "the view promises every day"


@pytest.mark.parametrize("year", [1, 1995, 2007])
def test_a_date_before_github_spans_no_days_before_2008(desk: _Desk, year: int) -> None:
    desk.add(at(year))
    desk.add(at(2008, 1, 3))
    desk.refresh()
    for days in (
        "SELECT day, open FROM daily_counts ORDER BY day LIMIT 4",
        "SELECT day, open FROM category_daily ORDER BY day LIMIT 4",
        "SELECT day, open FROM open_daily ORDER BY day LIMIT 4",
    ):
        found = [tuple(row) for row in desk.do(days)]
        january = [(date(2008, 1, 1), 1), (date(2008, 1, 2), 1), (date(2008, 1, 3), 2)]
        assert found == [(date(year, 1, 1), 1), *january]
    expected = (datetime.now(UTC).date() - GITHUB).days + 2
    assert desk.do("SELECT count(*) FROM daily_counts") == [(expected,)]


def test_a_date_to_come_spans_no_days_and_does_not_hide_that_a_day_has_begun(desk: _Desk) -> None:
    now = datetime.now(UTC)
    desk.add(now)
    desk.add(at(9998))
    desk.refresh()
    assert desk.do("SELECT day FROM daily_counts ORDER BY day") == [(now.date(),), (date(9998, 1, 1),)]
    with desk.store.transaction() as connection:
        assert not exports.day_has_begun(connection)
        connection.execute(text("DELETE FROM daily_counts WHERE day = :today"), {"today": now.date()})
        assert exports.day_has_begun(connection)
