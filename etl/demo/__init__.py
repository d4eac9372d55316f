"""The bundled sample for trying Issuetide without a token or a network: invented issues, and people's word on them.

`sample.jsonl` holds objects as GitHub's REST API lists them, one a line, oldest change first, each with the
`repository` (id and full_name) it belongs to: issues and pull requests of three invented repositories from May 2025 to
November 2026, and comments (told by their `issue_url`). Among them is what a pipeline meets in the wild: texts posted
again with other numbers, an issue as an older and a newer edit, disabled tests, null and empty bodies, authors who are
gone, and hostile texts (markup, orders to a classifier, NUL bytes, lone surrogates, bidi controls, 60,000 characters).
Every text was written for this file; the secrets in it are the vendors' documented examples or plainly fake.

`reviews.jsonl` is as invented: judgements of these texts by two annotators who do not exist, so that what shows
people's answers has some to show. Each line is one of a filled-in sheet, as `issuetide review --read` takes it, with
whose it is (`by`) and whether it only measures or wins (`role`: review, override). The reviews were written from the
texts, without sight of the rules' answers; the overrides are of answers that are wrong.
"""

from pathlib import Path

SAMPLE_REPOSITORIES = ("lanternboard/lanternboard", "millrace-build/millrace", "tensorwell/tensorwell")
"""The invented repositories that the sample's issues belong to."""

SAMPLE_ANNOTATORS = ("ana (invented)", "ben (invented)")
"""The invented people who answer in `reviews.jsonl`."""


def sample_path() -> Path:
    """Where the sample is in this installation; reads nothing."""
    return Path(__file__).with_name("sample.jsonl")


def reviews_path() -> Path:
    """Where the invented judgements are in this installation; reads nothing."""
    return Path(__file__).with_name("reviews.jsonl")
