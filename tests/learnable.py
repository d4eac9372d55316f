"""Made-up issues that a small model can learn to tell apart, with some that nobody can."""

import random

KINDS = {
    "bug": (
        ("{noun} crashes {when}", "{noun} is broken {when}", "Wrong result of {noun} {when}", "Error in {noun} {when}"),
        ("It fails with an error {when}.", "Steps to reproduce: open {noun}, wait.", "Since the update it hangs."),
    ),
    "feature": (
        ("Add support for {noun} {when}", "Allow {noun} {when}", "Feature request: {noun}", "Option for {noun} {when}"),
        ("It would be nice to have {noun}.", "Please add an option for {noun}.", "I would like {noun} to do more."),
    ),
    "question": (
        ("How do I use {noun} {when}?", "What is {noun} for?", "Is {noun} possible {when}?", "Help with {noun}"),
        ("I am trying to use {noun}, any idea?", "Can someone explain {noun}?", "What am I doing wrong?"),
    ),
}
_NOUNS = ("the parser", "the cache", "the lexer", "the router", "the shell", "the panel", "the socket", "the index")
_WHEN = ("on start", "after sleep", "in a loop", "with proxies", "on ARM", "without network", "under load", "at night")


def make_issue(kind: str, number: int) -> str:
    """The text of an issue of a kind; the same number gives the same text, another one another."""
    chance = random.Random(f"{kind} {number}")
    titles, sentences = KINDS[kind]
    words = {"noun": chance.choice(_NOUNS), "when": chance.choice(_WHEN)}
    body = " ".join(chance.sample(sentences, 2)).format(**words)
    return f"{chance.choice(titles).format(**words)}\n\n{body} Case {number} of {chance.choice(_NOUNS)}."


def make_examples(each: int, noise: int = 0) -> list[tuple[str, str]]:
    """Texts with their kinds, `each` of every kind; of each kind `noise` are called something else."""
    names = list(KINDS)
    found = []
    for place, kind in enumerate(names):
        for number in range(each):
            said = kind if number >= noise else names[(place + 1) % len(names)]
            found.append((make_issue(kind, number), said))
    return found
