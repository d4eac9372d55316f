"""What the loopback model answers when no test tells it: plausible, deterministic, made from the schema it is held to.

It counts words of the item that belong to each allowed value and takes the best. That is enough to try the whole
product offline; it says nothing about how well a real model would answer. Of a list of items it answers each by its own
text and repeats its id, as a model does that obeys nobody; tests that want one that does give the server an answerer.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_HINTS = {
    "bug": "error crash fails failed exception traceback segfault wrong incorrect broken regression bug",
    "feature": "feature request add support would nice proposal allow please rfc",
    "enhancement": "feature request add support would nice improve allow proposal rfc",
    "question": "how question why ? can what wondering help",
    "documentation": "docs documentation docstring typo readme tutorial example",
    "performance": "slow slower performance speed memory leak latency faster oom",
    "security": "security cve vulnerability exploit injection",
    "build": "build compile cmake install ci linker wheel",
    "ci": "ci workflow pipeline jenkins runner",
    "dependency": "dependency upgrade version requirements bump pin",
    "test": "test tests flaky unittest pytest",
    "ux": "confusing message usability error-message warning cli ui",
    "true": "how my mistake wrong usage question should call forum not-a-bug expected",
    "false": "crash segfault regression internal assert error bug exception",
}
_ENDING = re.compile(r"(?:ed|es|s|ing)$")
_WORD = re.compile(r"[a-z][a-z_-]*|\?")


def item_text(body: Mapping[str, Any]) -> str:
    """What the request asks about: the tool results and texts of its last message, one JSON level unpacked."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    parts = []
    for block in content:
        value = block.get("content") if block["type"] == "tool_result" else block.get("text")
        if isinstance(value, list):
            value = "".join(inner.get("text", "") for inner in value)
        parts.append(_unpack(value or ""))
    return "\n".join(parts)


def _unpack(value: str) -> str:
    try:
        unpacked = json.loads(value)
    except ValueError:
        return value
    if isinstance(unpacked, list):
        return "\n".join(text for _, text in _listed(unpacked))
    return str(unpacked.get("text", value)) if isinstance(unpacked, dict) else value


def _listed(value: Sequence[Any]) -> list[tuple[str, str]]:
    return [(str(one.get("id", "")), str(one.get("text", ""))) for one in value if isinstance(one, dict)]


def packed_items(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (id, text) of each item of a request about several: the JSON list in its tool result; none elsewhere."""
    content = body["messages"][-1]["content"]
    for block in content if isinstance(content, list) else ():
        if block["type"] == "tool_result" and isinstance(block.get("content"), str):
            try:
                value = json.loads(block["content"])
            except ValueError:
                continue
            if isinstance(value, list):
                return _listed(value)
    return []


def item_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts that the request asks about: those of its list, or the one."""
    return [text for _, text in packed_items(body)] or [item_text(body)]


def _rank(text: str, allowed: Sequence[str]) -> list[tuple[str, int]]:
    """The allowed values with the number of their words in the text, best first, ties in the given order."""
    counts: dict[str, int] = {}
    for word in _WORD.findall(text.lower()):
        for form in {word, _ENDING.sub("", word)}:
            counts[form] = counts.get(form, 0) + 1
    ranked = []
    for value in allowed:
        words = set(_HINTS.get(value, "").split())
        for part in value.split("_"):
            words |= {part, *_HINTS.get(part, "").split()}
        ranked.append((value, sum(min(3, counts.get(word, 0)) for word in words)))
    return sorted(ranked, key=lambda pair: -pair[1])


def _fill(schema: Mapping[str, Any], text: str, chosen: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return chosen["category"]
    kind = schema.get("type")
    if kind == "object":
        return {name: _fill(inner, text, chosen) for name, inner in schema["properties"].items()}
    if kind == "number":
        return chosen["confidence"]
    if kind == "array":
        return [_fill(schema["items"], text, one) for one in chosen["several"]]
    return chosen["why"]


def _enum_of(schema: Mapping[str, Any]) -> Sequence[str]:
    if "enum" in schema:
        values: Sequence[str] = schema["enum"]
        return values
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else ())):
        found = _enum_of(inner)
        if found:
            return found
    return ()


def plausible_answer(body: Mapping[str, Any]) -> str:
    """The JSON text that answers the request, in the form of its schema, or a short sentence where it has none."""
    shape = (body.get("output_config") or {}).get("format")
    text = item_text(body)
    if not shape:
        return f"I have read {len(text)} characters."
    schema = shape["schema"]
    entry = schema.get("properties", {}).get("answers", {}).get("items")
    if entry is None:
        return json.dumps(_answer_one(schema, text), ensure_ascii=False)
    answers = [{**_answer_one(entry, item), "id": identifier} for identifier, item in packed_items(body)]
    ordered = [{name: answer[name] for name in entry["properties"]} for answer in answers]
    return json.dumps({"answers": ordered}, ensure_ascii=False)


def _answer_one(schema: Mapping[str, Any], text: str) -> Any:
    """What the schema of one answer is filled with for one text."""
    ranked = _rank(text, _enum_of(schema))
    hits = [(value, count) for value, count in ranked if count > 0]
    several = [
        {"category": value, "confidence": min(0.95, 0.5 + count / 20), "why": "words", "several": ()}
        for value, count in hits[:3]
        if count >= 2
    ]
    if hits:
        (best, count), runner_up = hits[0], hits[1][1] if len(hits) > 1 else 0
        confidence = round(min(0.97, 0.55 + 0.06 * (count - runner_up) + 0.01 * count), 2)
        why = f"{count} of its words speak of {best}"
    else:
        best, confidence, why = (ranked[-1][0] if ranked else ""), 0.4, "nothing in it speaks for a category"
    chosen = {"category": best, "confidence": confidence, "why": why, "several": several}
    return _fill(schema, text, chosen)
