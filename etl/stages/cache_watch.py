"""Watches whether the vendor's prompt cache is read, as answers arrive: silence there can cost ten times as much."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from etl.records import Answer
from etl.stages.base import Tally

_log = logging.getLogger(__name__)

LIFETIME_SECONDS = 240.0
"""A prompt that was used so long ago is cached still: five minutes, less the time that a request takes."""

_MISSES = 3
"""After so many requests in a row that could have read the cache and did not, it is said."""


@dataclass(slots=True)
class _Prompt:
    """What was seen of one prompt. last_seen: when its last answer came; request_id: of that."""

    misses: int = 0
    written: int = 0
    last_seen: float | None = None
    request_id: str | None = None
    settled: bool = False


class CacheWatch:
    """Looks at every paid answer of a run; says once per prompt that its cache stays unread, also in the run's notes.

    clock: seconds; for tests.
    """

    def __init__(self, tally: Tally, clock: Callable[[], float] = monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._prompts: dict[str, _Prompt] = {}

    def see(self, answer: Answer, task: str) -> None:
        """Takes an answer to `task` into account; those of batches, whose cache nobody promises, are passed over."""
        if answer.usage is None or answer.batch_id is not None:
            return
        prompt = self._prompts.setdefault(answer.prompt_version, _Prompt())
        shares_request = answer.request_id is not None and answer.request_id == prompt.request_id
        if prompt.settled or shares_request:
            return
        now = self._clock()
        if answer.usage.cache_read_tokens:
            prompt.settled = True
        elif prompt.last_seen is not None and now - prompt.last_seen < LIFETIME_SECONDS:
            prompt.misses += 1
        prompt.written += answer.usage.cache_write_tokens
        prompt.last_seen, prompt.request_id = now, answer.request_id
        if prompt.misses >= _MISSES:
            prompt.settled = True
            self._tell(answer, task, prompt)

    def _tell(self, answer: Answer, task: str, prompt: _Prompt) -> None:
        if prompt.written:
            _log.warning(
                "prompt cache is written and never read task=%s model=%s prompt=%s requests=%d",
                task,
                answer.model,
                answer.prompt_version,
                prompt.misses + 1,
            )
            found = "is written to the cache and never read"
        else:  # the classifier has said so already, with the model's minimum
            found = "is not cached at all"
        self._tally.remarks.append(
            f'the prompt of task {task} {found} by {answer.model}: see "Prompt cache" in docs/classification.md'
        )
