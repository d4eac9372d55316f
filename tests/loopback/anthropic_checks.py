"""What the loopback Messages API accepts: its models, and the checks of a request body.

Two judges, one after the other: our own checks (unknown keys, what a model refuses, the subset of JSON schema that
structured outputs take, pairs of tool call and result), and the SDK's published parameter types through pydantic, which
know nothing of ours. Both answer like the real service: 400 with one sentence.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, slots=True)
class LoopbackModel:
    """One model of the catalogue. thinking: the types it accepts; efforts: () where it has no effort parameter."""

    id: str
    display_name: str
    cache_minimum: int
    thinking: tuple[str, ...]
    efforts: tuple[str, ...]
    forced_tool_choice: bool = True
    sampling: bool = False
    prefill: bool = False
    default_thinks: bool = False
    lifecycle: str = "active"
    retires_at: str | None = None
    max_tokens: int = 64_000


_EFFORTS = ("low", "medium", "high", "xhigh", "max")

MODELS = {
    model.id: model
    for model in (
        LoopbackModel(
            "claude-haiku-5-5", "Claude Haiku 5.5", 512, ("disabled", "adaptive"), _EFFORTS, default_thinks=True
        ),
        LoopbackModel(
            "claude-sonnet-5-5",
            "Claude Sonnet 5.5",
            512,
            ("between_tools", "adaptive"),
            _EFFORTS,
            forced_tool_choice=False,
            default_thinks=True,
        ),
        LoopbackModel(
            "claude-haiku-4-5", "Claude Haiku 4.5", 4_096, ("enabled", "disabled"), (), sampling=True, prefill=True
        ),
        LoopbackModel(
            "claude-sonnet-4-5-20250929",
            "Claude Sonnet 4.5",
            4_096,
            ("enabled", "disabled"),
            (),
            sampling=True,
            prefill=True,
            lifecycle="deprecated",
            retires_at="2026-11-30T00:00:00Z",
        ),
        LoopbackModel(
            "claude-3-haiku-20240307",
            "Claude Haiku 3",
            2_048,
            ("disabled",),
            (),
            lifecycle="retired",
            retires_at="2026-04-20T00:00:00Z",
        ),
    )
}
"""The catalogue, in the shape of the real one; what each accepts is from the vendor's pages of October 2026."""


class BadRequestError(Exception):
    """The body is refused with a 400; the message is what the service would say."""


class UnknownModelError(Exception):
    """There is no such model, or it is retired: a 404."""


_TOP_LEVEL = frozenset(
    {
        "max_tokens",
        "messages",
        "model",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
_COUNTED = _TOP_LEVEL - {"max_tokens", "stream", "metadata", "service_tier", "stop_sequences"}
_BLOCK_KEYS = {
    "text": {"type", "text", "cache_control", "citations"},
    "tool_use": {"type", "id", "name", "input", "cache_control", "caller"},
    "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"},
}
_TOOL_KEYS = {"type", "name", "description", "input_schema", "cache_control", "strict", "input_examples"}
_SCHEMA_KEYS = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "description",
    "title",
}
_SCHEMA_KEYS |= {"anyOf", "allOf", "$ref", "$defs", "format", "default", "minItems"}
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def _require(condition: object, message: str) -> None:
    if not condition:
        raise BadRequestError(message)


def _only(table: Mapping[str, Any], allowed: set[str] | frozenset[str], where: str) -> None:
    for key in table:
        _require(key in allowed, f"{where}{key}: Extra inputs are not permitted")


def _cache_marks(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("cache_control"), dict):
            yield value["cache_control"]
        for key, inner in value.items():
            if key not in {"input_schema", "input", "output_config"}:
                yield from _cache_marks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _cache_marks(inner)


def _check_cache_control(body: Mapping[str, Any]) -> None:
    marks = list(_cache_marks(body))
    _require(len(marks) <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")
    for mark in marks:
        _only(mark, {"type", "ttl"}, "cache_control.")
        _require(mark.get("type") == "ephemeral", "cache_control.type: Input should be 'ephemeral'")
        _require(mark.get("ttl", "5m") in {"5m", "1h"}, "cache_control.ttl: Input should be '5m' or '1h'")


def _check_schema(schema: object, where: str) -> None:
    """The subset of JSON schema of structured outputs."""
    _require(isinstance(schema, dict), f"{where}: Input should be a valid dictionary")
    assert isinstance(schema, dict)
    for key in schema:
        _require(key in _SCHEMA_KEYS, f"{where}: For '{schema.get('type')}' type, property '{key}' is not supported")
    if schema.get("type") == "object":
        _require(
            schema.get("additionalProperties") is False,
            f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false",
        )
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            _require(name in properties, f"{where}: required property '{name}' is not defined")
        for name, inner in properties.items():
            _check_schema(inner, f"{where}.{name}")
    _require(schema.get("minItems", 0) in {0, 1}, f"{where}: 'minItems' may only be 0 or 1")
    if "items" in schema:
        _check_schema(schema["items"], f"{where}.items")
    for combined in ("anyOf", "allOf"):
        for inner in schema.get(combined, []):
            _check_schema(inner, f"{where}.{combined}")


def _check_output(body: Mapping[str, Any], model: LoopbackModel) -> None:
    output = body.get("output_config")
    if output is None:
        return
    _require(isinstance(output, dict), "output_config: Input should be a valid dictionary")
    _only(output, {"effort", "format"}, "output_config.")
    effort = output.get("effort")
    if effort is not None:
        _require(model.efforts, "output_config.effort: This model does not support the effort parameter.")
        _require(effort in model.efforts, f"output_config.effort: Input should be one of {', '.join(model.efforts)}")
    shape = output.get("format")
    if shape is not None:
        _only(shape, {"type", "schema"}, "output_config.format.")
        _require(shape.get("type") == "json_schema", "output_config.format.type: Input should be 'json_schema'")
        _check_schema(shape.get("schema"), "output_config.format.schema")


def _check_thinking(body: Mapping[str, Any], model: LoopbackModel) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    _require(isinstance(thinking, dict) and "type" in thinking, "thinking.type: Field required")
    kind = thinking["type"]
    _require(kind in model.thinking, f'"thinking.type.{kind}" is not supported for this model.')
    effort = (body.get("output_config") or {}).get("effort")
    if kind == "disabled" and model.default_thinks:
        _require(effort not in {"xhigh", "max"}, f'"thinking.type.disabled" is not supported with effort {effort}.')
    if kind == "enabled":
        budget = thinking.get("budget_tokens")
        _require(isinstance(budget, int) and budget >= 1024, "thinking.enabled.budget_tokens: must be at least 1024")
        _require(
            budget < body.get("max_tokens", budget + 1), "`max_tokens` must be greater than `thinking.budget_tokens`."
        )


def _check_sampling(body: Mapping[str, Any], model: LoopbackModel) -> None:
    for name, harmless in (("temperature", 1), ("top_p", 0.99), ("top_k", None)):
        if name in body and not model.sampling and body[name] != harmless:
            raise BadRequestError(f"`{name}` is not supported for this model.")


def _check_tools(body: Mapping[str, Any], model: LoopbackModel) -> None:
    tools = body.get("tools") or []
    _require(isinstance(tools, list), "tools: Input should be a valid list")
    for number, tool in enumerate(tools):
        _only(tool, _TOOL_KEYS, f"tools.{number}.")
        _require(_TOOL_NAME.fullmatch(str(tool.get("name"))), f"tools.{number}.name: String should match the pattern")
        schema = tool.get("input_schema")
        _require(
            isinstance(schema, dict) and schema.get("type") == "object",
            f"tools.{number}.input_schema.type: Input should be 'object'",
        )
    choice = body.get("tool_choice")
    if choice is not None:
        _require(tools, "tool_choice: may only be specified while providing tools.")
        kind = choice.get("type")
        _require(
            kind in {"auto", "any", "tool", "none"}, "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'"
        )
        if kind in {"any", "tool"}:
            _require(model.forced_tool_choice, "tool_choice: forced tool use is not supported for this model.")


def _blocks(content: object, where: str) -> Sequence[Mapping[str, Any]]:
    if isinstance(content, str):
        _require(content.strip(), f"{where}: text content blocks must contain non-whitespace text")
        return [{"type": "text", "text": content}]
    _require(isinstance(content, list) and content, f"{where}: at least one block is required")
    assert isinstance(content, list)
    for number, block in enumerate(content):
        here = f"{where}.{number}"
        _require(
            isinstance(block, dict) and block.get("type") in _BLOCK_KEYS, f"{here}: Input tag is not of a known type"
        )
        _only(block, _BLOCK_KEYS[block["type"]], f"{here}.{block['type']}.")
        if block["type"] == "text":
            _require(
                str(block.get("text", "")).strip(), f"{here}: text content blocks must contain non-whitespace text"
            )
    return content


def _check_messages(body: Mapping[str, Any], model: LoopbackModel) -> None:
    messages = body.get("messages")
    _require(isinstance(messages, list) and messages, "messages: at least one message is required")
    assert isinstance(messages, list)
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        _require(isinstance(message, dict), f"{where}: Input should be a valid dictionary")
        _only(message, {"role", "content"}, f"{where}.")
        _require(message.get("role") in {"user", "assistant"}, f"{where}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(message.get("content"), f"{where}.content")
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        _require(
            results == open_calls,
            f"{where}: each `tool_use` block must have a corresponding `tool_result` block in the next message.",
        )
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        _require(
            not open_calls or message["role"] == "assistant", f"{where}: `tool_use` blocks can only be in assistant"
        )
    _require(messages[0]["role"] == "user", "messages: first message must use the user role")
    if messages[-1]["role"] == "assistant":
        _require(
            model.prefill and not (body.get("output_config") or {}).get("format"), "prefill is not supported here."
        )


def _check_system(body: Mapping[str, Any]) -> None:
    system = body.get("system")
    if system is None or isinstance(system, str):
        return
    _require(isinstance(system, list), "system: Input should be a valid list")
    for number, block in enumerate(system):
        _require(
            isinstance(block, dict) and block.get("type") == "text", f"system.{number}.type: Input should be 'text'"
        )
        _only(block, _BLOCK_KEYS["text"], f"system.{number}.")
        _require(block.get("text"), f"system.{number}: text content blocks must be non-empty")


def find_model(identifier: object, models: Mapping[str, LoopbackModel] = MODELS) -> LoopbackModel:
    """The one of `models` that may be asked.

    Raises:
        UnknownModelError: it is unknown or retired.
    """
    model = models.get(str(identifier))
    if model is None or model.lifecycle == "retired":
        raise UnknownModelError(f"model: {identifier}")
    return model


def check_request(
    body: object, *, counting: bool = False, models: Mapping[str, LoopbackModel] = MODELS
) -> LoopbackModel:
    """The model a body asks for, once all of the body is found in order. counting: the rules of count_tokens.

    Raises:
        BadRequestError: the body would be refused with a 400.
        UnknownModelError: the model is unknown or retired.
    """
    _require(isinstance(body, dict), "Input should be a valid dictionary")
    assert isinstance(body, dict)
    _only(body, _COUNTED if counting else _TOP_LEVEL, "")
    for name in ("model", "messages") if counting else ("model", "messages", "max_tokens"):
        _require(name in body, f"{name}: Field required")
    model = find_model(body["model"], models)
    if not counting:
        _require(not body.get("stream"), "stream: the loopback server answers whole messages only")
        _require(
            isinstance(body["max_tokens"], int) and 1 <= body["max_tokens"] <= model.max_tokens,
            f"max_tokens: must be from 1 to {model.max_tokens} for {model.id}",
        )
    _check_system(body)
    _check_messages(body, model)
    _check_tools(body, model)
    _check_thinking(body, model)
    _check_sampling(body, model)
    _check_output(body, model)
    _check_cache_control(body)
    _check_types({key: value for key, value in body.items() if key not in {"temperature", "top_p", "top_k"}}, counting)
    return model


@cache
def _adapter(counting: bool) -> TypeAdapter[Any]:
    # Imported here: importing the SDK takes a second, and `--help` should not.
    from anthropic.types.message_count_tokens_params import MessageCountTokensParams
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    return TypeAdapter(MessageCountTokensParams if counting else MessageCreateParamsNonStreaming)


def _walk(value: object) -> None:
    """Reads every lazy iterator that pydantic left: an `Iterable` field is judged only when it is read."""
    if isinstance(value, Mapping):
        for inner in value.values():
            _walk(inner)
    elif not isinstance(value, str | int | float | bool | None):
        assert hasattr(value, "__iter__")
        for inner in value:
            _walk(inner)


def _check_types(body: Mapping[str, Any], counting: bool) -> None:
    try:
        _walk(_adapter(counting).validate_python(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequestError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
