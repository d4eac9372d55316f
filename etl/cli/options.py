"""The options that several commands share, each said once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

_MOST = 1_000_000_000


def _whole_number(least: int) -> Callable[[str], int]:
    """Reads a whole number from `least` on: typer's own ranges put their limits into every help."""

    def read(word: str) -> int:
        try:
            number = int(word)
        except ValueError:
            raise typer.BadParameter(f"{word!r} is no whole number") from None
        if not least <= number <= _MOST:
            raise typer.BadParameter(f"{word} is not between {least} and {_MOST:,}")
        return number

    return read


def _amount(word: str) -> float:
    """Reads a finite number from 0 on; an endless cap is none, and `nan` is neither above nor below anything."""
    try:
        number = float(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is no number") from None
    if not 0 <= number < math.inf:
        raise typer.BadParameter(f"{word} is not 0 or more, and finite")
    return number


Repositories = Annotated[
    list[str] | None,
    typer.Option("--repo", "-r", metavar="OWNER/NAME", help="A repository to work on; may be given several times."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task", "-t", metavar="NAME", help="A question to ask; several times. `issuetide tasks list` shows all."
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="LABEL", help="Only issues with any of these labels; several times (OR)."),
]
Kinds = Annotated[
    str,
    typer.Option("--kinds", metavar="KINDS", help="What is stored: issue, pull_request, or both with a comma between."),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        parser=_whole_number(1),
        metavar="N",
        help="Only the N newest issues; the next full run is not affected.",
    ),
]
NoComments = Annotated[bool, typer.Option("--no-comments", help="Do not read comments.")]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FILE",
        help="Read .json, .jsonl (also .gz), or - for standard input, instead of GitHub.",
    ),
]
ClassifierName = Annotated[
    str,
    typer.Option(
        "--classifier",
        metavar="NAME",
        help="claude, local (trained here), rules (offline), or auto: claude where ANTHROPIC_API_KEY is set.",
    ),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="The Anthropic model; default ISSUETIDE_MODEL.")
]
MaxCost = Annotated[
    float | None,
    typer.Option("--max-cost-usd", parser=_amount, metavar="DOLLARS", help="Stop before this many dollars are spent."),
]
MaxItems = Annotated[
    int | None,
    typer.Option("--max-items", parser=_whole_number(1), metavar="N", help="Ask about at most N texts."),
]
MaxCalls = Annotated[
    int | None,
    typer.Option("--max-calls", parser=_whole_number(1), metavar="N", help="Send at most N requests to GitHub."),
]
SweepCalls = Annotated[
    int | None,
    typer.Option(
        "--sweep-calls",
        parser=_whole_number(0),
        metavar="N",
        help="Calls per repository that re-read what is stored; default ISSUETIDE_SWEEP_CALLS, 0: none.",
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", parser=_amount, metavar="MINUTES", help="End by then, also when waiting."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Read and compute everything, write nothing, ask no paid service; say what it would cost."
    ),
]
Newest = Annotated[int, typer.Option("--last", parser=_whole_number(1), metavar="N", help="Show the newest N.")]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="HOW",
        help="sync: ask Claude at once; batch: half the price, answers within a day; auto: by how many texts wait.",
    ),
]
Estimate = Annotated[
    bool,
    typer.Option("--estimate", help="Only say what answering what is stored would cost, in every way to ask."),
]
SampleSize = Annotated[
    int, typer.Option("--size", parser=_whole_number(0), metavar="N", help="How many texts are drawn by lot.")
]
LowestSize = Annotated[
    int,
    typer.Option(
        "--lowest",
        parser=_whole_number(0),
        metavar="N",
        help="How many of the least confident of the others are added.",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write one self-contained page; - is standard output."),
]
OutcomeJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
TextSample = Annotated[
    int,
    typer.Option("--sample", parser=_whole_number(1), metavar="N", help="On how many texts; always the same ones."),
]
OlderThan = Annotated[
    int | None,
    typer.Option(
        "--older-than-version",
        parser=_whole_number(1),
        metavar="N",
        help="Only answers to versions of the task before N.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LogFormat = Annotated[
    str,
    typer.Option("--log-format", metavar="FORMAT", help="text or json, one line per stage on standard error."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also log details.")]
