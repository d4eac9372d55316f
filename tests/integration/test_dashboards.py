"""Every panel of the shipped dashboards, as a search, asked of a real OpenSearch that holds realistic documents."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
import requests

from etl.cli.demo_reviews import store_demo_reviews
from etl.dashboards.drawing import Rows, as_shares, read_rows, time_series
from etl.dashboards.panels import Search, View, ask_dashboard, read_dashboards
from etl.dashboards.preview import Preview, render_preview
from etl.dashboards.saved_objects import SavedObject, read_saved_objects, search_source, with_prefix
from etl.dashboards.search import Scope, panel_body, query_clause, saved_search_body
from etl.db.store import Store
from etl.demo import reviews_path, sample_path
from etl.resources import resource_folder
from etl.tasks import load_tasks

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
CATEGORIES = ("bug", "feature", "question", "abstained", "unclassified")
REPOSITORIES = ("acme/engine", "acme/site", "acme/tools")


def classifications() -> Iterator[dict[str, Any]]:
    """300 issues over 500 days, two tasks; every 17th vanished, every 11th set by a person, every 13th reviewed."""
    for number in range(1, 301):
        created = NOW - timedelta(days=number * 5 / 3)
        closed = created + timedelta(hours=7 * (number % 90)) if number % 3 else None
        for task in ("issue_kind", "user_error"):
            category = CATEGORIES[number % 5]
            answered = category not in {"abstained", "unclassified"}
            document = {
                "repository_id": number % 3,
                "repository": REPOSITORIES[number % 3],
                "kind": "issue",
                "number": number,
                "title": f"Build {number} fails",
                "url": f"https://github.com/acme/engine/issues/{number}",
                "state": "closed" if closed else "open",
                "created_at": created.isoformat(),
                "task": task,
                "task_version": 1,
                "answer": "answered" if answered else category,
                "categories": [category] if answered else [],
                "primary_category": category,
                "rationale": "Because of the words.",
                "classifier": "claude",
                "overridden": number % 11 == 0,
                "reviewed": number % 11 == 0 or number % 13 == 0,
                "family_hash": f"2:{number % 40}",
                "classified_at": (created + timedelta(hours=1)).isoformat(),
                "prompt_version": "p1",
                "vanished": number % 17 == 0,
                "row_version": number,
            }
            if answered:
                document["confidence"] = document["confidence_given"] = round(0.3 + (number % 7) / 10, 2)
                if document["reviewed"]:
                    document |= {"agreed": number % 2 == 0, "category_given": "bug"}
            if closed:
                document["hours_to_close"] = 7.0 * (number % 90)
            yield document


def daily() -> Iterator[dict[str, Any]]:
    """Fourteen days of two repositories; on day n, 10 + n bugs are open in one and 5 in the other."""
    for repository, first in (("acme/engine", 10), ("acme/site", 5)):
        for n in range(14):
            yield {
                "repository_id": first,
                "repository": repository,
                "task": "issue_kind",
                "level": "category",
                "category": "bug",
                "day": (date(2026, 6, 15) + timedelta(days=n)).isoformat(),
                "opened": 1,
                "closed": 0,
                "new_families": 1,
                "open": first + (n if first == 10 else 0),
                "row_version": 1,
            }


def runs() -> Iterator[dict[str, Any]]:
    """Runs that asked two tasks, each with its two parts: what only whole runs or only parts have is left out."""
    for run in whole_runs():
        whole = {**run, "level": "run", "cost_usd": 0.4}
        yield {name: value for name, value in whole.items() if name not in {"answers", "checks_agreed"}}
        for task, dollars in (("issue_kind", 0.25), ("labels", 0.15)):
            part = {**run, "level": "task", "tasks": [task], "cost_usd": dollars}
            yield {name: value for name, value in part.items() if name not in {"api_calls", "items_new"}}
    # Newer than all of them, and they read nothing.
    for number, command in enumerate(("verify --fix", "run --repo acme/engine --skip-fetch"), 40):
        yield {
            "level": "run",
            "run_id": number,
            "command": f"issuetide {command}",
            "repositories": list(REPOSITORIES),
            "tasks": ["issue_kind", "labels"],
            "started_at": NOW.isoformat(),
            "ended_at": NOW.isoformat(),
            "status": "ok",
            "row_version": number,
        }


def whole_runs() -> Iterator[dict[str, Any]]:
    for number in range(1, 40):
        started = NOW - timedelta(hours=9 * number)
        yield {
            "run_id": number,
            "command": "issuetide run --repo acme/engine",
            "repositories": list(REPOSITORIES[: 1 + number % 3]),
            "tasks": ["issue_kind", "labels"],
            "classifier": "claude",
            "model": "claude-haiku-5-5",
            "started_at": started.isoformat(),
            "ended_at": (started + timedelta(minutes=2)).isoformat(),
            "status": "partial" if number % 9 == 1 else "ok",
            "items_new": number,
            "items_changed": 2,
            "items_vanished": 1,
            "items_returned": 0,
            "texts_asked": number,
            "answers": number,
            "checks_agreed": number % 2,
            "documents_written": number,
            "api_calls": 12,
            "sweep_calls": 5,
            "waited_seconds": number,
            "rate_limit_left": 5000 - number,
            "duration_seconds": 120.0,
            "texts_waiting": number % 3,
            "texts_in_batches": 0,
            "documents_waiting": 0,
            "documents_refused": 0,
            "dead_letters": 0,
            "prompt_tokens": 1000,
            "input_tokens": 100,
            "cache_write_tokens": 100,
            "cache_read_tokens": 800,
            "output_tokens": 50,
            "cost_usd": 0.25,
            "row_version": number,
        }


@pytest.fixture(scope="module")
def objects() -> list[SavedObject]:
    return with_prefix(read_saved_objects(resource_folder("dashboards")), f"t{uuid.uuid4().hex[:10]}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("opensearch_url", marks=pytest.mark.opensearch, id="3.x"),
        pytest.param("opensearch2_url", marks=pytest.mark.opensearch2, id="2.19"),
    ],
)
def server(request: pytest.FixtureRequest, objects: list[SavedObject]) -> Iterator[str]:
    """The address of a server of each major, with the three indices behind their aliases."""
    opensearch_url = request.getfixturevalue(request.param)
    made = []
    prefix = objects[0]["id"].partition("-")[0]
    for name, documents in (("classifications", classifications()), ("daily", daily()), ("runs", runs())):
        index = f"{prefix}-{name}-v1"
        schema = json.loads((resource_folder("schemas") / "opensearch" / f"{name}.json").read_bytes())
        body = {**schema, "aliases": {f"{prefix}-{name}": {}}}
        requests.put(f"{opensearch_url}/{index}", json=body, timeout=60).raise_for_status()
        made.append(index)
        lines = "".join('{"index":{}}\n' + json.dumps(document) + "\n" for document in documents)
        answer = requests.post(
            f"{opensearch_url}/{index}/_bulk?refresh=true",
            data=lines.encode(),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=60,
        )
        assert answer.json()["errors"] is False, answer.text[:500]
    yield opensearch_url
    for index in made:
        requests.delete(f"{opensearch_url}/{index}", timeout=60).raise_for_status()


def ask(server: str, item: SavedObject, body: dict[str, Any]) -> dict[str, Any]:
    index = next(reference["id"] for reference in item["references"] if reference["type"] == "index-pattern")
    answer = requests.post(f"{server}/{index}/_search", json=body, timeout=60)
    assert answer.status_code == 200, f"{item['id']}: {answer.text[:600]}"
    found: dict[str, Any] = answer.json()
    return found


def dashboard_filters(objects: list[SavedObject]) -> list[dict[str, Any]]:
    return list(search_source(objects[-1])["filter"])


def panel(objects: list[SavedObject], name: str) -> SavedObject:
    return next(item for item in objects if item["id"].partition("-")[2] == name)


def pill(field: str, value: str) -> dict[str, Any]:
    return {"meta": {"negate": False}, "query": {"match_phrase": {field: value}}}


def parts_of_bars(found: Mapping[str, Any]) -> dict[str, int]:
    """How many documents each part has in all bars together."""
    parts: dict[str, int] = {}
    for bar in found["aggregations"]["2"]["buckets"]:
        for name, bucket in bar["3"]["buckets"].items():
            parts[name] = parts.get(name, 0) + bucket["doc_count"]
    return parts


def searching(server: str) -> Search:
    """A search of that server, as `panels` wants one."""

    def search(index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = requests.post(f"{server}/{index}/_search", json=body, timeout=60)
        assert answer.status_code == 200, f"{index}: {answer.text[:600]}"
        found: dict[str, Any] = answer.json()
        return found

    return search


def test_every_panel_shows_something_with_the_filters_of_its_dashboard(server: str, objects: list[SavedObject]) -> None:
    view = View(start="2025-01-01", end="2026-07-01")
    boards = read_dashboards(objects)
    answers = [answer for board in boards for answer in ask_dashboard(board, searching(server), NOW, view)]
    assert [(answer.panel.title, answer.words) for answer in answers if answer.status not in {"filled", "words"}] == []
    assert len([answer for answer in answers if answer.status == "filled"]) == 44


def test_a_page_of_all_panels_is_drawn_from_a_real_index(server: str, objects: list[SavedObject]) -> None:
    view = View(start="2025-01-01", end="2026-07-01")
    boards = [(board, list(ask_dashboard(board, searching(server), NOW, view))) for board in read_dashboards(objects)]
    page = render_preview(Preview(boards, view, server, "1", NOW))
    assert 'class="nothing' not in page
    assert page.count('<figure class="panel') == 47
    assert "Build 4 fails" in page
    assert ">$9.75<" in page, "39 runs of a quarter of a dollar"


def test_tokens_read_from_the_cache_are_drawn_as_their_share(server: str, objects: list[SavedObject]) -> None:
    (board,) = [board for board in read_dashboards(objects) if board.item["id"].endswith("-cost")]
    view = View(start="2025-01-01", end="2026-07-01")
    answers = {
        answer.panel.item["id"].partition("-")[2]: answer
        for answer in ask_dashboard(board, searching(server), NOW, view)
    }
    shares = as_shares(time_series(read_rows(answers["cache"])))
    assert {series.category: set(series.values) - {None} for series in shares.series} == {
        "Read from the cache": {0.8},
        "Written to the cache": {0.1},
        "Not cached": {0.1},
    }


def test_agreement_parts_the_answers_that_people_looked_at_by_what_they_said(
    server: str, objects: list[SavedObject]
) -> None:
    found = ask(
        server, panel(objects, "agreement"), panel_body(panel(objects, "agreement"), dashboard_filters(objects))
    )
    parts = parts_of_bars(found)
    expected = [d for d in classifications() if d["task"] == "issue_kind" and not d["vanished"] and d["reviewed"]]
    assert parts == {
        "a person agreed": sum(d.get("agreed") is True for d in expected),
        "a person disagreed": sum(d.get("agreed") is False for d in expected),
        "a person answered instead": sum("agreed" not in d for d in expected),
    }
    assert sum(parts.values()) == len(expected)
    assert min(parts.values()) > 0


def test_what_people_looked_at_is_counted_by_week_with_what_they_set(server: str, objects: list[SavedObject]) -> None:
    item = panel(objects, "looked-at")
    found = ask(server, item, panel_body(item, dashboard_filters(objects)))
    expected = [d for d in classifications() if d["task"] == "issue_kind" and not d["vanished"] and d["reviewed"]]
    overridden = sum(d["overridden"] for d in expected)
    assert parts_of_bars(found) == {"left as it was": len(expected) - overridden, "set by a person": overridden}
    assert 0 < overridden < len(expected)
    weeks = [datetime.fromisoformat(d["classified_at"]).strftime("%G-W%V") for d in expected]
    assert [bar["doc_count"] for bar in found["aggregations"]["2"]["buckets"]] == [
        weeks.count(week) for week in sorted(set(weeks))
    ]


def test_a_problem_is_shown_with_a_link_to_its_newest_issue(server: str, objects: list[SavedObject]) -> None:
    (board,) = [board for board in read_dashboards(objects) if board.item["id"].endswith("-trends")]
    (answer,) = [
        answer
        for answer in ask_dashboard(board, searching(server), NOW, View(start="2025-01-01", end="2026-07-01"))
        if answer.panel.item["id"].partition("-")[2] == "families"
    ]
    rows = read_rows(answer)
    place = rows.metrics.index("Newest issue")
    newest: dict[str, dict[str, Any]] = {}
    for document in classifications():
        if not document["vanished"]:
            newest.setdefault(document["family_hash"], document)
    assert len(rows.rows) == 20
    assert {row.keys[0]: row.values[place] for row in rows.rows} == {
        row.keys[0]: newest[row.keys[0]]["url"] for row in rows.rows
    }


def test_panels_on_issues_count_one_task_without_vanished_issues(server: str, objects: list[SavedObject]) -> None:
    item = panel(objects, "share")
    found = ask(server, item, panel_body(item, dashboard_filters(objects)))
    expected = [d for d in classifications() if d["task"] == "issue_kind" and not d["vanished"]]
    counts = {bucket["key"]: bucket["doc_count"] for bucket in found["aggregations"]["3"]["buckets"]}
    assert counts == {name: sum(d["primary_category"] == name for d in expected) for name in CATEGORIES}


def test_open_issues_are_the_mean_of_daily_sums_over_repositories_in_bars_of_a_week(
    server: str, objects: list[SavedObject]
) -> None:
    item = panel(objects, "open")
    found = ask(server, item, panel_body(item, dashboard_filters(objects), Scope(timedelta(days=365))))
    weeks = [week["3"]["buckets"][0]["1"]["value"] for week in found["aggregations"]["2"]["buckets"]]
    assert weeks == [10 + 3 + 5, 10 + 10 + 5]


def test_a_pill_on_a_repository_leaves_every_panel_something_to_show(server: str, objects: list[SavedObject]) -> None:
    filters = [*dashboard_filters(objects), pill("repository", "acme/site")]
    for name in ("opened", "open", "cost-daily", "run-status", "repositories", "drift"):
        item = panel(objects, name)
        assert ask(server, item, panel_body(item, filters))["hits"]["total"]["value"] > 0, name


def test_a_pill_on_a_category_works_on_issues_and_on_daily_counts(server: str, objects: list[SavedObject]) -> None:
    filters = [*dashboard_filters(objects), pill("primary_category", "bug")]
    for name in ("opened", "open"):
        item = panel(objects, name)
        (split,) = {
            bucket["key"]
            for step in ask(server, item, panel_body(item, filters))["aggregations"]["2"]["buckets"]
            for bucket in step["3"]["buckets"]
        }
        assert split == "bug"


def test_the_table_of_issues_that_need_a_look_is_newest_first_and_each_has_a_link(
    server: str, objects: list[SavedObject]
) -> None:
    item = panel(objects, "low-confidence")
    body = saved_search_body(item, dashboard_filters(objects))
    hits = ask(server, item, {**body, "_source": True})["hits"]["hits"]
    assert len(hits) == 50
    rows = [hit["_source"] for hit in hits]
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert {row["task"] for row in rows} == {"issue_kind"}
    for row in rows:
        assert row["answer"] == "abstained" or row["confidence"] < 0.5
        assert row["url"].startswith("https://")
        assert not row["vanished"]
        assert not row["reviewed"]


def test_freshness_is_the_end_of_the_newest_run_that_read_all_there_is(server: str, objects: list[SavedObject]) -> None:
    item = panel(objects, "freshness")
    found = ask(server, item, panel_body(item))
    newest = max(datetime.fromisoformat(run["ended_at"]) for run in whole_runs())
    assert found["aggregations"]["1"]["value"] == newest.timestamp() * 1000


def test_freshness_by_repository_is_that_of_its_newest_good_run_the_stalest_first(
    server: str, objects: list[SavedObject]
) -> None:
    item = panel(objects, "fresh-repositories")
    found = ask(server, item, panel_body(item))["aggregations"]["2"]["buckets"]
    newest = {
        name: max(datetime.fromisoformat(run["ended_at"]) for run in whole_runs() if name in run["repositories"])
        for name in REPOSITORIES
    }
    assert {row["key"]: row["1"]["value"] for row in found} == {
        name: moment.timestamp() * 1000 for name, moment in newest.items()
    }
    assert [row["1"]["value"] for row in found] == sorted(row["1"]["value"] for row in found)
    assert {row["5"]["value"] for row in found} <= set(range(4900, 5000))


def test_what_fills_the_controls_is_there(server: str, objects: list[SavedObject]) -> None:
    item = panel(objects, "controls")
    for control in json.loads(item["attributes"]["visState"])["params"]["controls"]:
        field = control["fieldName"]
        body = {
            "size": 0,
            "query": query_clause(None, []),
            "aggs": {"values": {"terms": {"field": field, "size": 100}}},
        }
        assert len(ask(server, item, body)["aggregations"]["values"]["buckets"]) >= 2, field


class Edited:
    """A panel as a person might leave it in the editor: its aggregations asked of a server, and what they must bring.

    documents: those that it counts, to be counted by hand: of one task, none that vanished.
    """

    def __init__(self, server: str, objects: list[SavedObject]) -> None:
        self.search = searching(server)
        self.objects: list[SavedObject] = json.loads(json.dumps(objects))
        self.documents = [d for d in classifications() if d["task"] == "issue_kind" and not d["vanished"]]

    def rows(self, *buckets: dict[str, Any], metrics: Sequence[dict[str, Any]] = (), start: str = "2025-01-01") -> Rows:
        """The rows of a table with these buckets; without metrics the number of documents."""
        item = panel(self.objects, "repository-table")
        state = {"type": "table", "params": {}, "aggs": [*(metrics or [metric("1", "count")]), *buckets]}
        item["attributes"]["visState"] = json.dumps(state)
        (board,) = [board for board in read_dashboards(self.objects) if board.item["id"].endswith("-trends")]
        answers = ask_dashboard(board, self.search, NOW, View(start=start, end="2026-07-01"))
        (found,) = [answer for answer in answers if answer.panel.item["id"] == item["id"]]
        assert found.status == "filled", found.words
        return read_rows(found)

    def counts(self, *buckets: dict[str, Any], start: str = "2025-01-01") -> list[tuple[Any, ...]]:
        """Each row's keys and its number of documents."""
        return [(*row.keys, row.values[0]) for row in self.rows(*buckets, start=start).rows]


@pytest.fixture
def edited(server: str, objects: list[SavedObject]) -> Edited:
    return Edited(server, objects)


def metric(identifier: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": identifier, "type": kind, "schema": "metric", "params": params}


def part(identifier: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": identifier, "type": kind, "schema": "bucket", "params": params}


def terms(identifier: str, field: str, **params: Any) -> dict[str, Any]:
    return part(identifier, "terms", **{"field": field, "orderBy": "1", "order": "desc", "size": 2} | params)


def largest(documents: list[dict[str, Any]], field: str, size: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """The documents by a field's largest values, those of all others last."""
    counted = Counter(str(d[field]) for d in documents)
    names = sorted(counted, key=lambda name: (-counted[name], name))[:size]
    parts = [(name, [d for d in documents if d[field] == name]) for name in names]
    rest = [d for d in documents if d[field] not in names]
    return [*parts, ("Other", rest)] if rest else parts


def month(document: dict[str, Any]) -> str:
    return f"{document['created_at'][:7]}-01"


def test_other_values_are_counted_in_a_part_of_their_own_inside_each_part(edited: Edited) -> None:
    found = edited.counts(
        part("2", "date_histogram", field="created_at", interval="M"),
        terms("3", "repository", size=1, otherBucket=True),
        terms("4", "primary_category", otherBucket=True, otherBucketLabel="Other"),
    )
    expected = []
    for name in sorted({month(d) for d in edited.documents}):
        for repository, inner in largest([d for d in edited.documents if month(d) == name], "repository", 1):
            parts = largest(inner, "primary_category", 2)
            expected += [(name, repository, category, len(documents)) for category, documents in parts]
    assert found == expected
    assert sum(row[-1] for row in found) == len(edited.documents)
    assert any(row[1:3] == ("Other", "Other") for row in found)


@pytest.mark.parametrize(
    ("outer", "key"),
    [
        (
            part("2", "range", field="number", ranges=[{"to": 100}, {"from": 100}]),
            lambda d: "< 100" if d["number"] < 100 else "≥ 100",
        ),
        (part("2", "histogram", field="number", interval=100), lambda d: f"{d['number'] // 100 * 100}"),
        (
            part("2", "filters", filters=[{"input": {"query": "state:open", "language": "lucene"}, "label": ""}]),
            lambda d: "state:open" if d["state"] == "open" else None,
        ),
        (terms("2", "reviewed", orderBy="_key"), lambda d: str(d["reviewed"]).lower()),
        (terms("2", "category_given", missingBucket=True), lambda d: d.get("category_given", "Missing")),
    ],
    ids=["range", "histogram", "filters", "boolean", "missing"],
)
def test_other_values_are_counted_in_parts_of_every_kind(edited: Edited, outer: dict[str, Any], key: Any) -> None:
    found = edited.counts(outer, terms("3", "primary_category", otherBucket=True))
    expected = {
        (name, category): len(inner)
        for name in {key(d) for d in edited.documents} - {None}
        for category, inner in largest([d for d in edited.documents if key(d) == name], "primary_category", 2)
    }
    assert {row[:2]: row[2] for row in found} == expected
    assert len(found) == len(expected)


def test_documents_without_the_field_have_a_part_with_its_own_label_or_are_other_ones(edited: Edited) -> None:
    given = sum("category_given" in d for d in edited.documents)
    without = len(edited.documents) - given
    params = {"missingBucket": True, "missingBucketLabel": "(nobody said)", "otherBucket": True}
    both = [("(nobody said)", without), ("bug", given)]
    assert edited.counts(terms("2", "category_given", **params)) == both
    assert edited.counts(terms("2", "category_given", size=1, **params)) == [both[0], ("Other", given)]
    upwards = terms("2", "category_given", size=1, **{**params, "order": "asc"})
    assert edited.counts(upwards) == [("bug", given), ("Other", without)]
    assert edited.counts(terms("2", "category_given", otherBucket=True)) == [("bug", given)]


def test_values_are_taken_in_and_left_out_by_a_pattern(edited: Edited) -> None:
    counted = Counter(d["primary_category"] for d in edited.documents)
    named = terms("2", "primary_category", size=9, orderBy="_key", order="asc", include="[b-q].*", exclude="q.*")
    assert edited.counts(named) == [("bug", counted["bug"]), ("feature", counted["feature"])]
    found = edited.counts(terms("2", "primary_category", size=9, exclude="bug", otherBucket=True))
    assert found[-1] == ("Other", counted.pop("bug"))
    assert dict(found[:-1]) == counted


def test_parts_are_ordered_by_name_by_a_metric_or_by_one_that_is_not_shown(edited: Edited) -> None:
    def named(**params: Any) -> dict[str, Any]:
        return terms("2", "primary_category", **{"size": 9} | params)

    names = sorted(CATEGORIES)
    assert [row[0] for row in edited.counts(named(orderBy="_key", order="asc"))] == names
    newest = {name: max(d["created_at"] for d in edited.documents if d["primary_category"] == name) for name in names}
    by_age = {"id": "2-orderAgg", "type": "max", "params": {"field": "created_at"}}
    found = edited.counts(named(orderBy="custom", orderAgg=by_age))
    assert [row[0] for row in found] == sorted(names, key=lambda name: newest[name], reverse=True)
    upwards = edited.rows(named(order="asc"), metrics=[metric("1", "avg", field="number")])
    values: list[Any] = [row.values[0] for row in upwards.rows]
    assert values == sorted(values)
    ranks = metric("1", "percentile_ranks", field="number", values=[50, 150])
    values = [row.values[1] for row in edited.rows(named(orderBy="1.150"), metrics=[ranks]).rows]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(
    ("interval", "hours"), [("12h", 12), ("2d", 48), ("6h", 3), ("24h", 24), ("custom", 36), ("auto", 12)]
)
def test_bars_are_as_wide_as_was_asked_for(edited: Edited, interval: str, hours: int) -> None:
    """Of six hours there would be 124, more than the hundred at which Dashboards takes an interval of its own."""
    params = {"field": "created_at", "interval": interval, "customInterval": "36h"}
    found = edited.rows(part("2", "date_histogram", **params), start="2026-06-01")
    shown = [datetime.fromisoformat(d["created_at"]) for d in edited.documents if d["created_at"] >= "2026-06-01"]
    bars = Counter(moment.timestamp() // (3600 * hours) * 3600 * hours for moment in shown)
    assert {row.moment.timestamp(): row.values[0] for row in found.rows if row.moment} == bars
    starts = time_series(found).starts
    assert {later - earlier for earlier, later in pairwise(starts)} == {timedelta(hours=hours)}


def test_bars_in_part_are_dropped_where_the_editor_says_so_and_others_stay_as_they_are(edited: Edited) -> None:
    bars = {"field": "created_at", "interval": "10d"}
    inner = terms("3", "primary_category", size=1, otherBucket=True)
    every = edited.counts(part("2", "date_histogram", **bars), inner, start="2026-05-01")
    whole = edited.counts(part("2", "date_histogram", **bars, drop_partials=True), inner, start="2026-05-01")
    starts = sorted({row[0] for row in every})
    assert (starts[0], starts[-1]) == ("2026-04-27", "2026-06-26")
    assert whole == [row for row in every if row[0] in starts[1:-1]]
    assert "Other" in {row[1] for row in whole}


def test_bars_of_numbers_are_as_wide_as_their_spread_asks_for(edited: Edited) -> None:
    found = edited.counts(part("2", "histogram", field="number", interval="auto"))
    numbers = [d["number"] for d in edited.documents]
    assert 200 < max(numbers) - min(numbers) < 500, "else bars of five would not be those that fit"
    assert found == [(f"{low}", count) for low, count in sorted(Counter(n // 5 * 5 for n in numbers).items())]


def test_every_percentile_and_both_bounds_of_a_deviation_have_a_column(edited: Edited) -> None:
    numbers = sorted(d["number"] for d in edited.documents)
    percentiles = metric("1", "percentiles", field="number", percents=[25, 50, 99.9])
    found = edited.rows(metrics=[percentiles, metric("2", "std_dev", field="number")])
    assert found.metrics[:3] == tuple(f"{name} percentile of number" for name in ("25th", "50th", "99.9th"))
    expected = [numbers[round(len(numbers) * share) - 1] for share in (0.25, 0.5, 0.999)]
    assert found.rows[0].values[:3] == pytest.approx(expected, abs=4)
    mean, deviation = fmean(numbers), pstdev(numbers)
    assert found.rows[0].values[3:] == pytest.approx([mean - 2 * deviation, mean + 2 * deviation])


def test_a_moving_average_follows_the_number_of_documents(edited: Edited) -> None:
    script = "MovingFunctions.unweightedAvg(values)"
    moving = metric("3", "moving_fn", metricAgg="1", window=2, script=script)
    months = part("2", "date_histogram", field="created_at", interval="M", min_doc_count=0)
    rows = edited.rows(months, metrics=[metric("1", "count"), moving]).rows
    counts: list[Any] = [row.values[0] for row in rows]
    assert [row.values[1] for row in rows][2:] == [sum(pair) / 2 for pair in pairwise(counts)][:-1]


def issuetide(environment: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """The command as a process of its own."""
    kept = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "etl.cli", *words],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("opensearch_url", marks=pytest.mark.opensearch, id="3.x"),
        pytest.param("opensearch2_url", marks=pytest.mark.opensearch2, id="2.19"),
    ],
)
def test_every_panel_of_every_dashboard_is_filled_by_the_demos_data(
    address: str, request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "OPENSEARCH_URL": request.getfixturevalue(address),
        "ISSUETIDE_INDEX_PREFIX": f"d{uuid.uuid4().hex[:10]}",
    }
    before = issuetide(environment, "dashboards", "check", "--json")
    assert before.returncode == 9, before.stderr
    panels = json.loads(before.stdout)["panels"]
    assert {panel["status"] for panel in panels} == {"empty", "words"}
    missing = f"there is no {environment['ISSUETIDE_INDEX_PREFIX']}-"
    assert all(panel["words"].startswith(missing) for panel in panels if panel["status"] == "empty")
    tasks = [word for name in ("issue_kind", "labels", "user_error") for word in ("--task", name)]
    ran = issuetide(environment, "run", "--input", str(sample_path()), *tasks, "--classifier", "rules")
    assert ran.returncode == 0, ran.stderr
    with closing(Store(database_url)) as store:
        assert store_demo_reviews(store, load_tasks(), reviews_path().read_text(encoding="utf-8")) > 0
    exported = issuetide(environment, "export")
    assert exported.returncode == 0, exported.stderr
    # The sample's issues end in November 2026; the run is of now.
    since = ("--from", "2025-05-01", "--to", "now")
    for task in ("issue_kind", "user_error", "labels"):
        checked = issuetide(environment, "dashboards", "check", "--json", "--task", task, *since)
        found = json.loads(checked.stdout)
        assert [panel for panel in found["panels"] if panel["status"] not in {"filled", "words"}] == [], task
        assert checked.returncode == 0
        assert (found["problems"], found["remarks"], found["dashboards"], len(found["panels"])) == ([], [], 3, 47)
    page = tmp_path / "page.html"
    previewed = issuetide(environment, "dashboards", "preview", "-o", str(page), *since)
    assert previewed.returncode == 0, previewed.stderr
    assert previewed.stdout.startswith(f"wrote {page}: 3 dashboards, 47 panels")
    assert 'class="nothing' not in page.read_text(encoding="utf-8")


@pytest.mark.opensearch
def test_a_folder_of_ones_own_is_checked_and_its_faults_decide_the_exit_code(
    server: str, objects: list[SavedObject], tmp_path: Path
) -> None:
    environment = {"OPENSEARCH_URL": server, "ISSUETIDE_INDEX_PREFIX": objects[0]["id"].partition("-")[0]}
    mine = [json.loads(json.dumps(item)) for item in read_saved_objects(resource_folder("dashboards"))]
    share = next(item for item in mine if item["id"] == "issuetide-share")
    state = json.loads(share["attributes"]["visState"])

    def check(change: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
        share["attributes"]["visState"] = json.dumps({**state, **change})
        (tmp_path / "mine.ndjson").write_text("".join(json.dumps(item) + "\n" for item in mine))
        since = ("--from", "2025-01-01", "--to", "2026-07-01")
        return issuetide(environment, "dashboards", "check", str(tmp_path), *since)

    cost, trends = (panel(objects, name)["attributes"]["title"] for name in ("cost", "trends"))
    refused = f"only zeros: {cost} / Documents that the index refused, and that wait\n"
    told = "52 objects, 0 problems; 44 panels filled ({} with only zeros), 0 empty, 0 failed\n"
    fine = check({})
    assert (fine.returncode, fine.stdout) == (0, refused + told.format(1))
    zeros = check({"aggs": [{**state["aggs"][0], "type": "sum", "params": {"field": "reopened"}}, state["aggs"][1]]})
    shares = f"only zeros: {trends} / Share of each category\n"
    assert (zeros.returncode, zeros.stdout) == (0, shares + refused + told.format(2))
    text_bucket = {**state["aggs"][1], "params": {**state["aggs"][1]["params"], "field": "rationale"}}
    wrong = check({"aggs": [state["aggs"][0], text_bucket]})
    assert wrong.returncode == 3
    assert "wrong: visualization" in wrong.stdout
    assert "terms cannot be asked of 'rationale'" in wrong.stdout
    empty_bucket = {**state["aggs"][1], "params": {**state["aggs"][1]["params"], "field": "near_of"}}
    empty = check({"aggs": [state["aggs"][0], empty_bucket]})
    assert empty.returncode == 9
    assert "empty: Issuetide: trends of issues" in empty.stdout
    assert "Share of each category: " in empty.stdout
