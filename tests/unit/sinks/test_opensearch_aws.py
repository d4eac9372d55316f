"""Requests signed for Amazon OpenSearch Service, checked by a loopback server that computes every signature itself."""

import logging
import traceback
from collections.abc import Iterator

import pytest

from etl.errors import ConfigurationError, StopError
from etl.records import Document
from etl.sinks.opensearch import OpenSearchSink
from etl.sinks.opensearch_access import Access
from tests.loopback.aws import ACCESS_KEY, SECRET_KEY, TOKEN, LoopbackAws
from tests.unit.sinks.conftest import Clock, Loopback, make_server, serve


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)


@pytest.fixture
def domain() -> LoopbackAws:
    return LoopbackAws()


@pytest.fixture
def url(domain: LoopbackAws) -> Iterator[str]:
    stub = Loopback(reply=domain.reply)
    for _ in serve(make_server(stub)):
        yield stub.url


def test_every_request_is_signed_with_its_path_its_query_and_the_bytes_of_its_body(
    domain: LoopbackAws, url: str, clock: Clock
) -> None:
    sink = OpenSearchSink(url, "t", access=Access(aws_region="eu-west-1"), sleep=clock.sleep, clock=clock)
    documents = [Document(f"ä/{number}", 1, f'{{"title":"Größe {number} ✓"}}') for number in range(3)]
    pushed = [result.status for chunk in sink.push("classifications", documents) for result in chunk]
    sink.refresh()
    assert pushed == ["written"] * 3
    assert domain.documents["ä/1"] == {"title": "Größe 1 ✓"}
    (bulk,) = [path for path in domain.signed if "_bulk" in path]
    assert "filter_path=errors" in bulk
    assert "POST /t-classifications,t-daily,t-runs/_refresh" in domain.signed


def test_a_path_before_the_indices_and_the_service_of_serverless_are_signed_too(clock: Clock) -> None:
    domain = LoopbackAws(service="aoss")
    stub = Loopback(reply=domain.reply)
    for _ in serve(make_server(stub)):
        access = Access(aws_region="eu-west-1", aws_service="aoss")
        sink = OpenSearchSink(f"{stub.url}/behind/a-proxy", "t", access=access, sleep=clock.sleep, clock=clock)
        sink.refresh()
    assert domain.signed == ["POST /behind/a-proxy/t-classifications,t-daily,t-runs/_refresh"]


def refusal(url: str, access: Access, clock: Clock, caplog: pytest.LogCaptureFixture) -> StopError:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StopError) as caught:
        OpenSearchSink(url, "t", access=access, sleep=clock.sleep, clock=clock).prepare()
    seen = [str(caught.value), repr(access), caplog.text]
    chain: BaseException | None = caught.value
    while chain is not None:
        seen += [*traceback.format_exception(chain, chain=False)]
        chain = None if chain.__suppress_context__ else chain.__context__
    for secret in (SECRET_KEY, TOKEN):
        assert secret not in "\n".join(seen)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("variable", "value", "access", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another", {}, "The request signature we calculated does not match"),
        ("AWS_SESSION_TOKEN", "expired", {}, "The security token included in the request is invalid"),
        ("AWS_DEFAULT_REGION", "", {"aws_region": "us-east-1"}, "Credential should be scoped to a valid region"),
        ("AWS_DEFAULT_REGION", "", {"aws_service": "aoss"}, "Credential should be scoped to correct service"),
    ],
)
def test_a_request_that_aws_refuses_is_told_in_its_first_sentence_and_no_more(
    url: str,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    access: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)
    error = refusal(url, Access(**{"aws_region": "eu-west-1", **access}), clock, caplog)  # type: ignore[arg-type]
    assert isinstance(error, ConfigurationError)
    assert f"AWS refuses the request ({said}" in str(error)
    assert "OPENSEARCH_AWS_REGION" in str(error)
    assert clock.pauses == []


def test_a_request_without_a_signature_does_not_pass_this_server(url: str, clock: Clock) -> None:
    with pytest.raises(ConfigurationError):
        OpenSearchSink(url, "t", sleep=clock.sleep, clock=clock).prepare()


@pytest.mark.parametrize("changes", [{}, {"AWS_PROFILE": "nowhere"}])
def test_without_credentials_it_is_told_where_they_are_looked_for(
    url: str,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    error = refusal(url, Access(aws_region="eu-west-1"), clock, caplog)
    assert isinstance(error, ConfigurationError)
    assert "AWS_PROFILE" in str(error)
