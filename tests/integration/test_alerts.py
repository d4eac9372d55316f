"""The alerts fire exactly when they should: as SQL on a real PostgreSQL, as monitors on a real OpenSearch.

OpenSearch Alerting is published nowhere without the whole of OpenSearch. So each monitor's search is asked of a real
server, and each trigger's condition is evaluated by its Painless on what that search gave. What the plugin itself does
with the file (its schedule, its messages) is not tested.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict

from etl.resources import resource_folder
from tests.conftest import new_database

ROOT = Path(__file__).parents[2]
SQL = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "cron" / "alerts").glob("*.sql"))}
MONITORS = {
    path.stem: json.loads(path.read_bytes())
    for path in sorted((resource_folder("dashboards") / "alerts").glob("*.json"))
}
DAYS, PER_DAY = 8, 6


def environment(database_url: str, folder: Path) -> dict[str, str]:
    """What the command sees: this database, and nothing of whoever runs the tests."""
    names = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_CONFIG")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "DATABASE_URL": database_url, "ISSUETIDE_DATA_DIR": str(folder / "data")}


def issues() -> Iterator[dict[str, Any]]:
    """Six issues a day for eight days, with the words by which the rules know a bug, as GitHub's API gives them."""
    now = datetime.now(UTC)
    number = 0
    for day in range(DAYS):
        for place in range(PER_DAY):
            number += 1
            created = (now - timedelta(days=day, hours=1 + place)).strftime("%Y-%m-%dT%H:%M:%SZ")
            yield {
                "id": 7000 + number,
                "number": number,
                "html_url": f"https://github.com/acme/engine/issues/{number}",
                "url": f"https://api.github.com/repos/acme/engine/issues/{number}",
                "title": f"Crash: segmentation fault in part {number}",
                "body": f"### Steps to reproduce\nstart part {number}\nTraceback: it crashes with an error",
                "user": {"login": "ann", "type": "User"},
                "author_association": "NONE",
                "labels": [],
                "assignees": [],
                "state": "open",
                "comments": 0,
                "created_at": created,
                "updated_at": created,
                "closed_at": None,
                "repository": {"id": 41, "full_name": "acme/engine"},
            }


@pytest.fixture(scope="module")
def filled_template(
    postgres_server: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a database with one good run, of this moment, that read those issues and spent nothing."""
    folder = tmp_path_factory.mktemp("alerts")
    for url in new_database(postgres_server, migrated_template):
        fill(url, folder)
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def filled(postgres_server: str, filled_template: str) -> Iterator[str]:
    """A copy of it."""
    yield from new_database(postgres_server, filled_template)


def fill(database_url: str, folder: Path) -> None:
    dump = folder / "issues.jsonl"
    dump.write_text("".join(json.dumps(issue) + "\n" for issue in issues()), encoding="utf-8")
    arguments = ("run", "--input", str(dump), "--task", "issue_kind", "--classifier", "rules")
    done = subprocess.run(
        [sys.executable, "-m", "etl.cli", *arguments],
        env=environment(database_url, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# What is done to that database, and the alerts that must fire then, and no other

MANY = "UPDATE items SET created_at = now() - interval '2 hours' WHERE external_id::int BETWEEN 13 AND {}"
CASES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "all is well": ((), set()),
    "the last good run is long ago": (
        ("UPDATE runs SET started_at = started_at - interval '5 hours', ended_at = ended_at - interval '5 hours'",),
        {"stale"},
    ),
    "the last good run is two hours ago": (
        ("UPDATE runs SET started_at = started_at - interval '2 hours', ended_at = ended_at - interval '2 hours'",),
        set(),
    ),
    "only a failed one is recent": (("UPDATE runs SET status = 'failed'",), {"stale"}),
    "a partial one read all there is": (("UPDATE runs SET status = 'partial'",), set()),
    "only a comparison is recent": (("UPDATE runs SET command = 'issuetide verify --repo acme/engine'",), {"stale"}),
    "only a run that read nothing is recent": (("UPDATE runs SET command = 'issuetide run --skip-fetch'",), {"stale"}),
    "there was never a run": (("DELETE FROM runs",), {"stale"}),
    "many bugs today": ((MANY.format(44),), {"spike"}),
    "three times as many, but few": ((MANY.format(15),), set()),
    "many, gone meanwhile": (
        (
            MANY.format(44),
            "UPDATE items SET tombstone = 'deleted', tombstoned_at = now() WHERE external_id::int < 45",
        ),
        set(),
    ),
    "dear today": (("UPDATE runs SET cost_usd = 5.01",), {"budget"}),
    "as dear as may be": (("UPDATE runs SET cost_usd = 5",), set()),
    "dear long ago": (
        ("UPDATE runs SET cost_usd = 500, started_at = started_at - interval '32 days'",),
        set(),
    ),
    "refused documents": (("UPDATE runs SET documents_refused = 2",), {"dead-letters"}),
    "refused ones that were mended": (
        (
            """INSERT INTO runs (command, status, started_at, ended_at, documents_refused, repositories, tasks)
               SELECT command, 'ok', started_at - interval '1 hour', ended_at - interval '1 hour', 9, '{}', '{}'
               FROM runs""",
        ),
        set(),
    ),
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, filled: str) -> tuple[str, set[str]]:
    """The database as the case wants it, and what must fire."""
    statements, expected = CASES[request.param]
    with psycopg.connect(filled) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    return filled, expected


def fired_by_sql(database_url: str) -> dict[str, list[str]]:
    """The lines that each query gives, without those that give none."""
    lines = {}
    with psycopg.connect(database_url) as connection:
        for name, text in SQL.items():
            query = "\n".join(line for line in text.splitlines() if not line.startswith("\\"))
            lines[name] = [row[0] for row in connection.execute(query.encode())]
    return {name: rows for name, rows in lines.items() if rows}


class Cluster:
    """Two indices on a real server, filled from the database's own documents."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"a{uuid4().hex[:8]}"

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """What the server answers; it must not refuse."""
        answer = requests.request(method, f"{self.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def fill(self, database_url: str) -> None:
        """Makes the two indices with our mappings and writes every document."""
        for index in ("runs", "classifications"):
            body = json.loads((resource_folder("schemas") / "opensearch" / f"{index}.json").read_bytes())
            self.ask("PUT", f"{self.prefix}-{index}", body)
            with psycopg.connect(database_url) as connection:
                view = {"runs": "run_documents", "classifications": "classification_documents"}[index]
                only = " WHERE applies" if index == "classifications" else ""
                rows = connection.execute(f"SELECT document_id, source::text FROM {view}{only}".encode()).fetchall()
            lines = "".join(f'{{"index":{{"_id":{json.dumps(key)}}}}}\n{source}\n' for key, source in rows)
            if lines:
                answer = requests.post(
                    f"{self.url}/{self.prefix}-{index}/_bulk?refresh=true",
                    data=lines.encode(),
                    headers={"content-type": "application/x-ndjson"},
                    timeout=60,
                ).json()
                assert not answer["errors"], answer

    def fired(self, name: str) -> list[str]:
        """The triggers of one monitor whose condition holds."""
        (entry,) = MONITORS[name]["inputs"]
        indices = ",".join(re.sub(r"^issuetide-", f"{self.prefix}-", index) for index in entry["search"]["indices"])
        result = self.ask("POST", f"{indices}/_search", entry["search"]["query"])
        return [trigger["name"] for trigger in MONITORS[name]["triggers"] if self.holds(trigger, result)]

    def holds(self, trigger: dict[str, Any], result: dict[str, Any]) -> bool:
        """What the server's Painless says of a trigger's condition, with the variable `ctx` that Alerting gives it."""
        script = trigger["condition"]["script"]
        body = {
            "script": {
                "lang": script["lang"],
                "source": f"def ctx = params.ctx; return {script['source']};",
                "params": {"ctx": {"results": [result]}},
            }
        }
        told = self.ask("POST", "_scripts/painless/_execute", body)["result"]
        assert told in {"true", "false"}
        return bool(told == "true")


@pytest.fixture
def make_cluster() -> Iterator[Callable[[str], Cluster]]:
    made: list[Cluster] = []

    def make(url: str) -> Cluster:
        made.append(Cluster(url))
        return made[-1]

    yield make
    for cluster in made:
        requests.delete(f"{cluster.url}/{cluster.prefix}-runs,{cluster.prefix}-classifications", timeout=60)


@pytest.mark.opensearch
def test_sql_and_monitors_fire_when_they_must_and_only_then(
    case: tuple[str, set[str]], opensearch_url: str, make_cluster: Callable[[str], Cluster]
) -> None:
    database_url, expected = case
    assert set(fired_by_sql(database_url)) == expected
    cluster = make_cluster(opensearch_url)
    cluster.fill(database_url)
    assert {name for name in MONITORS if cluster.fired(name)} == expected


@pytest.mark.opensearch2
def test_the_monitors_fire_on_2_19_too(
    filled: str, opensearch2_url: str, make_cluster: Callable[[str], Cluster]
) -> None:
    with psycopg.connect(filled) as connection:
        for statement in (
            MANY.format(44),
            "UPDATE runs SET cost_usd = 101, documents_refused = 1, status = 'failed'",
        ):
            connection.execute(statement.encode())
    cluster = make_cluster(opensearch2_url)
    cluster.fill(filled)
    assert {name: cluster.fired(name) for name in MONITORS} == {
        "budget": ["day", "month"],
        "dead-letters": ["refused"],
        "spike": ["spike"],
        "stale": ["stale"],
    }


def test_a_month_counts_from_its_first_moment(filled: str) -> None:
    with psycopg.connect(filled) as connection:
        connection.execute("UPDATE runs SET cost_usd = 101, started_at = date_trunc('month', now(), 'UTC')")
    assert [line for line in fired_by_sql(filled)["budget"] if "month" in line] == [
        "$101.00 spent this month (UTC), more than $100"
    ]


def test_piped_into_the_shell_a_quiet_alert_prints_nothing_and_a_loud_one_its_line(filled: str, tmp_path: Path) -> None:
    """What cron mails is what a command prints."""
    world = environment(filled, tmp_path)

    def piped(name: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "etl.cli", "db", "shell"],
            input=SQL[name],
            env=world,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    assert {name: piped(name) for name in SQL} == dict.fromkeys(SQL, "")
    with psycopg.connect(filled) as connection:
        connection.execute("UPDATE runs SET cost_usd = 6, documents_refused = 2, status = 'failed'")
        connection.execute(MANY.format(44).encode())
    loud = {name: piped(name).splitlines() for name in SQL}
    assert loud["stale"] == ["no run has ever ended well"]
    assert loud["budget"] == ["$6.00 spent today (UTC), more than $5"]
    assert re.fullmatch(r"OpenSearch refuses 2 documents \(as of run \d+\)", loud["dead-letters"][0])
    assert re.fullmatch(r"issue_kind: \d+ issues of \w+ in a day, usually \d\.\d", loud["spike"][0])
