"""The options that several commands share, each said once."""

from typing import Annotated

import typer

_MOST = 1_000_000_000

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
    str, typer.Option("--kinds", help="What is stored: issue, pull_request, or both with a comma between.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, max=_MOST, metavar="N", help="Only the N newest issues; the next full run is not affected."
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
    str, typer.Option("--classifier", help="claude, rules (offline), or auto: claude where ANTHROPIC_API_KEY is set.")
]
Model = Annotated[str | None, typer.Option("--model", help="The Anthropic model; default ISSUETIDE_MODEL.")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost-usd", min=0.0, help="Stop before this many dollars are spent.")
]
MaxItems = Annotated[
    int | None, typer.Option("--max-items", min=1, max=_MOST, help="Ask about at most this many texts.")
]
Deadline = Annotated[
    float | None, typer.Option("--deadline", min=0.0, metavar="MINUTES", help="End by then, also when waiting.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Read and compute everything, write nothing, ask no paid service; say what it would cost."
    ),
]
OutcomeJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LogFormat = Annotated[str, typer.Option("--log-format", help="text or json, one line per stage on standard error.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also log details.")]
