"""The OpenSearch sink on real servers, of both majors."""

import json
import threading
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any, get_args

import pytest
from opensearchpy import OpenSearch

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.records import Document, PushResult
from etl.resources import resource_folder
from etl.sinks.base import IndexName
from etl.sinks.opensearch import OpenSearchSink

INDICES: tuple[IndexName, ...] = get_args(IndexName)
SAMPLES = {
    "keyword": ["oncall: pt2", "ünïcödé 😀"],
    "text": "torch.compile fails with a NUL \u0000 and a line\nbreak",
    "long": 2**61 + 5,
    "integer": 2**31 - 1,
    "float": 0.125,
    "double": 12.000001,
    "date": "2026-02-28T23:59:59.123456+00:00",
    "boolean": True,
}


@pytest.fixture(
    params=[
        pytest.param("opensearch_url", id="3.x", marks=pytest.mark.opensearch),
        pytest.param("opensearch2_url", id="2.19", marks=pytest.mark.opensearch2),
    ]
)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def client(url: str) -> Iterator[OpenSearch]:
    """A client of the test's own, to look at the server and to spoil it."""
    opened = OpenSearch([url], timeout=60)
    yield opened
    opened.close()


@pytest.fixture
def prefix(client: OpenSearch) -> Iterator[str]:
    name = f"t{token_hex(5)}"
    yield name
    client.indices.put_settings(
        index=f"{name}-*", body={"index.blocks.read_only_allow_delete": None}, params={"allow_no_indices": "true"}
    )
    client.indices.delete(index=f"{name}-*")


@pytest.fixture
def sink(url: str, prefix: str) -> OpenSearchSink:
    made = OpenSearchSink(url, prefix)
    made.prepare()
    return made


def push(sink: OpenSearchSink, *documents: Document, index: IndexName = "classifications") -> list[PushResult]:
    return [result for results in sink.push(index, documents) for result in results]


def statuses(results: list[PushResult]) -> dict[str, str]:
    return {result.document.id: result.status for result in results}


def mapping(index: IndexName) -> dict[str, Any]:
    path = resource_folder("schemas") / "opensearch" / f"{index}.json"
    properties: dict[str, Any] = json.loads(path.read_bytes())["mappings"]["properties"]
    return properties


def test_prepare_makes_each_index_behind_its_alias_once(url: str, prefix: str, client: OpenSearch) -> None:
    identities = OpenSearchSink(url, prefix).prepare()
    assert OpenSearchSink(url, prefix).prepare() == identities
    cluster = client.info()["cluster_uuid"]
    for index in INDICES:
        (name,) = client.indices.get_alias(name=f"{prefix}-{index}")
        assert name == f"{prefix}-{index}-v1"
        uuid = client.indices.get_settings(index=name)[name]["settings"]["index"]["uuid"]
        assert identities[index] == f"{cluster}/{name}/{uuid}"


def test_an_index_that_was_deleted_is_made_anew_with_another_identity(
    sink: OpenSearchSink, prefix: str, client: OpenSearch
) -> None:
    before = sink.prepare()
    client.indices.delete(index=f"{prefix}-daily-v1")
    after = sink.prepare()
    assert after["daily"] != before["daily"]
    assert after["runs"] == before["runs"]


def test_identities_are_those_of_the_indices_that_are_there_under_their_names(
    sink: OpenSearchSink, prefix: str, client: OpenSearch
) -> None:
    prepared = sink.prepare()
    assert sink.identities() == prepared
    client.indices.delete(index=f"{prefix}-daily-v1")
    client.indices.delete_alias(index=f"{prefix}-runs-v1", name=f"{prefix}-runs")
    assert sink.identities() == {"classifications": prepared["classifications"]}
    assert not client.indices.exists(index=f"{prefix}-daily-v1")
    assert not client.indices.exists_alias(name=f"{prefix}-runs")


def test_many_runs_may_prepare_at_once(url: str, prefix: str) -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(OpenSearchSink(url, prefix).prepare())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(identities == found[0] for identities in found)


def test_an_index_without_its_alias_gets_it_back(sink: OpenSearchSink, prefix: str, client: OpenSearch) -> None:
    client.indices.delete_alias(index=f"{prefix}-runs-v1", name=f"{prefix}-runs")
    sink.prepare()
    assert statuses(push(sink, Document("r", 1, '{"run_id":1}'), index="runs")) == {"r": "written"}


def test_a_field_that_the_live_mapping_lacks_is_added(url: str, prefix: str, client: OpenSearch) -> None:
    path = resource_folder("schemas") / "opensearch" / "runs.json"
    older = json.loads(path.read_bytes())
    del older["mappings"]["properties"]["cost_usd"]
    del older["mappings"]["_meta"]["fields"]
    client.indices.create(index=f"{prefix}-runs-v1", body=older)
    sink = OpenSearchSink(url, prefix)
    sink.prepare()
    live = client.indices.get_mapping(index=f"{prefix}-runs")[f"{prefix}-runs-v1"]["mappings"]
    assert live == json.loads(path.read_bytes())["mappings"]
    assert statuses(push(sink, Document("r", 1, '{"cost_usd":0.5}'), index="runs")) == {"r": "written"}


def make_index(client: OpenSearch, name: str, alias: str | None = None, **mappings: Any) -> None:
    body: dict[str, Any] = {"mappings": mappings}
    if alias:
        body["aliases"] = {alias: {}}
    client.indices.create(index=name, body=body)


def make_indices(client: OpenSearch, *names: str, alias: str | None = None) -> None:
    for name in names:
        make_index(client, name, alias)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda client, name: make_index(client, name), "is an index but must be an alias; .*delete it"),
        (lambda client, name: make_index(client, f"{name}-x", name), "points to .*-daily-x, but this release writes"),
        (
            lambda client, name: make_indices(client, f"{name}-v7", f"{name}-v8", alias=name),
            "points to .*-daily-v7, .*-daily-v8, but it must lead to one of them",
        ),
        (
            lambda client, name: make_indices(client, f"{name}-v7", f"{name}-v8"),
            "nothing has the alias .*-daily-v7, .*-daily-v8 can have had it",
        ),
        (
            lambda client, name: make_index(client, f"{name}-v7", name),
            "daily-v7, .* has mapping version None, .*`issuetide index rebuild`",
        ),
        (
            lambda client, name: make_index(client, f"{name}-v1"),
            "has mapping version None, .*`issuetide index rebuild`",
        ),
        (
            lambda client, name: make_index(client, f"{name}-v1", _meta={"schema_version": 2}),
            "has mapping version 2, but this release writes 1",
        ),
        (
            lambda client, name: make_index(
                client, f"{name}-v1", _meta={"schema_version": 1}, properties={"opened": {"type": "text"}}
            ),
            "maps the field `opened` in another way",
        ),
    ],
    ids=[
        "an index",
        "another index",
        "two",
        "two without",
        "another name",
        "no version",
        "a newer version",
        "another type",
    ],
)
def test_a_name_that_is_taken_by_something_else_is_refused(
    url: str, prefix: str, client: OpenSearch, spoil: Callable[[OpenSearch, str], None], message: str
) -> None:
    spoil(client, f"{prefix}-daily")
    before = set(client.indices.get(index=f"{prefix}-*"))
    sink = OpenSearchSink(url, prefix)
    with pytest.raises(ConfigurationError, match=message) as caught:
        sink.prepare()
    assert url in str(caught.value)
    assert before <= set(client.indices.get(index=f"{prefix}-*"))
    assert {check.name: check.status for check in sink.check()}["opensearch indices"] == "failed"


@pytest.mark.parametrize("index", INDICES)
def test_a_document_with_every_field_is_held_as_it_was_given(sink: OpenSearchSink, index: IndexName) -> None:
    full = {field: SAMPLES[kind["type"]] for field, kind in mapping(index).items() if kind["type"] != "alias"}
    empty: dict[str, Any] = dict.fromkeys(full)
    results = push(
        sink,
        Document("full", 1, json.dumps(full, ensure_ascii=False)),
        Document("empty", 1, json.dumps(empty)),
        Document("escaped", 1, json.dumps(full)),
        index=index,
    )
    assert [(result.status, result.reason) for result in results] == [("written", "")] * 3
    assert sink.get(index, "full") == full
    assert sink.get(index, "escaped") == full
    assert sink.get(index, "empty") == empty
    sink.refresh()
    assert sink.count(index) == 3


def test_a_document_with_a_strange_field_or_value_is_rejected_alone(sink: OpenSearchSink) -> None:
    results = push(
        sink,
        Document("a", 1, '{"state":"open"}'),
        Document("field", 1, '{"state":"open","nope":1}'),
        Document("value", 1, '{"comments":"SECRET"}'),
        Document("term", 1, json.dumps({"state": "SECRET" * 6000})),
        Document("json", 1, '{"title":"SECRET'),
        Document("x" * 513, 1, '{"state":"open"}'),
        Document("", 1, '{"state":"open"}'),
        Document("z", 1, '{"state":"open"}'),
    )
    assert [result.document.id for result in results if result.status == "written"] == ["a", "z"]
    reasons = {result.document.id: result.reason for result in results if result.status == "rejected"}
    assert "dynamic introduction of [nope]" in reasons["field"]
    assert "failed to parse field [comments] of type [integer]" in reasons["value"]
    assert "immense term" in reasons["term"]
    assert "too long" in reasons["x" * 513]
    assert "SECRET" not in " ".join(reasons.values())
    assert len(reasons) == 6


def test_an_older_version_is_stale_and_the_same_one_is_written_again(sink: OpenSearchSink) -> None:
    assert statuses(push(sink, Document("a", 10, '{"state":"closed"}'))) == {"a": "written"}
    assert statuses(push(sink, Document("a", 9, '{"state":"open"}'))) == {"a": "stale"}
    assert sink.get("classifications", "a") == {"state": "closed"}
    assert statuses(push(sink, Document("a", 10, '{"state":"closed"}'))) == {"a": "written"}
    assert statuses(push(sink, Document("a", 11, '{"state":"open"}'))) == {"a": "written"}
    assert sink.get("classifications", "a") == {"state": "open"}


def test_a_document_without_a_source_is_deleted_and_older_versions_do_not_bring_it_back(sink: OpenSearchSink) -> None:
    push(sink, Document("a", 10, '{"state":"open"}'), Document("b", 10, '{"state":"open"}'))
    assert statuses(push(sink, Document("a", 9, None))) == {"a": "stale"}
    assert sink.get("classifications", "a") == {"state": "open"}
    results = push(sink, Document("a", 11, None), Document("never", 11, None), Document("b", 11, '{"state":"closed"}'))
    assert statuses(results) == {"a": "written", "never": "written", "b": "written"}
    assert sink.get("classifications", "a") is None
    assert sink.get("classifications", "b") == {"state": "closed"}
    assert statuses(push(sink, Document("a", 10, '{"state":"open"}'))) == {"a": "stale"}
    assert statuses(push(sink, Document("a", 11, None))) == {"a": "written"}


def test_deletions_beside_a_rejected_document_have_results_of_their_own(sink: OpenSearchSink) -> None:
    push(sink, Document("a", 1, "{}"))
    results = push(sink, Document("a", 2, None), Document("x", 2, '{"strange":1}'), Document("never", 2, None))
    assert statuses(results) == {"a": "written", "x": "rejected", "never": "written"}


def test_deletions_make_no_index_where_theirs_was_deleted_meanwhile(
    sink: OpenSearchSink, prefix: str, client: OpenSearch
) -> None:
    push(sink, Document("a", 1, "{}"))
    client.indices.delete(index=f"{prefix}-classifications-v1")
    with pytest.raises(UnavailableError, match="deleted meanwhile; run again"):
        push(sink, Document("a", 2, None))
    assert not client.indices.exists(index=f"{prefix}-classifications")
    sink.prepare()
    assert statuses(push(sink, Document("a", 2, None))) == {"a": "written"}


def test_many_documents_are_written_in_chunks_and_seen_after_a_refresh(url: str, prefix: str) -> None:
    sink = OpenSearchSink(url, prefix, chunk_bytes=50_000)
    sink.prepare()
    documents = [Document(f"d{number}", 1, json.dumps({"number": number})) for number in range(3000)]
    chunks = list(sink.push("classifications", documents))
    assert len(chunks) > 3
    assert [result.document for chunk in chunks for result in chunk] == documents
    assert sink.count("classifications") in range(3000)
    sink.refresh()
    assert sink.count("classifications") == 3000


def test_a_document_that_is_not_there_is_none_and_an_index_that_is_not_there_counts_none(
    url: str, prefix: str, sink: OpenSearchSink
) -> None:
    assert sink.get("classifications", "nobody") is None
    absent = OpenSearchSink(url, f"{prefix}-absent")
    assert absent.get("classifications", "nobody") is None
    assert absent.count("classifications") == 0
    with pytest.raises(UnavailableError, match="deleted meanwhile"):
        absent.refresh()


def block_writes(client: OpenSearch, prefix: str, blocked: bool) -> None:
    """What OpenSearch does itself where a disk is fuller than 95 %."""
    setting = {"index.blocks.read_only_allow_delete": True if blocked else None}
    client.indices.put_settings(index=f"{prefix}-classifications", body=setting)


def test_a_full_disk_is_waited_for_and_then_named(url: str, prefix: str, client: OpenSearch) -> None:
    now = [0.0]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    sink = OpenSearchSink(url, prefix, sleep=sleep, clock=lambda: now[0], deadline=20)
    sink.prepare()
    block_writes(client, prefix, blocked=True)
    with pytest.raises(UnavailableError, match=r"flood-stage.*; free disk space"):
        push(sink, Document("a", 1, "{}"))
    assert sum(pauses) <= 20
    assert {check.name: check.status for check in sink.check()}["opensearch indices"] == "failed"


def test_a_full_disk_that_gets_room_again_costs_no_document(url: str, prefix: str, client: OpenSearch) -> None:
    sink = OpenSearchSink(url, prefix, sleep=lambda _: block_writes(client, prefix, blocked=False))
    sink.prepare()
    block_writes(client, prefix, blocked=True)
    assert statuses(push(sink, Document("a", 1, "{}"), Document("b", 1, "{}"))) == {"a": "written", "b": "written"}


def test_an_index_that_is_deleted_during_a_push_asks_for_another_run(url: str, prefix: str, client: OpenSearch) -> None:
    sink = OpenSearchSink(url, prefix, chunk_bytes=1)
    sink.prepare()
    chunks = sink.push("classifications", [Document("a", 1, "{}"), Document("b", 1, "{}")])
    assert next(chunks)[0].status == "written"
    client.indices.delete(index=f"{prefix}-classifications-v1")
    with pytest.raises(UnavailableError, match="deleted meanwhile; run again"):
        next(chunks)
    assert not client.indices.exists(index=f"{prefix}-classifications")
    sink.prepare()
    assert statuses(push(sink, Document("b", 1, "{}"))) == {"b": "written"}


def test_check_finds_nothing_wrong_and_makes_nothing(url: str, prefix: str, client: OpenSearch) -> None:
    sink = OpenSearchSink(url, prefix)
    before = {check.name: check for check in sink.check()}
    assert before["opensearch"].detail.startswith(f"OpenSearch {client.info()['version']['number']} at {url}")
    assert "made by the first export" in before["opensearch indices"].detail
    assert not client.indices.exists(index=f"{prefix}-runs")
    identities = sink.prepare()
    after = {check.name: check for check in sink.check()}
    assert list(after["opensearch indices"].facts.values()) == list(identities.values())
    assert set(after) == {"opensearch", "opensearch health", "opensearch indices", "opensearch disk"}
    assert {check.status for check in after.values()} <= {"ok", "warning"}


def test_what_is_held_is_told_with_versions_before_any_refresh(sink: OpenSearchSink) -> None:
    assert list(sink.held("runs")) == []
    push(sink, *(Document(f"d{n}", 1000 + n, '{"run_id":1}') for n in range(20)), index="runs")
    push(sink, Document("d3", 5000, '{"run_id":2}'), Document("d4", 5000, None), index="runs")
    expected = {f"d{n}": 1000 + n for n in range(20) if n != 4} | {"d3": 5000}
    assert dict(sink.held("runs")) == expected


def test_what_is_held_comes_in_pages(sink: OpenSearchSink) -> None:
    push(sink, *(Document(f"d{n}", n + 1, '{"row_version":1}') for n in range(5_100)))
    held = list(sink.held("classifications"))
    assert len(held) == 5_100
    assert dict(held) == {f"d{n}": n + 1 for n in range(5_100)}


def test_what_is_held_is_told_of_every_shard_once(sink: OpenSearchSink, client: OpenSearch, prefix: str) -> None:
    body = json.loads((resource_folder("schemas") / "opensearch" / "daily.json").read_bytes())
    body["settings"]["number_of_shards"] = 3
    client.indices.delete(index=f"{prefix}-daily-v1")
    client.indices.create(
        index=f"{prefix}-daily-v1", body={**body, "aliases": {f"{prefix}-daily": {"is_write_index": True}}}
    )
    sink.prepare()
    push(sink, *(Document(f"d{n}", n + 1, '{"open":1}') for n in range(200)), index="daily")
    held = list(sink.held("daily"))
    assert len(held) == 200
    assert dict(held) == {f"d{n}": n + 1 for n in range(200)}


def test_a_point_in_time_that_was_lost_ends_the_telling_and_none_is_left_behind(
    sink: OpenSearchSink, client: OpenSearch, prefix: str
) -> None:
    push(sink, *(Document(f"d{n}", n + 1, '{"row_version":1}') for n in range(5_001)))
    held = sink.held("classifications")
    next(held)
    client.delete_all_pits()
    with pytest.raises(StopError, match=f"reading the ids of {prefix}-classifications"):
        list(held)
    assert len(list(sink.held("classifications"))) == 5_001
    assert not client.get_all_pits().get("pits")
