"""Signatures of long texts: the same everywhere, and near where texts are near."""

import random
import subprocess
import sys

import pytest

from etl import near
from etl.errors import ConfigurationError

WORDS = [
    f"{first}{middle}{last}" for first in "bdkmrst" for middle in "aeiou" for last in ("l", "n", "rk", "sto", "vin")
]


def body(seed: int, words: int = 300) -> str:
    """A long text of its own, in lines of ten words."""
    chosen = random.Random(seed).choices(WORDS, k=words)
    return "\n".join(" ".join(chosen[place : place + 10]) for place in range(0, words, 10))


def changed(text: str, share: float, seed: int = 0) -> str:
    """The text with a share of its words replaced."""
    picker = random.Random(seed)
    words = text.split(" ")
    for place in picker.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = "replaced"
    return " ".join(words)


def signature(text: str) -> near.Signature:
    found = next(near.sign([text]))
    assert found is not None
    return found


def meet(one: near.Signature, other: near.Signature) -> bool:
    return bool(set(one.bands) & set(other.bands))


def test_a_signature_is_fixed_for_ever() -> None:
    """Where this moves, stored signatures are of another kind: raise what `SIGNATURE_VERSION` is made of."""
    found = near._signature(bytes(range(256)) * 2)
    assert found.bands[0] == 5661294052444562721
    assert near._factors()[0][:3] == [1139507483, 2360303839, 2659566963]
    assert near._factors()[1][-2:] == [2121300582, 3802314400]
    assert signature(body(1)).values[:8].hex() == "06269c00da710400"


def test_a_signature_is_the_same_in_another_process_with_another_seed() -> None:
    program = "import sys; from etl import near; print(next(near.sign([sys.stdin.read()])).values.hex())"
    for seed in ("0", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=body(1),
            env={"PYTHONHASHSEED": seed, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == signature(body(1)).values.hex()


def test_values_that_differ_from_run_to_run_change_nothing() -> None:
    one = body(2) + "\nworker-17 exited with code 137 after 20s at 0x7f8b9c0a1234"
    other = body(2) + "\nworker-3 exited with code 137 after 300s at 0x7f0000001000"
    assert signature(one) == signature(other)


@pytest.mark.parametrize("seed", range(20))
def test_an_edited_copy_meets_its_original_and_scores_high(seed: int) -> None:
    original, copy = signature(body(seed)), signature(changed(body(seed), 0.02, seed))
    assert meet(original, copy)
    assert near.score(original.values, copy.values) >= near.MIN_SCORE


def test_nearly_all_copies_with_an_introduction_are_found() -> None:
    found = 0
    for seed in range(100):
        one, other = signature(body(seed)), signature(body(1000 + seed, 30) + "\n" + body(seed))
        found += meet(one, other) and near.score(one.values, other.values) >= near.MIN_SCORE
    assert found >= 90


def test_other_texts_are_not_near() -> None:
    signed = [signature(body(seed)) for seed in range(60)]
    pairs = [(one, other) for place, one in enumerate(signed) for other in signed[:place]]
    assert not [1 for one, other in pairs if near.score(one.values, other.values) >= 0.5]
    assert not [1 for one, other in pairs if meet(one, other)]


def test_a_text_scores_one_with_itself_and_the_score_has_no_direction() -> None:
    one, other = signature(body(1)).values, signature(changed(body(1), 0.05)).values
    assert near.score(one, one) == 1.0
    assert near.score(one, other) == near.score(other, one) < 1.0


@pytest.mark.parametrize(
    "text",
    ["", "short", body(1, 50), "\u200b" * 1000 + body(1, 50), "7 " * 300, "x" * 500, "\ud800 " * 400, "\x00 a" * 400],
)
def test_a_text_that_is_short_once_normalized_or_repeats_itself_is_not_signed(text: str) -> None:
    assert next(near.sign([text])) is None


def test_broken_characters_in_a_long_text_do_no_harm() -> None:
    assert next(near.sign([body(1) + "\ud800\x00"])) is not None


def test_without_the_library_the_way_to_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    near._library.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[near\]'") as caught:
        list(near.sign([body(1)]))
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    near.check_installed()
