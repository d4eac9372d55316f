"""One id per distinct problem: pure functions of the text and `RULES_VERSION`, the same on every machine and for ever.

`text_hash` is strict: equal means the same problem, so an answer is reused. `family_hash` is wide: equal means a
candidate, for trends and suggestions.
"""

from dataclasses import dataclass
from hashlib import blake2b

from etl.dedup.normalize import normalize, skeleton
from etl.dedup.rules import RULES_VERSION
from etl.dedup.texts import COMMENT_CHARS, COMMENTS_IN_TEXT, Comment, clean, issue_text, issue_with_comments_text

__all__ = [
    "COMMENTS_IN_TEXT",
    "COMMENT_CHARS",
    "RULES_VERSION",
    "Comment",
    "Fingerprint",
    "clean",
    "family_hash",
    "fingerprint",
    "issue_text",
    "issue_with_comments_text",
    "normalize",
    "skeleton",
    "text_hash",
]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Both ids of one text, and the normalized text they were made of."""

    text_hash: str
    family_hash: str
    normalized: str


def _identify(text: str) -> str:
    """The version and 32 hexadecimal digits of BLAKE2b-128: nobody has texts enough for a collision."""
    return f"{RULES_VERSION}:{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def fingerprint(text: str) -> Fingerprint:
    """Both ids of a text in one pass."""
    normalized = normalize(text)
    return Fingerprint(_identify(normalized), _identify(skeleton(normalized)), normalized)


def text_hash(text: str) -> str:
    """The strict id of a text: two texts with the same id report the same problem."""
    return _identify(normalize(text))


def family_hash(text: str) -> str:
    """The id of a text's family: texts with the same id are alike in everything but values and names."""
    return _identify(skeleton(normalize(text)))
