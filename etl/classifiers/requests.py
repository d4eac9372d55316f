"""One request about one text or several, and what its reply says of each. Pure: no network, no clock, no state.

Asking one request at a time and asking in a batch both go through here, so that a text is shown, an answer is read and
a dollar is counted in one way only.

Several texts share a request where a prompt is made for a pack. Each then has an echo id: made from the contents of the
request, so that the same request has the same bytes, and never found in one of its texts, so that no text can speak for
its neighbour. `suspicion` says which texts share no request, `doubts` which answers are asked for again alone.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from etl.classifiers.answers import Reading, read_message, read_packed_message
from etl.classifiers.attempts import read_usage
from etl.classifiers.doubts import find_doubts
from etl.classifiers.prices import ModelFacts
from etl.classifiers.prompt import (
    output_schema,
    prompt_version,
    render_item,
    render_items,
    render_system,
    render_tools,
)
from etl.classifiers.redact import redact
from etl.classifiers.shorten import MAX_ITEM_CHARS, shorten
from etl.classifiers.suspicion import find_suspicion
from etl.records import Answer, Outcome, Text, Usage
from etl.tasks import Task

MOST_PACKED: Final = 20
"""So many texts share a request at most."""
PACK_CHARS: Final = 40_000
"""So many characters of text at most, some 16,000 tokens; in larger packs (`pack_room`) more."""
LONGEST_PACKED: Final = 10_000
"""A longer text is asked about alone: it would fill a pack, and what is long hides more; in larger packs more."""
_MAX_TOKENS = 400
_MAX_TOKENS_MORE = 150
_MAX_TOKENS_THINKING = 4_000
_MAX_TOKENS_THINKING_MORE = 600
_OPEN_PACKS = 4
_ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
_ID_LENGTH = 8
_CENTIMICROS = 10**8
"""The ledger keeps dollars to eight places."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What all requests of one task share. pack: how many texts a request has at most; 1 has words of its own."""

    task: Task
    version: str
    system: str
    tools: list[dict[str, Any]]
    schema: dict[str, Any]
    pack: int

    @property
    def packed(self) -> bool:
        """Whether texts have ids, also where one is asked about alone."""
        return self.pack > 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A text as it is sent: redacted and shortened."""

    text_id: int
    body: str
    redactions: int
    truncated_chars: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What must be kept of a text that was sent to read the reply: without its words. echo_id: '' where it has none."""

    text_id: int
    echo_id: str
    redactions: int
    truncated_chars: int


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request, ready to send.

    arguments: the keyword arguments of `messages.create` and, as JSON, the `params` of a batch's request.
    """

    shown: tuple[Shown, ...]
    asked: tuple[Asked, ...]
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply says: an answer for each text that was asked about, in their order, with its share of the usage.

    again: ids of the texts that must be asked about alone; their answers here are none to keep as such: they are
    'invalid' or 'truncated', say why, and carry what was paid. Always empty where one text was asked about.
    stop_reason: why the message ended.
    """

    answers: tuple[Answer, ...]
    again: frozenset[int]
    stop_reason: str


def make_prompt(task: Task, pack: int = 1) -> Prompt:
    """The prompt of `task` for requests about up to `pack` texts, from 1 to MOST_PACKED."""
    if not 1 <= pack <= MOST_PACKED:
        raise ValueError(f"pack is {pack}: it must be from 1 to {MOST_PACKED}")
    packed = pack > 1
    return Prompt(
        task,
        prompt_version(task, packed=packed),
        render_system(task, packed=packed),
        render_tools(packed=packed),
        output_schema(task, packed=packed),
        pack,
    )


def show(text: Text) -> Shown:
    """`text` without secrets, and no longer than is sent."""
    redacted, redactions = redact(text.body)
    body, left_out = shorten(redacted, MAX_ITEM_CHARS)
    return Shown(text.id, body, redactions, left_out)


def pack_room(pack: int) -> tuple[int, int]:
    """How many characters of text a pack holds at most, and how long a text of it may be.

    A pack of 20 is meant for batches, where the prompt is mostly paid in full: one long issue that is asked about alone
    costs there as much as twenty that share it. So such packs take every text, and have room enough to fill.
    """
    return max(PACK_CHARS, 3_000 * pack), max(LONGEST_PACKED, MAX_ITEM_CHARS * pack // MOST_PACKED)


def pack_texts(shown: Iterable[Shown], pack: int) -> Iterator[tuple[Shown, ...]]:
    """The texts in groups of at most `pack`, one request each, roughly in their order; lazily.

    Alone go suspicious texts and long ones. The others fill up to four open groups, each text the first that has room
    for its characters; a full one is given at once, and the oldest where a fifth would be opened.
    """
    groups: list[list[Shown]] = []
    room, longest = pack_room(pack)
    for text in shown:
        if pack == 1 or len(text.body) > longest or find_suspicion(text.body):
            yield (text,)
            continue
        group = next((one for one in groups if _chars(one) + len(text.body) <= room), None)
        if group is None:
            group = []
            groups.append(group)
        group.append(text)
        if len(group) == pack:
            groups.remove(group)
            yield tuple(group)
        elif len(groups) > _OPEN_PACKS:
            yield tuple(groups.pop(0))
    yield from (tuple(group) for group in groups)


def _chars(group: Sequence[Shown]) -> int:
    return sum(len(text.body) for text in group)


def _echo_ids(version: str, bodies: Sequence[str]) -> tuple[str, ...]:
    """An id for each text: different ones, of which none occurs in any of the texts."""
    seed = json.dumps([version, *bodies]).encode()
    everything = "\n".join(bodies)
    ids: list[str] = []
    number = 0
    while len(ids) < len(bodies):
        digest = blake2b(number.to_bytes(4, "big") + seed, digest_size=_ID_LENGTH).digest()
        identifier = "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest)
        number += 1
        if identifier not in everything and identifier not in ids:
            ids.append(identifier)
    return tuple(ids)


def prepare(
    prompt: Prompt,
    facts: ModelFacts,
    model: str,
    shown: Sequence[Shown],
    *,
    complaint: str = "",
    max_tokens: int | None = None,
    cache_ttl: str | None = "5m",
) -> PreparedRequest:
    """The request to `model` about `shown`; the same bytes for the same arguments.

    complaint: fixed words of ours about the previous answer. max_tokens: None for what the texts need; thinking counts.
    cache_ttl: how long the prompt is cached, '5m' or '1h'; None marks nothing.
    """
    bodies = [text.body for text in shown]
    if prompt.packed:
        ids = _echo_ids(prompt.version, bodies)
        messages = render_items(list(zip(ids, bodies, strict=True)), complaint)
    else:
        ids = ("",)
        messages = render_item(bodies[0], complaint)
    asked = [
        Asked(text.text_id, identifier, text.redactions, text.truncated_chars)
        for text, identifier in zip(shown, ids, strict=True)
    ]
    output: dict[str, Any] = {"format": {"type": "json_schema", "schema": prompt.schema}}
    if facts.effort:
        output["effort"] = facts.effort
    mark = {"cache_control": {"type": "ephemeral", "ttl": cache_ttl}} if cache_ttl else {}
    arguments = {
        "model": model,
        "max_tokens": max_tokens or most_output_tokens(facts, len(shown)),
        "system": [{"type": "text", "text": prompt.system, **mark}],
        "tools": prompt.tools,
        "tool_choice": {"type": "none"},
        "messages": messages,
        "output_config": output,
        **({"thinking": {"type": facts.thinking}} if facts.thinking else {}),
    }
    return PreparedRequest(tuple(shown), tuple(asked), arguments)


def most_output_tokens(facts: ModelFacts, texts: int) -> int:
    """The `max_tokens` of a request about so many texts: several times what their answers take; thinking counts."""
    if facts.thinks:
        return _MAX_TOKENS_THINKING + _MAX_TOKENS_THINKING_MORE * (texts - 1)
    return _MAX_TOKENS + _MAX_TOKENS_MORE * (texts - 1)


def add_usage(first: Usage | None, second: Usage | None) -> Usage | None:
    """Both together; None where there is neither."""
    if first is None or second is None:
        return first or second
    return Usage(
        first.input_tokens + second.input_tokens,
        first.cache_write_tokens + second.cache_write_tokens,
        first.cache_read_tokens + second.cache_read_tokens,
        first.output_tokens + second.output_tokens,
        first.cost_usd + second.cost_usd,
    )


def split_usage(usage: Usage, parts: int) -> list[Usage]:
    """`usage` in equal parts whose sum it is exactly: whole tokens, dollars to eight places, what is over to the first.

    One part is `usage` itself.
    """
    if parts == 1:
        return [usage]
    columns = [
        _split(number, parts)
        for number in (
            usage.input_tokens,
            usage.cache_write_tokens,
            usage.cache_read_tokens,
            usage.output_tokens,
            round(usage.cost_usd * _CENTIMICROS),
        )
    ]
    return [
        Usage(fresh, written, read, output, dollars / _CENTIMICROS)
        for fresh, written, read, output, dollars in zip(*columns, strict=True)
    ]


def _split(number: int, parts: int) -> list[int]:
    share, over = divmod(number, parts)
    return [share + over, *[share] * (parts - 1)]


def read_reply(
    prompt: Prompt,
    asked: Sequence[Asked],
    body: Mapping[str, Any],
    facts: ModelFacts,
    *,
    classifier: str = "claude",
    request_id: str | None = None,
    batch: bool = False,
) -> Reply:
    """What the message `body` (a JSON object of type 'message') says of the texts that were asked about.

    prompt: of its task the answers are read; its version is theirs. batch: at the prices of a batch.
    """
    if prompt.packed:
        readings = read_packed_message(prompt.task, body, [text.echo_id for text in asked])
    else:
        readings = [read_message(prompt.task, body)]
    doubts = find_doubts([text.echo_id for text in asked], readings) if len(asked) > 1 else [""]
    answers = tuple(
        Answer(
            text_id=text.text_id,
            outcome=_attempt(reading) if doubt else reading.outcome,
            categories=() if doubt else reading.categories,
            rationale=doubt or reading.rationale,
            classifier=classifier,
            model=str(body.get("model") or facts.id),
            prompt_version=prompt.version,
            usage=usage,
            request_id=request_id,
            redactions=text.redactions,
            truncated_chars=text.truncated_chars,
            pack=len(asked),
        )
        for text, reading, doubt, usage in zip(
            asked, readings, doubts, split_usage(read_usage(body, facts, batch=batch), len(asked)), strict=True
        )
    )
    again = frozenset(text.text_id for text, doubt in zip(asked, doubts, strict=True) if doubt)
    return Reply(answers, again, str(body.get("stop_reason")))


def _attempt(reading: Reading) -> Outcome:
    return "truncated" if reading.outcome == "truncated" else "invalid"
