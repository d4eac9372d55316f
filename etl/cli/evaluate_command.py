"""`evaluate`: how good answers are, measured on texts whose right answers are known; and calibration by it."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from etl.classifiers.base import Classifier, SigningClassifier
from etl.cli import options, wiring
from etl.cli.evaluate_text import print_evaluation, print_history
from etl.cli.output import (
    beside,
    check_apart,
    outcome_values,
    print_error,
    print_json,
    print_line,
    stop,
    write_file,
)
from etl.cli.pipeline_commands import Session, begin, command_line
from etl.cli.progress import make_progress
from etl.db.queries import evaluations
from etl.db.queries.evaluations import Calibrated, NewEvaluation
from etl.errors import EXIT_FAILED, ConfigurationError
from etl.evaluate.answers import AnswersFile, opened_answers
from etl.evaluate.calibration import Fit, fit, stated_confidences
from etl.evaluate.evaluation import Author, Evaluation, Judged, evaluate, metrics_of, thresholds_of
from etl.evaluate.golden import GoldenSet, read_golden
from etl.pipeline import Plan, RunOutcome, run
from etl.stages.base import Tally
from etl.stages.golden import (
    GoldenPlan,
    collect_annotated,
    find_text_ids,
    golden_stage,
    judge_by_answers,
    judge_by_ledger,
    unanswered_texts,
)
from etl.tasks import Task

LEDGER = "ledger"
_LEAST_PRECISION = 0.01
_HEEDED_BY_HISTORY = frozenset({"task", "history", "as_json"})


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the user asked for. classifier: `LEDGER` or the name of one. model: None for any, or the default."""

    task: Task
    golden: Path | None
    classifier: str
    model: str | None
    answers: Path | None
    precision: float
    max_cost_usd: float | None
    dry_run: bool


@dataclass(frozen=True, slots=True)
class _Judgement:
    """A golden set with the answers to it. disputed: items that people answered about without a majority."""

    golden: GoldenSet
    judged: list[Judged]
    disputed: int = 0


class _Stopped(Exception):  # noqa: N818  (no error: the answers are not complete, and there is nothing to measure)
    """The classifier was not asked about everything. words: what to say of it. code: the exit code."""

    def __init__(self, outcome: RunOutcome, words: str, code: int) -> None:
        super().__init__(words)
        self.outcome, self.words, self.code = outcome, words, code

    def print(self, *, as_json: bool) -> None:
        """Prints why: a plan on standard output, what is missing on standard error; JSON in both cases."""
        if as_json:
            error = self.words if self.code else None
            print_json({**outcome_values(self.outcome), "exit_code": self.code, "error": error})
        if self.code:
            print_error(self.words)
        elif not as_json:
            print_line(self.words)


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is no number") from None
    if not _LEAST_PRECISION <= share <= 1:
        raise typer.BadParameter(f"{word} is not between {_LEAST_PRECISION} and 1")
    return share


@stop
def evaluate_command(
    context: typer.Context,
    task: Annotated[
        list[str] | None, typer.Option("--task", "-t", metavar="NAME", help="The question; with --history several.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            "--golden", metavar="FILE", help="JSON lines with known answers; default: what people answered here."
        ),
    ] = None,
    classifier: Annotated[
        str,
        typer.Option(
            "--classifier", metavar="NAME", help="Whose answers: ledger (those that are stored), or who is asked now."
        ),
    ] = LEDGER,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Only answers by this model; or the one to ask.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="Keeps each answer as it comes; those in it are not asked for."),
    ] = None,
    precision: Annotated[
        float,
        typer.Option("--precision", parser=_share, metavar="SHARE", help="The precision to choose thresholds for."),
    ] = 0.9,
    html: options.Html = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="From now on show what confidences are worth instead of as stated.")
    ] = False,
    uncalibrate: Annotated[
        bool, typer.Option("--uncalibrate", help="Take calibrations of the task back; confidences as stated again.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="List the evaluations that were kept.")] = False,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Keep the result; default yes.")] = True,
    max_cost_usd: options.MaxCost = None,
    deadline: options.Deadline = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> int:
    """Measure answers against known ones: precision, recall, F1, confusion, calibration, coverage, thresholds.

    Without --golden against what people answered (`override`, `review`). Asking a classifier that costs money needs
    --answers FILE: stopped at any moment, the same command goes on from there.

    Example: issuetide evaluate --task issue_kind --golden known.jsonl --classifier rules --html quality.html
    """
    if history:
        _check_alone(context)
        return print_history(task or (), as_json=as_json)
    check_apart(html, "--html", as_json=as_json)
    session = begin("text", as_json=as_json, verbose=False, minutes=deadline)
    if len(task or ()) != 1:
        raise ConfigurationError("name one task with --task; `issuetide tasks list` shows all")
    if calibrate and not save:
        raise ConfigurationError("--calibrate keeps its evaluation: leave --no-save out")
    (chosen,) = wiring.choose_tasks(session.settings, task or ())
    wish = _Wish(chosen, golden, classifier, model, answers, precision, max_cost_usd, dry_run)
    if uncalibrate:
        return _uncalibrate(session, wish)
    try:
        judgement = _judge(session, wish)
    except _Stopped as stopped:
        with beside(html):
            stopped.print(as_json=as_json)
        return stopped.code
    evaluation = _measure(wish, judgement)
    if html is not None:
        _write_page(html, evaluation, chosen.title)
    number = _keep(session, evaluation) if save and not dry_run else None
    fits = _calibrate(session, judgement.judged, chosen, number) if calibrate and number is not None else []
    with beside(html):
        print_evaluation(evaluation, number, judgement.disputed, fits, as_json=as_json)
    return EXIT_FAILED if calibrate and all(entry.problem for _, entry in fits) else 0


def _check_alone(context: typer.Context) -> None:
    """Raises ConfigurationError where more is given than a list of what was kept heeds."""
    given = [
        "/".join([each.opts[0], *each.secondary_opts])
        for each in context.command.params
        if each.name not in _HEEDED_BY_HISTORY and _is_given(context, each.name)
    ]
    if given:
        raise ConfigurationError(
            f"--history lists what was kept and measures nothing: leave it out, or {', '.join(given)}"
        )


def _is_given(context: typer.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name) if name is not None else None
    return source is not None and source.name == "COMMANDLINE"


def _judge(session: Session, wish: _Wish) -> _Judgement:
    """The golden set with the answers that are to be measured."""
    if wish.golden is not None:
        golden = read_golden(wish.golden, wish.task)
        if wish.classifier != LEDGER:
            return _Judgement(golden, _ask(session, wish, golden))
        with wiring.opened_store(session.settings) as store:
            found = find_text_ids(store, wish.task, golden)
            return _Judgement(golden, judge_by_ledger(store, wish.task, golden, found, model=wish.model))
    with wiring.opened_store(session.settings) as store:
        annotated = collect_annotated(store, wish.task)
        if not annotated.golden.texts:
            raise ConfigurationError(
                f"nobody has answered task {wish.task.name} yet; give --golden FILE, or begin with `issuetide review"
                f" --task {wish.task.name}`"
            )
        if wish.classifier == LEDGER:
            judged = judge_by_ledger(store, wish.task, annotated.golden, annotated.text_ids, model=wish.model)
            return _Judgement(annotated.golden, judged, annotated.disputed)
    return _Judgement(annotated.golden, _ask(session, wish, annotated.golden), annotated.disputed)


def _ask(session: Session, wish: _Wish, golden: GoldenSet) -> list[Judged]:
    """What a classifier answers to a golden set, those that were kept before included."""
    settings = session.settings
    classifier = wiring.make_classifier(settings, wish.classifier, wish.model, wish.max_cost_usd, session.deadline)
    if classifier.paid and wish.answers is None and not wish.dry_run:
        raise ConfigurationError(
            f"asking {classifier.name} costs money: name with --answers FILE where answers are kept"
        )
    versions = classifier.signature(wish.task).prompt_versions if isinstance(classifier, SigningClassifier) else None
    asked_model = getattr(classifier, "model", None) if classifier.paid else None
    kept = AnswersFile(wish.task, classifier.name, asked_model, versions)
    with opened_answers(None if wish.dry_run else wish.answers, kept):
        plan = GoldenPlan(wish.task, golden.texts, classifier, kept, session.deadline)
        if unanswered_texts(plan):
            _ask_rest(session, wish, plan, classifier)
    return judge_by_answers(golden, kept.kept)


def _ask_rest(session: Session, wish: _Wish, plan: GoldenPlan, classifier: Classifier) -> None:
    """Asks about what has no answer yet. What costs money is a run with a record, under the caps of every run."""
    if not classifier.paid:
        golden_stage(plan, Tally(), make_progress(), dry_run=False)
        return
    caps = wiring.plan_caps(session.settings, wish.max_cost_usd, classifier)
    whole = Plan(
        command=command_line(),
        tasks=(wish.task,),
        classifier=classifier,
        caps=caps,
        golden=plan,
        deadline=plan.deadline,
    )
    with closing(wiring.open_store(session.settings, dry_run=wish.dry_run)) as store:
        outcome = run(store, whole, make_progress())
    if wish.dry_run and outcome.tally.estimated_usd is not None:
        waiting = outcome.tally.waiting_texts[wish.task.name]
        words = f"{waiting:,} texts would be asked about, for about ${outcome.tally.estimated_usd:.4f}"
        raise _Stopped(outcome, words, 0)
    left = len(unanswered_texts(plan))
    if left:
        why = outcome.error or "some requests failed"
        words = f"{left:,} of {len(plan.texts):,} texts have no answer yet: {why}; the same command goes on from here"
        raise _Stopped(outcome, words, outcome.exit_code or EXIT_FAILED)
    print_error(f"asked about {outcome.tally.counts['texts_asked']:,} texts for ${outcome.tally.cost_usd:.4f}")


def _measure(wish: _Wish, judgement: _Judgement) -> Evaluation:
    size = len(judgement.golden.texts)
    if not judgement.judged:
        by = f" by model {wish.model}" if wish.model else ""
        raise ConfigurationError(
            f"none of the {size:,} golden texts has a stored answer{by} to task {wish.task.name}: classify their issues"
            " first, or name with --classifier who is to be asked now"
        )
    return evaluate(
        wish.task,
        judgement.judged,
        golden_set=judgement.golden.name,
        left_out=size - len(judgement.judged),
        precision=wish.precision,
    )


def _keep(session: Session, evaluation: Evaluation) -> int:
    author = evaluation.author
    entry = NewEvaluation(
        task=evaluation.task,
        task_version=evaluation.task_version,
        classifier=author.classifier,
        model=author.model,
        prompt_version=author.prompt_version,
        golden_set=evaluation.golden_set,
        size=evaluation.scores.size,
        metrics=metrics_of(evaluation),
        thresholds=thresholds_of(evaluation),
    )
    with wiring.opened_store(session.settings) as store, store.transaction() as connection:
        return evaluations.insert_evaluation(connection, entry)


def _calibrate(session: Session, judged: Sequence[Judged], task: Task, evaluation_id: int) -> list[tuple[Author, Fit]]:
    """Fits a map for each who answered, and lets it hold where it helps."""
    examples: dict[Author, list[Any]] = {}
    for entry in judged:
        examples.setdefault(entry.author, []).append(entry.example)
    fits = [(author, fit(stated_confidences(found))) for author, found in examples.items()]
    with wiring.opened_store(session.settings) as store, store.transaction() as connection:
        for author, found in fits:
            if not found.problem:
                who = Calibrated(task.name, author.classifier, author.model, author.prompt_version)
                evaluations.insert_calibration(connection, who, found.points, evaluation_id)
    return fits


def _uncalibrate(session: Session, wish: _Wish) -> int:
    with wiring.opened_store(session.settings) as store, store.transaction() as connection:
        held = [
            entry
            for entry in evaluations.select_calibrations(connection, [wish.task.name])
            if wish.classifier in {LEDGER, entry["classifier"]} and wish.model in {None, entry["model"]}
        ]
        if not held:
            raise ConfigurationError(f"no such calibration of task {wish.task.name} holds")
        for entry in held:
            who = Calibrated(entry["task"], entry["classifier"], entry["model"], entry["prompt_version"])
            evaluations.withdraw_calibration(connection, who)
    if session.as_json:
        print_json({"withdrawn": held})
        return 0
    for entry in held:
        print_line(
            f"calibration {entry['id']} is withdrawn: confidences of {entry['classifier']} {entry['model']} prompt"
            f" {entry['prompt_version']} are shown as stated again"
        )
    return 0


def _write_page(path: Path, evaluation: Evaluation, title: str) -> None:
    from etl.report.quality_html import render_quality

    write_file(path, render_quality(evaluation, title, datetime.now(UTC), version("issuetide")), "--html")
