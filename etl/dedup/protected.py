r"""Digits put out of reach of the rules that follow, and put back at the end.

A keeper writes each digit of what it keeps as a control character: normalized text has none of its own
(`etl.dedup.normalize` removes them first), and no rule's `\d`, `\w` or `0-9` matches one.
"""

import re

_DIGITS = "0123456789"
PROTECTED = "\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"
# A string of all ASCII characters as the table: `str.translate` is slow where a dictionary lacks most characters.
_PROTECT = "".join(map(chr, range(128))).replace(_DIGITS, PROTECTED)
_RESTORE = "".join(map(chr, range(128))).replace(PROTECTED, _DIGITS)


def protect(text: str) -> str:
    """The text with its digits out of reach."""
    return text.translate(_PROTECT)


def protect_match(match: re.Match[str]) -> str:
    """What a keeper's row puts in place of its match: the same, its digits out of reach."""
    return match[0].translate(_PROTECT)


def restore(text: str) -> str:
    """The text with every protected digit a digit again."""
    if text.isascii():
        return text.translate(_RESTORE)
    for hidden, digit in zip(PROTECTED, _DIGITS, strict=True):
        text = text.replace(hidden, digit)
    return text
