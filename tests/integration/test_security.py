"""The way to a real OpenSearch with the real security plugin: rights, logins, certificates, and no secret anywhere."""

import base64
import itertools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
import requests
from psycopg import sql

from etl.errors import ConfigurationError
from etl.records import Document
from etl.resources import resource_folder
from etl.sinks.opensearch import OpenSearchSink
from etl.sinks.opensearch_access import Access
from tests.secured_opensearch import SecuredOpenSearch

pytestmark = pytest.mark.security

ROLES = json.loads((resource_folder("schemas") / "opensearch" / "roles.json").read_bytes())
EXPORTER, READER = ROLES["issuetide_exporter"], ROLES["issuetide_reader"]
RIGHTS = (*EXPORTER["cluster_permissions"], *EXPORTER["index_permissions"][0]["allowed_actions"])
_versions = itertools.count(1, 2)
SAMPLE = Path(__file__).parents[2] / "etl" / "demo" / "sample.jsonl"


def for_prefix(role: dict[str, Any], prefix: str, without: str = "") -> dict[str, Any]:
    """The role as docs/operations.md says to change it for another prefix, perhaps less one right."""
    made: dict[str, Any] = json.loads(json.dumps(role).replace('"issuetide-*"', f'"{prefix}-*"'))
    places = (made["cluster_permissions"], made["index_permissions"][0]["allowed_actions"])
    for place in places:
        if without in place:
            place.remove(without)
    return made


@pytest.fixture(scope="module")
def prefix() -> str:
    return f"t{uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def exporter(secured_opensearch: SecuredOpenSearch, prefix: str) -> Iterator[Access]:
    """A user with the exporter's role, and with the indices made by that role."""
    secured_opensearch.make_role("exporter", for_prefix(EXPORTER, prefix))
    password = secured_opensearch.make_user("hourly", "exporter")
    access = Access(secured_opensearch.ca_file, "hourly", password)
    OpenSearchSink(secured_opensearch.url, prefix, access=access).prepare()
    yield access
    secured_opensearch.ask("DELETE", f"{prefix}-*")


def everything(server: SecuredOpenSearch, prefix: str, access: Access) -> None:
    """All that the product asks of a sink: prepare, push, delete, read back, check, replace an index and drop it."""
    sink = OpenSearchSink(server.url, prefix, access=access)
    sink.prepare()
    version = next(_versions)
    documents = [Document(f"run-{number}", version, f'{{"run_id": {number}}}') for number in (1, 2, 3)]
    for each in (documents, [Document("run-3", version + 1, None)]):
        assert {result.status for chunk in sink.push("runs", each) for result in chunk} == {"written"}
    sink.refresh()
    assert sorted(sink.held("runs")) == [("run-1", version), ("run-2", version)]
    assert sink.get("runs", "run-1") == {"run_id": 1}
    assert sink.count("runs") == 2
    failed = [check for check in sink.check() if check.status == "failed"]
    if failed:
        raise ConfigurationError(failed[0].detail)
    standing = next(each for each in sink.survey() if each.name == "runs")
    target = sink.begin_next("runs")
    assert [result.status for chunk in sink.next_sink().push("runs", documents) for result in chunk] == ["written"] * 3
    assert sink.count_next("runs") == 3
    sink.switch(standing, target)
    standing = next(each for each in sink.survey() if each.name == "runs")
    for kept in standing.kept:
        sink.drop(standing, kept)


def lose_a_field(server: SecuredOpenSearch, prefix: str) -> None:
    """An index as an older release made it, so that `prepare` has to add a field."""
    found = server.ask("GET", f"{prefix}-daily")
    ((name, live),) = found.items()
    mappings = live["mappings"]
    mappings["properties"].pop("opened")
    server.ask("DELETE", name)
    body = {"mappings": mappings, "aliases": {f"{prefix}-daily": {"is_write_index": True}}}
    server.ask("PUT", name, {**body, "settings": {"number_of_replicas": 0}})


def test_the_documented_role_is_enough_for_all_that_the_product_does(
    secured_opensearch: SecuredOpenSearch, prefix: str, exporter: Access, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "etl")
    lose_a_field(secured_opensearch, prefix)
    everything(secured_opensearch, prefix, exporter)
    mappings = secured_opensearch.ask("GET", f"{prefix}-daily/_mapping")
    assert "opened" in next(iter(mappings.values()))["mappings"]["properties"]
    assert "a point in time stays" not in caplog.text


@pytest.mark.parametrize("right", RIGHTS)
def test_without_one_of_its_rights_what_is_missing_is_told(
    secured_opensearch: SecuredOpenSearch,
    prefix: str,
    exporter: Access,
    right: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "etl")
    if right == "indices:admin/mapping/put":
        lose_a_field(secured_opensearch, prefix)
    secured_opensearch.make_role("exporter", for_prefix(EXPORTER, prefix, without=right))
    try:
        if right == "indices:data/read/point_in_time/delete":  # it goes by itself some minutes later: no reason to fail
            everything(secured_opensearch, prefix, exporter)
            told = caplog.text
        else:
            with pytest.raises(ConfigurationError) as caught:
                everything(secured_opensearch, prefix, exporter)
            told = str(caught.value)
            assert "\n" not in told
    finally:
        secured_opensearch.make_role("exporter", for_prefix(EXPORTER, prefix))
    assert re.search(r"the user lacks a right \(|the user may not write it", told)
    assert "docs/operations.md lists" in told
    assert "hourly" not in told
    plain = right.rstrip("*")
    assert plain in told or "status 403" in told or "may not write" in told


def test_the_exporters_role_reaches_no_other_index(
    secured_opensearch: SecuredOpenSearch, prefix: str, exporter: Access
) -> None:
    secured_opensearch.ask("PUT", f"other{prefix}/_doc/1?refresh=true", {"a": 1})
    with pytest.raises(ConfigurationError, match="lacks a right"):
        OpenSearchSink(secured_opensearch.url, f"other{prefix}", access=exporter).prepare()
    assert exporter.username is not None
    assert exporter.password is not None
    answer = ask_as(secured_opensearch, (exporter.username, exporter.password), "GET", f"other{prefix}/_search")
    assert answer.status_code == 403


def ask_as(
    server: SecuredOpenSearch, login: tuple[str, str], method: str, path: str, body: object = None
) -> requests.Response:
    headers = {"content-type": "application/x-ndjson" if isinstance(body, str) else "application/json"}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            method,
            f"{server.url}/{path}",
            auth=(login[0].encode(), login[1].encode()),  # type: ignore[arg-type]  # bytes are sent as they are
            verify=str(server.ca_file),
            data=body if isinstance(body, str) or body is None else json.dumps(body),
            headers=headers,
            timeout=120,
        )


def test_the_readers_role_reads_what_dashboards_ask_for_and_writes_nothing(
    secured_opensearch: SecuredOpenSearch, prefix: str, exporter: Access
) -> None:
    secured_opensearch.make_role("reader", for_prefix(READER, prefix))
    login = ("looker", secured_opensearch.make_user("looker", "reader"))
    alias = f"{prefix}-runs"
    everything(secured_opensearch, prefix, exporter)
    asked: Sequence[tuple[str, str, object]] = (
        ("POST", f"{alias}/_search", {"size": 0, "aggs": {"a": {"terms": {"field": "status"}}}}),
        ("POST", "_msearch", f'{{"index":"{alias}"}}\n{{"size":0}}\n'),
        ("GET", f"{prefix}-*/_field_caps?fields=*", None),
        ("GET", f"{prefix}-*/_mapping", None),
        ("GET", f"_resolve/index/{prefix}-*", None),
        ("GET", f"{alias}/_doc/run-1", None),
    )
    for method, path, body in asked:
        answer = ask_as(secured_opensearch, login, method, path, body)
        assert answer.status_code == 200, path
        assert "security_exception" not in answer.text, path
    refused: Sequence[tuple[str, str, object]] = (
        ("PUT", f"{alias}/_doc/run-1", {"run_id": 10}),
        ("DELETE", f"{alias}/_doc/run-1", None),
        ("DELETE", f"{prefix}-runs-v1", None),
        ("POST", f"{alias}/_update/run-1", {"doc": {"run_id": 10}}),
        ("GET", f"other{prefix}/_search", None),
        ("GET", "_plugins/_security/api/internalusers", None),
    )
    for method, path, body in refused:
        assert ask_as(secured_opensearch, login, method, path, body).status_code == 403, path


def test_a_client_certificate_is_a_login(secured_opensearch: SecuredOpenSearch, prefix: str, exporter: Access) -> None:
    del exporter  # asked for so that the indices are there
    secured_opensearch.make_role("by_certificate", for_prefix(EXPORTER, prefix))
    secured_opensearch.ask("PUT", "_plugins/_security/api/rolesmapping/by_certificate", {"users": ["robot"]})
    certificate, key = secured_opensearch.client_certificate("robot")
    everything(secured_opensearch, prefix, Access(secured_opensearch.ca_file, None, None, certificate, key))
    certificate, key = secured_opensearch.client_certificate("stranger")
    with pytest.raises(ConfigurationError, match="the user lacks a right"):
        everything(secured_opensearch, prefix, Access(secured_opensearch.ca_file, None, None, certificate, key))
    with pytest.raises(ConfigurationError, match="wants a user name and password"):
        everything(secured_opensearch, prefix, Access(secured_opensearch.ca_file))


# The command, as cron starts it


def environment(database_url: str, folder: Path, prefix: str, **settings: str) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_CONFIG") if name in os.environ
    }
    return {
        **kept,
        "DATABASE_URL": database_url,
        "ISSUETIDE_INDEX_PREFIX": prefix,
        "ISSUETIDE_DATA_DIR": str(folder / "data"),
        "ISSUETIDE_DEADLINE_MINUTES": "10",
        **settings,
    }


def command(arguments: Sequence[str], world: dict[str, str], folder: Path) -> tuple[int, str, str]:
    """Exit code, output and errors; the arguments that other users of the machine see are looked at on the way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "etl.cli", *arguments],
        env=world,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listed = Path(f"/proc/{process.pid}/cmdline")
    shown = listed.read_bytes().decode() if listed.exists() else ""
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors + shown


RUN = ("run", "--input", str(SAMPLE), "--task", "issue_kind", "--classifier", "rules", "--limit", "25", "--json")


def test_the_whole_command_works_with_that_role_and_its_password_outside_the_url(
    secured_opensearch: SecuredOpenSearch, exporter: Access, prefix: str, database_url: str, tmp_path: Path
) -> None:
    assert exporter.password is not None
    world = environment(
        database_url,
        tmp_path,
        prefix,
        OPENSEARCH_URL=secured_opensearch.url,
        OPENSEARCH_USERNAME="hourly",
        OPENSEARCH_PASSWORD=exporter.password,
        OPENSEARCH_CA_FILE=str(secured_opensearch.ca_file),
    )
    code, output, errors = command(RUN, world, tmp_path)
    assert code == 0, errors
    assert json.loads(output)["documents_written"] > 25
    code, again, errors = command(("export", "--json"), world, tmp_path)
    assert code == 0, errors
    assert json.loads(again).get("documents_written", 0) <= 1  # the record of the run before
    code, rebuilt, errors = command(("index", "rebuild", "all", "--drop-old", "--json"), world, tmp_path)
    assert code == 0, errors
    code, checks, errors = command(("doctor", "--json"), world, tmp_path)
    opensearch = [check for check in json.loads(checks) if check["name"].startswith("opensearch")]
    assert len(opensearch) == 4
    assert "failed" not in {check["status"] for check in opensearch}
    assert exporter.password not in output + again + rebuilt + checks + errors


CASES = (
    "wrong password",
    "wrong password in the URL",
    "unknown authority",
    "missing file",
    "wrong host name",
    "http to https",
    "password not encoded",
    "missing right",
    "both places",
)


def failures(server: SecuredOpenSearch, password: str) -> dict[str, tuple[dict[str, str], int, str]]:
    """By name: settings, the exit code, and what the message must say."""
    right = {
        "OPENSEARCH_URL": server.url,
        "OPENSEARCH_USERNAME": "hourly",
        "OPENSEARCH_PASSWORD": password,
        "OPENSEARCH_CA_FILE": str(server.ca_file),
    }
    login = f"hourly:{quote(password, safe='')}"
    in_url = {
        "OPENSEARCH_URL": server.url.replace("//", f"//{login}@"),
        "OPENSEARCH_CA_FILE": right["OPENSEARCH_CA_FILE"],
    }
    return {
        "wrong password": ({**right, "OPENSEARCH_PASSWORD": f"{password}x"}, 3, "correct OPENSEARCH_USERNAME and"),
        "wrong password in the URL": (
            {**in_url, "OPENSEARCH_URL": server.url.replace("//", f"//{login}x@")},
            3,
            "correct them in OPENSEARCH_URL",
        ),
        "unknown authority": (
            {**right, "OPENSEARCH_CA_FILE": str(server.strange_ca_file)},
            3,
            "name its authority's PEM file in OPENSEARCH_CA_FILE",
        ),
        "missing file": ({**right, "OPENSEARCH_CA_FILE": "/nowhere/ca.pem"}, 3, "OPENSEARCH_CA_FILE /nowhere/ca.pem"),
        "wrong host name": (
            {**right, "OPENSEARCH_URL": server.address},
            3,
            "write the host in OPENSEARCH_URL as the certificate has it",
        ),
        "http to https": (
            {**in_url, "OPENSEARCH_URL": in_url["OPENSEARCH_URL"].replace("https:", "http:")},
            8,
            "write https:// in OPENSEARCH_URL",
        ),
        "password not encoded": (
            {**in_url, "OPENSEARCH_URL": server.url.replace("//", f"//hourly:{password}@")},
            3,
            "percent-encode",
        ),
        "missing right": ({**right, "ISSUETIDE_INDEX_PREFIX": "forbidden"}, 3, "the user lacks a right"),
        "both places": ({**in_url, **right, "OPENSEARCH_URL": in_url["OPENSEARCH_URL"]}, 3, "in one place only"),
    }


@pytest.mark.parametrize("case", CASES)
def test_a_failure_is_one_clear_line_and_the_password_is_nowhere(
    secured_opensearch: SecuredOpenSearch,
    exporter: Access,
    prefix: str,
    database_url: str,
    tmp_path: Path,
    case: str,
) -> None:
    assert exporter.password is not None
    settings, expected, said = failures(secured_opensearch, exporter.password)[case]
    # Only what may be an outage is waited for; the rest ends at once.
    minutes = "0.1" if expected == 8 else "10"
    world = environment(database_url, tmp_path, **{"prefix": prefix, "ISSUETIDE_DEADLINE_MINUTES": minutes, **settings})
    code, output, errors = command(("export", "--json", "--verbose", "--log-format", "json"), world, tmp_path)
    assert code == expected, errors
    last = [line for line in errors.splitlines() if line.startswith("{")][-1]
    assert said in json.loads(last)["message"]
    assert "Traceback" not in errors
    checks_code, checks, doctor_errors = command(("doctor", "--json"), world, tmp_path)
    assert checks_code == 3
    (failed, *_) = [c for c in json.loads(checks) if c["name"].startswith("opensearch") and c["status"] == "failed"]
    assert said in failed["detail"]
    everywhere = "\n".join((output, errors, checks, doctor_errors, *stored(database_url)))
    assert said in "\n".join(stored(database_url))
    for secret in spellings(exporter.password):
        assert secret not in everywhere


def spellings(password: str) -> Iterator[str]:
    yield password
    yield quote(password, safe="")
    yield password.split("@")[-1]  # the random part, whatever became of the rest
    yield base64.b64encode(f"hourly:{password}".encode()).decode()


def stored(database_url: str) -> list[str]:
    """Every row of every table, as text."""
    rows: list[str] = []
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(sql.Identifier(table))
            rows += [row[0] for row in connection.execute(query)]
    return rows


def test_the_server_itself_listens_only_here_and_not_as_root(secured_opensearch: SecuredOpenSearch) -> None:
    assert urlsplit(secured_opensearch.url).hostname == "localhost"
    status = Path(f"/proc/{secured_opensearch.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
    assert line.split()[1] != "0"
