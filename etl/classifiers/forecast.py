"""What asking about texts would cost in each way it can be done, without any request. Pure.

The requests are made as they would be sent, so that their worst case is exactly what the caps would set aside; only the
number of tokens, which the vendor alone counts, is estimated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from etl.classifiers.attempts import worst_case
from etl.classifiers.base import ECHO_TOKENS, ENTRY_TOKENS, REQUEST_TOKENS, Evidence, Way
from etl.classifiers.prices import ModelFacts
from etl.classifiers.prompt import prompt_tokens_estimate
from etl.classifiers.requests import Prompt, Shown, make_prompt, pack_texts, prepare, show
from etl.records import Text
from etl.tasks import Task

USUAL_PACK = 10
"""How many texts share a request in the ways with packs, where the classifier is set to one each."""


@dataclass(slots=True)
class _Sum:
    """What one way adds up to."""

    requests: int = 0
    dollars: float = 0.0
    worst: float = 0.0

    def add(self, dollars: float, worst: float) -> None:
        """Counts a request."""
        self.requests += 1
        self.dollars += dollars
        self.worst += worst


@dataclass(frozen=True, slots=True)
class Packs:
    """How many texts share a request as things are set: live, and in a batch."""

    live: int
    batch: int


def forecast_ways(
    task: Task, facts: ModelFacts, texts: Sequence[Text], evidence: Evidence, packs: Packs
) -> tuple[Way, ...]:
    """What asking a model about `texts` would cost: live and in a batch, packed or not, with the cache or without.

    Live as it is set, with the cache, is marked as configured. In a batch the vendor promises no cache: none is
    counted on there.
    """
    shown = [show(text) for text in texts]
    live = packs.live if packs.live > 1 else USUAL_PACK
    batch = packs.batch if packs.batch > 1 else USUAL_PACK
    ways: list[Way] = []
    for size in sorted({1, live, batch}):
        found = _ways(make_prompt(task, size), facts, shown, evidence)
        ways += [way for way in found if size in {1, live if way.executor == "sync" else batch}]
    configured = next(way for way in ways if way.executor == "sync" and way.pack == packs.live)
    return tuple(replace(way, configured=way is configured) for way in ways)


def _ways(prompt: Prompt, facts: ModelFacts, shown: Sequence[Shown], evidence: Evidence) -> list[Way]:
    """The ways with this prompt, the cached one first, where the model would cache it."""
    prefix = evidence.prompt_tokens.get(prompt.version) or prompt_tokens_estimate(prompt.task, packed=prompt.packed)
    can_cache = prefix >= facts.cache_minimum
    echo = ECHO_TOKENS if prompt.packed else 0
    cached, plain, batch = _Sum(), _Sum(), _Sum()
    for group in pack_texts(shown, prompt.pack):
        arguments = prepare(prompt, facts, facts.id, group).arguments
        worst = worst_case(arguments, facts)
        fresh = _fresh_tokens(prompt, group, evidence)
        output = round((evidence.output_tokens + (0 if evidence.answers else echo)) * len(group))
        written, read = (0, prefix) if cached.requests else (prefix, 0)
        cached.add(facts.cost(fresh, written, read, output), worst)
        plain.add(facts.cost(prefix + fresh, 0, 0, output), worst)
        batch.add(facts.cost(prefix + fresh, 0, 0, output, batch=True), worst_case(arguments, facts, batch=True))
    rows: list[tuple[Literal["sync", "batch"], bool, _Sum]] = [("sync", True, cached)] if can_cache else []
    rows += [("sync", False, plain), ("batch", False, batch)]
    return [
        Way(executor, prompt.pack, is_cached, one.requests, one.dollars, one.worst, configured=False)
        for executor, is_cached, one in rows
    ]


def _fresh_tokens(prompt: Prompt, group: Sequence[Shown], evidence: Evidence) -> int:
    """About how many tokens of a request are not part of the prompt that all share."""
    texts = sum(math.ceil(len(text.body) / evidence.chars_per_token) for text in group)
    return REQUEST_TOKENS + texts + (ENTRY_TOKENS * len(group) if prompt.packed else 0)
