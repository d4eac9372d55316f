"""`run` and the stages as commands of their own: `fetch`, `classify`, `export`; and `demo`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from etl import errors
from etl.cli import wiring
from etl.cli.output import print_demo_end, print_outcome, stop
from etl.cli.progress import make_progress, set_up_logging
from etl.db.store import Store
from etl.pipeline import Fetch, Outcome, Plan, run
from etl.records import Kind, Scope
from etl.settings import Settings, read_settings

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
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")]
LogFormat = Annotated[str, typer.Option("--log-format", help="text or json, one line per stage on standard error.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also log details.")]


@dataclass(frozen=True, slots=True)
class _Output:
    """How a command reports: as text or JSON, with which log."""

    as_json: bool
    log_format: str
    verbose: bool

    def begin(self) -> None:
        """Sets up the log, or stops for a format that is unknown."""
        if self.log_format not in {"text", "json"}:
            raise errors.ConfigurationError(f"--log-format {self.log_format} is unknown; use text or json")
        set_up_logging(self.log_format, verbose=self.verbose)


def _kinds(words: str) -> tuple[Kind, ...]:
    kinds = tuple(word.strip() for word in words.split(",") if word.strip())
    for kind in kinds:
        if kind not in {"issue", "pull_request"}:
            raise errors.ConfigurationError(f"--kinds {kind!r} is unknown; use issue, pull_request, or both")
    if not kinds:
        raise errors.ConfigurationError("--kinds names none; use issue, pull_request, or both")
    return cast("tuple[Kind, ...]", kinds)


def _finish(store: Store, plan: Plan, output: _Output, *, chart: bool | None = None) -> Outcome:
    """Runs the plan and prints its outcome, with a chart where a person is looking (or `chart` says so)."""
    try:
        outcome = run(store, plan, make_progress())
        shown = sys.stdout.isatty() if chart is None else chart
        print_outcome(store, plan, outcome, as_json=output.as_json, chart=shown)
    finally:
        store.close()
    return outcome


def _command_line() -> str:
    return " ".join(["issuetide", *sys.argv[1:]])


@stop
def run_command(
    repo: Repositories = None,
    task: Tasks = None,
    label: Labels = None,
    kinds: Kinds = "issue",
    limit: Limit = None,
    no_comments: NoComments = False,
    skip_fetch: Annotated[bool, typer.Option("--skip-fetch", help="Work on what is stored.")] = False,
    input_file: Input = None,
    classifier: ClassifierName = "auto",
    model: Model = None,
    max_cost_usd: MaxCost = None,
    max_items: MaxItems = None,
    deadline: Deadline = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    log_format: LogFormat = "text",
    verbose: Verbose = False,
) -> int:
    """Fetch what changed, classify what is new, export what the dashboards lack. Made to be run every hour.

    The first run loads history, the next ones only what changed. It may be stopped at any moment: the next run goes
    on from there. What the exit codes mean is said in docs/operations.md.

    Example: issuetide run --repo pytorch/pytorch --task user_error --label "oncall: export" --label "oncall: pt2"
    """
    output = _Output(as_json, log_format, verbose)
    output.begin()
    if skip_fetch and input_file is not None:
        raise errors.ConfigurationError("--skip-fetch and --input exclude each other; leave one out")
    settings = read_settings()
    end = wiring.deadline_of(settings, deadline)
    scope = Scope(tuple(repo or ()), tuple(label or ()), _kinds(kinds), not no_comments, limit)
    tasks = wiring.choose_tasks(settings, task or ())
    answering = wiring.make_classifier(settings, classifier, model, max_cost_usd, end)
    fetches = [] if skip_fetch else _fetches(settings, scope, input_file, end)
    store = wiring.open_store(settings, dry_run=dry_run)
    plan = Plan(
        command=_command_line(),
        fetches=fetches,
        tasks=tasks,
        classifier=answering,
        sink=wiring.make_sink(settings, end),
        repositories=scope.repositories,
        labels=scope.labels,
        max_items=max_items if max_items is not None else settings.issuetide_max_items,
        deadline=end,
    )
    return _finish(store, plan, output).exit_code


def _fetches(settings: Settings, scope: Scope, input_file: str | None, end: float) -> Sequence[Fetch]:
    if input_file is not None:
        return wiring.make_file_fetches(input_file, scope)
    return wiring.make_github_fetches(settings, scope, end)


@stop
def fetch_command(
    repo: Repositories = None,
    label: Labels = None,
    kinds: Kinds = "issue",
    limit: Limit = None,
    no_comments: NoComments = False,
    input_file: Input = None,
    deadline: Deadline = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    log_format: LogFormat = "text",
    verbose: Verbose = False,
) -> int:
    """Only fetch: bring what changed at GitHub (or in a file) into PostgreSQL, with its texts and their ids."""
    output = _Output(as_json, log_format, verbose)
    output.begin()
    settings = read_settings()
    end = wiring.deadline_of(settings, deadline)
    scope = Scope(tuple(repo or ()), tuple(label or ()), _kinds(kinds), not no_comments, limit)
    fetches = _fetches(settings, scope, input_file, end)
    store = wiring.open_store(settings, dry_run=dry_run)
    plan = Plan(command=_command_line(), fetches=fetches, repositories=scope.repositories, deadline=end)
    return _finish(store, plan, output).exit_code


@stop
def classify_command(
    repo: Repositories = None,
    task: Tasks = None,
    label: Labels = None,
    classifier: ClassifierName = "auto",
    model: Model = None,
    max_cost_usd: MaxCost = None,
    max_items: MaxItems = None,
    deadline: Deadline = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    log_format: LogFormat = "text",
    verbose: Verbose = False,
) -> int:
    """Only classify: answer the tasks for every stored text that has no answer yet, newest first."""
    output = _Output(as_json, log_format, verbose)
    output.begin()
    settings = read_settings()
    end = wiring.deadline_of(settings, deadline)
    tasks = wiring.choose_tasks(settings, task or ())
    answering = wiring.make_classifier(settings, classifier, model, max_cost_usd, end)
    store = wiring.open_store(settings, dry_run=dry_run)
    plan = Plan(
        command=_command_line(),
        tasks=tasks,
        classifier=answering,
        repositories=tuple(repo or ()),
        labels=tuple(label or ()),
        max_items=max_items if max_items is not None else settings.issuetide_max_items,
        deadline=end,
    )
    return _finish(store, plan, output).exit_code


@stop
def export_command(
    replay_dead_letters: Annotated[
        bool, typer.Option("--replay-dead-letters", help="Also try again what the index refused before.")
    ] = False,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", metavar="FILE", help="Append to this file of JSON lines instead.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    log_format: LogFormat = "text",
    verbose: Verbose = False,
) -> int:
    """Only export: write every document that the OpenSearch index (or a file of JSON lines) lacks."""
    output = _Output(as_json, log_format, verbose)
    output.begin()
    settings = read_settings()
    end = wiring.deadline_of(settings, None)
    sink = wiring.make_sink(settings, end) if jsonl is None else wiring.make_jsonl_sink(jsonl)
    if sink is None:
        raise errors.ConfigurationError(
            "OPENSEARCH_URL is not set; set it (or use `local`, or --jsonl FILE); the documents wait meanwhile"
        )
    store = wiring.open_store(settings, dry_run=dry_run)
    if replay_dead_letters:
        from etl.db.queries.exports import delete_dead_letters

        with store.transaction() as connection:
            delete_dead_letters(connection)
    return _finish(store, Plan(command=_command_line(), sink=sink, deadline=end), output).exit_code


@stop
def demo_command(as_json: Json = False, log_format: LogFormat = "text", verbose: Verbose = False) -> int:
    """Try it all: start local servers, run the whole pipeline on the bundled sample, show what came out.

    Needs nothing but the extra `servers`: no key, no Docker. What it started goes on; `issuetide servers stop` ends it.
    """
    output = _Output(as_json, log_format, verbose)
    output.begin()
    settings = read_settings(database_url=None, opensearch_url=wiring.LOCAL, issuetide_index_prefix="issuetide")
    from etl.cli.server_commands import start_servers
    from etl.demo import sample_path
    from etl.tasks import load_tasks

    start_servers(settings)
    end = wiring.deadline_of(settings, None)
    store = wiring.open_store(settings)
    plan = Plan(
        command=_command_line(),
        fetches=wiring.make_file_fetches(str(sample_path()), Scope()),
        tasks=tuple(load_tasks().values()),
        classifier=wiring.make_classifier(settings, "rules", None, None, end),
        sink=wiring.make_sink(settings, end),
        deadline=end,
    )
    outcome = _finish(store, plan, output, chart=True)
    if not as_json:
        print_demo_end(settings, _issue_to_explain(settings))
    return outcome.exit_code


def _issue_to_explain(settings: Settings) -> str:
    """An issue of the sample that much is known of: the one with the most comments."""
    from etl.db.queries.inspection import select_most_discussed_issue

    store = wiring.open_store(settings)
    try:
        with store.transaction() as connection:
            return select_most_discussed_issue(connection)
    finally:
        store.close()
