"""`compare`: two prompts, models or classifiers on the same texts, before one of them is chosen for all."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.classifiers.base import Classifier
from etl.cli import options, wiring
from etl.cli.output import (
    beside,
    check_apart,
    is_standard_output,
    outcome_values,
    print_error,
    print_json,
    print_line,
    stop,
    write_file,
)
from etl.cli.pipeline_commands import Session, begin, command_line, recorded
from etl.cli.progress import make_progress
from etl.cli.tables import make_table, print_table
from etl.db.queries.trials import LedgerAnswer
from etl.errors import ConfigurationError
from etl.pipeline import Plan, RunOutcome, run
from etl.stages.spending import Caps
from etl.stages.trials import Trial, TrialPlan, Variant
from etl.tasks import Task, parse_task

if TYPE_CHECKING:
    from etl.evaluate.comparison import Comparison, Said, SideSummary

_MOST_SHOWN = 20
_MOST_CELLS = 12
_FREE = ("rules", "local")


@stop
def compare_command(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="current (the answers that count), a model's name, rules, local, a task file, or MODEL@FILE.toml.",
        ),
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The other; likewise.")],
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="The question.")],
    sample: options.TextSample = 200,
    repo: options.Repositories = None,
    max_cost_usd: options.MaxCost = None,
    html: options.Html = None,
    dry_run: options.DryRun = False,
    deadline: options.Deadline = None,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Compare two prompts, models or classifiers on the same texts: what moves, and what each costs.

    What has to be asked is asked for trial: it is kept with its cost, and no document ever shows it. Asked again, the
    same comparison costs nothing.

    Example: issuetide compare current drafts/issue_kind.toml --task issue_kind --max-cost-usd 0.10
    """
    check_apart(html, "--html", as_json=as_json)
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    with recorded(session, tuple(repo or ()), dry_run=dry_run):
        (today,) = wiring.choose_tasks(session.settings, [task])
        sides = [_make_variant(session, word, today, max_cost_usd) for word in (first, second)]
        plan = Plan(
            command=command_line(),
            tasks=(today,),
            repositories=tuple(repo or ()),
            trial=TrialPlan(today, sides[0], sides[1], sample, session.deadline),
            caps=_caps(session, max_cost_usd, sides),
            deadline=session.deadline,
        )
    with closing(wiring.open_store(session.settings, dry_run=dry_run)) as store:
        outcome = run(store, plan, make_progress())
    comparison = None if outcome.trial is None or dry_run else compare_trial(outcome.trial)
    if html is not None and comparison is not None:
        _write_page(html, comparison)
    with beside(html):
        _print_outcome(outcome, comparison, html, as_json=as_json)
    return outcome.exit_code


def _make_variant(session: Session, word: str, today: Task, max_cost_usd: float | None) -> Variant:
    """The side that a person called `word`.

    Raises:
        ConfigurationError: it is nothing that answers, or a file of another task.
    """
    if word == "current":
        return Variant(word, today)

    def make(name: str, model: str | None) -> Classifier:
        return wiring.make_classifier(session.settings, name, model, max_cost_usd, session.deadline)

    if word in _FREE:
        return Variant(word, today, make(word, None))
    model, mark, path = word.rpartition("@")
    if path.endswith(".toml"):
        return Variant(word, _read_task(path, today), make("claude", model or None))
    if mark or not word.startswith("claude-"):
        raise ConfigurationError(
            f"{word!r} names nothing that answers: write current, rules, local, a model (claude-…), a task file"
            " (FILE.toml), or MODEL@FILE.toml"
        )
    return Variant(word, today, make("claude", word))


def _read_task(path: str, today: Task) -> Task:
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{path[:200]}: cannot be read: {reason}") from None
    task = parse_task(content, path)
    if task.name != today.name:
        raise ConfigurationError(f"{path}: is task {task.name!r}, not {today.name!r} of --task")
    if task.input != today.input:
        raise ConfigurationError(
            f"{path}: `input` is {task.input!r}, that of today's file {today.input!r}: these are other texts, on which"
            " nothing can be compared"
        )
    return task


def _caps(session: Session, max_cost_usd: float | None, sides: Sequence[Variant]) -> Caps:
    """The caps of both sides together; each side's model must have a price."""
    caps = [
        wiring.plan_caps(session.settings, max_cost_usd, side.classifier)
        for side in sides
        if side.classifier is not None
    ]
    return caps[0] if caps else Caps()


def _print_outcome(outcome: RunOutcome, comparison: "Comparison | None", html: Path | None, *, as_json: bool) -> None:
    trial = outcome.trial
    if as_json:
        print_json(_values(outcome, comparison))
    elif comparison is not None and trial is not None:
        print_comparison(comparison, trial)
    elif trial is not None:
        for side in (trial.first, trial.second):
            print_line(
                f"{side.name}: {side.reused:,} answers of {len(trial.sample):,} are in the ledger, {side.to_ask:,} are"
                f" to be asked for, about ${side.estimated_usd:.4f}"
            )
    if html is not None and comparison is not None and not as_json and not is_standard_output(html):
        print_line(f"wrote {html}")
    if outcome.error:
        print_error(outcome.error)


def _values(outcome: RunOutcome, comparison: "Comparison | None") -> dict[str, Any]:
    values: dict[str, Any] = outcome_values(outcome)
    kept = {name: values[name] for name in ("run_id", "status", "exit_code", "seconds", "cost_usd", "error", "notes")}
    if outcome.trial is not None:
        kept["sides"] = [
            {"name": side.name, "asked": side.asked, "reused": side.reused, "to_ask": side.to_ask}
            | {"estimated_usd": side.estimated_usd}
            for side in (outcome.trial.first, outcome.trial.second)
        ]
    return {**kept, "comparison": None if comparison is None else asdict(comparison)}


def compare_trial(trial: Trial) -> "Comparison":
    """What a trial shows."""
    from etl.evaluate.comparison import AskedText, compare_answers

    texts = [
        AskedText(
            entry.text.text_hash,
            entry.items,
            _said(trial.first.answers.get(entry.text.id)),
            _said(trial.second.answers.get(entry.text.id)),
        )
        for entry in trial.sample
    ]
    return compare_answers(trial.tasks, (trial.first.name, trial.second.name), texts)


def _said(answer: LedgerAnswer | None) -> "Said | None":
    from etl.evaluate.comparison import Said

    if answer is None:
        return None
    model = f"{answer.model} ({answer.prompt_version})"
    categories, confidences = tuple(answer.categories), tuple(answer.confidences)
    return Said(answer.outcome, categories, confidences, answer.rationale, model, answer.cost_usd)


def _write_page(path: Path, comparison: "Comparison") -> None:
    from etl.report.comparison import render_comparison

    write_file(path, render_comparison(comparison), "--html")


def print_comparison(comparison: "Comparison", trial: Trial) -> None:
    """A comparison on the terminal; of what moved the first twenty."""
    from etl.report.comparison import agreement_words

    first, second = comparison.first, comparison.second
    print_line(f"task {comparison.task}: A is {first.name}, B is {second.name}")
    print_line(agreement_words(comparison), before="  ")
    for letter, summary, side in (("A", first, trial.first), ("B", second, trial.second)):
        known = f"{side.asked:,} asked now, {side.reused:,} in the ledger before"
        print_line(f"{letter}: {_side_words(summary)}; {known}", before="  ")
    _print_tables(comparison)
    for moved in comparison.moved[:_MOST_SHOWN]:
        print_line(f"{', '.join(moved.items) or moved.text_hash}: {moved.first_words} → {moved.second_words}")
        print_line(f"A ({_confidence(moved.first)}): {moved.first.rationale}", before="    ")
        print_line(f"B ({_confidence(moved.second)}): {moved.second.rationale}", before="    ")
    if len(comparison.moved) > _MOST_SHOWN:
        print_line(f"… and {len(comparison.moved) - _MOST_SHOWN:,} more that moved (--json and --html have all)")


def _side_words(summary: "SideSummary") -> str:
    from etl.report.comparison import cost_words

    models = ", ".join(f"{model}: {count:,}" for model, count in summary.models.items())
    return f"{summary.answered:,} answered, {cost_words(summary)} per 1,000 texts; {models}"


def _confidence(said: "Said") -> str:
    return f"{said.confidences[0]:.2f}" if said.confidences else said.outcome


def _print_tables(comparison: "Comparison") -> None:
    from rich.console import Console

    from etl.report.comparison import shift_rows

    console = Console()
    table = make_table("", "category", "A", "B", "both", "only A", "only B", "kappa")
    for row in shift_rows(comparison):
        table.add_row(*row)
    print_table(console, table)
    names = sorted({word for one, other, _ in comparison.cells for word in (one, other)})
    if not comparison.moved or len(names) > _MOST_CELLS:
        return
    counts = {(one, other): count for one, other, count in comparison.cells}
    matrix = make_table("A down, B across", "", *names)
    for one in names:
        matrix.add_row(one, *(f"{counts[one, other]:,}" if (one, other) in counts else "·" for other in names))
    print_table(console, matrix)
