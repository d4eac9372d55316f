r"""What must be equal before a text may inherit the answer of another of its family: a table, as `etl.dedup.rules`.

A family's skeleton has a star for every value and name. Most of them do not matter to what a text is about; those that
the rows below find do: exit codes, signals, statuses, diagnostics, exceptions, versions, tests, quoted names, hosts.
Two texts are of one kin when skeleton and guards are the same, the guards in the same order (`expected 200 but got
500` is not `expected 500 but got 200`). Whatever is in doubt is a guard: it costs a request, not a wrong answer.

Read over a normalized text: every digit that is left in one means something, what only counts is `<n>` by then. What
moves a kin is covered by `RULES_VERSION`, like the ids. The rules for writing a row are those of `etl.dedup.rules`.
"""

import re
from functools import cache
from hashlib import blake2b
from typing import Final

from etl.dedup.normalize import normalize, skeleton
from etl.dedup.numbers import CODE_ENDINGS
from etl.dedup.rules import KEEPERS, RULES_VERSION

_TOKEN = r"[^\s\"'`,;()\[\]{}<>|=]"  # noqa: S105  (a part of a word, no secret)
_CODE_KEYS = "|".join(re.escape(ending) for ending in CODE_ENDINGS)

GUARDS: tuple[tuple[str, str], ...] = (
    ("text in double quotes", r'"[^"\n]{1,300}"'),
    ("text in single quotes", r"'(?<!\w.)[^'\n]{1,300}'(?!\w)"),
    ("text in backticks", r"`[^`\n]{1,300}`"),
    ("word with a figure", rf"{_TOKEN}(?<!{_TOKEN}.)(?:(?<=\d)|{_TOKEN}{{0,300}}?\d){_TOKEN}{{0,300}}"),
    ("comparison with a version", r"[<>!~=^]{1,2} ?\d[\w.]{0,60}"),
    (
        "exception",
        r"[A-Za-z_](?<![\w.].)[\w.]{0,200}(?:Error|Exception|Warning|Fault|Failure|Panic|Abort|Timeout|Interrupt|Exit|Killed)(?!\w)",
    ),
    ("signal, errno, or other word in capitals", r"[A-Z](?<!\w.)[A-Z]{2,30}(?:_[A-Z]{1,30}){0,8}(?!\w)"),
    (
        "value of a code",
        rf"(?<![\w-])[\w-]{{0,40}}?(?i:{_CODE_KEYS})=[^\s,;=()\[\]{{}}]{{1,100}}",
    ),
    ("host", r"://[\w.-]{1,253}"),
    ("word for a value", r"(?<![\w*])(?:true|false|null|nil|None|NULL|True|False|TRUE|FALSE)(?![\w*])"),
    *((rule.name, rule.pattern) for rule in KEEPERS),
)
"""What is looked for, and how. A row may find again what another has found: the more is compared."""

_LEAST_WORDS: Final = 5
"""A skeleton with fewer plain words says too little to hand an answer on."""

_WORD = re.compile(r"(?<![\w*.-])[A-Za-z]{2,40}(?![\w*])", re.ASCII)


@cache
def _rows() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.ASCII) for _, pattern in GUARDS)


def guard_tokens(normalized: str) -> tuple[str, ...]:
    """What a normalized text must have in common with another of its family, in the order of the text."""
    found = {
        (match.start(), match.group().rstrip(".:!?")) for pattern in _rows() for match in pattern.finditer(normalized)
    }
    return tuple(token for _, token in sorted(found))


def kin_hash(text: str) -> str | None:
    """The id of a text's kin: the part of its family with the same guards; None where the family says too little.

    The version of the rules and 128 bits, as the other ids; equal ids imply equal families.
    """
    normalized = normalize(text)
    frame = skeleton(normalized)
    if len(_WORD.findall(frame)) < _LEAST_WORDS:
        return None
    parts = "\0".join((frame, *guard_tokens(normalized)))
    return f"{RULES_VERSION}:{blake2b(parts.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
