"""The loopback Messages API is judged by the real SDK: what it answers, what it refuses, how it caches."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.fakes import Clock
from tests.loopback import anthropic as loopback
from tests.loopback.anthropic import LoopbackAnthropic

MODEL = "claude-haiku-5-5"
SCHEMA = {
    "type": "object",
    "properties": {"category": {"type": "string", "enum": ["bug", "feature", "other"]}},
    "required": ["category"],
    "additionalProperties": False,
}
PROMPT = [{"type": "text", "text": "Sort it. " * 400, "cache_control": {"type": "ephemeral"}}]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[LoopbackAnthropic]:
    with LoopbackAnthropic(clock=clock) as running:
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


def ask(client: anthropic.Anthropic, **changes: Any) -> Any:
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "Crash: it ends with an error"}],
        "thinking": {"type": "disabled"},
    }
    body.update(changes)
    return client.messages.create(**{name: value for name, value in body.items() if value is not None})


def test_its_answers_pass_the_sdks_strict_validation(client: anthropic.Anthropic) -> None:
    message = ask(client, system=PROMPT, output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert json.loads(message.content[0].text) == {"category": "bug"}
    assert message.stop_reason == "end_turn"
    assert message._request_id.startswith("req_")


def test_it_counts_tokens_without_answering(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "x" * 250}])
    assert 100 <= counted.input_tokens <= 130
    assert server.asked() == []


def test_its_models_have_a_lifecycle_and_pages(client: anthropic.Anthropic) -> None:
    assert client.models.retrieve(MODEL).lifecycle == "active"
    ids = [model.id for model in client.models.list(limit=2)]
    assert MODEL in ids
    assert "claude-3-haiku-20240307" not in ids
    assert [model.id for model in client.models.list(lifecycle=["retired"])] == ["claude-3-haiku-20240307"]
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-nonesuch-9")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extra_body": {"temperature": 0.0}}, "temperature"),
        ({"extra_body": {"nonesuch": 1}}, "nonesuch: Extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": " "}]}, "non-whitespace"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]}, "tool_use"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "{"}]}, "prefill"),
        ({"thinking": {"type": "between_tools"}}, "between_tools"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, "effort max"),
        ({"output_config": {"effort": "tiny"}}, "effort"),
        ({"model": "claude-haiku-4-5", "output_config": {"effort": "low"}}, "does not support the effort"),
        ({"model": "claude-sonnet-5-5"}, "disabled"),
        ({"tool_choice": {"type": "none"}}, "tool_choice"),
        ({"tools": [{"name": "no spaces", "input_schema": {"type": "object"}}]}, "name"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, "ttl"),
        ({"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5}, "maximum of 4"),
        ({"service_tier": "fast"}, "service_tier"),
        ({"metadata": {"user_id": 5}}, "user_id"),
    ],
)
def test_a_body_that_the_real_service_refuses_is_refused(
    client: anthropic.Anthropic, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=words):
        ask(client, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"additionalProperties": True}, "additionalProperties"),
        ({"required": ["nonesuch"]}, "nonesuch"),
        ({"properties": {"category": {"type": "number", "minimum": 0}}}, "minimum"),
        ({"properties": {"category": {"type": "string", "maxLength": 3}}}, "maxLength"),
        ({"properties": {"category": {"type": "array", "minItems": 2}}}, "minItems"),
        ({"properties": {"category": {"type": "object"}}}, "additionalProperties"),
    ],
)
def test_a_schema_beyond_the_subset_is_refused(client: anthropic.Anthropic, change: dict[str, Any], words: str) -> None:
    schema = {**SCHEMA, **change}
    with pytest.raises(anthropic.BadRequestError, match=words):
        ask(client, output_config={"format": {"type": "json_schema", "schema": schema}})


def test_both_ways_to_send_the_key_are_taken_and_no_other_key(
    client: anthropic.Anthropic, server: LoopbackAnthropic
) -> None:
    wrong = client.with_options(api_key="sk-wrong")
    with pytest.raises(anthropic.AuthenticationError):
        ask(wrong)
    assert ask(client, extra_headers={"Authorization": "", "x-api-key": server.key})
    with pytest.raises(anthropic.BadRequestError, match="anthropic-version"):
        ask(client, extra_headers={"anthropic-version": "1999-01-01"})


def test_a_prompt_is_written_once_read_for_five_minutes_of_use_and_then_written_again(
    client: anthropic.Anthropic, clock: Clock
) -> None:
    def cached() -> tuple[bool, bool]:
        usage = ask(client, system=PROMPT).usage
        return usage.cache_creation_input_tokens > 0, usage.cache_read_input_tokens > 0

    assert cached() == (True, False)
    for _ in range(3):
        clock.now += 290
        assert cached() == (False, True)
    clock.now += 310
    assert cached() == (True, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "claude-haiku-4-5", "thinking": None},
        {"output_config": {"effort": "low"}},
        {"thinking": {"type": "adaptive"}, "max_tokens": 1_000},
        {"system": [{**PROMPT[0], "text": "Other words. " * 200}]},
    ],
)
def test_another_model_prompt_or_way_of_thinking_shares_nothing(
    client: anthropic.Anthropic, changes: dict[str, Any]
) -> None:
    ask(client, system=PROMPT)
    assert ask(client, **{"system": PROMPT, **changes}).usage.cache_read_input_tokens == 0


def test_a_prompt_below_the_minimum_is_never_cached(client: anthropic.Anthropic) -> None:
    short = [{**PROMPT[0], "text": "Sort it."}]
    for _ in range(2):
        usage = ask(client, system=short).usage
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_an_answer_longer_than_max_tokens_is_cut(client: anthropic.Anthropic) -> None:
    message = ask(client, max_tokens=2)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 2)


def test_faults_meet_the_requests_they_are_meant_for(client: anthropic.Anthropic, server: LoopbackAnthropic) -> None:
    server.script("Crash", loopback.refusal("bio"))
    server.queue(loopback.overloaded(), loopback.tier_spend_limit(), loopback.payment_required())
    assert ask(client).stop_details.category == "bio"
    with pytest.raises(anthropic.OverloadedError):
        ask(client)
    with pytest.raises(anthropic.RateLimitError) as limited:
        ask(client)
    assert limited.value.error_code == "enforced_spend_limit_reached"
    with pytest.raises(anthropic.PaymentRequiredError):
        ask(client)
    assert ask(client).stop_reason == "end_turn"
    assert [entry.status for entry in server.asked()] == [200, 529, 429, 402, 200]


def test_it_runs_by_hand_and_says_what_to_set() -> None:
    command = [sys.executable, "-m", "tests.loopback.anthropic", "--port", "0", "--key", "sk-by-hand"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address, key = process.stdout.readline(), process.stdout.readline()
        assert address.startswith("export ANTHROPIC_BASE_URL=http://127.0.0.1:")
        assert key == "export ANTHROPIC_API_KEY=sk-by-hand\n"
        url = address.strip().partition("=")[2]
        with anthropic.Anthropic(
            api_key="sk-by-hand", base_url=url, http_client=anthropic.DefaultHttpxClient(trust_env=False)
        ) as client:
            assert ask(client).type == "message"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "1 messages were asked" in rest
