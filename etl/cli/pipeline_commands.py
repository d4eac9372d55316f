"""`run` and the stages as commands of their own: `fetch`, `classify`, `export`; and `demo`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from pydantic import SecretStr

from etl import errors
from etl.classifiers.base import Classifier
from etl.cli import options, wiring
from etl.cli.demo_reviews import store_demo_reviews
from etl.cli.output import print_demo_end, print_demo_outcome, print_error, print_outcome, stop
from etl.cli.progress import make_progress, set_up_logging
from etl.cli.server_commands import start_local_opensearch, start_local_postgres
from etl.cli.spending import print_estimate
from etl.db.queries.exports import delete_dead_letters
from etl.db.queries.inspection import select_most_discussed_issue, select_repository_names
from etl.db.store import Store
from etl.demo import SAMPLE_REPOSITORIES, reviews_path, sample_path
from etl.pipeline import Fetch, Plan, RunOutcome, record_failure, run
from etl.records import Kind, Scope
from etl.settings import Settings, read_settings
from etl.tasks import load_tasks

EXIT_CODES = """\b
Exit codes:
  0    ok
  1    failed unexpectedly
  2    wrong usage
  3    configuration: a person must act
  4    partial: something was left behind and is named
  5    stopped by a budget
  6    stopped by a rate limit
  7    locked: another run has the same scope
  8    a server is unavailable
  130  interrupted
docs/operations.md says what to do about each.
"""


@dataclass(frozen=True, slots=True)
class Session:
    """What every command here begins with: the settings, when to end (`time.monotonic()`), how to report."""

    settings: Settings
    deadline: float
    as_json: bool


def begin(
    log_format: str,
    *,
    as_json: bool,
    verbose: bool,
    minutes: float | None = None,
    **overrides: Any,  # noqa: ANN401  (settings)
) -> Session:
    """Sets up the log, then reads the settings; `overrides` win over what they say.

    Raises:
        ConfigurationError: the log's format is unknown, or a setting is malformed.
    """
    if log_format not in {"text", "json"}:
        raise errors.ConfigurationError(f"--log-format {log_format} is unknown; use text or json")
    set_up_logging(log_format, verbose=verbose)
    settings = read_settings(**overrides)
    return Session(settings, wiring.deadline_of(settings, minutes), as_json)


def _finish(session: Session, store: Store, plan: Plan, *, chart: bool | None = None) -> RunOutcome:
    """Runs the plan and prints its outcome, with a chart where a person is looking (or `chart` says so)."""
    try:
        outcome = run(store, plan, make_progress())
        shown = sys.stdout.isatty() if chart is None else chart
        is_index_set = session.settings.opensearch_url is not None
        print_outcome(store, plan, outcome, as_json=session.as_json, chart=shown, is_index_set=is_index_set)
    finally:
        store.close()
    return outcome


def command_line() -> str:
    """How the user called the command, for the run's record."""
    return " ".join(["issuetide", *sys.argv[1:]])


@contextmanager
def recorded(session: Session, repositories: Sequence[str], *, dry_run: bool) -> Iterator[None]:
    """Lets a run that cannot even begin leave its record: a token or an address may be wrong hour after hour.

    Where there is no database to write it into, only the message is left.
    """
    try:
        yield
    except errors.StopError as stop:
        with suppress(errors.IssuetideError):
            url = None if dry_run else wiring.find_running_database(session.settings)
            if url is not None:
                with closing(Store(url)) as store:
                    record_failure(store, Plan(command=command_line(), repositories=repositories), stop)
        raise


def _scope(
    repositories: list[str] | None,
    labels: list[str] | None,
    kinds: str,
    limit: int | None,
    *,
    no_comments: bool,
    is_live: bool,
) -> Scope:
    """What is to be read; is_live: from GitHub, which cannot be asked for every label.

    Raises:
        ConfigurationError: a repository, a label or a kind cannot be one.
    """
    from etl.sources.github_json import check_full_name, check_label

    for name in repositories or ():
        check_full_name(name)
    for label in labels or () if is_live else ():
        check_label(label)
    return Scope(tuple(repositories or ()), tuple(labels or ()), parse_kinds(kinds), not no_comments, limit)


def parse_kinds(words: str) -> tuple[Kind, ...]:
    """The kinds of items that --kinds names.

    Raises:
        ConfigurationError: one is unknown, or none is named.
    """
    kinds = tuple(word.strip() for word in words.split(",") if word.strip())
    for kind in kinds:
        if kind not in {"issue", "pull_request"}:
            raise errors.ConfigurationError(f"--kinds {kind!r} is unknown; use issue, pull_request, or both")
    if not kinds:
        raise errors.ConfigurationError("--kinds names none; use issue, pull_request, or both")
    return cast("tuple[Kind, ...]", kinds)


def _fetches(session: Session, scope: Scope, input_file: str | None, max_calls: int | None) -> Sequence[Fetch]:
    if input_file is not None:
        return wiring.make_file_fetches(input_file, scope)
    return wiring.make_github_fetches(session.settings, scope, session.deadline, max_calls)


def answers_with(
    session: Session, name: str, model: str | None, max_cost_usd: float | None, *, estimate: bool
) -> Classifier:
    """The classifier called `name`; for an estimate, which asks nobody, claude needs no key."""
    settings = session.settings
    if estimate and settings.anthropic_api_key is None:
        settings = settings.model_copy(update={"anthropic_api_key": SecretStr("none")})
    return wiring.make_classifier(settings, name, model, max_cost_usd, session.deadline)


def _show_estimate(session: Session, plan: Plan) -> int:
    """Works on what is stored, in a dry run without anything but the estimate."""
    with closing(wiring.open_store(session.settings, dry_run=True)) as store:
        only = replace(plan, fetches=(), sweep=None, sink=None, near=False, estimate=True)
        outcome = run(store, only, make_progress())
        print_estimate(store, only, outcome, session.settings, as_json=session.as_json)
    if outcome.error:
        print_error(outcome.error)
    return outcome.exit_code


def _most_texts(settings: Settings, max_items: int | None) -> int | None:
    return max_items if max_items is not None else settings.issuetide_max_items


@stop
def run_command(
    repo: options.Repositories = None,
    task: options.Tasks = None,
    label: options.Labels = None,
    kinds: options.Kinds = "issue",
    limit: options.Limit = None,
    no_comments: options.NoComments = False,
    skip_fetch: Annotated[bool, typer.Option("--skip-fetch", help="Work on what is stored.")] = False,
    input_file: options.Input = None,
    classifier: options.ClassifierName = "auto",
    model: options.Model = None,
    max_cost_usd: options.MaxCost = None,
    max_items: options.MaxItems = None,
    max_calls: options.MaxCalls = None,
    sweep_calls: options.SweepCalls = None,
    deadline: options.Deadline = None,
    dry_run: options.DryRun = False,
    estimate: options.Estimate = False,
    executor: options.Executor = None,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Fetch what changed, classify what is new, export the rest. Made to be run every hour.

    The first run loads history, the next ones only what changed. It may be stopped at any moment: the next run goes
    on from there.

    Example: issuetide run --repo pytorch/pytorch --task user_error --label "oncall: export" --label "oncall: pt2"
    """
    if skip_fetch and input_file is not None:
        raise errors.ConfigurationError("--skip-fetch and --input exclude each other; leave one out")
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    settings, end = session.settings, session.deadline
    is_live = not skip_fetch and input_file is None and not estimate
    scope = _scope(repo, label, kinds, limit, no_comments=no_comments, is_live=is_live)
    with recorded(session, scope.repositories, dry_run=dry_run or estimate):
        tasks = wiring.choose_tasks(settings, task or ())
        chosen = answers_with(session, classifier, model, max_cost_usd, estimate=estimate)
        plan = Plan(
            command=command_line(),
            tasks=tasks,
            classifier=chosen,
            fetches=() if skip_fetch or estimate else _fetches(session, scope, input_file, max_calls),
            sweep=wiring.plan_sweep(settings, sweep_calls),
            sink=wiring.make_sink(settings, end),
            repositories=scope.repositories,
            labels=scope.labels,
            index_prefix=settings.issuetide_index_prefix,
            near=wiring.wants_near(settings),
            inherit_audit=wiring.inherit_audit(settings),
            cascade=wiring.plan_cascade(settings, chosen),
            max_items=_most_texts(settings, max_items),
            caps=wiring.plan_caps(settings, max_cost_usd, chosen),
            batching=wiring.plan_batching(settings, chosen, executor, end),
            deadline=end,
        )
    if estimate:
        return _show_estimate(session, plan)
    return _finish(session, wiring.open_store(settings, dry_run=dry_run), plan).exit_code


@stop
def fetch_command(
    repo: options.Repositories = None,
    label: options.Labels = None,
    kinds: options.Kinds = "issue",
    limit: options.Limit = None,
    no_comments: options.NoComments = False,
    input_file: options.Input = None,
    max_calls: options.MaxCalls = None,
    sweep_calls: options.SweepCalls = None,
    replay_rejected: Annotated[
        bool,
        typer.Option(
            "--replay-rejected",
            help="First read again what could not be used before, as a newer release may; alone without --repo.",
        ),
    ] = False,
    deadline: options.Deadline = None,
    dry_run: options.DryRun = False,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Only fetch: bring what changed into PostgreSQL.

    From GitHub or a file; the texts and their ids are made as well.
    """
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    scope = _scope(repo, label, kinds, limit, no_comments=no_comments, is_live=input_file is None)
    only_replay = replay_rejected and not scope.repositories and input_file is None
    with recorded(session, scope.repositories, dry_run=dry_run):
        plan = Plan(
            command=command_line(),
            fetches=() if only_replay else _fetches(session, scope, input_file, max_calls),
            sweep=wiring.plan_sweep(session.settings, sweep_calls),
            replay=wiring.resolve("etl.sources.replay:parse_rejected") if replay_rejected else None,
            repositories=scope.repositories,
            deadline=session.deadline,
        )
    return _finish(session, wiring.open_store(session.settings, dry_run=dry_run), plan).exit_code


@stop
def classify_command(
    repo: options.Repositories = None,
    task: options.Tasks = None,
    label: options.Labels = None,
    classifier: options.ClassifierName = "auto",
    model: options.Model = None,
    max_cost_usd: options.MaxCost = None,
    max_items: options.MaxItems = None,
    deadline: options.Deadline = None,
    dry_run: options.DryRun = False,
    estimate: options.Estimate = False,
    executor: options.Executor = None,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Only classify: answer the tasks for what has no answer yet.

    Without --repo that is every stored text, newest first.
    """
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    settings, end = session.settings, session.deadline
    with recorded(session, tuple(repo or ()), dry_run=dry_run or estimate):
        tasks = wiring.choose_tasks(settings, task or ())
        chosen = answers_with(session, classifier, model, max_cost_usd, estimate=estimate)
        plan = Plan(
            command=command_line(),
            tasks=tasks,
            classifier=chosen,
            repositories=tuple(repo or ()),
            labels=tuple(label or ()),
            index_prefix=settings.issuetide_index_prefix,
            inherit_audit=wiring.inherit_audit(settings),
            cascade=wiring.plan_cascade(settings, chosen),
            max_items=_most_texts(settings, max_items),
            caps=wiring.plan_caps(settings, max_cost_usd, chosen),
            batching=wiring.plan_batching(settings, chosen, executor, end),
            deadline=end,
        )
    if estimate:
        return _show_estimate(session, plan)
    return _finish(session, wiring.open_store(settings, dry_run=dry_run), plan).exit_code


@stop
def export_command(
    replay_dead_letters: Annotated[
        bool, typer.Option("--replay-dead-letters", help="Also try again what the index refused before.")
    ] = False,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", metavar="FILE", help="Append to this file of JSON lines instead.")
    ] = None,
    dry_run: options.DryRun = False,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Only export: write every document that the index lacks.

    The index is that of OPENSEARCH_URL, or a file of JSON lines.
    """
    session = begin(log_format, as_json=as_json, verbose=verbose)
    settings, end = session.settings, session.deadline
    with recorded(session, (), dry_run=dry_run):
        sink = wiring.make_sink(settings, end) if jsonl is None else wiring.make_jsonl_sink(jsonl)
        if sink is None:
            raise errors.ConfigurationError(
                "OPENSEARCH_URL is not set; set it (or use `local`, or --jsonl FILE); the documents wait meanwhile"
            )
    store = wiring.open_store(settings, dry_run=dry_run)
    if replay_dead_letters:
        with store.transaction() as connection:
            delete_dead_letters(connection)
    return _finish(session, store, Plan(command=command_line(), sink=sink, deadline=end)).exit_code


@stop
def demo_command(
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also where the embedded database holds issues of your own.")
    ] = False,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Try it all on a bundled sample of invented issues.

    Starts a local PostgreSQL and OpenSearch, runs the whole pipeline with the offline classifier, adds what invented
    people say of the answers, and shows what came out. Needs nothing but the extra `servers`: no key, no Docker. What
    it started goes on; `issuetide servers stop` ends it.
    """
    session = begin(
        log_format,
        as_json=as_json,
        verbose=verbose,
        database_url=None,
        opensearch_url=wiring.LOCAL,
        issuetide_index_prefix="issuetide",
    )
    settings, end = session.settings, session.deadline
    start_local_postgres(settings)
    if not anyway:
        refuse_to_mix(settings)
    start_local_opensearch(settings)
    tasks = load_tasks()
    plan = Plan(
        command=command_line(),
        fetches=wiring.make_file_fetches(str(sample_path()), Scope()),
        tasks=tuple(tasks.values()),
        classifier=wiring.make_classifier(settings, "rules", None, None, end),
        sink=wiring.make_sink(settings, end),
        deadline=end,
    )
    with closing(wiring.open_store(settings)) as store:
        outcome = run(store, plan, make_progress())
        reviews, exported = 0, None
        if outcome.exit_code == errors.EXIT_OK:
            reviews = store_demo_reviews(store, tasks, reviews_path().read_text(encoding="utf-8"))
        if reviews:  # into the documents, too
            exported = run(store, Plan(plan.command, sink=plan.sink, deadline=end), make_progress())
        print_demo_outcome(store, plan, outcome, exported, reviews, as_json=as_json)
    if not as_json:
        print_demo_end(settings, _issue_to_explain(settings))
    return (exported or outcome).exit_code


def refuse_to_mix(settings: Settings) -> None:
    """Keeps invented issues out of real trends.

    Raises:
        ConfigurationError: the embedded database holds other repositories than the sample's.
    """
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        own = sorted(set(select_repository_names(connection)) - set(SAMPLE_REPOSITORIES))
    if own:
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        raise errors.ConfigurationError(
            f"the embedded database in {settings.issuetide_data_dir} holds {own[0]}{more}, and the demo would mix"
            " invented issues in; set ISSUETIDE_DATA_DIR to another folder for the demo, or give --anyway"
        )


def _issue_to_explain(settings: Settings) -> str:
    """An issue of the sample that much is known of: the one with the most comments."""
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        return select_most_discussed_issue(connection)
