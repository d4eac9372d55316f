"""Addresses, credentials and errors of the way to OpenSearch; the other side is a loopback HTTP stub."""

import base64
import logging
import socket
from collections.abc import Callable

import pytest

from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.sinks.opensearch import OpenSearchSink
from etl.sinks.opensearch_connection import Address, Connection, parse_addresses, shorten
from tests.unit.sinks.conftest import OPENSEARCH, Clock, Loopback, Reply, Request


def always(status: int, body: object) -> Callable[[Request], Reply]:
    return lambda _: (status, body)


def refusal(loopback: Loopback, clock: Clock, url: str | None = None) -> StopError:
    """The error that `prepare` ends with."""
    with pytest.raises(StopError) as caught:
        OpenSearchSink(url or loopback.url, "t", sleep=clock.sleep, clock=clock).prepare()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", [Address("http", "localhost", 9200, "")]),
        ("https://search.example", [Address("https", "search.example", 443, "")]),
        ("https://search.example:9243/search/", [Address("https", "search.example", 9243, "search")]),
        ("http://[::1]:9201", [Address("http", "::1", 9201, "")]),
        ("http://[fe80::1%25lo]:9201", [Address("http", "fe80::1%25lo", 9201, "")]),
        ("http://open_search-1.exämple.:9201", [Address("http", "open_search-1.exämple.", 9201, "")]),
        ("https://u%40x:p%2Fw%3A%C3%A9@h:1", [Address("https", "h", 1, "", ("u@x", "p/w:é"))]),
        (
            "http://a:9200,http://u:p,w@b:9201",
            [Address("http", "a", 9200, ""), Address("http", "b", 9201, "", ("u", "p,w"))],
        ),
    ],
)
def test_a_url_gives_its_servers(url: str, expected: list[Address]) -> None:
    assert list(parse_addresses(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9200",
        "ftp://u:se3ret@h",
        "https://",
        "https://u:se3ret/x@h:9200",
        "https://u:12/se3ret@h:9200",
        "https://u:12?se3ret@h:9200",
        "https://u:12#se3ret@h:9200",
        "https://u:se3ret@h:port",
        "https://u:se3ret@[h:9200",
        "http://h:9200/?pretty",
        "http://u:se3ret@exa mple:9200",
        "http://u:se3ret@a..b:9200",
        f"http://{'a' * 64}.example:9200",
        "http://h:0",
        "http://h:99999",
        "",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENSEARCH_URL must look like") as caught:
        parse_addresses(url)
    assert "se3ret" not in str(caught.value)


def test_credentials_arrive_as_utf_8_and_show_nowhere(
    loopback: Loopback, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    loopback.reply = always(401, "Unauthorized")
    url = f"http://user:p%C3%A4ss%2Fword@127.0.0.1:{loopback.port}"
    sink = OpenSearchSink(url, "t", sleep=clock.sleep, clock=clock)
    with pytest.raises(ConfigurationError, match="user name or password are wrong") as caught:
        sink.prepare()
    sent = loopback.requests[0].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == "user:päss/word"
    shown = f"{caught.value} {sink!r} {parse_addresses(url)!r} {caplog.text}"
    assert "päss" not in shown
    assert "p%C3" not in shown
    assert loopback.url in str(caught.value)
    assert clock.pauses == []


def test_a_server_that_wants_credentials_says_where_to_write_them(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = always(401, {"error": "unauthorized"})
    error = refusal(loopback, clock)
    assert isinstance(error, ConfigurationError)
    assert "https://USER:PASSWORD@HOST:PORT" in str(error)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, "<html>Welcome to nginx!</html>"), "not OpenSearch's; check OPENSEARCH_URL"),
        ((200, {"hello": "world"}), "is no OpenSearch"),
        ((200, {"version": {"number": "8.15.0"}, "tagline": "You Know, for Search"}), "is Elasticsearch 8.15.0"),
        ((200, {"version": {"number": "2.11.1", "distribution": "opensearch"}}), "2.19 or newer is needed"),
        ((302, "moved"), "a redirect and not OpenSearch's"),
        ((404, "<html>nothing here</html>"), "status 404 and not OpenSearch's"),
        ((413, "<html>nginx</html>"), r"too large \(413\); raise http.max_content_length .*client_max_body_size"),
        ((400, "The plain HTTP request was sent to HTTPS port"), "it speaks TLS; write https://"),
        (
            (
                400,
                {
                    "error": {
                        "type": "search_phase_execution_exception",
                        "reason": "all shards failed",
                        "root_cause": [{"type": "illegal_argument_exception", "reason": "Text fields are no buckets"}],
                    }
                },
            ),
            "illegal_argument_exception: Text fields are no buckets",
        ),
        (
            (
                403,
                {
                    "error": {
                        "type": "security_exception",
                        "reason": "no permissions for [cluster:monitor/main] and User [name=hourly, roles=[x]]",
                    }
                },
            ),
            r"lacks a right \(no permissions for \[cluster:monitor/main\]\)",
        ),
        (
            (403, {"error": {"type": "cluster_block_exception", "reason": "by: [FORBIDDEN/9/metadata (api)];"}}),
            r"by: \[FORBIDDEN/9/metadata \(api\)\]; lift the block, and run again",
        ),
    ],
)
def test_what_is_not_a_usable_opensearch_is_named_at_once(
    loopback: Loopback, clock: Clock, reply: Reply, message: str
) -> None:
    loopback.reply = always(*reply)
    with pytest.raises(ConfigurationError, match=message) as caught:
        OpenSearchSink(loopback.url, "t", sleep=clock.sleep, clock=clock).prepare()
    assert loopback.url in str(caught.value)
    assert "html" not in str(caught.value)
    assert len(loopback.requests) == 1


def test_a_release_candidate_of_a_new_release_is_taken(loopback: Loopback, clock: Clock) -> None:
    version = {"number": "3.0.0-beta1", "distribution": "opensearch"}
    loopback.reply = lambda request: (200, {**OPENSEARCH, "version": version}) if request.path == "/" else (401, "")
    assert "user name" in str(refusal(loopback, clock))
    assert len(loopback.requests) == 2


def test_a_cluster_that_is_not_formed_yet_is_unavailable(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = always(200, {**OPENSEARCH, "cluster_uuid": "_na_"})
    assert isinstance(refusal(loopback, clock), UnavailableError)


def test_a_port_where_nobody_listens_is_tried_for_some_seconds(loopback: Loopback, clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://u:se3ret@127.0.0.1:{taken.getsockname()[1]}"
        error = refusal(loopback, clock, url)
    assert isinstance(error, UnavailableError)
    assert "Connection refused" in str(error)
    assert "se3ret" not in str(error)
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0]


def test_an_unknown_host_is_named(loopback: Loopback, clock: Clock) -> None:
    error = refusal(loopback, clock, "http://search.invalid:9200")
    assert isinstance(error, UnavailableError)
    assert "http://search.invalid:9200" in str(error)
    assert "the host name is unknown" in str(error)


def test_the_deadline_ends_the_waiting(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = always(503, {"error": "OpenSearch Security not initialized."})
    connection = Connection(loopback.url, deadline=clock.now + 2, sleep=clock.sleep, clock=clock)
    with pytest.raises(UnavailableError, match="status 503"):
        connection.call("asking", lambda client: client.info(), patience=1000)
    assert clock.pauses == [0.5, 1.0]


def test_a_server_that_is_back_in_time_is_no_error(loopback: Loopback, clock: Clock) -> None:
    answers = iter([(502, "Bad Gateway"), (503, {}), (429, {}), (200, OPENSEARCH)])
    loopback.reply = lambda _: next(answers)
    connection = Connection(loopback.url, sleep=clock.sleep, clock=clock)
    answer = connection.call("asking", lambda client: client.info())
    assert answer["cluster_uuid"] == "c1"
    assert clock.pauses == [0.5, 1.0, 2.0]


def test_a_path_in_the_url_is_kept(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = always(401, "")
    refusal(loopback, clock, f"{loopback.url}/search/")
    assert loopback.requests[0].path == "/search/"


def test_the_next_server_is_asked_where_one_is_away(loopback: Loopback, clock: Clock) -> None:
    loopback.reply = always(200, OPENSEARCH)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        connection = Connection(f"{away},{loopback.url}", sleep=clock.sleep, clock=clock)
        for _ in range(3):
            assert connection.call("asking", lambda client: client.info())["cluster_uuid"] == "c1"
    assert clock.pauses in ([], [0.5])


def test_https_to_a_server_without_tls_says_so(loopback: Loopback, clock: Clock) -> None:
    error = refusal(loopback, clock, loopback.url.replace("http:", "https:"))
    assert isinstance(error, ConfigurationError)
    assert "write http:// in OPENSEARCH_URL" in str(error)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (
            "failed to parse field [comments] in document with id 'c'. Preview of field's value: 'SECRET\nSECRET'",
            "failed to parse field [comments] in document with id 'c'",
        ),
        (
            'contains at least one immense term in field="state".  The prefix of the first immense term is: [83, 69]',
            'contains at least one immense term in field="state"',
        ),
        ("a\nb", "a b"),
        ("x" * 400, "x" * 149 + " … " + "x" * 149),
    ],
)
def test_a_reason_is_one_short_line_without_a_document_s_values(reason: str, expected: str) -> None:
    assert shorten(reason) == expected
