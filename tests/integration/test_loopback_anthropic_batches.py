"""The loopback Message Batches API is judged by the real SDK: what it takes, when it ends, what its results are."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages.batch_create_params import BatchCreateParams
from pydantic import TypeAdapter, ValidationError

from etl.classifiers.claude_batches import ClaudeBatches
from etl.records import Text
from tests.loopback import anthropic as loopback
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_batches import KEPT_FOR
from tests.unit.classifiers.samples import kind_task

MODEL = "claude-haiku-5-5"
PROMPT = [{"type": "text", "text": "Sort it. " * 400, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


@pytest.fixture
def server() -> Iterator[LoopbackAnthropic]:
    with LoopbackAnthropic() as running:
        yield running


@pytest.fixture
def client(server: LoopbackAnthropic) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key=server.key,
        base_url=server.url,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
        _strict_response_validation=True,
    ) as made:
        yield made


def params(words: str = "Crash: it ends with an error", **changes: Any) -> Any:
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": words}],
        "thinking": {"type": "disabled"},
    }
    body.update(changes)
    return {name: value for name, value in body.items() if value is not None}


def requests(count: int, **changes: Any) -> list[Any]:
    return [{"custom_id": f"r-{number}", "params": params(f"crash {number}", **changes)} for number in range(count)]


def results(client: anthropic.Anthropic, identifier: str) -> dict[str, Any]:
    return {row.custom_id: row.result for row in client.messages.batches.results(identifier)}


# --- what is looked at when a batch comes ----------------------------------------------------------------------------


def test_a_batch_begins_and_tells_nothing_before_all_of_it_has_ended(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    made = client.messages.batches.create(requests=requests(30))
    assert (made.processing_status, made.results_url, made.ended_at) == ("in_progress", None, None)
    assert (made.request_counts.processing, made.request_counts.succeeded) == (30, 0)
    assert (made.expires_at - made.created_at).total_seconds() == 86_400
    with pytest.raises(anthropic.AnthropicError, match="Has it finished"):
        client.messages.batches.results(made.id)
    server.batches.end()
    ended = client.messages.batches.retrieve(made.id)
    assert (ended.processing_status, ended.request_counts.processing, ended.request_counts.succeeded) == (
        "ended",
        0,
        30,
    )
    assert ended.results_url == f"{server.url}/v1/messages/batches/{made.id}/results"
    rows = [row.custom_id for row in client.messages.batches.results(made.id)]
    assert sorted(rows) == sorted(f"r-{number}" for number in range(30))
    assert rows != [f"r-{number}" for number in range(30)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "from 1 to"),
        ([{"custom_id": "a b", "params": {}}], "should match pattern"),
        ([{"custom_id": "x" * 65, "params": {}}], "should match pattern"),
        ([{"custom_id": "", "params": {}}], "should match pattern"),
        ([{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}], "duplicate custom_id a"),
        ([{"custom_id": "a"}], "needs custom_id and params"),
        ([{"custom_id": "a", "params": [], "more": 1}], "needs custom_id and params"),
        ([{"custom_id": "a", "params": []}], "valid dictionary"),
    ],
)
def test_ids_and_form_are_checked_at_once(client: anthropic.Anthropic, body: list[Any], words: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=words):
        client.messages.batches.create(requests=body)


def test_too_many_requests_and_too_many_bytes_are_refused(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    assert (server.batches.most_requests, server.batches.most_bytes) == (100_000, 256_000_000)
    server.batches.most_requests = 3
    with pytest.raises(anthropic.BadRequestError, match="from 1 to 3 are permitted, found 4"):
        client.messages.batches.create(requests=requests(4))
    server.batches.most_bytes = 100
    with pytest.raises(anthropic.RequestTooLargeError):
        client.messages.batches.create(requests=requests(2))
    assert server.batches.made == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonesuch": 1}, "nonesuch: Extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"output_config": {"effort": "tiny"}}, "effort"),
        ({"messages": []}, "at least one message"),
        ({"stream": True}, "stream"),
        ({"speed": "fast"}, "speed"),
        ({"model": "claude-3-haiku-20240307", "thinking": None}, "model: claude-3-haiku-20240307"),
    ],
)
def test_parameters_are_checked_later_and_come_back_as_errored_rows(
    client: anthropic.Anthropic, server: LoopbackAnthropic, changes: dict[str, Any], words: str
) -> None:
    bad: Any = {"custom_id": "bad", "params": params(**changes)}
    made = client.messages.batches.create(requests=[*requests(2), bad])
    server.batches.end()
    rows = results(client, made.id)
    assert [rows[name].type for name in ("r-0", "r-1", "bad")] == ["succeeded", "succeeded", "errored"]
    assert words in rows["bad"].error.error.message
    assert client.messages.batches.retrieve(made.id).request_counts.errored == 1


def test_what_our_code_submits_has_the_types_that_the_sdk_publishes(server: LoopbackAnthropic) -> None:
    batches = ClaudeBatches(api_key=server.key, base_url=server.url, model=MODEL, pack=3)
    texts = [Text(number, f"h{number}", f"Crash {number}\n\nIt ends with an error") for number in range(8)]
    prepared = next(batches.prepare(kind_task(), texts))
    batches.submit(prepared.requests)
    batches.close()
    body = server.journal[-1].json
    adapter = TypeAdapter(BatchCreateParams)
    walk(adapter.validate_python(body))
    assert set(body) == {"requests"}
    assert {name for request in body["requests"] for name in request} == {"custom_id", "params"}
    body["requests"][0]["params"]["output_config"]["effort"] = "tiny"
    with pytest.raises(ValidationError):
        walk(adapter.validate_python(body))


def walk(value: Any) -> None:
    """Reads every lazy iterator that pydantic left."""
    if isinstance(value, dict):
        for inner in value.values():
            walk(inner)
    elif not isinstance(value, str | int | float | bool | None):
        for inner in value:
            walk(inner)


# --- how it ends -----------------------------------------------------------------------------------------------------


def test_it_ends_after_the_seconds_it_was_told(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    server.batches.ends_after = 60
    made = client.messages.batches.create(requests=requests(2))
    assert client.messages.batches.retrieve(made.id).processing_status == "in_progress"
    server.batches.age(seconds=61)
    assert client.messages.batches.retrieve(made.id).processing_status == "ended"


def test_what_is_not_done_within_a_day_expires(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    made = client.messages.batches.create(requests=requests(3))
    server.batches.age(hours=24)
    assert {row.type for row in results(client, made.id).values()} == {"expired"}
    assert client.messages.batches.retrieve(made.id).request_counts.expired == 3


def test_a_canceled_batch_is_canceling_first_and_keeps_what_was_done(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    made = client.messages.batches.create(requests=requests(5))
    server.batches.all()[0].done_before_cancel = 2
    canceling = client.messages.batches.cancel(made.id)
    assert (canceling.processing_status, canceling.request_counts.processing) == ("canceling", 5)
    assert canceling.cancel_initiated_at is not None
    server.batches.end()
    assert Counter(row.type for row in results(client, made.id).values()) == {"succeeded": 2, "canceled": 3}
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        client.messages.batches.cancel(made.id)


def test_single_requests_end_as_scripted(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    for place, result in enumerate(("errored", "overloaded", "expired", "canceled", "missing", "refusal", "cut")):
        server.batches.script(f"crash {place}", result)
    made = client.messages.batches.create(requests=requests(8))
    server.batches.end()
    rows = results(client, made.id)
    assert [rows[f"r-{place}"].type for place in (0, 1, 2, 3)] == ["errored", "errored", "expired", "canceled"]
    assert rows["r-1"].error.error.type == "api_error"
    assert "r-4" not in rows
    assert [rows[f"r-{place}"].message.stop_reason for place in (5, 6, 7)] == ["refusal", "max_tokens", "end_turn"]
    assert rows["r-5"].message.stop_details.category is None


def test_results_are_kept_for_29_days_or_until_they_are_deleted(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    made = client.messages.batches.create(requests=requests(2))
    with pytest.raises(anthropic.BadRequestError, match="must have ended"):
        client.messages.batches.delete(made.id)
    server.batches.end()
    server.batches.age(days=KEPT_FOR.days - 1)
    assert len(results(client, made.id)) == 2
    server.batches.age(days=1)
    archived = client.messages.batches.retrieve(made.id)
    assert archived.results_url is None
    assert archived.archived_at is not None
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def test_a_stream_of_results_may_break_off(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    made = client.messages.batches.create(requests=requests(50))
    server.batches.end()
    server.batches.break_results(30)
    with pytest.raises(httpx2.RemoteProtocolError):
        results(client, made.id)
    assert len(results(client, made.id)) == 50


# --- who sees what ---------------------------------------------------------------------------------------------------


def test_lists_go_newest_first_in_pages_and_show_no_ids_of_requests(client: anthropic.Anthropic) -> None:
    made = [client.messages.batches.create(requests=requests(1)).id for _ in range(5)]
    page = client.messages.batches.list(limit=2)
    assert [batch.id for batch in page.data] == made[:-3:-1]
    assert (page.has_more, page.first_id, page.last_id) == (True, made[4], made[3])
    assert [batch.id for batch in client.messages.batches.list(limit=2)] == made[::-1]
    before = client.messages.batches.list(before_id=made[1], limit=2)
    assert [batch.id for batch in before.data] == [made[3], made[2]]
    assert "r-0" not in json.dumps(page.data[0].to_dict(mode="json"))
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.messages.batches.list(limit=1001)


def test_a_batch_belongs_to_the_key_that_made_it(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    made = client.messages.batches.create(requests=requests(1))
    server.key = "sk-ant-another"
    with anthropic.Anthropic(
        api_key=server.key,
        base_url=server.url,
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    ) as other:
        assert list(other.messages.batches.list()) == []
        with pytest.raises(anthropic.NotFoundError):
            other.messages.batches.retrieve(made.id)


def test_a_batch_may_exist_although_no_answer_came(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    server.batches.queue("create", loopback.dropped(), loopback.Fault(shape="unseen"), loopback.overloaded())
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(requests=requests(1))
    assert len(list(client.messages.batches.list())) == 1
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(requests=requests(1))
    with pytest.raises(anthropic.APIStatusError):
        client.messages.batches.create(requests=requests(1))
    assert len(list(client.messages.batches.list())) == 1


# --- what it counts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_so_many_requests_read_their_prompt_from_the_cache(
    client: anthropic.Anthropic, server: LoopbackAnthropic, rate: float
) -> None:
    server.batches.hit_rate = rate
    made = client.messages.batches.create(requests=requests(20, system=PROMPT))
    server.batches.end()
    usages = [row.message.usage for row in results(client, made.id).values()]
    assert sum(usage.cache_read_input_tokens > 0 for usage in usages) == round(20 * rate)
    assert {usage.cache_read_input_tokens + usage.cache_creation_input_tokens for usage in usages} == {1440}
    assert {usage.service_tier for usage in usages} == {"batch"}
    assert all(usage.cache_creation.ephemeral_5m_input_tokens == 0 for usage in usages)


def test_a_prompt_that_is_too_short_is_not_cached_in_a_batch_either(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    short = [{"type": "text", "text": "Sort it.", "cache_control": {"type": "ephemeral"}}]
    made = client.messages.batches.create(requests=requests(3, system=short))
    server.batches.end()
    usages = [row.message.usage for row in results(client, made.id).values()]
    assert {(usage.cache_read_input_tokens, usage.cache_creation_input_tokens) for usage in usages} == {(0, 0)}


def test_what_it_answers_in_a_batch_is_what_it_answers_at_once(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    at_once = client.messages.create(**params("crash 0"))
    made = client.messages.batches.create(requests=requests(1))
    server.batches.end()
    assert results(client, made.id)["r-0"].message.content[0].text == at_once.content[0].text
