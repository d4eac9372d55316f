"""The bulk loop of the OpenSearch sink against a loopback HTTP stub that refuses in ways a real server does rarely."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.records import Document, PushResult
from etl.sinks.opensearch import CHUNK_DOCUMENTS, OpenSearchSink
from tests.unit.sinks.conftest import Clock, Loopback, Reply, Request


def documents(count: int, source: str = '{"state":"open"}') -> list[Document]:
    return [Document(f"d{number}", number, source) for number in range(count)]


def sent(request: Request) -> list[tuple[dict[str, Any], str]]:
    """The actions of a bulk request with the sources behind them."""
    lines = request.body.decode().split("\n")
    assert lines.pop() == ""
    return [(json.loads(action)["index"], source) for action, source in zip(lines[::2], lines[1::2], strict=True)]


def acknowledge(request: Request, status: int = 201, **error: str) -> Reply:
    """A bulk answer that says the same of every document."""
    item = {"status": status} | ({"error": error} if error else {})
    return 200, {"errors": bool(error), "items": [{"index": item} for _ in sent(request)]}


def push(sink: OpenSearchSink, wanted: list[Document]) -> list[PushResult]:
    return [result for results in sink.push("classifications", wanted) for result in results]


@pytest.fixture
def sink(loopback: Loopback, clock: Clock) -> OpenSearchSink:
    loopback.reply = acknowledge
    return OpenSearchSink(loopback.url, "t", sleep=clock.sleep, clock=clock)


def statuses(results: list[PushResult]) -> dict[str, str]:
    return {result.document.id: result.status for result in results}


def test_a_source_is_sent_as_it_is_given_with_an_external_version(loopback: Loopback, sink: OpenSearchSink) -> None:
    source = '{"title": "é 😀 \\u0000 \\" \\\\n", "confidence": 0.10}'
    results = push(sink, [Document('a "quoted" é/id', 7, source)])
    assert [(result.status, result.document.version) for result in results] == [("written", 7)]
    ((action, body),) = sent(loopback.requests[0])
    assert action == {"_id": 'a "quoted" é/id', "version": 7, "version_type": "external_gte"}
    assert body == source
    url = urlsplit(loopback.requests[0].path)
    assert url.path == "/t-classifications/_bulk"
    assert parse_qs(url.query)["require_alias"] == ["true"]
    assert parse_qs(url.query)["refresh"] == ["false"]
    assert "content-encoding" not in loopback.requests[0].headers


def test_line_feeds_between_the_tokens_of_a_source_do_not_end_its_line(
    loopback: Loopback, sink: OpenSearchSink
) -> None:
    source = json.dumps({"state": "open", "comments": 1}, indent=2)
    push(sink, [Document("a", 1, source)])
    assert json.loads(sent(loopback.requests[0])[0][1]) == json.loads(source)


def test_no_documents_are_no_request(loopback: Loopback, sink: OpenSearchSink) -> None:
    assert push(sink, []) == []
    assert loopback.requests == []


def test_requests_stay_within_the_bytes_and_the_number_of_a_chunk(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = acknowledge
    limit = 4000
    sink = OpenSearchSink(loopback.url, "t", chunk_bytes=limit, sleep=clock.sleep, clock=clock)
    wanted = [
        *documents(50, json.dumps({"title": "é" * 200}, ensure_ascii=False)),
        Document("big", 1, '"' + "x" * 9000 + '"'),
    ]
    assert [result.document.id for result in push(sink, wanted)] == [document.id for document in wanted]
    sizes = [len(request.body) for request in loopback.requests]
    assert max(sizes[:-1]) <= limit
    assert min(sizes[:-2]) > limit - 600
    assert sizes[-1] > 9000

    loopback.requests.clear()
    push(OpenSearchSink(loopback.url, "t"), documents(CHUNK_DOCUMENTS + 1, "{}"))
    assert [len(sent(request)) for request in loopback.requests] == [CHUNK_DOCUMENTS, 1]


def test_each_chunk_is_given_before_the_next_document_is_taken(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = acknowledge
    sink = OpenSearchSink(loopback.url, "t", chunk_bytes=1, sleep=clock.sleep, clock=clock)
    taken = []

    def reading() -> Iterator[Document]:
        for document in documents(4):
            taken.append(document.id)
            yield document

    results = sink.push("classifications", reading())
    assert next(results)[0].document.id == "d0"
    assert taken == ["d0", "d1"]
    assert [chunk[0].document.id for chunk in results] == ["d1", "d2", "d3"]


def test_a_lone_surrogate_is_rejected_and_the_others_are_written(loopback: Loopback, sink: OpenSearchSink) -> None:
    results = push(sink, [Document("a", 1, "{}"), Document("b", 1, '{"title":"\ud800"}'), Document("c", 1, "{}")])
    assert statuses(results) == {"a": "written", "b": "rejected", "c": "written"}
    assert len(loopback.requests) == 1


def test_only_what_was_not_acknowledged_is_sent_again(loopback: Loopback, sink: OpenSearchSink, clock: Clock) -> None:
    def reply(request: Request) -> Reply:
        if len(loopback.requests) > 1:
            return acknowledge(request)
        busy = {"status": 429, "error": {"type": "rejected_execution_exception", "reason": "queue is full"}}
        items = [{"index": busy if number % 2 else {"status": 201}} for number, _ in enumerate(sent(request))]
        return 200, {"errors": True, "items": items}

    loopback.reply = reply
    chunks = list(sink.push("classifications", documents(6)))
    assert [[result.document.id for result in chunk] for chunk in chunks] == [["d0", "d2", "d4"], ["d1", "d3", "d5"]]
    assert [action["_id"] for action, _ in sent(loopback.requests[1])] == ["d1", "d3", "d5"]
    assert clock.pauses == [0.5]


@pytest.mark.parametrize("status", [502, 503, 504, 500, 408])
def test_a_request_that_fails_on_the_way_is_sent_again_whole(
    loopback: Loopback, sink: OpenSearchSink, clock: Clock, status: int
) -> None:
    loopback.reply = lambda request: (status, "away") if len(loopback.requests) < 4 else acknowledge(request)
    assert set(statuses(push(sink, documents(5))).values()) == {"written"}
    assert [len(sent(request)) for request in loopback.requests] == [5] * 4
    assert clock.pauses == [0.5, 1.0, 2.0]


def test_an_outage_of_a_minute_is_outlived_and_one_of_an_hour_is_not(
    loopback: Loopback, sink: OpenSearchSink, clock: Clock
) -> None:
    back = clock.now + 60
    loopback.reply = lambda request: acknowledge(request) if clock.now >= back else (503, {})
    assert set(statuses(push(sink, documents(3))).values()) == {"written"}
    begun, loopback.reply = clock.now, lambda _: (503, {})
    with pytest.raises(UnavailableError, match=r"writing t-classifications: status 503; .*run again"):
        push(sink, documents(3))
    assert 120 < clock.now - begun <= 180
    assert max(clock.pauses) == 10


def test_a_request_without_an_answer_is_given_up_by_the_deadline(loopback: Loopback, clock: Clock) -> None:
    silence = Event()

    def reply(request: Request) -> Reply:
        silence.wait(30)
        return acknowledge(request)

    loopback.reply = reply
    sink = OpenSearchSink(loopback.url, "t", deadline=clock.now + 1, sleep=clock.sleep, clock=clock)
    try:
        with pytest.raises(UnavailableError, match="no answer in time"):
            push(sink, documents(3))
    finally:
        silence.set()
    assert clock.pauses == [0.5]


def test_failures_between_successes_do_not_add_up(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = lambda request: acknowledge(request) if len(loopback.requests) % 4 == 0 else (503, {})
    sink = OpenSearchSink(loopback.url, "t", chunk_bytes=1, sleep=clock.sleep, clock=clock)
    assert len(push(sink, documents(100))) == 100
    assert clock.pauses == [0.5, 1.0, 2.0] * 100


def test_results_before_a_failure_stand(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = lambda request: acknowledge(request) if len(loopback.requests) < 3 else (503, {})
    sink = OpenSearchSink(loopback.url, "t", chunk_bytes=1, sleep=clock.sleep, clock=clock)
    results: list[PushResult] = []
    with pytest.raises(UnavailableError):
        results.extend(result for chunk in sink.push("classifications", documents(5)) for result in chunk)
    assert statuses(results) == {"d0": "written", "d1": "written"}


def test_a_body_that_is_too_large_is_sent_in_halves_and_the_size_is_remembered(
    loopback: Loopback, sink: OpenSearchSink
) -> None:
    most = 700_000
    loopback.reply = lambda request: (413, "<html>nginx</html>") if len(request.body) > most else acknowledge(request)
    source = json.dumps({"title": "x" * 10_000})
    wanted = [*documents(300, source), Document("huge", 1, json.dumps("x" * 800_000))]
    results = push(sink, wanted)
    assert [result.document.id for result in results if result.status == "rejected"] == ["huge"]
    assert "status 413" in results[-1].reason
    assert "raise http.max_content_length in opensearch.yml" in results[-1].reason
    assert "client_max_body_size" in results[-1].reason
    assert "--replay-dead-letters" in results[-1].reason
    assert statuses(results) == dict.fromkeys((document.id for document in wanted), "written") | {"huge": "rejected"}

    loopback.requests.clear()
    push(sink, documents(300, source))
    assert max(len(request.body) for request in loopback.requests) <= most


def test_one_document_that_spoils_the_whole_request_is_found_and_rejected_alone(
    loopback: Loopback, sink: OpenSearchSink, clock: Clock
) -> None:
    error = {"type": "action_request_validation_exception", "reason": "Validation Failed: 1: id [x] is too long;"}

    def reply(request: Request) -> Reply:
        spoilt = any(action["_id"] == "d700" for action, _ in sent(request))
        return (400, {"error": error, "status": 400}) if spoilt else acknowledge(request)

    loopback.reply = reply
    results = push(sink, documents(1000))
    rejected = [result for result in results if result.status == "rejected"]
    assert [result.document.id for result in rejected] == ["d700"]
    assert "id [x] is too long" in rejected[0].reason
    assert len(statuses(results)) == len(results) == 1000
    assert len(loopback.requests) < 25
    assert clock.pauses == []


def test_a_server_that_takes_little_at_once_gets_little_at_once(
    loopback: Loopback, sink: OpenSearchSink, clock: Clock
) -> None:
    error = {"type": "rejected_execution_exception", "reason": "rejected execution of coordinating operation"}
    most = 300_000
    loopback.reply = lambda request: (429, {"error": error}) if len(request.body) > most else acknowledge(request)
    results = push(sink, documents(400, json.dumps({"title": "x" * 5_000})))
    assert set(statuses(results).values()) == {"written"}
    assert len(results) == 400
    assert 0 < len(clock.pauses) < 8


def test_a_server_that_stays_overloaded_is_given_up(loopback: Loopback, sink: OpenSearchSink, clock: Clock) -> None:
    loopback.reply = lambda _: (429, "<html>slow down</html>")
    begun = clock.now
    with pytest.raises(UnavailableError, match="status 429"):
        push(sink, documents(64))
    assert clock.now - begun <= 180


@pytest.mark.parametrize(
    ("status", "kind", "reason", "expected", "message"),
    [
        (403, "security_exception", "no permissions", ConfigurationError, "the user may not write it"),
        (403, "cluster_block_exception", "FORBIDDEN/8/index write", ConfigurationError, "lift its block"),
        (400, "index_closed_exception", "closed", ConfigurationError, "open the index"),
        (
            400,
            "illegal_argument_exception",
            "no write index is defined for alias",
            ConfigurationError,
            "no write index",
        ),
        (404, "index_not_found_exception", "no such index", UnavailableError, "deleted meanwhile; run again"),
        (429, "cluster_block_exception", "disk usage exceeded flood-stage", UnavailableError, "flood-stage; free disk"),
        (503, "unavailable_shards_exception", "primary shard is not active", UnavailableError, "primary shard is not"),
        (500, "i_o_exception", "No space left on device", UnavailableError, "status 500, i_o_exception: No space left"),
    ],
)
def test_what_is_the_index_s_fault_stops_the_push_and_rejects_no_document(
    loopback: Loopback,
    sink: OpenSearchSink,
    status: int,
    kind: str,
    reason: str,
    expected: type[StopError],
    message: str,
) -> None:
    def reply(request: Request) -> Reply:
        refused = {"status": status, "error": {"type": kind, "reason": reason}}
        items = [{"index": refused if action["_id"] == "d1" else {"status": 201}} for action, _ in sent(request)]
        return 200, {"errors": True, "items": items}

    loopback.reply = reply
    results: list[PushResult] = []
    with pytest.raises(expected, match=message):
        results.extend(result for chunk in sink.push("classifications", documents(3)) for result in chunk)
    assert statuses(results) == {"d0": "written", "d2": "written"}


@pytest.mark.parametrize(
    ("kind", "refused", "rejected"),
    [
        ("fail_processor_exception", {"d0", "d1", "d2"}, True),
        ("null_pointer_exception", {"d1"}, True),
        ("null_pointer_exception", {"d0", "d1", "d2"}, False),
        ("i_o_exception", {"d1"}, False),
    ],
)
def test_a_500_is_the_documents_fault_where_a_pipeline_says_so_or_others_are_written(
    loopback: Loopback, sink: OpenSearchSink, kind: str, refused: set[str], rejected: bool
) -> None:
    def reply(request: Request) -> Reply:
        error = {"status": 500, "error": {"type": kind, "reason": "no room"}}
        items = [{"index": error if action["_id"] in refused else {"status": 201}} for action, _ in sent(request)]
        return 200, {"errors": True, "items": items}

    loopback.reply = reply
    results: list[PushResult] = []
    with nullcontext() if rejected else pytest.raises(UnavailableError, match=kind):
        results.extend(result for chunk in sink.push("classifications", documents(3)) for result in chunk)
    expected = dict.fromkeys({"d0", "d1", "d2"} - refused, "written")
    assert statuses(results) == (expected | dict.fromkeys(refused, "rejected") if rejected else expected)


@pytest.mark.parametrize(
    ("reply", "expected", "message"),
    [
        (lambda _: (401, ""), ConfigurationError, "user name"),
        (
            lambda _: (403, {"error": {"type": "security_exception", "reason": "no permissions"}}),
            ConfigurationError,
            "lacks",
        ),
        (lambda _: (200, {"took": 3}), UnavailableError, "no answer to a bulk request"),
        (lambda _: (200, {"errors": False, "items": []}), UnavailableError, "no answer to a bulk request"),
        (lambda _: (200, "<html>log in</html>"), ConfigurationError, "not OpenSearch's"),
    ],
)
def test_a_push_that_can_never_succeed_ends_at_once(
    loopback: Loopback,
    sink: OpenSearchSink,
    clock: Clock,
    reply: Callable[[Request], Reply],
    expected: type[StopError],
    message: str,
) -> None:
    loopback.reply = reply
    with pytest.raises(expected, match=message):
        push(sink, documents(3))
    assert len(loopback.requests) == 1
    assert clock.pauses == []


def test_a_prefix_that_cannot_begin_an_index_s_name_is_refused() -> None:
    for prefix in ("Issues", "_issues", "a,b", "a*", "", "x" * 101):
        with pytest.raises(ConfigurationError, match="ISSUETIDE_INDEX_PREFIX"):
            OpenSearchSink("http://127.0.0.1:9200", prefix)


def test_check_says_what_is_wrong_in_one_try(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = lambda _: (503, {})
    sink = OpenSearchSink(loopback.url, "t", sleep=clock.sleep, clock=clock)
    (check,) = sink.check()
    assert check.status == "failed"
    assert "status 503" in check.detail
    assert len(loopback.requests) == 1
