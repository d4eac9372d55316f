"""How alike two long texts are: MinHash over runs of three words of the normalized text, a suggestion and no id.

A short line differs from another by the one word that matters, so only long texts are compared; among them an edited
copy keeps most of its runs of words. The library that computes signatures (datasketch, with numpy and scipy 220 MB) is
the extra `near` and imported when the first text is signed. Permutations and hash function are our own and fixed: a
signature is the same on every machine and for ever, whatever a later numpy draws from a seed.
"""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from typing import Any, Final

from etl.dedup import RULES_VERSION, normalize
from etl.errors import ConfigurationError, install_words

SIGNATURE_VERSION: Final = 1_000 * RULES_VERSION + 1
"""Of all that moves a signature, the rules of dedup included. Texts signed under an older one are signed anew."""

MIN_CHARS: Final = 400
"""A normalized text shorter than this, or one that says the same few words over and over, is compared with nobody."""

MIN_SCORE: Final = 0.8
"""From this estimated share of common runs of words on, two texts are near."""

PERMUTATIONS: Final = 128
_BANDS: Final = 16
_ROWS: Final = PERMUTATIONS // _BANDS
_WORDS: Final = 3
_LEAST_SHINGLES: Final = 40
_MISSING: Final = f"near-duplicates need datasketch, which is not installed; run {install_words('near')}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A text's smallest hash under each permutation, four bytes each, and the keys under which alike texts meet.

    Two texts of which four fifths of all runs of words are common meet under one of their 16 keys in 95 of 100 cases,
    two with nine tenths always; two with half in 6.
    """

    values: bytes
    bands: tuple[int, ...]


def sign(texts: Iterable[str]) -> Iterator[Signature | None]:
    """The signature of each text, in order; None for one that is too short to be compared.

    Raises:
        ConfigurationError: the extra `near` is not installed.
    """
    minhash, settings = _library()
    for text in texts:
        normalized = normalize(text)
        shingles = _shingles(normalized) if len(normalized) >= MIN_CHARS else set()
        if len(shingles) < _LEAST_SHINGLES:
            yield None
            continue
        signed = minhash(**settings)
        signed.update_batch(shingles)
        yield _signature(signed.hashvalues.astype("<u4").tobytes())


def check_installed() -> None:
    """Passes where texts can be signed.

    Raises:
        ConfigurationError: the extra `near` is not installed.
    """
    if find_spec("datasketch") is None:
        raise ConfigurationError(_MISSING)


def score(one: bytes, other: bytes) -> float:
    """The estimated share of runs of words that two signed texts have in common: 0..1, in steps of a 128th."""
    return sum(a == b for a, b in zip(_numbers(one), _numbers(other), strict=True)) / PERMUTATIONS


def _shingles(text: str) -> set[bytes]:
    """Every run of three words."""
    words = text.split()
    return {" ".join(words[place : place + _WORDS]).encode() for place in range(len(words) - _WORDS + 1)}


def _signature(values: bytes) -> Signature:
    width = 4 * _ROWS
    keys = (
        blake2b(values[place * width : (place + 1) * width], digest_size=8, salt=str(place).encode())
        for place in range(_BANDS)
    )
    return Signature(values, tuple(int.from_bytes(key.digest(), "little", signed=True) for key in keys))


def _hash(shingle: bytes) -> int:
    return int.from_bytes(blake2b(shingle, digest_size=4).digest(), "little")


def _numbers(values: bytes) -> Sequence[int]:
    numbers = array("I", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _factors() -> tuple[list[int], list[int]]:
    """What every permutation multiplies by, which must be odd, and adds: 32 bits each, from BLAKE2b."""
    drawn = [_hash(f"issuetide near {place}".encode()) for place in range(2 * PERMUTATIONS)]
    return [number | 1 for number in drawn[:PERMUTATIONS]], drawn[PERMUTATIONS:]


@cache
def _library() -> tuple[Any, dict[str, Any]]:
    """The class of MinHash, and what every one of ours is made with."""
    try:
        import numpy as np
        from datasketch import MinHash
    except ImportError:
        raise ConfigurationError(_MISSING) from None
    return MinHash, {
        "num_perm": PERMUTATIONS,
        "hashfunc": _hash,
        "permutations": np.array(_factors(), dtype=np.uint32),
        "scheme": "affine32",
    }
